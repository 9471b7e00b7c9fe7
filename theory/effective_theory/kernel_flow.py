r"""Kernels of preactivations from layer to layer, at infinite width.

.. math::
    K^{(l+1)} = C_b + C_W \langle f^2 \rangle + \gamma^2 K^{(l)}

for :math:`z^{(l+1)} = b + W f(z^{(l)}) + \gamma z^{(l)}`, with weights of variance :math:`C_W/n_l` and biases of
variance :math:`C_b` (Roberts, Yaida and Hanin, arXiv:2106.10165).
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from hebbian import validation
from hebbian.activations import Activation, Function, get_activation
from theory.effective_theory.moments import LEAST, overflows
from theory.kernels.duals import dual, dual_diag

Array = NDArray[np.float64]

# Kernels beyond count as zero or infinite in the search for a fixed point.
_FARTHEST = 1e30
# Correlations nearer to 1 are not told from it.
_RESOLVED = 1e-6


def kernel_flow(
    act: str | Function | Activation, L: int, C_W: float, C_b: float, K1: float, gamma: float = 0.0
) -> Array:
    r"""Return the kernels :math:`K^{(l)}` of the preactivations of all layers of a network of infinite width.

    Parameters
    ----------
    act : str, callable or Activation
        As `hebbian.activations.get_activation` takes it.
    L : int
        Number of layers of weights, at least 1.
    C_W : float
        Variance of a weight times the number of inputs of its layer, > 0.
    C_b : float
        Variance of a bias, at least 0.
    K1 : float
        Kernel of the first layer, :math:`C_b + C_W |x|^2/n_0`, > 0 and at least C_b.
    gamma : float
        Weight of the residual path, in [0, 1].

    Returns
    -------
    ndarray, shape (L,)
        Infinite from where a kernel exceeds 1e100, or f overflows.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    Examples
    --------
    >>> kernel_flow("relu", 4, 2.5, 0.0, 1.0).tolist()
    [1.0, 1.25, 1.5625, 1.953125]
    """
    act, L, C_W, C_b, K1, gamma = check_network(act, L, C_W, C_b, K1, gamma)
    K = np.full(L, np.inf)
    K[0] = K1
    for layer in range(1, L):
        if overflows(act, K[layer - 1], 2):
            break
        # Below the least kernel f is its tangent.
        mean_square = float(dual_diag(act, max(K[layer - 1], LEAST))[0]) * min(K[layer - 1] / LEAST, 1.0)
        K[layer] = C_b + C_W * mean_square + gamma**2 * K[layer - 1]
    return K


def kernel_flow_two(
    act: str | Function | Activation, L: int, C_W: float, C_b: float, K11: float, K22: float, K12: float
) -> tuple[Array, Array, Array]:
    r"""Return the kernels of two inputs, with themselves and each other, for all layers at infinite width.

    Parameters
    ----------
    act : str, callable or Activation
        As `hebbian.activations.get_activation` takes it.
    L : int
        Number of layers of weights, at least 1.
    C_W, C_b : float
        Variances, as for `kernel_flow`.
    K11, K22, K12 : float
        Kernels of the first layer; :math:`K_{12}^2 \le K_{11} K_{22}`.

    Returns
    -------
    K11, K22, K12 : ndarray, shape (L,)
        Infinite, K12 too, from where K11 or K22 is.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.
    """
    act, L, C_W, C_b, K11, _ = check_network(act, L, C_W, C_b, K11, 0.0, of_kernel="K11")
    K22 = check_network(act, L, C_W, C_b, K22, 0.0, of_kernel="K22")[4]
    largest = math.sqrt(K11 * K22)
    K12 = validation.real("K12", K12, minimum=-largest, maximum=largest)
    one, two = (kernel_flow(act, L, C_W, C_b, K) for K in (K11, K22))
    both = np.full(L, np.inf)
    both[0] = K12
    for layer in range(1, L):
        if not np.isfinite(one[layer] + two[layer]):
            break
        bound = math.sqrt(one[layer - 1] * two[layer - 1])
        covariance = min(max(both[layer - 1], -bound), bound)
        both[layer] = C_b + C_W * float(dual(act, one[layer - 1], two[layer - 1], covariance)[0])
    return one, two, both


def correlation_depth(act: str | Function | Activation, C_W: float, C_b: float) -> float:
    r"""Return over how many layers the correlation of two inputs approaches its limit by a factor e.

    .. math::
        \xi = -1 / \ln \chi(c), \qquad \chi(c) = C_W \langle f'(u) f'(v) \rangle

    at the fixed point K that K = 1 flows to, with c the correlation that pairs of inputs tend to: 1 where
    :math:`\chi(1) = \chi_\perp \le 1` (ordered), less where it is larger (chaotic).

    Parameters
    ----------
    act : str, callable or Activation
        As `hebbian.activations.get_activation` takes it.
    C_W, C_b : float
        Variances, as for `kernel_flow`.

    Returns
    -------
    float
        Infinite at criticality.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or kernels grow for ever.

    Examples
    --------
    >>> round(correlation_depth("tanh", 0.5, 0.0), 6)  # -1/ln 0.5
    1.442695
    """
    act, _, C_W, C_b, _, _ = check_network(act, 1, C_W, C_b, max(1.0, validation.real("C_b", C_b, minimum=0.0)), 0.0)
    K = _fixed_point(act, C_W, C_b)

    def drift(c: float) -> float:
        return (C_b + C_W * float(dual(act, K, K, c * K)[0])) / K - c

    chi = C_W * float(dual_diag(act, K)[1])
    if chi > 1 and drift(1 - _RESOLVED) < 0:
        c = brentq(drift, 0.0, 1 - _RESOLVED, xtol=1e-14)
        chi = C_W * float(dual(act, K, K, c * K)[1])
    if chi <= 0:
        return 0.0
    return math.inf if abs(math.log(chi)) < 1e-12 else -1 / math.log(chi)


def check_network(
    act: Any, L: Any, C_W: Any, C_b: Any, K1: Any, gamma: Any, of_kernel: str = "K1"
) -> tuple[Activation, int, float, float, float, float]:
    """Return the arguments that describe a network, or raise unless they are in range."""
    C_b = validation.real("C_b", C_b, minimum=0.0)
    return (
        get_activation(act),
        validation.integer("L", L, minimum=1),
        validation.real("C_W", C_W, above=0.0),
        C_b,
        validation.real(of_kernel, K1, **({"minimum": C_b} if C_b > 0 else {"above": 0.0})),
        validation.real("gamma", gamma, minimum=0.0, maximum=1.0),
    )


def _fixed_point(act: Activation, C_W: float, C_b: float) -> float:
    """Return the fixed point of the kernel on the side of K = 1 to which it drifts there."""

    def drift(K: float) -> float:
        return (C_b - K) + C_W * float(dual_diag(act, K)[0])

    near, sign = 1.0, np.sign(drift(1.0))
    if sign == 0:
        return near
    while 1 / _FARTHEST < near < _FARTHEST:
        far = near * 2.0**sign
        if overflows(act, far, 2):
            break
        if np.sign(drift(far)) != sign:
            return float(brentq(drift, near, far, xtol=1e-300, rtol=1e-14))
        near = far
    if sign < 0:
        return near
    raise ValueError(f"C_W = {C_W}, C_b = {C_b} let kernels grow for ever; allowed: values with a fixed point")
