"""Many chains on a GPU: samples, temperatures and replicas in one launch, as many as its memory takes.

A chain is one replica of one sample at one temperature. What is measured of it does not depend on what else is in its
batch. Two exact ways to run chains exist beside those of the CPU, see `choose`; both obey the law of
`sim.glauber.kernels` with the same random numbers.
"""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from hebbian import HebbianNetwork, QuenchedSample, validation
from sim.glauber import device, states
from sim.glauber.device import Device

ALGORITHMS = ("auto", "rows", "fields", "blocks")

# Sites of a block of "blocks": even, for two updates share a counter.
BLOCK = 64
# Sweeps of one launch at most: between launches the run can be interrupted.
_LAUNCH = 64
# Bytes of the spins that a launch leaves behind, where overlaps of replicas or configurations are wanted.
_TRAIL = 1 << 26

# Estimates for the choice of an algorithm, in seconds; none is measured on a card yet.
# An update by rows: sums across a block of threads wait for each other; and for each term of a thread.
_WAIT, _TERM = 1e-6, 5e-9
# Blocks of threads that a multiprocessor holds at once.
_RESIDENT = 16
# A launch, of which "blocks" needs four a block of sites; an update of a thread's chain; a term of a matrix product.
_START, _SETTLE, _PRODUCT = 1e-5, 4e-7, 1e-13
# An update on one core of a CPU, and each of its terms.
_CORE_UPDATE, _CORE_TERM = 1e-8, 1e-10


@dataclass(frozen=True)
class Problem:
    """What is simulated: some samples of one network, each at the same temperatures.

    Parameters
    ----------
    samples : sequence of QuenchedSample
        Samples of one model.
    starts : ndarray of int8, shape (samples, replicas, N)
        Initial spins.
    T : ndarray, shape (temperatures,)
        Temperatures.
    words : ndarray of uint32, shape (temperatures,)
        Words of the random numbers' counters.
    keys : ndarray of uint32, shape (samples, 2)
        Keys of the random numbers.
    probes : ndarray, shape (samples, 2, N)
        Archetypes and learned patterns, both as integers, whose overlaps are recorded.
    rule : int
        Code of the dynamics, see `sim.glauber.kernels`.
    scan : {"ordered", "random", "synchronous"}
        Order of the updates.
    anneal : bool
        Whether each temperature starts from where the one before ended.
    equilibration, sweeps : int
        Sweeps discarded and recorded.
    rebuild : int
        Sweeps after which the caches are built anew.
    everything, configurations : bool
        Whether overlaps with all archetypes are summed, and spins kept.
    algorithm : str
        How fields are computed: one of `ALGORITHMS`.
    """

    samples: Sequence[QuenchedSample]
    starts: NDArray[np.int8]
    T: NDArray[np.float64]
    words: NDArray[np.uint32]
    keys: NDArray[np.uint32]
    probes: NDArray[np.float64]
    rule: int
    scan: str
    anneal: bool
    equilibration: int
    sweeps: int
    rebuild: int
    everything: bool
    configurations: bool
    algorithm: str

    @property
    def replicas(self) -> int:
        """Replicas of each sample."""
        return self.starts.shape[1]

    @property
    def model(self) -> HebbianNetwork:
        """Network of all samples."""
        return self.samples[0].model

    @property
    def trails(self) -> bool:
        """Whether something is computed of the spins after each sweep."""
        return self.replicas > 1 or self.everything or self.configurations


class Measured(NamedTuple):
    """What the arguments of `kernels.run` with these names receive, for each sample and temperature."""

    record: NDArray[np.float64]  # (samples, temperatures, sweeps, 4, replicas)
    q: NDArray[np.float64]  # (samples, temperatures, sweeps, pairs)
    spins: NDArray[np.int8]  # (samples, temperatures, sweeps or 0, replicas, N)
    sums: NDArray[np.int64]  # (samples, temperatures, replicas, K or 0)


class Batch(NamedTuple):
    """The chains of a launch: a range of samples, and one of temperatures."""

    samples: slice
    temperatures: slice

    def halves(self) -> list["Batch"]:
        """Return two batches with half of the samples each, or of the temperatures; none if there is one of each."""
        for name, part in zip(self._fields, self, strict=True):
            if part.stop - part.start > 1:
                middle = (part.start + part.stop) // 2
                return [
                    self._replace(**{name: slice(part.start, middle)}),
                    self._replace(**{name: slice(middle, part.stop)}),
                ]
        return []


