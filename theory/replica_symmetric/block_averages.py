r"""Averages inside a cluster of states: over y in the measure :math:`(2\cosh\beta h)^x` and over z; see `breaking`."""

import math

import numpy as np
from numpy.typing import NDArray

from hebbian.compilation import cached_njit
from theory.replica_symmetric.elementary import decays, log_one_plus

Array = NDArray[np.float64]


def _panels(breaks: list[float], order: int) -> Array:
    x, weight = np.polynomial.legendre.leggauss(order)
    left, right = np.array(breaks[:-1])[:, None], np.array(breaks[1:])[:, None]
    half = (right - left) / 2
    return np.stack([(left + half * (1 + x)).ravel(), (half * weight).ravel()])


def _bend(breaks: list[float], order: int) -> Array:
    y, weight = _panels(breaks, order)
    return np.stack([y, weight / math.sqrt(2 * math.pi), np.exp(-2 * y), np.log1p(np.exp(-2 * y))])


# Nodes y = |h|/T, in the units of the bend of l at h = 0; weights; exp(-2y) and ln(1 + exp(-2y)). The slowest decay is
# exp(-|h|/T), at x = 1.
BEND = _bend([0.0, 1.5, 3.5, 6.5, 11.0, 18.0, 40.0], 12)
LEGENDRE = np.stack(np.polynomial.legendre.leggauss(10))
# Ends of the panels of the outer integral: in units of the bend of the functions at 0, and of the width of z.
_INNER_BREAKS = np.array([0.0, 0.7, 1.5, 2.5, 4.0, 6.0, 9.0, 13.0, 18.0, 26.0])
_OUTER_BREAKS = np.array([-9.0, -6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0, 9.0])


@cached_njit(error_model="numpy")
def _bend_table(x: float, bend: Array) -> Array:
    """Return what the functions of h weighted by (2cosh h/T)^x exceed their limits of T = 0 by, on the nodes."""
    table = np.empty((6, bend.shape[1]))
    for j in range(bend.shape[1]):
        y, weight, decay, log = bend[0, j], bend[1, j], bend[2, j], bend[3, j]
        rise = math.expm1(x * log)
        power = 1.0 + rise
        down = 2.0 * decay / (1.0 + decay)  # 1 - tanh
        table[0, j] = weight * rise
        table[1, j] = weight * power * down
        table[2, j] = weight * (2.0 * rise - power * down)
        table[3, j] = weight * power * down * (2.0 - down)
        table[4, j] = weight * (rise * y + power * log)
        table[5, j] = weight * power * (log + y * down)
    return table


@cached_njit(error_model="numpy")
def _block_averages(
    h: float, s: float, mu: float, T: float, bend: Array, table: Array, normal: Array
) -> tuple[float, float, float, float]:
    """Average over y at the outer field h >= 0, with s^2 = V_1 - V_0; all decay with h.

    Returns
    -------
    tuple of float
        1 - <t>; <1 - t^2>/T; ln Z - mu <l> + k^2/2, k = mu s; the entropy of the spin over T.
    """
    k = mu * s
    if s <= T:
        x = mu * T
        Z, down, chi, energy, entropy = _wide_bend(h / T, s / T, x, normal)
        log_Z = math.log(Z) - 0.5 * k * k
        return down / Z, chi / Z / T, log_Z + k * k - x * energy / Z, entropy / Z / T
    # T = 0 in closed form, divided by exp(k h/s + k^2/2), and what the bend at h = 0 adds.
    eta, tau = h / s, T / s
    mirror = math.exp(-2.0 * k * eta)
    up = 0.5 * math.erfc(-(k + eta) / math.sqrt(2.0))
    low = 0.5 * math.erfc(-(k - eta) / math.sqrt(2.0)) * mirror
    bent_Z, bent_down, chi, bent_energy, entropy = _narrow_bend(tau, eta, k, mirror, bend, table)
    Z, down = up + low + tau * bent_Z, 2.0 * low + tau * bent_down
    energy = up * (eta + k) + low * (k - eta) + 2.0 * math.exp(-0.5 * (k + eta) ** 2) / math.sqrt(2.0 * math.pi)
    energy += tau * tau * bent_energy
    log_Z = math.log(Z)
    return down / Z, chi / Z / s, log_Z + k * (k + eta - energy / Z), entropy / Z / s


