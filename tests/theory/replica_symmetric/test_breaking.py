import math

import numpy as np
import pytest
from scipy.optimize import brentq, minimize_scalar, root
from scipy.special import log_ndtr

from hebbian import DenseHebbian
from tests.theory.replica_symmetric.cases import normal
from theory.replica_symmetric import critical_load, glass_temperature, one_step, solve
from theory.replica_symmetric.breaking import one_step_critical_load, one_step_solve
from theory.replica_symmetric.disorder import noise_powers


def storing(P):
    return DenseHebbian(N=9, P=P)


def log_partition(h0, v, mu, T):
    """ln E_y (2cosh h/T)^(mu T) at h = h0 + sqrt(v) y, by brute force; at T = 0 in closed form."""
    s = math.sqrt(v)
    if T == 0:
        right = mu * h0 + log_ndtr(h0 / s + mu * s)
        return mu * mu * v / 2 + np.logaddexp(right, -mu * h0 + log_ndtr(-h0 / s + mu * s))
    y, weight = normal(9 + mu * s, 1401)
    h = np.abs(h0 + s * y[:, None])
    return np.log(weight @ np.exp(mu * (h + T * np.log1p(np.exp(-2 * h / T)))))


def functional(P, load, T, m, q0, C, mu, count=1201):
    """Free energy of the module's docstring, written down apart from it; q_1 = 1 - T C."""
    q1 = 1 - T * C
    if P == 2:
        D1 = 1 - C
        D = D1 - mu * (q1 - q0)
        r0 = q0 / D**2
        r1 = r0 + (q1 - q0) / (D1 * D)
        V0, V1 = load * r0, load * r1
        couplings = T * math.log(D1) + math.log(D / D1) / mu - q0 / D + C * r1 + mu * (r1 * q1 - r0 * q0)
        value = m**2 / 2 + load / 2 * (1 + couplings)
    else:
        V0, V1 = (load * P / 2 * q ** (P - 1) for q in (q0, q1))
        value = (P - 1) / 2 * m**P + mu * (P - 1) * load / 4 * (q1**P - q0**P)
        if T > 0:
            value -= load / (4 * T) * (1 - q1**P - (1 - q1) * P * q1 ** (P - 1))
    z, weight = normal(9, count)
    h0 = P / 2 * m ** (P - 1) + math.sqrt(V0) * z
    if V1 == V0:
        h = np.abs(h0)
        return value - weight @ (h + T * np.log1p(np.exp(-2 * h / T)))
    return value - weight @ log_partition(h0, V1 - V0, mu, T) / mu


def gradient(function, point, step):
    return np.array([(function(*(point + d)) - function(*(point - d))) / (2 * d.sum()) for d in np.diag(step)])


POINTS = [
    (2, 0.13, 0.0),
    (2, 0.13, 0.005),
    (2, 0.138, 0.01),
    (3, 0.42, 0.0),
    (3, 0.42, 0.2),
    (3, 0.46, 0.1),
    (4, 0.42, 0.0),
    (4, 0.45, 0.3),
    (6, 0.52, 0.2),
]


@pytest.mark.parametrize(("P", "load", "T"), POINTS)
def test_retrieval_is_stationary_in_all_order_parameters(P, load, T):
    point = one_step_solve(storing(P), load=load, T=T)
    assert point.retrieval.item()
    assert point.breaking.item()
    q0, q1, mu = (point[name].item() for name in ("q0", "q1", "mu"))
    assert 0 < q0 < q1 <= 1
    assert point.x.item() == mu * T < 1
    # At T = 0, P > 2 nothing but the entropy depends on C; at P = 2 f is stationary in C, which is found here.
    C = (1 - q1) / T if T > 0 else _susceptibility(P, load, point)
    at = np.array([point.m.item(), q0, C, mu])
    function = functional if P > 2 or T > 0 else _fine_functional
    f = function(P, load, T, *at)
    assert point.free_energy.item() == pytest.approx(f, abs=1e-11)
    # Central differences: what is left is third derivatives times step^2 / 6.
    step = np.array([2e-5, 1e-2 * (q1 - q0), 1e-4, 1e-3 * mu])
    slopes = gradient(lambda *values: function(P, load, T, *values), at, step)
    assert np.abs(slopes * [1, q1 - q0, 1, mu]).max() < 1e-7
    # Off by a tenth of q1 - q0 the slope shows.
    off = np.add(at, [0, 0.1 * (q1 - q0), 0, 0])
    slope = gradient(lambda *values: function(P, load, T, *values), off, step)[1]
    assert abs(slope) > 100 * abs(slopes[1])


