import numba
import numpy as np
import pytest
import torch
from scipy.special import ndtr
from sklearn.kernel_ridge import KernelRidge

from hebbian.attention_targets import identity_bias, sample_tokens
from hebbian.nn.attention_features import BiasedRandomFeatureAttention, RandomFeatureAttention, RandomFeatureMLP
from tests.theory.test_rectified_moments import by_quadrature
from theory import attention_features as theory

D, N = 4, 3
KERNELS = {
    "rfa": theory.rfa_kernel,
    "brfa": theory.brfa_kernel,
    "rfmlp": theory.rfmlp_kernel,
    "general": lambda X, Y=None, **o: theory.brfa_kernel(X, Y, GENERAL, **o),
}
GENERAL = np.random.default_rng(5).normal(size=(D + 1, D + 1))


def tokens(n, seed=0, keys=N, d=D):
    return sample_tokens(n, keys, d, np.random.default_rng(seed))


def inputs():
    """Inputs that share tokens, so that correlations go up to 1."""
    X, Y = tokens(30), tokens(37, seed=1)
    Y[:4, :3] = X[:4, :3]
    return X, Y


@pytest.mark.parametrize("name", ["rfa", "brfa", "general"])
def test_compiled_kernels_are_the_closed_form(name):
    X, Y = inputs()
    Y = np.concatenate([Y, Y[:, 1:2]], 1)
    np.testing.assert_allclose(KERNELS[name](X, Y), KERNELS[name](X, Y, backend="numpy"), atol=1e-11)
    np.testing.assert_allclose(KERNELS[name](X), KERNELS[name](X, X), atol=1e-12)
    # Several tiles on either side.
    X = tokens(400, keys=4)
    np.testing.assert_allclose(KERNELS[name](X[:, :3])[150:220], KERNELS[name](X[150:220, :3], X[:, :3]), atol=1e-12)


def test_numpy_kernel_is_the_definition():
    X, Y = inputs()
    W = identity_bias(D, 0.8)
    K = theory.brfa_kernel(X, Y, W, backend="numpy")
    one = np.append(X[1], np.ones((N + 1, 1)), 1), np.append(Y[5], np.ones((N + 1, 1)), 1)
    total = 0.0
    for i in range(1, N + 1):
        for j in range(1, N + 1):
            b = one[0][i] @ one[1][j]
            means = one[0][0] @ W @ one[0][i], one[1][0] @ W @ one[1][j]
            total += by_quadrature(*means, one[0][0] @ one[1][0] * b / 4) * b
    assert K[1, 5] == pytest.approx(total / N**2, abs=1e-11)


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_are_symmetric_and_positive(name):
    K = KERNELS[name](tokens(60))
    np.testing.assert_array_equal(K, K.T)
    assert np.linalg.eigvalsh(K)[0] > -1e-12


@pytest.mark.parametrize("name", KERNELS)
def test_permutations_of_keys(name):
    X, Y = inputs()
    permuted = np.abs(KERNELS[name](X[:, [0, 2, 3, 1]], Y) - KERNELS[name](X, Y)).max()
    assert permuted > 1e-3 if name == "rfmlp" else permuted < 1e-12
    assert np.abs(KERNELS[name](X[:, [1, 0, 2, 3]], Y) - KERNELS[name](X, Y)).max() > 1e-3


@pytest.mark.parametrize("name", KERNELS)
def test_rotations_of_all_tokens(name):
    X, Y = inputs()
    R, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(D, D)))
    rotated = np.abs(KERNELS[name](X @ R, Y @ R) - KERNELS[name](X, Y)).max()
    assert rotated > 1e-3 if name == "general" else rotated < 1e-12


@pytest.mark.parametrize("name", ["rfa", "brfa"])
def test_duplicated_keys_change_nothing(name):
    X, Y = inputs()
    twice = np.concatenate([X, X[:, 1:]], 1)
    np.testing.assert_allclose(KERNELS[name](twice, Y), KERNELS[name](X, Y), atol=1e-13)
    np.testing.assert_allclose(KERNELS[name](twice), KERNELS[name](X), atol=1e-13)


