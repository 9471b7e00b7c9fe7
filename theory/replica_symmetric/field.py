r"""Averages over the field of a spin, and the noise in it: the right-hand sides of the saddle-point equations."""

import math

import numpy as np

from hebbian.compilation import cached_njit
from theory.replica_symmetric.disorder import Network
from theory.replica_symmetric.quadrature import DECAYING, LANES, NORMAL, lane_averages, spin_averages, spin_entropy

# Error of q = 1 - T C; a smaller q is zero.
ROUNDING = 4e-16


@cached_njit(error_model="numpy")
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


@cached_njit(error_model="numpy")
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
    if net.x.size == 1:
        x = net.x[0]
        m, C, fourth, C1, C2 = spin_averages(A * x, s, net.T, DECAYING, NORMAL)
        return m, x * m, C, fourth, x * x * C, 0.5 * x * C1, x * C1, 0.5 * C2
    stride, count = _lattice(A, s, net)
    fields, averages = np.empty(LANES), np.empty((5, LANES))
    m = n = C = fourth = n_A = n_V = C_A = C_V = 0.0
    for begin in range(0, count, LANES):
        for i in range(LANES):
            fields[i] = A * net.x[min(begin + i, count - 1) * stride]
        lane_averages(fields, s, net.T, averages)
        for i in range(min(LANES, count - begin)):
            x = net.x[(begin + i) * stride]
            odd, w = _weights(begin + i, stride, count, net)
            m += odd * averages[0, i]
            n += w * x * averages[0, i]
            C += w * averages[1, i]
            fourth += w * averages[2, i]
            n_A += w * x * x * averages[1, i]
            n_V += 0.5 * w * x * averages[3, i]
            C_A += w * x * averages[3, i]
            C_V += 0.5 * w * averages[4, i]
    return m, n, C, fourth, n_A, n_V, C_A, C_V


@cached_njit(error_model="numpy")
def field_entropy(A: float, V: float, net: Network) -> float:
    """Return the average of `quadrature.spin_entropy` over the data noise."""
    if net.x.size == 0:
        mean, spread = 1.0 / math.sqrt(1.0 + net.rho), net.rho / (1.0 + net.rho)
        return spin_entropy(A * mean, math.sqrt(V + spread * A * A), net.T, DECAYING, NORMAL)
    s = math.sqrt(V)
    stride, count = _lattice(A, s, net)
    total = 0.0
    for i in range(count):
        total += _weights(i, stride, count, net)[1] * spin_entropy(A * net.x[i * stride], s, net.T, DECAYING, NORMAL)
    return total


@cached_njit(error_model="numpy")
def _lattice(A: float, s: float, net: Network) -> tuple[int, int]:
    r"""Return every how many lattice points of x need be summed, and how many these are.

    A sum over a lattice converges geometrically (Poisson's formula) once its step is small against the
    widths of the summand: here that of the binomial law and, by the noise z, s/A. Of a lattice that is symmetric one
    half is needed: the averages are even or odd functions of x.
    """
    size, stride = net.x.size, 1
    if size >= 64 and s > 0.0:
        width = 1.0 / math.sqrt((1.0 + net.rho) / net.rho + (A / s) ** 2)
        stride = max(1, int(width / (2.4 * (net.x[1] - net.x[0]))))
    symmetric = stride == 1 and net.x[0] == -net.x[-1]
    return stride, (size + 1) // 2 if symmetric else (size + stride - 1) // stride


@cached_njit(error_model="numpy")
def _weights(i: int, stride: int, count: int, net: Network) -> tuple[float, float]:
    """Return the weights of odd and of even averages at the point i of those that are summed."""
    weight = stride * net.weight[i * stride]
    mirror = net.x.size - 1 - i
    if stride > 1 or count == net.x.size or mirror == i:
        return weight, weight
    return weight - net.weight[mirror], weight + net.weight[mirror]
