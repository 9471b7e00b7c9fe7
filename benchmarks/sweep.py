"""Short tasks to disk, and two workers against one: `python -m benchmarks.sweep`."""

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any

import xarray as xr

from benchmarks import timing
from hebbian import DenseHebbian
from sim import executors, sweep, tabulate

TASKS = 4000
# Tasks a second.
ALLOWED = 500


def spin(point: dict[str, Any]) -> xr.Dataset:
    """Work for a millisecond."""
    end = time.perf_counter() + 1e-3
    while time.perf_counter() < end:
        pass
    return xr.Dataset({"x": float(point["i"])})


def table(path: Path, executor: Executor | None, tasks: int) -> None:
    """Tabulate a function that takes a millisecond."""
    tabulate(spin, {"i": range(tasks)}, out=path, overwrite=True, executor=executor, progress=False)


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


def seconds(run: Callable[[Path, Executor | None, int], None], executor: Executor | None, tasks: int) -> float:
    """Return the time of a run of some tasks into a new file, after one of a few tasks."""
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder) / "first.h5", executor, 4)
        start = time.perf_counter()
        run(Path(folder) / "results.h5", executor, tasks)
        return time.perf_counter() - start


def throughput() -> None:
    """Time tasks of about a millisecond, each stored on disk, with two workers."""
    print(f"{TASKS} tasks of about 1 ms, each stored on disk; at least {ALLOWED} a second")
    short = partial(simulation, N=40, sweeps=60)
    with executors.local(2) as pool:
        for name, run in (("tabulate, spinning", table), ("sweep, N = 40", short)):
            one, two = seconds(run, None, TASKS // 4) * 4, seconds(run, pool, TASKS)
            rate = TASKS / two
            print(
                f"  {name:20}  {rate:8.0f} tasks a second   {rate / ALLOWED:6.1f} of {ALLOWED}"
                f"   this process alone {TASKS / one:8.0f}"
            )


def efficiency() -> None:
    """Time simulations of about a second: two workers against one."""
    print("12 simulations of about 1 s, N = 1000; two workers at least 1.85 x one")
    long = partial(simulation, N=1000, sweeps=10_000)
    times = {}
    for workers in (1, 2):
        with executors.local(workers) as pool:
            times[workers] = seconds(long, pool, 12)
    ratio = times[1] / times[2]
    # Amdahl: ratio = 1 / (s + (1 - s) / 2).
    serial = 2 / ratio - 1
    print(f"  one worker {times[1]:6.2f} s, two {times[2]:6.2f} s   {ratio:6.2f} x   serial share {serial:6.1%}")


def main() -> None:
    """Print all ratios."""
    timing.header()
    throughput()
    efficiency()


if __name__ == "__main__":
    main()
