"""Exponentials and logarithms of arrays, by arithmetic alone: a compiler takes many entries at once.

Calls of a library take one after the other. Errors are a few units in the last place.
"""

import math

import numpy as np
from numpy.typing import NDArray

from hebbian.compilation import cached_njit

Array = NDArray[np.float64]

# Beyond it exponentials are zero: below 1e-300.
_LARGEST = 700.0
_POWERS_OF_HALF = 2.0 ** -np.arange(1011.0)
# ln 2 as the sum of a number of few digits, whose multiples are exact, and the rest.
_LN2 = (0.693145751953125, 1.42860682030941723212e-6)
# Taylor series on |r| <= ln(2)/2, and that of artanh(u)/u in u^2 on u <= 1/3, the highest power first.
_EXPONENTIAL = np.array([1.0 / math.factorial(k) for k in range(13, -1, -1)])
_ARTANH = 1.0 / np.arange(33, 0, -2)


@cached_njit(error_model="numpy")
def decays(x: Array) -> Array:
    """Return exp(-x) for x >= 0."""
    size = x.size
    halvings, r, result = np.empty(size, dtype=np.int64), np.empty(size), np.zeros(size)
    for j in range(size):
        clipped = min(x[j], _LARGEST)
        halvings[j] = int(clipped / math.log(2.0) + 0.5)
        r[j] = (halvings[j] * _LN2[0] - clipped) + halvings[j] * _LN2[1]
    _horner(_EXPONENTIAL, r, result)
    for j in range(size):
        result[j] *= _POWERS_OF_HALF[halvings[j]]
    return result


@cached_njit(error_model="numpy")
def log_one_plus(x: Array) -> Array:
    """Return ln(1 + x) for x in [0, 1]: 2 artanh u with u = x/(2 + x)."""
    u2, result = np.empty(x.size), np.zeros(x.size)
    for j in range(x.size):
        u2[j] = (x[j] / (2.0 + x[j])) ** 2
    _horner(_ARTANH, u2, result)
    for j in range(x.size):
        result[j] *= 2.0 * x[j] / (2.0 + x[j])
    return result


@cached_njit(error_model="numpy")
def _horner(coefficients: Array, x: Array, result: Array) -> None:
    for k in range(coefficients.size):
        for j in range(x.size):
            result[j] = result[j] * x[j] + coefficients[k]
