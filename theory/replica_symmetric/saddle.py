r"""Compiled solver of the replica-symmetric saddle-point equations of one dense Hebbian network.

Unknowns are n and :math:`C = \beta(1-q)`, finite at every temperature, so that T = 0 is no special case:

.. math:: n = E[x \tanh(h/T)], \quad C = E[{\rm sech}^2(h/T)]/T, \quad h = (P/2) n^{P-1} x + \sqrt{V(C)} z.

C is eliminated at fixed n; the largest root of the remaining equation is approached from n = 1.
"""

import math

import numpy as np
from numpy.typing import NDArray

from hebbian.compilation import cached_njit
from theory.replica_symmetric.disorder import Network
from theory.replica_symmetric.field import ROUNDING, field_averages, field_entropy, noise

TOLERANCE = 1e-11
# Newton steps that end a search: the next one would be below 1e-16.
CLOSE = 1e-9
# Integers of NumPy: Numba compiles a function anew for every one of Python's that it is called with.
RETRIEVAL, GLASS, PARAMAGNET = np.arange(3)
# Below this value of n (of C's distance from its bound, in the glass) nothing but the zero solution is left.
_SMALLEST = 1e-9


@cached_njit(error_model="numpy")
def _largest_C(net: Network) -> float:
    largest = 1.0 / net.T if net.T > 0.0 else math.inf
    for k in range(net.modes.shape[1]):
        largest = min(largest, 1.0 / net.modes[1, k])
    return largest


@cached_njit(error_model="numpy")
def _gap_at_fixed_n(n: float, guess: float, net: Network) -> tuple[float, float, float, float]:
    """Return N(n) - n, its derivative, C, which solves its own equation at this n, and its derivative."""
    A, A_n = 0.5 * net.P * n ** (net.P - 1), 0.5 * net.P * (net.P - 1) * n ** (net.P - 2)
    low, high = 0.0, _largest_C(net)
    C = min(max(guess, low), high)
    gap = slope = C_n = math.nan
    for _ in range(200):
        V, V_C, _ = noise(C, net)
        _, n_new, C_new, _, n_A, n_V, C_A, C_V = field_averages(A, V, net)
        if C_new > C:
            low = C
        else:
            high = C
        denominator = 1.0 - C_V * V_C
        step = (C_new - C) / denominator if denominator > 0.0 else math.inf
        # The last step is taken to first order in n as well.
        gap = n_new + n_V * V_C * step - n
        slope = (n_A + n_V * V_C * C_A / denominator) * A_n - 1.0
        C_n = C_A * A_n / denominator
        if abs(step) <= 1e-7 * C + 1e-16:
            return gap, slope, min(max(C + step, low), high), C_n
        C = C + step if low <= C + step <= high else 0.5 * (low + high)
        if high - low <= 2e-16 * low:
            break
    return gap, slope, C, C_n


@cached_njit(error_model="numpy")
def _gap_of_glass(x: float, net: Network) -> tuple[float, float, float, float]:
    """Return the gap of the equation of C at n = 0, its derivative in x, C, which is x below its bound, and -1."""
    C = _largest_C(net) - x
    V, V_C, _ = noise(C, net)
    averages = field_averages(0.0, V, net)
    return C - averages[2], averages[7] * V_C - 1.0, C, -1.0


@cached_njit(error_model="numpy")
def _gap(x: float, guess: float, net: Network, branch: int) -> tuple[float, float, float, float]:
    return _gap_of_glass(x, net) if branch == GLASS else _gap_at_fixed_n(x, guess, net)


@cached_njit(error_model="numpy")
def largest_root(net: Network, branch: int) -> tuple[float, float]:
    r"""Find the first zero of the gap below its upper end, where the gap is negative.

    Downwards by Newton's method where the gap is concave, else by plain iteration: neither passes a zero of an
    increasing map. A maximum of the gap that is passed is enclosed: if it is negative the two solutions of a fold are
    gone, and the way goes on (few examples can leave a second fold, of the spins on which all of them agree).

    Returns
    -------
    tuple of float
        n (for the glass: the distance of C from its bound) and C; both NaN if there is no root above zero.
    """
    high = _largest_C(net) if branch == GLASS else 1.0
    smallest = _SMALLEST * high
    # The map of the glass at P = 2 decreases: plain iteration would pass its only zero.
    increasing = not (branch == GLASS and net.P == 2)
    high_gap, high_slope, C_high, C_x = _gap(high, 0.0, net, branch)
    if high_gap >= 0.0:
        return high, C_high
    slope_before = -math.inf
    for _ in range(400):
        newton = high - high_gap / high_slope
        if high_slope < 0.0 and abs(newton - high) <= CLOSE * high:
            return newton, C_high
        if net.P == 2 and increasing and high < 0.05 and high_slope < 0.0 and abs(newton) < 0.05 * high:
            # Near the origin a straight line to it: nothing but the zero solution is left.
            return math.nan, math.nan
        low = min(high + high_gap, 0.85 * high) if increasing else 0.5 * high
        if high_slope < 0.0 and newton >= smallest and (high_slope >= slope_before or not increasing):
            low = max(newton, low) if increasing else newton
        if low < smallest:
            return math.nan, math.nan
        low_gap, low_slope, C_low, C_x = _gap(low, C_high + C_x * (low - high), net, branch)
        if low_gap >= 0.0:
            return _enclosed_root(low, low_gap, low_slope, C_low, C_x, high, net, branch)
        if high_slope < 0.0 <= low_slope:
            x, C, upper = _positive_gap(low, low_gap, low_slope, high, high_gap, high_slope, C_low, C_x, net, branch)
            if x > 0.0:
                gap, slope, C, C_x = _gap(x, C, net, branch)
                return _enclosed_root(x, gap, slope, C, C_x, upper, net, branch)
        slope_before = high_slope
        high, high_gap, high_slope, C_high = low, low_gap, low_slope, C_low
    return math.nan, math.nan