# The sums may be taken in any order, which lets a compiler take them side by side.
@cached_njit(error_model="numpy", fastmath={"reassoc"})
def _wide_bend(h: float, s: float, x: float, normal: Array) -> tuple[float, float, float, float, float]:
    """Return Z and the sums of `_block_averages` at s <= T, in units of T."""
    y = h + s * normal[0]
    decay = decays(2.0 * np.abs(y))
    log = log_one_plus(decay)
    # exp(x excess), without what is largest of it: s <= T and x <= 1 keep its logarithm below 80.
    weight = decays(80.0 - x * (np.abs(y) + log - h))
    scale = math.exp(80.0)
    Z = down = chi = energy = entropy = 0.0
    for j in range(y.size):
        inverse = 1.0 / (1.0 + decay[j])
        tilted = scale * normal[1, j] * weight[j]
        Z += tilted
        down += tilted * 2.0 * inverse * (decay[j] if y[j] >= 0.0 else 1.0)
        chi += tilted * 4.0 * decay[j] * inverse * inverse
        energy += tilted * (abs(y[j]) + log[j] - h)
        entropy += tilted * (log[j] + 2.0 * abs(y[j]) * decay[j] * inverse)
    return Z, down, chi, energy, entropy


@cached_njit(error_model="numpy", fastmath={"reassoc"})
def _narrow_bend(
    tau: float, eta: float, k: float, mirror: float, bend: Array, table: Array
) -> tuple[float, float, float, float, float]:
    """Return what the bend at h = 0 adds to Z and the sums of `_block_averages`, at s > T."""
    right = decays(0.5 * (tau * bend[0] - eta - k) ** 2)
    left = mirror * decays(0.5 * (tau * bend[0] + eta - k) ** 2)
    Z = down = chi = energy = entropy = 0.0
    for j in range(right.size):
        both = right[j] + left[j]
        Z += table[0, j] * both
        down += table[1, j] * right[j] + table[2, j] * left[j]
        chi += table[3, j] * both
        energy += table[4, j] * both
        entropy += table[5, j] * both
    return Z, down, chi, energy, entropy


@cached_njit(error_model="numpy")
def block_averages(
    A: float, V0: float, v: float, mu: float, T: float, bend: Array, legendre: Array, normal: Array
) -> tuple[float, float, float, float, float]:
    r"""Averages over z and, in the tilted measure, over y of a spin in the field A + sqrt(V0) z + sqrt(v) y.

    Parameters
    ----------
    A, V0, v : float
        Mean of the field, A >= 0, its variance V0 >= 0 among clusters and v > 0 inside them.
    mu, T : float
        x/T > 0, and T >= 0.
    bend, legendre, normal : ndarray
        Nodes and weights of the quadratures.

    Returns
    -------
    tuple of float
        m; 1 - q_0; C; :math:`E[\ln Z - \mu\langle l\rangle] + \mu^2 v/2`; the entropy of the spin over T.
    """
    s, sigma = math.sqrt(v), math.sqrt(V0)
    table = _bend_table(mu * T, bend)
    if V0 == 0.0:
        down, C, tilt, entropy = _block_averages(A, s, mu, T, bend, table, normal)
        return 1.0 - down, down * (2.0 - down), C, tilt, entropy
    # The functions of h are even or odd and decay: one integral over h > 0, with the weights of h and -h.
    # They bend over the larger of s and T, or 1/mu where that is smaller than s.
    width = max(s, T) if mu * s < 1.0 else 1.0 / mu
    low, high = max(0.0, A - 9.0 * sigma), min(A + 9.0 * sigma, 26.0 * width)
    breaks = np.concatenate((width * _INNER_BREAKS, A + sigma * _OUTER_BREAKS))
    breaks = np.sort(np.minimum(np.maximum(breaks, low), high))
    m = math.erf(A / (sigma * math.sqrt(2.0)))
    defect = C = tilt = entropy = 0.0
    for i in range(breaks.size - 1):
        half = 0.5 * (breaks[i + 1] - breaks[i])
        if half <= 0.0:
            continue
        for j in range(legendre.shape[1]):
            h = breaks[i] + half * (1.0 + legendre[0, j])
            weight = half * legendre[1, j] / (sigma * math.sqrt(2.0 * math.pi))
            right = weight * math.exp(-0.5 * ((h - A) / sigma) ** 2)
            left = weight * math.exp(-0.5 * ((h + A) / sigma) ** 2)
            down, C_h, tilt_h, entropy_h = _block_averages(h, s, mu, T, bend, table, normal)
            m -= down * (right - left)
            defect += down * (2.0 - down) * (right + left)
            C += C_h * (right + left)
            tilt += tilt_h * (right + left)
            entropy += entropy_h * (right + left)
    return m, defect, C, tilt, entropy
