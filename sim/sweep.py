"""A grid of models, many quenched samples, several temperatures each: tasks, workers, one file."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from hebbian import HebbianNetwork, QuenchedSample, validation
from sim import cost, random
from sim.adaptive import Adaptive
from sim.executors import Pool, cores, local
from sim.glauber import device, front
from sim.grid import Cell, Grid, of_axes, of_points
from sim.store import ResultsFile, Table, check_group, check_output, read, rooms, to_json
from sim.tabulate import Memory, Out, begin, check_executor, check_shard, fill, opened, stored
from sim.tasks import Task, announce

ENGINE = "sim.glauber, numba, cpu"
# Chains that tasks handed over to a GPU together have, if there are enough: as many as it works on at once, not more,
# for what was not finished is lost with an interruption.
_CHAINS = 8192
# Of the free memory of this machine, what their samples and records may occupy.
_SHARE = 0.25
# Larger arrays are kept in a file by their fingerprint.
_LARGEST_KEPT = 4096


def address(model: HebbianNetwork, sample: int) -> tuple[int, ...]:
    """Address of the random streams of a quenched sample: its parameters and number, not the place on a grid."""
    # Without blanks a multitasking network is a dense one, down to its random numbers.
    diluted = (random.float_bits(model.dilution),) if model.dilution else ()
    return (
        model.N,
        model.P or 0,
        random.float_bits(model.load or 0.0),
        random.float_bits(model.quality or 0.0),
        model.examples or 0,
        *diluted,
        sample,
    )


def quench(
    model: HebbianNetwork, *, seed: int, sample: int, archetypes: NDArray[np.int8] | None = None
) -> QuenchedSample:
    """Draw the quenched sample that a sweep with this seed simulates under this number.

    Parameters
    ----------
    model : HebbianNetwork
        Network at one point of the grid, with its number of patterns.
    seed : int
        Seed of the sweep.
    sample : int
        Number of the sample, from 0.
    archetypes : ndarray of int8, shape (K, N), optional
        Patterns that the sweep was given.

    Returns
    -------
    QuenchedSample
    """
    return model.quench(rng=random.stream(seed, address(model, sample), "patterns"), archetypes=archetypes)


@dataclass(frozen=True)
class Job:
    """One quenched sample at all its temperatures: what a worker is given.

    Parameters
    ----------
    model : HebbianNetwork
        Network at one point of the grid.
    sample, seed : int
        Number of the sample, and seed of the sweep.
    options : dict
        Options of the simulation.
    archetypes : ndarray of int8, shape (K, N), optional
        Patterns of every sample.
    apart : bool
        Whether each temperature has a place of its own.
    """

    model: HebbianNetwork
    sample: int
    seed: int
    options: Mapping[str, Any]
    archetypes: NDArray[np.int8] | None
    apart: bool


def run(job: Job) -> list[dict[str, NDArray[Any]]]:
    """Draw the quenched sample of a job and simulate it; return what is measured at each of its places."""
    sample = quench(job.model, seed=job.seed, sample=job.sample, archetypes=job.archetypes)
    return _placed(job, front.measure(sample, job.options, seed=job.seed, task=address(job.model, job.sample)))


def run_together(jobs: Iterator[Job]) -> Iterator[list[dict[str, NDArray[Any]]]]:
    """Simulate the samples of jobs, consecutive ones of one model side by side on the GPU; yield what `run` returns."""
    group: list[Job] = []
    for job in jobs:
        if group and (len(group) == _together(group[0]) or not _alike(group[0], job)):
            yield from _side_by_side(group)
            group = []
        group.append(job)
    if group:
        yield from _side_by_side(group)


def _alike(one: Job, other: Job) -> bool:
    return one.model == other.model and np.array_equal(one.options["T"], other.options["T"])


def _side_by_side(group: list[Job]) -> Iterator[list[dict[str, NDArray[Any]]]]:
    samples = [quench(job.model, seed=job.seed, sample=job.sample, archetypes=job.archetypes) for job in group]
    tasks = [address(job.model, job.sample) for job in group]
    measured = front.measure_together(samples, group[0].options, seed=group[0].seed, tasks=tasks)
    return map(_placed, group, measured)


def _placed(job: Job, measured: Mapping[str, front.Variable]) -> list[dict[str, NDArray[Any]]]:
    """Return what is measured at each place of a job."""
    if job.apart:
        return [{name: values[t] for name, (_, values) in measured.items()} for t in range(np.size(job.options["T"]))]
    return [{name: values for name, (_, values) in measured.items()}]


def _together(job: Job) -> int:
    """Return how many jobs like this one are simulated side by side."""
    needed = job.model.memory() + front.record_memory(job.model, job.options)
    fitting = int(_SHARE * validation.available_memory() / needed)
    return max(1, min(fitting, -(-_CHAINS // front.chains(job.options))))


def sweep(
    model: HebbianNetwork,
    *,
    T: ArrayLike | None = None,
    samples: int,
    sweeps: int,
    seed: int,
    equilibration: int | None = None,
    points: Mapping[str, ArrayLike] | None = None,
    adaptive: Adaptive | None = None,
    archetypes: ArrayLike | None = None,
    out: Out | None = None,
    group: str = "simulation",
    overwrite: bool = False,
    resume: bool = False,
    shard: tuple[int, int] = (0, 1),
    executor: Executor | None = None,
    workers: int = 1,
    backend: str = "auto",
    progress: bool = True,
    N: ArrayLike | None = None,
    P: ArrayLike | None = None,
    quality: ArrayLike | None = None,
    examples: ArrayLike | None = None,
    load: ArrayLike | None = None,
    K: ArrayLike | None = None,
    dilution: ArrayLike | None = None,
    **options: Any,
) -> xr.Dataset:
    r"""Simulate a model over a grid of its parameters and of temperatures.

    A task is one quenched sample with all its temperatures. Its random numbers depend on the seed,
    the model's parameters and the number of the sample alone: the result is the same, bit for bit,
    whatever the executor, the order of tasks, the interruptions or the rest of the grid.

    Parameters
    ----------
    model : HebbianNetwork
        Description of the network; parameters given as axes replace its own.
    T : float or array_like
        Temperatures >= 0; left out only if the points have them.
    samples : int
        Quenched samples at each point of the grid, at least 1 (2, if adaptive).
    sweeps : int
        Sweeps measured.
    seed : int
        Seed of the whole run, 0 to 2^64 - 1.
    equilibration : int, optional
        Sweeps discarded before; by default half as many as are measured.
    points : mapping of str to array_like, optional
        Instead of axes: a list of points, {parameter (or T): its values at all points}. They lie along ``point``.
    adaptive : Adaptive, optional
        Further samples where the error is large or the variable steep.
    archetypes : array_like, shape (K, N), optional
        Patterns of every sample, such as binarised images, instead of random ones.
    out : path-like or ResultsFile, optional
        Results file to write, a task at a time.
    group : str
        Group of the file.
    overwrite, resume : bool
        Whether an existing file is replaced, or gone on with.
    shard : tuple of int
        (i, n): of all tasks only those numbered i, i + n, i + 2n, ...; `hebbian-results merge` joins the files.
    executor : concurrent.futures.Executor, optional
        Where tasks run; it is left open. `sim.open_executor` opens one by its name.
    workers : int
        Without an executor: number of processes; 1 runs the tasks in this process.
    backend : {"auto", "cpu", "gpu"}
        Hardware. "gpu": the card of this process runs the tasks, several samples of a model side by side; several cards
        take a shard each. "auto": that of the file that is gone on with; else the GPU, where there is one, no executor
        and one worker, and it is expected to be faster at every point; else the CPU.
    progress : bool
        Whether to show a progress bar, on a terminal.
    N, P, quality, examples, load, K, dilution : array_like, optional
        Axes of the grid over the model's parameters, those that it has.
    **options
        Further arguments of `sim.glauber.simulate`.

    Returns
    -------
    xarray.Dataset
        The variables of `sim.glauber.simulate` along (axes of the model, T, sample, ...), ``K`` along the axes of the
        model, and ``completed`` along them and the samples. What was not run is NaN (0, of integers). With points:
        along (point, sample, ...), with T between if the points do not have it.

    Raises
    ------
    TypeError, ValueError, MemoryError, OSError
        Before any work: if a point of the grid is no valid model, an option is unknown, out of range or contradicts
        a model, what is to be kept differs in size along the grid, results or tasks do not fit in memory or on the
        disk, or the file exists, cannot be written, is being written, or holds another sweep.
    TaskError
        If a task fails; what was finished is stored.
    Interrupted
        On SIGINT or SIGTERM, in the main thread; what was finished is stored.
    """
    samples = validation.integer("samples", samples, minimum=2 if adaptive else 1)
    workers = validation.integer("workers", workers, minimum=1)
    seed = validation.integer("seed", seed, minimum=0, maximum=random.LARGEST_SEED)
    options["sweeps"] = validation.integer("sweeps", sweeps, minimum=1)
    options["equilibration"] = options["sweeps"] // 2 if equilibration is None else equilibration
    validation.choice("backend", backend, device.BACKENDS)
    given = {"N": N, "P": P, "quality": quality, "examples": examples, "load": load, "K": K, "dilution": dilution}
    axes = {name: values for name, values in given.items() if values is not None}
    check_group(group)
    check_executor(executor)
    grid = of_axes(model, axes, T) if points is None else of_points(model, points, T, axes)
    images = None if archetypes is None else np.asarray(archetypes)
    path = out.path if isinstance(out, ResultsFile) else out
    if path is not None and path is out:
        path = check_output(path, overwrite=overwrite, resume=resume)
    for cell in grid.cells:
        front.check_options(options | {"T": cell.T})
    backend, engine = _engine(backend, grid, options, samples, _engine_of(out, group, resume), executor, workers)
    on_it = options | {"backend": backend}
    for cell in grid.cells:
        front.check_network(cell.model, on_it | {"T": cell.T})
        if images is not None:
            cell.model.check_archetypes(images)
    _check_sizes(grid, options)
    part, parts = check_shard(shard)
    if adaptive is not None:
        _check_adaptive(adaptive, grid, samples, parts)
    at_once, here = _workers(executor, workers)
    needed = max(cost.task_memory(cell.model, options) for cell in grid.cells)
    # Before the calibration, which draws a sample.
    cost.Cost(1, needed, 0.0, 0.0, here).check(None)

    def draw(point: HebbianNetwork) -> QuenchedSample:
        return quench(point, seed=seed, sample=0, archetypes=images)

    seconds, measured = cost.task_seconds(
        [cell.model for cell in grid.cells], [on_it | {"T": cell.T} for cell in grid.cells], draw
    )
    template = grid.template(measured, samples if adaptive is None else adaptive.largest, options)
    if adaptive is not None:
        allowed = [str(name) for name, values in template.data_vars.items() if "sample" in values.dims]
        validation.choice("variable of adaptive", adaptive.variable, allowed)
    beside = out.size if isinstance(out, ResultsFile) and group not in out else 0
    cost.Cost(1, needed, template.nbytes, 0.0, here).check(None if path is None else Path(path), beside)
    kept = {"samples": samples, "seed": seed, "options": options, "archetypes": images, "adaptive": adaptive}
    template.attrs = {"parameters": to_json({"model": model} | kept, kept=_LARGEST_KEPT), "engine": engine}
    with opened(out, {"seed": np.uint64(seed), "engine": engine}, overwrite=overwrite, resume=resume) as file:
        table = begin(file, group, template, grid.places)
        rounds = _Rounds(grid, table, partial(Job, seed=seed, archetypes=images, apart=grid.apart), on_it)
        if adaptive is None:
            tasks = rounds.tasks(0, samples)[part::parts]
            batches, total = iter([tasks]), len(tasks)
            done: Callable[[], int] = partial(stored, table, tasks)
            average = float(np.mean(seconds))
        else:
            batches, total, done = rounds.adaptive(adaptive, samples), adaptive.budget, rounds.done
            # Which points will have the most samples is not known yet.
            average = float(np.max(seconds))
        left = total - done()
        announce(str(cost.Cost(left, needed, template.nbytes, average * left, at_once)), progress)
        with _executing(executor, min(workers, total)) as pool:
            together = run_together if backend == "gpu" else None
            return fill(
                table, run, batches, executor=pool, progress=progress, total=total, done=done, together=together
            )


class _Rounds:
    """The tasks of a sweep, in batches."""

    def __init__(self, grid: Grid, table: Memory | Table, job: Callable[..., Job], options: Mapping[str, Any]) -> None:
        self._grid, self._table, self._job, self._options = grid, table, job, options

    def tasks(self, first: ArrayLike, last: ArrayLike) -> list[Task]:
        """Return the tasks of the samples from a first to before a last, of each cell."""
        cells = self._grid.cells
        first, last = np.broadcast_to(first, len(cells)), np.broadcast_to(last, len(cells))
        return [self._task(cell, sample) for i, cell in enumerate(cells) for sample in range(first[i], last[i])]

    def done(self) -> int:
        """Return the number of tasks that are stored."""
        completed = self._table.completed
        return int(sum(np.all([completed[index] for index in cell.indices], axis=0).sum() for cell in self._grid.cells))

    def _task(self, cell: Cell, sample: int) -> Task:
        options = {**self._options, "T": cell.T}
        places = tuple((*index, sample) for index in cell.indices)
        return Task(partial(self._job, cell.model, sample, options=options), places, f"{cell.label}, sample {sample}")

    def adaptive(self, adaptive: Adaptive, samples: int) -> Iterator[list[Task]]:
        """Yield batches; each is decided on by what the ones before measured."""
        shape = tuple(len(values) for _, values in self._grid.outer.values())
        counts = np.zeros(shape, dtype=np.int64)
        after = np.full(shape, samples)
        while (after > counts).any():
            yield self.tasks(counts.ravel(), after.ravel())
            counts = after
            after = adaptive.next_counts(self._table.data, counts, tuple(self._grid.outer))


def _engine_of(out: Out | None, group: str, resume: bool) -> str | None:
    """Return the engine of the results that are gone on with."""
    if isinstance(out, ResultsFile):
        return read(out.path, group).attrs.get("engine") if group in out else None
    if out is None or not resume or not Path(out).exists() or group not in rooms(out):
        return None
    return read(out, group).attrs.get("engine")


def _engine(
    backend: str,
    grid: Grid,
    options: Mapping[str, Any],
    samples: int,
    found: str | None,
    executor: Executor | None,
    workers: int,
) -> tuple[str, str]:
    """Return "cpu" or "gpu" and the name of the engine, which is that of the results that are gone on with."""
    alone = executor is None and workers == 1
    if backend == "auto":
        if found is not None:
            backend = "cpu" if found == ENGINE else "gpu"
        elif not alone:
            backend = "cpu"
        else:
            chosen = {front.backend_of(cell.model, dict(options) | {"T": cell.T}, samples) for cell in grid.cells}
            backend = "gpu" if chosen == {"gpu"} else "cpu"
    if backend == "cpu":
        return backend, ENGINE
    if not alone:
        beside = "an executor" if executor is not None else f"workers = {workers}"
        raise ValueError(
            f"backend = 'gpu' with {beside}: the card of this process runs the tasks; allowed: neither "
            "(--executor local:1), and a shard for each of several cards"
        )
    return backend, f"sim.glauber, {device.find().engine}, gpu"


def _check_adaptive(adaptive: Adaptive, grid: Grid, samples: int, parts: int) -> None:
    if not isinstance(adaptive, Adaptive):
        raise TypeError(f"adaptive = {adaptive!r} is none; allowed: sim.Adaptive(budget, largest, ...)")
    validation.integer("budget of adaptive", adaptive.budget, minimum=samples * len(grid.cells))
    validation.integer("largest of adaptive", adaptive.largest, minimum=samples)
    if parts > 1:
        raise ValueError(f"adaptive with {parts} shards: it decides on all results; allowed: one")
    if grid.apart:
        raise ValueError("adaptive with a list of points that has T; allowed: T as an axis beside the list")


def _check_sizes(grid: Grid, options: Mapping[str, Any]) -> None:
    """Raise unless what is kept of every task has the same shape."""
    for option, value, name in (("overlaps", "all", "K"), ("configurations", True, "N")):
        sizes = sorted({getattr(cell.model, name) for cell in grid.cells})
        if options.get(option) == value and len(sizes) > 1:
            raise ValueError(f"{option} = {value!r} with {name} = {sizes}; allowed: the same {name} all over the grid")


def _workers(executor: Executor | None, workers: int) -> tuple[int, int]:
    """Return the number of tasks at once, and of those that use the memory of this machine."""
    if executor is None:
        return workers, workers
    if isinstance(executor, Pool):
        return executor.workers, executor.workers if executor.here else 1
    return cores(), 1


@contextmanager
def _executing(executor: Executor | None, workers: int) -> Iterator[Executor | None]:
    if executor is not None or workers < 2:
        yield executor
        return
    with local(workers) as pool:
        yield pool
