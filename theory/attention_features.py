r"""Random-feature attention with infinitely many heads: kernels, kernel ridge regression, bounds of its risk.

With :math:`a = \langle \tilde x_0, \tilde x_0' \rangle`, :math:`b_{ij} = \langle \tilde x_i, \tilde x_j' \rangle` of
unit tokens with a constant added, and query-key matrices of mean W_0 and entries of variance 1/4, the mean over heads
of the product of the features of two inputs is

.. math::
    K(x, x') = \frac1{N^2} \sum_{ij} E[(g + m_i)_+ (g' + m_j')_+]\, b_{ij}, \qquad
    m_i = \langle \tilde x_0, W_0 \tilde x_i \rangle,

with Gaussians of variance 1 and correlation :math:`a b_{ij}/4`. Fu, Guo, Bai, Mei, NeurIPS 2023, arXiv:2307.11353.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from hebbian import validation
from hebbian.attention_targets import check_tokens, identity_bias
from theory import rectified_moments as moments
from theory.attention_norms import MODELS, rkhs_norm_bound
from theory.threads import spread

__all__ = [
    "BACKENDS",
    "MODELS",
    "brfa_kernel",
    "excess_risk_bound",
    "head_error",
    "interpolation_norm",
    "kernel_ridge",
    "rfa_kernel",
    "rfmlp_kernel",
    "rkhs_norm_bound",
]

Array = NDArray[np.float64]

BACKENDS = ("numba", "numpy")
# Keys of a tile on either side: its products and coefficients stay in the cache.
_TILE = 512


def rfa_kernel(X: ArrayLike, Y: ArrayLike | None = None, *, activation: str = "relu", backend: str = "numba") -> Array:
    r"""Return the kernel of `hebbian.nn.attention_features.RandomFeatureAttention` without bias.

    Parameters
    ----------
    X, Y : array_like
        Inputs of unit tokens, shapes (n, N + 1, d) and (m, N' + 1, d); Y is X by default.
    activation : {"relu"}
        Of the layer; others have no closed form.
    backend : {"numba", "numpy"}
        Compiled, a tile of inputs at a time on the threads of Numba, or the closed form in NumPy, a pair of keys at a
        time.

    Returns
    -------
    ndarray, shape (n, m)

    Raises
    ------
    TypeError, ValueError, MemoryError
        If an argument is out of range, tokens are not of norm 1, or the kernel does not fit in memory.

    Examples
    --------
    >>> rfa_kernel([[[1.0], [1.0]]]).round(6).tolist()  # one key: kap1(1) * 2 = 1
    [[1.0]]
    """
    return _kernel(X, Y, None, activation, backend)


def brfa_kernel(
    X: ArrayLike,
    Y: ArrayLike | None = None,
    bias_matrix: ArrayLike | None = None,
    *,
    activation: str = "relu",
    backend: str = "numba",
) -> Array:
    r"""Return the kernel of `hebbian.nn.attention_features.RandomFeatureAttention` with a mean of its matrices.

    Parameters
    ----------
    X, Y : array_like
        Inputs of unit tokens, shapes (n, N + 1, d) and (m, N' + 1, d); Y is X by default.
    bias_matrix : array_like, optional
        W_0, shape (d + 1, d + 1); blockdiag(I, 0) by default.
    activation, backend : str
        See `rfa_kernel`.

    Returns
    -------
    ndarray, shape (n, m)

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `rfa_kernel`.
    """
    d = check_tokens(X, name="X").shape[2]
    bias = identity_bias(d) if bias_matrix is None else bias_matrix
    return _kernel(X, Y, validation.finite("bias_matrix", bias, (d + 1, d + 1)).astype(np.float64), activation, backend)


def rfmlp_kernel(X: ArrayLike, Y: ArrayLike | None = None) -> Array:
    r"""Return the kernel of `hebbian.nn.attention_features.RandomFeatureMLP`.

    .. math::
        K(x, x') = \kappa_1\Big( \frac{1 + \sum_{i=0}^N \langle x_i, x_i' \rangle}{N+2} \Big), \qquad
        \kappa_1(r) = \frac{\sqrt{1-r^2} + r (\pi - \arccos r)}{2\pi}

    Parameters
    ----------
    X, Y : array_like
        Inputs of unit tokens, shapes (n, N + 1, d) and (m, N + 1, d); Y is X by default.

    Returns
    -------
    ndarray, shape (n, m)

    Raises
    ------
    TypeError, ValueError, MemoryError
        As `rfa_kernel`, or if Y has another number of tokens.
    """
    X, Y = _inputs(X, Y, same_number=True)
    flat, other = X.reshape(len(X), -1), Y.reshape(len(Y), -1)
    return _centred((1 + flat @ other.T) / (X.shape[1] + 1))


def _centred(r: Array) -> Array:
    """Return E[g_+ g'_+] at the correlation r, which rounding may have taken out of [-1, 1]."""
    r = np.clip(r, -1.0, 1.0)
    return (np.sqrt(1 - r**2) + r * (np.pi - np.arccos(r))) / (2 * np.pi)


def _inputs(X: ArrayLike, Y: ArrayLike | None, *, same_number: bool = False) -> tuple[Array, Array]:
    """Return the inputs, checked; Y is X itself if it is None."""
    X = check_tokens(X, name="X").astype(np.float64)
    if Y is None:
        Y = X
    else:
        Y = check_tokens(Y, X.shape[2], "Y").astype(np.float64)
        if same_number and Y.shape[1] != X.shape[1]:
            raise ValueError(f"Y has {Y.shape[1]} tokens; allowed: {X.shape[1]}, as X")
    validation.memory(f"the kernel of {len(X)} and {len(Y)} inputs", 16.0 * len(X) * len(Y))
    return X, Y


def _kernel(X: ArrayLike, Y: ArrayLike | None, bias: Array | None, activation: str, backend: str) -> Array:
    validation.choice("backend", backend, BACKENDS)
    validation.choice("activation", activation, ("relu",))
    symmetric = Y is None
    X, Y = (np.concatenate([x, np.ones_like(x[..., :1])], -1) for x in _inputs(X, Y))
    query = X[:, 0] @ Y[:, 0].T / 4
    means, of_other = (None if bias is None else np.einsum("nid,nd->ni", x[:, 1:], x[:, 0] @ bias) for x in (X, Y))
    X, Y = X[:, 1:], Y[:, 1:]
    out = np.zeros((len(X), len(Y)))
    if backend == "numpy":
        for i in range(X.shape[1]):
            for j in range(Y.shape[1]):
                b = X[:, i] @ Y[:, j].T
                if means is None or of_other is None:
                    out += _centred(query * b) * b
                else:
                    out += moments.rectified_correlation(means[:, i, None], of_other[:, j], query * b) * b
    else:
        _add_tiles(X, Y, query, means, of_other, symmetric, out)
    return out / (X.shape[1] * Y.shape[1])


def _add_tiles(
    X: Array, Y: Array, query: Array, means: Array | None, of_other: Array | None, symmetric: bool, out: Array
) -> None:
    """Add the sums over keys to the kernel, rows of tiles on the threads; of a symmetric one half of the tiles."""
    rows, columns = max(1, _TILE // X.shape[1]), max(1, _TILE // Y.shape[1])
    squares = moments.hermite_coefficients(0.0) ** 2

    def compute(begin: int, end: int) -> None:
        for start in range(begin * rows, min(end * rows, len(X)), rows):
            at = slice(start, start + rows)
            c = None if means is None else moments.hermite_coefficients(means[at].ravel())
            for left in range(start if symmetric else 0, len(Y), columns):
                beside = slice(left, left + columns)
                a, b = query[at, beside], X[at].reshape(-1, X.shape[2]) @ Y[beside].reshape(-1, Y.shape[2]).T
                part, b = np.zeros(a.shape), b.reshape(len(b), a.shape[1], -1)
                terms = moments.terms_needed(a.max(1) * b.reshape(len(a), -1).max(1))
                if means is None or of_other is None:
                    moments.add_centred(a, b, squares, terms, part)
                else:
                    c_of_other = moments.hermite_coefficients(of_other[beside].ravel())
                    moments.add_shifted(a, b, means[at].ravel(), of_other[beside], c, c_of_other, terms, part)
                out[at, beside] = part
                if symmetric:
                    out[beside, at] = (part + part.T) / 2 if left == start else part.T
                    if left == start:
                        out[at, beside] = out[beside, at]

    spread(compute, -(-len(X) // rows))


def kernel_ridge(K: ArrayLike, Ks: ArrayLike, y: ArrayLike, lam: float) -> Array:
    r"""Return the predictions of kernel ridge regression, :math:`K_s (K + \lambda I)^{-1} y`.

    Parameters
    ----------
    K : array_like
        Kernel of the n training inputs, shape (n, n).
    Ks : array_like
        Kernel of m inputs and the training inputs, shape (m, n).
    y : array_like
        Labels, shape (n,) or (n, targets).
    lam : float
        lambda, at least 0.

    Returns
    -------
    ndarray, shape (m,) or (m, targets)

    Raises
    ------
    TypeError, ValueError
        If a shape does not fit, an entry is not finite, lam is negative, or K + lam I is not positive definite.
    """
    K, y = _system(K, y)
    Ks = validation.finite("Ks", Ks, (None, len(K)))
    lam = validation.real("lam", lam, minimum=0.0)
    return Ks @ _solve(K + lam * np.eye(len(K)), y, f"K + lam I with lam = {lam}")


def interpolation_norm(K: ArrayLike, y: ArrayLike) -> Any:
    r"""Return :math:`y^T K^{-1} y`, the least squared norm of a function that has the labels: a lower bound of theirs.

    Parameters
    ----------
    K : array_like
        Kernel of the n inputs, shape (n, n).
    y : array_like
        Labels without noise, shape (n,) or (n, targets).

    Returns
    -------
    float, or ndarray of shape (targets,)

    Raises
    ------
    TypeError, ValueError
        If a shape does not fit, an entry is not finite, or K is not positive definite.
    """
    K, y = _system(K, y)
    return (y * _solve(K, y, "K")).sum(0)


def _system(K: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    K = validation.finite("K", K, (None, None)).astype(np.float64)
    if K.shape[0] != K.shape[1]:
        raise ValueError(f"K has shape {K.shape}; allowed: (n, n)")
    shape = (len(K),) if np.ndim(y) == 1 else (len(K), None)
    return K, validation.finite("y", y, shape).astype(np.float64)


def _solve(K: Array, y: Array, name: str) -> Array:
    try:
        return cho_solve(cho_factor(K, lower=True), y)
    except LinAlgError as error:
        raise ValueError(
            f"{name} is not positive definite: {error}; allowed: distinct inputs, or a larger lam"
        ) from error


def excess_risk_bound(norm2: float, kernel_diag: float, n: int, lipschitz: float = 1.0) -> float:
    r"""Return a bound of the mean excess risk of constrained fits, :math:`2 L \sqrt{\lVert f \rVert^2 K(x,x)/n}`.

    For the minimiser of the empirical risk over functions of squared norm up to that of the target, and a loss that is
    L-Lipschitz in the prediction; :math:`\sqrt{\lVert f \rVert^2 K/n}` is the Rademacher complexity of the ball. With M
    heads the square of `head_error` is added.

    Parameters
    ----------
    norm2 : float
        Squared norm of the target, at least 0.
    kernel_diag : float
        Mean of K(x, x), at least 0.
    n : int
        Number of samples, at least 1.
    lipschitz : float
        L, at least 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    Examples
    --------
    >>> excess_risk_bound(16.0, 0.5, 800)
    0.2
    """
    norm2 = validation.real("norm2", norm2, minimum=0.0)
    kernel_diag = validation.real("kernel_diag", kernel_diag, minimum=0.0)
    n = validation.integer("n", n, minimum=1)
    return 2 * validation.real("lipschitz", lipschitz, minimum=0.0) * math.sqrt(norm2 * kernel_diag / n)


def head_error(M: int, norm2: float = 1.0) -> float:
    r"""Return :math:`\sqrt{\lVert f \rVert^2/M}`, the scale of what M heads miss of a function, or of the kernel.

    Parameters
    ----------
    M : int
        Number of heads, at least 1.
    norm2 : float
        Squared norm, at least 0; 1 for the relative error of the kernel.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.
    """
    M = validation.integer("M", M, minimum=1)
    return math.sqrt(validation.real("norm2", norm2, minimum=0.0) / M)
