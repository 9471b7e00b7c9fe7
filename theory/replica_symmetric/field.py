r"""Averages over the field of a spin, and the noise in it: the right-hand sides of the saddle-point equations."""

import math

from numba import njit

from theory.replica_symmetric.disorder import Network
from theory.replica_symmetric.quadrature import DECAYING, NORMAL, spin_averages, spin_entropy

# Error of q = 1 - T C; a smaller q is zero.
ROUNDING = 4e-16


@njit(cache=True, error_model="numpy")
def noise(C: float, net: Network) -> tuple[float, float, float]:
    r"""Return V, its derivative in C along q = 1 - T C, and kappa of the replicon: F'' for P >= 3, V/q for P = 2."""
    q = 1.0 - net.T * C
    if q < ROUNDING:
        q = 0.0
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


@njit(cache=True, error_model="numpy")
def field_averages(A: float, V: float, net: Network) -> tuple[float, float, float, float, float, float, float, float]:
    r"""Averages over the field h = A x + sqrt(V) z.

    Returns
    -------
    tuple of float
        m, n, C, E sech^4/T, dn/dA, dn/dV, dC/dA, dC/dV.
    """
    if net.x.size == 0:
        # x = (1 + sqrt(rho) g)/sqrt(1 + rho): one Gaussian field, and n by Stein's lemma.
        mean, spread = 1.0 / math.sqrt(1.0 + net.rho), net.rho / (1.0 + net.rho)
        m, C, fourth, C1, C2 = spin_averages(A * mean, math.sqrt(V + spread * A * A), net.T, DECAYING, NORMAL)
        m_A = mean * C + C1 * A * spread
        C_A = mean * C1 + C2 * A * spread
        n_A = mean * m_A + spread * (C + A * C_A)
        n_V = 0.5 * (mean * C1 + spread * A * C2)
        return m, mean * m + spread * A * C, C, fourth, n_A, n_V, C_A, 0.5 * C2
    s = math.sqrt(V)
    stride = _stride(A, s, net)
    m = n = C = fourth = n_A = n_V = C_A = C_V = 0.0
    for i in range(0, net.x.size, stride):
        x, w = net.x[i], stride * net.weight[i]
        m_x, C_x, fourth_x, C1, C2 = spin_averages(A * x, s, net.T, DECAYING, NORMAL)
        m += w * m_x
        n += w * x * m_x
        C += w * C_x
        fourth += w * fourth_x
        n_A += w * x * x * C_x
        n_V += 0.5 * w * x * C1
        C_A += w * x * C1
        C_V += 0.5 * w * C2
    return m, n, C, fourth, n_A, n_V, C_A, C_V


@njit(cache=True, error_model="numpy")
def field_entropy(A: float, V: float, net: Network) -> float:
    """Return the average of `quadrature.spin_entropy` over the data noise."""
    if net.x.size == 0:
        mean, spread = 1.0 / math.sqrt(1.0 + net.rho), net.rho / (1.0 + net.rho)
        return spin_entropy(A * mean, math.sqrt(V + spread * A * A), net.T, DECAYING, NORMAL)
    s = math.sqrt(V)
    stride = _stride(A, s, net)
    total = 0.0
    for i in range(0, net.x.size, stride):
        total += stride * net.weight[i] * spin_entropy(A * net.x[i], s, net.T, DECAYING, NORMAL)
    return total


@njit(cache=True, error_model="numpy")
def _stride(A: float, s: float, net: Network) -> int:
    r"""Every how many lattice points of x need be summed.

    A sum over a lattice converges geometrically (Poisson's formula) once its step is small against the
    widths of the summand: here that of the binomial law and, by the noise z, s/A.
    """
    if net.x.size < 64 or s == 0.0:
        return 1
    width = 1.0 / math.sqrt((1.0 + net.rho) / net.rho + (A / s) ** 2)
    return max(1, int(width / (2.4 * (net.x[1] - net.x[0]))))
