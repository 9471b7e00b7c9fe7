r"""Exact enumeration of small networks: what every simulation must reproduce."""

import numpy as np
from numpy.typing import NDArray

from hebbian import QuenchedSample, validation

MAXIMUM_N = 20


def configurations(N: int) -> NDArray[np.int8]:
    """Return all configurations of N spins, shape (2^N, N); bit i of the index is set where spin i is +1.

    Parameters
    ----------
    N : int
        1 to 20 spins.
    """
    if validation.integer("N", N, minimum=1) > MAXIMUM_N:
        raise ValueError(f"N = {N} is too large to enumerate; allowed: 1 to {MAXIMUM_N}")
    bits = np.arange(2**N)[:, None] >> np.arange(N) & 1
    return (2 * bits - 1).astype(np.int8)


def state_index(spins: NDArray[np.int8]) -> NDArray[np.int64]:
    """Return the index in `configurations` of spins of shape (..., N)."""
    return (spins > 0) @ (1 << np.arange(spins.shape[-1]))


def energies(sample: QuenchedSample) -> NDArray[np.float64]:
    """Return the energy H of every configuration, shape (2^N,)."""
    return np.array([sample.energy(sigma) for sigma in configurations(sample.model.N)])


def boltzmann(sample: QuenchedSample, T: float) -> NDArray[np.float64]:
    r"""Return the Boltzmann probabilities :math:`\propto e^{-H/T}` of every configuration, shape (2^N,).

    Parameters
    ----------
    sample : QuenchedSample
        Network of at most 20 spins.
    T : float
        Temperature > 0.
    """
    exponents = -energies(sample) / validation.real("T", T, above=0.0)
    weights = np.exp(exponents - exponents.max())
    return weights / weights.sum()


def little(sample: QuenchedSample, T: float) -> NDArray[np.float64]:
    r"""Return the stationary measure of synchronous Glauber dynamics at P = 2, shape (2^N,).

    .. math:: p(\sigma) \propto \prod_i 2\cosh(h_i(\sigma)/T)

    with :math:`h_i` half the energy that reversing a spin :math:`\sigma_i = +1` costs
    (Peretto, Biol. Cybern. 50, 51 (1984)).

    Parameters
    ----------
    sample : QuenchedSample
        Network with P = 2 of at most 20 spins.
    T : float
        Temperature > 0.
    """
    if sample.model.P != 2:
        raise ValueError(f"P = {sample.model.P} has no known synchronous measure; allowed: P = 2")
    T = validation.real("T", T, above=0.0)
    E = energies(sample)
    states = np.arange(len(E))
    fields = np.array([(E[states & ~(1 << i)] - E[states | 1 << i]) / 2 for i in range(sample.model.N)])
    exponents = np.logaddexp(fields / T, -fields / T).sum(axis=0)
    weights = np.exp(exponents - exponents.max())
    return weights / weights.sum()