def test_no_bias_is_the_kernel_without():
    X, Y = inputs()
    zero = theory.brfa_kernel(X, Y, np.zeros((D + 1, D + 1)))
    np.testing.assert_allclose(zero, theory.rfa_kernel(X, Y), atol=1e-10)
    assert np.abs(theory.brfa_kernel(X, Y) - zero).max() > 0.05


LAYERS = {
    "rfa": lambda M: RandomFeatureAttention(D, M, seed=7),
    "brfa": lambda M: BiasedRandomFeatureAttention(D, M, seed=7),
    "rfmlp": lambda M: RandomFeatureMLP(D, N, M, seed=7),
}


@pytest.mark.parametrize("name", LAYERS)
def test_features_of_many_heads_give_the_kernel(name):
    X = tokens(12)
    K, M = KERNELS[name](X), 200_000
    with torch.no_grad():
        phi = LAYERS[name](M).features(torch.tensor(X, dtype=torch.float32)).double().numpy()
    width = phi.shape[1] // M
    products = [
        np.einsum("amw,bmw->abm", part, part).reshape(144, -1)
        for part in np.split(phi.reshape(12, M, width), 20, axis=1)
    ]
    deviation = np.sqrt(np.mean([(part**2).mean(1) for part in products], 0).reshape(12, 12) - K**2)
    # Five standard errors for 78 entries: a false-alarm rate of 5e-5, with a fixed seed.
    assert (np.abs(phi @ phi.T / M - K) < 5 * deviation / np.sqrt(M)).all()
    assert name != "rfa" or np.abs(phi @ phi.T / M - K).max() < 6e-3
    # Without the quarter, or the constant, it would not pass.
    one = np.append(X, np.ones((12, N + 1, 1)), -1)
    for tokens_, scale in ((one, 1.0), (X, 0.25)) if name == "rfa" else ():
        a, b = tokens_[:, 0] @ tokens_[:, 0].T, np.einsum("nid,mjd->nmij", tokens_[:, 1:], tokens_[:, 1:])
        r = np.clip(scale * a[..., None, None] * b, -1, 1)
        wrong = ((np.sqrt(1 - r**2) + r * (np.pi - np.arccos(r))) / (2 * np.pi) * b).mean((2, 3))
        assert np.abs(phi @ phi.T / M - wrong).max() > 5e-2
    # Blocks of heads are independent: root mean square errors, 2^4 times as many heads, a quarter. Each of 8 or more
    # blocks has 78 entries; the exponent scatters by 0.03 over seeds.
    errors = []
    for heads in (200, 3200):
        blocks = [phi[:, start * width : (start + heads) * width] for start in range(0, 16 * 3200, heads)]
        errors.append(np.sqrt(np.mean([(block @ block.T / heads - K) ** 2 for block in blocks])))
    assert np.log(errors[1] / errors[0]) / np.log(16) == pytest.approx(-0.5, abs=0.1)
    assert theory.head_error(3200) / theory.head_error(200) == pytest.approx(0.25)


def test_diagonal_of_one_key_is_the_second_moment():
    x = tokens(5, keys=1)
    mean = np.einsum("nd,nd->n", x[:, 0], x[:, 1])
    x[:, 1] = x[:, 0]
    np.testing.assert_allclose(np.diag(theory.rfa_kernel(x)), 1.0, atol=1e-12)
    moment = 2 * ndtr(1.0) + np.exp(-0.5) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(np.diag(theory.brfa_kernel(x)), 2 * moment, atol=1e-11)
    assert mean.max() < 1


def test_threads_change_nothing():
    X, before = tokens(400), numba.get_num_threads()
    try:
        found = []
        for threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
            numba.set_num_threads(threads)
            found.append(theory.brfa_kernel(X))
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(*found)


def test_kernel_ridge_is_that_of_scikit_learn():
    X, Y = inputs()
    K, Ks, rng = theory.brfa_kernel(X), theory.brfa_kernel(Y, X), np.random.default_rng(3)
    for y in (rng.normal(size=30), rng.normal(size=(30, 2))):
        expected = KernelRidge(alpha=0.3, kernel="precomputed").fit(K, y).predict(Ks)
        np.testing.assert_allclose(theory.kernel_ridge(K, Ks, y, 0.3), expected, atol=1e-10)
    np.testing.assert_allclose(theory.kernel_ridge(K, K, y, 0.0), y, atol=1e-8)
    np.testing.assert_allclose(theory.interpolation_norm(K, y), np.diag(y.T @ np.linalg.inv(K) @ y), rtol=1e-8)


