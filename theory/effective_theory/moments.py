r"""Averages of an activation and its derivatives over a normal preactivation.

Derivatives of averages are averages of the function itself times Hermite polynomials of z, which holds at kinks too:

.. math::
    \frac{d}{dK} \langle g \rangle = \frac{\langle g (z^2 - K) \rangle}{2K^2}, \qquad
    \langle g'''' \rangle = \frac{\langle g (z^4 - 6Kz^2 + 3K^2) \rangle}{K^4}
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hebbian import validation
from hebbian.activations import Activation, Function, get_activation
from theory.kernels.expectation import REACH, gaussian_expectation

Array = NDArray[np.float64]

# Kernels above count as infinite; below the least, f is its tangent up to rounding and averages keep their ratios.
LARGEST = 1e100
LEAST = 1e-140
# Kernels averaged at a time.
_AT_ONCE = 64


class Moments(NamedTuple):
    r"""Averages over :math:`z \sim N(0, K)`; all of the shape of K.

    Parameters
    ----------
    f2, f4 : ndarray
        :math:`\langle f^2 \rangle, \langle f^4 \rangle`.
    s2, s4, f2s2 : ndarray
        :math:`\langle f'^2 \rangle, \langle f'^4 \rangle, \langle f^2 f'^2 \rangle`.
    fc, fcs2 : ndarray
        :math:`\langle f f'' \rangle, \langle f f'' f'^2 \rangle`.
    f2_K, s2_K : ndarray
        :math:`d\langle f^2 \rangle/dK` and :math:`d\langle f'^2 \rangle/dK = \langle z f' f'' \rangle / K`.
    f2_z, f2_zzz, f2_zzzz, s2_zzzz : ndarray
        :math:`\langle (f^2)' \rangle, \langle (f^2)''' \rangle, \langle (f^2)'''' \rangle, \langle (f'^2)'''' \rangle`.
    """

    f2: Any
    f4: Any
    s2: Any
    s4: Any
    f2s2: Any
    fc: Any
    fcs2: Any
    f2_K: Any
    s2_K: Any
    f2_z: Any
    f2_zzz: Any
    f2_zzzz: Any
    s2_zzzz: Any


def gauss(act: str | Function | Activation, K: ArrayLike) -> Moments:
    """Return all averages that the theory needs, at given kernels.

    Parameters
    ----------
    act : str, callable or Activation
        As `hebbian.activations.get_activation` takes it: continuous, with both derivatives, and zero at its kinks,
        where the deltas of the second derivative then do not matter.
    K : array_like
        Kernels, in (0, 1e100].

    Returns
    -------
    Moments
        Relative errors of order 1e-13, but absolute ones of order 1e-16 over the power of K that derivatives divide by,
        up to :math:`10^{-16}/K^2` for the last.

    Raises
    ------
    TypeError, ValueError
        If K is out of range, the activation jumps, lacks a derivative or has a kink where it does not vanish, or an
        average is infinite.

    Examples
    --------
    >>> moments = gauss("relu", 2.0)
    >>> float(moments.f2.round(9)), float(moments.f4.round(9)), float(moments.f2_K.round(9))
    (1.0, 6.0, 0.5)
    """
    act = check_activation(act)
    K = validation.rectangular("K", K)
    K = validation.finite("K", K, (None,) * K.ndim).astype(np.float64)
    if K.size and not 0 < K.min() <= K.max() <= LARGEST:
        raise ValueError(f"K has entries {K.min()} to {K.max()}; allowed: numbers in (0, {LARGEST:g}]")
    flat = np.maximum(K.ravel(), LEAST)
    parts = [_averages(act, flat[i : i + _AT_ONCE]) for i in range(0, flat.size, _AT_ONCE)]
    values = np.concatenate(parts) if parts else np.empty((0, len(Moments._fields)))
    return Moments(*(values[:, i].reshape(K.shape) for i in range(values.shape[1])))


def susceptibilities(act: str | Function | Activation, K: ArrayLike, C_W: float) -> tuple[Array, Array]:
    r"""Return the factors by which a layer multiplies small differences of two nearby inputs.

    .. math::
        \chi_\parallel = C_W \frac{\langle f^2 (z^2 - K) \rangle}{2K^2} = \frac{dK'}{dK}, \qquad
        \chi_\perp = C_W \langle f'^2 \rangle

    Parameters
    ----------
    act : str, callable or Activation
        As `gauss` takes it.
    K : array_like
        Kernels, in (0, 1e100].
    C_W : float
        Variance of a weight times the number of inputs of its layer, > 0.

    Returns
    -------
    parallel, perpendicular : ndarray
        For the difference of the kernels of the two inputs, and for the mean square of their difference.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.
    """
    C_W = validation.real("C_W", C_W, above=0.0)
    moments = gauss(act, K)
    return C_W * moments.f2_K, C_W * moments.s2


def check_activation(act: str | Function | Activation) -> Activation:
    """Return the activation, or raise unless it is continuous, twice differentiable and zero at its kinks."""
    act = get_activation(act)
    if not act.continuous:
        raise ValueError(f"act = {act.name!r} is not continuous, its tangent kernel is infinite; allowed: continuous")
    at = np.array([0.0, *act.kinks])
    act.df(at), act.d2f(at)
    for kink, value in zip(at[1:].tolist(), act.f(at)[1:].tolist(), strict=True):
        if value != 0:
            raise ValueError(f"act = {act.name!r} has a kink at {kink}, where it is {value}; allowed: 0 at its kinks")
    return act


def overflows(act: Activation, K: float, power: int) -> bool:
    """Whether a kernel counts as infinite, or a power of f overflows where the normal density ends."""
    if not K <= LARGEST:
        return True
    with np.errstate(over="ignore"):
        return not np.isfinite(act.f(REACH * np.sqrt(K) * np.array([-1.0, 1.0])) ** power).all()


def _averages(act: Activation, K: Array) -> Array:
    """Return averages at kernels of shape (layers,), shape (layers, fields)."""
    variance = np.repeat(K[:, None], len(Moments._fields), axis=1)

    def integrands(z: Array) -> Array:
        z = z[..., 0]
        g, f, s, c = z / np.sqrt(K), act.f(z), act.df(z), act.d2f(z)
        f2, s2 = f * f, s * s
        second, fourth = (g * g - 1) / (2 * K), ((g * g - 6) * g * g + 3) / K / K
        products = (f2, f2 * f2, s2, s2 * s2, f2 * s2, f * c, f * c * s2, f2 * second, s2 * second)
        odd = f2 * g / np.sqrt(K), f2 * g * (g * g - 3) / K**1.5
        return np.stack([*products, *odd, f2 * fourth, s2 * fourth], axis=-1)

    return gaussian_expectation(integrands, variance, act.kinks)
