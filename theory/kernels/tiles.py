r"""Compiled layers of the kernels of one tile of pairs: in place, in the cache, by arithmetic that vectorises.

Inverse trigonometric functions of a library take one number after the other; here the angle is
:math:`\arccos x = \sqrt{1-x}\, P(x)`, P a polynomial on [0, 1].
"""

import math

import numpy as np
from numba import float32
from numba.extending import overload
from numpy.typing import NDArray

from hebbian.activations import Activation
from hebbian.compilation import cached_njit

LINEAR, RECTIFIER, ERF, GELU, GAUSSIAN, EXPONENTIAL, SIN, COS, GIVEN = range(9)
# A correlation nearer to 1 than this many rounding units is one of copies.
_COPIES = 8.0


def _angle_coefficients(degree: int) -> NDArray[np.float64]:
    r"""Return those of :math:`\arccos(x)/\sqrt{1-x}` in powers of 2x - 1, the highest first."""
    nodes = np.cos(np.pi * (np.arange(64) + 0.5) / 64)
    angle = np.arccos((nodes + 1) / 2)
    # 1 - cos without cancellation
    values = angle / (math.sqrt(2) * np.sin(angle / 2))
    chebyshev = np.polynomial.chebyshev.chebfit(nodes, values, 40)[: degree + 1]
    return np.array(np.polynomial.chebyshev.cheb2poly(chebyshev)[::-1], dtype=np.float64)


_DOUBLE, _SINGLE = _angle_coefficients(20), _angle_coefficients(9).astype(np.float32)


def form_of(act: Activation) -> tuple[int, tuple[float, float]] | None:
    """Return the compiled form of an activation and its two parameters, if it has one."""
    if act.homogeneous is not None:
        a, b = act.homogeneous
        half, kink = (a * a + b * b) / 2, (a - b) ** 2 / (2 * math.pi)
        return (LINEAR if a == b else RECTIFIER), (half, kink)
    if act.name == "exp":
        a = act.parameters["a"]
        return EXPONENTIAL, (a * a / 2, a * a)
    if act.name == "rbf":
        g = act.parameters["g"]
        return EXPONENTIAL, (-g, 2 * g)
    forms = {"erf": ERF, "gelu": GELU, "gaussian": GAUSSIAN, "sin": SIN, "cos": COS}
    return (forms[act.name], (0.0, 0.0)) if act.name in forms else None


def _angle(x: float) -> float:
    """Return arccos(x) for x in [0, 1], over the root of 1 - x."""
    return math.acos(x) / math.sqrt(1 - x) if x < 1 else math.sqrt(2)


@overload(_angle, inline="always")
def _angle_of_kind(x):  # type: ignore[no-untyped-def]
    def single(x):  # type: ignore[no-untyped-def]
        y, result = np.float32(2) * x - np.float32(1), np.float32(0)
        for i in range(10):
            result = result * y + _SINGLE[i]
        return result

    def double(x):  # type: ignore[no-untyped-def]
        y, result = 2.0 * x - 1.0, 0.0
        for i in range(21):
            result = result * y + _DOUBLE[i]
        return result

    return single if x == float32 else double


_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}


@cached_njit(**_OPTIONS)
def _affine(values, out, slope, shift):  # type: ignore[no-untyped-def]
    for j in range(values.size):
        out[j] = slope * values[j] + shift


