r"""Numba kernels: how one replica's flip energies are known, and the loop that uses them.

A state is a named tuple of arrays with a leading replica axis. Each kind of state
knows six verbs (rebuild, flip_energy, flip, energy, unit, sweep); one driver runs any
of them, and Numba compiles it once for each kind. Rows are indexed (site, row):
a field reads one contiguous line.

=============  ==================================  =================================
state          network                             a flip energy costs
=============  ==================================  =================================
PairRows       integer rows, P = 2                 one dot product of a row, in integers
PairBlocks     the same, sixteen sites at once     a third of it
SignRows       +-1 rows, polynomial interaction    one dot product of a row
SymmetricRows  integer rows, distinct tuples       one pass, P products a term
PowerRows      integer rows, all tuples            one pass, 2 P products a term
ExponentRows   integer rows, exponential           one pass with a look-up
CachedFields   P = 2, any rows                     O(1), sixteen at once; an accepted flip O(N)
=============  ==================================  =================================

All of it lives in one file because Numba's cache notices changes of the file that
holds a compiled function, not of those it calls.
"""

# ruff: noqa: D103
# mypy: disable-error-code="no-untyped-def"
import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit, types
from numba.extending import overload
from numpy.typing import NDArray

from hebbian.compilation import cached_njit
from sim.glauber import lanes
from sim.random import fill_sites, fill_uniforms

GLAUBER, METROPOLIS, DESCENT = 0, 1, 2
ORDERED, RANDOM, SYNCHRONOUS = 0, 1, 2

# Sums of integers are exact whatever their order, below 2^53 in double precision and 2^24 in single precision.
_REASSOCIATE = {"reassoc", "contract", "nsz"}
# Numbers of single precision are added up in blocks, and these in double precision.
LONG_BLOCK = 4096
# Fields that are compared sixteen at once: of these types, and below this size, of which bounds are at most.
LANE_TYPES = (types.int16, types.int32)
LARGEST_FIELD = 2**30
# A bound that is not known yet.
_OPEN = np.int32(-(2**31))
# Error of a logarithm x of single precision, in units of 1 + |x|: twice what is found, and more.
_ERROR_32 = np.float32(3e-7)
_SQUARE_ROOT_OF_HALF_32, _MANTISSA_32 = np.int32(np.float32(math.sqrt(0.5)).view(np.int32)), np.int32(23)
_LN_2, _SQUARE_ROOT_OF_HALF = math.log(2), int(np.float64(math.sqrt(0.5)).view(np.int64))


class PairRows(NamedTuple):
    r"""Integer rows, P = 2: the flip energy is :math:`4c\sum_\mu [\sigma_i \eta_i^\mu S_\mu - (\eta_i^\mu)^2]`."""

    rows: NDArray[np.signedinteger]  # (N, L)
    S: NDArray[np.signedinteger]  # (replicas, L)
    squares: NDArray[np.int64]  # (N,): sum of the squares of a site's entries
    prefactor: float
    diagonal: float  # sum of all squares, if they do not belong to the energy


class PairBlocks(NamedTuple):
    r"""The rows of PairRows, and again with the entries of sixteen sites side by side: see `lanes`."""

    rows: NDArray[np.signedinteger]  # (N, L), filled up with zeros
    S: NDArray[np.signedinteger]  # (replicas, L)
    squares: NDArray[np.int32]  # (N,)
    tiles: NDArray[np.signedinteger]  # (whole blocks, VECTORS, L / 2, LANES, 2) for S of 16 bits, or (.., L, LANES, 1)
    gram: NDArray[np.signedinteger]  # (whole blocks, SITES, VECTORS, LANES): twice the products of the rows of a block
    limits: NDArray[np.int32]  # (replicas, N): scratch, as the next
    H: NDArray[np.int32]  # (VECTORS, LANES)
    prefactor: float
    diagonal: float


class SignRows(NamedTuple):
    r"""Rows of +-1: the flip energy is :math:`c[\sigma_i \sum_\mu \eta_i^\mu A(S_\mu) - \sum_\mu B(S_\mu)]`."""

    rows: NDArray[np.int8]  # (N, L)
    S: NDArray[np.int32]  # (replicas, L)
    A: NDArray[np.floating]  # (replicas, L): A(S)
    B: NDArray[np.float64]  # (replicas,): sum of B(S)
    cubic_A: NDArray[np.floating]  # (4,): A as a polynomial, or empty if P > 4
    cubic_B: NDArray[np.float64]
    table_A: NDArray[np.floating]  # (2 N + 1,), at S + N
    table_B: NDArray[np.float64]
    table_F: NDArray[np.float64]
    prefactor: float


