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
# The trapezoid rules over z and, at s <= T, over y err by about exp(-35), times the functions where they are largest in
# their strips |Im h| < strip, which end before the poles: of tanh h/T at pi/2 T, of the averages over y, in units of
# their widths, at the zeros of Z.
_DIGITS = 35.0
_STRIP_OF_TANH = 0.45 * math.pi
_STRIP_OF_AVERAGES = 1.15


@cached_njit(error_model="numpy")
def _step(deviation: float, strip: float) -> float:
    r"""Return the step of a trapezoid rule for a normal variable of this deviation and a function of it.

    With the function analytic and bounded at \|Im h\| < strip it errs by :math:`e^{-2\pi c/{\rm step} + c^2/2\sigma^2}`
    for all c up to strip; the best c is inside where the Gaussian is the narrower.
    """
    if strip >= deviation * math.sqrt(2.0 * _DIGITS):
        return deviation * math.pi * math.sqrt(2.0 / _DIGITS)
    return 2.0 * math.pi * strip / (_DIGITS + 0.5 * (strip / deviation) ** 2)


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
def _cluster_averages(first: float, step: float, s: float, mu: float, T: float, bend: Array, out: Array) -> None:
    """Average over y at the outer fields h = first, first + step, ..., not negative, with s^2 = V_1 - V_0.

    Fill out, of shape (4, fields), with what decays with h: 1 - <t>; <1 - t^2>/T; ln Z - mu <l> + k^2/2, k = mu s; the
    entropy of the spin over T.
    """
    if s <= T:
        _wide_bends(first / T, step / T, s / T, mu * T, out)
        out[1] /= T
        out[3] /= T
        return
    _narrow_bends(first / s, step / s, mu * s, T / s, _bend_table(mu * T, bend), bend, out)
    out[1] /= s
    out[3] /= s


@cached_njit(error_model="numpy")
def _wide_bends(first: float, step: float, s: float, x: float, out: Array) -> None:
    """Do what `_cluster_averages` does at s <= T, in units of T: nodes of y and h on one lattice."""
    fine = _step(s, _STRIP_OF_TANH)
    each, reach = math.ceil(step / fine), math.ceil(9.0 * s / fine)
    hop = 2 * reach + 1
    # Where the widths of y and h differ much, every h has nodes of its own.
    if each <= hop and 2.0 * step > fine:
        fine, hop = step / each, each
        reach = math.ceil(9.0 * s / fine)
    nodes = 2 * reach + 1
    y = np.empty(hop * (out.shape[1] - 1) + nodes)
    for j in range(out.shape[1]):
        for i in range(nodes):
            y[j * hop + i] = first + j * step + (i - reach) * fine
    normal = np.empty(nodes)
    for i in range(nodes):
        normal[i] = fine / s * math.exp(-0.5 * ((i - reach) * fine / s) ** 2) / math.sqrt(2.0 * math.pi)
    table = _wide_table(y, first, x)
    for j in range(out.shape[1]):
        h = first + j * step
        Z, down, chi, energy, entropy = _wide_sums(h, normal, table[:, j * hop : j * hop + nodes])
        log_Z = math.log(Z) - x * (h - first)
        out[0, j] = down / Z
        out[1, j] = chi / Z
        out[2, j] = log_Z + 0.5 * (x * s) ** 2 - x * energy / Z
        out[3, j] = entropy / Z


@cached_njit(error_model="numpy")
def _wide_table(y: Array, origin: float, x: float) -> Array:
    """Return ln 2cosh y, and (2cosh y)^x exp(-x origin) times 1, 1 - tanh y, sech^2 y and the entropy of the spin."""
    decay = decays(2.0 * np.abs(y))
    table = np.empty((5, y.size))
    log = log_one_plus(decay)
    table[0] = np.abs(y) + log
    # The exponent is largest at the last node, of either sign elsewhere.
    top = x * (max(abs(y[0]), abs(y[-1])) + math.log(2.0) - origin)
    tilted = math.exp(top) * decays(top - x * (table[0] - origin))
    for j in range(y.size):
        inverse = 1.0 / (1.0 + decay[j])
        table[1, j] = tilted[j]
        table[2, j] = tilted[j] * 2.0 * inverse * (decay[j] if y[j] >= 0.0 else 1.0)
        table[3, j] = tilted[j] * 4.0 * decay[j] * inverse * inverse
        table[4, j] = tilted[j] * (log[j] + 2.0 * abs(y[j]) * decay[j] * inverse)
    return table


# The sums may be taken in any order, which lets a compiler take them side by side.
@cached_njit(error_model="numpy", fastmath={"reassoc"})
def _wide_sums(h: float, normal: Array, table: Array) -> tuple[float, float, float, float, float]:
    """Return Z and the sums of `_cluster_averages` over the nodes around h."""
    Z = down = chi = energy = entropy = 0.0
    for i in range(normal.size):
        tilted = normal[i] * table[1, i]
        Z += tilted
        energy += tilted * (table[0, i] - h)
        down += normal[i] * table[2, i]
        chi += normal[i] * table[3, i]
        entropy += normal[i] * table[4, i]
    return Z, down, chi, energy, entropy


