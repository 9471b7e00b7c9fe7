import itertools
import math

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from hebbian import DenseHebbian
from theory import replica_symmetric
from theory.replica_symmetric import saddle

VARIABLES = {"m", "n", "q", "free_energy", "energy", "entropy", "replicon", "retrieval", "converged"}


def storing(P, interaction="distinct"):
    return DenseHebbian(N=9, P=P, interaction=interaction)


def learning(P, training, r, M):
    return DenseHebbian(N=9, P=P, training=training, quality=r, examples=M)


@pytest.mark.parametrize(
    ("load", "T", "m", "q", "f", "u"),
    # Reference solution, AGS 1987: points for equality tests.
    [
        (0.05, 0.2, 0.998878, 0.997830, -0.500111, -0.49943),
        (0.05, 0.3, 0.991165, 0.982961, -0.501236, -0.49428),
        (0.05, 0.5, 0.904106, 0.833358, -0.517014, -0.43682),
        (0.10, 0.1, 0.996751, 0.996916, -0.500265, -0.49998),
        (0.10, 0.2, 0.989085, 0.984417, -0.501041, -0.49788),
        (0.10, 0.3, 0.953020, 0.933070, -0.504488, -0.48573),
    ],
)
def test_hopfield_table(load, T, m, q, f, u):
    point = replica_symmetric.solve(storing(2), load=load, T=T)
    assert point.m.item() == pytest.approx(m, abs=6e-7)
    assert point.q.item() == pytest.approx(q, abs=6e-7)
    assert point.free_energy.item() == pytest.approx(f, abs=6e-7)
    assert point.energy.item() == pytest.approx(u, abs=6e-6)


@pytest.mark.parametrize(
    ("P", "training", "load", "T", "r", "M", "expected"),
    # Reference solution, checked by Monte Carlo: m, n, q.
    [
        (2, "supervised", 0.03, 0.2, 0.4, 80, (0.99040, 0.96409, 0.98537)),
        (2, "unsupervised", 0.03, 0.2, 0.4, 80, (0.98756, 0.96237, 0.98200)),
        (2, "supervised", 0.05, 0.3, 0.8, 5, (0.88324, 0.89338, 0.88108)),
        (4, "supervised", 0.12, 0.4, 0.4, 100, (0.98383, 0.96448, 0.97665)),
        (4, "unsupervised", 0.024, 0.4, 0.7, 10, (0.96940, 0.94445, 0.96254)),
    ],
)
def test_learning_from_examples_table(P, training, load, T, r, M, expected):
    point = replica_symmetric.solve(learning(P, training, r, M), load=load, T=T)
    assert (point.m.item(), point.n.item(), point.q.item()) == pytest.approx(expected, abs=6e-6)


@pytest.mark.parametrize(
    ("training", "K", "r", "M", "T", "m"),
    # Reference solution, 2211.14067 and 2212.00606: P = 2, N = 1500, theory beside Monte Carlo; Gaussian data noise.
    [
        ("supervised", 75, 0.6, 20, 0.2, 0.9666),
        ("supervised", 90, 0.5, 100, 0.2, 0.9923),
        ("supervised", 15, 0.4, 20, 0.3, 0.8667),
        ("unsupervised", 90, 0.5, 100, 0.2, 0.9908),
        ("unsupervised", 15, 0.4, 20, 0.3, 0.8575),
        ("unsupervised", 30, 0.3, 80, 0.1, 0.9748),
        ("unsupervised", 75, 0.4, 20, 0.2, 0.0),
    ],
)
def test_learning_from_examples_at_order_two(training, K, r, M, T, m):
    model = learning(2, training, r, M)
    point = replica_symmetric.solve(model, load=K / 1500, T=T, data_noise="gaussian")
    assert point.m.item() == pytest.approx(m, abs=6e-5)


def test_all_tuples_at_order_four_lose_the_pattern_that_distinct_sites_keep():
    # Reference solutions, Gardner 1987: gamma = .24, T = .6, checked by Monte Carlo; all tuples, gamma .1, T .2: .9929.
    assert replica_symmetric.solve(storing(4), load=0.24, T=0.6).m.item() == pytest.approx(0.96750, abs=6e-6)
    every = replica_symmetric.solve(storing(4, "all"), load=[0.1, 0.24], T=[0.2, 0.6])
    assert every.m.sel(load=0.1, T=0.2).item() == pytest.approx(0.9929, abs=6e-5)
    assert not every.retrieval.sel(load=0.24, T=0.6).item()
    assert every.m.sel(load=0.24, T=0.6).item() == 0


