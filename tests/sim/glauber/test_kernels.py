import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from hebbian import DenseHebbian
from hebbian.interaction import sign_polynomial
from sim import flip_energies, random
from sim.glauber import front, kernels, states
from tests.sim.cases import NETWORKS, TRAININGS, network, random_spins

ALGORITHMS = ("rows", "fields", "blocks")
ALL_ORDERS = [(training, kind, P) for training in TRAININGS for kind in ("distinct", "all") for P in range(2, 7)]
ALL_ORDERS += [(training, *kind) for training in TRAININGS for kind in (("exponential", None), ("diluted", 2))]


@pytest.mark.parametrize(("training", "interaction", "P"), ALL_ORDERS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), N=st.integers(6, 9), K=st.integers(1, 3))
def test_flip_energies_equal_the_literal_sum(training, interaction, P, seed, N, K):
    sample, sigma = network(training, interaction, P, N, K, seed), random_spins(N, seed)
    before, i = sample.energy_by_tuples(sigma), seed % N
    flipped = sigma.copy()
    flipped[i] *= -1
    expected = sample.energy_by_tuples(flipped) - before
    # Relative to the energies that are subtracted: their difference may vanish.
    scale = max(abs(before), abs(expected), 1e-3)
    for algorithm in ALGORITHMS if P == 2 else ("rows",):
        assert flip_energies(sample, sigma, algorithm=algorithm)[i] == pytest.approx(expected, abs=1e-10 * scale)


@pytest.mark.parametrize(("training", "interaction", "P"), NETWORKS)
def test_caches_after_many_flips_equal_caches_built_anew(training, interaction, P):
    sample, sigma = network(training, interaction, P, 30, 20), random_spins(30, 1)
    for algorithm in ALGORITHMS if P == 2 else ("rows",):
        state, spins = states.make(sample, algorithm, 1), sigma[None].copy()
        kernels.build(state, spins)
        record, overlaps, chains = np.zeros((50, 4, 1)), np.zeros((50, 1, 0)), front.of_temperatures(np.array([1e9]), 1)
        scan = kernels.ORDERED if algorithm == "blocks" else kernels.RANDOM
        # At so high a temperature about half of the 1500 updates are flips.
        arguments = (kernels.GLAUBER, scan, 0, np.array([1, 2], dtype=np.uint32), *front.probe(sample, 0))
        keep = (np.zeros((0, 0), np.int8), np.zeros((1, 0), np.int64), np.zeros((0, 1, 30), np.int8))
        kernels.run(state, spins, chains, *arguments, record, overlaps, *keep)
        updated, unit = kernels.flip_energies(state, spins, 0)
        energy = kernels_energy(sample, spins)
        rebuilt = flip_energies(sample, spins[0], algorithm=algorithm)
        np.testing.assert_allclose(updated * unit, rebuilt, rtol=1e-9, atol=1e-9 * np.abs(rebuilt).max())
        assert record[-1, 2, 0] == pytest.approx(energy, rel=1e-10)


def kernels_energy(sample, spins):
    if sample.model.P is None:
        return sample.log_energy(spins[0])
    return sample.energy(spins[0])


@pytest.mark.slow
@pytest.mark.parametrize(("examples", "bound"), [(20, 0.0), (400_000, 1e-9)])
def test_sums_do_not_drift_between_refreshes(examples, bound):
    # Half of 1.2 million updates are flips. Sums over tuples are integers, here below 2^53 and beyond.
    model = DenseHebbian(N=60, P=4, K=10, training="supervised", quality=0.5, examples=examples)
    sample = model.quench(rng=random.stream(1, (0,), "patterns"))
    state, sigma = states.make(sample, "rows", 1), random_spins(60, 1)[None].copy()
    kernels.build(state, sigma)
    chains, record = front.of_temperatures(np.array([1e3]), 1), np.zeros((20 * front._CHUNK, 4, 1))
    arguments = (kernels.GLAUBER, kernels.ORDERED, 0, np.array([1, 2], dtype=np.uint32), *front.probe(sample, 0))
    keep = (np.zeros((0, 0), np.int8), np.zeros((1, 0), np.int64), np.zeros((0, 1, 60), np.int8))
    kernels.run(state, sigma, chains, *arguments, record, np.zeros((len(record), 1, 0)), *keep)
    running, _ = kernels.flip_energies(state, sigma, 0)
    kernels.build(state, sigma)
    rebuilt, _ = kernels.flip_energies(state, sigma, 0)
    assert record[:, 3].mean() > 0.4
    assert np.abs(running - rebuilt).max() <= bound * np.sqrt(np.mean(rebuilt**2))
    assert (running == rebuilt).all() == (bound == 0.0)