class SymmetricRows(NamedTuple):
    r"""Integer rows, distinct tuples: elementary symmetric polynomials e_0 .. e_P of each row."""

    rows: NDArray[np.signedinteger]  # (N, L)
    e: NDArray[np.float64]  # (replicas, P + 1, L)
    orders: tuple[int, ...]  # 1 .. P: of a tuple the compiler knows the length
    prefactor: float  # times P!


class PowerRows(NamedTuple):
    r"""Integer rows, all tuples: the scalar products S of each row."""

    rows: NDArray[np.signedinteger]  # (N, L)
    S: NDArray[np.float64]  # (replicas, L)
    orders: tuple[int, ...]  # 1 .. P
    prefactor: float


class ExponentRows(NamedTuple):
    r"""Integer rows, exponential interaction: weights exp(scale S) relative to the largest."""

    rows: NDArray[np.signedinteger]  # (N, L)
    S: NDArray[np.int64]  # (replicas, L)
    weights: NDArray[np.float64]  # (replicas, L): exp(scale S - peak)
    peak: NDArray[np.float64]  # (replicas,)
    drop: NDArray[np.float64]  # 1 - exp(-2 scale y), at y + (len - 1) / 2
    scale: float
    prefactor: float


class CachedFields(NamedTuple):
    r"""P = 2 by couplings: fields of all spins are kept up to date."""

    couplings: NDArray[Any]  # (N, N filled up with zeros), zero diagonal, symmetric
    squares: NDArray[np.int32]  # (N,): zeros, as the diagonal
    fields: NDArray[Any]  # (replicas, N filled up)
    prefactor: float
    diagonal: float  # sum of the diagonal, if it belongs to the energy


class Chains(NamedTuple):
    """What drives each chain: its inverse temperature, and its words in the address of random numbers."""

    beta: NDArray[np.float64]  # (replicas,), may be infinite
    temperature: NDArray[np.uint32]  # (replicas,)
    replica: NDArray[np.uint32]  # (replicas,)


class Draws(NamedTuple):
    """Scratch of one sweep of one chain."""

    thresholds: NDArray[np.float64]  # (N,)
    scratch: NDArray[np.float64]  # (N,)
    limits: NDArray[np.int32]  # (N,)
    sites: NDArray[np.uint32]  # (N,)
    chosen: NDArray[np.bool_]  # (N,)


@njit
def multiply(rows, spins, out):
    """Fill `out` with the scalar product of the spins with each row, a site at a time: rows are (site, row)."""
    out[:] = 0
    for i in range(spins.size):
        for k in range(out.size):
            out[k] += spins[i] * rows[i, k]


def pair_rows_rebuild(state, sigma, r):
    multiply(state.rows, sigma[r], state.S[r])


@njit
def pair_field(row, S):
    """Return the scalar product of two rows of integers."""
    # In 32 bits, which are enough: the processor multiplies and adds pairs of short integers at once.
    total = np.int32(0)
    for k in range(S.size):
        total = np.int32(total + np.int32(np.int32(row[k]) * np.int32(S[k])))
    return total


def pair_rows_flip_energy(state, sigma, r, i):
    return 4.0 * state.prefactor * (sigma[r, i] * pair_field(state.rows[i], state.S[r]) - state.squares[i])


def pair_rows_flip(state, sigma, r, i):
    row, S, change = state.rows[i], state.S[r], -2 * int(sigma[r, i])
    for k in range(S.size):
        S[k] += change * row[k]
    sigma[r, i] = -sigma[r, i]


def pair_rows_energy(state, sigma, r):
    S, total = state.S[r], 0.0
    for k in range(S.size):
        total += float(S[k]) * float(S[k])
    return -state.prefactor * (total - state.diagonal)


def pair_blocks_sweep(state, sigma, chains, rule, scan, number, key, draws, accepted):
    (replicas, N), S, rows, squares = sigma.shape, state.S, state.rows, state.squares
    for r in range(replicas):
        fill_uniforms(draws.thresholds, number, chains.replica[r], chains.temperature[r], key)
        fill_bounds(state.limits[r], draws.thresholds, draws.scratch, rule, chains.beta[r], 4.0 * state.prefactor)
        to_limits(state.limits[r], sigma[r], squares, rule)
        accepted[r] = 0
    whole = state.tiles.shape[0] * lanes.SITES
    for block in range(state.tiles.shape[0]):
        sites = slice(block * lanes.SITES, (block + 1) * lanes.SITES)
        for r in range(replicas):
            lanes.fields(state.tiles[block], S[r], state.H)
            accepted[r] += lanes.settle_block(
                state.H, state.limits[r, sites], sigma[r, sites], state.gram[block], rows[sites], S[r]
            )
    for r in range(replicas):
        for i in range(whole, N):
            if (pair_field(rows[i], S[r]) > state.limits[r, i]) != (sigma[r, i] > 0):
                flip(state, sigma, r, i)
                accepted[r] += 1