class Engine(Protocol):
    """The chains of a batch on the card."""

    def begin(self, spins: NDArray[np.int8] | None, beta: NDArray[np.float64], words: NDArray[np.uint32]) -> None:
        """Set the spins (chains, N), unless they are to stay, and the temperatures of all chains."""

    def advance(self, first: int, sweeps: int, anew: bool, measured: bool) -> tuple[Any, Any]:
        """Sweep; return record (sweeps, 4, chains) and, if wanted, spins (sweeps, chains, N), both on the card."""


def check_algorithm(model: HebbianNetwork, scan: str, algorithm: str) -> None:
    """Raise ValueError if an algorithm is unknown or impossible for a network and an order of updates."""
    if validation.choice("algorithm", algorithm, ALGORITHMS) != "blocks":
        states.check_algorithm(model, algorithm, scan)
        return
    if scan == "random":
        raise ValueError("algorithm = 'blocks' with scan = 'random', where chains share no site; allowed: 'rows'")
    L = states.number_of_rows(model)
    if scan == "ordered" and states.pair_type(model, L) is None:
        raise ValueError(
            f"algorithm = 'blocks' with scan = 'ordered' needs P = 2 and sums of rows below 2^31, "
            f"the model has P = {model.P}; allowed: 'rows'"
        )
    if scan == "synchronous" and not _linear(model, L):
        raise ValueError(
            "algorithm = 'blocks' with scan = 'synchronous' needs fields that are linear in the rows and exact in "
            f"double precision, those of {model} are not; allowed: 'rows'"
        )


def choose(model: HebbianNetwork, scan: str, algorithm: str, chains: int, multiprocessors: int) -> str:
    """Return how the fields of so many chains of a network are computed on a card.

    Parameters
    ----------
    model : HebbianNetwork
        Network.
    scan : {"ordered", "random", "synchronous"}
        Order of the updates.
    algorithm : {"auto", "rows", "fields", "blocks"}
        "rows": a block of threads a chain. "fields": the same with N x N couplings (P = 2). "blocks": the fields of
        blocks of sites of all chains by matrix products, corrected in turn for the flips inside the block (P = 2, sites
        in order); of all sites, if updates are synchronous. All are exact. "auto" takes the cheaper of rows and blocks:
        where rounding could tell them apart (P > 2), by the network alone.
    chains : int
        Chains side by side.
    multiprocessors : int
        Of the card.
    """
    if algorithm != "auto":
        return algorithm
    try:
        check_algorithm(model, scan, "blocks")
    except ValueError:
        return "rows"
    if model.P != 2:
        return "blocks"
    times = {name: _sweep_seconds(model, name, chains, multiprocessors) for name in ("rows", "blocks")}
    return min(times, key=lambda name: times[name])


def worthwhile(model: HebbianNetwork, scan: str, algorithm: str, chains: int, found: Device) -> bool:
    """Whether a card is expected to run so many chains twice as fast as one core, or more."""
    used = choose(model, scan, algorithm, chains, found.multiprocessors)
    L = model.N if used == "fields" else states.number_of_rows(model)
    core = chains * model.N * (_CORE_UPDATE + _CORE_TERM * L)
    return 2 * _sweep_seconds(model, used, chains, found.multiprocessors) < core


