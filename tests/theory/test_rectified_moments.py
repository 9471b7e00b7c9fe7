import math

import numpy as np
import pytest
from scipy import integrate
from scipy.special import ndtr

from theory.rectified_moments import (
    LARGEST_OF_SERIES,
    ORDERS,
    correlation_integral,
    hermite_coefficients,
    rectified_correlation,
    terms_needed,
)


def density(x):
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def by_quadrature(m, other, rho):
    """One variable by adaptive quadrature, the other given it in closed form."""
    s = math.sqrt(1 - rho * rho)

    def integrand(g):
        mean = rho * g + other
        return (g + m) * (mean * ndtr(mean / s) + s * density(mean / s)) * density(g)

    kink = -other / rho if rho > 0 else math.inf
    points = [point for point in (kink - 4 * s, kink, kink + 4 * s) if -m < point < 12]
    return integrate.quad(integrand, -m, 12, epsabs=1e-14, epsrel=1e-13, limit=500, points=points or None)[0]


CASES = [
    (m, other, rho)
    for m, other in (
        (0.0, 0.0),
        (0.7, 0.0),
        (0.0, -0.7),
        (-0.4, 0.0),
        (1.3, 0.2),
        (-0.5, 1.1),
        (-1.5, -0.9),
        (2.5, 2.4),
    )
    for rho in (0.0, 0.05, 0.31, LARGEST_OF_SERIES, 0.83, 0.99)
]


@pytest.mark.parametrize(("m", "other", "rho"), CASES)
def test_three_ways_agree_with_quadrature(m, other, rho):
    expected = by_quadrature(m, other, rho)
    assert float(rectified_correlation(m, other, rho)) == pytest.approx(expected, abs=1e-11)
    c, of_other = hermite_coefficients(m), hermite_coefficients(other)
    integral = correlation_integral(m, other, rho, c[0] * of_other[0], c[1] * of_other[1])
    assert integral == pytest.approx(expected, abs=1e-11)
    if rho <= LARGEST_OF_SERIES:
        terms = int(terms_needed(rho))
        series = (c * of_other * rho ** np.arange(ORDERS))[:terms].sum()
        assert series == pytest.approx(expected, abs=1e-12)
        assert terms <= ORDERS


def test_limit_of_equal_variables():
    m = np.linspace(-2, 2, 9)
    second_moment = (1 + m**2) * ndtr(m) + m * np.exp(-(m**2) / 2) / np.sqrt(2 * np.pi)
    for rho in (1.0, 1 - 1e-15):
        np.testing.assert_allclose(rectified_correlation(m, m, rho), second_moment, atol=1e-12)
    np.testing.assert_allclose(rectified_correlation(m, m, 1 - 1e-7), second_moment, atol=1e-6)


def test_coefficients_without_mean():
    squares = hermite_coefficients(0.0) ** 2
    expected = [1 / (2 * np.pi), 1 / 4, 1 / (4 * np.pi), 0, 1 / (48 * np.pi), 0, 1 / (160 * np.pi)]
    np.testing.assert_allclose(squares[:7], expected, atol=1e-16)
    m, rng = np.array([0.3, -1.2]), np.random.default_rng(0)
    nodes, weights = np.polynomial.legendre.leggauss(200)
    for k in range(6):
        hermite = np.polynomial.hermite_e.HermiteE.basis(k)
        for mean, c in zip(m, hermite_coefficients(m)[k], strict=True):
            g = (nodes + 1) / 2 * (12 + mean) - mean
            values = (g + mean) * hermite(g) * np.exp(-(g**2) / 2) / np.sqrt(2 * np.pi * math.factorial(k))
            assert c == pytest.approx(weights @ values * (12 + mean) / 2, abs=1e-12)
    # The stated bound of all orders above 2.
    c = hermite_coefficients(rng.normal(scale=2, size=1000))[3:]
    k = np.arange(3, ORDERS)[:, None]
    assert (c**2 <= 0.2 / (k * (k - 1))).all()