def _fine_functional(*arguments):
    # The inner averages bend over sqrt(V_1 - V_0), a hundredth of the width of z.
    return functional(*arguments, count=20001)


def _susceptibility(P, load, point):
    if P > 2:
        return 0.0
    m, q0, mu = (point[name].item() for name in ("m", "q0", "mu"))

    def slope(C):
        return _fine_functional(2, load, 0.0, m, q0, C + 1e-5, mu) - _fine_functional(2, load, 0.0, m, q0, C - 1e-5, mu)

    return brentq(slope, 0.005, 0.1, xtol=1e-12)


@pytest.mark.parametrize(("P", "load", "T"), [(2, 0.1, 0.2), (3, 0.3, 0.3), (5, 0.3, 0.5)])
def test_without_breaking_the_functional_is_that_of_replica_symmetry(P, load, T):
    symmetric = solve(storing(P), load=load, T=T)
    C = (1 - symmetric.q.item()) / T
    for x in (1e-3, 0.4, 1.0):
        value = functional(P, load, T, symmetric.m.item(), symmetric.q.item(), C, x / T)
        assert value == pytest.approx(symmetric.free_energy.item(), abs=1e-11)
    # Above the Almeida-Thouless line that is what is returned.
    point = one_step_solve(storing(P), load=load, T=T)
    assert not point.breaking.item()
    assert np.isnan(point.x.item())
    for name, other in (("m", "m"), ("q0", "q"), ("q1", "q"), ("free_energy",) * 2, ("entropy",) * 2, ("energy",) * 2):
        assert point[name].item() == symmetric[other].item()


@pytest.mark.parametrize(("P", "load"), [(2, 0.13), (3, 0.36), (4, 0.39)])
def test_breaking_raises_the_free_energy_and_mends_the_entropy(P, load):
    for T in (0.0, 0.003):
        broken, symmetric = one_step_solve(storing(P), load=load, T=T), solve(storing(P), load=load, T=T)
        assert broken.free_energy.item() > symmetric.free_energy.item()
        assert broken.entropy.item() > symmetric.entropy.item()
    broken, symmetric = one_step_solve(storing(P), load=load, T=0.0), solve(storing(P), load=load, T=0.0)
    # Parisi's scheme: each step leaves a fraction of the negative entropy.
    assert 0.2 * symmetric.entropy.item() < broken.entropy.item() < 0


def test_published_capacity_of_the_hopfield_model():
    # Steffan and Kuehn, cond-mat/9404036: 0.138186, for the replica-symmetric 0.137905.
    assert one_step_critical_load(storing(2)).item() == pytest.approx(0.138186, abs=6e-7)


@pytest.mark.parametrize(("P", "start"), [(3, (0.46, 0.74, 2.1)), (4, (0.46, 0.86, 2.1)), (6, (0.53, 0.93, 1.8))])
def test_capacity_of_dense_networks_is_that_of_an_independent_maximisation(P, start):
    # The functional at T = 0 is stationary in m, q_0 and mu: at each m for one load, which is maximised over m.
    best = list(start)

    def load(m):
        def slopes(unknowns):
            gamma, q0, mu = unknowns
            return gradient(
                lambda *at: functional(P, gamma, 0.0, at[0], at[1], 0.0, at[2]), np.array([m, q0, mu]), [1e-4] * 3
            )

        found = root(slopes, best, tol=1e-11)
        assert np.abs(found.fun).max() < 1e-9
        return found.x[0]

    bounds = {3: (0.6, 0.75), 4: (0.78, 0.86), 6: (0.9, 0.93)}[P]
    largest = minimize_scalar(lambda m: -load(m), bounds=bounds, method="bounded", options={"xatol": 1e-6})
    assert bounds[0] + 1e-3 < largest.x < bounds[1] - 1e-3
    # The differences have an error of order step^2.
    assert one_step_critical_load(storing(P)).item() == pytest.approx(-largest.fun, abs=1e-6)


@pytest.mark.parametrize("P", [3, 4, 6])
def test_capacity_does_not_pass_that_on_the_nishimori_line(P):
    # Nishimori: at no temperature is there more order than on the line T = gamma, where replica symmetry is exact.
    end = brentq(lambda T: critical_load(storing(P), T).item() - T, 0.3, 0.7, xtol=1e-12)
    loads = one_step_critical_load(storing(P), [0.0, 0.1, 0.3, 0.4 if P < 6 else 0.5]).values
    assert (np.diff(loads) > 0).all()
    assert end - 0.004 < loads[0]
    assert end - 2e-5 < loads[-1] <= end
    # Replica symmetry alone loses much of it at T = 0.
    assert critical_load(storing(P), 0.0).item() < loads[0] - 0.05


