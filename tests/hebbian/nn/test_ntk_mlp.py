import inspect
import math

import numpy as np
import pytest
import torch

from hebbian.nn import NTKMLP, ntk_mlp
from tests.hebbian.nn.layer_checks import check_compiled, check_gradients, check_state, check_threads

X = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(4, 3)


def test_forward_is_the_equation():
    model = NTKMLP(3, [5, 5], 2, act="erf", cw=[1.5, 2.0, 0.7], cb=[0.1, 0.2, 0.3], residual=0.4, dtype=torch.float64)
    (W1, W2, W3), (b1, b2, b3) = model.weights, model.biases
    z1 = math.sqrt(1.5 / 3) * X @ W1.T + math.sqrt(0.1) * b1
    z2 = math.sqrt(2.0 / 5) * torch.erf(z1) @ W2.T + math.sqrt(0.2) * b2 + 0.4 * z1
    expected = math.sqrt(0.7 / 5) * torch.erf(z2) @ W3.T + math.sqrt(0.3) * b3
    torch.testing.assert_close(model(X), expected, rtol=1e-13, atol=1e-13)
    for values, wanted in zip(model.preactivations(X), (z1, z2, expected), strict=True):
        torch.testing.assert_close(values, wanted, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("parametrization", ["ntk", "standard"])
def test_both_parametrisations_have_one_law_at_first(parametrization):
    model = NTKMLP(3, [4], 1, act="linear", cw=[2.0, 3.0], cb=[0.5, 0.25], parametrization=parametrization,
                   members=20_000, dtype=torch.float64)  # fmt: skip
    model.reset_parameters([np.random.default_rng(seed) for seed in range(20_000)])
    outputs = model(X[:1]).detach().squeeze()
    expected = 3.0 * (2.0 / 3 * float((X[0] ** 2).sum()) + 0.5) + 0.25
    # The fourth moment of a product of Gaussian variables: a deviation of 1.5 %; five of them, 6e-7.
    assert float((outputs**2).mean()) == pytest.approx(expected, rel=0.075)
    std = float(model.weights[1].detach().std())
    assert std == pytest.approx(1.0 if parametrization == "ntk" else math.sqrt(3 / 4), rel=0.01)


def test_standard_layers_are_those_of_pytorch():
    model = NTKMLP(3, [6], 2, act="tanh", cb=0.1, parametrization="standard", dtype=torch.float64)
    plain = torch.nn.Sequential(torch.nn.Linear(3, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2)).double()
    plain.load_state_dict(
        {
            f"{place}.{name}": getattr(model, f"{name}{'es' if name == 'bias' else 's'}")[index]
            for index, place in enumerate((0, 2))
            for name in ("weight", "bias")
        }
    )
    torch.testing.assert_close(model(X), plain(X), rtol=1e-13, atol=1e-13)


def test_networks_side_by_side_are_single_ones():
    rngs = [np.random.default_rng(seed) for seed in range(3)]
    several = NTKMLP(3, [7, 7], 2, act="gelu", cb=0.3, residual=0.5, members=3, dtype=torch.float64)
    several.reset_parameters(rngs)
    for seed, outputs in enumerate(several(X)):
        alone = NTKMLP(3, [7, 7], 2, act="gelu", cb=0.3, residual=0.5, dtype=torch.float64)
        alone.reset_parameters([np.random.default_rng(seed)])
        torch.testing.assert_close(alone(X), outputs, rtol=1e-13, atol=1e-13)


def test_state_travels_and_is_drawn_again():
    check_state(lambda dtype: NTKMLP(3, [8], 2, cb=0.1, dtype=dtype), X)


def test_gradients():
    check_gradients(NTKMLP(3, [4], 2, act="tanh", cb=0.2, dtype=torch.float64), X)


@pytest.mark.parametrize("act", ["relu", "erf"])
def test_compiled_networks_give_the_same(act):
    check_compiled(NTKMLP(3, [4, 4], 2, act, cb=0.2, dtype=torch.float64), X)


def test_threads_change_nothing():
    check_threads(NTKMLP(30, [200], 2, dtype=torch.float64), torch.randn(300, 30, dtype=torch.float64))


def test_spec_says_what_the_kernel_needs():
    spec = NTKMLP(3, [8, 8], 2, act="erf", cw=1.5, cb=0.1, residual=0.5).kernel_spec()
    assert spec.pop("act").name == "erf"
    assert spec == {"depth": 2, "cw": [1.5] * 3, "cb": [0.1] * 3, "residual": 0.5, "parametrization": "ntk"}
    spec = NTKMLP(3, [8, 9], 2, parametrization="standard", bias=False).kernel_spec()
    assert (spec["widths"], spec["lb"], spec["cb"]) == ([8, 9], 0.0, [0.0] * 3)
    assert NTKMLP(3, [8], 2, parametrization="standard").kernel_spec()["lb"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"d_in": 0}, "d_in = 0"),
        ({"widths": [4, 0]}, "width = 0"),
        ({"d_out": 0}, "d_out = 0"),
        ({"act": "sinus"}, "activation = 'sinus'"),
        ({"cw": -1.0}, r"cw = -1\.0"),
        ({"cw": [1.0, 1.0]}, r"cw = \[1\.0, 1\.0\] has 2 values; allowed: a number or 3"),
        ({"cb": -0.1}, r"cb = -0\.1"),
        ({"cb": 0.1, "bias": False}, r"cb = 0\.1 with bias = False"),
        ({"parametrization": "mean_field"}, "parametrization = 'mean_field'"),
        ({"widths": [4, 5], "residual": 0.1}, r"widths = \(4, 5\) with residual = 0\.1"),
        ({"members": 0}, "members = 0"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        NTKMLP(**{"d_in": 3, "widths": [4, 4]} | arguments)


def test_inputs_of_another_dimension_are_refused():
    with pytest.raises(ValueError, match=r"x has shape \(4, 3\); allowed: \(N, 5\)"):
        NTKMLP(5, [4])(X)


def test_docstring_names_every_parameter():
    for parameter in list(inspect.signature(NTKMLP).parameters):
        assert parameter in ntk_mlp.NTKMLP.__doc__
