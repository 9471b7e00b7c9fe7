"""Timing for the benchmarks: the best of several repetitions, machine and commit printed once."""

import platform
import time
from collections.abc import Callable

from sim.store import provenance


def best(function: Callable[[], object], repetitions: int = 5) -> float:
    """Return the shortest of several run times, in seconds; the first call, which compiles, is not counted."""
    function()
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def header() -> None:
    """Print what the numbers below were measured on."""
    facts = provenance()
    print(
        f"{processor()}, {facts['machine']}, Python {facts['python']}, NumPy {facts['numpy']}, Numba {facts['numba']}"
    )
    print(f"commit {facts['git_commit']}, {facts['started']}, one core\n")


def processor() -> str:
    """Return the name of the processor."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown processor"
