import math

import numpy as np
import pytest
from scipy import integrate
from scipy.special import ndtr

from hebbian.activations import NAMES, get_activation
from theory.kernels import dual, dual_diag, gaussian_expectation
from theory.kernels.closed_forms import closed_form

PARAMETERS = {"abrelu": {"a": -0.3, "b": 1.7}, "rbf": {"g": 0.7}, "exp": {"a": 0.4}, "hermite": {"k": 4}}
PARAMETERS |= {"monomial": {"k": 3}, "leaky_relu": {"a": 0.2}}
RNG = np.random.default_rng(0)
Q1, Q2 = RNG.uniform(0.2, 2.5, (2, 20))
Q12 = np.sqrt(Q1 * Q2) * RNG.uniform(-0.99, 0.99, 20)


def made(name):
    return get_activation(name, **PARAMETERS.get(name, {}))


ACTIVATIONS = [made(name) for name in NAMES]
CLOSED = [act for act in ACTIVATIONS if closed_form(act)]
SERIES = [act for act in ACTIVATIONS if not closed_form(act)]


def by_name(act):
    return act.name


def two_slopes(low, high):
    """Averages over v ~ N(m, s^2) of the function that is low v for v < 0 and high v for v > 0, and of its slope."""
    return (
        lambda m, s: low * m + (high - low) * (m * ndtr(m / s) + s * math.exp(-((m / s) ** 2) / 2) / math.tau**0.5),
        lambda m, s: low + (high - low) * ndtr(m / s),
    )


def reference(act, q1, q2, q12):
    """k and kdot by adaptive quadrature, the inner average of functions with kinks by hand."""
    c = q12 / math.sqrt(q1 * q2)
    s = math.sqrt(q2 * (1 - c * c))
    if act.homogeneous:
        inner = two_slopes(*act.homogeneous)
    elif act.name == "step":
        inner = (lambda m, s: ndtr(m / s), None)
    else:
        g = np.linspace(-10, 10, 201)
        w = 0.1 * np.exp(-(g**2) / 2) / math.tau**0.5
        inner = [lambda m, s, F=F: w @ F(m + s * g) for F in (act.f, act.df)]
    out = []
    for F, average in zip((act.f, act.df), inner, strict=True):
        if average is None:
            out.append(1 / (2 * math.pi * math.sqrt(q1 * q2 - q12**2)))
            continue

        def outer(g, F=F, average=average):
            value = F(np.array(math.sqrt(q1) * g)) * average(c * math.sqrt(q2) * g, s)
            return float(value) * math.exp(-g * g / 2) / math.tau**0.5

        out.append(sum(integrate.quad(outer, *ends, epsabs=1e-13, epsrel=1e-12)[0] for ends in ((-12, 0), (0, 12))))
    return out


