import numpy as np
import pytest

from hebbian.activations import get_activation
from theory.effective_theory import Moments, gauss, susceptibilities
from theory.kernels import dual_diag

SMOOTH = ("linear", "erf", "tanh", "sin", "cos", "gelu", "swish", "sigmoid", "softplus", "gaussian")
OTHERS = {"leaky_relu": {"a": 0.3}, "relu": {}, "abs": {}, "rbf": {"g": 1.0}, "exp": {"a": 0.4}, "hermite": {"k": 3}}
ACTIVATIONS = [get_activation(name) for name in SMOOTH] + [get_activation(name, **of) for name, of in OTHERS.items()]
K = np.array([0.3, 1.0, 2.5])


@pytest.mark.parametrize("act", ACTIVATIONS, ids=lambda act: act.name)
def test_susceptibility_is_the_derivative_of_the_kernel(act):
    h = 1e-4
    difference = (dual_diag(act, K + h)[0] - dual_diag(act, K - h)[0]) / (2 * h)
    parallel, perpendicular = susceptibilities(act, K, 1.7)
    np.testing.assert_allclose(parallel, 1.7 * difference, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(perpendicular, 1.7 * dual_diag(act, K)[1], rtol=1e-10)


@pytest.mark.parametrize("act", ACTIVATIONS, ids=lambda act: act.name)
def test_averages_agree_with_each_other(act):
    h, at, near = 1e-3, gauss(act, K), [gauss(act, K - 1e-3), gauss(act, K + 1e-3)]
    np.testing.assert_allclose(at.f2_K, at.s2 + at.fc, rtol=1e-9, atol=1e-12)
    # A fourth derivative in z is twice the second in K of the average, times two; a third one that of the first.
    for of_K, of_z, factor in (("f2_K", "f2_zzzz", 4), ("s2_K", "s2_zzzz", 4), ("f2_z", "f2_zzz", 2)):
        low, high = (getattr(moments, of_K) for moments in near)
        np.testing.assert_allclose(getattr(at, of_z), factor * (high - low) / (2 * h), rtol=2e-5, atol=1e-6)
    squares = [moments.s2 for moments in near]
    np.testing.assert_allclose(at.s2_K, (squares[1] - squares[0]) / (2 * h), rtol=2e-5, atol=1e-8)


def test_rectifier_and_cubic_in_closed_form():
    z3, root = gauss(get_activation("monomial", k=3), K), np.sqrt(2 * np.pi * K)
    relu = {"f2": K / 2, "f4": 1.5 * K**2, "s2": 0.5, "s4": 0.5, "f2s2": K / 2, "fc": 0, "fcs2": 0, "f2_K": 0.5}
    relu |= {"s2_K": 0, "f2_z": 2 * K / root, "f2_zzz": 2 / root, "f2_zzzz": 0, "s2_zzzz": 0}
    for name, expected in relu.items():
        np.testing.assert_allclose(getattr(gauss("relu", K), name), expected + 0 * K, atol=1e-11, err_msg=name)
    cubic = {"f4": 10395 * K**6, "s4": 81 * 105 * K**4, "f2s2": 9 * 945 * K**5, "fcs2": 54 * 105 * K**4}
    for name, expected in (cubic | {"s2_K": 54 * K, "s2_zzzz": 216 + 0 * K, "f2_zzzz": 360 * K}).items():
        np.testing.assert_allclose(getattr(z3, name), expected, rtol=1e-9, err_msg=name)


def test_kernels_of_any_size_and_shape():
    few = gauss("tanh", np.geomspace(1e-300, 1e90, 200).reshape(2, 100))
    assert all(values.shape == (2, 100) and np.isfinite(values).all() for values in few)
    np.testing.assert_allclose(few.f2[1, -1], 1, rtol=1e-9)
    np.testing.assert_allclose(few.f2_K[0, 0], 1, rtol=1e-9)
    assert few.f2[1, 20] == pytest.approx(gauss("tanh", np.geomspace(1e-300, 1e90, 200)[120]).f2, rel=1e-12)
    assert gauss("relu", []).f2.shape == (0,)
    assert len(few) == len(Moments._fields)


@pytest.mark.parametrize(
    ("act", "kernel", "words"),
    [
        ("relu", 0.0, r"K has entries 0.0 to 0.0; allowed: numbers in \(0, 1e\+100\]"),
        ("relu", [1.0, np.nan], "K has an entry nan"),
        ("step", 1.0, "act = 'step' is not continuous"),
        (np.sin, 1.0, "df of the custom activation is not given"),
        (get_activation(np.sin, df=np.cos), 1.0, "d2f of the custom activation is not given"),
        (get_activation(np.cos, df=np.cos, d2f=np.cos, kinks=[0.5]), 1.0, "has a kink at 0.5, where it is 0.8"),
    ],
)
def test_bad_input_is_refused(act, kernel, words):
    with pytest.raises(ValueError, match=words):
        gauss(act, kernel)
    if act == "relu":
        with pytest.raises(ValueError, match=r"C_W = 0.0 is out of range"):
            susceptibilities("relu", 1.0, 0.0)
