r"""How fluctuations grow with depth over width, and the ratio at which outputs tell most of each other.

At depth L and width n the variance that all outputs share fluctuates by :math:`v = \nu L/n`, to first order. Depth
thereby couples neurons, which representations need, and too much of it makes one network unlike the next (Roberts,
Yaida and Hanin, arXiv:2106.10165).
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, roots_genlaguerre

from hebbian import validation
from hebbian.activations import Activation, Function
from theory.effective_theory.criticality import KINDS, find_critical
from theory.effective_theory.moments import check_activation, gauss

Array = NDArray[np.float64]

_NODES = 80


def nu(act: str | Function | Activation, gamma: float = 0.0) -> float:
    r"""Return the growth :math:`\nu` of the vertex, :math:`V \simeq \nu L K^2`, of a critical network of depth L.

    Without a residual path :math:`C_W^2 (\langle f^4 \rangle - \langle f^2 \rangle^2)/K^2`, which is
    :math:`3A_4/A_2^2 - 1` with :math:`A_k = (a^k + b^k)/2` for slopes a, b; 2/3 where kernels approach zero as 1/L.
    With it the critical variances of weights and biases are :math:`1 - \gamma^2` times as large.

    Parameters
    ----------
    act : str, callable or Activation
        As `theory.effective_theory.gauss` takes it, with a critical point.
    gamma : float
        Weight of the residual path, in [0, 1].

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If gamma is out of range, or there is no critical point.

    Examples
    --------
    >>> [round(nu(act), 9) for act in ("relu", "linear", "tanh")]
    [5.0, 2.0, 0.666666667]
    """
    gamma = validation.real("gamma", gamma, minimum=0.0, maximum=1.0)
    point = find_critical(act)
    validation.choice("kind", point.kind, KINDS[:-1])
    if point.kind == "K=0":
        return 2 / 3 * (1 - gamma**4)
    K = 1.0 if math.isnan(point.K_star) else point.K_star
    moments, C_W = gauss(act, K), (1 - gamma**2) * point.C_W
    skewness = gamma * (1 + gamma) * point.C_W * K * moments.f2_z  # U where it has settled
    skip = 2 * gamma**2 * C_W * 2 * K**2 * moments.f2_K + 2 * C_W * skewness * moments.f2_z
    return float((C_W**2 * (moments.f4 - moments.f2**2) + skip) / K**2)


def homogeneous_exact(act: str | Function | Activation, L: int, n: int) -> Array:
    r"""Return :math:`E z_i^2 z_j^2 / K^2` of all layers of a critical homogeneous network, exact at any width.

    .. math::
        E z_i^2 z_j^2 = K^2 (1 + \nu/n)^{l-1}, \quad i \ne j

    Parameters
    ----------
    act : str, callable or Activation
        Homogeneous activation, without residual path.
    L : int
        Number of layers of weights, at least 1.
    n : int
        Width of all hidden layers, at least 2.

    Returns
    -------
    ndarray, shape (L,)

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or the activation is not homogeneous.
    """
    act = check_activation(act)
    L, n = validation.integer("L", L, minimum=1), validation.integer("n", n, minimum=2)
    if find_critical(act).kind != "scale_invariant":
        raise ValueError(f"act = {act.name!r} is not homogeneous; allowed: 'linear', 'relu' and other pairs of slopes")
    return np.power(1 + nu(act) / n, np.arange(L))


def mutual_information(v: float, m1: int, m2: int) -> float:
    r"""Return the mutual information, in nats, of two groups of outputs that share a fluctuating variance.

    Given :math:`s` the outputs are normal and independent of variance sK, and s is log-normal with mean 1 and variance
    v, as is the product of the independent factors of many layers. With :math:`n_L = m_1 + m_2`

    .. math::
        I = m_1 m_2 \Big( \frac{v^2}{8} - \frac{20 + 3 n_L}{48} v^3 + O(v^4) \Big)

    Parameters
    ----------
    v : float
        Variance of s, in [0, 1].
    m1, m2 : int
        Numbers of outputs, at least 1.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    Examples
    --------
    >>> round(mutual_information(0.005, 1, 1), 9)
    3.059e-06
    """
    v = validation.real("v", v, minimum=0.0, maximum=1.0)
    m1, m2 = (validation.integer(name, m, minimum=1) for name, m in (("m1", m1), ("m2", m2)))
    return _divergence(v, m1 + m2) - _divergence(v, m1) - _divergence(v, m2)


def aspect_ratio(nu: float, n_out: int) -> float:
    r"""Return the ratio L/n at which two halves of the outputs have the largest mutual information.

    .. math::
        r^* = \frac{4}{(20 + 3 n_L)\, \nu}

    by its expansion to third order. For a log-normal s (`mutual_information`) it has no maximum at all: the ratio says
    where the expansion turns.

    Parameters
    ----------
    nu : float
        Growth of the vertex, > 0: `theory.effective_theory.nu`.
    n_out : int
        Number of outputs, at least 1.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    Examples
    --------
    >>> round(aspect_ratio(2 / 3, 1), 6)  # 6/23
    0.26087
    """
    nu, n_out = validation.real("nu", nu, above=0.0), validation.integer("n_out", n_out, minimum=1)
    return 4 / ((20 + 3 * n_out) * nu)


def _divergence(v: float, m: int) -> float:
    """Return the Kullback-Leibler divergence of m outputs from independent normal ones of the same variance."""
    g, weight = np.polynomial.hermite_e.hermegauss(_NODES)
    weight = weight / weight.sum()
    width = math.sqrt(math.log1p(v))
    log_s = width * g - width**2 / 2
    q, of_radius = roots_genlaguerre(_NODES, m / 2 - 1)
    of_radius = of_radius / of_radius.sum()
    radius: Any = (2 * q[:, None] * np.exp(log_s))[..., None]
    exponent = -m / 2 * log_s - radius / 2 * np.expm1(-log_s)
    ratio = logsumexp(exponent, b=weight, axis=-1)
    return float(of_radius @ ratio @ weight)
