"""From a quenched sample to the state a kernel runs on, by an algorithm chosen for its cost."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from hebbian import HebbianNetwork, QuenchedSample, validation
from hebbian.interaction import sign_polynomial
from sim.glauber import kernels

ALGORITHMS = ("auto", "rows", "fields")

# Couplings are summed over blocks of rows: a copy in double precision of all would fill the memory.
_BLOCK = 1 << 24
# Couplings of more spins (1 GiB while they are made) are kept on demand only. Not what is free: a choice
# that depends on the machine would be no part of the description of a run.
_LARGEST_N = 8192
# As many couplings as a processor keeps close by.
_CACHED = 1 << 23


def choose(sample: QuenchedSample, algorithm: str, updates: float, T: ArrayLike) -> str:
    """Return "rows" or "fields", the cheaper of the two for some spin updates; the law is the same.

    Parameters
    ----------
    sample : QuenchedSample
        Network.
    algorithm : {"auto", "rows", "fields"}
        "fields" keeps the N x N couplings and exists for P = 2 only, where both give the same bits
        as long as sums of products of integers stay below 2^53.
    updates : float
        Spin updates to come, over all sweeps, replicas and temperatures.
    T : float or array_like
        Temperatures at which they are done: the higher, the more of them are flips.

    Raises
    ------
    ValueError
        If the algorithm is unknown or impossible for this network.
    """
    check_algorithm(sample.model, algorithm)
    if algorithm != "auto" or sample.model.P != 2:
        return "rows" if algorithm == "auto" else algorithm
    L, N = sample.rows.shape
    # A spin in a field of one is against it with probability p, and flips with 2 p (1 - p); in states without retrieval
    # at low temperature, which are stable too, not much more often.
    p = special.expit(-2 / np.maximum(T, 1e-3))
    flips = updates * float(np.mean(2 * p * (1 - p)))
    # Nanoseconds on one core, of an update or a flip and of each of its terms. Couplings beyond the caches are slow.
    kind, near = pair_type(sample.model, L), N * N < _CACHED
    term = {None: 0.3, np.int16: 0.035, np.int32: 0.1}[kind]
    by_rows = updates * (8 + term * L) + flips * (35 + 2 * term * L)
    by_fields = updates * 5 + flips * (30 + (0.08 if near else 0.3) * N) + 0.04 * float(N) * N * L
    return "fields" if N <= _LARGEST_N and by_fields < by_rows else "rows"


def check_algorithm(model: HebbianNetwork, algorithm: str) -> None:
    """Raise ValueError if an algorithm is unknown or impossible for a network."""
    validation.choice("algorithm", algorithm, ALGORITHMS)
    if algorithm == "fields" and model.P != 2:
        raise ValueError(f"algorithm = 'fields' needs P = 2, the model has P = {model.P}; allowed: 'rows'")


def memory(model: HebbianNetwork, replicas: int) -> float:
    """Bytes that the rows' caches of `replicas` replicas of a model occupy; cached fields are checked when made."""
    L = float(model.K or 0) * ((model.examples or 1) if model.training == "unsupervised" else 1)
    if model.P is None:
        return 16 * L * replicas
    if (kind := pair_type(model, L)) is not None:
        return np.dtype(kind).itemsize * L * replicas
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
        step = max(1, _BLOCK // L)
        squares = np.concatenate([(rows[i : i + step].astype(np.int64) ** 2).sum(axis=1) for i in range(0, N, step)])
        diagonal = float(squares.sum()) if distinct else 0.0
        return kernels.PairRows(rows, np.zeros((replicas, L), kind), squares, sample.prefactor, diagonal)
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
    couplings = np.zeros((N, N))
    # Sums of products of integers: exact in double precision below 2^53.
    step = max(1, _BLOCK // N)
    for start in range(0, len(sample.rows), step):
        block = sample.rows[start : start + step].astype(np.float64)
        couplings += block.T @ block
    diagonal = couplings.trace()
    np.fill_diagonal(couplings, 0.0)
    # A row and the fields are read and written at every flip: the shorter the faster. All stay exact.
    largest, field = 0.0, 0.0
    for start in range(0, N, step):
        sizes = np.abs(couplings[start : start + step])
        largest, field = max(largest, sizes.max(initial=0.0)), max(field, sizes.sum(axis=1).max(initial=0.0))
    couplings = couplings.astype(np.int16 if largest <= 2**15 - 1 else np.int32 if largest < 2**31 else np.float64)
    fields = np.zeros((replicas, N), dtype=np.int32 if field < 2**31 else np.int64 if largest < 2**31 else np.float64)
    kept = float(diagonal) if sample.model.interaction == "all" else 0.0
    return kernels.CachedFields(couplings, fields, sample.prefactor, kept)
