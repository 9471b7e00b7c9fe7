r"""CUDA kernels: a block of threads runs one chain, one replica of one sample at one temperature.

The law is that of `sim.glauber.kernels`: the same uniform numbers, thresholds and rules, which the functions of that
file compute here too. The threads of a block share the entries of a row, thread t has those numbered t, t + width, ...
(consecutive threads read consecutive entries), and what the chain keeps about the row with this number; their parts of
a sum meet in shared memory. Sums do not depend on what else is launched: neither does a result.

The kinds of state are those of `kernels`, of all chains of several samples: what belongs to a sample has a leading axis
of samples, what belongs to a chain one of chains. Each has six verbs on the part of a chain, its view: view, rebuild,
flip_energy, flip, energy, unit. Scalar products S and their functions A are copied to shared memory, where they fit.
"""

# ruff: noqa: D101, D103
# mypy: disable-error-code="no-untyped-def"
import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import cuda, float32, float64, int32, njit, uint32, uint64

from sim.glauber.kernels import DESCENT, ORDERED, RANDOM, SYNCHRONOUS, flips, reduced, to_thresholds
from sim.random import philox
from sim.random import unit as uniform

# Bytes of shared memory that a block may ask for, beside what every block has.
SHARED = 40 * 1024


class PairRows(NamedTuple):
    """As `kernels.PairRows`."""

    rows: Any  # (samples, N, L)
    S: Any  # (chains, L) int32
    squares: Any  # (samples, N) int64
    prefactor: float
    diagonal: Any  # (samples,) float64


class SignRows(NamedTuple):
    """As `kernels.SignRows`."""

    rows: Any  # (samples, N, L) int8
    S: Any  # (chains, L) int32
    A: Any  # (chains, L) float32 or float64
    B: Any  # (chains,) float64
    table_A: Any  # (2 N + 1,)
    table_B: Any
    table_F: Any
    prefactor: float


class SymmetricRows(NamedTuple):
    """As `kernels.SymmetricRows`."""

    rows: Any  # (samples, N, L)
    e: Any  # (chains, P + 1, L) float64
    prefactor: float


class PowerRows(NamedTuple):
    """As `kernels.PowerRows`."""

    rows: Any  # (samples, N, L)
    S: Any  # (chains, L) float64
    P: int
    prefactor: float


class ExponentRows(NamedTuple):
    """As `kernels.ExponentRows`."""

    rows: Any  # (samples, N, L)
    S: Any  # (chains, L) int32
    weights: Any  # (chains, L) float64
    peak: Any  # (chains,) float64
    drop: Any  # at y + (len - 1) / 2
    scale: float
    prefactor: float


class CachedFields(NamedTuple):
    """As `kernels.CachedFields`."""

    couplings: Any  # (samples, N, N)
    fields: Any  # (chains, N)
    prefactor: float
    diagonal: Any  # (samples,) float64


class Chains(NamedTuple):
    """What distinguishes the chains of a launch; arrays of shape (chains,) but for the keys."""

    sample: Any  # int32
    beta: Any  # float64
    temperature: Any  # uint32: word of the counters
    replica: Any  # uint32
    keys: Any  # (samples, 2) uint32


@njit(inline="always")
def uniforms(pair, sweep, replica, temperature, k0, k1):
    """Return two uniform numbers, as `sim.random.fill_uniforms` has them at 2 `pair`."""
    counter = uint64(pair), uint64(sweep), uint64(replica), uint64(temperature)
    w0, w1, w2, w3 = philox(counter[0], counter[1], counter[2], counter[3], uint64(k0), uint64(k1))
    return uniform(w0, w1), uniform(w2, w3)


@njit(inline="always")
def site(update, N, sweep, replica, temperature, k0, k1):
    """Return the site of an update of a random scan, as `sim.random.fill_sites` has it."""
    counter = uint64(update) + uint64(0x80000000), uint64(sweep), uint64(replica), uint64(temperature)
    word, _, _, _ = philox(counter[0], counter[1], counter[2], counter[3], uint64(k0), uint64(k1))
    return uint32((word * uint64(N)) >> uint64(32))


