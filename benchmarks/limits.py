"""What the machine allows: bare products and reading, in seconds a term or a byte, on one core."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from benchmarks import timing
from sim.glauber import kernels, lanes
from sim.random import fill_uniforms

_REASSOCIATE = {"reassoc", "contract", "nsz"}


@njit
def integer_products(rows, factors):  # type: ignore[no-untyped-def]
    """Return the sum of the scalar products of all rows with a vector of integers, and nothing else."""
    total = 0
    for i in range(len(rows)):
        row, part = rows[i], np.int32(0)
        for k in range(len(factors)):
            part = np.int32(part + np.int32(np.int32(row[k]) * np.int32(factors[k])))
        total += part
    return total


@njit(fastmath=_REASSOCIATE)
def real_products(rows, factors):  # type: ignore[no-untyped-def]
    """Return the sum of the scalar products of all rows with real numbers, and nothing else."""
    total = 0.0
    for i in range(len(rows)):
        row, part = rows[i], np.float32(0)
        for k in range(len(factors)):
            part += row[k] * factors[k]
        total += part
    return total


@njit
def tiled_products(tiles, factors, out):  # type: ignore[no-untyped-def]
    """Compute the scalar products of all rows with a vector of integers, of sixteen rows at once, and nothing else."""
    for block in range(len(tiles)):
        lanes.fields(tiles[block], factors, out)


@njit
def add_rows(rows, sums):  # type: ignore[no-untyped-def]
    """Add twice each row to the sums: what a flip does to the fields."""
    for i in range(len(rows)):
        for k in range(len(sums)):
            sums[k] += 2 * rows[i, k]


@njit
def exclusive_or(words):  # type: ignore[no-untyped-def]
    """Read all words."""
    total = np.int64(0)
    for i in range(words.size):
        total ^= words[i]
    return total


def products(rows: NDArray[np.int8], kind: type) -> float:
    """Return the seconds a term of the scalar products of all rows with one vector of a kind of numbers."""
    factors = np.ones(rows.shape[1], kind)
    run = real_products if np.issubdtype(kind, np.floating) else integer_products
    repeat = 1 + int(3e6 / rows.size)
    return timing.best(lambda: [run(rows, factors) for _ in range(repeat)]) / (repeat * rows.size)


def products_of_tiles(state: kernels.PairBlocks) -> float:
    """Return the seconds a term of the scalar products that "blocks" begins with."""
    repeat = 1 + int(3e6 / state.tiles.size)
    return timing.best(lambda: [tiled_products(state.tiles, state.S[0], state.H) for _ in range(repeat)]) / (
        repeat * state.tiles.size
    )


def additions(N: int) -> float:
    """Return the seconds a term of adding rows of int8 of an N x N matrix to N sums of int16, all rows once."""
    rows, sums = np.ones((N, N), np.int8), np.zeros(N, np.int16)
    repeat = 1 + int(3e6 / rows.size)
    return timing.best(lambda: [add_rows(rows, sums) for _ in range(repeat)], 3) / (repeat * rows.size)


def reading(size: float) -> float:
    """Return the seconds a byte of reading so many bytes over and over."""
    words = np.ones(int(size) // 8, np.int64)
    repeat = 1 + int(2e7 / size)
    return timing.best(lambda: [exclusive_or(words) for _ in range(repeat)]) / (repeat * words.nbytes)


def uniforms(count: int = 5000) -> float:
    """Return the seconds a uniform number, of which an update needs one."""
    out, key = np.empty(count), np.array([1, 2], np.uint32)
    return timing.best(lambda: [fill_uniforms(out, t, 0, 0, key) for t in range(100)]) / (100 * count)


def angles(kind: str) -> float:
    """Return the seconds a number of what a layer of ReLU kernels cannot do without: an angle, a sine, both kernels."""
    x, k, t = np.linspace(0, 0.99, 512).astype(kind), np.ones(512, kind), np.ones(512, kind)
    fill = _angles_single if kind == "float32" else _angles_double
    return timing.best(lambda: [fill(x, k, t) for _ in range(2000)]) / (2000 * x.size)


def _angles(degree, kind):  # type: ignore[no-untyped-def]
    coefficients, one, half = np.linspace(1, 0.1, degree + 1).astype(kind), kind(1), kind(0.5)

    @njit(fastmath={"contract", "nsz"})
    def fill(x, k, t):  # type: ignore[no-untyped-def]
        for j in range(x.size):
            root, polynomial = np.sqrt(one - x[j]), coefficients[0]
            for i in range(1, degree + 1):
                polynomial = polynomial * x[j] + coefficients[i]
            slope = half - root * polynomial
            k[j] = root * np.sqrt(one + x[j]) + slope * x[j]
            t[j] = k[j] + slope * t[j]

    return fill


_angles_double, _angles_single = _angles(20, np.float64), _angles(9, np.float32)
