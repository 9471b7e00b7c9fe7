r"""Archetypes, diluted archetypes and noisy examples.

Arrays are indexed (pattern, [example,] site) but lie in memory with the site as
the slowest axis: the engine reads one site of all patterns at a time. Whoever
needs that layout takes the transpose, which copies nothing.

Random numbers come from the `numpy.random.Generator` given as `rng`; to be
reproducible in parallel, make it from a counter-based stream (`sim.random`).
"""

import numpy as np
from numpy.typing import NDArray

from hebbian import validation

# Sites are drawn in blocks so that temporaries stay below this many entries.
_BLOCK = 1 << 22


def archetypes(K: int, N: int, *, rng: np.random.Generator) -> NDArray[np.int8]:
    r"""Draw K Rademacher archetypes, :math:`P(\xi_i^\mu = \pm 1) = 1/2`.

    Parameters
    ----------
    K, N : int
        Number of patterns and of sites, at least 1.
    rng : numpy.random.Generator
        Source of random numbers.

    Returns
    -------
    ndarray of int8, shape (K, N)
        Entries -1 and +1, one byte each.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or is out of range.
    """
    K, N = validation.integer("K", K, minimum=1), validation.integer("N", N, minimum=1)
    validation.generator("rng", rng)
    patterns = np.empty((N, K), dtype=np.int8)
    for sites in _blocks(N, K):
        block = patterns[sites]
        bits = np.unpackbits(rng.integers(0, 256, size=-(-block.size // 8), dtype=np.uint8), count=block.size)
        np.multiply(bits.view(np.int8).reshape(block.shape), 2, out=block)
        block -= 1
    return patterns.T


def diluted_archetypes(K: int, N: int, dilution: float, *, rng: np.random.Generator) -> NDArray[np.int8]:
    r"""Draw K diluted archetypes, :math:`P(\xi = 0) = d`, :math:`P(\xi = \pm 1) = (1-d)/2`.

    Parameters
    ----------
    K, N : int
        Number of patterns and of sites, at least 1.
    dilution : float
        Fraction d of blank entries, in [0, 1).
    rng : numpy.random.Generator
        Source of random numbers.

    Returns
    -------
    ndarray of int8, shape (K, N)
        Entries -1, 0 and +1.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or is out of range.
    """
    dilution = validation.real("dilution", dilution, minimum=0.0, below=1.0)
    patterns = archetypes(K, N, rng=rng).T
    # Without blanks no number is drawn: what follows in the stream is that of the undiluted network.
    for sites in _blocks(N, K) if dilution else ():
        patterns[sites][rng.random((len(patterns[sites]), K), dtype=np.float32) < dilution] = 0
    return patterns.T


def examples(xi: NDArray[np.int8], quality: float, M: int, *, rng: np.random.Generator) -> NDArray[np.int8]:
    r"""Draw M noisy examples of each archetype.

    .. math:: \eta_i^{\mu,a} = \xi_i^\mu \chi_i^{\mu,a}, \qquad P(\chi = \pm 1) = (1 \pm r)/2

    Parameters
    ----------
    xi : ndarray of int8, shape (K, N)
        Archetypes.
    quality : float
        r, in (0, 1]; 1 gives copies.
    M : int
        Examples per archetype, at least 1.
    rng : numpy.random.Generator
        Source of random numbers.

    Returns
    -------
    ndarray of int8, shape (K, M, N)

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or is out of range.
    MemoryError
        If the examples do not fit, with the estimate.
    """
    quality = validation.real("quality", quality, above=0.0, maximum=1.0)
    M = validation.integer("examples", M, minimum=1)
    validation.generator("rng", rng)
    K, N = _shape(xi)
    validation.memory(f"the set of {K} x {M} examples of {N} sites", float(K) * M * N)
    noisy = np.empty((N, K, M), dtype=np.int8)
    for sites in _blocks(N, K * M):
        block = noisy[sites]
        block[...] = xi.T[sites, :, None]
        np.negative(block, out=block, where=rng.random(block.shape, dtype=np.float32) < np.float32((1 - quality) / 2))
    return noisy.transpose(1, 2, 0)


def example_sum(xi: NDArray[np.int8], quality: float, M: int, *, rng: np.random.Generator) -> NDArray[np.signedinteger]:
    r"""Draw the sum of M noisy examples of each archetype without drawing the examples.

    .. math:: \sum_a \eta_i^{\mu,a} = \xi_i^\mu (2B - M), \qquad B \sim \mathrm{Binomial}(M, (1+r)/2)

    Parameters
    ----------
    xi : ndarray of int8, shape (K, N)
        Archetypes.
    quality : float
        r, in (0, 1].
    M : int
        Examples per archetype, from 1 to below 2^62.
    rng : numpy.random.Generator
        Source of random numbers.

    Returns
    -------
    ndarray of the smallest signed integer type that holds M, shape (K, N)
        The normalised example mean is this sum over :math:`M \sqrt R`.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or is out of range.
    """
    quality = validation.real("quality", quality, above=0.0, maximum=1.0)
    M = validation.integer("examples", M, minimum=1)
    if M >= 2**62:
        raise ValueError(f"examples = {M} is out of range; allowed: integers below 2^62")
    validation.generator("rng", rng)
    K, N = _shape(xi)
    sums = np.empty((N, K), dtype=np.min_scalar_type(-M - 1))
    for sites in _blocks(N, K):
        block = sums[sites]
        block[...] = xi.T[sites] * (2 * rng.binomial(M, (1 + quality) / 2, size=block.shape) - M)
    return sums.T


def _shape(xi: NDArray[np.int8]) -> tuple[int, int]:
    if not isinstance(xi, np.ndarray) or xi.dtype != np.int8:
        raise TypeError(f"xi has type {getattr(xi, 'dtype', type(xi).__name__)}; allowed: an array of int8")
    if xi.ndim != 2 or xi.size == 0:
        raise ValueError(f"xi has shape {xi.shape}; allowed: (K, N), both >= 1")
    return xi.shape


def _blocks(N: int, width: int) -> list[slice]:
    step = max(1, _BLOCK // width)
    return [slice(start, min(start + step, N)) for start in range(0, N, step)]