@cuda.jit(device=True)
def add_up(part, scratch):
    """Return the sum of the parts of all threads, to each of them."""
    t, half = cuda.threadIdx.x, cuda.blockDim.x // 2
    # The sum before has been read by all.
    cuda.syncthreads()
    scratch[t] = part
    cuda.syncthreads()
    while half > 0:
        if t < half:
            scratch[t] += scratch[t + half]
        cuda.syncthreads()
        half //= 2
    return scratch[0]


@cuda.jit(device=True)
def largest(part, scratch):
    """Return the largest of the parts of all threads, to each of them."""
    t, half = cuda.threadIdx.x, cuda.blockDim.x // 2
    cuda.syncthreads()
    scratch[t] = part
    cuda.syncthreads()
    while half > 0:
        if t < half:
            scratch[t] = max(scratch[t], scratch[t + half])
        cuda.syncthreads()
        half //= 2
    return scratch[0]


@cuda.jit(device=True)
def multiply(rows, spins, out):
    """Fill this thread's part of `out` with the scalar products of the spins with the rows (site, row)."""
    for k in range(cuda.threadIdx.x, out.size, cuda.blockDim.x):
        total = out.dtype.type(0)
        for i in range(spins.size):
            total += spins[i] * rows[i, k]
        out[k] = total


@cuda.jit(device=True)
def copy(source, target):
    """Copy this thread's part of a vector."""
    for k in range(cuda.threadIdx.x, target.size, cuda.blockDim.x):
        target[k] = source[k]


@cuda.jit(device=True)
def unit_one(view):
    return 1.0


class PairView(NamedTuple):
    rows: Any
    S: Any
    squares: Any
    prefactor: float
    diagonal: float


@cuda.jit(device=True)
def pair_view(state, c, sample, local):
    S = cuda.shared.array(0, int32)[: state.S.shape[1]] if local else state.S[c]
    return PairView(state.rows[sample], S, state.squares[sample], state.prefactor, state.diagonal[sample])


@cuda.jit(device=True)
def pair_fetch(state, view, c):
    copy(state.S[c], view.S)


@cuda.jit(device=True)
def pair_keep(state, view, c):
    copy(view.S, state.S[c])


@cuda.jit(device=True)
def pair_rebuild(view, spins, scratch):
    multiply(view.rows, spins, view.S)


@cuda.jit(device=True)
def pair_flip_energy(view, spin, i, scratch):
    row, S, total = view.rows[i], view.S, np.int32(0)
    for k in range(cuda.threadIdx.x, S.size, cuda.blockDim.x):
        total = np.int32(total + np.int32(np.int32(row[k]) * S[k]))
    # Integers of 32 bits are exact in the double precision of the scratch memory.
    return 4.0 * view.prefactor * (spin * add_up(float(total), scratch) - view.squares[i])


@cuda.jit(device=True)
def pair_flip(view, spin, i, scratch):
    row, S, change = view.rows[i], view.S, np.int32(-2 * spin)
    for k in range(cuda.threadIdx.x, S.size, cuda.blockDim.x):
        S[k] = np.int32(S[k] + change * np.int32(row[k]))


@cuda.jit(device=True)
def pair_energy(view, spins, scratch):
    total = 0.0
    for k in range(cuda.threadIdx.x, view.S.size, cuda.blockDim.x):
        total += float(view.S[k]) * float(view.S[k])
    return -view.prefactor * (add_up(total, scratch) - view.diagonal)


class SignView(NamedTuple):
    rows: Any
    S: Any
    A: Any
    B: Any
    table_A: Any
    table_B: Any
    table_F: Any
    prefactor: float


