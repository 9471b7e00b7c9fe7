"""Speed of the solvers of `theory`, and its ratio to scipy.integrate.quad with scipy.optimize.root.

Run as ``python -m benchmarks.replica_symmetric``: P = 4, storing, 100 loads times 100 temperatures, one core; then maps
of every solver, on one thread and on two; then the first call in a new process, with and without a cache of compiled
code. Times of one thread are those of the processor, which other work on the machine does not lengthen; those of two
are by the clock, beside what two threads that share nothing gain at that moment.
"""

import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable

import numba
import numpy as np
from scipy import integrate, optimize

from benchmarks.timing import header
from hebbian import DenseHebbian, MultitaskingHebbian
from theory import replica_symmetric
from theory.replica_symmetric import multitasking

P = 4
LOADS = np.linspace(0.005, 0.5, 100)
TEMPERATURES = np.linspace(0.01, 1.0, 100)
SAMPLE = 100


def quad_and_root(load: float, T: float) -> float:
    """Return m of one point, by adaptive quadrature inside a general root finder started at m = q = 1."""

    def average(function: Callable[[float], float], m: float, q: float) -> float:
        signal, noise = P / 2 * m ** (P - 1), math.sqrt(load * P / 2 * max(q, 0.0) ** (P - 1))

        def integrand(z: float) -> float:
            return math.exp(-z * z / 2) * function(math.tanh((signal + noise * z) / T))

        return integrate.quad(integrand, -9, 9, limit=200)[0] / math.sqrt(2 * math.pi)

    def equations(unknown: np.ndarray) -> list[float]:
        m, q = unknown.tolist()
        return [average(lambda t: t, m, q) - m, average(lambda t: t * t, m, q) - q]

    solution = optimize.root(equations, [1.0, 1.0])
    return float(solution.x[0]) if solution.success else math.nan


MAP = 200
LEARNED = {"training": "supervised", "quality": 0.7, "examples": 20}


def dense(P: int, **keywords: object) -> Callable[[int], object]:
    branch = keywords.pop("branch", "retrieval")
    model = DenseHebbian(N=100, P=P, **keywords)
    top = 0.2 if P == 2 else 0.5
    return lambda n: replica_symmetric.solve(
        model, load=np.linspace(1e-3, top, n), T=np.linspace(0.0, 1.0, n), branch=branch
    )


def learned(P: int, training: str) -> Callable[[int], object]:
    model = DenseHebbian(N=100, P=P, training=training, quality=0.7, examples=20)
    return lambda n: replica_symmetric.solve(
        model, load=0.05, T=0.1, quality=np.linspace(0.1, 1.0, n), examples=np.arange(1, n + 1)
    )


def mixture(components: int) -> Callable[[int], object]:
    model = DenseHebbian(N=100, P=2)
    return lambda n: replica_symmetric.mixture(
        model, components=components, load=np.linspace(1e-4, 0.05, n), T=np.linspace(0.0, 0.6, n)
    )


def one_step(P: int, branch: str) -> Callable[[int], object]:
    model = DenseHebbian(N=100, P=P)
    top = 0.15 if P == 2 else 0.5
    return lambda n: replica_symmetric.one_step_solve(
        model, load=np.linspace(0.01, top, n), T=np.linspace(0.0, 1.0, n), branch=branch
    )


def diluted(K: int, **keywords: object) -> Callable[[int], object]:
    start = keywords.pop("start", "hierarchical")
    model = MultitaskingHebbian(N=100, K=K, **keywords)
    return lambda n: multitasking.solve(
        model, dilution=np.linspace(0.0, 0.99, n), T=np.linspace(0.01, 1.0, n), start=start
    )


