"""From a quenched sample to the state a kernel runs on, by an algorithm chosen for its cost."""

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hebbian import HebbianNetwork, QuenchedSample, validation
from hebbian.interaction import sign_polynomial
from sim.glauber import kernels, lanes

ALGORITHMS = ("auto", "rows", "fields", "blocks")

# Couplings are summed over blocks of rows: a copy in double precision of all would fill the memory.
_BLOCK = 1 << 24
# Couplings of more spins (1 GiB while they are made) are kept on demand only. Not what is free: a choice
# that depends on the machine would be no part of the description of a run.
_LARGEST_N = 8192
# As many couplings as a processor keeps close by.
_CACHED = 1 << 23
# Chains of one state, which read its patterns together: more gain nothing. Bytes that the records of its temperatures
# may fill together.
_TOGETHER, _RECORDS = 64, 1 << 28
# Entries of rows that are filled up with zeros, to lengths that the vectors of a processor divide.
_STEP, _SHORTEST, _LONGEST = 64, 32, 4096


def plan(
    sample: QuenchedSample, algorithm: str, updates: float, T: NDArray[np.float64], replicas: int, scan: str
) -> list[tuple[str, NDArray[np.intp]]]:
    """Divide the temperatures of independent simulations among algorithms, at the least cost; the law is the same.

    Parameters
    ----------
    sample : QuenchedSample
        Network.
    algorithm : {"auto", "rows", "fields", "blocks"}
        "rows" updates one site after the other, "blocks" sixteen at once, of temperatures and replicas side by side,
        "fields" keeps the N x N couplings. The last two exist for P = 2 only, where all give the same bits as long as
        sums of products of integers stay below 2^53.
    updates : float
        Spin updates to come at each temperature, over all sweeps and replicas.
    T : ndarray, shape (temperatures,)
        Temperatures: the higher, the more of the updates are flips.
    replicas : int
        Chains at each temperature.
    scan : {"ordered", "random", "synchronous"}
        Order of the sites.

    Returns
    -------
    list of (str, ndarray of int)
        Algorithms, and the positions in `T` of what each does; by "blocks" as many as one state has.

    Raises
    ------
    ValueError
        If the algorithm is unknown or impossible for this network.
    """
    check_algorithm(sample.model, algorithm, scan)
    everything = np.arange(len(T))
    parts = [("rows" if algorithm == "auto" else algorithm, everything)]
    if algorithm == "auto" and sample.model.P == 2:
        # The coldest by fields, for these have the fewest flips.
        coldest, cheapest = np.argsort(T, kind="stable"), math.inf
        for cold in range(len(T) + 1 if _possible(sample.model, "fields", scan) else 1):
            fields, others = np.sort(coldest[:cold]), np.sort(coldest[cold:])
            for rest in ("rows", "blocks") if _possible(sample.model, "blocks", scan) else ("rows",):
                cost = _nanoseconds(sample, "fields", updates, T[fields], scan)
                cost += _nanoseconds(sample, rest, updates, T[others], scan)
                if cost < cheapest:
                    cheapest, parts = cost, [("fields", fields), (rest, others)]
    size = together(sample.model, updates, replicas)
    return [
        (name, members[start : start + step])
        for name, members in parts
        for step in [size if name == "blocks" else len(T)]
        for start in range(0, len(members), step)
    ]