def sign_verbs(real):
    """Return the verbs of rows of signs whose functions A are of a type of real numbers."""
    words = real.bitwidth // 32

    @cuda.jit(device=True)
    def view(state, c, sample, local):
        L = state.S.shape[1]
        A = cuda.shared.array(0, real)[:L] if local else state.A[c]
        S = cuda.shared.array(0, int32)[words * L : (words + 1) * L] if local else state.S[c]
        tables = state.table_A, state.table_B, state.table_F
        return SignView(state.rows[sample], S, A, state.B[c : c + 1], tables[0], tables[1], tables[2], state.prefactor)

    return view, sign_fetch, sign_keep, sign_rebuild, sign_flip_energy, sign_flip, sign_energy, unit_one


@cuda.jit(device=True)
def sign_fetch(state, view, c):
    copy(state.S[c], view.S)
    copy(state.A[c], view.A)


@cuda.jit(device=True)
def sign_keep(state, view, c):
    copy(view.S, state.S[c])
    copy(view.A, state.A[c])


@cuda.jit(device=True)
def sign_tabulate(view, scratch):
    N, total = view.rows.shape[0], 0.0
    for k in range(cuda.threadIdx.x, view.S.size, cuda.blockDim.x):
        at = view.S[k] + N
        view.A[k] = view.table_A[at]
        total += view.table_B[at]
    total = add_up(total, scratch)
    if cuda.threadIdx.x == 0:
        view.B[0] = total


@cuda.jit(device=True)
def sign_rebuild(view, spins, scratch):
    multiply(view.rows, spins, view.S)
    sign_tabulate(view, scratch)


@cuda.jit(device=True)
def sign_flip_energy(view, spin, i, scratch):
    row, A, part = view.rows[i], view.A, view.A.dtype.type(0)
    for k in range(cuda.threadIdx.x, A.size, cuda.blockDim.x):
        part += row[k] * A[k]
    return view.prefactor * (spin * add_up(float(part), scratch) - view.B[0])


@cuda.jit(device=True)
def sign_flip(view, spin, i, scratch):
    row, S, change = view.rows[i], view.S, np.int32(-2 * spin)
    for k in range(cuda.threadIdx.x, S.size, cuda.blockDim.x):
        S[k] = np.int32(S[k] + change * np.int32(row[k]))
    sign_tabulate(view, scratch)


@cuda.jit(device=True)
def sign_energy(view, spins, scratch):
    N, total = view.rows.shape[0], 0.0
    for k in range(cuda.threadIdx.x, view.S.size, cuda.blockDim.x):
        total += view.table_F[view.S[k] + N]
    return -view.prefactor * add_up(total, scratch)


class SymmetricView(NamedTuple):
    rows: Any
    e: Any
    prefactor: float


@cuda.jit(device=True)
def symmetric_view(state, c, sample, local):
    return SymmetricView(state.rows[sample], state.e[c], state.prefactor)


@cuda.jit(device=True)
def in_place(state, view, c):
    """Fetch or keep nothing: the view is the chain's part of the state itself."""


@cuda.jit(device=True)
def symmetric_rebuild(view, spins, scratch):
    e = view.e
    for k in range(cuda.threadIdx.x, e.shape[1], cuda.blockDim.x):
        e[0, k] = 1.0
        for order in range(1, e.shape[0]):
            e[order, k] = 0.0
        for i in range(spins.size):
            y = float(spins[i] * view.rows[i, k])
            for order in range(e.shape[0] - 1, 0, -1):
                e[order, k] += y * e[order - 1, k]


@cuda.jit(device=True)
def symmetric_flip_energy(view, spin, i, scratch):
    e, row, total = view.e, view.rows[i], 0.0
    for k in range(cuda.threadIdx.x, e.shape[1], cuda.blockDim.x):
        # e_k of all sites but i, for k = 1 .. P - 1: e_k - y e_{k-1} of the same.
        y, without = float(spin * row[k]), 1.0
        for order in range(1, e.shape[0] - 1):
            without = e[order, k] - y * without
        total += y * without
    return 2.0 * view.prefactor * add_up(total, scratch)