@cached_njit(**_OPTIONS)
def layers(form, parameters, K, T, start, one, two, rates, upper, k_given, kdot_given):  # type: ignore[no-untyped-def]
    r"""Replace the kernels of a tile by those some layers later, a row after the other: it stays in the first cache.

    Parameters
    ----------
    form : int
        Form of k and its derivative; with `GIVEN` they are read from ``k_given`` and ``kdot_given``, for one layer.
    parameters : ndarray, shape (2,)
        Of the form.
    K, T : ndarray, shape (n, m)
        NNGP kernel and NTK; a T of shape (0, 0) is left out.
    start : ndarray, shape (4,) or (0,)
        If any: K are scalar products, of which the kernels of the first layer are cw K + cb and lw K + lb.
    one, two : ndarray, shapes (L, 3, n) and (L, 3, m)
        Variances at each layer, their roots, and the inverse roots, 0 for 0.
    rates : ndarray, shape (L, 6)
        cw, cb, lw, lb, the square of the residual weight, and 1 with layer normalisation, else 0.
    upper : bool
        Whether only pairs above the diagonal are wanted.
    """
    n, m = K.shape
    k, kdot, normalised = np.empty(m, K.dtype), np.empty(m, K.dtype), np.empty(m, K.dtype)
    units, unit = np.ones((3, m), K.dtype), K.dtype.type(1)
    for i in range(n):
        begin = i if upper else 0
        out, slope = k[begin:], kdot[begin:]
        if start.size:
            if T.size:
                _affine(K[i, begin:], T[i, begin:], start[2], start[3])
            _affine(K[i, begin:], K[i, begin:], start[0], start[1])
        for layer in range(len(rates)):
            row, q, s, r = K[i, begin:], one[layer, 0, i], one[layer, 1, i], one[layer, 2, i]
            qs, ss, rs = two[layer, 0, begin:], two[layer, 1, begin:], two[layer, 2, begin:]
            if rates[layer, 5] > 0:
                row, q, s, r = normalised[begin:], unit, unit, unit
                _correlations(K[i, begin:], one[layer, 2, i], rs, row)
                qs, ss, rs = units[0, begin:], units[1, begin:], units[2, begin:]
            if form == RECTIFIER:
                _rectifier(parameters[0], parameters[1], row, s, r, ss, rs, out, slope)
            elif form == LINEAR:
                _linear(parameters[0], row, out, slope)
            elif form == ERF:
                _erf(row, q, qs, out, slope)
            elif form == GELU:
                _gelu(row, q, qs, out, slope)
            elif form == GAUSSIAN:
                _gaussian(row, q, qs, out, slope)
            elif form == EXPONENTIAL:
                _exponential(parameters[0], parameters[1], row, q, qs, out, slope)
            elif form == SIN:
                _waves(row, q, qs, slope, out)
            elif form == COS:
                _waves(row, q, qs, out, slope)
            else:
                out[:], slope[:] = k_given[i, begin:], kdot_given[i, begin:]
            if rates[layer, 5] > 0:
                _correlations(slope, one[layer, 2, i], two[layer, 2, begin:], slope)
            if T.size:
                _next_tangent(T[i, begin:], out, slope, rates[layer])
            _next(K[i, begin:], out, rates[layer])


@cached_njit(**_OPTIONS)
def _rectifier(half, kink, K, s, r, ss, rs, k, kdot):  # type: ignore[no-untyped-def]
    kind = K.dtype.type
    unit, turn = kind(1), kind(math.pi)
    copies = unit - kind(_COPIES) * np.finfo(K.dtype).eps
    for j in range(K.size):
        c = K[j] * (r * rs[j])
        x = abs(c)
        x = unit if x > copies else x
        root = math.sqrt(unit - x)
        angle = root * _angle(x)
        angle = angle if c >= 0 else turn - angle
        slope = half - kink * angle
        kdot[j] = slope
        k[j] = s * ss[j] * (kink * (root * math.sqrt(unit + x)) + slope * (x if c >= 0 else -x))


@cached_njit(**_OPTIONS)
def _linear(square, K, k, kdot):  # type: ignore[no-untyped-def]
    for j in range(K.size):
        k[j] = square * K[j]
        kdot[j] = square


@cached_njit(**_OPTIONS)
def _erf(K, q, qs, k, kdot):  # type: ignore[no-untyped-def]
    kind = K.dtype.type
    unit, two, four = kind(1), kind(2), kind(4)
    scale, slope = kind(2 / math.pi), kind(4 / math.pi)
    for j in range(K.size):
        square = max(unit, unit + two * (q + qs[j]) + four * (q * qs[j] - K[j] * K[j]))
        product = square + four * K[j] * K[j]
        x = two * abs(K[j]) / math.sqrt(product)
        # 1 - x without cancellation
        angle = math.sqrt(square / (product * (unit + x))) * _angle(x)
        value = unit - scale * angle
        k[j] = value if K[j] >= 0 else -value
        kdot[j] = slope / math.sqrt(square)


