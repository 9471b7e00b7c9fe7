r"""Random words of a generator's stream: as numpy draws them, bit for bit, in half the time.

The words of a Philox generator are functions of its counter (four words of 64 bits a counter, ten rounds): they are
computed here, many counters at once, and the generator is moved on. Any other generator draws its own.

Reference: Salmon, Moraes, Dror, Shaw, SC 2011, doi:10.1145/2063384.2063405.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hebbian.compilation import cached_njit

_MULTIPLIER_0, _MULTIPLIER_1 = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
_WEYL_0, _WEYL_1 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
_LOW, _32, _1 = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(1)
# Counters at once: enough to fill the registers, few enough to stay close by.
_COUNTERS = 64


def words_64(rng: np.random.Generator, count: int) -> NDArray[np.uint64]:
    """Return the next words of 64 bits, those of ``rng.integers(0, 2**64, count, np.uint64)``.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of random numbers.
    count : int
        Number of words, at least 0.

    Returns
    -------
    ndarray of uint64, shape (count,)
    """
    source = rng.bit_generator
    if not isinstance(source, np.random.Philox):
        return rng.integers(0, 2**64, size=count, dtype=np.uint64)
    out = np.empty(count, np.uint64)
    with source.lock:
        state: Any = source.state
        # What is left of the last four words comes first.
        kept = state["buffer"][state["buffer_pos"] :][:count]
        out[: len(kept)] = kept
        state["buffer_pos"] += len(kept)
        if count > len(kept):
            numbers = state["state"]
            state["buffer_pos"] = _fill(out[len(kept) :], numbers["counter"], numbers["key"], state["buffer"])
        source.state = state
    return out


def words_32(rng: np.random.Generator, count: int) -> NDArray[np.uint32]:
    """Return the next words of 32 bits, those of ``rng.integers(0, 2**32, count, np.uint32)``.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of random numbers.
    count : int
        Number of words, at least 0.

    Returns
    -------
    ndarray of uint32, shape (count,)
    """
    source = rng.bit_generator
    if not isinstance(source, np.random.Philox) or not count:
        return rng.integers(0, 2**32, size=count, dtype=np.uint32)
    # Of a word of 64 bits the lower half comes first, and the upper half is kept for the next word of 32 bits.
    before: Any = source.state
    kept = before["has_uint32"]
    halves = words_64(rng, (count - kept + 1) // 2).astype("<u8", copy=False).view("<u4")
    after: Any = source.state
    after["has_uint32"] = (count - kept) % 2
    after["uinteger"] = int(halves[-1]) if after["has_uint32"] else 0
    source.state = after
    if not kept:
        return halves[:count]
    return np.concatenate([np.array([before["uinteger"]], np.uint32), halves[: count - 1]])


@njit(inline="always")
def _upper(a, b):  # type: ignore[no-untyped-def]
    """Upper half of the product of two words, by products of their halves, which processors form in vectors."""
    low = (a & _LOW) * (b & _LOW)
    middle = (a >> _32) * (b & _LOW) + (low >> _32)
    return (a >> _32) * (b >> _32) + (middle >> _32) + (((a & _LOW) * (b >> _32) + (middle & _LOW)) >> _32)


@cached_njit()
def _fill(out, counter, key, buffer):  # type: ignore[no-untyped-def]
    """Fill `out`, move the counter on, leave the last four words in the buffer; return how many of them were used."""
    w = np.empty((4, _COUNTERS), np.uint64)
    for start in range(0, out.size, 4 * _COUNTERS):
        blocks = min(_COUNTERS, (out.size - start + 3) // 4)
        for b in range(blocks):
            for j in range(4):
                counter[j] += _1
                if counter[j]:
                    break
            for j in range(4):
                w[j, b] = counter[j]
        k0, k1 = key[0], key[1]
        for _ in range(10):
            for b in range(_COUNTERS):
                upper_0, lower_0 = _upper(_MULTIPLIER_0, w[0, b]), _MULTIPLIER_0 * w[0, b]
                upper_1, lower_1 = _upper(_MULTIPLIER_1, w[2, b]), _MULTIPLIER_1 * w[2, b]
                w[0, b], w[1, b] = upper_1 ^ w[1, b] ^ k0, lower_1
                w[2, b], w[3, b] = upper_0 ^ w[3, b] ^ k1, lower_0
            k0 += _WEYL_0
            k1 += _WEYL_1
        whole = min(_COUNTERS, (out.size - start) // 4)
        for b in range(whole):
            for j in range(4):
                out[start + 4 * b + j] = w[j, b]
        for j in range(out.size - start - 4 * whole if whole < blocks else 0):
            out[start + 4 * whole + j] = w[j, whole]
        buffer[:] = w[:, blocks - 1]
    return (out.size - 1) % 4 + 1