@cuda.jit(device=True)
def symmetric_flip(view, spin, i, scratch):
    e, row = view.e, view.rows[i]
    for k in range(cuda.threadIdx.x, e.shape[1], cuda.blockDim.x):
        y, without = float(spin * row[k]), 1.0
        for order in range(1, e.shape[0]):
            shift = y * without
            without = e[order, k] - shift
            e[order, k] -= 2.0 * shift


@cuda.jit(device=True)
def symmetric_energy(view, spins, scratch):
    last, total = view.e.shape[0] - 1, 0.0
    for k in range(cuda.threadIdx.x, view.e.shape[1], cuda.blockDim.x):
        total += view.e[last, k]
    return -view.prefactor * add_up(total, scratch)


class PowerView(NamedTuple):
    rows: Any
    S: Any
    P: int
    prefactor: float


@cuda.jit(device=True)
def power_view(state, c, sample, local):
    return PowerView(state.rows[sample], state.S[c], state.P, state.prefactor)


@cuda.jit(device=True)
def power_rebuild(view, spins, scratch):
    multiply(view.rows, spins, view.S)


@cuda.jit(device=True)
def power_flip_energy(view, spin, i, scratch):
    S, row, total = view.S, view.rows[i], 0.0
    for k in range(cuda.threadIdx.x, S.size, cuda.blockDim.x):
        before, after = 1.0, 1.0
        shifted = S[k] - 2.0 * spin * row[k]
        for _ in range(view.P):
            before *= S[k]
            after *= shifted
        total += before - after
    return view.prefactor * add_up(total, scratch)


@cuda.jit(device=True)
def power_flip(view, spin, i, scratch):
    S, row = view.S, view.rows[i]
    for k in range(cuda.threadIdx.x, S.size, cuda.blockDim.x):
        S[k] -= 2.0 * spin * row[k]


@cuda.jit(device=True)
def power_energy(view, spins, scratch):
    total = 0.0
    for k in range(cuda.threadIdx.x, view.S.size, cuda.blockDim.x):
        power = 1.0
        for _ in range(view.P):
            power *= view.S[k]
        total += power
    return -view.prefactor * add_up(total, scratch)


class ExponentView(NamedTuple):
    rows: Any
    S: Any
    weights: Any
    peak: Any
    drop: Any
    scale: float
    prefactor: float


@cuda.jit(device=True)
def exponent_view(state, c, sample, local):
    peak = state.peak[c : c + 1]
    return ExponentView(
        state.rows[sample], state.S[c], state.weights[c], peak, state.drop, state.scale, state.prefactor
    )


@cuda.jit(device=True)
def exponent_weigh(view, scratch):
    S, highest = view.S, -math.inf
    for k in range(cuda.threadIdx.x, S.size, cuda.blockDim.x):
        highest = max(highest, float(S[k]))
    peak = view.scale * largest(highest, scratch)
    for k in range(cuda.threadIdx.x, S.size, cuda.blockDim.x):
        view.weights[k] = math.exp(view.scale * S[k] - peak)
    if cuda.threadIdx.x == 0:
        view.peak[0] = peak


@cuda.jit(device=True)
def exponent_rebuild(view, spins, scratch):
    multiply(view.rows, spins, view.S)
    exponent_weigh(view, scratch)


@cuda.jit(device=True)
def exponent_flip_energy(view, spin, i, scratch):
    row, middle, total = view.rows[i], view.drop.size // 2, 0.0
    for k in range(cuda.threadIdx.x, view.weights.size, cuda.blockDim.x):
        total += view.weights[k] * view.drop[middle + spin * row[k]]
    return view.prefactor * add_up(total, scratch)


@cuda.jit(device=True)
def exponent_flip(view, spin, i, scratch):
    row, S, change = view.rows[i], view.S, np.int32(-2 * spin)
    for k in range(cuda.threadIdx.x, S.size, cuda.blockDim.x):
        S[k] = np.int32(S[k] + change * np.int32(row[k]))
    exponent_weigh(view, scratch)