# Points along an axis that are timed: the slower ones on a coarser map.
MAPS = {
    "P = 2, storing": (dense(2), MAP),
    "P = 4, storing": (dense(4), MAP),
    "P = 4, storing, glass": (dense(4, branch="glass"), MAP),
    "P = 4, all tuples": (dense(4, interaction="all"), MAP),
    "P = 2, supervised, M = 20": (dense(2, **LEARNED), MAP // 4),
    "P = 4, supervised, M = 20": (dense(4, **LEARNED), MAP // 4),
    "P = 4, supervised, M = 1000": (dense(4, training="supervised", quality=0.3, examples=1000), MAP // 4),
    "P = 4, unsupervised, M = 100": (dense(4, training="unsupervised", quality=0.5, examples=100), MAP // 4),
    "P = 2, supervised, over (r, M)": (learned(2, "supervised"), MAP // 2),
    "P = 4, unsupervised, (r, M)": (learned(4, "unsupervised"), MAP // 2),
    "mixture of 3": (mixture(3), MAP // 2),
    "one step, P = 2, retrieval": (one_step(2, "retrieval"), MAP // 8),
    "one step, P = 2, glass": (one_step(2, "glass"), MAP // 8),
    "one step, P = 4, retrieval": (one_step(4, "retrieval"), MAP // 8),
    "one step, P = 4, glass": (one_step(4, "glass"), MAP // 4),
    "multitasking, K = 3": (diluted(3), MAP // 2),
    "multitasking, K = 5": (diluted(5), MAP // 4),
    "multitasking, K = 5, lowest": (diluted(5, start="lowest"), MAP // 16),
    "multitasking, K = 20": (diluted(20), MAP // 16),
    "multitasking, K = 3, M = 20": (diluted(3, **LEARNED), MAP // 8),
}


@numba.njit(nogil=True)
def alone(n: int) -> float:
    total = 0.0
    for i in range(n):
        total += math.sin(total + i)
    return total


def gain_of_threads(n: int = 20_000_000) -> float:
    """Return how much faster two threads that share nothing do the work of two, on this machine as it is now."""

    def seconds(count: int) -> float:
        threads = [threading.Thread(target=alone, args=(n,)) for _ in range(count)]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - start

    alone(1)
    return 2 * seconds(1) / seconds(2)


def maps(reference_seconds: float) -> None:
    threads = numba.get_num_threads()
    print(f"\nmaps of {MAP} x {MAP} points (timed on the points stated, one thread), quad + root: at P = 4, storing")
    for name, (solve, n) in MAPS.items():
        solve(2)
        numba.set_num_threads(1)
        wall, start = time.perf_counter(), time.process_time()
        solve(n)
        seconds, wall = time.process_time() - start, time.perf_counter() - wall
        numba.set_num_threads(min(2, threads))
        start = time.perf_counter()
        solve(n)
        gain = wall / (time.perf_counter() - start)
        numba.set_num_threads(threads)
        each = seconds / n**2
        print(
            f"  {name:30s} {n:3d}^2: {each * MAP**2:7.2f} s a map, {1 / each:7.0f} points/s, "
            f"{each * 1e6:7.1f} us each, {reference_seconds / each:5.1f} x quad + root; two threads {gain:.2f} x"
        )
    print(f"  two threads that share nothing, on this machine as it is now: {gain_of_threads():.2f} x")


START = """
import time
begin = time.perf_counter()
from hebbian import DenseHebbian, MultitaskingHebbian
from theory import replica_symmetric
times = [time.perf_counter() - begin]
model = DenseHebbian(N=9, P=4)
for call in (
    lambda: replica_symmetric.solve(model, load=0.1, T=0.5),
    lambda: replica_symmetric.critical_load(model, T=0.5),
    lambda: replica_symmetric.one_step_solve(model, load=0.5, T=0.1),
    lambda: replica_symmetric.multitasking.solve(MultitaskingHebbian(N=9, K=3), T=0.1),
):
    begin = time.perf_counter()
    call()
    times.append(time.perf_counter() - begin)
print(*times)
"""


def first_calls() -> None:
    print("\nfirst calls in a new process, seconds by the clock")
    with tempfile.TemporaryDirectory() as cache:
        for state in ("nothing compiled", "compiled before"):
            run = subprocess.run(
                [sys.executable, "-c", START],
                env=os.environ | {"NUMBA_CACHE_DIR": cache},
                capture_output=True,
                text=True,
                check=True,
            )
            names = ("import", "solve", "critical_load", "one_step_solve", "multitasking.solve")
            times = zip(names, map(float, run.stdout.split()), strict=True)
            print(f"  {state}: " + ", ".join(f"{name} {seconds:.2f}" for name, seconds in times))


def main() -> None:
    header()
    model = DenseHebbian(N=100, P=P)
    replica_symmetric.solve(model, load=0.1, T=0.5)  # compiles, or loads what was compiled

    numba.set_num_threads(1)
    wall, start = time.perf_counter(), time.process_time()
    grid = replica_symmetric.solve(model, load=LOADS, T=TEMPERATURES)
    seconds, wall = time.process_time() - start, time.perf_counter() - wall
    points = LOADS.size * TEMPERATURES.size
    numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)

    rng = np.random.default_rng(1)
    rows, columns = rng.integers(LOADS.size, size=SAMPLE), rng.integers(TEMPERATURES.size, size=SAMPLE)
    start = time.process_time()
    reference = np.array([quad_and_root(LOADS[i], TEMPERATURES[j]) for i, j in zip(rows, columns, strict=True)])
    reference_seconds = (time.process_time() - start) / SAMPLE

    m = grid.m.values[rows, columns]
    both = grid.retrieval.values[rows, columns] & (reference > 0.1)
    print(f"{points} points: {seconds:.3f} s on one core, {wall:.3f} s by the clock (bound: 2 s)")
    print(f"speed: {points / seconds:.0f} points/s, {seconds / points * 1e6:.1f} us a point")
    print(f"converged {grid.converged.values.mean():.1%}, retrieving {grid.retrieval.values.mean():.1%}")
    print(f"quad + root: {reference_seconds * 1e3:.2f} ms a point, on {SAMPLE} points of the same grid")
    print(f"ratio: {reference_seconds * points / seconds:.0f} times faster than quad + root (bound: 200)")
    print(
        f"largest difference of m: {np.abs(m - reference)[both].max():.1e}, on {both.sum()} points where both retrieve"
    )
    maps(reference_seconds)
    first_calls()


if __name__ == "__main__":
    main()