def test_where_retrieval_is_stable_to_its_end_the_capacity_is_replica_symmetric():
    T = [0.1, 0.5]
    assert (one_step_critical_load(storing(2), T).values == critical_load(storing(2), T).values).all()
    assert np.isnan(one_step_critical_load(storing(2), 1.1).item())


@pytest.mark.parametrize("P", [3, 4])
def test_the_glass_of_dense_networks_is_the_p_spin_glass(P):
    load, T = 0.42, np.array([0.0, 0.05, 0.2, 0.35, 0.45])
    glass = one_step_solve(storing(P), load=load, T=T, branch="glass").squeeze("load")
    expected = [
        math.sqrt(load) * one_step.free_energy(tuple(noise_powers(P, "distinct")), t / math.sqrt(load)) for t in T
    ]
    assert glass.free_energy.values == pytest.approx(expected, abs=1e-11)
    assert (glass.breaking == (glass["T"] < glass_temperature(storing(P), load).item())).all()
    assert (glass.q0 == 0).all()


@pytest.mark.parametrize(("load", "T"), [(0.001, 0.1), (0.13, 0.3), (0.05, 0.5), (1.0, 1.5)])
def test_the_glass_of_order_two_is_stationary_and_above_the_symmetric_one(load, T):
    glass = one_step_solve(storing(2), load=load, T=T, branch="glass")
    q0, q1, mu = (glass[name].item() for name in ("q0", "q1", "mu"))
    assert 0 < q0 < q1
    assert glass.m.item() == 0
    at = np.array([q0, (1 - q1) / T, mu])

    def free_energy(q0, C, mu):
        return functional(2, load, T, 0.0, q0, C, mu, count=401)

    assert free_energy(*at) == pytest.approx(glass.free_energy.item(), abs=1e-11)
    # C < 1 is a pole of f.
    slopes = gradient(free_energy, at, [1e-4, 1e-4 * (1 - at[1]), 1e-3 * mu])
    assert np.abs(slopes * [1, 1 - at[1], mu]).max() < 1e-6
    symmetric = solve(storing(2), load=load, T=T, branch="glass")
    assert glass.free_energy.item() > symmetric.free_energy.item()
    assert glass.entropy.item() > symmetric.entropy.item()


def test_the_glass_of_order_two_at_zero_temperature():
    # Parisi's scheme leaves a fraction of the negative entropy.
    for load in (0.01, 0.05, 0.13):
        broken, symmetric = (f(storing(2), load=load, T=0.0, branch="glass") for f in (one_step_solve, solve))
        assert broken.energy.item() > symmetric.energy.item()
        assert symmetric.entropy.item() / 3 < broken.entropy.item() < 0
        # Below .05 the pattern is lower than the glass, at .13 it is not.
        assert (broken.energy.item() > solve(storing(2), load=load, T=0.0).energy.item()) == (load < 0.1)


def test_the_glass_at_large_load_is_that_of_sherrington_and_kirkpatrick():
    # Parisi 1980, one step: energy -0.7652 J, J = sqrt(alpha). The next term is of order 1/sqrt(alpha).
    glass = one_step_solve(storing(2), load=1e8, T=0.0, branch="glass")
    assert glass.energy.item() / 1e4 == pytest.approx(-0.7652, abs=2e-4)


def test_near_its_temperature_the_glass_joins_the_paramagnet():
    T = 2.0 * (1 - np.array([0.1, 0.05, 0.01]))
    glass = one_step_solve(storing(2), load=1.0, T=T, branch="glass").squeeze("load")
    paramagnet = solve(storing(2), load=1.0, T=T, branch="paramagnet").squeeze("load")
    assert glass.breaking.values.all()
    # Third order: the free energies part as the cube of the distance.
    excess = (glass.free_energy - paramagnet.free_energy).values
    assert excess[0] > 0
    assert np.log(excess[0] / excess[2]) / np.log(10) == pytest.approx(3, abs=0.15)


def test_above_its_temperature_the_glass_is_the_paramagnet():
    for P, load, T in ((2, 0.25, 1.51), (3, 0.42, 0.5)):
        point = one_step_solve(storing(P), load=load, T=T, branch="glass")
        symmetric = solve(storing(P), load=load, T=T, branch="paramagnet")
        assert point.q1.item() == 0
        assert not point.breaking.item()
        assert point.free_energy.item() == symmetric.free_energy.item()


