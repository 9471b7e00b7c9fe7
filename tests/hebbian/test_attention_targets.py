import math

import numpy as np
import pytest

from hebbian.attention_targets import (
    check_tokens,
    correlation_weighted,
    identity_bias,
    key_power,
    partly_aligned,
    query_power,
    sample_tokens,
)

D = 3
RNG = np.random.default_rng(0)
BETA, S = RNG.normal(size=D), RNG.normal(size=(D, D))
TARGETS = {
    "keys 1": key_power(BETA, 1),
    "keys 3": key_power(BETA, 3),
    "query 2": query_power(BETA, 2),
    "correlation 1": correlation_weighted(BETA, 1, S),
    "correlation 2": correlation_weighted(BETA, 2, S),
    "correlation 2, identity": correlation_weighted(BETA, 2),
}


def power(vector, k):
    tensor = np.ones(())
    for _ in range(k):
        tensor = np.multiply.outer(tensor, vector)
    return tensor


def test_tokens_are_uniform_on_the_sphere():
    x = sample_tokens(2000, 4, D, np.random.default_rng(1))
    assert x.shape == (2000, 5, D)
    np.testing.assert_allclose(np.linalg.norm(x, axis=-1), 1, rtol=1e-12)
    # Means of 10,000 tokens: variances 1/d and 2(d-1)/(d^2 (d+2)); 5 standard errors for 6 + 9 means, alarm rate 1e-5.
    tokens = x.reshape(-1, D)
    assert (np.abs(tokens.mean(0)) < 5 / np.sqrt(len(tokens) * D)).all()
    assert np.abs(tokens.T @ tokens / len(tokens) - np.eye(D) / D).max() < 5 * np.sqrt(4 / 45 / len(tokens))
    assert np.abs(np.einsum("nid,njd->ij", x, x) / len(x) - np.eye(5)).max() < 5 / np.sqrt(len(x) * D)


def test_values_are_the_sums_of_their_definition():
    x = sample_tokens(4, 3, D, np.random.default_rng(2))
    for row, f in zip(x, correlation_weighted(BETA, 3, S)(x), strict=True):
        assert f == pytest.approx(np.mean([(row[0] @ S @ key) ** 3 * (BETA @ key) for key in row[1:]]), rel=1e-12)
    np.testing.assert_allclose(key_power(BETA, 4)(x), ((x[:, 1:] @ BETA) ** 4).mean(1), rtol=1e-12)
    np.testing.assert_allclose(query_power(BETA, 3)(x), (x[:, 0] @ BETA) ** 3, rtol=1e-12)
    np.testing.assert_array_equal(correlation_weighted(BETA, 1)(x), correlation_weighted(BETA, 1, np.eye(D))(x))


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("extra", [0, 1])
def test_expansion_is_the_target_and_symmetric_and_has_the_norm(name, extra):
    target = TARGETS[name]
    k = target.lowest_order + extra
    ((order, tensor),) = target.expansion(k).items()
    assert (order, tensor.shape) == (k, (D + 1,) * (2 * k + 1))
    x = sample_tokens(4, 2, D, np.random.default_rng(3))
    augmented = np.concatenate([x, np.ones((4, 3, 1))], -1)
    sums = [
        np.mean([(np.multiply.outer(power(row[0], k), power(key, k + 1)) * tensor).sum() for key in row[1:]])
        for row in augmented
    ]
    np.testing.assert_allclose(sums, target(x), atol=1e-13)
    of_query, of_keys = target.degrees
    places = math.comb(k, of_query) * math.comb(k + 1, of_keys)
    assert (tensor**2).sum() == pytest.approx(target.squared_norm() / places, rel=1e-12)
    for first in (0, k):
        if first + 1 < (k if first == 0 else 2 * k + 1):
            np.testing.assert_allclose(tensor, tensor.swapaxes(first, first + 1), atol=1e-15)
    assert target.expansion() if extra else target.expansion().keys() == {k}


def test_matrices_between_random_and_identity():
    S = partly_aligned(0.6, 200, np.random.default_rng(4))
    # 40,000 entries: the mean square of the noise has the relative error sqrt(2/40,000); 5 of them.
    noise = (S - 0.6 * np.eye(200)) / 0.8
    assert (noise**2).sum() == pytest.approx(200, rel=5 * np.sqrt(2) / 200)
    np.testing.assert_array_equal(partly_aligned(1.0, 3, np.random.default_rng(0)), np.eye(3))
    np.testing.assert_array_equal(identity_bias(2, 3.0), np.diag([3.0, 3.0, 0.0]))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: key_power([1.0, np.nan], 2), "beta has an entry nan"),
        (lambda: key_power([0.0, 0.0], 2), r"beta = \[0\.0, 0\.0\] is no direction"),
        (lambda: key_power([1.0], 0), "p = 0 is out of range; allowed: integers >= 1"),
        (lambda: query_power([[1.0]], 1), r"beta has shape \(1, 1\)"),
        (lambda: correlation_weighted(BETA, 0), "q = 0 is out of range"),
        (lambda: correlation_weighted(BETA, 1, np.eye(2)), r"S has shape \(2, 2\); allowed: \(3, 3\)"),
        (lambda: key_power(BETA, 2)(np.ones((4, D))), r"x has shape \(4, 3\)"),
        (lambda: key_power(BETA, 2)(np.ones((4, 1, D))), "at least 2 tokens"),
        (lambda: key_power(BETA, 2)(np.ones((4, 2, 2))), r"x has shape \(4, 2, 2\); allowed: \(any, any, 3\)"),
        (lambda: key_power(BETA, 2)(np.full((1, 2, D), np.nan)), "x has an entry nan"),
        (lambda: key_power(BETA, 4).expansion(2), "order = 2 is out of range; allowed: integers from 3 to 6"),
        (lambda: check_tokens(np.ones((1, 2, 2)), 2), r"x has a token of norm 1\.41421; allowed: 1"),
        (lambda: partly_aligned(1.1, 2, RNG), r"gamma = 1\.1 is out of range"),
        (lambda: sample_tokens(1, 0, 2, RNG), "N = 0 is out of range"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