@cached_njit(error_model="numpy")
def _positive_gap(
    low: float,
    low_gap: float,
    low_slope: float,
    high: float,
    high_gap: float,
    high_slope: float,
    C: float,
    C_x: float,
    net: Network,
    branch: int,
) -> tuple[float, float, float]:
    """Look for a positive gap around the maximum between low and high; return its place, C and a point above it.

    C and C_x are those of the point low.
    """
    last = low
    for _ in range(200):
        # Where the tangents of the two ends meet is an upper bound once the gap is concave between them.
        x = (high_gap - low_gap + low_slope * low - high_slope * high) / (low_slope - high_slope)
        bound = low_gap + low_slope * (x - low)
        inside = low < x < high
        if (inside and bound < 0.0 and high - low < 0.03 * high) or high - low < 4e-16 * high:
            break
        if not inside:
            x = 0.5 * (low + high)
        gap, slope, C, C_x = _gap(x, C + C_x * (x - last), net, branch)
        last = x
        if gap >= 0.0:
            return x, C, high
        if slope >= 0.0:
            low, low_gap, low_slope = x, gap, slope
        else:
            high, high_gap, high_slope = x, gap, slope
    return math.nan, math.nan, math.nan


@cached_njit(error_model="numpy")
def _enclosed_root(
    x: float, gap: float, slope: float, C: float, C_x: float, high: float, net: Network, branch: int
) -> tuple[float, float]:
    """Return the zero between x, where the gap is not negative, and high, where it is, and its C."""
    low = x
    for _ in range(200):
        step = -gap / slope if slope < 0.0 else math.inf
        if gap == 0.0 or abs(step) <= CLOSE * x or high - low <= 4e-16 * high:
            break
        last, x = x, x + step if low < x + step < high else 0.5 * (low + high)
        gap, slope, C, C_x = _gap(x, C + C_x * (x - last), net, branch)
        if gap >= 0.0:
            low = x
        else:
            high = x
    return x, C


@cached_njit(error_model="numpy")
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
        if residual < ROUNDING:
            break
        A_n = 0.5 * net.P * (net.P - 1) * n ** (net.P - 2)
        nn, nC = averages[4] * A_n - 1.0, averages[5] * V_C
        Cn, CC = averages[6] * A_n, averages[7] * V_C - 1.0
        if n == 0.0:
            C -= gap_C / CC
        else:
            determinant = nn * CC - nC * Cn
            n -= (CC * gap_n - nC * gap_C) / determinant
            C -= (nn * gap_C - Cn * gap_n) / determinant
        if not (0.0 <= C <= _largest_C(net) and n >= 0.0):
            break
    return best_n, best_C, best


@cached_njit(error_model="numpy")
def _glass(net: Network) -> float:
    """Return C of the solution with n = 0 and the largest q, 1/T where only q = 0 is left."""
    if net.T == 0.0 and net.P > 2:
        return _gap_at_fixed_n(0.0, 0.0, net)[2]
    _, C = largest_root(net, GLASS)
    return C if math.isfinite(C) else _paramagnet(net)


@cached_njit(error_model="numpy")
def _paramagnet(net: Network) -> float:
    """Return C of the solution with n = 0 that is q = 0 unless the noise has a random field; NaN if there is none."""
    if net.T == 0.0 or _largest_C(net) < 1.0 / net.T:
        return math.nan
    if net.P > 2 and net.powers[0] > 0.0:
        return _gap_at_fixed_n(0.0, 0.999 / net.T, net)[2]
    return 1.0 / net.T


@cached_njit(error_model="numpy")
def solve_point(net: Network, branch: int, out: NDArray[np.float64]) -> None:
    """Fill out with m, n, C, V, T (1 - replicon), E[entropy of the spin]/T and the residual; NaN without solution."""
    out[:] = math.nan
    n, C, glass = 0.0, math.nan, branch == GLASS
    if branch == RETRIEVAL:
        x, C = largest_root(net, RETRIEVAL)
        if x > 0.0:
            n = x
        else:
            glass = True
    if glass:
        C = _glass(net)
    elif branch == PARAMAGNET:
        C = _paramagnet(net)
    # At P = 2 noise diverges where C reaches its bound: at T = 1, or by rounding at loads below 1e-20.
    if not math.isfinite(C) or (net.P == 2 and C >= 1.0 / net.modes[1].max()):
        return
    n, C, residual = _polish(n, C, net)
    if net.P == 2 and C >= 1.0 / net.modes[1].max():
        return
    V, _, curvature = noise(C, net)
    A = 0.5 * net.P * n ** (net.P - 1)
    averages = field_averages(A, V, net)
    out[:] = averages[0], n, C, V, curvature * averages[3], field_entropy(A, V, net), residual


@cached_njit(error_model="numpy", nogil=True)
def solve_points(
    net: Network, load: NDArray[np.float64], T: NDArray[np.float64], branch: int, out: NDArray[np.float64]
) -> None:
    """Fill out, of shape (points, 7), with `solve_point` of the network at the load and T of every point."""
    for i in range(load.size):
        point = Network(net.P, T[i], load[i], net.powers, net.modes, net.x, net.weight, net.rho, net.diagonal)
        solve_point(point, branch, out[i])


@cached_njit(error_model="numpy", nogil=True)
def retrieves(net: Network, load: float, T: float) -> bool:
    """Return whether there is a solution with n > 0 at this load and temperature."""
    point = Network(net.P, T, load, net.powers, net.modes, net.x, net.weight, net.rho, net.diagonal)
    return largest_root(point, RETRIEVAL)[0] > 0.0
