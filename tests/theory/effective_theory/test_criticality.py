import math

import numpy as np
import pytest

from hebbian.activations import get_activation
from theory.effective_theory import find_critical, finite_width_flow, kernel_flow, learning_rates, susceptibilities


@pytest.mark.parametrize(
    ("name", "parameters", "kind", "C_W", "C_b", "K"),
    [
        ("relu", {}, "scale_invariant", 2.0, 0.0, math.nan),
        ("linear", {}, "scale_invariant", 1.0, 0.0, math.nan),
        ("leaky_relu", {"a": 0.5}, "scale_invariant", 1.6, 0.0, math.nan),
        ("tanh", {}, "K=0", 1.0, 0.0, 0.0),
        ("sin", {}, "K=0", 1.0, 0.0, 0.0),
        ("erf", {}, "K=0", math.pi / 4, 0.0, 0.0),
        ("gelu", {}, "half_stable", 1.98305826, 0.17292239, 3.5615528),
        ("swish", {}, "half_stable", 1.98800468, 0.55514317, 14.3201736),
        ("hermite", {"k": 2}, "half_stable", 0.5, 0.5, 1.0),
    ],
)
def test_critical_points(name, parameters, kind, C_W, C_b, K):
    act = get_activation(name, **parameters)
    point = find_critical(act)
    assert point.kind == kind
    np.testing.assert_allclose([point.C_W, point.C_b, point.K_star], [C_W, C_b, K], rtol=1e-7)
    at = 1.0 if kind == "scale_invariant" else point.K_star or 1e-10
    np.testing.assert_allclose(susceptibilities(act, at, point.C_W), 1, atol=1e-9)


@pytest.mark.parametrize("name", ["sigmoid", "softplus", "cos", "gaussian", "exp"])
def test_activations_without_critical_point(name):
    point = find_critical(name)
    assert point.kind == "none"
    assert np.isnan([point.C_W, point.C_b, point.K_star, point.exponent]).all()


def test_exponents():
    assert [find_critical(act).exponent for act in ("relu", "tanh", "sin")] == pytest.approx([0, 1, 1])
    # Neither odd nor even: f'(0) = 1, f''(0) = 1, f'''(0) = -2, so a1 = -1.25 and p = 0.8.
    shifted = get_activation(
        lambda z: np.tanh(z) + z * z / (2 * (1 + z**4)),
        df=lambda z: 1 / np.cosh(z) ** 2 + z / (1 + z**4) - 2 * z**5 / (1 + z**4) ** 2,
        d2f=lambda z: (
            -2 * np.tanh(z) / np.cosh(z) ** 2
            + (1 - 17 * z**4) / (1 + z**4) ** 2
            + 16 * z**8 / (1 + z**4) ** 3
            + z**4 * (3 / (1 + z**4) ** 2)
        ),
    )
    point = find_critical(shifted)
    assert (point.kind, point.C_W) == ("K=0", 1.0)
    assert point.exponent == pytest.approx(0.8, abs=1e-6)
    K = 1e-4
    parallel, perpendicular = susceptibilities(shifted, K, 1.0)
    assert (1 - perpendicular) / (1 - parallel) * 2 == pytest.approx(0.8, abs=5e-3)
    assert kernel_flow("sin", 3000, 1.0, 0.0, 1.0)[-1] * 3000 == pytest.approx(1, rel=5e-3)
    for name, sign in (("gelu", -1), ("swish", 1)):
        point, h = find_critical(name), 0.01
        below, above = (susceptibilities(name, point.K_star + s * h, point.C_W) for s in (-1, 1))
        rates = [(high - low) / (2 * h) for low, high in zip(below, above, strict=True)]
        assert np.sign(point.exponent) == sign
        assert point.exponent == pytest.approx(2 * rates[1] / rates[0], rel=0.01)


@pytest.mark.parametrize("name", ["relu", "tanh"])
@pytest.mark.parametrize("group", ["lambda_W", "lambda_b"])
def test_layers_contribute_equally_to_the_tangent_kernel(name, group):
    L, point = 120, find_critical(name)
    rates = dict(zip(("lambda_W", "lambda_b"), learning_rates(point, L), strict=True))
    shares = []
    for layer in (20, 40, 80, 119):
        alone = dict.fromkeys(rates, np.zeros(L)) | {group: np.where(np.arange(L) == layer, rates[group], 0)}
        shares.append(finite_width_flow(name, L, point.C_W, point.C_b, 0.5, **alone).Theta[-1])
    np.testing.assert_allclose(shares, shares[-1], rtol=0.03)
    assert shares[0] > 0


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="act = 'step' is not continuous"):
        find_critical("step")
    with pytest.raises(ValueError, match="df of the custom activation is not given"):
        find_critical(np.tanh)
    with pytest.raises(ValueError, match="kind = 'none' is unknown"):
        learning_rates(find_critical("sigmoid"), 3)
    with pytest.raises(ValueError, match="L = 0 is out of range"):
        learning_rates(find_critical("relu"), 0)
