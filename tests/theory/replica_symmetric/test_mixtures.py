import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import erf
from scipy.stats import binom

from hebbian import DenseHebbian
from theory.replica_symmetric import solve
from theory.replica_symmetric.mixtures import mixture, mixture_loads, mixture_temperatures

HOPFIELD = DenseHebbian(N=9, P=2)
LOW = 1e-10


def signs(count):
    """All signs of the mixed patterns at one site, shape (2^l, l)."""
    return np.array(list(itertools.product((-1, 1), repeat=count)))


def at_zero_temperature(y, count):
    """sqrt(2 alpha), m and transverse of the mixture with m = y sqrt(2V): the equations of T = 0 in closed form.

    C = E c(S), c(S) = sqrt(2/(pi V)) exp(-S^2 y^2), sqrt(V) = sqrt(alpha) + E c(S) sqrt(V); m = E (S/l) erf(S y).
    """
    S = 2 * np.arange(count + 1) - count
    weight = binom.pmf(np.arange(count + 1), count, 0.5)
    m = float(weight @ (S / count * erf(S * y)))
    c = math.sqrt(2 / math.pi) * np.exp(-((S * y) ** 2)) * math.sqrt(2) * y / m
    root = m / y - 2 / math.sqrt(math.pi) * float(weight @ np.exp(-((S * y) ** 2)))
    correlation = (S**2 - count) / max(count * (count - 1), 1)
    return root, m, 1 - float(weight @ ((1 - correlation) * c))


def largest_y(load, count):
    grid = np.geomspace(1e-2, 2 / math.sqrt(2 * load), 2000)
    gaps = np.array([at_zero_temperature(y, count)[0] for y in grid]) - math.sqrt(2 * load)
    last = np.flatnonzero(gaps > 0)[-1]
    return brentq(lambda y: at_zero_temperature(y, count)[0] - math.sqrt(2 * load), grid[last], grid[last + 1])


# Just below the folds of l = 3, 5, 9, where a second, smaller solution is near; l = 7 and 9 have a second fold below.
@pytest.mark.parametrize(
    ("count", "load"),
    [(1, 0.1379), (2, 0.0025), (3, 0.01), (3, 0.02994), (4, 7e-4), (5, 0.01626), (7, 1e-4), (9, 8.43e-3)],
)
def test_zero_temperature_solves_the_closed_equations(count, load):
    y = largest_y(load, count)
    _, m, transverse = at_zero_temperature(y, count)
    state = mixture(HOPFIELD, components=count, load=load, T=0.0)
    assert state.exists.item()
    assert state.converged.item()
    assert state.m.item() == pytest.approx(m, abs=1e-10)
    assert state.transverse.item() == pytest.approx(transverse, abs=1e-8)
    assert state.stable.item() == (transverse > 0)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 9])
def test_largest_load_at_zero_temperature(count):
    grid = np.geomspace(0.05, 5.0, 1000)
    roots = np.array([at_zero_temperature(y, count)[0] for y in grid])
    i = int(np.argmax(roots))
    fine = np.linspace(grid[i - 1], grid[i + 1], 2001)
    best = max(at_zero_temperature(y, count)[0] for y in fine)
    ends = mixture_loads(HOPFIELD, components=count, T=0.0)
    assert ends.existence.item() == pytest.approx(best**2 / 2, rel=1e-9)
    if count == 3:
        # AGS, Ann. Phys. 173, 30 (1987): 3-mixtures up to alpha about 0.03.
        assert ends.existence.item() == pytest.approx(0.03, abs=5e-4)
    # Odd mixtures are stable up to where they end, even ones nowhere.
    assert ends.stability.item() == pytest.approx(ends.existence.item() if count % 2 else math.nan, nan_ok=True)


