r"""Correlation of two rectified Gaussians, :math:`E[(g+m)_+ (g'+m')_+]` with unit variances and correlation rho.

In Hermite polynomials it is :math:`\sum_k c_k(m)\, c_k(m')\, \rho^k` with

.. math::
    c_0 = m \Phi(m) + \varphi(m), \quad c_1 = \Phi(m), \quad
    c_k = \frac{(-1)^k He_{k-2}(m)\, \varphi(m)}{\sqrt{k!}},

whose terms are below :math:`0.2\, \rho^k / (k(k-1))` for k > 2 by Cramér's bound. Its second derivative in rho is the
density of the two Gaussians at (-m, -m'), which gives it at large rho as an integral over an angle.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, owens_t, roots_legendre

from hebbian.compilation import cached_njit

Array = NDArray[np.float64]

# Up to this correlation the series is summed, beyond it the integral.
LARGEST_OF_SERIES = 0.6
# What the series may leave out, and its number of terms at this correlation.
_ERROR = 1e-13
ORDERS = 44
# The integral is exact to 1e-12 with so many nodes.
_NODES, _WEIGHTS = ((value + shift) / 2 for value, shift in zip(roots_legendre(48), (1.0, 0.0), strict=True))
_DENSITY = 1 / math.sqrt(2 * math.pi)


def hermite_coefficients(m: ArrayLike, orders: int = ORDERS) -> Array:
    """Return c_k(m) for k < orders, shape (orders, ...) of m."""
    m = np.asarray(m, dtype=np.float64)
    density = _DENSITY * np.exp(-(m**2) / 2)
    c = np.zeros((max(orders, 3), *m.shape))
    c[0], c[1], c[2] = m * ndtr(m) + density, ndtr(m), density / math.sqrt(2)
    for k in range(3, orders):
        c[k] = -m * c[k - 1] / math.sqrt(k) - (k - 3) / math.sqrt(k * (k - 1)) * c[k - 2]
    return c[:orders]


def rectified_correlation(m: ArrayLike, other: ArrayLike, rho: ArrayLike) -> Array:
    r"""Return :math:`E[(g+m)_+ (g'+m')_+]` in closed form.

    .. math::
        (m m' + \rho)\, \Phi_2(m, m'; \rho) + m \varphi(m') \Phi\Big(\frac{m - \rho m'}{s}\Big)
        + m' \varphi(m) \Phi\Big(\frac{m' - \rho m}{s}\Big)
        + \frac{s}{2\pi} \exp\Big(-\frac{m^2 - 2\rho m m' + m'^2}{2 s^2}\Big), \qquad s = \sqrt{1 - \rho^2}

    with the bivariate normal probability :math:`\Phi_2` from Owen's T; at :math:`s < 10^{-4}` the integral of this
    module's compiled code.

    Parameters
    ----------
    m, other : array_like
        Means.
    rho : array_like
        Correlation, in [0, 1].

    Returns
    -------
    ndarray
        Of the common shape.
    """
    m, k, rho = np.broadcast_arrays(*(np.asarray(array, dtype=np.float64) for array in (m, other, rho)))
    s = np.sqrt(np.maximum(1 - rho**2, 0.0))
    near = s < 1e-4
    s = np.where(near, 1.0, s)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Owen's T of a mean of zero has an infinite argument, whose sign is that of the other mean.
        first, second = (k - rho * m) / (m * s), (m - rho * k) / (k * s)
    both = np.arccos(-np.minimum(rho, 1.0)) / (2 * np.pi)
    outside = (m * k < 0) | ((m * k == 0) & (m + k < 0))
    with np.errstate(invalid="ignore"):
        probability = (ndtr(m) + ndtr(k)) / 2 - owens_t(m, first) - owens_t(k, second) - outside / 2
    probability = np.where((m == 0) & (k == 0), both, probability)
    result = np.asarray(
        (m * k + rho) * probability
        + m * _DENSITY * np.exp(-(k**2) / 2) * ndtr((m - rho * k) / s)
        + k * _DENSITY * np.exp(-(m**2) / 2) * ndtr((k - rho * m) / s)
        + s / (2 * np.pi) * np.exp(-(m**2 - 2 * rho * m * k + k**2) / (2 * s**2))
    )
    if near.any():
        c, of_other = hermite_coefficients(m[near], 2), hermite_coefficients(k[near], 2)
        arguments = zip(m[near], k[near], rho[near], *c, *of_other, strict=True)
        result[near] = [
            correlation_integral(mean, mean_of_other, r, a * b, a1 * b1)
            for mean, mean_of_other, r, a, a1, b, b1 in arguments
        ]
    return result


@cached_njit(error_model="numpy", nogil=True)
def correlation_integral(m, other, rho, constant, slope):  # type: ignore[no-untyped-def]
    r"""Return :math:`c_0 c_0' + c_1 c_1' \rho + \int_0^\rho (\rho-r)\, \varphi_2(m, m'; r)\, dr`, r = sin(angle)."""
    angle, total = math.asin(min(rho, 1.0)), 0.0
    for node in range(_NODES.size):
        sine = math.sin(angle * _NODES[node])
        square = m * m - 2.0 * m * other * sine + other * other
        total += _WEIGHTS[node] * (rho - sine) * math.exp(-square / (2.0 * (1.0 - sine * sine)))
    return constant + rho * slope + angle * total / (2.0 * math.pi)


def terms_needed(rho: ArrayLike) -> NDArray[np.int64]:
    """Return how many terms of the series leave out less than 1e-13 up to a correlation, at most `ORDERS`."""
    rho, k = np.clip(rho, 0.0, LARGEST_OF_SERIES)[..., None], np.arange(3, ORDERS)
    left_out = 0.2 * rho**k / (k * (k - 1) * (1 - rho))
    return 3 + np.count_nonzero(left_out > _ERROR, axis=-1)


@cached_njit(error_model="numpy", nogil=True)
def add_centred(query, keys, squares, terms, out):  # type: ignore[no-untyped-def]
    """Add to each pair of inputs the sum over pairs of keys of the correlation without means, times their product.

    Parameters
    ----------
    query : (n, m) float64
        Quarter of the products of the queries.
    keys : (n * N, m, N') float64
        Products of the keys.
    squares : (orders,) float64
        Coefficients c_k(0) c_k(0).
    terms : (n,) int64
        Number of terms of the series for each input.
    out : (n, m) float64
    """
    N, shape = keys.shape[0] // query.shape[0], keys.shape[1:]
    rho, square, series, sums = np.empty(shape), np.empty(shape), np.empty(shape), np.zeros(shape)
    flat_square, flat_series = square.ravel(), series.ravel()
    for row in range(keys.shape[0]):
        _correlate(query[row // N], keys[row], rho)
        for u in range(shape[0]):
            for j in range(shape[1]):
                square[u, j] = rho[u, j] * rho[u, j]
        # Of the odd orders the first alone is not zero.
        flat_series[:] = 0.0
        for order in range((terms[row // N] - 1) // 2, -1, -1):
            coefficient = squares[2 * order]
            for j in range(flat_series.size):
                flat_series[j] = flat_series[j] * flat_square[j] + coefficient
        for u in range(shape[0]):
            for j in range(shape[1]):
                series[u, j] += 0.25 * rho[u, j]
        for u in range(shape[0]):
            for j in range(shape[1]):
                if rho[u, j] > LARGEST_OF_SERIES:
                    r = min(rho[u, j], 1.0)
                    series[u, j] = (math.sqrt(1.0 - r * r) + r * (math.pi - math.acos(r))) / (2.0 * math.pi)
        _accumulate(series, keys[row], sums, row % N == N - 1, out[row // N])


@cached_njit(error_model="numpy", nogil=True)
def add_shifted(query, keys, means, means_of_other, c, c_of_other, terms, out):  # type: ignore[no-untyped-def]
    """As `add_centred`, with means.

    Parameters
    ----------
    query : (n, m) float64
    keys : (n * N, m, N') float64
    means, means_of_other : (n * N,), (m, N') float64
    c, c_of_other : (orders, n * N), (orders, m * N') float64
        Their Hermite coefficients.
    terms : (n,) int64
    out : (n, m) float64
    """
    N, shape = keys.shape[0] // query.shape[0], keys.shape[1:]
    rho, series, sums = np.empty(shape), np.empty(shape), np.zeros(shape)
    flat_rho, flat_series = rho.ravel(), series.ravel()
    for row in range(keys.shape[0]):
        _correlate(query[row // N], keys[row], rho)
        flat_series[:] = 0.0
        # Two orders at a time: half of the memory traffic.
        for k in range(2 * ((terms[row // N] - 1) // 2), -1, -2):
            factor, next_factor, other, next_other = c[k, row], c[k + 1, row], c_of_other[k], c_of_other[k + 1]
            for j in range(flat_series.size):
                of_next = flat_series[j] * flat_rho[j] + next_factor * next_other[j]
                flat_series[j] = of_next * flat_rho[j] + factor * other[j]
        for u in range(shape[0]):
            for j in range(shape[1]):
                if rho[u, j] > LARGEST_OF_SERIES:
                    at = u * shape[1] + j
                    constant, slope = c[0, row] * c_of_other[0, at], c[1, row] * c_of_other[1, at]
                    series[u, j] = correlation_integral(means[row], means_of_other[u, j], rho[u, j], constant, slope)
        _accumulate(series, keys[row], sums, row % N == N - 1, out[row // N])


@cached_njit(error_model="numpy", nogil=True)
def _correlate(query, keys, rho):  # type: ignore[no-untyped-def]
    """Store the correlations of one key with the keys of m inputs."""
    for u in range(rho.shape[0]):
        for j in range(rho.shape[1]):
            rho[u, j] = query[u] * keys[u, j]


@cached_njit(error_model="numpy", nogil=True)
def _accumulate(series, keys, sums, last, out):  # type: ignore[no-untyped-def]
    """Add the terms of one key to their sums; after the last key of an input, add these to the kernel."""
    for u in range(sums.shape[0]):
        for j in range(sums.shape[1]):
            sums[u, j] += series[u, j] * keys[u, j]
    if last:
        for u in range(sums.shape[0]):
            for j in range(sums.shape[1]):
                out[u] += sums[u, j]
                sums[u, j] = 0.0
