r"""Compiled solver of the replica-symmetric saddle-point equations of one dense Hebbian network.

Unknowns are n and :math:`C = \beta(1-q)`, finite at every temperature, so that T = 0 is no special case:

.. math:: n = E[x \tanh(h/T)], \quad C = E[{\rm sech}^2(h/T)]/T, \quad h = (P/2) n^{P-1} x + \sqrt{V(C)} z.

C is eliminated at fixed n; the largest root of the remaining equation is approached from n = 1.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from theory.replica_symmetric.disorder import Network
from theory.replica_symmetric.quadrature import DECAYING, NORMAL, spin_averages

TOLERANCE = 1e-11
RETRIEVAL, GLASS, PARAMAGNET = 0, 1, 2
# Below this value of n (of C's distance from its bound, in the glass) nothing but the zero solution is left.
_SMALLEST = 1e-9


@njit(cache=True)
def noise(C: float, net: Network) -> tuple[float, float, float]:
    r"""Return V, its derivative in C along q = 1 - T C, and the noise curvature of the replicon."""
    q = max(0.0, 1.0 - net.T * C)
    if net.P == 2:
        V = slope = curvature = 0.0
        for k in range(net.modes.shape[1]):
            mode = net.modes[1, k]
            part = net.modes[0, k] * mode**2 / (1.0 - mode * C) ** 2
            V += q * part
            slope += part * (2.0 * mode * q / (1.0 - mode * C) - net.T)
            curvature += part
        return net.load * V, net.load * slope, net.load * curvature
    V = derivative = 0.0
    for k in range(net.powers.size - 1, -1, -1):
        derivative = derivative * q + V
        V = V * q + net.powers[k]
    return net.load * V, -net.T * net.load * derivative, net.load * derivative


@njit(cache=True)
def field_averages(
    A: float, V: float, net: Network
) -> tuple[float, float, float, float, float, float, float, float, float]:
    r"""Averages over the field h = A x + sqrt(V) z.

    Returns
    -------
    tuple of float
        m, n, C, E sech^4/T, E[entropy of the spin]/T, dn/dA, dn/dV, dC/dA, dC/dV.
    """
    if net.rho >= 0.0:
        # x = (1 + sqrt(rho) g)/sqrt(1 + rho): one Gaussian field, and n by Stein's lemma.
        mean, spread = 1.0 / math.sqrt(1.0 + net.rho), net.rho / (1.0 + net.rho)
        m, C, fourth, entropy, C1, C2 = spin_averages(
            A * mean, math.sqrt(V + spread * A * A), net.T, DECAYING, NORMAL
        )
        m_A = mean * C + C1 * A * spread
        C_A = mean * C1 + C2 * A * spread
        n_A = mean * m_A + spread * (C + A * C_A)
        n_V = 0.5 * (mean * C1 + spread * A * C2)
        return m, mean * m + spread * A * C, C, fourth, entropy, n_A, n_V, C_A, 0.5 * C2
    s = math.sqrt(V)
    stride = _stride(A, s, net)
    m = n = C = fourth = entropy = n_A = n_V = C_A = C_V = 0.0
    for i in range(0, net.x.size, stride):
        x, w = net.x[i], stride * net.weight[i]
        m_x, C_x, fourth_x, entropy_x, C1, C2 = spin_averages(A * x, s, net.T, DECAYING, NORMAL)
        m += w * m_x
        n += w * x * m_x
        C += w * C_x
        fourth += w * fourth_x
        entropy += w * entropy_x
        n_A += w * x * x * C_x
        n_V += 0.5 * w * x * C1
        C_A += w * x * C1
        C_V += 0.5 * w * C2
    return m, n, C, fourth, entropy, n_A, n_V, C_A, C_V


@njit(cache=True)
def _stride(A: float, s: float, net: Network) -> int:
    r"""Every how many lattice points of x need be summed.

    A sum over a lattice converges geometrically (Poisson's formula) once its step is small against the
    widths of the summand: here that of the binomial law and, by the noise z, s/A.
    """
    if net.x.size < 64 or s == 0.0:
        return 1
    mean = second = 0.0
    for i in range(net.x.size):
        mean += net.weight[i] * net.x[i]
        second += net.weight[i] * net.x[i] ** 2
    width = 1.0 / math.sqrt(1.0 / (second - mean * mean) + (A / s) ** 2)
    return max(1, int(width / (2.4 * (net.x[1] - net.x[0]))))


@njit(cache=True)
def _largest_C(net: Network) -> float:
    largest = 1.0 / net.T if net.T > 0.0 else math.inf
    for k in range(net.modes.shape[1]):
        largest = min(largest, 1.0 / net.modes[1, k])
    return largest


@njit(cache=True)
def _gap_at_fixed_n(n: float, guess: float, net: Network) -> tuple[float, float, float]:
    """Return N(n) - n, its derivative and C, where C solves its own equation at this n."""
    A, A_n = 0.5 * net.P * n ** (net.P - 1), 0.5 * net.P * (net.P - 1) * n ** (net.P - 2)
    low, high = 0.0, _largest_C(net)
    C = guess
    gap, slope = math.nan, math.nan
    for _ in range(200):
        V, V_C, _ = noise(C, net)
        _, n_new, C_new, _, _, n_A, n_V, C_A, C_V = field_averages(A, V, net)
        if C_new > C:
            low = C
        else:
            high = C
        denominator = 1.0 - C_V * V_C
        step = (C_new - C) / denominator if denominator > 0.0 else math.inf
        # The last step is taken to first order in n as well.
        gap = n_new + n_V * V_C * step - n
        slope = (n_A + n_V * V_C * C_A / denominator) * A_n - 1.0
        if abs(step) <= 1e-8 * C + 1e-16:
            return gap, slope, min(max(C + step, low), high)
        C = C + step if low <= C + step <= high else 0.5 * (low + high)
        if high - low <= 2e-16 * low:
            break
    return gap, slope, C


@njit(cache=True)
def _gap_of_glass(x: float, net: Network) -> tuple[float, float, float]:
    """Return the gap of the equation of C at n = 0 and its derivative in x, the distance of C from its bound."""
    C = _largest_C(net) - x
    V, V_C, _ = noise(C, net)
    averages = field_averages(0.0, V, net)
    return C - averages[2], averages[8] * V_C - 1.0, C


@njit(cache=True)
def _gap(x: float, guess: float, net: Network, branch: int) -> tuple[float, float, float]:
    return _gap_of_glass(x, net) if branch == GLASS else _gap_at_fixed_n(x, guess, net)


@njit(cache=True)
def largest_root(net: Network, branch: int) -> tuple[float, float]:
    r"""Find the first zero of the gap below its upper end.

    Newton's method from above, where the gap is negative. If it passes a maximum of the gap without meeting a
    zero, the maximum is enclosed: a negative one proves that the two solutions of a fold are gone.

    Returns
    -------
    tuple of float
        n (for the glass: the distance of C from its bound) and C; both NaN if there is no root above zero.
    """
    high = _largest_C(net) if branch == GLASS else 1.0
    smallest = _SMALLEST * high
    gap, slope, C = _gap(high, 0.0, net, branch)
    x, C_high = high, C
    if gap >= 0.0:
        return high, C
    high_gap, high_slope = gap, slope
    low, low_gap, low_slope, C_low = math.nan, math.nan, math.nan, C
    for _ in range(300):
        # Downwards until the gap is positive or its slope is.
        x = high - high_gap / high_slope
        if abs(x - high) <= 2e-16 * high:
            return x, C_high
        if x < smallest:
            x = 0.5 * high
            if x < smallest:
                return math.nan, math.nan
        low, C_low = x, C_high
        low_gap, low_slope, C_low = _gap(x, C_high, net, branch)
        if low_gap >= 0.0 or low_slope >= 0.0:
            break
        high, high_gap, high_slope, C_high = low, low_gap, low_slope, C_low
    for _ in range(200):
        # Up the maximum between low and high, unless the gap is positive already.
        if low_gap >= 0.0:
            break
        x = (high_gap - low_gap + low_slope * low - high_slope * high) / (low_slope - high_slope)
        bound = low_gap + low_slope * (x - low)
        inside = low < x < high
        if (inside and bound < 0.0 and high - low < 0.03 * high) or high - low < 4e-16 * high:
            return math.nan, math.nan
        if not inside:
            x = 0.5 * (low + high)
        gap, slope, C = _gap(x, C_high, net, branch)
        if gap >= 0.0 or slope >= 0.0:
            low, low_gap, low_slope, C_low = x, gap, slope, C
        else:
            high, high_gap, high_slope, C_high = x, gap, slope, C
    x, slope, gap, C = low, low_slope, low_gap, C_low
    for _ in range(200):
        # Newton's method inside the bracket.
        step = -gap / slope if slope < 0.0 else math.inf
        if gap == 0.0 or abs(step) <= 1e-15 * x or high - low <= 4e-16 * high:
            break
        x = x + step if low < x + step < high else 0.5 * (low + high)
        gap, slope, C = _gap(x, C, net, branch)
        if gap >= 0.0:
            low = x
        else:
            high = x
    return x, C


@njit(cache=True)
def _polish(n: float, C: float, net: Network) -> tuple[float, float, float]:
    """Return n and C after Newton steps in both, and the residual of the equations."""
    best, best_n, best_C = math.inf, n, C
    for _ in range(4):
        V, V_C, _ = noise(C, net)
        averages = field_averages(0.5 * net.P * n ** (net.P - 1), V, net)
        gap_n, gap_C = averages[1] - n, averages[2] - C
        residual = abs(gap_n) + abs(gap_C) / (1.0 + abs(C))
        if not residual < best:
            break
        best, best_n, best_C = residual, n, C
        A_n = 0.5 * net.P * (net.P - 1) * n ** (net.P - 2)
        nn, nC = averages[5] * A_n - 1.0, averages[6] * V_C
        Cn, CC = averages[7] * A_n, averages[8] * V_C - 1.0
        if n == 0.0:
            C -= gap_C / CC
        else:
            determinant = nn * CC - nC * Cn
            n -= (CC * gap_n - nC * gap_C) / determinant
            C -= (nn * gap_C - Cn * gap_n) / determinant
        if not (0.0 <= C <= _largest_C(net) and n >= 0.0):
            break
    return best_n, best_C, best


@njit(cache=True)
def _glass(net: Network) -> float:
    """Return C of the solution with n = 0 and the largest q, 1/T where only q = 0 is left."""
    if net.T == 0.0 and net.P > 2:
        return _gap_at_fixed_n(0.0, 0.0, net)[2]
    _, C = largest_root(net, GLASS)
    return C if math.isfinite(C) else _paramagnet(net)


@njit(cache=True)
def _paramagnet(net: Network) -> float:
    """Return C of the solution with n = 0 that is q = 0 unless the noise has a random field; NaN if there is none."""
    if net.T == 0.0 or 1.0 / net.T > _largest_C(net):
        return math.nan
    if net.P > 2 and net.powers[0] > 0.0:
        return _gap_at_fixed_n(0.0, 0.999 / net.T, net)[2]
    return 1.0 / net.T


@njit(cache=True)
def solve_point(net: Network, branch: int, out: NDArray[np.float64]) -> None:
    """Fill out with m, n, C, E sech^4/T, E[entropy of the spin]/T and the residual; NaN where there is no solution."""
    out[:] = math.nan
    n, C = 0.0, math.nan
    if branch == RETRIEVAL:
        x, C = largest_root(net, RETRIEVAL)
        if x > 0.0:
            n = x
        else:
            branch = GLASS
    if branch == GLASS:
        C = _glass(net)
    elif branch == PARAMAGNET:
        C = _paramagnet(net)
    if not math.isfinite(C):
        return
    n, C, residual = _polish(n, C, net)
    V, _, _ = noise(C, net)
    m, _, _, fourth, entropy, _, _, _, _ = field_averages(0.5 * net.P * n ** (net.P - 1), V, net)
    # Rounding leaves a remnant of odd averages.
    out[:] = m if n > 0.0 else 0.0, n, C, fourth, entropy, residual


@njit(cache=True)
def solve_grid(
    net: Network, load: NDArray[np.float64], T: NDArray[np.float64], branch: int, out: NDArray[np.float64]
) -> None:
    """Fill out, of shape (loads, temperatures, 6), with `solve_point` of the network at every load and T."""
    for i in range(load.size):
        for j in range(T.size):
            point = Network(
                net.P, T[j], load[i], net.powers, net.modes, net.x, net.weight, net.rho, net.diagonal
            )
            solve_point(point, branch, out[i, j])


@njit(cache=True)
def retrieves(net: Network, load: float, T: float) -> bool:
    """Return whether there is a solution with n > 0 at this load and temperature."""
    point = Network(net.P, T, load, net.powers, net.modes, net.x, net.weight, net.rho, net.diagonal)
    return largest_root(point, RETRIEVAL)[0] > 0.0
