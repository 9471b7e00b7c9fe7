import math

import numpy as np
import pytest

from hebbian.permutations import PermutationTask, exact_match
from theory.permutations import REGIMES, joint_law
from theory.permutations_ensembles import ensemble_size, ensemble_size_all, ensemble_size_bound, success_probability

K = (3, 5, 10, 20, 40)
TAILS = ("gaussian", "exponential")


def means(k, A, N, count, rng, regime="ntk"):
    """Draw the mean outputs of N networks, shape (count, m, k)."""
    W, C = joint_law(k, A, regime=regime)
    factor = np.linalg.cholesky(C + 1e-14 * np.eye(len(A)))
    return W + np.einsum("ab,nbk->nak", factor, rng.normal(size=(count, *W.shape))) / math.sqrt(N)


@pytest.mark.parametrize(
    ("k", "n", "N", "regime"),
    [
        (6, 2, 60, "ntk"),
        (6, 4, 20, "ntk"),
        (6, 6, 1, "ntk"),
        (20, 20, 8, "ntk"),
        (6, 2, 15, "readout"),
        (12, 11, 3, "readout"),
    ],
)
def test_success_is_that_of_drawn_networks(k, n, N, regime):
    A = PermutationTask(k).inputs(n)[:1]
    right = exact_match(means(k, A, N, 20_000, np.random.default_rng(n), regime), A).mean()
    expected = float(success_probability(N, k, n, regime=regime))
    assert 0.05 < expected < 0.99
    # Five deviations of a binomial fraction: a false-alarm rate of 6e-7.
    assert abs(right - expected) < 5 * math.sqrt(expected * (1 - expected) / 20_000)


def test_success_rises_to_one():
    P = success_probability([1, 10, 100, 1000, 4000], 10, 2)
    assert (np.diff(P) > 0).all()
    assert P[0] < 0.02
    assert P[-1] == pytest.approx(1, abs=1e-12)
    assert success_probability(100, 10, 2, sigma_w=1.2) < P[2] < success_probability(100, 10, 2, sigma_w=0.8)
    np.testing.assert_array_equal(success_probability([1, 5], 10, 1), 1)


def test_sizes_of_the_source():
    # Computed apart from this code, with the same law.
    assert [ensemble_size(k, 2, 0.9) for k in (3, 5, 10, 15, 20, 30)] == [112, 205, 333, 454, 579, 840]
    assert [ensemble_size(k, 2, 0.9, regime="readout") for k in (10, 20, 30)] == [58, 121, 190]
    ratios = [ensemble_size(k, 2, 0.9) / (k * math.log(k)) for k in (10, 20, 40, 80, 160, 320)]
    np.testing.assert_allclose(ratios, [14.5, 9.7, 7.6, 6.6, 6.1, 5.8], atol=0.05)


@pytest.mark.parametrize("regime", REGIMES)
def test_the_size_is_the_least_that_is_enough(regime):
    for k, n, p in ((5, 2, 0.9), (10, 3, 0.99), (20, 20, 0.5)):
        N = ensemble_size(k, n, p, regime=regime)
        assert success_probability(N, k, n, regime=regime) >= p
        assert N == 1 or success_probability(N - 1, k, n, regime=regime) < p
    assert ensemble_size(10, 1) == 1


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("delta", [0.5, 0.1, 1e-3])
def test_bounds_are_bounds(regime, delta):
    for k in K:
        exact = {n: ensemble_size(k, n, 1 - delta, regime=regime) for n in range(1, k + 1)}
        for n, size in exact.items():
            close, loose = (ensemble_size_bound(k, delta, n, regime=regime, tails=tails) for tails in TAILS)
            assert size <= close <= loose
        for tails in TAILS:
            worst, every = (ensemble_size_bound(k, delta, n, regime=regime, tails=tails) for n in (None, "all"))
            assert max(exact.values()) <= worst <= every


def test_exponential_bounds_grow_as_the_theorem_says():
    k = [200, 400, 800]
    one = [ensemble_size_bound(n, 0.1) / (n * math.log(n / 0.1)) for n in k]
    every = [ensemble_size_bound(n, 0.1, "all") / n**2 for n in k]
    assert abs(np.diff(one)).max() < 0.1 * one[-1]
    assert abs(np.diff(every)).max() < 0.1 * every[-1]
    assert one[-1] == pytest.approx(2 * 2.8037, rel=0.1)
    assert every[-1] == pytest.approx(2 * 2.8037 * math.log(2), rel=0.1)
    # Words of two ones, of which there are of order k^2, leave it at k ln k.
    close = [ensemble_size_bound(n, 0.1, "all", tails="gaussian") / (n * math.log(n)) for n in (100, 200, 400)]
    assert abs(np.diff(close)).max() < 0.05 * close[-1]


@pytest.mark.parametrize("regime", REGIMES)
def test_all_words_at_once_by_monte_carlo(regime):
    k, A, p = 4, PermutationTask(4).inputs(range(2, 5)), 0.8
    N, error = ensemble_size_all(k, p, 4000, np.random.default_rng(0), regime=regime)
    assert 0 < error < 0.05 * N
    right = exact_match(means(k, A, N, 20_000, np.random.default_rng(1), regime), A).all(1).mean()
    # Both are of finite numbers of draws: deviations 0.0063 and 0.0028, five of them.
    assert abs(right - p) < 5 * math.hypot(0.0063, 0.0028)
    assert ensemble_size(k, 2, p, regime=regime) < N < ensemble_size_bound(k, 1 - p, "all", regime=regime)


def test_all_words_near_the_source():
    sizes = [ensemble_size_all(k, 0.9, 2000, np.random.default_rng(0))[0] for k in (4, 6, 8)]
    np.testing.assert_allclose(sizes, [350, 520, 640], rtol=0.06)
    close = [ensemble_size_bound(k, 0.1, "all", tails="gaussian") for k in (4, 6, 8)]
    np.testing.assert_allclose(sizes, close, rtol=0.06)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ensemble_size(10, 2, 1.0), r"p = 1\.0"),
        (lambda: ensemble_size(10, 2, 0.0), r"p = 0\.0"),
        (lambda: ensemble_size(10, 2, 0.9, sigma_w=1e5), r"p = 0\.9 .* needs over 2\^53 networks"),
        (lambda: ensemble_size_bound(10, 1.0), r"delta = 1\.0"),
        (lambda: ensemble_size_bound(10, 0.1, "some"), "n_ones = 'some'"),
        (lambda: ensemble_size_bound(10, 0.1, 11), "n_ones = 11"),
        (lambda: ensemble_size_bound(10, 0.1, tails="heavy"), "tails = 'heavy'"),
        (lambda: ensemble_size_all(13, 0.9, 1000, np.random.default_rng(0)), "k = 13"),
        (lambda: ensemble_size_all(3, 0.9, 10, np.random.default_rng(0)), "n_samples = 10"),
        (lambda: success_probability([5, 0], 3, 2), "n_members has an entry 0"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