def run(problem: Problem) -> Measured:
    """Simulate, in as many batches as the memory of the card asks for.

    Raises
    ------
    MemoryError
        If one sample at one temperature does not fit (at all of them, if annealed), with the estimate.
    """
    found = device.find()
    n, J, R = len(problem.samples), len(problem.T), problem.replicas
    N, K = problem.model.N, len(problem.samples[0].xi) if problem.everything else 0
    measured = Measured(
        np.empty((n, J, problem.sweeps, 4, R)),
        np.empty((n, J, problem.sweeps, R * (R - 1) // 2)),
        np.empty((n, J, problem.sweeps if problem.configurations else 0, R, N), np.int8),
        np.zeros((n, J, R, K), np.int64),
    )
    waiting = batches(problem, found)
    while waiting:
        batch = waiting.pop(0)
        try:
            _run_batch(problem, batch, found, measured)
        except MemoryError as error:
            # What the failed batch held goes with the frames that the error remembers.
            error.__traceback__ = None
            halves = [] if problem.anneal and batch.samples.stop - batch.samples.start == 1 else batch.halves()
            found.release()
            if not halves:
                raise _too_large(problem, batch, found) from error
            waiting[:0] = halves
    return measured


def flip_energies(sample: QuenchedSample, spins: NDArray[np.int8], algorithm: str) -> tuple[NDArray[np.float64], float]:
    """Return the energy that each single flip costs, and its unit, as `kernels.flip_energies` of one replica."""
    from sim.glauber import chains

    return chains.flip_energies(sample, spins, algorithm, device.find())


class Footprint(NamedTuple):
    """Bytes on the card: once, of each sample, and of its chains at each temperature."""

    once: float
    sample: float
    temperature: float


def batches(problem: Problem, found: Device) -> list[Batch]:
    """Cut the chains into batches that are expected to fit in the memory of a card."""
    n, J = len(problem.samples), len(problem.T)
    needed, side_by_side = memory(problem, found), 1 if problem.anneal else J
    free = found.free_memory() - needed.once
    at_once = max(1, min(n, int(free / (needed.sample + side_by_side * needed.temperature))))
    width = J
    if at_once == 1 and not problem.anneal:
        width = max(1, min(J, int((free - needed.sample) / needed.temperature)))
    return [
        Batch(slice(s, min(s + at_once, n)), slice(t, min(t + width, J)))
        for s in range(0, n, at_once)
        for t in range(0, J, width)
    ]


def memory(problem: Problem, found: Device) -> Footprint:
    """Return the bytes that chains occupy on the card."""
    model, R = problem.model, problem.replicas
    N, L, J = model.N, float(problem.samples[0].rows.shape[0]), 1 if problem.anneal else len(problem.T)
    used = _algorithm(problem, J * R * len(problem.samples), found)
    pairs = states.pair_type(model, L) is not None
    if pairs:
        # Rows of pairs are filled up.
        L = math.ceil(L / 64) * 64.0
    rows = problem.samples[0].rows.dtype.itemsize * N * L
    once = float(_TRAIL) if problem.trails else 0.0
    # Spins, flips of synchronous updates, the record of a launch, spins left behind and as real numbers.
    own = 2.0 * N + 32 * _LAUNCH + (N * (1 + 4 * problem.everything) if problem.trails else 0)
    if used == "fields":
        # Couplings are integers, at most so large; one more matrix is on its way to the others.
        largest = L * float(np.abs(problem.samples[0].rows).max()) ** 2
        couplings = N * N * (2.0 if largest < 2**15 else 4.0 if largest < 2**31 else 8.0)
        return Footprint(once + couplings, couplings + 32 * N, R * (own + 8 * N))
    if used == "blocks":
        # Rows and their scalar products within a block; S, a copy, its change; and functions of S in double precision.
        real = exact_type(problem.samples[0], model.P == 2)(0).itemsize
        chain = own + (3 * real + 16) * L + 2 * real * BLOCK
        return Footprint(once, real * (N + BLOCK) * (L + BLOCK) + 32 * N, R * chain)
    # S in integers; S and A; all elementary symmetric polynomials; S in double precision; S and weights.
    cache = 12.0
    if pairs:
        cache = 4.0
    elif model.P is not None and not model.has_sign_rows:
        cache = 8.0 * (model.P + 1 if model.interaction == "distinct" else 1)
    # Tables of functions of S, if there are any.
    return Footprint(once + rows + 48 * N, rows + 32 * N, R * (own + cache * L))


def exact_type(sample: QuenchedSample, pairs: bool) -> type[np.floating[Any]]:
    """Return the type of real numbers in which products of a sample's matrices are exact integers.

    Single precision holds those below 2^24, and CuPy multiplies in it unless it is told to round more (CUPY_TF32).
    """
    L, N = sample.rows.shape
    entry = float(sample.model.examples or 1) if sample.model.training == "supervised" else 1.0
    small = pairs and L * entry * entry * N < 2**24
    return np.float32 if small and os.environ.get("CUPY_TF32", "0") == "0" else np.float64


def _linear(model: HebbianNetwork, L: float) -> bool:
    """Whether fields are linear in the rows, by functions whose sums over L rows are exact in double precision."""
    if model.P == 2 and states.pair_type(model, L) is not None:
        return True
    # A, B and F of a row are at most (N + 2)^P, and multiples of a half.
    return model.P is not None and model.has_sign_rows and L * float(model.N + 2) ** model.P < 2**52


def _sweep_seconds(model: HebbianNetwork, algorithm: str, chains: int, multiprocessors: int) -> float:
    """Return the estimate for a sweep of so many chains."""
    N, L = model.N, states.number_of_rows(model)
    if algorithm == "blocks":
        return math.ceil(N / BLOCK) * 4 * _START + N * _SETTLE + N * chains * 4 * L * _PRODUCT
    waves = math.ceil(chains / (_RESIDENT * multiprocessors))
    terms = 0.0 if algorithm == "fields" else L
    return _START + waves * N * (_WAIT + _TERM * terms / threads(terms))


def threads(L: float) -> int:
    """Return the threads of a block: a warp, which waits for nobody, up to 16 rows a thread; more with more rows."""
    return 32 if L <= 512 else 64 if L <= 1024 else 128 if L <= 4096 else 256


def _algorithm(problem: Problem, chains: int, found: Device) -> str:
    return choose(problem.model, problem.scan, problem.algorithm, chains, found.multiprocessors)


def _too_large(problem: Problem, batch: Batch, found: Device) -> MemoryError:
    needed = sum(memory(problem, found))
    return MemoryError(
        f"{problem.replicas} replica(s) of one sample of {problem.model} at one temperature need about "
        f"{needed / 2**30:.3g} GiB on {found.name}, {found.free_memory() / 2**30:.3g} GiB are free; allowed: what fits "
        "in its memory (fewer replicas, lower N, P, load or number of examples), or backend = 'cpu'"
    )


def _run_batch(problem: Problem, batch: Batch, found: Device, measured: Measured) -> None:
    """Simulate a batch, and put what is measured where it belongs."""
    R, N = problem.replicas, problem.model.N
    samples = problem.samples[batch.samples]
    temperatures = range(batch.temperatures.start, batch.temperatures.stop)
    # Annealed: one temperature after the other.
    legs = [[t] for t in temperatures] if problem.anneal else [list(temperatures)]
    width = len(legs[0])
    engine = _engine(problem, batch, width, found)
    xi = None
    if problem.everything:
        xi = found.xp.asarray(np.stack([sample.xi.T for sample in samples]), dtype=_exact(N))
    start = np.repeat(problem.starts[batch.samples, None], width, axis=1).reshape(-1, N)
    for number, leg in enumerate(legs):
        with np.errstate(divide="ignore"):
            beta = np.tile(np.repeat(1 / problem.T[leg], R), len(samples))
        engine.begin(start if number == 0 else None, beta, np.tile(np.repeat(problem.words[leg], R), len(samples)))
        for first, sweeps, anew in _stretches(0, problem.equilibration, problem, batch, width):
            engine.advance(first, sweeps, anew, False)
        for first, sweeps, anew in _stretches(problem.equilibration, problem.sweeps, problem, batch, width):
            record, spins = engine.advance(first, sweeps, anew, True)
            at = first - problem.equilibration
            shape = (sweeps, 4, len(samples), width, R)
            place = batch.samples, slice(leg[0], leg[-1] + 1), slice(at, at + sweeps)
            measured.record[place] = found.to_host(record).reshape(shape).transpose(2, 3, 0, 1, 4)
            if problem.trails:
                spins = spins.reshape(sweeps, len(samples), width, R, N)
                _observe(found, spins, xi, place, problem.configurations, measured)


def _observe(
    found: Device, spins: Any, xi: Any, place: tuple[slice, slice, slice], configurations: bool, measured: Measured
) -> None:
    """Add to what is measured what is a function of spins (sweeps, samples, temperatures, replicas, N) on the card."""
    R, N = spins.shape[3:]
    pair = 0
    for a in range(R):
        for b in range(a + 1, R):
            products = (spins[:, :, :, a] * spins[:, :, :, b]).sum(axis=-1, dtype=np.int64)
            measured.q[(*place, pair)] = found.to_host(products).transpose(1, 2, 0) / N
            pair += 1
    if xi is not None:
        sweeps, samples, J = spins.shape[:3]
        products = found.xp.matmul(spins.reshape(sweeps, samples, J * R, N).astype(xi.dtype), xi).astype(np.int64)
        measured.sums[place[:2]] += found.to_host(products.sum(axis=0)).reshape(samples, J, R, -1)
    if configurations:
        measured.spins[place] = found.to_host(spins).transpose(1, 2, 0, 3, 4)


def _exact(N: int) -> type[np.floating[Any]]:
    """Return a type of real numbers in which sums of N signs are exact, however a card multiplies matrices."""
    return np.float32 if N < 2**24 else np.float64


def _stretches(first: int, sweeps: int, problem: Problem, batch: Batch, width: int) -> Iterator[tuple[int, int, bool]]:
    """Yield the launches of some sweeps: (first sweep, sweeps, whether caches are built anew)."""
    chains = (batch.samples.stop - batch.samples.start) * width * problem.replicas
    longest = max(1, min(_LAUNCH, _TRAIL // (chains * problem.model.N))) if problem.trails else _LAUNCH
    for start in range(0, sweeps, problem.rebuild):
        end = min(start + problem.rebuild, sweeps)
        for launch in range(start, end, longest):
            yield first + launch, min(longest, end - launch), launch == start


def _engine(problem: Problem, batch: Batch, width: int, found: Device) -> Engine:
    # Not before a GPU is asked for: they import Numba's CUDA.
    from sim.glauber import chains, products

    number = (batch.samples.stop - batch.samples.start) * width * problem.replicas
    used = _algorithm(problem, number, found)
    if used == "blocks":
        return products.Blocks(problem, batch.samples, width, found)
    return chains.Rows(problem, batch.samples, width, used, found)
