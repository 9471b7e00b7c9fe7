r"""What the replica-symmetric equations need to know of a dense Hebbian network, whatever it is.

The field on a spin, in the gauge of the retrieved archetype, is

.. math:: h = (P/2)\, n^{P-1} x + \sqrt V z,

x the normalised example mean of the site and V the noise of the other patterns, a function of q and of
:math:`C = \beta(1-q)`.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from hebbian import DenseHebbian, validation

# The binomial law of the example mean is summed exactly up to this M. Beyond it the Gaussian law errs by about
# 1e-5 in m at the worst qualities (M r^2 about 1), and as M^-2 at a fixed quality: 2e-9 at r = 0.3.
LARGEST_BINOMIAL = 100_000
DATA_NOISES = ("auto", "binomial", "gaussian")


class Network(NamedTuple):
    r"""Network at one load and temperature, in the form the compiled solver takes.

    Parameters
    ----------
    P : int
        Order of the interaction.
    T, load : float
        Temperature (k_B = 1) and load.
    powers : ndarray, shape (D,)
        :math:`v_k` of :math:`V = {\rm load} \sum_k v_k q^k`; empty for P = 2.
    modes : ndarray, shape (2, L)
        :math:`g_l` and l of :math:`V = {\rm load}\; q \sum_l g_l l^2 / (1 - l C)^2`; empty for P > 2.
    x, weight : ndarray
        Law of the example mean on a lattice; empty if it is Gaussian.
    rho : float
        Data-set entropy; the variance of x is rho/(1 + rho).
    diagonal : float or ndarray
        Energy per spin and unit load that the diagonal of the couplings adds.
    """

    P: int
    T: float
    load: float
    powers: NDArray[np.float64]
    modes: NDArray[np.float64]
    x: NDArray[np.float64]
    weight: NDArray[np.float64]
    rho: float
    diagonal: float | NDArray[np.float64]


def network(model: DenseHebbian, *, load: float, T: float, data_noise: str = "auto") -> Network:
    r"""Return the network of a model in the limit N -> infinity.

    Parameters
    ----------
    model : DenseHebbian
        Its N, K and load are not used.
    load : float
        gamma in :math:`K = \gamma (2/P!) N^{P-1}`, for both interactions.
    T : float
        Temperature, k_B = 1, :math:`H = -(N/2)\sum_\mu m_\mu^P` up to coinciding indices.
    data_noise : {"auto", "binomial", "gaussian"}
        Law of the example mean, see `replica_symmetric.solve`.

    Returns
    -------
    Network

    Raises
    ------
    ValueError
        If the interaction is exponential or `data_noise` unknown.
    """
    if model.interaction == "exponential":
        raise ValueError("interaction = 'exponential' has no replica-symmetric theory here; allowed: 'distinct', 'all'")
    validation.choice("data_noise", data_noise, DATA_NOISES)
    P = model.order
    M = 1 if model.examples is None else model.examples
    x, weight = _example_mean(model, data_noise)
    modes, powers, diagonal = np.empty((2, 0)), np.empty(0), 0.0
    if P == 2:
        modes = _modes(model, M)
        if model.interaction == "all":
            diagonal = -0.5 * float(modes[0] @ modes[1])
    else:
        powers = noise_powers(P, model.interaction)
        if model.training == "unsupervised":
            # Two examples of one archetype, and an example with itself.
            r2 = 1.0 if model.quality is None else model.quality**2
            k = np.arange(powers.size)
            powers = powers * ((1 - 1 / M) * r2 ** (k + 1) + 1 / M) / model.R**P
    return Network(P, float(T), float(load), powers, modes, x, weight, model.rho, diagonal)


def stacked(nets: list[Network]) -> Network:
    """Return networks of one P, interaction and training as one for `thermodynamics`.

    Parameters
    ----------
    nets : list of Network
        At least one.

    Returns
    -------
    Network
        That of the first, with `powers`, shape (D, networks, 1, 1), `modes`, shape (2, L, networks, 1, 1), and
        `diagonal`, shape (networks, 1, 1), of all.
    """
    modes = np.zeros((2, max(net.modes.shape[1] for net in nets), len(nets)))
    for i, net in enumerate(nets):
        modes[:, : net.modes.shape[1], i] = net.modes
    powers, diagonal = np.stack([net.powers for net in nets], axis=-1), np.array([net.diagonal for net in nets])
    return nets[0]._replace(
        powers=powers[..., None, None], modes=modes[..., None, None], diagonal=diagonal[:, None, None]
    )


def noise_powers(P: int, interaction: str) -> NDArray[np.float64]:
    r"""Coefficients :math:`v_k` of the noise :math:`V = \gamma \sum_k v_k q^k` of stored patterns, P >= 3.

    Distinct sites: :math:`(P/2) q^{P-1}`. All tuples: :math:`(2/P!) (P/2)^2 E[(uv)^{P-1}]` for standard
    normals of correlation q, by the expansion
    :math:`x^{P-1} = \sum_k c_k {\rm He}_k(x)` and :math:`E[{\rm He}_k(u) {\rm He}_k(v)] = k! q^k`.

    Parameters
    ----------
    P : int
        Order of the interaction, at least 3.
    interaction : {"distinct", "all"}
        Which tuples of sites interact.

    Returns
    -------
    ndarray, shape (P,)
    """
    powers = np.zeros(P)
    if interaction == "distinct":
        powers[P - 1] = P / 2
        return powers
    degree = P - 1
    for k in range(degree, -1, -2):
        j = (degree - k) // 2
        hermite = math.factorial(degree) / (math.factorial(k) * 2**j * math.factorial(j))
        powers[k] = 2 / math.factorial(P) * (P / 2) ** 2 * hermite**2 * math.factorial(k)
    return powers


def _modes(model: DenseHebbian, M: int) -> NDArray[np.float64]:
    """Degeneracies and eigenvalues of the correlations among the examples of one archetype, P = 2."""
    if model.training != "unsupervised" or M == 1 or model.quality is None or model.quality == 1:
        return np.array([[1.0], [1.0]])
    return np.array([[1.0, M - 1.0], [1.0, (1 - model.quality**2) / (M * model.R)]])


def _example_mean(model: DenseHebbian, data_noise: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if model.quality is None or model.examples is None or model.quality == 1:
        return np.ones(1), np.ones(1)
    M = model.examples
    if data_noise == "gaussian" or (data_noise == "auto" and M > LARGEST_BINOMIAL):
        return np.empty(0), np.empty(0)
    p, complement = (1 + model.quality) / 2, (1 - model.quality) / 2
    # Hoeffding's, then Chernoff's bound on the weights: what is left out is below 1e-18.
    reach = 5 * math.sqrt(M)
    agreeing = np.arange(max(0, math.floor(M * p - reach)), min(M, math.ceil(M * p + reach)) + 1)
    rate = xlogy(agreeing, agreeing / (M * p)) + xlogy(M - agreeing, (M - agreeing) / (M * complement))
    agreeing = agreeing[rate < 42.0]
    # The ratios of neighbours, multiplied up both ways from the largest weight.
    k, mode = agreeing.astype(np.float64), int(np.searchsorted(agreeing, min(M, math.floor((M + 1) * p))))
    ratio = (M - k[:-1]) / (k[:-1] + 1) * (p / complement)
    below, above = np.cumprod(1 / ratio[:mode][::-1])[::-1], np.cumprod(ratio[mode:])
    weight = np.concatenate([below, [1.0], above])
    return (2 * agreeing - M) / (M * math.sqrt(model.R)), weight / weight.sum()
