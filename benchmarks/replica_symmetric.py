"""Speed of the replica-symmetric solver, and its ratio to scipy.integrate.quad with scipy.optimize.root.

Run as ``python -m benchmarks.replica_symmetric``: P = 4, storing, 100 loads times 100 temperatures, one core. Times are
those of the processor, which other work on the machine does not lengthen.
"""

import math
import time
from collections.abc import Callable

import numpy as np
from scipy import integrate, optimize

from hebbian import DenseHebbian
from theory import replica_symmetric

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


def main() -> None:
    model = DenseHebbian(N=100, P=P)
    replica_symmetric.solve(model, load=0.1, T=0.5)  # compiles, or loads what was compiled

    wall, start = time.perf_counter(), time.process_time()
    grid = replica_symmetric.solve(model, load=LOADS, T=TEMPERATURES)
    seconds, wall = time.process_time() - start, time.perf_counter() - wall
    points = LOADS.size * TEMPERATURES.size

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


if __name__ == "__main__":
    main()
