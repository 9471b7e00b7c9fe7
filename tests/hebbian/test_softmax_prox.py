import numpy as np
import pytest
from scipy.optimize import brentq, minimize
from scipy.special import lambertw, softmax

from hebbian import softmax_prox as module
from hebbian.potts import GroupLayout
from hebbian.softmax_prox import group_log_softmax, group_softmax, log_softmax_prox, softmax_prox

ALPHAS = [1e-4, 0.01, 0.125, 0.5, 0.99, 1.0, 1.5, 4.0]
SIZES = [1, 2, 3, 10, 200]


def test_softmax_of_groups():
    layout = GroupLayout([(2, 3), (3, 2), (1, 1)])
    u = np.random.default_rng(0).normal(size=(4, 13)) * 1e3
    q = group_softmax(u, layout)
    for start, end in zip(layout.offsets[:-1], layout.offsets[1:], strict=True):
        np.testing.assert_allclose(q[:, start:end], softmax(u[:, start:end], axis=-1), rtol=1e-12)
    # The logarithms do not underflow where the probabilities do.
    assert np.isfinite(group_log_softmax(u, layout)).all()
    assert (q == 0).any()


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [
        (0.125, [0.716912507, 0.279863015, 0.00322447463, 4.09125546e-9]),
        (0.5, [0.61301505, 0.30642653, 0.07776125, 0.00279717]),
    ],
)
def test_reference_values(alpha, expected):
    np.testing.assert_allclose(softmax_prox(np.array([1, 0.5, -0.3, -2]), alpha), expected, rtol=2e-6, atol=5e-10)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 30.0, 1e4, 1e6])
@pytest.mark.parametrize("k", SIZES)
@pytest.mark.parametrize("alpha", ALPHAS)
def test_optimality(alpha, k, scale):
    y = np.random.default_rng(k).normal(size=(20, k)) * scale
    log_z = log_softmax_prox(y, alpha)
    z = np.exp(log_z)
    np.testing.assert_allclose(z.sum(-1), 1, atol=1e-14)
    multiplier = (1 - alpha) * z + alpha * log_z - (y - y.max(-1, keepdims=True))
    # Entries far below the largest have terms as large as their y, whose rounding is that of y.
    rounding = np.maximum(1.0, y.max(-1, keepdims=True) - y)
    largest = np.take_along_axis(multiplier, y.argmax(-1)[:, None], -1)
    assert (np.abs(multiplier - largest) / rounding).max() < 1e-13
    # The multiplier does not depend on the axis, nor z on shifts.
    np.testing.assert_array_equal(softmax_prox(y.T, alpha, axis=0).T, z)
    np.testing.assert_allclose(softmax_prox(y + 1024.0, alpha), z, atol=1e-9 * max(1, 1e-4 / alpha))


@pytest.mark.parametrize("alpha", ALPHAS)
def test_newton_and_bisection_and_a_warm_start_agree(alpha):
    rng = np.random.default_rng(1)
    for k in (2, 3, 10):
        y = rng.normal(size=(30, k)) * 10.0 ** rng.uniform(-3, 3, (30, 1))
        z = softmax_prox(y, alpha)
        np.testing.assert_allclose(
            np.exp(module._bisection(np, y - y.max(-1, keepdims=True), alpha, -1)), z, atol=1e-12
        )
        warm = log_softmax_prox(y + 1e-3 * rng.normal(size=y.shape), alpha)
        np.testing.assert_allclose(softmax_prox(y, alpha, warm=warm), z, atol=1e-13)


def test_bisection_takes_over_from_newton(monkeypatch):
    y = np.random.default_rng(2).normal(size=(30, 5))
    y -= y.max(-1, keepdims=True)
    original, calls = module._bisection, []
    monkeypatch.setattr(module, "_bisection", lambda *arguments: calls.append(0) or original(*arguments))
    monkeypatch.setattr(module, "_NEWTON", 3)
    z = np.exp(module._newton(np, y, 0.01, 1e-8, None, -1))
    assert calls
    # Three steps for log z at every halving are few, but as many as give the sum of one its digits.
    monkeypatch.undo()
    np.testing.assert_allclose(z, softmax_prox(y, 0.01), atol=0.05)


def test_a_warm_start_needs_three_steps(monkeypatch):
    rng = np.random.default_rng(3)
    y = rng.normal(size=(30, 10))
    warm = log_softmax_prox(y, 0.125)
    changed = y + 1e-5 * rng.normal(size=y.shape)
    expected = softmax_prox(changed, 0.125)
    monkeypatch.setattr(module, "_NEWTON", 3)
    monkeypatch.setattr(module, "_bisection", None)
    np.testing.assert_allclose(softmax_prox(changed, 0.125, warm=warm), expected, atol=1e-13)
    with pytest.raises(TypeError):
        softmax_prox(changed, 0.125)


