r"""Energy, entropy and free energy of a replica-symmetric solution.

With n, :math:`C = \beta(1-q)` and V at the saddle point, per spin and for the zero-diagonal (distinct) model,

.. math::
    P \ge 3:\quad u &= -\tfrac12 n^P - T C^2 B - C V, &
    s &= S - \tfrac12 C^2 B, \qquad B = \frac{F(1) - F(q) - (1-q) F'(q)}{(1-q)^2}, \; F' = V, \\
    P = 2:\quad u &= -\tfrac12 n^2 - \tfrac{\alpha}{2} \sum_l g_l l^2 \Big[\frac{C}{1-lC} + \frac{qC}{(1-lC)^2}\Big], &
    s &= S - \tfrac{\alpha}{2} \sum_l g_l \Big[\ln(1-lC) + \frac{lC}{1-lC}\Big],

f = u - T s, where :math:`S = E[\ln 2\cosh(h/T) - (h/T)\tanh(h/T)]`: no difference of large numbers at low T.
"""

import numpy as np
from numpy.typing import NDArray

from theory.replica_symmetric.disorder import Network

Array = NDArray[np.float64]


def energy_and_entropy(
    net: Network, load: Array, T: Array, n: Array, C: Array, V: Array, spin_entropy: Array
) -> tuple[Array, Array]:
    """Return u and s per spin.

    Parameters
    ----------
    net : Network
        Its load and temperature are not used; several of `disorder.stacked` give the first axis of the shape.
    load, T, n, C, V : ndarray
        Load, temperature, order parameters and noise, of shapes that broadcast.
    spin_entropy : ndarray
        Average of ln 2cosh(h/T) - (h/T) tanh(h/T).

    Returns
    -------
    tuple of ndarray
    """
    q = 1 - T * C
    if net.P == 2:
        u = -(n**2) / 2 + load * net.diagonal
        s = spin_entropy.copy()
        for g, mode in zip(*net.modes, strict=True):
            x = mode * C
            u = u - load / 2 * g * mode * (x / (1 - x) + q * x / (1 - x) ** 2)
            s = s - load / 2 * g * (np.log1p(-x) + x / (1 - x))
        return u, s
    # [1 - q^p - p (1-q) q^(p-1)] / (1-q)^2 = sum_k (k+1) q^k, k < p - 1, without cancellation.
    B = sum(v / (k + 1) * sum((i + 1) * q**i for i in range(k)) for k, v in enumerate(net.powers))
    return -(n**net.P) / 2 - load * T * C**2 * B - C * V, spin_entropy - load * C**2 * B / 2
