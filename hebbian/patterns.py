r"""Archetypes, diluted archetypes and noisy examples.

Arrays are indexed (pattern, [example,] site) but lie in memory with the site as
the slowest axis: the engine reads one site of all patterns at a time. Whoever
needs that layout takes the transpose, which copies nothing.

Random numbers come from the `numpy.random.Generator` given as `rng`; to be
reproducible in parallel, make it from a counter-based stream (`sim.random`).
"""

import math

import numpy as np
from numpy.typing import NDArray

from hebbian import validation
from hebbian.compilation import cached_njit
from hebbian.words import words_32, words_64

# Signs of so many entries are drawn from whole words: part of what a seed gives.
_BLOCK = 1 << 22
# Words drawn at a time: their memory is used again and stays close by.
_WORDS = 1 << 16
# Expected number of the rarer outcome up to which numpy draws a binomial number by inversion, from one uniform number.
_INVERSION = 30.0
# Uniform numbers are multiples of 2^-53; their first bits are looked up.
_UNIFORM_BITS, _LOOKED_UP_BITS = 53, 10


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
        entries = patterns[sites].reshape(-1)
        for start in range(0, entries.size, 32 * _WORDS):
            part = entries[start : start + 32 * _WORDS]
            _signs(part, words_32(rng, -(-part.size // 32)).astype("<u4", copy=False).view(np.int8))
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
    if dilution:
        entries = patterns.reshape(-1)
        for start in range(0, entries.size, _WORDS):
            part = entries[start : start + _WORDS]
            _blank(part, words_32(rng, part.size), _below(dilution))
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
    entries, source = noisy.reshape(-1), np.ascontiguousarray(xi.T).reshape(-1)
    step = max(1, _WORDS // M)
    for start in range(0, source.size, step):
        copies = np.repeat(source[start : start + step], M)
        _reverse(entries[start * M :], copies, words_32(rng, copies.size), _below((1 - quality) / 2))
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
    p = 1 - (1 + quality) / 2
    if M * p > _INVERSION:
        for sites in _blocks(N, K):
            block = sums[sites]
            block[...] = xi.T[sites] * (2 * rng.binomial(M, (1 + quality) / 2, size=block.shape) - M)
        return sums.T
    largest = _largest_uniforms(M, p)
    first = np.searchsorted(largest, np.arange(1 << _LOOKED_UP_BITS) << (_UNIFORM_BITS - _LOOKED_UP_BITS))
    entries, source, done = sums.reshape(-1), np.ascontiguousarray(xi.T).reshape(-1), 0
    while done < entries.size:
        words = words_64(rng, min(_WORDS, entries.size - done))
        done += _add_up(entries[done:], source[done:], words, M, largest, first)
    return sums.T


def _below(probability: float) -> int:
    """Return how many words of 32 bits numpy takes for uniform numbers of single precision below a probability."""
    return math.ceil(float(np.float32(probability)) * 2**24) << 8


def _largest_uniforms(M: int, p: float) -> NDArray[np.int64]:
    """Return the largest uniform numbers, times 2^53, that numpy inverts to at most 0, 1, ... of M, each probable by p.

    Beyond the last it draws again.
    """
    none, bound = math.exp(M * math.log(1 - p)), int(min(M, M * p + 10 * math.sqrt(M * p * (1 - p) + 1)))
    return np.array([_largest_uniform(M, p, none, x) for x in range(bound + 1)])


@cached_njit()
def _largest_uniform(M, p, none, x):  # type: ignore[no-untyped-def]
    """Bisect the rounded inversion, which never falls as the uniform number rises."""
    low, high = -1, 2**_UNIFORM_BITS
    while high - low > 1:
        middle = (low + high) // 2
        u, term, count = middle * 2.0**-_UNIFORM_BITS, none, 0
        while u > term and count <= x:
            count += 1
            u -= term
            term = ((M - count + 1) * p * term) / (count * (1.0 - p))
        if count > x:
            high = middle
        else:
            low = middle
    return low


@cached_njit()
def _signs(entries, octets):  # type: ignore[no-untyped-def]
    """Turn the bits of bytes into signs, the highest first."""
    for i in range(entries.size // 8):
        for b in range(8):
            entries[8 * i + b] = np.int8(1) if (octets[i] >> (7 - b)) & 1 else np.int8(-1)
    for j in range(entries.size // 8 * 8, entries.size):
        entries[j] = np.int8(1) if (octets[j // 8] >> (7 - j % 8)) & 1 else np.int8(-1)


@cached_njit()
def _blank(entries, words, below):  # type: ignore[no-untyped-def]
    for i in range(entries.size):
        entries[i] *= words[i] >= below


@cached_njit()
def _reverse(noisy, entries, words, below):  # type: ignore[no-untyped-def]
    for i in range(entries.size):
        noisy[i] = entries[i] * (np.int8(1) - np.int8(2) * np.int8(words[i] < below))


@cached_njit()
def _add_up(sums, entries, words, M, largest, first):  # type: ignore[no-untyped-def]
    """Invert uniform numbers into sums of M noisy signs; return how many sums those were."""
    done = 0
    for word in words:
        uniform = np.int64(word >> np.uint64(64 - _UNIFORM_BITS))
        if uniform <= largest[-1]:
            reversed_signs = first[uniform >> (_UNIFORM_BITS - _LOOKED_UP_BITS)]
            while uniform > largest[reversed_signs]:
                reversed_signs += 1
            sums[done] = entries[done] * (M - 2 * reversed_signs)
            done += 1
    return done


def _shape(xi: NDArray[np.int8]) -> tuple[int, int]:
    if not isinstance(xi, np.ndarray) or xi.dtype != np.int8:
        raise TypeError(f"xi has type {getattr(xi, 'dtype', type(xi).__name__)}; allowed: an array of int8")
    if xi.ndim != 2 or xi.size == 0:
        raise ValueError(f"xi has shape {xi.shape}; allowed: (K, N), both >= 1")
    return xi.shape


def _blocks(N: int, width: int) -> list[slice]:
    step = max(1, _BLOCK // width)
    return [slice(start, min(start + step, N)) for start in range(0, N, step)]
