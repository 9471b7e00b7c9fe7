"""Speed and memory of the Monte Carlo engine: `python -m benchmarks.glauber`."""

import math
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from benchmarks import timing
from hebbian import DenseHebbian, MultitaskingHebbian, QuenchedSample
from sim import random
from sim.glauber import front, kernels, states


def quench(model: DenseHebbian) -> QuenchedSample:
    """Return a sample of a model."""
    return model.quench(rng=random.stream(1, (0,), "patterns"))


def sweeper(sample: QuenchedSample, T: float, algorithm: str, sweeps: int) -> Any:
    """Return a function that runs `sweeps` ordered heat-bath sweeps of one replica, from the pattern."""
    N = sample.model.N
    state, sigma = states.make(sample, algorithm, 1), sample.xi[:1].copy()
    kernels.build(state, sigma)
    key = np.array(random.kernel_key(1, (0,), "dynamics"))
    record, q = np.empty((sweeps, 4, 1)), np.empty((sweeps, 1, 0))
    xi, sums, spins = np.empty((0, 0), np.int8), np.empty((1, 0), np.int64), np.empty((0, 1, N), np.int8)
    chains = front.of_temperatures(np.array([T]), 1)
    arguments = (kernels.GLAUBER, kernels.ORDERED, 0, key, *front.probe(sample, 0), record, q, xi, sums, spins)
    return lambda: kernels.run(state, sigma, chains, *arguments)


def numpy_couplings(sample: QuenchedSample, T: float) -> Any:
    """Return a plain NumPy heat-bath sweep with the coupling matrix, one dot product a spin."""
    rows = sample.rows.astype(float) * sample.scale
    J = rows.T @ rows / sample.model.N
    np.fill_diagonal(J, 0.0)
    s, rng = sample.xi[0].astype(float), np.random.default_rng(1)

    def sweep() -> None:
        uniforms = rng.random(len(s))
        for i in range(len(s)):
            s[i] = 1.0 if uniforms[i] < 1 / (1 + math.exp(-2 * (J[i] @ s) / T)) else -1.0

    return sweep


def numpy_rows(sample: QuenchedSample, T: float) -> Any:
    """Return a plain NumPy heat-bath sweep with tabulated A and B, one dot product of a row a spin."""
    state, sigma = states.make(sample, "rows", 1), sample.xi[:1].copy()
    kernels.build(state, sigma)
    rows, S, spins, rng = state.rows.astype(float), state.S[0], sigma[0], np.random.default_rng(1)
    N = len(spins)

    def sweep() -> None:
        A, B = state.table_A[S + N], state.table_B[S + N].sum()
        uniforms = rng.random(N)
        for i in range(N):
            cost = state.prefactor * (spins[i] * (rows[i] @ A) - B)
            if uniforms[i] < 1 / (1 + math.exp(min(cost / T, 700.0))):
                S[...] -= 2 * spins[i] * state.rows[i]
                spins[i] *= -1
                A, B = state.table_A[S + N], state.table_B[S + N].sum()

    return sweep