@cuda.jit(device=True)
def exponent_energy(view, spins, scratch):
    total = 0.0
    for k in range(cuda.threadIdx.x, view.weights.size, cuda.blockDim.x):
        total += view.weights[k]
    return math.log(view.prefactor) + view.peak[0] + math.log(add_up(total, scratch))


@cuda.jit(device=True)
def unit_peak(view):
    return math.exp(view.peak[0])


class FieldsView(NamedTuple):
    couplings: Any
    fields: Any
    prefactor: float
    diagonal: float


@cuda.jit(device=True)
def fields_view(state, c, sample, local):
    return FieldsView(state.couplings[sample], state.fields[c], state.prefactor, state.diagonal[sample])


@cuda.jit(device=True)
def fields_rebuild(view, spins, scratch):
    multiply(view.couplings, spins, view.fields)


@cuda.jit(device=True)
def fields_flip_energy(view, spin, i, scratch):
    return 4.0 * view.prefactor * float(spin * view.fields[i])


@cuda.jit(device=True)
def fields_flip(view, spin, i, scratch):
    fields, row, twice = view.fields, view.couplings[i], 2 * spin
    for j in range(cuda.threadIdx.x, fields.size, cuda.blockDim.x):
        fields[j] -= twice * row[j]


@cuda.jit(device=True)
def fields_energy(view, spins, scratch):
    total = 0.0
    for i in range(cuda.threadIdx.x, spins.size, cuda.blockDim.x):
        total += float(spins[i] * view.fields[i])
    return -view.prefactor * (view.diagonal + add_up(total, scratch))


_PAIR = pair_view, pair_fetch, pair_keep, pair_rebuild, pair_flip_energy, pair_flip, pair_energy, unit_one
_SYMMETRIC = symmetric_rebuild, symmetric_flip_energy, symmetric_flip, symmetric_energy, unit_one
_POWER = power_rebuild, power_flip_energy, power_flip, power_energy, unit_one
_EXPONENT = exponent_rebuild, exponent_flip_energy, exponent_flip, exponent_energy, unit_peak
_FIELDS = fields_rebuild, fields_flip_energy, fields_flip, fields_energy, unit_one
VERBS = {
    PairRows: lambda _: _PAIR,
    SignRows: sign_verbs,
    SymmetricRows: lambda _: (symmetric_view, in_place, in_place, *_SYMMETRIC),
    PowerRows: lambda _: (power_view, in_place, in_place, *_POWER),
    ExponentRows: lambda _: (exponent_view, in_place, in_place, *_EXPONENT),
    CachedFields: lambda _: (fields_view, in_place, in_place, *_FIELDS),
}


def shared_memory(state: Any) -> int:
    """Return the bytes of shared memory that hold S and A of a chain, 0 where they stay in global memory."""
    L = state.S.shape[1] if isinstance(state, PairRows | SignRows) else 0
    needed = L * (4 + (state.A.dtype.itemsize if isinstance(state, SignRows) else 0))
    return needed if needed <= SHARED else 0


def sweeper(state: Any, width: int) -> Any:
    """Return the kernel `run` of a kind of state, for blocks of a width: a number of threads that is a power of two."""
    return _sweeper(*_kind(state), width)


def coster(state: Any, width: int) -> Any:
    """Return the kernel `flip_energies` of a kind of state, as `sweeper`."""
    return _coster(*_kind(state), width)


def _kind(state: Any) -> tuple[Any, bool]:
    """Return what distinguishes the kernels of states: their kind, and whether functions A are in double precision."""
    return state.__class__, not isinstance(state, SignRows) or state.A.dtype == np.float64