def sign_rows_rebuild(state, sigma, r):
    multiply(state.rows, sigma[r], state.S[r])
    sign_rows_move(state, r, 0, 0)


@njit(fastmath=_REASSOCIATE)
def sign_rows_move(state, r, i, change):
    """Add `change` times row i to S, and evaluate A and B there."""
    row, S, A, change, N = state.rows[i], state.S[r], state.A[r], np.int32(change), state.rows.shape[0]
    if state.cubic_A.size:
        a_0, a_1, a_2, a_3 = state.cubic_A
        b_0, b_1, b_2, _ = state.cubic_B
        sum_x, sum_squares = 0.0, 0.0
        for k in range(S.size):
            S[k] += change * row[k]
            x = A.dtype.type(S[k])
            square = x * x
            A[k] = (a_0 + a_2 * square) + x * (a_1 + a_3 * square)
            sum_x += x
            sum_squares += square
        state.B[r] = b_0 * S.size + b_1 * sum_x + b_2 * sum_squares
        return
    total = 0.0
    # Indices without a sign, which need no look whether to count from the end; a loop a table.
    for k in range(S.size):
        S[k] += change * row[k]
    for k in range(S.size):
        A[k] = state.table_A[np.uint64(S[k] + N)]
    for k in range(S.size):
        total += state.table_B[np.uint64(S[k] + N)]
    state.B[r] = total


def sign_rows_flip_energy(state, sigma, r, i):
    row, A, total = state.rows[i], state.A[r], 0.0
    for start in range(0, A.size, LONG_BLOCK):
        entries, factors = row[start : start + LONG_BLOCK], A[start : start + LONG_BLOCK]
        part = A.dtype.type(0)
        for k in range(factors.size):
            part += entries[k] * factors[k]
        total += part
    return state.prefactor * (sigma[r, i] * total - state.B[r])


def sign_rows_flip(state, sigma, r, i):
    sign_rows_move(state, r, i, -2 * sigma[r, i])
    sigma[r, i] = -sigma[r, i]


def sign_rows_energy(state, sigma, r):
    N = state.rows.shape[0]
    total = 0.0
    for k in range(state.S.shape[1]):
        total += state.table_F[state.S[r, k] + N]
    return -state.prefactor * total


def symmetric_rows_rebuild(state, sigma, r):
    e = state.e[r]
    e[:] = 0.0
    e[0] = 1.0
    for i in range(sigma.shape[1]):
        for order in range(e.shape[0] - 1, 0, -1):
            for k in range(e.shape[1]):
                e[order, k] += sigma[r, i] * state.rows[i, k] * e[order - 1, k]


def symmetric_rows_energy(state, sigma, r):
    return -state.prefactor * state.e[r, -1].sum()


def symmetric_rows_flip_energy(state, sigma, r, i):
    e, row, spin, total, P = state.e[r], state.rows[i], float(sigma[r, i]), 0.0, len(state.orders)
    for k in range(row.size):
        y, without = spin * row[k], 1.0
        # e_k of all sites but i, for k = 1 .. P - 1: e_k - y e_{k-1} of the same.
        for order in range(1, P):
            without = e[order, k] - y * without
        total += y * without
    return 2.0 * state.prefactor * total


def symmetric_rows_flip(state, sigma, r, i):
    e, row, spin, P = state.e[r], state.rows[i], float(sigma[r, i]), len(state.orders)
    for k in range(row.size):
        y, without = spin * row[k], 1.0
        for order in range(1, P + 1):
            shift = y * without
            without = e[order, k] - shift
            e[order, k] = without - shift
    sigma[r, i] = -sigma[r, i]


def power_rows_rebuild(state, sigma, r):
    multiply(state.rows, sigma[r], state.S[r])


def power_rows_flip_energy(state, sigma, r, i):
    S, row, twice, total, P = state.S[r], state.rows[i], 2.0 * sigma[r, i], 0.0, len(state.orders)
    for k in range(row.size):
        before, after = 1.0, 1.0
        for _ in range(P):
            before *= S[k]
            after *= S[k] - twice * row[k]
        total += before - after
    return state.prefactor * total


def power_rows_flip(state, sigma, r, i):
    S, row, twice = state.S[r], state.rows[i], 2.0 * sigma[r, i]
    for k in range(S.size):
        S[k] -= twice * row[k]
    sigma[r, i] = -sigma[r, i]


