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
from numpy.typing import ArrayLike, NDArray

from hebbian import validation
from hebbian.compilation import cached_njit
from theory.replica_symmetric.elementary import log_one_plus

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
#: Fields that `lane_averages` averages at once: as many as a wide register of the processor holds.
LANES = 8


@cached_njit(error_model="numpy")
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
    return _from_sums(sign * a, s, T, odd, sum0, sum1, sum2, fourth)


@cached_njit(error_model="numpy")
def _from_sums(
    a: float, s: float, T: float, odd: float, sum0: float, sum1: float, sum2: float, fourth: float
) -> tuple[float, float, float, float, float]:
    """Return what `spin_averages` does, from its sums over the nodes in y, for s >= T."""
    sign = math.copysign(1.0, a) if a != 0.0 else 0.0
    a = abs(a)
    scaled = a / s
    if scaled > _SATURATED:
        return sign, 0.0, 0.0, 0.0, 0.0
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


@cached_njit(error_model="numpy")
def _needed(scaled: float, kappa: float, available: int) -> int:
    # Beyond nine standard deviations the Gaussian is below 1e-17.
    return available if (9.0 + scaled) >= kappa * available else int((9.0 + scaled) / kappa) + 1


@cached_njit(error_model="numpy")
def _narrow_stride(s: float, T: float) -> int:
    # Twice the step serves less than half the width.
    return 2 if 2.5 * s < T else 1


@cached_njit(error_model="numpy")
def _narrow_averages(
    a: float, s: float, T: float, sign: float, normal: NDArray[np.float64]
) -> tuple[float, float, float, float, float]:
    """Return what `spin_averages` does, for a >= 0 and s < T."""
    stride = _narrow_stride(s, T)
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


@cached_njit(error_model="numpy")
def lane_averages(a: NDArray[np.float64], s: float, T: float, out: NDArray[np.float64]) -> None:
    """Fill out, of shape (5, LANES), with the `spin_averages` of fields of the means a and of one width s.

    The sums are those of `spin_averages` on the nodes `DECAYING` and `NORMAL`, of all fields side by side: the nodes
    are constants and the number of fields is one, so that a compiler keeps the sums in registers.
    """
    if s < T:
        _narrow_lanes(a, s, T, out)
        return
    kappa = T * DECAYING[0, 1] / s
    shrink = math.exp(-(kappa**2))
    # Weights of +y and -y and their ratios, then the sums.
    work = np.zeros((9, LANES))
    largest = 0.0
    for i in range(LANES):
        scaled = abs(a[i]) / s
        scaled = scaled if scaled <= _SATURATED else 0.0
        largest = max(largest, scaled)
        work[0, i] = work[1, i] = 1.0
        work[2, i] = math.exp(kappa * scaled - 0.5 * kappa**2)
        work[3, i] = math.exp(-kappa * scaled - 0.5 * kappa**2)
    for j in range(_needed(largest, kappa, DECAYING.shape[1])):
        for i in range(LANES):
            even, odd = work[0, i] + work[1, i], work[0, i] - work[1, i]
            work[4, i] += DECAYING[1, j] * odd
            work[5, i] += DECAYING[2, j] * even
            work[6, i] += DECAYING[3, j] * odd
            work[7, i] += DECAYING[4, j] * even
            work[8, i] += DECAYING[5, j] * even
            work[0, i] *= work[2, i]
            work[1, i] *= work[3, i]
            work[2, i] *= shrink
            work[3, i] *= shrink
    for i in range(LANES):
        out[0, i], out[1, i], out[2, i], out[3, i], out[4, i] = _from_sums(
            a[i], s, T, work[4, i], work[5, i], work[6, i], work[7, i], work[8, i]
        )