class Brute:
    """The equations by enumeration over the 2^l signs and a trapezoid rule in z, solved by bisection."""

    z = np.linspace(-9, 9, 1501)
    weight = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()

    def __init__(self, count, load, T):
        self.xi, self.load, self.T = signs(count), load, T

    def averages(self, m, V):
        """E xi tanh, shape (l,), and q, of the overlaps m, shape (l,)."""
        tanh = np.tanh(((self.xi @ m)[:, None] + math.sqrt(V) * self.z) / self.T)
        site = tanh @ self.weight
        return self.xi.T @ site / len(self.xi), float(np.mean(tanh**2 @ self.weight))

    def noise(self, C):
        return self.load * (1 - self.T * C) / (1 - C) ** 2

    def at(self, m):
        """Gap of the equation of m, and C, once C solves its own."""
        overlaps = np.full(self.xi.shape[1], m)

        def excess(C):
            return (1 - self.averages(overlaps, self.noise(C))[1]) / self.T - C

        C = brentq(excess, 0.0, min(1 - 1e-9, 1 / self.T - 1e-12), xtol=1e-15)
        return self.averages(overlaps, self.noise(C))[0][0] - m, C

    def solve(self, step=0.02):
        """Return the largest solution m and its C."""
        high = 1.0
        while self.at(high - step)[0] < 0:
            high -= step
            if high < 2 * step:
                return math.nan, math.nan
        m = brentq(lambda m: self.at(m)[0], high - step, high, xtol=1e-14)
        return m, self.at(m)[1]

    def free_energy(self, m, C):
        """Density at q, V held fixed, up to what does not depend on m, for overlaps m of shape (l,)."""
        field = ((self.xi @ m)[:, None] + math.sqrt(self.noise(C)) * self.z) / self.T
        return m @ m / 2 - self.T * np.mean(np.logaddexp(field, -field) @ self.weight)


@pytest.mark.parametrize(
    ("count", "load", "T"), [(2, 1e-3, 0.4), (3, 0.01, 0.2), (3, 1e-3, 0.5), (4, 2e-4, 0.5), (5, 2e-3, 0.2)]
)
def test_finite_temperature_against_a_brute_force_solution(count, load, T):
    brute = Brute(count, load, T)
    m, C = brute.solve()
    state = mixture(HOPFIELD, components=count, load=load, T=T)
    assert state.exists.item()
    assert state.m.item() == pytest.approx(m, abs=1e-9)
    assert state.q.item() == pytest.approx(1 - T * C, abs=1e-9)
    # The curvature along (1, -1, 0, ...)/sqrt 2 by finite differences of the free energy.
    step = 1e-3 * np.eye(count)[:2].T @ [1, -1] / math.sqrt(2)
    centre = np.full(count, m)
    curvature = sum(brute.free_energy(centre + k * step, C) * w for k, w in ((-1, 1), (0, -2), (1, 1))) / 1e-6
    # The fourth derivative, of order 1/T^3, enters at 1e-6/12; rounding at 1e-10.
    assert state.transverse.item() == pytest.approx(curvature, abs=1e-6 / T**3 + 1e-8)


@pytest.mark.parametrize(("count", "load", "T"), [(3, 0.029, 0.1), (5, 2e-3, 0.6), (4, 5e-3, 0.2)])
def test_where_brute_force_finds_none_there_is_none(count, load, T):
    assert math.isnan(Brute(count, load, T).solve(0.004)[0])
    state = mixture(HOPFIELD, components=count, load=load, T=T)
    assert state.converged.item()
    assert not state.exists.item()
    assert not state.stable.item()
    for name in ("m", "q", "free_energy", "energy", "entropy", "replicon", "transverse"):
        assert np.isnan(state[name].item())


def low_load(count, T):
    """Overlap, free energy and Hessian at load zero, by enumeration of the signs."""
    xi = signs(count)
    S = xi.sum(1)
    m = brentq(lambda m: np.mean(S / count * np.tanh(m * S / T)) - m, 1e-3, 1.0, xtol=1e-15)
    f = count * m**2 / 2 - T * np.mean(np.logaddexp(m * S / T, -m * S / T))
    covariance = (xi * (1 - np.tanh(m * S / T) ** 2)[:, None]).T @ xi / len(xi)
    return m, f, np.eye(count) - covariance / T