def power_rows_energy(state, sigma, r):
    total, P = 0.0, len(state.orders)
    for k in range(state.S.shape[1]):
        total += state.S[r, k] ** P
    return -state.prefactor * total


def exponent_rows_rebuild(state, sigma, r):
    multiply(state.rows, sigma[r], state.S[r])
    exponent_rows_weigh(state, r)


@njit
def exponent_rows_weigh(state, r):
    S, weights = state.S[r], state.weights[r]
    peak = state.scale * S.max()
    for k in range(S.size):
        weights[k] = math.exp(state.scale * S[k] - peak)
    state.peak[r] = peak


def exponent_rows_flip_energy(state, sigma, r, i):
    weights, row, spin, middle = state.weights[r], state.rows[i], int(sigma[r, i]), state.drop.size // 2
    total = 0.0
    for k in range(weights.size):
        total += weights[k] * state.drop[middle + spin * row[k]]
    return state.prefactor * total


def exponent_rows_flip(state, sigma, r, i):
    S, row, twice = state.S[r], state.rows[i], 2 * int(sigma[r, i])
    for k in range(S.size):
        S[k] -= twice * row[k]
    sigma[r, i] = -sigma[r, i]
    exponent_rows_weigh(state, r)


def exponent_rows_energy(state, sigma, r):
    return math.log(state.prefactor) + state.peak[r] + math.log(state.weights[r].sum())


def cached_fields_rebuild(state, sigma, r):
    multiply(state.couplings, sigma[r], state.fields[r])


def cached_fields_flip_energy(state, sigma, r, i):
    return 4.0 * state.prefactor * (sigma[r, i] * state.fields[r, i])


def cached_fields_flip(state, sigma, r, i):
    fields, row, twice = state.fields[r], state.couplings[i], 2 * int(sigma[r, i])
    for j in range(fields.size):
        fields[j] -= twice * row[j]
    sigma[r, i] = -sigma[r, i]


def cached_fields_energy(state, sigma, r):
    total = state.diagonal
    for i in range(sigma.shape[1]):
        total += sigma[r, i] * state.fields[r, i]
    return -state.prefactor * total