def test_excess_risk_bound_is_twice_the_complexity_of_the_ball():
    assert theory.excess_risk_bound(16.0, 0.5, 800) == pytest.approx(0.2)
    assert theory.excess_risk_bound(16.0, 0.5, 3200, lipschitz=3.0) == pytest.approx(0.3)
    # sup over the ball of the mean of s f is the root of norm2 s K s / n^2; its mean over signs below half the bound.
    X, rng = tokens(50), np.random.default_rng(4)
    K = theory.rfa_kernel(X)
    signs = rng.choice([-1.0, 1.0], (4000, 50))
    complexity = np.sqrt(np.einsum("si,ij,sj->s", signs, K, signs) * 16.0).mean() / 50
    bound = theory.excess_risk_bound(16.0, np.diag(K).mean(), 50) / 2
    assert 0.6 * bound < complexity < bound
    assert theory.head_error(25, norm2=4.0) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: theory.rfa_kernel(np.ones((3, 4))), r"X has shape \(3, 4\)"),
        (lambda: theory.rfa_kernel(np.ones((3, 1, 4))), "at least 2 tokens"),
        (lambda: theory.rfa_kernel(tokens(2) * 1.1), r"X has a token of norm 1\.1; allowed: 1"),
        (lambda: theory.brfa_kernel(tokens(2) * 1.1), r"X has a token of norm 1\.1; allowed: 1"),
        (lambda: theory.rfmlp_kernel(tokens(2), tokens(2) * 0.9), r"Y has a token of norm 0\.9"),
        (lambda: theory.rfa_kernel(tokens(2), tokens(2, d=5)), r"Y has shape \(2, 4, 5\); allowed: \(any, any, 4\)"),
        (lambda: theory.rfmlp_kernel(tokens(2), tokens(2, keys=2)), "Y has 3 tokens; allowed: 4"),
        (lambda: theory.rfa_kernel(tokens(2) * np.nan), "X has an entry nan"),
        (
            lambda: theory.rfa_kernel(tokens(2), activation="softmax"),
            "activation = 'softmax' is unknown; allowed: 'relu'",
        ),
        (lambda: theory.brfa_kernel(tokens(2), activation="softmax"), "activation = 'softmax'"),
        (lambda: theory.rfa_kernel(tokens(2), backend="gpu"), "backend = 'gpu' is unknown"),
        (lambda: theory.brfa_kernel(tokens(2), None, np.eye(4)), r"bias_matrix has shape \(4, 4\); allowed: \(5, 5\)"),
        (lambda: theory.brfa_kernel(tokens(2), None, np.full((5, 5), np.nan)), "bias_matrix has an entry nan"),
        (lambda: theory.kernel_ridge(np.eye(2), np.eye(2), [1, 2], -0.1), r"lam = -0\.1 is out of range"),
        (lambda: theory.kernel_ridge(np.ones((2, 2)), np.eye(2), [1, 2], 0.0), "lam = 0.0 is not positive definite"),
        (lambda: theory.kernel_ridge(np.eye(2), np.eye(3), [1, 2], 0.1), r"Ks has shape \(3, 3\); allowed: \(any, 2\)"),
        (
            lambda: theory.kernel_ridge(np.ones((2, 3)), np.eye(3), [1, 2], 0.1),
            r"K has shape \(2, 3\); allowed: \(n, n\)",
        ),
        (lambda: theory.interpolation_norm(np.eye(2), [1, 2, 3]), r"y has shape \(3,\); allowed: \(2,\)"),
        (lambda: theory.interpolation_norm(-np.eye(2), [1, 2]), "K is not positive definite"),
        (lambda: theory.excess_risk_bound(-1.0, 1.0, 1), r"norm2 = -1\.0 is out of range"),
        (lambda: theory.excess_risk_bound(1.0, 1.0, 0), "n = 0 is out of range"),
        (lambda: theory.head_error(0), "M = 0 is out of range"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