def read_bandwidth(rows: NDArray[np.int8]) -> float:
    """Return the bytes a second at which one core can read the patterns at all."""
    words = np.ascontiguousarray(rows).reshape(-1)[: rows.size // 8 * 8].view(np.int64)
    return words.nbytes / timing.best(lambda: words.sum())


@njit(fastmath={"reassoc", "contract", "nsz"})
def multiply_all(rows: NDArray[np.int8], factors: NDArray[np.float32]) -> float:
    """Return the sum of the scalar products of all rows with real numbers, and nothing else."""
    total = 0.0
    for i in range(len(rows)):
        row, part = rows[i], np.float32(0)
        for k in range(len(factors)):
            part += row[k] * factors[k]
        total += part
    return total


def pairwise() -> None:
    """P = 2, N = 5000, K = 250: against `J[i] @ s`."""
    sample = quench(DenseHebbian(N=5000, P=2, K=250))
    plain = timing.best(numpy_couplings(sample, 0.3), 3)
    print("P = 2, N = 5000, K = 250, storing, sequential heat bath")
    print(f"  NumPy loop J[i] @ s, T = 0.3   {plain / 5000 * 1e9:10.1f} ns an update")
    for T in (0.2, 0.3, 0.5, 0.8, 1.2):
        for algorithm in ("fields", "rows"):
            ours = timing.best(sweeper(sample, T, algorithm, 100)) / 100
            speed = f"{ours / 5000 * 1e9:10.1f} ns an update   {plain / ours:8.0f} x NumPy"
            print(f"  {algorithm:19}, T = {T:g}   {speed}")


def dense(training: str, K: int, **data: Any) -> None:
    """P = 4, N = 160: pattern terms a second, against NumPy, bare scalar products and reading the patterns once."""
    sample = quench(DenseHebbian(N=160, P=4, K=K, training=training, **data))
    terms = float(sample.rows.size)
    print(f"P = 4 distinct, N = 160, K = {K}, {training}, sequential heat bath")
    ours = {T: terms / (timing.best(sweeper(sample, T, "rows", 5)) / 5) for T in (0.3, 0.6)}
    for T, speed in ours.items():
        print(f"  engine, T = {T}       {speed:10.3g} pattern terms a second")
    if sample.model.has_sign_rows:
        rows, factors = np.ascontiguousarray(sample.rows.T), np.ones(len(sample.rows), np.float32)
        plain = terms / timing.best(numpy_rows(sample, 0.3), 2)
        bare = terms / timing.best(lambda: multiply_all(rows, factors))
        limit = read_bandwidth(rows)
        for name, speed, of in (("NumPy loop, T = 0.3", plain, 0.3), ("bare int8 x float32", bare, 0.6)):
            print(f"  {name:20}{speed:11.3g} pattern terms a second   {ours[of] / speed:6.2f} x that at T = {of}")
        print(
            f"  reading the patterns{limit:11.3g} bytes a second           {ours[0.6] / limit:6.2f} x that at T = 0.6"
        )


def multitasking() -> None:
    """P = 2, diluted patterns, N = 100,000, K = 5: updates a second."""
    sample = quench(MultitaskingHebbian(N=100_000, K=5, dilution=0.2))
    print("multitasking, N = 100000, K = 5, storing, sequential heat bath")
    for T in (0.05, 0.3, 0.6):
        ours = timing.best(sweeper(sample, T, "rows", 10)) / 10 / sample.model.N
        print(f"  engine, T = {T:<11}{1 / ours:8.3g} updates a second   {ours * 1e9:6.1f} ns each")


def memory() -> None:
    """N = 200, P = 4, K = 240,000 storing: peak memory of a process that draws and simulates it."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        peak, entries = pool.submit(_peak_memory).result()
    allowed = 1.6 * entries + 300e6
    print("N = 200, P = 4, K = 240000, storing: peak memory of the process, allowed 1.6 bytes an entry + 300 MB")
    print(
        f"  {peak / 1e6:.0f} MB for {entries:.3g} pattern entries; {peak / allowed:.2f} of 1.6 bytes an entry + 300 MB"
    )


def _peak_memory() -> tuple[float, float]:
    sample = quench(DenseHebbian(N=200, P=4, K=240_000))
    sweeper(sample, 0.3, "rows", 1)()
    # Not getrusage: its maximum is inherited from the parent process.
    with open("/proc/self/status") as lines:
        peak = next(float(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    return peak, float(sample.rows.size)


def main() -> None:
    """Print all ratios."""
    timing.header()
    pairwise()
    dense("storing", 80_000)
    dense("supervised", 20_000, quality=0.6, examples=20)
    dense("unsupervised", 8_000, quality=0.6, examples=10)
    multitasking()
    memory()


if __name__ == "__main__":
    main()
