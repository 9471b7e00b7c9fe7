import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf, roots_hermitenorm
from scipy.stats import binom

from hebbian import MultitaskingHebbian
from theory.replica_symmetric.pattern_average import (
    LARGEST_ENUMERATION,
    SINGULAR,
    averages,
    entries,
    frequencies,
    over_frequencies,
    over_values,
)

LEARNED = {"training": "supervised", "quality": 0.6, "examples": 5}


def law(K, d, data_noise="auto", **training):
    return entries(MultitaskingHebbian(N=9, K=K, dilution=d, **training), K=K, data_noise=data_noise)


def entry(d, data_noise="auto", training=None, quality=1.0, examples=1):
    """All (probability, xi, hat eta) of one pattern, Gaussian data noise by 60 nodes."""
    rho = (1 - quality**2) / (examples * quality**2)
    if training is None:
        x, weight = np.ones(1), np.ones(1)
    elif data_noise == "gaussian":
        g, weight = roots_hermitenorm(60)
        x, weight = (1 + math.sqrt(rho) * g) / math.sqrt(1 + rho), weight / math.sqrt(2 * math.pi)
    else:
        B = np.arange(examples + 1)
        x = (2 * B - examples) / (examples * quality * math.sqrt(1 + rho))
        weight = binom.pmf(B, examples, (1 + quality) / 2)
    return [(d, 0, 0.0)] + [
        ((1 - d) / 2 * w, xi, xi * value) for xi in (-1, 1) for value, w in zip(x, weight, strict=True)
    ]


def brute_force(n, T, d, data_noise="auto", **training):
    """The averages by nested loops over all entries."""
    K = len(n)
    first, m, curvature, nonblank, free, entropy = np.zeros(K), np.zeros(K), np.zeros((K, K)), np.zeros(K), 0.0, 0.0
    for combination in itertools.product(entry(d, data_noise, **training), repeat=K):
        p = math.prod(part[0] for part in combination)
        xi, eta = (np.array([part[i] for part in combination]) for i in (1, 2))
        y = float(n @ eta) / T
        tanh, log_cosh = math.tanh(y), abs(y) + math.log1p(math.exp(-2 * abs(y)))
        first += p * eta * tanh
        m += p * xi * tanh
        curvature += p * np.outer(eta, eta) * (1 - tanh**2) / T
        nonblank += p * xi**2 * (1 - tanh**2) / T
        free += p * T * log_cosh
        entropy += p * (log_cosh - y * tanh)
    return first, m, curvature, nonblank, free, entropy


@pytest.mark.parametrize("average", [over_frequencies, over_values])
@pytest.mark.parametrize(
    ("n", "T", "d", "data_noise", "training"),
    [
        ([0.5, 0.3, 0.1, 0.0], 0.2, 0.3, "auto", {}),
        ([0.2, 0.2, 0.2], 0.05, 0.9, "auto", {}),
        ([1.0], 3.0, 0.0, "auto", {}),
        ([0.6, 0.2, 0.1], 0.1, 0.2, "binomial", LEARNED),
        ([0.4, 0.4], 0.3, 0.5, "auto", {"training": "supervised", "quality": 0.05, "examples": 8}),
        ([0.4, 0.3], 0.3, 0.5, "auto", {"training": "supervised", "quality": 0.9, "examples": 1}),
        ([0.6, 0.2], 0.8, 0.2, "gaussian", LEARNED),
        ([0.4, 0.0], 1.0, 0.4, "gaussian", {"training": "supervised", "quality": 0.1, "examples": 3}),
    ],
)
def test_both_sums_agree_with_nested_loops(average, n, T, d, data_noise, training):
    n = np.array(n)
    expected = brute_force(n, T, d, data_noise, **training)
    # Sixty Gauss-Hermite nodes are good to 1e-9 at these temperatures.
    tolerance = 1e-9 if data_noise == "gaussian" else 3e-14
    for value, reference in zip(average(n, T, law(n.size, d, data_noise, **training), True), expected, strict=True):
        np.testing.assert_allclose(value, reference, rtol=0, atol=tolerance)


LAWS = st.one_of(
    st.just({}),
    st.builds(
        lambda r, M: {"training": "supervised", "quality": r, "examples": M}, st.floats(0.02, 0.999), st.integers(1, 6)
    ),
)


