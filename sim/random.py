r"""Counter-based random streams: a number is a function of its address, not of what was drawn before.

A stream is addressed by (seed, task, purpose, replica). Results therefore do not
depend on the number of workers, on the order of tasks or on interruptions.
Patterns are drawn on the host from numpy's Philox; Monte Carlo kernels evaluate
Philox4x32-10 (Salmon et al., SC 2011) themselves, on whatever device they run.
"""

import numpy as np
from numba import njit, uint32, uint64

from hebbian import validation
from hebbian.compilation import cached_njit

# Numbers are part of the results: a purpose keeps its number for ever.
PURPOSES = {"patterns": 0, "initial": 1, "dynamics": 2, "exchange": 3, "annealing": 4, "batches": 5, "noise": 6}

# A seed is kept in the results file as an unsigned number of 64 bits.
LARGEST_SEED = 2**64 - 1

_MULTIPLIER_0, _MULTIPLIER_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL_0, _WEYL_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_32, _5, _6 = np.uint64(32), np.uint64(5), np.uint64(6)


def stream(seed: int, task: tuple[int, ...], purpose: str, replica: int = 0) -> np.random.Generator:
    """Return the host stream of an address.

    Parameters
    ----------
    seed : int
        Seed of the whole run, 0 to 2^64 - 1.
    task : tuple of int
        Address of the quenched sample, entries >= 0.
    purpose : {"patterns", "initial", "dynamics", "exchange", "annealing", "batches", "noise"}
        What the numbers are for.
    replica : int
        Replica of the sample, >= 0.

    Returns
    -------
    numpy.random.Generator
    """
    return np.random.Generator(np.random.Philox(_sequence(seed, task, purpose, replica)))


def kernel_key(seed: int, task: tuple[int, ...], purpose: str) -> tuple[np.uint32, np.uint32]:
    """Return the two words of the Philox4x32 key of an address; the kernels count replicas themselves."""
    words = _sequence(seed, task, purpose, 0).generate_state(2, np.uint32)
    return words[0], words[1]


def float_word(value: float) -> np.uint32:
    """Return a 32-bit word made of the bits of a number: a counter that names a temperature by its value."""
    bits = int(np.float64(value).view(np.uint64))
    return np.uint32((bits ^ (bits >> 32)) & 0xFFFFFFFF)


def float_bits(value: float) -> int:
    """Return the 64 bits of a number as an int: a part of a task's address."""
    return int(np.float64(value).view(np.uint64))


def _sequence(seed: int, task: tuple[int, ...], purpose: str, replica: int) -> np.random.SeedSequence:
    address = [validation.integer("every entry of task: task", part, minimum=0) for part in task]
    return np.random.SeedSequence(
        validation.integer("seed", seed, minimum=0, maximum=LARGEST_SEED),
        spawn_key=(PURPOSES[purpose], validation.integer("replica", replica, minimum=0), *address),
    )


@njit(inline="always")
def philox(c0, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
    """Philox4x32-10 of a counter of four words and a key of two; words are held in uint64."""
    for _ in range(10):
        p0 = _MULTIPLIER_0 * c0
        p1 = _MULTIPLIER_1 * c2
        c0, c1, c2, c3 = (p1 >> _32) ^ c1 ^ k0, p1 & _LOW, (p0 >> _32) ^ c3 ^ k1, p0 & _LOW
        k0 = (k0 + _WEYL_0) & _LOW
        k1 = (k1 + _WEYL_1) & _LOW
    return c0, c1, c2, c3


@njit(inline="always")
def unit(high, low):  # type: ignore[no-untyped-def]
    """Uniform number in [0, 1) with 53 bits, from two words."""
    return ((high >> _5) * 67108864.0 + (low >> _6)) * (1.0 / 9007199254740992.0)


@cached_njit()
def fill_uniforms(out, sweep, replica, temperature, key):  # type: ignore[no-untyped-def]
    """Fill `out` with the uniform numbers of one sweep; counter (pair of updates, sweep, replica, temperature)."""
    k0, k1 = uint64(key[0]), uint64(key[1])
    c1, c2, c3 = uint64(sweep), uint64(replica), uint64(temperature)
    for pair in range(out.size // 2):
        w0, w1, w2, w3 = philox(uint64(pair), c1, c2, c3, k0, k1)
        out[2 * pair] = unit(w0, w1)
        out[2 * pair + 1] = unit(w2, w3)
    if out.size % 2:
        w0, w1, _, _ = philox(uint64(out.size // 2), c1, c2, c3, k0, k1)
        out[-1] = unit(w0, w1)


@cached_njit()
def fill_sites(out, sweep, replica, temperature, key):  # type: ignore[no-untyped-def]
    """Fill `out` with the sites that a random scan visits; the first word of the counter starts at 2^31."""
    k0, k1 = uint64(key[0]), uint64(key[1])
    c1, c2, c3 = uint64(sweep), uint64(replica), uint64(temperature)
    for update in range(out.size):
        word, _, _, _ = philox(uint64(update) + uint64(0x80000000), c1, c2, c3, k0, k1)
        out[update] = uint32((word * uint64(out.size)) >> _32)
