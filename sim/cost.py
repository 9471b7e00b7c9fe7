"""What a sweep will cost: memory, disk and time, before it begins."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hebbian import HebbianNetwork, QuenchedSample, validation
from sim.glauber import front, states

# Long enough to be told from the overhead of a call, short beside any sweep worth an estimate.
_CALIBRATION_SECONDS = 0.02


@dataclass(frozen=True)
class Cost:
    """Estimate for a sweep.

    Parameters
    ----------
    tasks : int
        Tasks still to do.
    memory : float
        Bytes that the largest task occupies.
    results : float
        Bytes of the results.
    seconds : float
        Time of all tasks on one core.
    workers : int
        Tasks at once.
    """

    tasks: int
    memory: float
    results: float
    seconds: float
    workers: int

    def __str__(self) -> str:
        return (
            f"{self.tasks} tasks, up to {size(self.memory)} each; results {size(self.results)}; "
            f"about {duration(self.seconds / self.workers)} on {self.workers} worker(s) like this core"
        )

    def check(self, out: Path | None, beside: float = 0.0) -> None:
        """Raise MemoryError or OSError unless results and tasks fit in memory, and the results on the disk.

        Parameters
        ----------
        out : Path or None
            Results file to write; what it occupies already, it need not find.
        beside : float
            Bytes of the file that are kept beside the results.
        """
        validation.memory(
            f"{self.workers} task(s) at once, {size(self.memory)} each, and results of {size(self.results)}",
            self.workers * self.memory + self.results,
        )
        if out is not None:
            # A copy is made whenever a group is added.
            held = out.stat().st_size if out.exists() else 0
            needed, free = 2 * max(self.results + beside, held) - held, shutil.disk_usage(out.parent).free
            if needed > free:
                raise OSError(
                    f"out = {out} needs about {size(needed)} on the disk (the file and a copy of it), "
                    f"{size(free)} are free; allowed: what fits"
                )


def task_memory(model: HebbianNetwork, options: Mapping[str, Any]) -> float:
    """Return the bytes of a quenched sample and of its simulation."""
    return model.memory() + states.memory(model, options.get("replicas", front.REPLICAS))


def task_seconds(
    models: Sequence[HebbianNetwork],
    options: Sequence[Mapping[str, Any]],
    draw: Callable[[HebbianNetwork], QuenchedSample],
) -> tuple[NDArray[np.float64], dict[str, front.Variable]]:
    """Time short simulations of the least, the middle and the most expensive of some models.

    Parameters
    ----------
    models : sequence of HebbianNetwork
        Points of the grid.
    options : sequence of mappings
        Options of the simulation of each.
    draw : callable
        Draws the quenched sample of a model.

    Returns
    -------
    seconds : ndarray of float, shape (models,)
        Time of a task of each model, by interpolation in the number of updates times rows.
    variables : dict
        What such a simulation measures.
    """
    work = np.array(
        [
            front.updates(model, given) * states.number_of_rows(model)
            for model, given in zip(models, options, strict=True)
        ]
    )
    order = np.argsort(work, kind="stable")
    chosen = sorted({order[0], order[len(order) // 2], order[-1]}, key=lambda i: work[i])
    # Once in vain: kernels are loaded, or compiled.
    _time(models[chosen[0]], options[chosen[0]], draw(models[chosen[0]]), 1)
    timed = [_calibrate(models[i], options[i], draw) for i in chosen]
    seconds, variables = [seconds for seconds, _ in timed], timed[0][1]
    # Equal work is one point of the interpolation.
    at, first = np.unique(np.log(work[chosen]), return_index=True)
    return np.exp(np.interp(np.log(work), at, np.log(np.array(seconds)[first]))), variables


def size(count: float) -> str:
    """Return a number of bytes in words."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} GiB"


def duration(seconds: float) -> str:
    """Return a time in words."""
    if seconds < 1:
        return "a second"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _calibrate(
    model: HebbianNetwork, options: Mapping[str, Any], draw: Callable[[HebbianNetwork], QuenchedSample]
) -> tuple[float, dict[str, front.Variable]]:
    """Return the estimated seconds of a task, and what a short simulation measured."""
    start = time.perf_counter()
    sample = draw(model)
    drawn = time.perf_counter() - start
    total = options["sweeps"] + options["equilibration"]
    once, variables = _time(model, options, sample, 1)
    # The first sweep pays for the set-up; the further ones tell what a sweep costs.
    more = min(total - 1, 1 + int(_CALIBRATION_SECONDS / once))
    further = max(0.0, _time(model, options, sample, 1 + more)[0] - once) / more if more else 0.0
    return drawn + once + (total - 1) * further, variables


def _time(
    model: HebbianNetwork, options: Mapping[str, Any], sample: QuenchedSample, sweeps: int
) -> tuple[float, dict[str, front.Variable]]:
    """Time a simulation of a few sweeps by the algorithms of the whole task, which a short one would not choose."""
    parts = front.plan(sample, options) if front.backend_of(model, options) == "cpu" else None
    short = dict(options) | {"sweeps": sweeps, "equilibration": 0}
    start = time.perf_counter()
    variables = front.measure(sample, short, seed=0, task=(0,), parts=parts)
    return time.perf_counter() - start, variables