@pytest.mark.parametrize("training", ["storing", "unsupervised"])
def test_sign_rows_are_exact_integers(training):
    # Both algorithms at P = 2 sum integers: the same fields to the last bit, hence the same trajectories.
    sample, sigma = network(training, "distinct", 2, 25, 10), random_spins(25, 3)
    by_rows, *others = (flip_energies(sample, sigma, algorithm=name) for name in ALGORITHMS)
    for other in others:
        np.testing.assert_array_equal(by_rows, other)


@pytest.mark.parametrize("interaction", ["distinct", "all"])
@pytest.mark.parametrize(("P", "real"), [(16, np.float32), (17, np.float64), (30, np.float64)])
def test_high_orders_do_not_overflow(P, real, interaction):
    sample = network("storing", interaction, P, 140, 3)
    assert states.make(sample, "rows", 1).A.dtype == real
    for sigma in (sample.xi[0], random_spins(140, 1)):
        flipped = sigma.copy()
        flipped[5] *= -1
        expected = sample.energy(flipped) - sample.energy(sigma)
        found = flip_energies(sample, sigma)
        assert np.isfinite(found).all()
        assert found[5] == pytest.approx(expected, rel=1e-5, abs=1e-9 * abs(sample.energy(sigma)))


@pytest.mark.parametrize(("P", "N", "K"), [(3, 200, 9000), (4, 160, 20_000), (6, 60, 20_000)])
@pytest.mark.parametrize("start", ["pattern", "random"])
def test_single_precision_is_wrong_by_a_millionth_at_most(P, N, K, start):
    sample = network("storing", "distinct", P, N, K)
    sigma = sample.xi[0] if start == "pattern" else random_spins(N, 1)
    S = sample.rows.astype(np.int64) @ sigma
    up, here, down = (sign_polynomial(S + shift, N, P, "distinct") for shift in (2, 0, -2))
    # Integers whose sums stay below 2^53: exact.
    exact = sample.prefactor * (sigma * (sample.rows.T @ ((up - down) / 2)) - ((up + down) / 2 - here).sum())
    assert abs(sample.rows.T @ ((up - down) / 2)).max() + abs(up - down).sum() < 2**53
    assert np.abs(flip_energies(sample, sigma) - exact).max() < 1e-6 * np.sqrt(np.mean(exact**2))


def test_exponential_interaction_at_large_N():
    # exp(2000) overflows; the costs relative to the largest exponential do not.
    sample = network("storing", "exponential", None, 2000, 5)
    state, spins = states.make(sample, "rows", 1), sample.xi[:1].copy()
    kernels.build(state, spins)
    relative, unit = kernels.flip_energies(state, spins, 0)
    np.testing.assert_allclose(relative, 1 - np.exp(-2), rtol=1e-12)
    assert np.isinf(unit)
    assert np.all(flip_energies(sample, spins[0]) == np.inf)


@pytest.mark.parametrize(
    ("rule", "x", "expected"),
    [
        (kernels.GLAUBER, 0.3, 1 / (1 + np.exp(0.3))),
        (kernels.GLAUBER, -np.inf, 1.0),
        (kernels.GLAUBER, np.inf, 0.0),
        (kernels.GLAUBER, 0.0, 0.5),
        (kernels.METROPOLIS, 0.3, np.exp(-0.3)),
        (kernels.METROPOLIS, -0.3, 1.0),
        (kernels.METROPOLIS, np.inf, 0.0),
        (kernels.DESCENT, -1e-9, 1.0),
        (kernels.DESCENT, 0.0, 0.0),
    ],
)
@pytest.mark.parametrize("spin", [-1, 1])
def test_flip_probability(rule, x, expected, spin):
    # The midpoints of 10^4 equal cells stand for u: the frequency is right to 1e-4.
    u = (np.arange(10_000) + 0.5) / 10_000
    thresholds = {
        kernels.GLAUBER: np.log(u / (1 - u)),
        kernels.METROPOLIS: -np.log(u),
        kernels.DESCENT: np.full_like(u, np.nan),
    }[rule]
    assert np.mean([kernels.flips(rule, x, spin, value) for value in thresholds]) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("rule", [kernels.GLAUBER, kernels.METROPOLIS])
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_thresholds_are_functions_of_the_uniform_numbers(rule, size):
    key = np.array([1, 2], dtype=np.uint32)
    u, thresholds = np.empty(size), np.empty(size)
    random.fill_uniforms(u, 3, 1, 4, key)
    kernels.fill_thresholds(thresholds, np.empty(size), rule, 3, 1, 4, key)
    expected = np.log(u / (1 - u)) if rule == kernels.GLAUBER else -np.log(u)
    np.testing.assert_allclose(thresholds, expected, rtol=4e-16, atol=4e-16)


