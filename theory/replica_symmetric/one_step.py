r"""Glass without retrieval at one step of replica-symmetry breaking, P >= 3, q_0 = 0.

The Ising spin glass whose energies have the covariance N F(q), :math:`F' = V` (distinct sites, storing: the P-spin with
:math:`J^2 = \gamma`). With :math:`\theta = q V - F` and :math:`b = \beta\sqrt V`,

.. math::
    -\beta f = \tfrac{\beta^2}{2}[F(1) - V(q) + (1-x)\theta(q)] + \tfrac1x \ln E (2\cosh b z)^x ,

stationary in q and x. At x = 1: :math:`q = E\tanh(b^2 + b z)`, which appears at T_d, and
:math:`E\ln 2\cosh(b^2 + bz) = \ln 2 + b^2/2 + \beta^2\theta/2` at T_K.
"""

import math
from functools import cache

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar
from scipy.special import log_ndtr

from theory.replica_symmetric.quadrature import gaussian_averages

# Below this b = beta sqrt(V) the two sides of the x = 1 equations differ by rounding only.
_SMALLEST_B = 1e-2
_LARGEST_B = 8.0
_LEGENDRE = np.polynomial.legendre.leggauss(40)


@cache
def transition_temperatures(powers: tuple[float, ...]) -> tuple[float, float]:
    r"""Temperatures T_K and T_d of the glass at unit load.

    Parameters
    ----------
    powers : tuple of float
        :math:`v_k` of :math:`V = \sum_k v_k q^k`, with :math:`v_0 = 0`.

    Returns
    -------
    tuple of float
        Equal to each other and to :math:`\sqrt{v_1}` where the transition is continuous. They scale as the root of the
        load.
    """
    V = Polynomial(powers)
    F = V.integ()

    def point(b: float) -> tuple[float, float]:
        """Return T and the complexity at which the x = 1 solution has this b."""
        averages = gaussian_averages(b * b, b, 1.0)
        q = float(averages[0])
        beta = b / math.sqrt(V(q))
        complexity = averages[3] - math.log(2) - b * b / 2 - beta**2 / 2 * (q * V(q) - F(q))
        return 1 / beta, float(complexity)

    grid = np.geomspace(_SMALLEST_B, _LARGEST_B, 400)
    temperatures = np.array([point(b)[0] for b in grid])
    i = int(np.argmax(temperatures))
    if i == 0:
        return math.sqrt(powers[1]), math.sqrt(powers[1])
    dynamic = minimize_scalar(
        lambda b: -point(b)[0], bounds=(grid[i - 1], grid[i + 1]), method="bounded", options={"xatol": 1e-9}
    )
    static = brentq(lambda b: point(b)[1], dynamic.x, _LARGEST_B, xtol=1e-13)
    return point(static)[0], -float(dynamic.fun)


def free_energy(powers: tuple[float, ...], T: float) -> float:
    r"""Free energy per spin of the glass at unit load; that of the paramagnet above T_K.

    Parameters
    ----------
    powers : tuple of float
        :math:`v_k` of :math:`V = \sum_k v_k q^k`, with :math:`v_0 = v_1 = 0`.
    T : float
        Temperature over the root of the load, T >= 0.

    Returns
    -------
    float
        In units of the root of the load.
    """
    V = Polynomial(powers)
    F = V.integ()
    static = transition_temperatures(powers)[0]
    if static <= T:
        return -T * math.log(2) - F(1) / (2 * T)
    if T == 0:
        return _ground_state_energy(V(1), V(1) - F(1))
    beta = 1 / T

    def overlap(x: float) -> tuple[float, float, float]:
        q = 1.0
        for _ in range(500):
            previous = q
            q, log_partition, log_cosh = _tilted_averages(beta * math.sqrt(V(q)), x)
            if abs(q - previous) < 1e-14:
                break
        return q, log_partition, log_cosh

    def derivative(x: float) -> float:
        """Return the derivative in x of -beta f, times x."""
        q, log_partition, log_cosh = overlap(x)
        return log_cosh - log_partition / x - x * beta**2 / 2 * (q * V(q) - F(q))

    # x = T/T_K for the random energy model, P -> infinity, and somewhat less at finite P.
    low = high = T / static
    while derivative(low) > 0:
        low, high = 0.98 * low, low
    x = brentq(derivative, low, high, xtol=1e-12) if low < high else low
    q, log_partition, _ = overlap(x)
    return -T * (beta**2 / 2 * (F(1) - V(q) + (1 - x) * (q * V(q) - F(q))) + log_partition / x)


def _ground_state_energy(V: float, theta: float) -> float:
    def energy(y: float) -> float:
        k = y * math.sqrt(V)
        return y * theta / 2 - (math.log(2) + k * k / 2 + float(log_ndtr(k))) / y

    scale = 1 / math.sqrt(V)
    best = minimize_scalar(lambda y: -energy(y), bounds=(0.01 * scale, 20 * scale), method="bounded", options={"xatol": 1e-10})
    return -float(best.fun)


def _tilted_averages(b: float, x: float) -> tuple[float, float, float]:
    """Return the averages of tanh^2 and ln 2cosh in the measure (2cosh bz)^x, and the log of its norm."""
    # tanh bends at z = 1/b, the measure is a Gaussian around z = x b.
    bend = np.array([0.0, 3.0, 8.0, 20.0]) / b
    hill = np.linspace(max(bend[-1], x * b - 9.0), bend[-1] + x * b + 9.0, 6)
    left, right = np.append(bend[:-1], hill[:-1]), np.append(bend[1:], hill[1:])
    half = (right - left)[:, None] / 2
    z = (left[:, None] + half + half * _LEGENDRE[0]).ravel()
    weight = (half * _LEGENDRE[1]).ravel()
    decay = np.exp(-2 * b * z)
    log_cosh = b * z + np.log1p(decay)
    exponent = x * log_cosh - z**2 / 2
    peak = exponent.max()
    density: NDArray[np.float64] = weight * np.exp(exponent - peak)
    norm = density.sum()
    tanh2 = ((1 - decay) / (1 + decay)) ** 2
    log_norm = peak + math.log(2 * norm / math.sqrt(2 * math.pi))
    return float(density @ tanh2 / norm), log_norm, float(density @ log_cosh / norm)
