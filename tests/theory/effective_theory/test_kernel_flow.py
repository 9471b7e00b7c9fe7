import math

import numpy as np
import pytest

from theory.effective_theory import correlation_depth, kernel_flow, kernel_flow_two, susceptibilities
from theory.kernels import mlp_kernel


@pytest.mark.parametrize("act", ["relu", "erf", "tanh", "gelu", "sin"])
def test_flow_is_the_kernel_of_wide_networks(act):
    X, cw, cb = np.array([[1.0, 0.3, -0.2], [0.4, -1.1, 0.6]]), 1.4, 0.2
    first = cb + cw * X @ X.T / 3
    # Of a network with its parameters at C_W = cw, C_b = cb, all layers.
    expected = mlp_kernel(X, act=act, depth=5, cw=cw, cb=cb, get="nngp", per_layer=True, tol=1e-11).nngp
    K11, K22, K12 = kernel_flow_two(act, 6, cw, cb, first[0, 0], first[1, 1], first[0, 1])
    np.testing.assert_allclose(K11, expected[:, 0, 0], rtol=1e-10)
    np.testing.assert_allclose(K22, expected[:, 1, 1], rtol=1e-10)
    np.testing.assert_allclose(K12, expected[:, 0, 1], rtol=1e-8)
    np.testing.assert_array_equal(kernel_flow(act, 6, cw, cb, first[0, 0]), K11)


def test_residual_path():
    expected = mlp_kernel([[1.5]], act="erf", depth=4, cw=0.8, cb=0.1, get="nngp", residual=0.6, diag_only=True)
    through = kernel_flow("erf", 4, 0.8, 0.1, 0.1 + 0.8 * 2.25, gamma=0.6)[-1]
    readout = kernel_flow("erf", 2, 0.8, 0.1, through)[-1]
    assert readout == pytest.approx(expected.nngp[0], rel=1e-12)


def test_nearby_inputs_part_by_the_susceptibilities():
    K, small = 0.7, 1e-5
    K11, K22, K12 = kernel_flow_two("tanh", 2, 1.3, 0.1, K + small / 2, K - small / 2, K - small)
    parallel, perpendicular = susceptibilities("tanh", K, 1.3)
    assert (K11[1] - K22[1]) / small == pytest.approx(parallel, rel=1e-4)
    assert (K11[1] + K22[1] - 2 * K12[1]) / (2 * small) == pytest.approx(perpendicular, rel=1e-4)


def test_growth_decay_and_overflow():
    np.testing.assert_allclose(kernel_flow("relu", 50, 1.5, 0.0, 2.0), 2 * 0.75 ** np.arange(50), rtol=1e-12)
    grown = kernel_flow("relu", 800, 4.0, 0.0, 1.0)
    assert np.isinf(grown[-1])
    assert np.isfinite(grown[300])
    assert not np.isnan(grown).any()
    assert np.isinf(kernel_flow("exp", 9, 1.0, 0.0, 1.0)[-1])
    assert np.isinf(kernel_flow_two("relu", 800, 4.0, 0.0, 1.0, 2.0, 0.5)[2][-1])
    shrunk = kernel_flow("tanh", 900, 0.4, 0.0, 1.0)
    assert shrunk[-1] == 0
    assert shrunk[700] / shrunk[699] == pytest.approx(0.4, rel=1e-9)


@pytest.mark.parametrize(("C_W", "C_b"), [(0.5, 0.02), (1.2, 0.5), (1.6, 0.0), (2.5, 0.1)])
def test_correlations_approach_their_limit_over_their_depth(C_W, C_b):
    depth = correlation_depth("erf", C_W, C_b)
    K = kernel_flow("erf", 300, C_W, C_b, 1.0)[-1]
    L = int(min(6 * depth, 400)) + 3
    _, _, K12 = kernel_flow_two("erf", L, C_W, C_b, K, K, 0.9 * K)
    steps = np.diff(K12)
    assert -1 / math.log(steps[-1] / steps[-2]) == pytest.approx(depth, rel=0.05)


def test_depth_is_infinite_at_criticality():
    assert correlation_depth("tanh", 1.0, 0.0) == correlation_depth("relu", 2.0, 0.0) == math.inf
    assert correlation_depth("relu", 1.0, 0.5) == pytest.approx(1 / math.log(2))
    with pytest.raises(ValueError, match=r"C_W = 2.5, C_b = 0.1 let kernels grow for ever"):
        correlation_depth("relu", 2.5, 0.1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"L": 0}, "L = 0 is out of range; allowed: integers >= 1"),
        ({"C_W": 0.0}, "C_W = 0.0 is out of range"),
        ({"C_b": -0.1}, "C_b = -0.1 is out of range"),
        ({"K1": 0.0, "C_b": 0.0}, "K1 = 0.0 is out of range"),
        ({"K1": 0.05}, r"K1 = 0.05 is out of range; allowed: finite numbers in \[0.1"),
        ({"gamma": 1.1}, "gamma = 1.1 is out of range"),
    ],
)
def test_bad_input_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        kernel_flow(**{"act": "relu", "L": 3, "C_W": 1.0, "C_b": 0.1, "K1": 1.0} | change)
    with pytest.raises(ValueError, match=r"K12 = 1\.5 is out of range"):
        kernel_flow_two("relu", 3, 1.0, 0.1, 1.0, 2.0, 1.5)
    with pytest.raises(ValueError, match=r"K22 = 0\.01 is out of range"):
        kernel_flow_two("relu", 3, 1.0, 0.1, 1.0, 0.01, 0.0)