@given(
    n=st.lists(st.floats(0, 0.6) | st.just(0.0) | st.just(0.25), min_size=1, max_size=4),
    T=st.floats(0.01, 5.0),
    d=st.floats(0, 0.99),
    training=LAWS,
    data_noise=st.sampled_from(["binomial", "gaussian"]),
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_the_two_sums_agree(n, T, d, training, data_noise):
    entry_law = law(len(n), d, data_noise, **training)
    pairs = zip(*(sums(np.array(n), T, entry_law, True) for sums in (over_frequencies, over_values)), strict=True)
    # First averages and free energy 1e-12; second ones, per T, lose 1/T, and up to rho in the Gaussian quadrature.
    for (one, other), scale in zip(pairs, (1, 1, 30 / T, 30 / T, 1 + T, 1 / T), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("T", [0.01, 0.3])
@pytest.mark.parametrize("d", [0.0, 0.4])
def test_many_patterns_against_the_law_of_their_sum(T, d):
    # Equal amplitudes: the law of the sum of K - 1 entries is a convolution.
    K, amplitude = 150, 0.04
    law_of_sum = np.ones(1)
    for _ in range(K - 1):
        law_of_sum = np.convolve(law_of_sum, [(1 - d) / 2, d, (1 - d) / 2])
    total = np.arange(-(K - 1), K)
    expected = (1 - d) * law_of_sum @ np.tanh(amplitude * (total + 1) / T)
    first, magnetisation, *_ = averages(np.full(K, amplitude), T, law(K, d), False)
    np.testing.assert_allclose(first, expected, rtol=0, atol=1e-13)
    np.testing.assert_allclose(magnetisation, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("sums", [over_frequencies, over_values])
@pytest.mark.parametrize("data_noise", ["binomial", "gaussian"])
def test_averages_are_each_other_s_derivatives(sums, data_noise):
    n, T, h, entry_law = np.array([0.5, 0.2, 0.1]), 0.2, 1e-5, law(3, 0.3, data_noise, **LEARNED)
    first, _, curvature, _, free, entropy = sums(n, T, entry_law, True)
    for mu in range(3):
        step = h * np.eye(3)[mu]
        above, below = (sums(n + sign * step, T, entry_law, True) for sign in (1, -1))
        assert (above[4] - below[4]) / (2 * h) == pytest.approx(first[mu], abs=1e-8)
        np.testing.assert_allclose((above[0] - below[0]) / (2 * h), curvature[mu], atol=1e-8)
    warm, cold = (sums(n, T + sign * h, entry_law, True)[4] for sign in (1, -1))
    assert (warm - cold) / (2 * h) == pytest.approx(entropy, abs=1e-8)
    assert free == pytest.approx(n @ first + T * entropy, abs=1e-13)


def test_the_limit_of_zero_temperature():
    # One pattern: E sign = P(xi = +-1), or erf(1/sqrt(2 rho)) of it; the blank sites have the entropy ln 2.
    d, rho = 0.3, (1 - 0.36) / (5 * 0.36)
    first, m, curvature, _, free, entropy = averages(np.array([0.4]), 0.0, law(1, d), True)
    assert first == pytest.approx(1 - d)
    assert (m, curvature, free) == (pytest.approx(1 - d), 0, pytest.approx(0.4 * (1 - d)))
    assert entropy == pytest.approx(d * math.log(2))
    _, m, *_ = averages(np.array([0.4]), 0.0, law(1, d, "gaussian", **LEARNED), True)
    assert m == pytest.approx((1 - d) * erf(1 / math.sqrt(2 * rho)), abs=1e-13)
    for data_noise in ("binomial", "gaussian"):
        at = np.array([0.5, 0.2, 0.06]), law(3, d, data_noise, **LEARNED)
        for limit, value in zip(
            averages(at[0], 0.0, at[1], True)[:2], over_values(at[0], 1e-5, at[1], True), strict=False
        ):
            np.testing.assert_allclose(limit, value, atol=1e-8)


def test_fields_that_vanish_at_zero_temperature_follow_neither_side():
    # Two equal amplitudes: where the entries are opposite the spin is free, and the curvature singular.
    d, n = 0.2, np.array([0.3, 0.3])
    first, _, curvature, _, _, entropy = averages(n, 0.0, law(2, d), True)
    assert first == pytest.approx((1 - d) * d + (1 - d) ** 2 / 2)
    assert entropy == pytest.approx(math.log(2) * (d**2 + (1 - d) ** 2 / 2))
    assert curvature / SINGULAR == pytest.approx((1 - d) ** 2 / 2 * np.array([[1, -1], [-1, 1]]))


def test_the_law_of_the_entries():
    for M, size in ((5, 7), (8, 9)):  # at an even M a blank has the value of a tie
        entry_law = law(3, 0.3, training="supervised", quality=0.6, examples=M)
        values, probability, xi, filled = entry_law.lattice
        assert values.size == size
        assert (probability.sum(), probability @ values**2) == (pytest.approx(1), pytest.approx(1 - 0.3))
        assert probability @ filled == pytest.approx(0.7)
        R = 0.36 + 0.64 / M
        assert probability @ (xi * values) == pytest.approx(0.7 * 0.6 / math.sqrt(R))
    assert law(3, 0.3).terms == 27
    assert law(40, 0.3, **LEARNED).terms > LARGEST_ENUMERATION
    # Copies are patterns.
    assert law(3, 0.3, training="supervised", quality=1.0, examples=9).lattice.shape == (4, 3)


def test_the_cost_of_the_sum_over_frequencies_does_not_grow_with_the_number_of_patterns():
    # The amplitudes of a state have a bounded sum of squares; Hoeffding bounds their field.
    counts = [frequencies(np.full(K, 0.5 / math.sqrt(K)), 0.1, law(K, 0.4)) for K in (100, 200, 800)]
    assert counts[0] == counts[1] == counts[2] < 300


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="data_noise = 'uniform' is unknown"):
        law(3, 0.3, "uniform")