@pytest.mark.parametrize(
    ("load", "m"),
    [(0.3, 0.9853), (0.4, 0.948)],  # Reference solution, Gardner 1987: P = 4, T = .2
)
def test_dense_points_beside_monte_carlo(load, m):
    point = replica_symmetric.solve(storing(4), load=load, T=0.2)
    assert point.m.item() == pytest.approx(m, abs=6e-4)
    # RS is unstable at gamma = .4, T = .2.
    assert (point.replicon.item() > 0) == (load == 0.3)


@pytest.mark.parametrize("P", [2, 3, 4])
def test_one_example_is_learned_alike_with_and_without_supervision(P):
    one, other = (
        replica_symmetric.solve(learning(P, training, 0.7, 1), load=[0.01, 0.1], T=[0.0, 0.1, 0.4])
        for training in ("supervised", "unsupervised")
    )
    for name in VARIABLES:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-12, atol=1e-13)
    # x = +-1: in the gauge of the example it is a stored pattern, and m = r n.
    pattern = replica_symmetric.solve(storing(P), load=[0.01, 0.1], T=[0.0, 0.1, 0.4])
    np.testing.assert_allclose(one.n, pattern.m, rtol=0, atol=1e-12)
    np.testing.assert_allclose(one.m, 0.7 * pattern.m, rtol=0, atol=1e-12)


@pytest.mark.parametrize("training", ["supervised", "unsupervised"])
@pytest.mark.parametrize("P", [2, 3, 4])
def test_perfect_or_very_many_examples_are_storing(P, training):
    grid = {"load": [0.01, 0.08], "T": [0.05, 0.4]}
    pattern = replica_symmetric.solve(storing(P), **grid)
    perfect = replica_symmetric.solve(learning(P, training, 1.0, 3), **grid)
    for name in VARIABLES:
        np.testing.assert_allclose(perfect[name], pattern[name], rtol=0, atol=1e-13)
    near, many = (
        replica_symmetric.solve(learning(P, training, r, M), **grid) for r, M in ((1 - 1e-6, 3), (0.5, 10**9))
    )
    for name in ("m", "n", "q", "free_energy", "energy", "entropy"):
        np.testing.assert_allclose(near[name], pattern[name], rtol=0, atol=3e-5)
        np.testing.assert_allclose(many[name], pattern[name], rtol=0, atol=1e-6)


def test_the_gaussian_law_of_the_data_is_the_limit_of_many_examples():
    M = np.array([100, 1000, 10_000, 100_000])
    exact, gaussian = (
        replica_symmetric.solve(
            learning(4, "supervised", 0.3, 2), examples=M, load=0.05, T=0.2, data_noise=data_noise
        ).m.values.ravel()
        for data_noise in ("binomial", "gaussian")
    )
    difference = np.abs(exact - gaussian)
    assert difference[0] > 1e-5
    # Between M^-3/2, of the skewness at fixed rho, and M^-2 once rho -> 0 as well.
    assert np.all(np.diff(np.log10(difference)) < -1.4)
    automatic = replica_symmetric.solve(learning(4, "supervised", 0.3, 10**6), load=0.05, T=0.2)
    assert automatic.m.item() == pytest.approx(
        replica_symmetric.solve(
            learning(4, "supervised", 0.3, 10**6), load=0.05, T=0.2, data_noise="binomial"
        ).m.item(),
        abs=1e-9,
    )


