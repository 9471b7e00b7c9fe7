import math

import numpy as np
import pytest

from hebbian.activations import get_activation
from theory.kernels import dual_diag, gaussian_expectation
from theory.kernels.mehler import MehlerSeries, error_bounds, evaluate, unsettled

CLIP = get_activation(lambda z: np.clip(z, -1, 0.5), df=lambda z: 1.0 * ((z > -1) & (z < 0.5)), kinks=(-1, 0.5))
Q = np.array([0.3, 2.0])


def coefficients(act, tol=1e-12):
    squares = dual_diag(act, Q)
    series = MehlerSeries(act, Q[1], (squares[0][1], squares[1][1]), tol)
    return series.coefficients(Q, *squares), squares


@pytest.mark.parametrize("act", [CLIP, get_activation("relu"), get_activation("tanh"), get_activation("swish")])
def test_coefficients_are_averages_with_hermite_polynomials(act):
    found, _ = coefficients(act)
    for j in range(12):
        polynomial = get_activation("hermite", k=j).f
        expected = gaussian_expectation(lambda z, p=polynomial: act.f(z) * p(z / np.sqrt(Q)), Q, act.kinks, tol=1e-10)
        if (j - found.first) % found.stride == 0 and j >= found.first:
            np.testing.assert_allclose(found.a[(j - found.first) // found.stride], expected, atol=1e-12)
        else:
            np.testing.assert_allclose(expected, 0, atol=1e-12)


@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_bounds_hold_and_are_not_idle(name):
    act = get_activation(name)
    found, squares = coefficients(act, tol=1e-3 if name == "tanh" else 1e-12)
    (k, kdot), bounds = evaluate(found, found, np.ones(2)), error_bounds(found, found, np.ones(2))
    # At c = 1 the bound is the error.
    np.testing.assert_allclose(1 - k / squares[0], bounds[0], rtol=1e-6, atol=1e-15)
    np.testing.assert_allclose(1 - kdot / squares[1], bounds[1], rtol=1e-6, atol=1e-15)
    assert np.min(bounds) > 1e-12
    assert math.isclose(found.width[1] ** 2, 2.0)


def test_steps_that_are_too_wide_are_noticed():
    tanh, q = get_activation("tanh"), np.array([3e6, 1.0])
    squares = dual_diag(tanh, q)
    found = MehlerSeries(tanh, q[0], (squares[0][0], squares[1][0]), 1e-12).coefficients(q, *squares)
    assert unsettled(found, found, np.zeros(2), 1e-3).all()
    assert not unsettled(*[coefficients(tanh)[0]] * 2, np.zeros(2), 1e-3).any()


def test_the_series_of_a_smooth_function_ends():
    assert coefficients(get_activation("tanh"))[0].terms < 300
    assert coefficients(get_activation("monomial", k=5))[0].terms == 7
    assert coefficients(CLIP)[0].terms >= 512
