"""Short tasks to disk, and two workers against one: `python -m benchmarks.sweep`."""

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import xarray as xr

from benchmarks import timing
from hebbian import DenseHebbian
from sim import executors, sweep, tabulate

TASKS = 4000
# Tasks a second, and how much faster two workers are than one.
ALLOWED, SPEED_UP = 500, 1.85
# The first point of a table is measured alone: 24 are left for two workers.
LONG, LONG_SWEEPS, LONG_TASKS = DenseHebbian(N=1000, P=2, load=0.1), 20_000, 25


@dataclass(frozen=True)
class Seconds:
    """How long a run took in all, and how long this process was busy, which no further worker shortens."""

    all: float
    busy: float

    @property
    def serial(self) -> str:
        """The share of serial work in words."""
        return f"this process is busy {self.busy / self.all:5.1%} of the time"


def spin(point: dict[str, Any]) -> xr.Dataset:
    """Keep a core busy for some time."""
    end = time.perf_counter() + point["seconds"]
    while time.perf_counter() < end:
        pass
    return xr.Dataset({"x": float(point["i"])})


def table(path: Path, executor: Executor | None, tasks: int, *, each: float) -> None:
    """Tabulate a function that takes some seconds."""
    axes = {"i": range(tasks), "seconds": [each]}
    tabulate(spin, axes, out=path, overwrite=True, executor=executor, progress=False)


def simulation(path: Path, executor: Executor | None, tasks: int, *, N: int, sweeps: int) -> None:
    """Simulate the Hopfield model at a load of 0.1, one temperature."""
    sweep(
        DenseHebbian(N=N, P=2, load=0.1),
        T=0.3,
        samples=tasks,
        sweeps=sweeps,
        equilibration=0,
        seed=1,
        out=path,
        overwrite=True,
        executor=executor,
        progress=False,
    )


def seconds(run: Callable[[Path, Executor | None, int], None], executor: Executor | None, tasks: int) -> Seconds:
    """Time a run of some tasks into a new file, after one of a few tasks."""
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder) / "first.h5", executor, 4)
        start, busy = time.perf_counter(), time.process_time()
        run(Path(folder) / "results.h5", executor, tasks)
        return Seconds(time.perf_counter() - start, time.process_time() - busy)


def throughput() -> None:
    """Time tasks of about a millisecond, each stored on disk, with two workers."""
    print(f"{TASKS} tasks of about 1 ms, each stored on disk, two workers; at least {ALLOWED} a second")
    spinning, short = partial(table, each=1e-3), partial(simulation, N=40, sweeps=60)
    with executors.local(2) as pool:
        for name, run in (("tabulate, spinning", spinning), ("sweep, N = 40", short)):
            took = seconds(run, pool, TASKS)
            rate = TASKS / took.all
            print(f"  {name:20}  {rate:6.0f} a second   {rate / ALLOWED:4.1f} x {ALLOWED}   {took.serial}")


def alone(tasks: int) -> None:
    """Simulate as many samples in this process, without a file."""
    sweep(LONG, T=0.3, samples=tasks, sweeps=LONG_SWEEPS, equilibration=0, seed=1, progress=False)


def efficiency() -> None:
    """Time tasks of about a second with two workers and with one, and plain processes as the hardware's share."""
    print(f"{LONG_TASKS} tasks of about 1 s: two workers at least {SPEED_UP} x one")
    simulating, plain = partial(simulation, N=LONG.N, sweeps=LONG_SWEEPS), {}
    for name, run in (("tabulate, spinning", partial(table, each=1.0)), ("sweep, N = 1000", simulating)):
        took = {}
        for workers in (1, 2):
            with executors.local(workers) as pool:
                took[workers] = seconds(run, pool, LONG_TASKS)
        ratio = took[1].all / took[2].all
        print(f"  {name:20}  one {took[1].all:5.1f} s, two {took[2].all:5.1f} s   {ratio:4.2f} x   {took[2].serial}")
    for workers in (1, 2):
        with executors.local(workers) as pool:
            list(pool.map(alone, [1] * workers))
            start = time.perf_counter()
            list(pool.map(alone, [LONG_TASKS // workers] * workers))
            plain[workers] = (time.perf_counter() - start) / (LONG_TASKS // workers * workers)
    ratio = plain[1] / plain[2]
    print(f"  the same simulations by processes that share nothing, on this machine as it is now: {ratio:4.2f} x")


def main() -> None:
    """Print all ratios."""
    timing.header()
    throughput()
    efficiency()


if __name__ == "__main__":
    main()