def test_axes_come_in_order_and_agree_with_single_points():
    model = learning(3, "unsupervised", 0.5, 4)
    grid = replica_symmetric.solve(
        model, load=[0.02, 0.05], T=[0.1, 0.2, 0.3], quality=[0.8, 0.9], examples=[10, 40, 80]
    )
    assert grid.m.dims == ("quality", "examples", "load", "T")
    assert set(grid.data_vars) == VARIABLES
    for variable in (*grid.data_vars.values(), *grid.coords.values()):
        assert variable.attrs["long_name"]
        assert variable.attrs["units"]
    alone = replica_symmetric.solve(model.replace(quality=0.9, examples=10, load=0.05), T=0.3)
    assert alone.m.dims == ("load", "T")
    assert alone.m.item() == grid.m.sel(quality=0.9, examples=10, load=0.05, T=0.3).item()
    assert replica_symmetric.solve(model, load=0.1, T=0.1, quality=0.5).m.dims == ("quality", "load", "T")


@pytest.mark.parametrize("P", [2, 5])
@pytest.mark.parametrize("training", ["supervised", "unsupervised"])
def test_networks_of_a_map_are_those_alone(P, training):
    # Of one example, or perfect ones, the correlations among examples have one mode, else two.
    model = DenseHebbian(N=9, P=P, interaction="all", training=training, quality=0.8, examples=1)
    axes = {"quality": [0.8, 1.0], "examples": [1, 30]}
    found = replica_symmetric.solve(model, load=[0.02, 0.05], T=[0.0, 0.3], **axes)
    for quality, examples in itertools.product(*axes.values()):
        single = replica_symmetric.solve(
            model.replace(quality=quality, examples=examples), load=[0.02, 0.05], T=[0.0, 0.3]
        )
        xr.testing.assert_equal(found.sel(quality=quality, examples=examples).drop_vars(list(axes)), single)


def test_the_noise_of_unsupervised_learning_is_that_of_a_higher_load():
    # P >= 3: the two trainings differ by the factor g of the load alone.
    P, r, M = 4, 0.7, 10
    g = (r ** (2 * P) * (1 - 1 / M) + 1 / M) / learning(P, "supervised", r, M).R ** P
    T = [0.0, 0.1, 0.4]
    untaught = replica_symmetric.solve(learning(P, "unsupervised", r, M), load=0.1, T=T)
    taught = replica_symmetric.solve(learning(P, "supervised", r, M), load=0.1 * g, T=T)
    for name in VARIABLES:
        np.testing.assert_allclose(untaught[name], taught[name], rtol=1e-11, atol=1e-12)


def test_a_point_that_did_not_converge_is_marked_and_no_number(monkeypatch):
    monkeypatch.setattr(saddle, "TOLERANCE", -1.0)
    point = replica_symmetric.solve(storing(4), load=0.1, T=0.1)
    assert not point.converged.item()
    assert not point.retrieval.item()
    for name in VARIABLES - {"converged", "retrieval"}:
        assert np.isnan(point[name].item())


def test_branches():
    hot, cold = 1.4, 0.6
    glass, paramagnet = (
        replica_symmetric.solve(storing(2), load=0.09, T=[cold, hot], branch=branch).squeeze("load")
        for branch in ("glass", "paramagnet")
    )
    # T_g = 1.3: above it the glass is the paramagnet; below T = 1 there is no paramagnet, and none is returned.
    assert glass.q.values[0] > 0.3
    assert glass.q.values[1] == 0
    assert glass.converged.all()
    assert (glass.m == 0).all()
    assert paramagnet.converged.values.tolist() == [False, True]
    assert np.isnan(paramagnet.free_energy.values[0])
    assert paramagnet.free_energy.values[1] == glass.free_energy.values[1]
    # Paramagnet of P >= 3: -f = T ln 2 + gamma/(4T).
    annealed = replica_symmetric.solve(storing(5), load=0.4, T=0.7, branch="paramagnet")
    assert annealed.free_energy.item() == pytest.approx(-0.7 * math.log(2) - 0.4 / 2.8, abs=1e-14)


@pytest.mark.parametrize("T", [1e-5, 1e-3, 0.03])
def test_the_paramagnet_is_exactly_disordered_at_low_temperature(T):
    # Rounding of q = 1 - T C must not act as a field through the pair couplings of all tuples.
    for P in (4, 6, 8):
        point = replica_symmetric.solve(storing(P, "all"), load=[0.13, 0.33, 0.9], T=T, branch="paramagnet")
        assert point.converged.all()
        assert (point.q == 0).all()