@pytest.mark.parametrize(
    ("P", "load", "T", "branch"),
    [(2, 0.137, 0.01, "retrieval"), (3, 0.44, 0.2, "retrieval"), (2, 0.3, 0.4, "glass"), (4, 0.4, 0.25, "glass")],
)
def test_the_entropy_is_the_slope_of_the_free_energy(P, load, T, branch):
    step = 1e-3 * T
    points = one_step_solve(storing(P), load=load, T=[T - step, T, T + step], branch=branch).squeeze("load")
    f = points.free_energy.values
    assert points.breaking.values.all()
    assert points.entropy.values[1] == pytest.approx(-(f[2] - f[0]) / (2 * step), rel=1e-4, abs=1e-7)
    assert f == pytest.approx(points.energy.values - points["T"].values * points.entropy.values, abs=1e-15)


def test_zero_temperature_is_the_limit():
    cold = one_step_solve(storing(3), load=0.42, T=[0.0, 1e-5]).squeeze("load")
    for name in ("m", "q0", "mu", "free_energy", "entropy"):
        assert cold[name].values[0] == pytest.approx(cold[name].values[1], rel=1e-3, abs=1e-4)
    assert cold.x.values[0] == 0


def test_breaking_sets_in_continuously_at_the_almeida_thouless_line():
    grid = one_step_solve(storing(4), load=0.42, T=np.linspace(0.2, 0.3, 11)).squeeze("load")
    symmetric = solve(storing(4), load=0.42, T=grid["T"].values).squeeze("load")
    assert (grid.breaking == (symmetric.replicon < 0)).all()
    spread = (grid.q1 - grid.q0).values
    assert (np.diff(spread[: grid.breaking.sum().item() + 1]) < 0).all()
    assert spread[grid.breaking.sum().item() - 1] < 0.3 * spread[0]


def test_beyond_the_capacity_the_glass_takes_the_place_of_retrieval():
    gamma = one_step_critical_load(storing(3), 0.1).item()
    points = one_step_solve(storing(3), load=[gamma - 1e-6, gamma + 1e-6], T=0.1).squeeze("T")
    assert points.retrieval.values.tolist() == [True, False]
    assert points.converged.values.all()
    glass = one_step_solve(storing(3), load=gamma + 1e-6, T=0.1, branch="glass")
    assert points.free_energy.values[1] == glass.free_energy.item()


@pytest.mark.parametrize("T", [1e-8, 1e-12, 1e-300])
def test_the_lowest_temperatures_are_the_limit(T):
    # Newton's method finds no breaking here, and is not to lead out of the floating-point numbers.
    cold, zero = (one_step_solve(storing(3), load=0.3, T=value) for value in (T, 0.0))
    for name in ("m", "q0", "q1", "free_energy"):
        assert cold[name].item() == pytest.approx(zero[name].item(), abs=1e-6)


def test_a_point_does_not_depend_on_the_grid_around_it():
    grid = one_step_solve(storing(3), load=[0.2, 0.44], T=[0.0, 0.15, 0.6])
    assert dict(grid.sizes) == {"load": 2, "T": 3}
    assert grid.attrs["branch"] == "retrieval"
    assert grid.mu.attrs["long_name"] == "block parameter over temperature, x/T"
    assert grid["load"].attrs["units"] == "1"
    alone = one_step_solve(storing(3).replace(load=0.44), T=0.15)
    assert alone.equals(grid.isel(load=[1], T=[1]))


@pytest.mark.parametrize("function", [one_step_solve, one_step_critical_load])
def test_bad_input_is_named(function):
    given = {"load": 0.1} if function is one_step_solve else {}
    with pytest.raises(ValueError, match=r"every value of T: T = -0\.1"):
        function(storing(4), T=-0.1, **given)
    with pytest.raises(TypeError, match="is not a DenseHebbian"):
        function("network", T=0.1, **given)
    with pytest.raises(ValueError, match="training = 'supervised' has no one-step theory here; allowed: 'storing'"):
        function(DenseHebbian(N=9, P=3, training="supervised", quality=0.5, examples=3), T=0.1, **given)
    for model in (DenseHebbian(N=9, P=3, interaction="all"), DenseHebbian(N=9, P=None, interaction="exponential")):
        with pytest.raises(ValueError, match=r"interaction = .* has no one-step theory here; allowed: 'distinct'"):
            function(model, T=0.1, **given)


def test_bad_branches_and_loads_are_named():
    with pytest.raises(ValueError, match="branch = 'spin' is unknown; allowed: 'retrieval', 'glass'"):
        one_step_solve(storing(3), load=0.1, T=0.1, branch="spin")
    with pytest.raises(ValueError, match="every value of load: load = 0"):
        one_step_solve(storing(3), load=0.0, T=0.1)
    with pytest.raises(ValueError, match="load = None and the model has none"):
        one_step_solve(storing(3), T=0.1)