@cached_njit(**_OPTIONS)
def _gelu(K, q, qs, k, kdot):  # type: ignore[no-untyped-def]
    kind = K.dtype.type
    unit, quarter, turn = kind(1), kind(0.25), kind(1 / (2 * math.pi))
    right = kind(math.pi / 2)
    for j in range(K.size):
        both = q * qs[j]
        square = max(unit, unit + q + qs[j] + (both - K[j] * K[j]))
        product = square + K[j] * K[j]
        root = math.sqrt(square)
        x = abs(K[j]) / math.sqrt(product)
        angle = right - root / math.sqrt(product * (unit + x)) * _angle(x)
        angle = angle if K[j] >= 0 else -angle
        ratio = K[j] / root
        k[j] = quarter * K[j] + turn * ((K[j] * K[j] + both * square) / (product * root) + K[j] * angle)
        kdot[j] = quarter + turn * (angle + ratio * (unit / square + (unit - both) / product + unit))


@cached_njit(**_OPTIONS)
def _gaussian(K, q, qs, k, kdot):  # type: ignore[no-untyped-def]
    kind = K.dtype.type
    unit, two, four = kind(1), kind(2), kind(4)
    for j in range(K.size):
        square = max(unit, unit + two * (q + qs[j]) + four * (q * qs[j] - K[j] * K[j]))
        k[j] = unit / math.sqrt(square)
        kdot[j] = four * K[j] * k[j] / square


@cached_njit(**_OPTIONS)
def _exponential(single, double, K, q, qs, k, kdot):  # type: ignore[no-untyped-def]
    for j in range(K.size):
        k[j] = math.exp(single * (q + qs[j]) + double * K[j])
        kdot[j] = double * k[j]


@cached_njit(**_OPTIONS)
def _waves(K, q, qs, even, odd):  # type: ignore[no-untyped-def]
    half = K.dtype.type(0.5)
    for j in range(K.size):
        mean = half * (q + qs[j])
        near, far = math.exp(K[j] - mean), math.exp(-K[j] - mean)
        even[j] = half * (near + far)
        odd[j] = half * (near - far)


@cached_njit(**_OPTIONS)
def _correlations(values, r, rs, out):  # type: ignore[no-untyped-def]
    for j in range(out.size):
        out[j] = values[j] * (r * rs[j])


@cached_njit(**_OPTIONS)
def _next(K, k, rates):  # type: ignore[no-untyped-def]
    cw, cb, skip = rates[0], rates[1], rates[4]
    for j in range(K.size):
        K[j] = cw * k[j] + cb + skip * K[j]


@cached_njit(**_OPTIONS)
def _next_tangent(T, k, kdot, rates):  # type: ignore[no-untyped-def]
    cw, lw, lb, skip = rates[0], rates[2], rates[3], rates[4]
    for j in range(T.size):
        T[j] = lw * k[j] + lb + (cw * kdot[j] + skip) * T[j]


@cached_njit(**_OPTIONS)
def series(a1, a2, c, first, stride, scale1, scale2, k, kdot):  # type: ignore[no-untyped-def]
    """Fill k and its derivative in the covariance with Mehler's series; a1 of shape (J, n), a2 of shape (J, m)."""
    n, m = c.shape
    value, slope, x = np.empty(m), np.empty(m), np.empty(m)
    for i in range(n):
        for j in range(m):
            x[j] = c[i, j] if stride == 1 else c[i, j] * c[i, j]
            value[j] = slope[j] = 0.0
        for term in range(len(a1) - 1, -1, -1):
            a, row = a1[term, i], a2[term]
            for j in range(m):
                slope[j] = slope[j] * x[j] + value[j]
                value[j] = value[j] * x[j] + a * row[j]
        for j in range(m):
            lowest = c[i, j] if first == 1 else 1.0
            inner = slope[j] * (stride * (c[i, j] if stride == 2 else 1.0))
            k[i, j] = lowest * value[j]
            kdot[i, j] = (lowest * inner + first * value[j]) * (scale1[i] * scale2[j])