def test_retrieval_falls_to_the_glass_beyond_its_spinodal():
    lost = replica_symmetric.solve(storing(4), load=0.5, T=[0.0, 0.1, 0.9])
    glass = replica_symmetric.solve(storing(4), load=0.5, T=[0.0, 0.1, 0.9], branch="glass")
    assert not lost.retrieval.any()
    for name in VARIABLES:
        np.testing.assert_array_equal(lost[name], glass[name])
    assert lost.q.values.ravel()[1] > 0.8


MODELS = st.one_of(
    st.builds(storing, st.integers(2, 8), st.sampled_from(["distinct", "all"])),
    st.builds(
        learning,
        st.integers(2, 8),
        st.sampled_from(["supervised", "unsupervised"]),
        st.floats(0.02, 1),
        st.integers(1, 300),
    ),
)


@given(
    model=MODELS,
    load=st.floats(1e-6, 1.0),
    T=st.just(0.0) | st.floats(1e-5, 2.0),
    data_noise=st.sampled_from(["binomial", "gaussian"]),
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_bounds_hold_everywhere(model, load, T, data_noise):
    branches = {
        branch: replica_symmetric.solve(model, load=load, T=T, branch=branch, data_noise=data_noise).squeeze()
        for branch in ("retrieval", "glass")
    }
    for branch, point in branches.items():
        m, n, q = point.m.item(), point.n.item(), point.q.item()
        assert point.converged.item()
        assert abs(m) <= 1 + 1e-12
        assert 0 <= q <= 1
        assert q >= m * m - 1e-12  # Cauchy and Schwarz
        assert q >= n * n - 1e-12  # since E[x^2] = 1
        assert point.retrieval.item() == (n > 0)
        assert branch == "retrieval" or m == n == 0
        if T > 0:
            assert point.entropy.item() <= math.log(2) + 1e-12
            assert point.free_energy.item() == pytest.approx(point.energy.item() - T * point.entropy.item(), rel=1e-12)
    if branches["retrieval"].retrieval.item():
        assert branches["retrieval"].m.item() > 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"T": -0.1}, ValueError, "every value of T: T = -0.1"),
        ({"T": math.nan}, ValueError, "every value of T: T = nan"),
        ({"T": []}, ValueError, "T is empty"),
        ({"T": [[0.1]]}, ValueError, r"T has shape \(1, 1\)"),
        ({"T": 1j}, TypeError, "T = 1j is not an array of real numbers"),
        ({"T": "warm"}, TypeError, "T = 'warm' is not an array of real numbers"),
        ({"T": 0.1, "load": 0.0}, ValueError, "every value of load: load = 0.0"),
        ({"T": 0.1, "load": [0.1, -1.0]}, ValueError, "every value of load: load = -1.0"),
        ({"T": 0.1, "load": None}, ValueError, "load = None and the model has none"),
        ({"T": 0.1, "branch": "ferro"}, ValueError, "branch = 'ferro' is unknown; allowed: 'retrieval'"),
        ({"T": 0.1, "data_noise": "uniform"}, ValueError, "data_noise = 'uniform' is unknown"),
        ({"T": 0.1, "quality": 0.5}, ValueError, "quality = 0.5 has no meaning for training='storing'"),
        ({"T": 0.1, "examples": 5}, ValueError, "examples = 5 has no meaning for training='storing'"),
        ({"T": 0.1, "quality": 1.5}, ValueError, "quality = 1.5"),
        ({"T": 0.1, "examples": 2.5}, TypeError, "examples = 2.5 is not an array of integers"),
        ({"T": 0.1, "examples": []}, ValueError, "examples is empty"),
        ({"T": 0.1, "examples": [0]}, ValueError, "every value of examples: examples = 0"),
    ],
)
def test_bad_input_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        replica_symmetric.solve(storing(4), **({"load": 0.1} | arguments))


def test_a_model_of_another_kind_is_refused():
    with pytest.raises(TypeError, match="is not a DenseHebbian"):
        replica_symmetric.solve(None, load=0.1, T=0.1)
    with pytest.raises(ValueError, match="interaction = 'exponential'"):
        replica_symmetric.solve(DenseHebbian(N=9, P=None, interaction="exponential"), load=0.1, T=0.1)
