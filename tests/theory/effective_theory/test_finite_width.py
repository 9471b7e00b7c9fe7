import numpy as np
import pytest

from hebbian.activations import get_activation
from theory.effective_theory import finite_width_flow, ntk_drift

GELU = {"C_W": 1.98305826, "C_b": 0.17292239, "K1": 2.0, "lambda_b": 0.3}
TANH = {"C_W": 1.2, "C_b": 0.1, "K1": 1.1, "lambda_b": 0.3}


def last(flow, names):
    return [float(getattr(flow, name)[-1]) for name in names.split()]


def test_rectifier_and_linear_network_in_closed_form():
    relu = finite_width_flow("relu", 10, 2.0, 0.0, 1.0, lambda_W=1.0, lambda_b=0.5)
    expected = [10, 45, 157.5, 806.25, 90, 570, 165, 0, 0, 0]
    np.testing.assert_allclose(last(relu, "Theta V D A F B Q P G1 Theta_nlo"), expected, atol=1e-8)
    linear = finite_width_flow("linear", 11, 1.0, 0.0, 1.0)
    np.testing.assert_allclose(last(linear, "V Theta F B A D Q"), [20, 11, 55, 385, 770, 110, 220], atol=1e-8)
    short = finite_width_flow("relu", 4, 2.0, 0.0, 1.0)
    np.testing.assert_allclose(last(short, "V D A F B Q P"), [15, 18, 26, 6, 7, 5, 0], atol=1e-8)


def test_smooth_activation_off_criticality():
    flow = finite_width_flow("tanh", 4, **TANH)
    expected = [0.1088, -0.1434, 0.2439, 0.2023, 2.214, -0.7998, -0.2886]
    np.testing.assert_allclose(last(flow, "V D A F B P Q"), expected, atol=6e-5, rtol=2e-4)
    critical = finite_width_flow("tanh", 10, 1.0, 0.0, 1.0)
    np.testing.assert_allclose(last(critical, "G1 Theta_nlo A"), [-0.107, -0.695, 0.0046], atol=5e-4)


@pytest.mark.slow
def test_deep_critical_network_has_the_asymptotic_law():
    L = 4000
    flow = finite_width_flow("tanh", L, 1.0, 0.0, 1.0)
    K, V, B, F, Theta = last(flow, "K V B F Theta")
    assert [2 * L * K, V / K**2 / L, B / Theta**2 / L] == pytest.approx([1.0010, 0.6659, 0.3334], rel=1e-3)
    assert F / (Theta * K * L) == pytest.approx(1 / 4, rel=2e-3)


def test_residual_path():
    assert finite_width_flow("linear", 6, 0.75, 0.0, 1.0, gamma=0.5).V[-1] == pytest.approx(9.375, rel=1e-10)
    relu = finite_width_flow("relu", 6, 1.5, 0.0, 1.0, gamma=0.5)
    np.testing.assert_allclose(last(relu, "V U T3 G1"), [26.586, 1.159, 3.478, 2.193], atol=6e-4)
    assert relu.P is None
    assert relu.A is None


@pytest.mark.parametrize("act", ["relu", "gelu"])
def test_no_residual_path_is_the_limit_of_a_weak_one(act):
    plain = finite_width_flow(act, 8, 1.5, 0.2, 1.0)
    weak = finite_width_flow(act, 8, 1.5, 0.2, 1.0, gamma=1e-9)
    np.testing.assert_allclose(last(plain, "K V G1 Theta"), last(weak, "K V G1 Theta"), rtol=1e-7, atol=1e-8)
    assert last(plain, "U T3") == [0, 0]


def test_first_step_has_no_memory_of_the_input_layer():
    for act in ("relu", "gelu"):
        flow = finite_width_flow(act, 2, 1.3, 0.2, 1.0, lambda_b=0.4)
        first = [getattr(flow, name)[0] for name in ("V", "G1", "D", "A", "F", "B", "Theta_nlo", "P", "Q")]
        assert first == [0] * 9
        assert (flow.G1[1], flow.Theta_nlo[1]) == (0, 0)
        widened = finite_width_flow(act, 2, 1.3, 0.2, 1.0, lambda_b=0.4, widths=[7])
        assert last(widened, "V A B P Q") == last(flow, "V A B P Q")