@cached_njit(error_model="numpy")
def _narrow_lanes(a: NDArray[np.float64], s: float, T: float, out: NDArray[np.float64]) -> None:
    """Fill out as `lane_averages` does, for s < T: the nodes side by side, which share a table of exponentials."""
    stride = _narrow_stride(s, T)
    nodes = NORMAL[:, ::stride]
    decay = _decays(s / T, nodes)
    for i in range(LANES):
        sign = math.copysign(1.0, a[i]) if a[i] != 0.0 else 0.0
        first = math.exp(-2.0 * (abs(a[i]) + s * nodes[0, 0]) / T)
        magnetisation, chi, fourth, slope = _narrow_sums(first, decay, nodes[1])
        out[0, i] = sign * stride * magnetisation
        out[1, i] = stride * chi / T
        out[2, i] = stride * fourth / T
        out[3, i] = sign * stride * 2.0 * slope / T**2
        out[4, i] = stride * (4.0 * chi - 6.0 * fourth) / T**3


@cached_njit(error_model="numpy")
def _decays(width: float, nodes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return exp(-2 width z) on the nodes z, in units of that of the first."""
    decay = np.empty(nodes.shape[1])
    decay[0] = 1.0
    ratio = math.exp(-2.0 * width * (nodes[0, 1] - nodes[0, 0]))
    for j in range(1, decay.size):
        decay[j] = decay[j - 1] * ratio
    return decay


# The sums may be taken in any order, which lets a compiler take them side by side.
@cached_njit(error_model="numpy", fastmath={"reassoc"})
def _narrow_sums(
    first: float, decay: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[float, float, float, float]:
    magnetisation = chi = fourth = slope = 0.0
    for j in range(decay.size):
        x = first * decay[j]
        inverse = 1.0 / (1.0 + x)
        tanh = (1.0 - x) * inverse
        sech2 = 4.0 * x * inverse * inverse
        weighted = weight[j] * sech2
        magnetisation += weight[j] * tanh
        chi += weighted
        fourth += weighted * sech2
        slope -= weighted * tanh
    return magnetisation, chi, fourth, slope


@cached_njit(error_model="numpy")
def spin_entropy(a: float, s: float, T: float, decaying: NDArray[np.float64], normal: NDArray[np.float64]) -> float:
    r"""Average of :math:`\ln 2\cosh(h/T) - (h/T)\tanh(h/T)` over T, finite at T = 0; arguments of `spin_averages`."""
    if s < T:
        stride = _narrow_stride(s, T)
        nodes = normal[:, ::stride]
        return stride * _narrow_entropy(abs(a) / T, s / T, _decays(s / T, nodes), nodes) / T
    total = 0.0
    scaled = abs(a) / s
    if scaled > _SATURATED:
        return 0.0
    # The weights of `spin_averages`.
    kappa = T * decaying[0, 1] / s
    right = left = 1.0
    right_ratio = math.exp(kappa * scaled - 0.5 * kappa**2)
    left_ratio = math.exp(-kappa * scaled - 0.5 * kappa**2)
    shrink = math.exp(-(kappa**2))
    for j in range(_needed(scaled, kappa, decaying.shape[1])):
        total += decaying[6, j] * (right + left)
        right *= right_ratio
        left *= left_ratio
        right_ratio *= shrink
        left_ratio *= shrink
    return math.exp(-0.5 * scaled**2) * total / (math.sqrt(2.0 * math.pi) * s)


@cached_njit(error_model="numpy", fastmath={"reassoc"})
def _narrow_entropy(y: float, width: float, decay: NDArray[np.float64], nodes: NDArray[np.float64]) -> float:
    """Return the weighted sum over the nodes z of the entropy at y + width z, side by side as in `_narrow_sums`."""
    x = math.exp(-2.0 * (y + width * nodes[0, 0])) * decay
    for j in range(x.size):
        x[j] = x[j] if x[j] < 1.0 else 1.0 / x[j]
    log = log_one_plus(x)
    total = 0.0
    for j in range(x.size):
        total += nodes[1, j] * (log[j] + 2.0 * abs(y + width * nodes[0, j]) * x[j] / (1.0 + x[j]))
    return total


@cached_njit(error_model="numpy")
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