def together(model: HebbianNetwork, updates: float, replicas: int) -> int:
    """Return how many temperatures "blocks" simulates side by side at most, of so many updates each."""
    record = 8.0 * updates / model.N * (4 + (replicas - 1) / 2)
    return max(1, min(_TOGETHER // replicas, int(_RECORDS / record)))


def choose(sample: QuenchedSample, algorithm: str, updates: float, T: NDArray[np.float64], scan: str) -> str:
    """Return the cheapest algorithm for chains in one state that go through all temperatures.

    Arguments and errors are those of `plan`.
    """
    check_algorithm(sample.model, algorithm, scan)
    if algorithm != "auto" or sample.model.P != 2:
        return "rows" if algorithm == "auto" else algorithm
    possible = [name for name in ALGORITHMS[1:] if _possible(sample.model, name, scan)]
    return min(possible, key=lambda name: _nanoseconds(sample, name, updates, T, scan))


def check_algorithm(model: HebbianNetwork, algorithm: str, scan: str) -> None:
    """Raise ValueError if an algorithm is unknown, or impossible for a network or an order of the sites."""
    validation.choice("algorithm", algorithm, ALGORITHMS)
    if algorithm in ("auto", "rows"):
        return
    if model.P != 2:
        raise ValueError(f"algorithm = {algorithm!r} needs P = 2, the model has P = {model.P}; allowed: 'rows'")
    if algorithm == "blocks" and scan != "ordered":
        raise ValueError(f"algorithm = 'blocks' with scan = {scan!r}; allowed: scan = 'ordered', or another algorithm")
    if algorithm == "blocks" and not _fits_blocks(model):
        raise ValueError(
            f"algorithm = 'blocks' needs fields below 2^30, {model} has larger ones; allowed: 'rows' or 'fields'"
        )


def _possible(model: HebbianNetwork, algorithm: str, scan: str) -> bool:
    """Whether "auto" may choose an algorithm."""
    if algorithm == "blocks":
        return scan == "ordered" and _fits_blocks(model)
    return algorithm == "rows" or model.N <= _LARGEST_N


def _fits_blocks(model: HebbianNetwork) -> bool:
    """Whether the fields of a network are below `kernels.LARGEST_FIELD`, half of what rows allow."""
    return pair_type(model, 2 * number_of_rows(model)) is not None


def _nanoseconds(sample: QuenchedSample, algorithm: str, updates: float, T: NDArray[np.float64], scan: str) -> float:
    """Estimate the time of `updates` updates at each temperature, P = 2."""
    if not len(T):
        return 0.0
    L, N = sample.rows.shape
    # A spin in a field h is against it with probability p, and flips with 2 p (1 - p). With h = 3/4, what noise leaves
    # of the field 1 of a stored pattern, that is what is found at a load of 0.05; without retrieval there are more.
    p = (1 - np.tanh(0.75 / np.maximum(T, 1e-3))) / 2
    share = 2 * p * (1 - p)
    updates, flips = updates * len(T), updates * float(share.sum())
    # Nanoseconds on one core, of an update or a flip and of each of its terms. Couplings beyond the caches are slow.
    kind = pair_type(sample.model, L)
    if algorithm == "rows":
        term = {None: 0.3, np.int16: 0.03, np.int32: 0.1}[kind]
        return updates * (5 + term * L) + flips * (30 + 2 * term * L)
    if algorithm == "fields":
        update, flip = (2.2, 12) if scan == "ordered" else (4, 35)
        return updates * update + flips * (flip + (0.022 if N * N < _CACHED else 0.06) * N) + 0.02 * float(N) * N * L
    # Sums of 32 bits are those of many sites, whose rows and products with each other are far away.
    update, flip = (2.4 + 0.013 * L, 13 + 0.033 * L) if kind is np.int16 else (10 + 0.027 * L, 80 + 0.12 * L)
    return updates * update + flips * flip + 3.0 * N * L


def number_of_rows(model: HebbianNetwork) -> float:
    """Return the number of rows of a model."""
    return float(model.K or 0) * ((model.examples or 1) if model.training == "unsupervised" else 1)


def memory(model: HebbianNetwork, replicas: int) -> float:
    """Bytes that the rows' caches of `replicas` replicas of a model occupy; cached fields are checked when made."""
    L = number_of_rows(model)
    if model.P is None:
        return 16 * L * replicas
    if (kind := pair_type(model, L)) is not None:
        entry = np.min_scalar_type(-(model.examples or 1) - 1) if model.training == "supervised" else np.dtype(np.int8)
        copy = float(model.N) * _filled(L) * entry.itemsize if _filled(L) > L else 0.0
        return np.dtype(kind).itemsize * L * replicas + copy
    if model.has_sign_rows:
        return (4 + np.dtype(_real_type(model)).itemsize) * L * replicas
    return 8 * L * replicas * (model.P + 1 if model.interaction == "distinct" else 1)


def make(sample: QuenchedSample, algorithm: str, replicas: int) -> Any:
    """Return the state of `replicas` replicas; its caches are filled by `kernels.build`.

    Raises
    ------
    MemoryError
        If it does not fit, with the estimate.
    """
    if algorithm == "fields":
        return _cached_fields(sample, replicas)
    if algorithm == "blocks":
        return _pair_blocks(sample, replicas)
    validation.memory(f"the state of {replicas} replica(s) of {sample.model}", memory(sample.model, replicas))
    L, N = sample.rows.shape
    S: NDArray[Any]
    P, distinct = sample.model.P, sample.model.interaction == "distinct"
    rows = np.ascontiguousarray(sample.rows.T)
    orders = tuple(range(1, (P or 0) + 1))
    if P is None:
        largest = int(np.abs(rows).max())
        drop = -np.expm1(-2 * sample.scale * np.arange(-largest, largest + 1))
        S, weights = np.zeros((replicas, L), dtype=np.int64), np.zeros((replicas, L))
        return kernels.ExponentRows(rows, S, weights, np.zeros(replicas), drop, sample.scale, sample.prefactor)
    if (kind := pair_type(sample.model, L)) is not None:
        squares, filled = _squares(rows), _filled(L)
        if filled > L:
            rows = np.zeros((N, filled), rows.dtype)
            rows[:, :L] = sample.rows.T
        diagonal = float(squares.sum()) if distinct else 0.0
        return kernels.PairRows(rows, np.zeros((replicas, filled), kind), squares, sample.prefactor, diagonal)
    if sample.model.has_sign_rows:
        F = sign_polynomial(np.arange(-N - 2, N + 3), N, P, sample.model.interaction)
        up, here, down = F[4:], F[2:-2], F[:-4]
        cubic_A, cubic_B = _cubics(N, P, sample.model.interaction)
        real = _real_type(sample.model)
        S, A = np.zeros((replicas, L), dtype=np.int32), np.zeros((replicas, L), dtype=real)
        B = np.zeros(replicas)
        return kernels.SignRows(
            rows.astype(np.int8, copy=False),
            S,
            A,
            B,
            cubic_A.astype(real),
            cubic_B,
            ((up - down) / 2).astype(real),
            (up + down) / 2 - here,
            here.copy(),
            sample.prefactor,
        )
    if distinct:
        e = np.zeros((replicas, P + 1, L))
        return kernels.SymmetricRows(rows, e, orders, sample.prefactor * math.factorial(P))
    return kernels.PowerRows(rows, np.zeros((replicas, L)), orders, sample.prefactor)


def _squares(rows: NDArray[np.signedinteger[Any]]) -> NDArray[np.int64]:
    """Return the sum of the squares of the entries of each site."""
    squares = np.empty(len(rows), np.int64)
    kernels.fill_squares(squares, rows)
    return squares


def _filled(L: float) -> int:
    """Return the length to which L entries are filled up with zeros."""
    return int(-(-L // _STEP) * _STEP if _SHORTEST <= L <= _LONGEST else L)


def _pair_blocks(sample: QuenchedSample, replicas: int) -> kernels.PairBlocks:
    L, N = sample.rows.shape
    kind: Any = pair_type(sample.model, L)
    width, blocks = 2 if kind is np.int16 else 1, N // lanes.SITES
    # Rows that S is changed by, and the entries that fields need, which are filled up to less.
    filled, entries = -(-L // lanes.STEP) * lanes.STEP, -(-L // 4) * 4
    validation.memory(
        f"the blocks of {replicas} chains of {sample.model}",
        2.0 * sample.rows.itemsize * N * filled + 4.0 * N * (lanes.SITES + replicas) + 4.0 * replicas * filled,
    )
    rows = _aligned((N, filled), sample.rows.dtype)
    rows[:, :L] = sample.rows.T
    squares = _squares(rows)
    tiles = _aligned((blocks, lanes.VECTORS, entries // width, lanes.LANES, width), rows.dtype)
    kernels.fill_tiles(tiles, rows)
    gram = _aligned(
        (blocks, lanes.SITES, lanes.VECTORS, lanes.LANES), _shortest(2 * float(squares.max()), (np.int16, np.int32))
    )
    kernels.fill_gram(gram, rows)
    return kernels.PairBlocks(
        rows=rows,
        S=_aligned((replicas, filled), kind),
        squares=squares.astype(np.int32),
        tiles=tiles,
        gram=gram,
        limits=_aligned((replicas, N), np.int32),
        H=_aligned((lanes.VECTORS, lanes.LANES), np.int32),
        prefactor=sample.prefactor,
        diagonal=float(squares.sum()) if sample.model.interaction == "distinct" else 0.0,
    )


def _shortest(largest: float, kinds: tuple[type[np.signedinteger[Any]], ...]) -> Any:
    """Return the first type of integers that holds numbers up to a size, double precision if none does."""
    return next((kind for kind in kinds if largest <= np.iinfo(kind).max), np.float64)


def _aligned(shape: tuple[int, ...], kind: DTypeLike) -> NDArray[Any]:
    """Return zeros that begin at a multiple of 64 bytes: no vector lies across two lines of the cache."""
    size = math.prod(shape) * np.dtype(kind).itemsize
    memory = np.zeros(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(kind).reshape(shape)


def _cubics(N: int, P: int, interaction: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the coefficients of A and of B, polynomials of degrees P - 1 and P - 2; none if P > 4."""
    if P > 4:
        return np.empty(0), np.empty(0)
    F = sign_polynomial(np.arange(-4, 5), N, P, interaction)
    up, here, down = F[4:], F[2:-2], F[:-4]
    return _cubic((up - down) / 2), _cubic((up + down) / 2 - here)


def _cubic(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the coefficients of a polynomial of degree 3 with these values at -2 .. 2; exact, of integers."""
    odd, odd_at_2 = (values[3] - values[1]) / 2, (values[4] - values[0]) / 2
    third = (odd_at_2 - 2 * odd) / 6
    return np.array([values[2], odd - third, (values[3] + values[1]) / 2 - values[2], third])


def _real_type(model: HebbianNetwork) -> type[np.floating[Any]]:
    """Return the type of real numbers of which a field of rows of signs is the sum.

    Single precision, of which a processor does twice as many at once; but double where sums, below 4096 (N + 2)^P in
    a block, may not be below 2^128, and for P = 2, where rows and fields give the same bits.
    """
    P = model.P or 0
    return np.float64 if P == 2 or P * math.log2(model.N + 2) > 115 else np.float32


def pair_type(model: HebbianNetwork, L: float) -> type[np.signedinteger[Any]] | None:
    """Return the type of integers that holds the scalar products S of L rows of a network with P = 2.

    None if P is another, or if the sum of their products with the entries of a site may not be below 2^31.
    """
    entry = float(model.examples or 1) if model.training == "supervised" else 1.0
    largest = entry * model.N
    if model.P != 2 or L * entry * largest >= 2**31:
        return None
    return np.int16 if largest < 2**15 else np.int32


def _cached_fields(sample: QuenchedSample, replicas: int) -> kernels.CachedFields:
    N = sample.model.N
    validation.memory(f"the coupling matrix of N = {N}", 16.0 * N * N)
    # Sums of products of integers: exact in single precision below 2^24, in double below 2^53.
    largest_sum = float(_squares(np.ascontiguousarray(sample.rows.T)).max())
    couplings = np.zeros((N, N), dtype=np.float32 if largest_sum < 2**24 else np.float64)
    step = max(1, _BLOCK // N)
    for start in range(0, len(sample.rows), step):
        block = sample.rows[start : start + step].astype(couplings.dtype)
        couplings += block.T @ block
    diagonal = couplings.trace(dtype=np.float64)
    np.fill_diagonal(couplings, 0.0)
    # A row and the fields are read and written at every flip: the shorter the faster. All stay exact.
    largest, field = 0.0, 0.0
    for start in range(0, N, step):
        sizes = np.abs(couplings[start : start + step])
        largest, field = (
            max(largest, sizes.max(initial=0.0)),
            max(field, sizes.sum(axis=1, dtype=np.float64).max(initial=0.0)),
        )
    filled, coupling = -(-N // lanes.STEP) * lanes.STEP, _shortest(largest, (np.int8, np.int16, np.int32))
    short: tuple[type[np.signedinteger[Any]], ...] = (np.int16, np.int32) if field < kernels.LARGEST_FIELD else ()
    kind = np.float64 if coupling is np.float64 else _shortest(field, (*short, np.int64))
    kept = _aligned((N, filled), coupling)
    kept[:, :N] = couplings
    return kernels.CachedFields(
        kept,
        np.zeros(N, np.int32),
        _aligned((replicas, filled), kind),
        sample.prefactor,
        float(diagonal) if sample.model.interaction == "all" else 0.0,
    )
