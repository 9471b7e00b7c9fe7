"""Whether running sums stay right, and what their refresh costs: `python -m benchmarks.drift [updates]`."""

import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import timing
from hebbian import DenseHebbian, HebbianNetwork, MultitaskingHebbian, QuenchedSample
from sim import random
from sim.glauber import front, kernels, states

SUPERVISED: dict[str, Any] = {"training": "supervised", "quality": 0.5, "examples": 40}
CASES: list[tuple[HebbianNetwork, str]] = [
    (DenseHebbian(N=500, P=2, K=25), "rows"),
    (DenseHebbian(N=500, P=2, K=25), "fields"),
    (DenseHebbian(N=500, P=2, K=25), "blocks"),
    (MultitaskingHebbian(N=500, K=5, dilution=0.3), "rows"),
    (DenseHebbian(N=60, P=4, K=200), "rows"),
    (DenseHebbian(N=60, P=4, K=50, **SUPERVISED), "rows"),
    # Sums over tuples beyond 2^53, the only ones that are rounded.
    (DenseHebbian(N=60, P=4, K=50, **SUPERVISED | {"examples": 400_000}), "rows"),
    (DenseHebbian(N=60, P=4, K=50, interaction="all", **SUPERVISED), "rows"),
    (DenseHebbian(N=60, P=None, K=50, interaction="exponential"), "rows"),
]
CHAINS = 16


def flip_energies(state: Any, sigma: NDArray[np.int8]) -> NDArray[np.float64]:
    """Return the flip energies of all spins of all chains."""
    return np.array([np.multiply(*kernels.flip_energies(state, sigma, r)) for r in range(len(sigma))])


def drift(sample: QuenchedSample, algorithm: str, updates: float) -> tuple[float, float, float]:
    """Return the largest error of a flip energy before any refresh, relative to their rms; flips; share of the time."""
    state, sigma = states.make(sample, algorithm, CHAINS), np.repeat(sample.xi[:1], CHAINS, axis=0)
    sigma[sigma == 0] = 1
    kernels.build(state, sigma)
    # Hot enough for many flips, where rounding would add up.
    chains = front.of_temperatures(np.linspace(0.25, 1.0, CHAINS) * np.abs(flip_energies(state, sigma)).mean(), 1)
    key = np.array(random.kernel_key(1, (0,), "dynamics"))
    sweeps, N = 1000, sample.model.N
    record, q = np.empty((sweeps, 4, CHAINS)), np.empty((sweeps, CHAINS, 0))
    keep = (np.empty((0, 0), np.int8), np.empty((CHAINS, 0), np.int64), np.empty((0, CHAINS, N), np.int8))
    worst, flips, refreshing, running = 0.0, 0.0, 0.0, 0.0
    chunks = max(1, round(updates / (sweeps * N * CHAINS)))
    for chunk in range(chunks):
        start = time.perf_counter()
        arguments = (kernels.GLAUBER, kernels.ORDERED, chunk * sweeps, key, *front.probe(sample, 0), record, q, *keep)
        kernels.run(state, sigma, chains, *arguments)
        done = time.perf_counter()
        before = flip_energies(state, sigma)
        again = time.perf_counter()
        kernels.build(state, sigma)
        if chunk:
            running, refreshing = running + done - start, refreshing + time.perf_counter() - again
        after = flip_energies(state, sigma)
        worst = max(worst, float(np.abs(before - after).max() / np.sqrt(np.mean(after**2))))
        flips += record[:, 3].mean() / chunks
    return worst, flips, refreshing / max(running, 1e-9)


def main() -> None:
    """Print the table."""
    timing.header()
    updates = float(sys.argv[1]) if len(sys.argv) > 1 else 1e9
    print(
        f"{updates:.0e} updates of {CHAINS} chains, T up to a mean flip energy; "
        "caches built anew after every 1000 sweeps; bound: 1 %"
    )
    for model, algorithm in CASES:
        sample = model.quench(rng=random.stream(1, (0,), "patterns"))
        worst, flips, share = drift(sample, algorithm, updates)
        name = f"N = {model.N}, P = {model.P}, {model.training}, M = {model.examples}, {model.interaction}, {algorithm}"
        print(
            f"  {name:62} {flips:5.1%} flips   largest error of a flip energy {worst:.1e} of their rms"
            f"   refresh {share:.3%} of the time",
            flush=True,
        )


if __name__ == "__main__":
    main()
