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
from numpy.polynomial import Chebyshev, Polynomial
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar

from theory.replica_symmetric.quadrature import gaussian_averages

# Below this b = beta sqrt(V) the two sides of the x = 1 equations differ by rounding only.
_SMALLEST_B = 1e-2
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

    # The complexity vanishes at b = sqrt(2 P ln 2) or before.
    largest = 2.0 * math.sqrt(2 * len(powers) * math.log(2))
    grid = np.geomspace(_SMALLEST_B, largest, 400)
    temperatures = np.array([point(b)[0] for b in grid])
    i = int(np.argmax(temperatures))
    if i == 0:
        return math.sqrt(powers[1]), math.sqrt(powers[1])
    dynamic = minimize_scalar(
        lambda b: -point(b)[0], bounds=(grid[i - 1], grid[i + 1]), method="bounded", options={"xatol": 1e-9}
    )
    static = brentq(lambda b: point(b)[1], dynamic.x, largest, xtol=1e-13)
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
        In units of the root of the load; to 1e-12.
    """
    if transition_temperatures(powers)[0] <= T:
        return -T * math.log(2) - Polynomial(powers).integ()(1) / (2 * T)
    return float(_interpolant(powers)(T))


@cache
def _interpolant(powers: tuple[float, ...]) -> Chebyshev:
    # The error is at rounding from degree 20 on (P = 3, 4, 8).
    static = transition_temperatures(powers)[0]
    return Chebyshev.interpolate(
        lambda values: np.array([glass_free_energy(powers, T) for T in values.tolist()]), 24, domain=[0.0, static]
    )


def glass_free_energy(powers: tuple[float, ...], T: float) -> float:
    """Free energy of the glass at 0 < T < T_K, from its equations; arguments as for `free_energy`."""
    V = Polynomial(powers)
    F = V.integ()
    static = transition_temperatures(powers)[0]
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
