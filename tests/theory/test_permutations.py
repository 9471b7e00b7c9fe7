import math

import numpy as np
import pytest

from hebbian.permutations import PermutationTask
from theory.kernels import dual
from theory.permutations import REGIMES, joint_law, kernel_blocks, output_law


def kernels(x1, x2, sigma_w):
    """NNGP and tangent kernel of the network, by the duals of its activation."""
    first = sigma_w**2 * x1 @ x2.T / x1.shape[1]
    norms = [sigma_w**2 * (x**2).sum(1) / x1.shape[1] for x in (x1, x2)]
    bound = np.sqrt(norms[0][:, None] * norms[1])
    first = np.where(np.isclose(first, bound, rtol=1e-14, atol=0), bound, first)
    k, kdot = dual("relu", norms[0][:, None], norms[1], first)
    return sigma_w**2 * k, sigma_w**2 * (k + kdot * first)


def brute_force(k, x, sigma_w, regime, left):
    """Mean weights and covariance of the outputs at x by linear algebra; `left` is what remains of an eigenvector."""
    (Kss, _), (Kst, Tst), (Ktt, Ttt) = (kernels(*pair, sigma_w) for pair in ((x, x), (x, np.eye(k)), (np.eye(k),) * 2))
    values, vectors = np.linalg.eigh(Ttt if regime == "ntk" else Ktt)
    M = (Tst if regime == "ntk" else Kst) @ (vectors * ((1 - left(values)) / values)) @ vectors.T
    return M, Kss + M @ Ktt @ M.T - M @ Kst.T - Kst @ M.T


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("k", [3, 5, 10, 30])
@pytest.mark.parametrize("when", [{"t": 0.0}, {"t": 0.5}, {"t": 3.0}, {}, {"steps": 5, "lr": 0.4}])
def test_law_is_that_of_the_gaussian_process(k, regime, when):
    rate, sigma_w = when.get("lr", 0.7), 1.1
    x = np.tril(np.ones((k, k))) / np.sqrt(np.arange(1, k + 1))[:, None]
    if "steps" in when:
        M, C = brute_force(k, x, sigma_w, regime, lambda values: (1 - rate * values) ** 5)
    else:
        M, C = brute_force(k, x, sigma_w, regime, lambda values: np.exp(-rate * values * when.get("t", math.inf)))
    for n in range(1, k + 1):
        law = output_law(k, n, sigma_w, regime, **{"lr": rate} | when)
        np.testing.assert_allclose(M[n - 1, :n], law.mean_on, atol=1e-12)
        if n < k:
            np.testing.assert_allclose(M[n - 1, n:], law.mean_off, atol=1e-12)
        assert C[n - 1, n - 1] == pytest.approx(law.var, abs=1e-12)


@pytest.mark.parametrize("regime", REGIMES)
def test_joint_law_is_that_of_the_gaussian_process(regime):
    task = PermutationTask(5)
    A = task.inputs()
    W, C = joint_law(5, A, 1.1, regime)
    M, covariance = brute_force(5, task.encode(A), 1.1, regime, np.zeros_like)
    np.testing.assert_allclose(W, M, atol=1e-12)
    np.testing.assert_allclose(C, covariance, atol=1e-12)
    assert np.linalg.eigvalsh(C).min() > -1e-12


def test_descent_of_small_steps_is_flow():
    flow, descent = output_law(7, 3, t=2.0), output_law(7, 3, lr=1e-4, steps=20_000)
    np.testing.assert_allclose(
        [descent.mean_on, descent.mean_off, descent.var], [flow.mean_on, flow.mean_off, flow.var], rtol=1e-4
    )


@pytest.mark.parametrize("regime", REGIMES)
def test_training_points_are_exact(regime):
    for k in (2, 5, 30):
        law = output_law(k, 1, 1.5, regime)
        assert (law.mean_on, law.mean_off, law.var) == (1, 0, 0)
        late = output_law(k, 1, 1.5, regime, t=1e4)
        np.testing.assert_allclose([late.mean_on, late.mean_off, late.var], [1, 0, 0], atol=1e-14)


@pytest.mark.parametrize("regime", REGIMES)
def test_the_sign_of_the_mean_tells_the_bits(regime):
    for k in (*range(2, 60), 100, 199, 200):
        for n in range(2, k + 1):
            law = output_law(k, n, regime=regime)
            assert law.mean_on > 0
            assert law.var > 0
            assert math.isnan(law.mean_off) if n == k else law.mean_off < 0


def test_large_k():
    k = 10**6
    ntk, readout = (output_law(k, 2, regime=regime) for regime in REGIMES)
    np.testing.assert_allclose([k * ntk.mean_off, k * ntk.var], [-0.15054, 0.0635], atol=1e-4)
    assert ntk.var / ntk.mean_off**2 / k == pytest.approx(2.8037, abs=1e-3)
    assert k * readout.mean_off == pytest.approx(-0.28240, abs=1e-4)
    _, alpha, beta = kernel_blocks(k)
    v = (math.sqrt(0.5) + 1.5 * math.pi / math.sqrt(2)) / (2 * math.pi)
    assert k * ntk.mean_off == pytest.approx((alpha - 2 * (v - beta)) / alpha, abs=1e-5)


def test_moved_bits_move_the_law():
    rng = np.random.default_rng(0)
    A = PermutationTask(8).inputs((2, 3, 5), 40, rng)
    moved = rng.permutation(8)
    W, C = joint_law(8, A)
    turned, same = joint_law(8, A[:, moved])
    np.testing.assert_allclose(turned, W[:, moved], atol=1e-14)
    np.testing.assert_allclose(same, C, atol=1e-14)
    # Of a word alone only the number of ones counts; of two, also how many they share.
    for n in (2, 3, 5):
        np.testing.assert_allclose(np.diag(C)[A.sum(1) == n], output_law(8, n).var, atol=1e-14)
    pairs = np.column_stack([A.sum(1)[:, None] + 0 * A.sum(1), A.sum(1) + 0 * A.sum(1)[:, None], A @ A.T])
    assert pairs.shape == (40, 120)
    shared = {}
    for i in range(40):
        for j in range(40):
            key = (A[i].sum(), A[j].sum(), (A[i] & A[j]).sum())
            assert C[i, j] == pytest.approx(shared.setdefault(key, C[i, j]), abs=1e-14)
    assert len(shared) > 10


@pytest.mark.parametrize("regime", REGIMES)
def test_weights_scale_the_variance_alone(regime):
    one, two = (output_law(9, 4, sigma_w, regime) for sigma_w in (1.0, 1.3))
    np.testing.assert_allclose([two.mean_on, two.mean_off], [one.mean_on, one.mean_off], rtol=1e-12)
    assert two.var == pytest.approx(1.3**4 * one.var, rel=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: output_law(1, 1), "k = 1"),
        (lambda: output_law(5, 0), "n_ones = 0"),
        (lambda: output_law(5, 6), "n_ones = 6"),
        (lambda: output_law(5, 2, 0.0), "sigma_w = 0.0"),
        (lambda: output_law(5, 2, regime="lazy"), "regime = 'lazy'"),
        (lambda: output_law(5, 2, t=-1.0), "t = -1.0"),
        (lambda: output_law(5, 2, t=1.0, steps=3), "both given"),
        (lambda: output_law(5, 2, lr=10.0, steps=3), r"lr = 10\.0 .* below 2/lambda_1 = 6\.1"),
        (lambda: joint_law(3, [[0, 0, 0]]), "no one in row 0"),
        (lambda: joint_law(3, [[0, 0.5, 0]]), r"entry 0\.5"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