@cache
def _coster(kind: Any, double: bool, threads: int) -> Any:
    view_of, _, _, rebuild, flip_energy, _, _, unit = VERBS[kind](float64 if double else float32)

    @cuda.jit
    def flip_energies(state, sigma, chains, local, costs, units):
        """Compute the energies that single flips cost: costs (chains, N), in units (chains,)."""
        scratch = cuda.shared.array(threads, float64)
        c = cuda.blockIdx.x
        spins, view = sigma[c], view_of(state, c, chains.sample[c], local)
        rebuild(view, spins, scratch)
        cuda.syncthreads()
        for i in range(spins.size):
            cost = flip_energy(view, int(spins[i]), i, scratch)
            if cuda.threadIdx.x == 0:
                costs[c, i] = cost
        if cuda.threadIdx.x == 0:
            units[c] = unit(view)

    return flip_energies


@cache
def _sweeper(kind: Any, double: bool, threads: int) -> Any:
    paired = 2 * threads
    view_of, fetch, keep, rebuild, flip_energy, flip, energy, unit = VERBS[kind](float64 if double else float32)

    @cuda.jit
    def run(state, sigma, chains, rule, scan, first, sweeps, anew, local, chosen, probes, record, trail):
        """Sweep each chain on its own, and record observables after each sweep.

        Parameters
        ----------
        state, sigma
            State, and spins (chains, N) int8; both are advanced in place.
        chains : Chains
            Samples, temperatures and random numbers of the chains.
        rule, scan
            Codes of the dynamics.
        first, sweeps
            Address of the first sweep, and how many are done.
        anew, local
            Whether the caches are built anew first, and whether they fit in shared memory.
        chosen : (chains, N) int8
            Scratch memory of synchronous updates.
        probes : (samples, 2, N) float64
            Archetypes and learned patterns, both as integers, whose overlaps are recorded.
        record : (sweeps, 4, chains) float64
            If not empty, receives m, n in its units, the energy and the fraction of accepted flips.
        trail : (sweeps, chains, N) int8
            If not empty, receives the spins.
        """
        scratch = cuda.shared.array(threads, float64)
        thresholds = cuda.shared.array(paired, float64)
        sites = cuda.shared.array(paired, uint32)
        draws = cuda.local.array(2, float64)
        exponents = cuda.local.array(2, float64)
        c, t, width = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
        spins, sample, beta = sigma[c], chains.sample[c], chains.beta[c]
        N = spins.size
        temperature, replica = chains.temperature[c], chains.replica[c]
        k0, k1 = chains.keys[sample, 0], chains.keys[sample, 1]
        view = view_of(state, c, sample, local)
        if anew:
            rebuild(view, spins, scratch)
        elif local:
            fetch(state, view, c)
        cuda.syncthreads()
        for sweep in range(sweeps):
            accepted = 0
            for start in range(0, N, 2 * width):
                # Two updates a thread: their thresholds, and sites.
                cuda.syncthreads()
                if rule != DESCENT and start + 2 * t < N:
                    draws[0], draws[1] = uniforms(start // 2 + t, first + sweep, replica, temperature, k0, k1)
                    to_thresholds(draws, exponents, rule)
                    thresholds[2 * t], thresholds[2 * t + 1] = draws[0], draws[1]
                for own in range(2 * t, 2 * t + 2):
                    sites[own] = start + own
                    if scan == RANDOM:
                        sites[own] = site(start + own, N, first + sweep, replica, temperature, k0, k1)
                cuda.syncthreads()
                for update in range(min(2 * width, N - start)):
                    i = sites[update]
                    spin = int(spins[i])
                    x = reduced(beta, unit(view), flip_energy(view, spin, i, scratch))
                    flipped = flips(rule, x, spin, thresholds[update])
                    if scan == SYNCHRONOUS:
                        if t == 0:
                            chosen[c, i] = flipped
                    elif flipped:
                        # All threads have read what now changes; and read it again when it has changed.
                        cuda.syncthreads()
                        flip(view, spin, i, scratch)
                        if t == 0:
                            spins[i] = -spin
                        cuda.syncthreads()
                        accepted += 1
            if scan == SYNCHRONOUS:
                cuda.syncthreads()
                for i in range(N):
                    if chosen[c, i]:
                        spin = int(spins[i])
                        cuda.syncthreads()
                        flip(view, spin, i, scratch)
                        if t == 0:
                            spins[i] = -spin
                        cuda.syncthreads()
                        accepted += 1
            if record.shape[0] > 0:
                m, n = 0.0, 0.0
                for i in range(t, N, width):
                    m += spins[i] * probes[sample, 0, i]
                    n += spins[i] * probes[sample, 1, i]
                m, n = add_up(m, scratch), add_up(n, scratch)
                level = energy(view, spins, scratch)
                if t == 0:
                    record[sweep, 0, c], record[sweep, 1, c] = m / N, n / N
                    record[sweep, 2, c], record[sweep, 3, c] = level, accepted / N
            if trail.shape[0] > 0:
                copy(spins, trail[sweep, c])
            if rule == DESCENT and scan == ORDERED and accepted == 0 and record.shape[0] == 0:
                break
        if local:
            keep(state, view, c)

    return run


@cuda.jit
def settle(fields, gram, squares, sums_B, sigma, change, chains, rule, sweep, start, size, scale, ordered, accepted):
    """Update the sites of a block in order, a thread a chain: what matrix products leave to do.

    Parameters
    ----------
    fields : (samples, block, C) float32 or float64
        Scalar products of the sites' rows with S (or A); later sites of the block are corrected for the flips.
    gram : (samples, block, block)
        Scalar products of the rows of the sites of the block with each other.
    squares, sums_B : (samples, N) and (samples, C) float64
        What does not belong to a flip energy: one is zero.
    sigma : (samples, N, C) int8
        Spins.
    change : (samples, block, C)
        Receives the change of every spin of the block, -2, 0 or 2.
    chains : Chains
        Temperatures and random numbers of the chains: of (samples, C) chains, in this order.
    rule, sweep
        Code of the dynamics and address of the sweep.
    start, size : int
        First site of the block, which is even, and the number of its sites.
    scale : float
        Energy of a flip in a field of one.
    ordered : bool
        Whether a site sees the flips before it.
    accepted : (samples * C,) int32
        Flips done are added to it.
    """
    draws = cuda.local.array(2, float64)
    exponents = cuda.local.array(2, float64)
    C = sigma.shape[2]
    for g in range(cuda.grid(1), accepted.size, cuda.gridsize(1)):
        s, c = g // C, g % C
        k0, k1 = chains.keys[s, 0], chains.keys[s, 1]
        for u in range(size):
            i = start + u
            if rule != DESCENT and u % 2 == 0:
                draws[0], draws[1] = uniforms(i // 2, sweep, chains.replica[g], chains.temperature[g], k0, k1)
                to_thresholds(draws, exponents, rule)
            spin = int(sigma[s, i, c])
            cost = scale * (spin * float(fields[s, u, c]) - (squares[s, i] + sums_B[s, c]))
            change[s, u, c] = 0
            if flips(rule, reduced(chains.beta[g], 1.0, cost), spin, draws[u % 2]):
                sigma[s, i, c] = -spin
                change[s, u, c] = -2 * spin
                accepted[g] += 1
                if ordered:
                    for v in range(u + 1, size):
                        fields[s, v, c] -= 2 * spin * gram[s, u, v]


@cuda.jit
def overlaps(sigma, probes, record, at):
    """Record the overlaps of each chain with its two probes, a thread a chain.

    Parameters
    ----------
    sigma : (samples, N, C) int8
        Spins.
    probes : (samples, 2, N) float64
        Archetypes and learned patterns, both as integers.
    record, at : (sweeps, 4, samples * C) float64, int
        Receives them at sweep `at`.
    """
    N, C = sigma.shape[1], sigma.shape[2]
    for g in range(cuda.grid(1), record.shape[2], cuda.gridsize(1)):
        s, c = g // C, g % C
        for probe in range(2):
            total = 0.0
            for i in range(N):
                total += sigma[s, i, c] * probes[s, probe, i]
            record[at, probe, g] = total / N