def test_unequal_widths_weight_the_layers():
    # V = 5 + r (5 + r' 5) with the ratios of the widths.
    flow = finite_width_flow("relu", 4, 2.0, 0.0, 1.0, widths=[32, 64, 16])
    assert flow.V.tolist() == pytest.approx([0, 5, 5 + 2 * 5, 5 + 15 / 4], rel=1e-9)
    equal = finite_width_flow("gelu", 4, **GELU, widths=[8, 8, 8])
    assert last(equal, "V P Q A") == last(finite_width_flow("gelu", 4, **GELU), "V P Q A")


def test_learning_rates_of_each_layer():
    every = finite_width_flow("tanh", 5, 1.2, 0.1, 1.1, lambda_W=[0.7] * 5, lambda_b=[0.3] * 5)
    one = finite_width_flow("tanh", 5, 1.2, 0.1, 1.1, lambda_W=0.7, lambda_b=0.3)
    assert last(every, "Theta A Q Theta_nlo") == last(one, "Theta A Q Theta_nlo")
    frozen = finite_width_flow("tanh", 5, 1.2, 0.1, 1.1, lambda_W=[0, 0, 0, 0, 1.0], lambda_b=0.0)
    # The last layer alone learns: its tangent kernel is that of random features.
    np.testing.assert_allclose(last(frozen, "B P F Q"), 0, atol=1e-15)
    assert frozen.Theta[-1] == pytest.approx((one.K[-1] - 0.1) / 1.2, rel=1e-12)


def test_drift_of_the_tangent_kernel():
    flows = {
        "relu": finite_width_flow("relu", 4, 2.0, 0.0, 1.0),
        "gelu": finite_width_flow("gelu", 4, **GELU),
        "tanh": finite_width_flow("tanh", 4, **TANH),
    }
    for n_out, expected in ((1, [-20, -115.4, 2.754]), (3, [-40, -226.6, 3.908])):
        drifts = [128 * ntk_drift(flow, 128, n_out) for flow in flows.values()]
        np.testing.assert_allclose(drifts, expected, rtol=5e-4)


def test_overflow_is_infinite_and_flagged():
    flow = finite_width_flow("relu", 100, 40.0, 0.0, 1.0)
    assert flow.overflow
    for name in ("K", "V", "Theta", "A", "P", "Q", "G1"):
        values = getattr(flow, name)
        assert not np.isnan(values).any()
        assert np.isinf(values[-1])
        assert np.isfinite(values[:70]).all()
    assert finite_width_flow("exp", 6, 1.0, 0.0, 1.0).overflow
    # The fourth power of f overflows before the second.
    early = finite_width_flow("exp", 3, 1.0, 0.0, 30.0)
    assert early.overflow
    assert np.isinf(early.V[1:]).all()
    # Rates so large that infinite terms of either sign meet, while kernels are finite.
    hasty = finite_width_flow("tanh", 4, **TANH | {"lambda_W": 1e200})
    assert hasty.overflow
    assert not np.isnan([hasty.A, hasty.D, hasty.Q]).any()
    ordered = finite_width_flow("tanh", 400, 0.1, 0.0, 1.0)
    assert not ordered.overflow
    assert np.isfinite([getattr(ordered, name) for name in ("K", "V", "Theta_nlo", "A", "P")]).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"act": "step"}, "act = 'step' is not continuous"),
        ({"act": get_activation(np.tanh)}, "df of the custom activation is not given"),
        ({"K1": 0.05}, "K1 = 0.05 is out of range"),
        ({"lambda_W": -1.0}, "lambda_W has an entry -1.0; allowed: numbers >= 0"),
        ({"lambda_b": [1.0, 2.0]}, r"lambda_b has shape \(2,\); allowed: \(3,\)"),
        ({"widths": [8]}, "widths has 1 entries; allowed: L - 1 = 2"),
        ({"widths": [8, 1]}, "every entry of widths: widths = 1 is out of range"),
        ({"widths": [8, 9], "gamma": 0.5}, r"widths = \[8, 9\] differ beside a residual path"),
    ],
)
def test_bad_input_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        finite_width_flow(**{"act": "relu", "L": 3, "C_W": 1.0, "C_b": 0.1, "K1": 1.0} | change)


def test_drift_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="flow has a residual path"):
        ntk_drift(finite_width_flow("relu", 3, 1.5, 0.0, 1.0, gamma=0.5), 8)
    with pytest.raises(ValueError, match="n = 1 is out of range"):
        ntk_drift(finite_width_flow("relu", 3, 1.5, 0.0, 1.0), 1)