@cached_njit(error_model="numpy")
def _narrow_bends(first: float, step: float, k: float, tau: float, table: Array, bend: Array, out: Array) -> None:
    """Do what `_cluster_averages` does at s > T, in units of s: T = 0 in closed form, and what the bend at h = 0 adds.

    All is divided by exp(k h + k^2/2). The Gaussian weights of the nodes follow from those at the last h by recursion.
    """
    centre = tau * bend[0] - k
    right, left = decays(0.5 * (centre - first) ** 2), decays(0.5 * (centre + first) ** 2) * math.exp(-2.0 * k * first)
    right_ratio = np.exp(step * (centre - first - 0.5 * step))
    left_ratio = np.exp(-step * (centre + first + 0.5 * step + 2.0 * k))
    shrink = math.exp(-step * step)
    for j in range(out.shape[1]):
        h = first + j * step
        up = 0.5 * math.erfc(-(k + h) / math.sqrt(2.0))
        low = 0.5 * math.erfc(-(k - h) / math.sqrt(2.0)) * math.exp(-2.0 * k * h)
        bent_Z, bent_down, chi, bent_energy, entropy = _narrow_sums(right, left, right_ratio, left_ratio, shrink, table)
        Z, down = up + low + tau * bent_Z, 2.0 * low + tau * bent_down
        energy = up * (h + k) + low * (k - h) + 2.0 * math.exp(-0.5 * (k + h) ** 2) / math.sqrt(2.0 * math.pi)
        energy += tau * tau * bent_energy
        out[0, j] = down / Z
        out[1, j] = chi / Z
        out[2, j] = math.log(Z) + k * (k + h - energy / Z)
        out[3, j] = entropy / Z


@cached_njit(error_model="numpy", fastmath={"reassoc"})
def _narrow_sums(
    right: Array, left: Array, right_ratio: Array, left_ratio: Array, shrink: float, table: Array
) -> tuple[float, float, float, float, float]:
    """Return what the bend at h = 0 adds to Z and the sums of `_cluster_averages`; move the weights to the next h."""
    Z = down = chi = energy = entropy = 0.0
    for i in range(right.size):
        both = right[i] + left[i]
        Z += table[0, i] * both
        down += table[1, i] * right[i] + table[2, i] * left[i]
        chi += table[3, i] * both
        energy += table[4, i] * both
        entropy += table[5, i] * both
        right[i] *= right_ratio[i]
        left[i] *= left_ratio[i]
        right_ratio[i] *= shrink
        left_ratio[i] *= shrink
    return Z, down, chi, energy, entropy


@cached_njit(error_model="numpy")
def _reach(s: float, mu: float, T: float) -> float:
    """Return the outer field beyond which what `_cluster_averages` returns is below 1e-17."""
    k = mu * s
    # A bend of width T under a Gaussian moved by k s, and its mirror image, which is T = 0's.
    bent = 20.0 * T + s * s / T if s < 4.5 * T else 9.0 * s
    return max(bent - k * s, 20.0 / mu if k > 4.5 else (9.0 - k) * s)


@cached_njit(error_model="numpy")
def block_averages(
    A: float, V0: float, v: float, mu: float, T: float, bend: Array
) -> tuple[float, float, float, float, float]:
    r"""Averages over z and, in the tilted measure, over y of a spin in the field A + sqrt(V0) z + sqrt(v) y.

    Parameters
    ----------
    A, V0, v : float
        Mean of the field, A >= 0, its variance V0 >= 0 among clusters and v > 0 inside them.
    mu, T : float
        x/T > 0, and T >= 0.
    bend : ndarray
        `BEND`.

    Returns
    -------
    tuple of float
        m; 1 - q_0; C; :math:`E[\ln Z - \mu\langle l\rangle] + \mu^2 v/2`; the entropy of the spin over T.
    """
    s, sigma = math.sqrt(v), math.sqrt(V0)
    if V0 == 0.0:
        out = np.empty((4, 1))
        _cluster_averages(A, s, s, mu, T, bend, out)
        down, C, tilt, entropy = out[:, 0]
        return 1.0 - down, down * (2.0 - down), C, tilt, entropy
    # The functions of h are even or odd and decay: a trapezoid rule on h >= 0, with the weights of h and -h.
    width = T if s <= T else min(s, 1.0 / mu)
    step = _step(sigma, _STRIP_OF_AVERAGES * width)
    begin = int(max(0.0, A - 9.0 * sigma) / step)
    fields = max(1, int(min(A + 9.0 * sigma, _reach(s, mu, T)) / step) + 2 - begin)
    out = np.empty((4, fields))
    _cluster_averages(begin * step, step, s, mu, T, bend, out)
    # tanh is split into an error function, whose average is known, and what decays.
    m = math.erf(A / math.sqrt(2.0 * (width * width + V0)))
    defect = C = tilt = entropy = 0.0
    for j in range(fields):
        h = (begin + j) * step
        weight = step / (sigma * math.sqrt(2.0 * math.pi))
        right = weight * math.exp(-0.5 * ((h - A) / sigma) ** 2)
        left = weight * math.exp(-0.5 * ((h + A) / sigma) ** 2)
        both = right + left if begin + j > 0 else 0.5 * (right + left)
        down = out[0, j]
        m += (math.erfc(h / (width * math.sqrt(2.0))) - down) * (right - left)
        defect += down * (2.0 - down) * both
        C += out[1, j] * both
        tilt += out[2, j] * both
        entropy += out[3, j] * both
    return m, defect, C, tilt, entropy