@pytest.mark.parametrize("act", CLOSED, ids=by_name)
def test_closed_forms_are_the_averages(act):
    expected = np.array([reference(act, *pair) for pair in zip(Q1, Q2, Q12, strict=True)]).T
    np.testing.assert_allclose(dual(act, Q1, Q2, Q12, "closed"), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("act", SERIES, ids=by_name)
def test_series_are_the_averages(act):
    expected = np.array([reference(act, *pair) for pair in zip(Q1, Q2, Q12, strict=True)]).T
    np.testing.assert_allclose(dual(act, Q1, Q2, Q12), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("act", ACTIVATIONS, ids=by_name)
def test_slope_is_that_in_the_covariance(act):
    step, size = 1e-5, np.sqrt(Q1 * Q2)
    ups, downs = (dual(act, Q1, Q2, Q12 + sign * step * size, tol=1e-12)[0] for sign in (1, -1))
    kdot = dual(act, Q1, Q2, Q12)[1]
    np.testing.assert_allclose((ups - downs) / (2 * step * size), kdot, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("act", ACTIVATIONS, ids=by_name)
def test_a_variable_with_itself(act):
    q = np.geomspace(0.01, 4.0, 9)
    k, kdot = dual_diag(act, q)
    np.testing.assert_allclose(dual(act, q, q, q, tol=1e-13)[0], k, rtol=1e-12)
    if act.name == "step":
        assert np.isinf(kdot).all()
        return
    np.testing.assert_allclose(dual(act, q, q, q, tol=1e-13)[1], kdot, rtol=1e-12)
    for F, value in ((act.f, k), (act.df, kdot)):
        g, w = np.polynomial.legendre.leggauss(200)
        g = 6 * (g + 1)
        halves = [w @ (F(sign * g[:, None] * np.sqrt(q)) ** 2 * np.exp(-(g[:, None] ** 2) / 2)) for sign in (1, -1)]
        np.testing.assert_allclose(value, 6 * sum(halves) / math.tau**0.5, rtol=1e-11)


def custom(act):
    return get_activation(act.f, df=act.df, kinks=act.kinks)


@pytest.mark.parametrize("name", ["relu", "abrelu", "gelu", "gaussian"])
def test_all_methods_agree(name):
    act = made(name)
    q1, q2 = np.array([0.5, 2.0, 1.0, 1.0]), np.array([[1.0], [0.3]])
    q12 = np.array([0.9, -0.5, 0.3, 0.999]) * np.sqrt(q1 * q2)
    expected = dual(act, q1, q2, q12)
    np.testing.assert_allclose(dual(act, q1, q2, q12, "quadrature"), expected, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(dual(custom(act), q1, q2, q12), expected, rtol=1e-10, atol=1e-10)


def test_kinks_that_are_not_at_zero():
    clipped = get_activation(lambda z: np.clip(z, -1, 0.5), df=lambda z: 1.0 * ((z > -1) & (z < 0.5)), kinks=(-1, 0.5))
    q1, q2, q12 = np.array([0.4, 1.5]), np.array([1.0, 1.5]), np.array([0.3, -0.9])
    series = dual(clipped, q1, q2, q12, "mehler", tol=1e-8)
    np.testing.assert_allclose(series, dual(clipped, q1, q2, q12, "quadrature"), rtol=1e-9, atol=1e-9)
    # Known: E of clip(v) given u is a difference of two rectifiers.
    u = np.random.default_rng(1).normal(size=(2, 400_000))
    v = 0.3 / 0.4 * np.sqrt(0.4) * u[0] + np.sqrt(1 - 0.3**2 / 0.4) * u[1]
    sample = clipped.f(np.sqrt(0.4) * u[0]) * clipped.f(v)
    assert abs(sample.mean() - series[0][0]) < 4 * sample.std() / 400_000**0.5


def test_near_copies_of_a_slow_series_are_mended():
    tanh = get_activation("tanh")
    q = np.full(3, 40.0)
    c = np.array([0.5, 0.9999, 1 - 1e-9])
    with pytest.raises(ValueError, match="method = 'mehler' does not reach tol = 1e-10 for 2 pairs; allowed: 'auto'"):
        dual(tanh, q, q, c * q, "mehler")
    k, kdot = dual(tanh, q, q, c * q)
    np.testing.assert_allclose((k, kdot), dual(tanh, q, q, c * q, "quadrature"), rtol=1e-9)
    assert dual_diag(tanh, 40.0)[1] > kdot[2] > kdot[1]


@pytest.mark.parametrize("name", ["erf", "relu", "gelu", "cos", "tanh", "swish"])
def test_against_a_million_draws(name):
    # Two-sided at 4 standard errors: false alarm 6e-5 each, with a fixed seed.
    act, (q1, q2, q12) = made(name), (0.8, 1.9, -0.6)
    u, w = np.random.default_rng(2).normal(size=(2, 1_000_000))
    v = q12 / q1 * (u := math.sqrt(q1) * u) + math.sqrt(q2 - q12**2 / q1) * w
    for F, value in zip((act.f, act.df), dual(act, q1, q2, q12), strict=True):
        sample = F(u) * F(v)
        assert abs(sample.mean() - value) < 4 * sample.std() / 1000


def test_variables_that_do_not_vary():
    for name in ("tanh", "gelu", "sigmoid", "relu", "step"):
        act = made(name)
        f0 = float(act.f(np.array(0.0)))
        mean = gaussian_expectation(act.f, 2.0, act.kinks)
        np.testing.assert_allclose(dual(act, 0.0, [0.0, 2.0], 0.0)[0], [f0**2, f0 * mean], atol=1e-12)
    np.testing.assert_allclose(dual("tanh", 0.0, 1.0, 0.0)[1], dual("tanh", 1e-12, 1.0, 0.0)[1], rtol=1e-10)


def test_bad_input_is_refused():
    for arguments, words in (
        (("relu", -1.0, 1.0, 0.0), "q1 has an entry -1.0; allowed: numbers >= 0"),
        (("relu", 1.0, np.nan, 0.0), "q2 has an entry nan"),
        (("relu", 1.0, 1.0, 1.1), r"q12 has an entry beyond the root of q1 q2"),
        (("relu", [1.0, 1.0], [1.0, 1.0, 1.0], 0.0), r"q1, q2, q12 have shapes \(2,\), \(3,\), \(\)"),
        (("tanh", 1.0, 1.0, 0.0, "closed"), "method = 'closed': activation 'tanh' has no closed form"),
        (("relu", 1.0, 1.0, 0.0, "guess"), "method = 'guess' is unknown; allowed: 'auto', 'closed'"),
        (("relu", 1.0, 1.0, 0.0, "auto", 0.0), "tol = 0.0 is out of range"),
        (("mish", 1.0, 1.0, 0.0), "activation = 'mish' is unknown"),
        ((get_activation(np.sign, df=np.zeros_like, kinks=(0,), continuous=False), 1.0, 1.0, 0.0), "is not continuous"),
        ((np.tanh, 1.0, 1.0, 0.0), "df of the custom activation is not given"),
    ):
        with pytest.raises(ValueError, match=words):
            dual(*arguments)
    with pytest.raises(ValueError, match=r"q has an entry -1\.0"):
        dual_diag("relu", -1.0)