def cached_fields_sweep(state, sigma, chains, rule, scan, number, key, draws, accepted):
    if scan != ORDERED:
        one_by_one(state, sigma, chains, rule, scan, number, key, draws, accepted)
        return
    (replicas, N), limits = sigma.shape, draws.limits
    for r in range(replicas):
        fill_uniforms(draws.thresholds, number, chains.replica[r], chains.temperature[r], key)
        fill_bounds(limits, draws.thresholds, draws.scratch, rule, chains.beta[r], 4.0 * state.prefactor)
        to_limits(limits, sigma[r], state.squares, rule)
        accepted[r] = 0
        for group in range(N // lanes.LANES):
            accepted[r] += lanes.settle_fields(group, limits, sigma[r], state.couplings, state.fields[r])
        for i in range(N // lanes.LANES * lanes.LANES, N):
            if (state.fields[r, i] > limits[i]) != (sigma[r, i] > 0):
                flip(state, sigma, r, i)
                accepted[r] += 1


def unit_one(state, r):
    return 1.0


def unit_peak(state, r):
    return math.exp(state.peak[r])


@njit(fastmath=_REASSOCIATE)
def one_by_one(state, sigma, chains, rule, scan, number, key, draws, accepted):
    for r in range(sigma.shape[0]):
        replica, temperature = chains.replica[r], chains.temperature[r]
        fill_thresholds(draws.thresholds, draws.scratch, rule, number, replica, temperature, key)
        if scan == RANDOM:
            fill_sites(draws.sites, number, replica, temperature, key)
        accepted[r] = sweep_once(state, sigma, r, chains.beta[r], rule, scan, draws)


def sweep_apart(state, sigma, chains, rule, scan, number, key, draws, accepted):
    one_by_one(state, sigma, chains, rule, scan, number, key, draws, accepted)


VERBS = {
    PairRows: (pair_rows_rebuild, pair_rows_flip_energy, pair_rows_flip, pair_rows_energy, unit_one, sweep_apart),
    PairBlocks: (
        pair_rows_rebuild,
        pair_rows_flip_energy,
        pair_rows_flip,
        pair_rows_energy,
        unit_one,
        pair_blocks_sweep,
    ),
    SignRows: (sign_rows_rebuild, sign_rows_flip_energy, sign_rows_flip, sign_rows_energy, unit_one, sweep_apart),
    SymmetricRows: (
        symmetric_rows_rebuild,
        symmetric_rows_flip_energy,
        symmetric_rows_flip,
        symmetric_rows_energy,
        unit_one,
        sweep_apart,
    ),
    PowerRows: (
        power_rows_rebuild,
        power_rows_flip_energy,
        power_rows_flip,
        power_rows_energy,
        unit_one,
        sweep_apart,
    ),
    ExponentRows: (
        exponent_rows_rebuild,
        exponent_rows_flip_energy,
        exponent_rows_flip,
        exponent_rows_energy,
        unit_peak,
        sweep_apart,
    ),
    CachedFields: (
        cached_fields_rebuild,
        cached_fields_flip_energy,
        cached_fields_flip,
        cached_fields_energy,
        unit_one,
        cached_fields_sweep,
    ),
}


def rebuild(state, sigma, r):
    """Compute everything that `state` keeps about replica r from its spins."""
    raise NotImplementedError


def flip_energy(state, sigma, r, i):
    """Energy that flipping spin i of replica r costs, in units of `unit`."""
    raise NotImplementedError


def flip(state, sigma, r, i):
    """Flip spin i of replica r."""
    raise NotImplementedError


def energy(state, sigma, r):
    """Energy H of replica r; ln(-H) for the exponential interaction."""
    raise NotImplementedError


def unit(state, r):
    """Energy unit of `flip_energy`: 1, or the exponential of the largest exponent."""
    raise NotImplementedError


def sweep(state, sigma, chains, rule, scan, number, key, draws, accepted):
    """Update every spin of every chain once, in the sweep of this number; `accepted` receives how many flipped."""
    raise NotImplementedError


_OPTIONS = {"fastmath": _REASSOCIATE}


@overload(rebuild, jit_options=_OPTIONS)
def _rebuild(state, sigma, r):
    return VERBS[state.instance_class][0]


@overload(flip_energy, jit_options=_OPTIONS)
def _flip_energy(state, sigma, r, i):
    return VERBS[state.instance_class][1]


@overload(flip, jit_options=_OPTIONS)
def _flip(state, sigma, r, i):
    return VERBS[state.instance_class][2]


@overload(energy, jit_options=_OPTIONS)
def _energy(state, sigma, r):
    return VERBS[state.instance_class][3]


@overload(unit, jit_options=_OPTIONS)
def _unit(state, r):
    return VERBS[state.instance_class][4]


@overload(sweep, jit_options=_OPTIONS)
def _sweep(state, sigma, chains, rule, scan, number, key, draws, accepted):
    if state.instance_class is CachedFields and state[CachedFields._fields.index("fields")].dtype not in LANE_TYPES:
        return sweep_apart
    return VERBS[state.instance_class][5]


@njit(error_model="numpy")
def logarithms(values, exponents):
    """Replace numbers from 0 to 2^53 by their logarithms, to 4e-16 of them or of 1; 0 by -709. `exponents` is scratch.

    Each is 2^e m with m between sqrt(1/2) and sqrt(2), and ln m = 2 artanh s, s = (m - 1)/(m + 1). No branches and
    no calls (nor errors of division): the compiler does several numbers at once.
    """
    words = values.view(np.int64)
    for k in range(values.size):
        e = (words[k] - _SQUARE_ROOT_OF_HALF) >> 52
        words[k] -= e << 52
        exponents[k] = e
    for k in range(values.size):
        s = (values[k] - 1.0) / (values[k] + 1.0)
        z = s * s
        high = (((z * (1 / 21) + 1 / 19) * z + 1 / 17) * z + 1 / 15) * z + 1 / 13
        series = ((((high * z + 1 / 11) * z + 1 / 9) * z + 1 / 7) * z + 1 / 5) * z + 1 / 3
        values[k] = exponents[k] * _LN_2 + 2.0 * (s + s * z * series)


@njit(inline="always")
def to_thresholds(draws, scratch, rule):
    """Replace uniform numbers u by what `flips` compares costs to.

    Glauber: ln(u / (1 - u)), for the new spin is +1 if u < P(+1), whatever the old one, so that replicas driven by
    the same u coalesce. Metropolis: -ln u.
    """
    if rule == GLAUBER:
        for k in range(draws.size):
            draws[k] /= 1.0 - draws[k]
    logarithms(draws, scratch)
    if rule == METROPOLIS:
        for k in range(draws.size):
            draws[k] = -draws[k]


@njit(error_model="numpy")
def fill_thresholds(out, scratch, rule, sweep, replica, temperature, key):
    """Fill `out` with the thresholds of one sweep; a descent has none."""
    if rule == DESCENT:
        return
    fill_uniforms(out, sweep, replica, temperature, key)
    to_thresholds(out, scratch, rule)


@njit(error_model="numpy")
def fill_bounds(out, draws, scratch, rule, beta, unit):
    """Fill `out` with what decides on integers n as `flips` decides on the costs beta (unit n), from uniform numbers.

    Heat bath: the largest n that leaves the spin down; else the smallest n whose flip is refused; neither beyond
    LARGEST_FIELD. Most follow from logarithms of single precision; where their error leaves a doubt, `draws` are
    replaced by thresholds of double precision, which decide.
    """
    if rule == DESCENT:
        out[:] = 0
        return
    fill_rough_bounds(out, draws, scratch.view(np.float32), rule, 1.0 / (beta * unit))
    for start in range(0, out.size, lanes.STEP):
        stop = min(start + lanes.STEP, out.size)
        if stop - start < lanes.STEP or lanes.contains(out[start:stop], _OPEN):
            to_thresholds(draws[start:stop], scratch[start:stop], rule)
            fill_exact_bounds(out[start:stop], draws[start:stop], rule, beta, unit)


@njit(error_model="numpy", fastmath={"contract"})
def fill_rough_bounds(out, draws, scratch, rule, scale):
    """Fill `out` with bounds, or with _OPEN where single precision does not tell; `scratch` has two numbers each."""
    values, exponents = scratch[: out.size], scratch[out.size : 2 * out.size]
    words, unit = values.view(np.int32), np.float32(scale if rule == GLAUBER else -scale)
    for k in range(values.size):
        values[k] = np.float32(draws[k]) / np.float32(1.0 - draws[k]) if rule == GLAUBER else np.float32(draws[k])
    for k in range(values.size):
        e = np.int32(np.int32(words[k] - _SQUARE_ROOT_OF_HALF_32) >> _MANTISSA_32)
        words[k] = np.int32(words[k] - np.int32(e << _MANTISSA_32))
        exponents[k] = e
    upper = np.float32(0 if rule == GLAUBER else 1)
    for k in range(values.size):
        s = (values[k] - np.float32(1)) / (values[k] + np.float32(1))
        z = s * s
        series = ((z * np.float32(1 / 9) + np.float32(1 / 7)) * z + np.float32(1 / 5)) * z + np.float32(1 / 3)
        n = unit * (exponents[k] * np.float32(_LN_2) + np.float32(2) * (s + s * z * series))
        below = np.floor(n)
        error = (abs(unit) + abs(n)) * _ERROR_32
        # The number zero has the least exponent.
        known = (n - below > error) & (n - below < np.float32(1) - error) & (exponents[k] > np.float32(-64))
        out[k] = np.int32(below + upper) if known else _OPEN


@njit(error_model="numpy")
def fill_exact_bounds(out, thresholds, rule, beta, unit):
    """Fill `out` with the bounds that follow from thresholds, by the very products of `flips`."""
    upper, lower = (1, 0) if rule == GLAUBER else (0, -1)
    scale = 1.0 / (beta * unit)
    for k in range(out.size):
        threshold = thresholds[k]
        bound = 0.0 if threshold == 0.0 else np.floor(threshold * scale) - lower
        bound = min(max(bound, -float(LARGEST_FIELD)), float(LARGEST_FIELD))
        above, below = reduced(beta, 1.0, unit * (bound + upper)), reduced(beta, 1.0, unit * (bound + lower))
        if rule == GLAUBER:
            bound += 0.0 if above > threshold else 1.0
            bound -= 1.0 if below > threshold else 0.0
        else:
            bound += 1.0 if above < threshold else 0.0
            bound -= 0.0 if below < threshold else 1.0
        out[k] = np.int32(min(max(bound, -float(LARGEST_FIELD)), float(LARGEST_FIELD)))


@njit
def to_limits(bounds, spins, squares, rule):
    """Replace bounds by limits: a spin flips unless it agrees with whether its field, own part included, exceeds it."""
    if rule == GLAUBER:
        for i in range(bounds.size):
            bounds[i] += spins[i] * squares[i]
    else:
        for i in range(bounds.size):
            bounds[i] = spins[i] * (bounds[i] + squares[i]) - (spins[i] > 0)


@njit(inline="always")
def flips(rule, x, spin, threshold):
    """Decide whether a flip that costs x = beta Delta H happens; T = 0 (x infinite or 0) is the limit of each rule."""
    if rule == GLAUBER:
        return x <= threshold if spin > 0 else -x > threshold
    if rule == METROPOLIS:
        return x < threshold
    return x < 0.0


@njit(inline="always")
def reduced(beta, scale, cost):
    """Beta times a flip energy, 0 if that is 0 even where beta or the energy unit is infinite."""
    return 0.0 if cost == 0.0 else beta * scale * cost


@cached_njit()
def fill_squares(out, rows):
    """Fill `out` with the sum of the squares of the entries of each site."""
    for i in range(out.size):
        out[i] = 0
        for k in range(rows.shape[1]):
            out[i] += np.int64(rows[i, k]) * np.int64(rows[i, k])


@cached_njit()
def fill_tiles(out, rows):
    """Fill the tiles of PairBlocks with the entries of rows."""
    blocks, vectors, length, sites, width = out.shape
    for block in range(blocks):
        for v in range(vectors):
            for lane in range(sites):
                row = rows[(block * vectors + v) * sites + lane]
                for k in range(length):
                    for p in range(width):
                        out[block, v, k, lane, p] = row[k * width + p]


@cached_njit()
def fill_gram(out, rows):
    """Fill `out` with twice the scalar products of the rows of each block, as PairBlocks has them."""
    blocks, sites, _, width = out.shape
    for block in range(blocks):
        for a in range(sites):
            for b in range(a + 1):
                product = 2 * pair_field(rows[block * sites + a], rows[block * sites + b])
                out[block, a, b // width, b % width] = product
                out[block, b, a // width, a % width] = product


@cached_njit()
def build(state, sigma):
    """Rebuild the state of every replica."""
    for r in range(sigma.shape[0]):
        rebuild(state, sigma, r)


@cached_njit()
def flip_energies(state, sigma, r):
    """Return the energy that each single flip costs in replica r, in units of `unit`, and that unit."""
    costs = np.empty(sigma.shape[1])
    for i in range(costs.size):
        costs[i] = flip_energy(state, sigma, r, i)
    return costs, unit(state, r)


@njit
def sweep_once(state, sigma, r, beta, rule, scan, draws):
    """Update every spin of replica r once, with one threshold each; return how many flipped."""
    N, accepted = sigma.shape[1], 0
    if scan == SYNCHRONOUS:
        for i in range(N):
            x = reduced(beta, unit(state, r), flip_energy(state, sigma, r, i))
            draws.chosen[i] = flips(rule, x, sigma[r, i], draws.thresholds[i])
        for i in range(N):
            if draws.chosen[i]:
                flip(state, sigma, r, i)
                accepted += 1
        return accepted
    for update in range(N):
        i = draws.sites[update]
        x = reduced(beta, unit(state, r), flip_energy(state, sigma, r, i))
        if flips(rule, x, sigma[r, i], draws.thresholds[update]):
            flip(state, sigma, r, i)
            accepted += 1
    return accepted


@njit
def new_draws(N):
    """Return scratch for the sweeps of N spins, the sites in order."""
    sites = np.arange(N).astype(np.uint32)
    return Draws(np.empty(N), np.empty(N), np.empty(N, dtype=np.int32), sites, np.empty(N, dtype=np.bool_))


@njit
def overlap(a, b):
    """Overlap of a spin configuration with another, or with a vector of integers."""
    total = 0
    for i in range(a.size):
        total += a[i] * b[i]
    return total / a.size


@cached_njit()
def run(state, sigma, chains, rule, scan, first_sweep, key, probes, units, record, overlaps, xi, sums, configurations):
    """Sweep all chains side by side and record observables after each sweep.

    Parameters
    ----------
    state, sigma
        State, and spins (chains, N) int8; both are advanced in place.
    chains : Chains
        Temperatures and replicas; the replicas of a temperature follow each other.
    rule, scan
        Codes of the dynamics.
    first_sweep, key
        Address of the random numbers.
    probes : (2, N) int64
        Archetype and learned pattern whose overlaps m and n are recorded.
    units : (2,) float64
        What these integers are multiplied by.
    record : (sweeps, 4, chains) float64
        Receives m, n, the energy and the fraction of accepted flips.
    overlaps : (sweeps, temperatures, pairs) float64
        Receives q_ab of the replicas a < b of each temperature.
    xi, sums : (N, K) int8, (chains, K) int64
        If not empty, N m_mu summed over the sweeps is added to `sums`.
    configurations : (sweeps, chains, N) int8
        If not empty, receives the spins.

    Returns
    -------
    int
        Sweeps done: fewer than asked if an ordered descent reached a fixed point,
        whose observables then fill the rest of the record.
    """
    count, N = sigma.shape
    replicas = count // overlaps.shape[1]
    draws, accepted = new_draws(N), np.zeros(count, dtype=np.int64)
    products = np.empty(sums.shape[1], dtype=np.int64)
    done = record.shape[0]
    for t in range(record.shape[0]):
        sweep(state, sigma, chains, rule, scan, first_sweep + t, key, draws, accepted)
        for r in range(count):
            record[t, 0, r] = overlap(sigma[r], probes[0]) * units[0]
            record[t, 1, r] = overlap(sigma[r], probes[1]) * units[1]
            record[t, 2, r], record[t, 3, r] = energy(state, sigma, r), accepted[r] / N
            if products.size:
                multiply(xi, sigma[r], products)
                sums[r] += products
            if configurations.size:
                configurations[t, r] = sigma[r]
        for j in range(overlaps.shape[1]):
            record_overlaps(sigma[j * replicas : (j + 1) * replicas], overlaps[t, j])
        if rule == DESCENT and scan == ORDERED and not accepted.any():
            done = t + 1
            break
    for t in range(done, record.shape[0]):
        record[t], overlaps[t] = record[done - 1], overlaps[done - 1]
        if products.size:
            for r in range(count):
                multiply(xi, sigma[r], products)
                sums[r] += products
        if configurations.size:
            configurations[t] = configurations[done - 1]
    return done


@njit
def record_overlaps(sigma, out):
    """Fill `out` with the overlaps of all pairs of configurations."""
    pair = 0
    for a in range(sigma.shape[0]):
        for b in range(a + 1, sigma.shape[0]):
            out[pair] = overlap(sigma[a], sigma[b])
            pair += 1


@cached_njit()
def temper(
    state,
    sigma,
    betas,
    rule,
    scan,
    first_sweep,
    temperatures,
    key,
    exchange_key,
    probes,
    units,
    holder,
    record,
    overlaps,
    exchanges,
):
    """Sweep ladders of replicas at several temperatures, which neighbours exchange after every sweep.

    Pairs of neighbouring temperatures (even and odd ones in turn) exchange with probability
    min(1, exp[(beta_j - beta_k)(E_j - E_k)]). A replica's random numbers are those that `run`
    would give replica `ladder` at its present temperature.

    Parameters
    ----------
    state, sigma
        State, and spins (ladders * J, N) int8; both are advanced in place.
    betas : (J,) float64
        Inverse temperatures, finite.
    rule, scan
        Codes of the dynamics.
    first_sweep, temperatures, key, exchange_key
        Address of the random numbers; a word a temperature.
    probes, units : (2, N) int64, (2,) float64
        Archetype and learned pattern whose overlaps m and n are recorded, as in `run`.
    holder : (ladders, J) int64
        Row of `sigma` that has temperature j; advanced in place.
    record : (sweeps, 5, J, ladders) float64
        Receives m, n, the energy, the fraction of accepted flips, and which row of `sigma` this is.
    overlaps : (sweeps, J, pairs) float64
        Receives q_ab of ladders a < b at each temperature.
    exchanges : (2, J - 1) int64
        Exchanges done and tried are added to it.
    """
    ladders, J = holder.shape
    N = sigma.shape[1]
    draws, accepted = new_draws(N), np.zeros(ladders * J, dtype=np.int64)
    chains = Chains(np.empty(ladders * J), np.empty(ladders * J, np.uint32), np.empty(ladders * J, np.uint32))
    together, energies, swaps = np.empty((ladders, N), np.int8), np.empty(J), np.empty(J)
    for t in range(record.shape[0]):
        for a in range(ladders):
            for j in range(J):
                r = holder[a, j]
                chains.beta[r], chains.temperature[r], chains.replica[r] = betas[j], temperatures[j], a
        sweep(state, sigma, chains, rule, scan, first_sweep + t, key, draws, accepted)
        for a in range(ladders):
            for j in range(J):
                r = holder[a, j]
                energies[j] = energy(state, sigma, r)
                record[t, 0, j, a] = overlap(sigma[r], probes[0]) * units[0]
                record[t, 1, j, a] = overlap(sigma[r], probes[1]) * units[1]
                record[t, 2, j, a], record[t, 3, j, a], record[t, 4, j, a] = energies[j], accepted[r] / N, r
            fill_uniforms(swaps, first_sweep + t, a, 0, exchange_key)
            for j in range((first_sweep + t) % 2, J - 1, 2):
                exchanges[1, j] += 1
                x = (betas[j] - betas[j + 1]) * (energies[j] - energies[j + 1])
                if x >= 0.0 or swaps[j] < math.exp(x):
                    holder[a, j], holder[a, j + 1] = holder[a, j + 1], holder[a, j]
                    exchanges[0, j] += 1
        for j in range(J if ladders > 1 else 0):
            for a in range(ladders):
                together[a] = sigma[int(record[t, 4, j, a])]
            record_overlaps(together, overlaps[t, j])
