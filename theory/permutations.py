r"""Wide two-layer relu networks that learned a permutation of k bits, and the law of their outputs.

Networks :math:`f(x) = (\sigma_w/\sqrt n)\, W_2\, {\rm relu}((\sigma_w/\sqrt k)\, W_1 x)` are trained by gradient
descent on half the sum of squared errors at the k unit vectors. At infinite width the coordinates of the output are
independent Gaussian variables of one variance, and of one mean where the permuted word has a one and another where it
has none. The kernel of the unit vectors is :math:`s(\alpha I + \beta 1 1^T)`, so that all of it is in closed form
(arXiv:2502.16763; Gaussian-process law of training: Lee et al. 2019).

Regimes: "ntk" trains both layers; "readout" trains :math:`W_2` alone, which is also the limit of networks in the
standard parametrisation, whose readout learns faster than the first layer by a factor of the order of the width.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hebbian import validation
from hebbian.permutations import check_words

Array = NDArray[np.float64]

REGIMES = ("ntk", "readout")
# kappa(x, e_i)/s of orthogonal inputs, in both kernels: 1/(2 pi).
_ORTHOGONAL = 0.5 / math.pi
# The same of an input with itself.
_ITSELF = {"ntk": 1.0, "readout": 0.5}


@dataclass(frozen=True)
class OutputLaw:
    """Law of the coordinates of one network's output, which are independent Gaussian variables.

    Parameters
    ----------
    mean_on : float
        Mean of those whose target is 1.
    mean_off : float
        Mean of those whose target is 0; NaN if there are none.
    var : float
        Variance of each.
    """

    mean_on: float
    mean_off: float
    var: float


def kernel_blocks(k: int, sigma_w: float = 1.0, regime: str = "ntk") -> tuple[float, float, float]:
    r"""Return :math:`s, \alpha, \beta` of the kernel :math:`s(\alpha I + \beta 1 1^T)` of the k unit vectors.

    .. math::
        s = \sigma_w^4/k, \qquad \beta = \frac1{2\pi}, \qquad
        \alpha = 1 - \beta \text{ (ntk)}, \quad \tfrac12 - \beta \text{ (readout)}

    Parameters
    ----------
    k : int
        Number of bits, at least 2.
    sigma_w : float
        Standard deviation of weights times the root of the number of inputs, > 0.
    regime : {"ntk", "readout"}
        What is trained.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.
    """
    k = validation.integer("k", k, minimum=2)
    sigma_w = validation.real("sigma_w", sigma_w, above=0.0)
    validation.choice("regime", regime, REGIMES)
    return sigma_w**4 / k, _ITSELF[regime] - _ORTHOGONAL, _ORTHOGONAL


def output_law(
    k: int,
    n_ones: int,
    sigma_w: float = 1.0,
    regime: str = "ntk",
    t: float = math.inf,
    lr: float = 1.0,
    steps: int | None = None,
) -> OutputLaw:
    r"""Return the law of a network's output on a word with some ones.

    With :math:`\rho = 1/\sqrt{n_1}` the kernels of the word and a unit vector of its support are, in units of s,

    .. math::
        u = \frac{\sqrt{1-\rho^2} + (\pi - \arccos\rho)\rho}{2\pi}, \qquad
        v = u + \frac{(\pi - \arccos\rho)\rho}{2\pi}

    (NNGP and tangent kernel; :math:`\beta` off the support), and the mean is
    :math:`w_i = g_1 \bar\theta + g_0 (\theta_i - \bar\theta)` with
    :math:`g = (1 - e^{-\eta\lambda t})/\lambda` at :math:`\lambda_0 = s\alpha` and
    :math:`\lambda_1 = s(\alpha + k\beta)`, :math:`\theta` being s v or s u.

    Parameters
    ----------
    k : int
        Number of bits, at least 2.
    n_ones : int
        Ones of the word, 1 to k.
    sigma_w : float
        See `kernel_blocks`; the mean of trained networks does not depend on it, the variance grows as its fourth power.
    regime : {"ntk", "readout"}
        What is trained.
    t : float
        Time of gradient flow, at least 0, infinite by default.
    lr : float
        Rate :math:`\eta` > 0 of the flow, or of the descent.
    steps : int, optional
        Steps of gradient descent instead of flow: :math:`(1-\eta\lambda)^\tau` in place of
        :math:`e^{-\eta\lambda t}`.

    Returns
    -------
    OutputLaw

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or descent diverges: :math:`\eta \ge 2/\lambda_1`.

    Examples
    --------
    >>> law = output_law(10, 2)
    >>> round(law.mean_on, 4), round(law.mean_off, 4), round(law.var, 5)
    (0.5654, -0.0099, 0.00652)
    """
    s, alpha, beta = kernel_blocks(k, sigma_w, regime)
    n = validation.integer("n_ones", n_ones, minimum=1, maximum=k)
    gains = _gains(s, alpha, beta, k, t, lr, steps)
    if n == 1 and steps is None and t == math.inf:
        return OutputLaw(1.0, 0.0, 0.0)  # a training point
    u, v = map(float, _support(1 / math.sqrt(n)))
    theta = v if regime == "ntk" else u
    mean = (n * theta + (k - n) * beta) / k
    on, off = (gains[1] * mean + gains[0] * (value - mean) for value in (theta, beta))
    total, squares = n * on + (k - n) * off, n * on**2 + (k - n) * off**2
    cross = n * on * u + (k - n) * off * _ORTHOGONAL
    var = s * (0.5 + (0.5 - _ORTHOGONAL) * squares + _ORTHOGONAL * total**2 - 2 * cross)
    return OutputLaw(on, off if n < k else math.nan, max(var, 0.0))


def joint_law(k: int, A: ArrayLike, sigma_w: float = 1.0, regime: str = "ntk") -> tuple[Array, Array]:
    r"""Return the joint law of a trained network's outputs on several words.

    Over the words, the outputs of coordinate ``permutation[i]`` are Gaussian of mean ``W[:, i]`` and covariance C;
    those of different coordinates are independent.

    Parameters
    ----------
    k : int
        Number of bits, at least 2.
    A : array_like, shape (m, k)
        Words, entries 0 and 1, each with at least one.
    sigma_w, regime
        See `output_law`.

    Returns
    -------
    W : ndarray, shape (m, k)
    C : ndarray, shape (m, m)

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.
    """
    s, alpha, beta = kernel_blocks(k, sigma_w, regime)
    A = check_words("A", A, k)
    x = A / np.sqrt(A.sum(1, keepdims=True))
    u, v = _support(x)
    theta = v if regime == "ntk" else u
    mean = theta.mean(1, keepdims=True)
    W = mean / (alpha + k * beta) + (theta - mean) / alpha
    trained = A.sum(1) == 1
    W[trained] = A[trained]
    K, _ = _support(np.clip(x @ x.T, 0.0, 1.0))
    np.fill_diagonal(K, 0.5)
    cross = W @ u.T
    total = W.sum(1)
    C = s * (K + (0.5 - _ORTHOGONAL) * (W @ W.T) + _ORTHOGONAL * np.outer(total, total) - cross - cross.T)
    C[trained] = C[:, trained] = 0.0
    return W, C


def _gains(s: float, alpha: float, beta: float, k: int, t: float, lr: float, steps: int | None) -> tuple[float, float]:
    """Return (1 - remaining)/lambda in units of 1/s, for both eigenvalues of the kernel."""
    lr = validation.real("lr", lr, above=0.0)
    values = alpha, alpha + k * beta
    if steps is None:
        if t != math.inf:
            t = validation.real("t", t, minimum=0.0)
        left = [math.exp(-lr * s * value * t) for value in values]
    else:
        if t != math.inf:
            raise ValueError(f"t = {t} and steps = {steps} are both given; allowed: one of them")
        steps = validation.integer("steps", steps, minimum=0)
        largest = 2 / (s * values[1])
        if lr >= largest:
            raise ValueError(f"lr = {lr} lets gradient descent diverge; allowed: below 2/lambda_1 = {largest:.6g}")
        left = [(1 - lr * s * value) ** steps for value in values]
    return (1 - left[0]) / values[0], (1 - left[1]) / values[1]


def _support(rho: ArrayLike) -> tuple[Array, Array]:
    """Return both kernels of unit inputs of overlap rho, in units of s: NNGP and tangent kernel."""
    rho = np.asarray(rho, dtype=np.float64)
    turned = (math.pi - np.arccos(rho)) * rho
    u = (np.sqrt((1 - rho) * (1 + rho)) + turned) / (2 * math.pi)
    return u, u + turned / (2 * math.pi)
