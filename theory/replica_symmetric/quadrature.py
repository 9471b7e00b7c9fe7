r"""Gaussian averages of a spin in a random field, to about 1e-12 at every temperature.

A spin in the field :math:`h = a + s z`, z a standard normal, at temperature T. Two trapezoid rules,
both of geometric convergence because the integrands are analytic in a strip of half width
:math:`\pi/2` around the real axis of :math:`y = h/T`:

- :math:`s < T`: nodes in z;
- :math:`s \ge T`: nodes in y. What decays like :math:`e^{-2|y|}` is summed; of tanh the part
  :math:`{\rm erf}\,y`, whose average is known, is split off. Temperatures appear only in
  :math:`z = (T y - a)/s`, so that :math:`T = 0` is no special case: the same sums are the exact limits.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from hebbian import validation

# The error of a rule of step h falls as exp(-pi^2 / h), times up to (2 pi / h)^3 for the fourfold pole of sech^4.
STEP = 0.26
_REACH_Y = 17.0
_REACH_Z = 8.6
# A field of more standard deviations than this from zero has no weight, above 1e-30, where the spin is not saturated.
_SATURATED = 37.0


def decaying_nodes(step: float) -> NDArray[np.float64]:
    r"""Functions of y that are averaged, on the nodes y = 0, step, 2 step, ..., times the step.

    Parameters
    ----------
    step : float
        Distance of the nodes, positive.

    Returns
    -------
    ndarray, shape (7, J)
        Rows: y itself; tanh y - erf y; sech^2 y, y sech^2 y, y^2 sech^2 y; sech^4 y; the entropy ln 2cosh y - y tanh y.
    """
    y = step * np.arange(math.ceil(_REACH_Y / step))
    decay = np.exp(-2 * y)
    sech2 = 4 * decay / (1 + decay) ** 2
    entropy = np.log1p(decay) + 2 * y * decay / (1 + decay)
    erfc = np.array([math.erfc(value) for value in y])
    weight = np.full(y.size, step)
    weight[0] /= 2  # the sums below run over pairs of nodes +-y
    functions = [erfc - 2 * decay / (1 + decay), sech2, y * sech2, y**2 * sech2, sech2**2, entropy]
    return np.stack([y, *(weight * values for values in functions)])


def normal_nodes(step: float) -> NDArray[np.float64]:
    r"""Nodes z and weights of the trapezoid rule for a standard normal z.

    Parameters
    ----------
    step : float
        Distance of the nodes, positive.

    Returns
    -------
    ndarray, shape (2, 2 J + 1), J even
    """
    count = 2 * math.ceil(_REACH_Z / step / 2)
    z = step * np.arange(-count, count + 1)
    return np.stack([z, step * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)])


DECAYING = decaying_nodes(STEP)
NORMAL = normal_nodes(STEP)


@njit(cache=True, error_model="numpy")
def spin_averages(
    a: float, s: float, T: float, decaying: NDArray[np.float64], normal: NDArray[np.float64]
) -> tuple[float, float, float, float, float]:
    r"""Averages over z of a spin in the field h = a + s z; s > 0 or T > 0.

    Parameters
    ----------
    a, s, T : float
        Mean and standard deviation of the field, temperature.
    decaying, normal : ndarray
        `decaying_nodes` and `normal_nodes`.

    Returns
    -------
    tuple of float
        :math:`E\tanh(h/T)`; the susceptibility :math:`C = E\,{\rm sech}^2(h/T)/T`;
        :math:`E\,{\rm sech}^4(h/T)/T`; dC/da; d^2C/da^2.
    """
    sign = math.copysign(1.0, a) if a != 0.0 else 0.0
    a = abs(a)
    if s < T:
        return _narrow_averages(a, s, T, sign, normal)
    scaled = a / s
    if scaled > _SATURATED:
        return sign, 0.0, 0.0, 0.0, 0.0
    # Gaussian weights of the nodes +y and -y, relative to that of y = 0, by recursion.
    kappa = T * decaying[0, 1] / s
    right = left = 1.0
    right_ratio = math.exp(kappa * scaled - 0.5 * kappa**2)
    left_ratio = math.exp(-kappa * scaled - 0.5 * kappa**2)
    shrink = math.exp(-(kappa**2))
    odd = sum0 = sum1 = sum2 = fourth = 0.0
    for j in range(_needed(scaled, kappa, decaying.shape[1])):
        even_weight, odd_weight = right + left, right - left
        odd += decaying[1, j] * odd_weight
        sum0 += decaying[2, j] * even_weight
        sum1 += decaying[3, j] * odd_weight
        sum2 += decaying[4, j] * even_weight
        fourth += decaying[5, j] * even_weight
        right *= right_ratio
        left *= left_ratio
        right_ratio *= shrink
        left_ratio *= shrink
    density = math.exp(-0.5 * scaled**2) / (math.sqrt(2.0 * math.pi) * s)
    slope = (T * sum1 - a * sum0) / s**2
    curvature = (((T * T * sum2 - 2.0 * a * T * sum1 + a * a * sum0) / s**2) - sum0) / s**2
    return (
        sign * (math.erf(a / math.sqrt(T * T + 2.0 * s * s)) + T * density * odd),
        density * sum0,
        density * fourth,
        sign * density * slope,
        density * curvature,
    )


@njit(cache=True, error_model="numpy")
def _needed(scaled: float, kappa: float, available: int) -> int:
    # Beyond nine standard deviations the Gaussian is below 1e-17.
    return available if (9.0 + scaled) >= kappa * available else int((9.0 + scaled) / kappa) + 1


@njit(cache=True, error_model="numpy")
def _narrow_averages(
    a: float, s: float, T: float, sign: float, normal: NDArray[np.float64]
) -> tuple[float, float, float, float, float]:
    """Return what `spin_averages` does, for a >= 0 and s < T."""
    # Twice the step serves less than half the width.
    stride = 2 if 2.5 * s < T else 1
    decay = math.exp(-2.0 * (a + s * normal[0, 0]) / T)
    ratio = math.exp(-2.0 * stride * s * (normal[0, 1] - normal[0, 0]) / T)
    magnetisation = chi = fourth = slope = 0.0
    for j in range(0, normal.shape[1], stride):
        inverse = 1.0 / (1.0 + decay)
        tanh = (1.0 - decay) * inverse
        sech2 = 4.0 * decay * inverse * inverse
        weighted = normal[1, j] * sech2
        magnetisation += normal[1, j] * tanh
        chi += weighted
        fourth += weighted * sech2
        slope -= weighted * tanh
        decay *= ratio
    return (
        sign * stride * magnetisation,
        stride * chi / T,
        stride * fourth / T,
        sign * stride * 2.0 * slope / T**2,
        stride * (4.0 * chi - 6.0 * fourth) / T**3,
    )


@njit(cache=True, error_model="numpy")
def spin_entropy(a: float, s: float, T: float, decaying: NDArray[np.float64], normal: NDArray[np.float64]) -> float:
    r"""Average of :math:`\ln 2\cosh(h/T) - (h/T)\tanh(h/T)` over T, finite at T = 0; arguments of `spin_averages`."""
    total = 0.0
    if s < T:
        for j in range(normal.shape[1]):
            y = abs(a + s * normal[0, j]) / T
            decay = math.exp(-2.0 * y)
            total += normal[1, j] * (math.log1p(decay) + 2.0 * y * decay / (1.0 + decay))
        return total / T
    scaled = abs(a) / s
    kappa = T * decaying[0, 1] / s
    for j in range(_needed(scaled, kappa, decaying.shape[1])):
        right, left = kappa * j - scaled, kappa * j + scaled
        total += decaying[6, j] * (math.exp(-0.5 * right * right) + math.exp(-0.5 * left * left))
    return total / (math.sqrt(2.0 * math.pi) * s)


@njit(cache=True, error_model="numpy")
def _fill(
    a: NDArray[np.float64],
    s: NDArray[np.float64],
    T: NDArray[np.float64],
    decaying: NDArray[np.float64],
    normal: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    for i in range(a.size):
        tanh, chi, fourth, _, _ = spin_averages(a[i], s[i], T[i], decaying, normal)
        entropy = spin_entropy(a[i], s[i], T[i], decaying, normal)
        # Stein's lemma: E[h tanh(h/T)] = a E tanh + s^2 C.
        out[0, i] = tanh
        out[1, i] = 1.0 - T[i] * chi
        out[2, i] = T[i] * fourth
        out[3, i] = a[i] * tanh + s[i] * s[i] * chi + T[i] * T[i] * entropy


def gaussian_averages(a: ArrayLike, s: ArrayLike, T: ArrayLike, *, step: float = STEP) -> NDArray[np.float64]:
    r"""Averages over a standard normal z of functions of the field h = a + s z in units of T.

    Parameters
    ----------
    a, s, T : array_like
        Mean and standard deviation (s >= 0) of the field and temperature (T >= 0), of shapes that broadcast;
        s and T not both zero.
    step : float
        Step of the trapezoid rules, in (0, 1]; the error falls as exp(-pi^2/step).

    Returns
    -------
    ndarray, shape (4, ...)
        :math:`E\tanh(h/T)`, :math:`E\tanh^2(h/T)`, :math:`E\,{\rm sech}^4(h/T)` and
        :math:`T\,E\ln 2\cosh(h/T)`; at T = 0 their limits.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or not real.
    """
    step = validation.real("step", step, above=0.0, maximum=1.0)
    try:
        mean, deviation, temperature = np.broadcast_arrays(*(np.asarray(value, dtype=float) for value in (a, s, T)))
    except (TypeError, ValueError) as error:
        raise TypeError(f"a = {a!r}, s = {s!r}, T = {T!r} are not real arrays of shapes that broadcast") from error
    for name, values, minimum in (("a", mean, -np.inf), ("s", deviation, 0.0), ("T", temperature, 0.0)):
        for value in np.unique(values).tolist():
            validation.real(name, value, minimum=minimum)
    if np.any((deviation == 0) & (temperature == 0)):
        raise ValueError("s = 0 at T = 0; allowed: s > 0 or T > 0")
    out = np.empty((4, mean.size))
    flat = (np.ascontiguousarray(values.ravel()) for values in (mean, deviation, temperature))
    _fill(*flat, decaying_nodes(step), normal_nodes(step), out)
    return out.reshape(4, *mean.shape)
