import numpy as np
import pytest
from scipy.special import erf
from scipy.stats import norm

from hebbian.activations import get_activation
from theory.kernels import gaussian_expectation

K = np.array([[1e-6, 0.1, 0.7], [1.0, 5.0, 200.0]])


@pytest.mark.parametrize("power", [0, 1, 2, 8])
def test_moments(power):
    expected = np.prod(np.arange(power - 1, 0, -2, dtype=float)) * K ** (power / 2) if power % 2 == 0 else 0 * K
    np.testing.assert_allclose(gaussian_expectation(lambda z: z**power, K), expected, rtol=1e-13, atol=1e-13)


def test_functions_with_known_averages():
    np.testing.assert_allclose(gaussian_expectation(lambda z: np.cos(3 * z), K), np.exp(-4.5 * K), atol=1e-13)
    np.testing.assert_allclose(gaussian_expectation(lambda z: np.exp(-(z**2)), K), 1 / np.sqrt(1 + 2 * K), rtol=1e-13)
    np.testing.assert_allclose(gaussian_expectation(np.exp, K[0]), np.exp(K[0] / 2), rtol=1e-13)
    mean_square = 2 / np.pi * np.arcsin(2 * K / (1 + 2 * K))
    np.testing.assert_allclose(gaussian_expectation(lambda z: erf(z) ** 2, K), mean_square, rtol=1e-12)


def test_kinks_anywhere():
    s = np.sqrt(K)
    for kink in (0.0, 0.3, -2.0):
        expected = 2 * s * norm.pdf(kink / s) + kink * (2 * norm.cdf(kink / s) - 1)
        value = gaussian_expectation(lambda z, at=kink: np.abs(z - at), K, [kink])
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        jump = gaussian_expectation(lambda z, at=kink: (z > at) * 1.0, K, [kink])
        np.testing.assert_allclose(jump, norm.sf(kink / s), rtol=1e-12, atol=1e-15)
    both = gaussian_expectation(lambda z: np.clip(z, -1, 1) ** 2, K, [1, -1])
    expected = K * (1 - 2 * norm.sf(1 / s)) - 2 * s * norm.pdf(1 / s) + 2 * norm.sf(1 / s)
    np.testing.assert_allclose(both, expected, rtol=1e-9, atol=1e-13)


def test_a_kink_that_is_not_named_is_noticed():
    with pytest.raises(ValueError, match="tol = 1e-12 is not reached, the rule still moves by"):
        gaussian_expectation(lambda z: np.abs(z - 0.3), 1.0)


def test_averages_of_effective_theory_for_the_rectifier_and_the_cubic():
    relu, z3 = get_activation("relu"), get_activation("monomial", k=3)
    averages = {
        "f f": (lambda a, z: a.f(z) ** 2, K / 2, 15 * K**3),
        "f' f'": (lambda a, z: a.df(z) ** 2, 0.5 + 0 * K, 27 * K**2),
        "f f (z z - K)": (lambda a, z: a.f(z) ** 2 * (z**2 - K), K**2, 90 * K**4),
        "f^4": (lambda a, z: a.f(z) ** 4, 1.5 * K**2, 10395 * K**6),
        "f f f' f'": (lambda a, z: (a.f(z) * a.df(z)) ** 2, K / 2, 9 * 945 * K**5),
        "f'^4": (lambda a, z: a.df(z) ** 4, 0.5 + 0 * K, 81 * 105 * K**4),
        "f f'' f' f'": (lambda a, z: a.f(z) * a.d2f(z) * a.df(z) ** 2, 0 * K, 54 * 105 * K**4),
        "z f' f''": (lambda a, z: z * a.df(z) * a.d2f(z), 0 * K, 18 * 3 * K**2),
    }
    for name, (function, of_relu, of_cubic) in averages.items():
        for act, expected in ((relu, of_relu), (z3, of_cubic)):
            value = gaussian_expectation(lambda z, a=act, F=function: F(a, z), K, act.kinks)
            np.testing.assert_allclose(value, expected, rtol=1e-11, atol=1e-14, err_msg=name)


def test_no_variance_and_no_entries():
    assert gaussian_expectation(lambda z: 2 + z, 0.0) == 2
    assert gaussian_expectation(lambda z: z, np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((np.sin, -1.0), ValueError, r"variance has an entry -1.0; allowed: numbers >= 0"),
        ((np.sin, [1, np.inf]), ValueError, r"variance has an entry inf at \(1,\)"),
        ((np.sin, "one"), TypeError, "variance has dtype"),
        ((np.sin, 1.0, [np.nan]), ValueError, "kinks = nan is out of range"),
        ((lambda z: 1 / (z - z), 1.0), ValueError, "the function is not finite"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_bad_input_is_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        gaussian_expectation(*arguments)
    with pytest.raises(ValueError, match=r"tol = 0\.0 is out of range"):
        gaussian_expectation(np.sin, 1.0, tol=0.0)