def thresholds_of(u, rule):
    thresholds = np.array(u, float)
    to_thresholds(thresholds, np.empty_like(thresholds), rule)
    return thresholds


@njit
def to_thresholds(draws, scratch, rule):
    kernels.to_thresholds(draws, scratch, rule)


LARGEST = kernels.LARGEST_FIELD - 1


@pytest.mark.parametrize("rule", [kernels.GLAUBER, kernels.METROPOLIS, kernels.DESCENT])
@settings(deadline=None)
@given(
    u=st.lists(st.floats(2.0**-53, 1 - 2.0**-53) | st.just(0.0), min_size=1, max_size=80),
    T=st.floats(1e-3, 1e3) | st.sampled_from([0.0, 1e-300, 1e300]),
    N=st.integers(2, 30_000),
    steps=st.lists(st.integers(-LARGEST, LARGEST) | st.integers(-10, 10), min_size=1, max_size=10),
    near=st.booleans(),
)
def test_bounds_decide_as_thresholds_do(rule, u, T, N, steps, near):
    unit, beta = 4 / (2 * N), 1 / T if T else np.inf
    thresholds = np.full(len(u), np.nan) if rule == kernels.DESCENT else thresholds_of(u, rule)
    bounds = np.empty(len(u), np.int32)
    kernels.fill_bounds(bounds, np.array(u), np.empty(len(u)), rule, beta, unit)
    for bound, threshold in zip(bounds.tolist(), thresholds, strict=True):
        for n in steps:
            n = int(np.clip(n + bound * near, -LARGEST, LARGEST))
            x = 0.0 if n == 0 else beta * (unit * n)
            if rule == kernels.GLAUBER:
                # Cost of the flip of a spin up in a field n, and of a spin down.
                assert kernels.flips(rule, x, 1, threshold) == (n <= bound)
                assert kernels.flips(rule, -x, -1, threshold) == (n > bound)
            else:
                assert kernels.flips(rule, x, 1, threshold) == (n < bound)


@pytest.mark.parametrize("rule", [kernels.GLAUBER, kernels.METROPOLIS])
@pytest.mark.parametrize("scale", [3e-4, 0.7, 30.0, 1e3, 1e5, 3e6, 1e30])
def test_bounds_of_single_precision_are_those_of_double_precision_or_open(rule, scale):
    # Half of the numbers within rounding of a threshold that is an integer, where a decision could go wrong.
    rng = random.stream(1, (0,), "dynamics")
    x = np.rint(rng.normal(size=200_000) * 3 * scale) / scale * (1 + rng.normal(size=200_000) * 3e-7)
    near = 1 / (1 + np.exp(-x)) if rule == kernels.GLAUBER else np.exp(-np.abs(x))
    u = np.concatenate([rng.random(200_000), near, rng.random(50_000) * 2.0**-40, [0.0, 2.0**-53, 1 - 2.0**-53]])
    rough, exact = np.empty(u.size, np.int32), np.empty(u.size, np.int32)
    kernels.fill_rough_bounds(rough, u, np.empty(2 * u.size, np.float32), rule, scale)
    kernels.fill_exact_bounds(exact, thresholds_of(u, rule), rule, 1.0, 1 / scale)
    known = rough != kernels._OPEN
    np.testing.assert_array_equal(rough[known], exact[known])
    # Of all but the smallest and the largest scales most are known.
    assert known[:200_000].mean() > {3e-4: 0.99, 0.7: 0.99, 30.0: 0.99, 1e3: 0.99, 1e5: 0.8}.get(scale, -1)


ENDS = [2.0**-53, 1 - 2.0**-53, 1.0, 1 + 2.0**-52, 2.0**53 - 1, 2.0**53]
ENDS += [np.nextafter(np.sqrt(x), to) for x in (0.5, 2.0) for to in (0.0, np.sqrt(x), 2.0)]


@given(st.lists(st.floats(2.0**-53, 2.0**53) | st.sampled_from(ENDS), min_size=1, max_size=40))
def test_logarithms_are_right_to_the_last_digits(numbers):
    values = np.array(numbers)
    kernels.logarithms(values, np.empty_like(values))
    np.testing.assert_allclose(values, np.log(numbers), rtol=4e-16, atol=4e-16)


def test_the_logarithm_of_the_number_zero_is_that_of_a_very_small_one():
    values = np.array([0.0])
    kernels.logarithms(values, np.empty(1))
    assert -710 < values[0] < -700
