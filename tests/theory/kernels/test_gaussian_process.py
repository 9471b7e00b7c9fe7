import numpy as np
import pytest
from scipy.stats import kstest, multivariate_normal

from theory.kernels import Law, log_marginal_likelihood, mlp_kernel, posterior, sample

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(14, 4)), RNG.normal(size=(9, 2))
K = mlp_kernel(X, depth=2, cw=1.5, cb=0.1, get="nngp").nngp
K_TT, K_ST, K_SS = K[:9, :9], K[9:, :9], K[9:, 9:]


@pytest.mark.parametrize("noise", [0.0, 0.2])
@pytest.mark.parametrize("method", ["cholesky", "cg"])
def test_posterior_is_the_conditional_law(noise, method):
    A = np.linalg.inv(K_TT + noise * np.eye(9))
    law = posterior(K_TT, K_ST, K_SS, Y, noise, method=method)
    np.testing.assert_allclose(law.mean, K_ST @ A @ Y, atol=1e-8)
    np.testing.assert_allclose(law.cov, K_SS - K_ST @ A @ K_ST.T, atol=1e-8)
    variances = posterior(K_TT, K_ST, np.diag(K_SS), Y[:, 0], noise, method=method)
    np.testing.assert_allclose(variances.cov, np.diag(law.cov), atol=1e-8)
    np.testing.assert_allclose(variances.mean, law.mean[:, 0], atol=1e-8)


def test_data_one_by_one_are_data_at_once():
    first = posterior(K[:5, :5], K[5:, :5], K[5:, 5:], Y[:5], 0.1)
    second = posterior(first.cov[:4, :4], first.cov[4:, :4], first.cov[4:, 4:], Y[5:] - first.mean[:4], 0.1)
    once = posterior(K_TT, K_ST, K_SS, Y, 0.1)
    np.testing.assert_allclose(second.mean + first.mean[4:], once.mean, atol=1e-11)
    np.testing.assert_allclose(second.cov, once.cov, atol=1e-11)


def test_evidence():
    expected = sum(multivariate_normal(np.zeros(9), K_TT + 0.3 * np.eye(9)).logpdf(column) for column in Y.T)
    assert log_marginal_likelihood(K_TT, Y, 0.3) == pytest.approx(expected, abs=1e-10)
    one = multivariate_normal(np.zeros(9), K_TT).logpdf(Y[:, 0])
    assert log_marginal_likelihood(K_TT, Y[:, 0]) == pytest.approx(one, abs=1e-8)


def test_samples_follow_the_law():
    law = posterior(K_TT, K_ST, K_SS, Y, 0.1)
    drawn = sample(law, np.random.default_rng(1), 4000)
    assert drawn.shape == (4000, 5, 2)
    # 20 Kolmogorov-Smirnov tests of independent directions: false alarm below 2e-3 in all, with a fixed seed.
    root = np.linalg.cholesky(law.cov)
    white = np.linalg.solve(root, (drawn - law.mean).reshape(4000, 5, 2))
    for i in range(5):
        for j in range(2):
            assert kstest(white[:, i, j], "norm").pvalue > 1e-4
            assert kstest((white[:, i, j] + white[:, (i + 1) % 5, 1 - j]) / 2**0.5, "norm").pvalue > 1e-4
    one = sample(Law(law.mean[:, 0], law.cov), np.random.default_rng(1), 4000)
    assert abs(np.cov(one.T) - law.cov).max() < 0.1 * law.cov.max()
    several = sample(
        Law(np.zeros((3, 5)), law.cov * np.array([1, 4, 0])[:, None, None]), np.random.default_rng(1), 4000
    )
    np.testing.assert_allclose(several.std(0)[:2] / np.sqrt(np.diag(law.cov)), [[1] * 5, [2] * 5], rtol=0.06)
    np.testing.assert_array_equal(several[:, 2], 0)


def test_conjugate_gradients_say_where_they_end():
    copies = np.kron(K_TT, np.ones((2, 2)))
    with pytest.raises(ValueError, match=r"k_tt: conjugate gradients end at a residual of"):
        posterior(copies, np.ones((1, 18)), [1.0], np.tile([1.0, -1.0], 9), method="cg")
    scales = np.diag(10.0 ** -np.arange(9))
    found = posterior(scales @ K_TT @ scales, np.eye(9), np.eye(9), Y, method="cg", tol=1e-9)
    np.testing.assert_allclose(scales @ K_TT @ scales @ found.mean, Y, atol=1e-7)


def test_bad_input_is_refused():
    twice = np.array([0, 1, 2, 3, 1])
    for call, words in (
        (
            lambda: posterior(K_TT[np.ix_(twice, twice)], K_ST[:, twice], K_SS, Y[:5]),
            r"k_tt \+ 0.0 is singular: rows 1 and 4",
        ),
        (lambda: posterior(K_TT, K_ST, K_SS, Y, -1.0), r"noise = -1\.0 is out of range"),
        (
            lambda: posterior(K_TT, K_ST, K_SS, Y, method="lu"),
            "method = 'lu' is unknown; allowed: 'auto', 'cholesky', 'cg'",
        ),
        (lambda: posterior(K_ST, K_ST, K_SS, Y), r"k_tt has shape \(5, 9\); allowed: square"),
        (lambda: posterior(K_TT, K_ST, K_SS, Y[:3]), r"y has shape \(3, 2\)"),
        (lambda: log_marginal_likelihood(K_TT * np.nan, Y), "k_tt has an entry nan"),
        (lambda: sample(Law(np.zeros(2), np.diag([1.0, -1.0])), RNG), r"cov has the eigenvalue -1\.0"),
        (lambda: sample(Law(np.zeros(2), np.ones(2)), RNG), r"cov of shape \(2,\) is not symmetric"),
        (lambda: sample(Law(np.zeros(2), np.eye(2)), RNG, 0), "n = 0 is out of range"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
    with pytest.raises(TypeError, match="rng = 3 is not a random generator"):
        sample(Law(np.zeros(2), np.eye(2)), 3)