# Of an even mixture the free spins, S = 0, are polarised by any load at low T: its limit there is another state.
@pytest.mark.parametrize(
    ("count", "T"), [*itertools.product((3, 5, 7), (0.3, 0.42, 0.6, 0.8)), *itertools.product((2, 4), (0.7, 0.85))]
)
def test_low_load_is_the_enumeration(count, T):
    m, f, hessian = low_load(count, T)
    state = mixture(HOPFIELD, components=count, load=LOW, T=T)
    eigenvalues = np.linalg.eigvalsh(hessian)
    assert state.m.item() == pytest.approx(m, abs=1e-7)
    assert state.free_energy.item() == pytest.approx(f, abs=1e-8)
    # All but the symmetric direction, of the largest eigenvalue, are degenerate.
    assert eigenvalues[:-1] == pytest.approx(np.full(count - 1, state.transverse.item()), abs=1e-6)
    assert state.stable.item() == (eigenvalues[0] > 0)


@pytest.mark.parametrize("count", [3, 5, 7])
def test_odd_mixtures_are_stable_below_a_temperature(count):
    exact = brentq(lambda T: np.linalg.eigvalsh(low_load(count, T)[2])[0], 0.1, 0.7, xtol=1e-14)
    ends = mixture_temperatures(HOPFIELD, components=count, load=LOW)
    assert ends.stability.item() == pytest.approx(exact, abs=1e-6)
    if count == 3:
        # AGS, Phys. Rev. A 32, 1007 (1985): about 0.46 T_c.
        assert ends.stability.item() == pytest.approx(0.4598, abs=6e-5)
    # All mixtures appear at T = 1, as 1 - O(sqrt(alpha)).
    assert ends.existence.item() == pytest.approx(1.0, abs=1e-3)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 30).map(lambda k: 2 * k + 1))