def test_it_solves_the_problem_that_the_docstring_states():
    y, alpha = np.array([0.3, -0.2, 0.4]), 0.3

    def value(angles):
        z = softmax(np.append(angles, 0.0))
        return alpha * (z @ np.log(z) - z @ z / 2) + (z - y) @ (z - y) / 2

    best = softmax(np.append(minimize(value, np.zeros(2), method="BFGS", tol=1e-14).x, 0.0))
    np.testing.assert_allclose(softmax_prox(y, alpha), best, atol=1e-6)


def test_lambert_form():
    y, alpha = np.array([0.3, -0.2, 0.4, 0.1]), 0.3

    def z(nu):
        return alpha / (1 - alpha) * lambertw((1 - alpha) / alpha * np.exp((y + nu) / alpha)).real

    nu = brentq(lambda nu: z(nu).sum() - 1, -5, 5, xtol=1e-15)
    np.testing.assert_allclose(softmax_prox(y, alpha), z(nu), atol=1e-14)


def test_limits_are_softmax_and_projection():
    rng = np.random.default_rng(4)
    y = rng.normal(size=(50, 6))
    np.testing.assert_allclose(softmax_prox(y, 1.0), softmax(y, axis=-1), rtol=1e-12)
    falling = -np.sort(-y, axis=-1)
    level = (np.cumsum(falling, axis=-1) - 1) / np.arange(1, 7)
    rho = (falling > level).sum(-1)
    projection = np.maximum(y - np.take_along_axis(level, rho[:, None] - 1, -1), 0)
    distances = [np.abs(softmax_prox(y, alpha) - projection).max() for alpha in (1e-4, 1e-5, 1e-6)]
    assert distances[2] < 1e-5
    assert distances[0] > 5 * distances[1] > 25 * distances[2]


@pytest.mark.parametrize("alpha", ALPHAS)
def test_lipschitz_constant_is_reached_at_the_uniform_binary_group(alpha):
    rng = np.random.default_rng(5)
    for k in (2, 4):
        y = rng.normal(size=(500, k))
        other = y + rng.normal(size=y.shape) * 10.0 ** rng.uniform(-4, 1, (500, 1))
        moved = np.linalg.norm(softmax_prox(y, alpha) - softmax_prox(other, alpha), axis=-1)
        assert (moved * (1 + alpha) <= np.linalg.norm(y - other, axis=-1) * (1 + 1e-9)).all()
    near = softmax_prox(np.array([[1e-5, -1e-5], [-1e-5, 1e-5]]), alpha)
    assert np.linalg.norm(near[0] - near[1]) * (1 + alpha) > 0.999 * np.sqrt(8e-10)


def test_extreme_inputs():
    for alpha in ALPHAS:
        np.testing.assert_array_equal(softmax_prox(np.array([1e300, -1e300, 0.0]), alpha), [1, 0, 0])
        np.testing.assert_array_equal(softmax_prox(np.array([-1.7e308, 1.7e308]), alpha), [0, 1])
        np.testing.assert_array_equal(softmax_prox(np.array([3e38, -3e38, 0.0], np.float32), alpha), [1, 0, 0])
        np.testing.assert_allclose(softmax_prox(np.full(1000, 7.0), alpha), 0.001, rtol=1e-12)
        np.testing.assert_array_equal(softmax_prox(np.array([[5.0], [-1e9]]), alpha), 1)
    np.testing.assert_array_equal(softmax_prox(np.array([1e4, -1e4, 0.0]), 0.125), [1, 0, 0])


@pytest.mark.parametrize("alpha", [0.125, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("k", [2, 3, 10, 1000])
def test_single_precision(alpha, k):
    y = (np.random.default_rng(6).normal(size=(200, k)) * 3).astype(np.float32)
    z = softmax_prox(y, alpha)
    assert z.dtype == np.float32
    assert np.abs(z - softmax_prox(y.astype(np.float64), alpha)).max() <= 3e-7


def test_tensors_give_what_arrays_give():
    torch = pytest.importorskip("torch")
    for k in (2, 5):
        y = np.random.default_rng(7).normal(size=(4, k))
        np.testing.assert_allclose(softmax_prox(torch.as_tensor(y), 0.3).numpy(), softmax_prox(y, 0.3), atol=1e-14)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((np.zeros(3), 0.0), "alpha = 0.0 is out of range"),
        ((np.zeros(3), -1.0), "alpha = -1.0 is out of range"),
        ((np.array([0, np.nan]), 1.0), "y has an entry that is infinite or not a number"),
        ((np.array([0, np.inf]), 1.0), "y has an entry that is infinite or not a number"),
        ((np.zeros(3), 1.0, -1, 0.0), "tol = 0.0 is out of range"),
        ((np.zeros(3), 1.0, -1, None, np.zeros(2)), r"warm has shape \(2,\); allowed: that of y, \(3,\)"),
    ],
)
def test_bad_input_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        softmax_prox(*arguments)
