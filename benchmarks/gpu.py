r"""Speed of the Monte Carlo engine on a GPU: `python -m benchmarks.gpu`; without a card it says so.

P = 2, N = 4096, K = 256, storing, heat bath, 4096 chains: 16 samples at 256 temperatures. What bounds an update:

rows
    A warp holds a chain, a lane 8 of its 256 terms. A term is two loads and a multiply-add; to sum across the warp are
    five rounds of a load, an addition and a store; some ten instructions decide. So about :math:`3 K/32 + 25 = 49`
    instructions of a warp, of which a multiprocessor issues four a cycle. (Memory is far from its limit: a row of 256
    bytes comes from the level-two cache, at 64 bytes a cycle and multiprocessor, in 4 cycles; 49 instructions take 12.)
blocks
    Two products of matrices, for the fields and for the change of S: :math:`4 K = 1024` operations in single precision,
    of which a multiprocessor does 256 a cycle. (S, 4 bytes a row, is read twice and written once a block of 64 sites,
    48 bytes an update; fields, changes and spins are 18: 66 bytes from the level-two cache, one cycle of the four.)

On an H100 (132 multiprocessors at 1.755 GHz) that is 1.9e10 and 5.8e10 updates a second.
"""

import time
from collections.abc import Callable

import numpy as np

from benchmarks import timing
from hebbian import DenseHebbian, QuenchedSample
from sim import quench, simulate
from sim.glauber import device, front
from sim.glauber.device import Device

MODEL = DenseHebbian(N=4096, P=2, K=256)
SAMPLES, T = 16, np.linspace(0.05, 0.5, 256)
SHORT, LONG = 5, 25


def per_sweep(run: Callable[[int], object]) -> float:
    """Return the seconds of a sweep, by the difference of two runs; the first call, which compiles, is not counted."""
    run(SHORT)
    times = {SHORT: np.inf, LONG: np.inf}
    for sweeps in [*times] * 3:
        start = time.perf_counter()
        run(sweeps)
        times[sweeps] = min(times[sweeps], time.perf_counter() - start)
    return (times[LONG] - times[SHORT]) / (LONG - SHORT)


def on_card(samples: list[QuenchedSample], algorithm: str, scan: str) -> Callable[[int], object]:
    """Return a function that runs all chains for some sweeps on the card."""
    options = {"T": T, "replicas": 1, "scan": scan, "algorithm": algorithm, "backend": "gpu"}
    tasks = [(k,) for k in range(len(samples))]
    return lambda sweeps: front.measure_together(samples, options | {"sweeps": sweeps}, seed=1, tasks=tasks)


def on_core(sample: QuenchedSample, scan: str) -> Callable[[int], object]:
    """Return a function that runs one chain for some sweeps on one core."""
    return lambda sweeps: simulate(sample, T=0.3, replicas=1, sweeps=sweeps, seed=1, scan=scan, backend="cpu")


def limits(card: Device) -> dict[str, float]:
    """Return the updates a second that no engine of these layouts can pass on a card."""
    properties = card.xp.cuda.runtime.getDeviceProperties(card.xp.cuda.Device().id)
    cycles = card.multiprocessors * properties["clockRate"] * 1e3
    return {"rows": 4 * cycles / (3 * 256 / 32 + 25), "blocks": 256 * cycles / (4 * 256)}


def main() -> None:
    """Print all ratios."""
    card = device.hardware()
    if card is None:
        print("no NVIDIA card, CuPy or numba-cuda here: nothing is measured")
        return
    timing.header()
    samples = [quench(MODEL, seed=1, sample=k) for k in range(SAMPLES)]
    chains = SAMPLES * len(T)
    print(f"{card.name}: P = 2, N = 4096, K = 256, storing, heat bath, {chains} chains")
    bound = limits(card)
    for scan in ("ordered", "synchronous"):
        core = MODEL.N / per_sweep(on_core(samples[0], scan))
        print(f"  {scan:12} one core  {core:9.3g} updates a second")
        for algorithm in ("rows", "fields", "blocks"):
            speed = chains * MODEL.N / per_sweep(on_card(samples, algorithm, scan))
            of_limit = f"{speed / bound[algorithm]:8.2f} of its limit" if algorithm in bound else " " * 21
            print(f"  {scan:12} {algorithm:8}  {speed:9.3g} updates a second{of_limit}{speed / core:9.0f} x one core")


if __name__ == "__main__":
    main()