def test_odd_mixtures_at_low_load_and_zero_temperature(count):
    # Majority rule: m = E|S|/l = binom(l-1, (l-1)/2) / 2^(l-1): 1/2 for l = 3, 3/8 for l = 5; no local field is zero.
    m = math.comb(count - 1, (count - 1) // 2) / 2 ** (count - 1)
    state = mixture(HOPFIELD, components=count, load=LOW, T=0.0)
    assert state.m.item() == pytest.approx(m, abs=1e-9)
    assert state.energy.item() == pytest.approx(-count * m**2 / 2, abs=1e-4)
    assert state.transverse.item() == pytest.approx(1, abs=1e-6)
    assert state.stable.item()


@pytest.mark.parametrize("count", [2, 4, 6])
def test_even_mixtures_are_never_stable_at_low_temperature(count):
    state = mixture(HOPFIELD, components=count, load=[LOW, 1e-4], T=[0.0, 0.01, 0.1, 0.3])
    assert state.exists.all()
    assert not state.stable.any()
    assert (state.transverse < 0).all()
    assert np.isnan(mixture_temperatures(HOPFIELD, components=count, load=1e-4).stability.item())


def test_one_component_is_the_retrieved_pattern():
    grid = {"load": [0.01, 0.05], "T": [0.0, 0.3, 0.6]}
    state, pattern = mixture(HOPFIELD, components=1, **grid), solve(HOPFIELD, **grid)
    for name in ("m", "q", "free_energy", "energy", "entropy", "replicon"):
        expected = pattern[name].where(pattern.retrieval)
        np.testing.assert_allclose(state[name].values, expected.values, rtol=1e-9, atol=1e-11)
    assert state.stable.equals(state.exists)
    C = (1 - pattern.q.sel(T=0.3)) / 0.3
    assert state.transverse.sel(T=0.3).values == pytest.approx(1 - C.values, abs=1e-9)
    ends = mixture_loads(HOPFIELD, components=1, T=[0.0, 0.1])
    assert ends.existence.values == pytest.approx([0.137905566, 0.13505], abs=6e-6)
    assert ends.stability.equals(ends.existence)


def test_entropy_is_the_slope_of_the_free_energy():
    T, step = 0.2, 1e-4
    f = mixture(HOPFIELD, components=3, load=0.01, T=[T - step, T, T + step])
    assert f.entropy.values[0, 1] == pytest.approx(
        -(f.free_energy[0, 2] - f.free_energy[0, 0]).item() / (2 * step), abs=1e-6
    )
    # A spurious state lies above the pattern.
    assert f.free_energy[0, 1].item() > solve(HOPFIELD, load=0.01, T=T).free_energy.item()


def test_the_two_lines_of_stability_are_one():
    T = 0.43
    ends = mixture_loads(HOPFIELD, components=3, T=T)
    assert ends.stability.item() < ends.existence.item()
    load = [ends.stability.item(), ends.existence.item()]
    back = mixture_temperatures(HOPFIELD, components=3, load=load)
    assert back.stability[0].item() == pytest.approx(T, abs=1e-9)
    assert back.existence[1].item() == pytest.approx(T, abs=1e-9)
    assert mixture(HOPFIELD, components=3, load=load[0] * 0.999, T=T).stable.item()
    assert not mixture(HOPFIELD, components=3, load=load[0] * 1.001, T=T).stable.item()
    none = mixture_temperatures(HOPFIELD, components=3, load=0.031)
    assert np.isnan(none.existence.item())
    assert np.isnan(none.stability.item())


def test_labels_and_the_load_of_the_model():
    state = mixture(HOPFIELD.replace(load=0.01), components=3, T=[0.1, 0.2])
    assert state.m.dims == ("load", "T")
    assert state.m.shape == (1, 2)
    assert state.attrs["components"] == 3
    assert all({"long_name", "units"} <= set(state[name].attrs) for name in (*state.data_vars, "load", "T"))
    assert mixture_temperatures(HOPFIELD.replace(load=0.01), components=3).sizes == {"load": 1}
    assert mixture_loads(HOPFIELD, components=3, T=[0.1, 0.2]).sizes == {"T": 2}


@pytest.mark.parametrize(
    "function",
    [
        lambda model, components: mixture(model, components=components, load=0.01, T=0.1),
        lambda model, components: mixture_temperatures(model, components=components, load=0.01),
        lambda model, components: mixture_loads(model, components=components, T=0.1),
    ],
)
def test_bad_input_is_named(function):
    with pytest.raises(ValueError, match="components = 0 is out of range"):
        function(HOPFIELD, 0)
    with pytest.raises(TypeError, match=r"components = 3\.0 is not an integer"):
        function(HOPFIELD, 3.0)
    with pytest.raises(ValueError, match="P = 4 has no theory of mixtures"):
        function(DenseHebbian(N=9, P=4), 3)
    with pytest.raises(ValueError, match="training = 'supervised' is unknown; allowed: 'storing'"):
        function(DenseHebbian(N=9, training="supervised", quality=0.5, examples=3), 3)
    with pytest.raises(TypeError, match="is not a DenseHebbian"):
        function("network", 3)


def test_bad_grids_are_named():
    with pytest.raises(ValueError, match=r"every value of T: T = -0\.1"):
        mixture(HOPFIELD, components=3, load=0.01, T=-0.1)
    with pytest.raises(ValueError, match=r"every value of load: load = 0\.0"):
        mixture_temperatures(HOPFIELD, components=3, load=0.0)
    with pytest.raises(ValueError, match="load = None and the model has none"):
        mixture(HOPFIELD, components=3, T=0.1)
    with pytest.raises(ValueError, match="T is empty"):
        mixture_loads(HOPFIELD, components=3, T=[])
