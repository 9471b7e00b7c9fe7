"""A grid of models, many quenched samples, several temperatures each: tasks, workers, one file."""

import dataclasses
import itertools
import math
import multiprocessing
import os
from collections.abc import Hashable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from hebbian import HebbianNetwork, QuenchedSample, validation
from sim import random
from sim.glauber import front, states
from sim.store import ResultsFile, check_output, to_json

LABELS = {
    "N": "number of spins",
    "P": "order of the interaction",
    "quality": "quality r of the examples",
    "examples": "number M of examples per pattern",
    "load": "load gamma, K = gamma (2/P!) N^(P-1)",
    "dilution": "fraction d of blank pattern entries",
    "K": "number of patterns",
    "sample": "quenched sample",
    "completed": "whether the task has been stored",
}


@dataclass(frozen=True)
class Task:
    """One quenched sample at all its temperatures; `index` is its place on the grid."""

    model: HebbianNetwork
    sample: int
    index: tuple[int, ...]
    seed: int
    options: dict[str, Any]
    archetypes: NDArray[np.int8] | None


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


def run(task: Task) -> xr.Dataset:
    """Draw the quenched sample of a task and simulate it."""
    sample = quench(task.model, seed=task.seed, sample=task.sample, archetypes=task.archetypes)
    return front.simulate(sample, seed=task.seed, task=address(task.model, task.sample), **task.options)


def sweep(
    model: HebbianNetwork,
    *,
    T: ArrayLike,
    samples: int,
    sweeps: int,
    seed: int,
    equilibration: int | None = None,
    archetypes: ArrayLike | None = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    executor: Executor | None = None,
    workers: int = 1,
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
    whatever the workers, the order of tasks or the rest of the grid.

    Parameters
    ----------
    model : HebbianNetwork
        Description of the network; parameters given as axes replace its own.
    T : float or array_like
        Temperatures >= 0.
    samples : int
        Quenched samples at each point of the grid, at least 1.
    sweeps : int
        Sweeps measured.
    seed : int
        Seed of the whole run, 0 to 2^64 - 1.
    equilibration : int, optional
        Sweeps discarded before; by default half as many as are measured.
    archetypes : array_like, shape (K, N), optional
        Patterns of every sample, such as binarised images, instead of random ones.
    out : path-like, optional
        Results file to write, a task at a time.
    overwrite : bool
        Whether an existing file is replaced.
    executor : concurrent.futures.Executor, optional
        Where tasks run; it is left open.
    workers : int
        Without an executor: number of processes; 1 runs the tasks in this process.
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
        model, and ``completed`` along them and the samples.

    Raises
    ------
    TypeError, ValueError, MemoryError, OSError
        Before any work: if a point of the grid is no valid model, an option is unknown, out of range or contradicts
        a model, what is to be kept differs in size along the grid, a task does not fit in memory, or the file exists
        or cannot be written.
    """
    temperatures = validation.axis("T", T, minimum=0.0)
    samples = validation.integer("samples", samples, minimum=1)
    workers = validation.integer("workers", workers, minimum=1)
    seed = validation.integer("seed", seed, minimum=0, maximum=random.LARGEST_SEED)
    sweeps = validation.integer("sweeps", sweeps, minimum=1)
    options |= {"T": temperatures, "sweeps": sweeps}
    options["equilibration"] = sweeps // 2 if equilibration is None else equilibration
    front.check_options(options)
    given = {"N": N, "P": P, "quality": quality, "examples": examples, "load": load, "K": K}
    given["dilution"] = dilution
    axes = {name: validation.axis(name, values) for name, values in given.items() if values is not None}
    for name in {"N", "P", "examples", "K"} & axes.keys():
        if np.any(axes[name] != np.round(axes[name])):
            raise ValueError(f"{name} = {axes[name].tolist()} has non-integer values; allowed: integers")
        axes[name] = axes[name].astype(np.int64)
    images = None if archetypes is None else np.asarray(archetypes)
    tasks = list(_tasks(model, axes, samples, seed, options, images))
    replicas = options.get("replicas", front.REPLICAS)
    needed = max(task.model.memory() + states.memory(task.model, replicas) for task in tasks)
    # Unpickled tasks wait in line; their samples exist in the workers only.
    validation.memory(f"{workers} worker(s) with a sample each", workers * needed)
    for task in tasks[::samples]:
        front.check_network(task.model, options)
        if images is not None:
            task.model.check_archetypes(images)
    _check_sizes(tasks, options)
    file = None
    if out is not None:
        check_output(out, overwrite=overwrite)
        file = ResultsFile(out, _attributes(model, axes, samples, seed, options), overwrite=overwrite)
    grid = _Grid(axes, samples, [task.model.K for task in tasks[::samples]], file)
    try:
        with tqdm(total=len(tasks), disable=None if progress else True, unit="task") as bar:
            for task, result in _completed(tasks, executor, workers):
                grid.store(task, result)
                bar.update()
    finally:
        if file is not None:
            file.close()
    return grid.dataset


class _Grid:
    """The dataset of all samples, in memory and in the file, filled a task at a time."""

    def __init__(
        self, axes: dict[str, NDArray[Any]], samples: int, K: list[int | None], file: ResultsFile | None
    ) -> None:
        self._coordinates = {name: (name, values, _label(name)) for name, values in axes.items()}
        self._coordinates["sample"] = ("sample", np.arange(samples), _label("sample"))
        self._outer = tuple(axes)
        self._K = np.array(K, dtype=np.int64).reshape([len(values) for values in axes.values()])
        self._file = file
        self.dataset = xr.Dataset()

    def store(self, task: Task, result: xr.Dataset) -> None:
        if not self.dataset.variables:
            self.dataset = self._template(result)
            if self._file is not None:
                self._file.create("simulation", self.dataset)
        parts: dict[str, tuple[Any, Any]] = {}
        for name, variable in result.data_vars.items():
            # The result has the temperature first; the grid has it between axes and sample.
            index: tuple[Any, ...] = (*task.index[:-1], slice(None), task.index[-1], ...)
            self.dataset[name].values[index] = variable.values
            parts[str(name)] = (index, variable.values)
        if self._file is not None:
            self._file.write("simulation", parts)
        self.dataset["completed"].values[task.index] = 1
        if self._file is not None:
            # After the data: a flag on disk says that its task is there.
            self._file.write("simulation", {"completed": (task.index, 1)})

    def _template(self, result: xr.Dataset) -> xr.Dataset:
        sizes: dict[Hashable, int] = dict(result.sizes)
        sizes |= {name: len(values) for name, (_, values, _) in self._coordinates.items()}
        variables: dict[str, Any] = {}
        for name, variable in result.data_vars.items():
            dims = (*self._outer, "T", "sample", *variable.dims[1:])
            shape = [sizes[dim] for dim in dims]
            fill = np.nan if variable.dtype.kind == "f" else 0
            variables[str(name)] = (dims, np.full(shape, fill, dtype=variable.dtype), variable.attrs)
        flags = np.zeros([sizes[name] for name in self._coordinates], dtype=np.int8)
        if "K" not in sizes:
            variables["K"] = (self._outer, self._K, _label("K"))
        variables["completed"] = (tuple(self._coordinates), flags, _label("completed"))
        return xr.Dataset(variables, coords=dict(result.coords) | self._coordinates)


def _label(name: str) -> dict[str, str]:
    return {"long_name": LABELS[name], "units": "1"}


def _tasks(
    model: HebbianNetwork,
    axes: dict[str, NDArray[Any]],
    samples: int,
    seed: int,
    options: dict[str, Any],
    archetypes: NDArray[np.int8] | None,
) -> Iterator[Task]:
    for index in np.ndindex(*(len(values) for values in axes.values())):
        changes = {name: values[i].item() for (name, values), i in zip(axes.items(), index, strict=True)}
        point = model.replace(**changes)
        if point.K is None:
            raise ValueError("neither load nor K is set by the model or an axis; allowed: load > 0 or K >= 1")
        for sample in range(samples):
            yield Task(point, sample, (*index, sample), seed, options, archetypes)


def _check_sizes(tasks: list[Task], options: dict[str, Any]) -> None:
    """Raise unless what is kept of every task has the same shape."""
    for option, value, name in (("overlaps", "all", "K"), ("configurations", True, "N")):
        sizes = sorted({getattr(task.model, name) for task in tasks})
        if options.get(option) == value and len(sizes) > 1:
            raise ValueError(f"{option} = {value!r} with {name} = {sizes}; allowed: the same {name} all over the grid")


def _attributes(
    model: HebbianNetwork, axes: dict[str, NDArray[Any]], samples: int, seed: int, options: dict[str, Any]
) -> dict[str, Any]:
    return {
        "seed": np.uint64(seed),
        "engine": "sim.glauber, numba, cpu",
        "model": to_json({"class": type(model).__name__} | dataclasses.asdict(model)),
        "grid": to_json(axes | {"samples": samples}),
        "options": to_json(options),
    }


def _completed(tasks: list[Task], executor: Executor | None, workers: int) -> Iterator[tuple[Task, xr.Dataset]]:
    """Yield tasks with their results as they finish."""
    if executor is None and min(workers, len(tasks)) == 1:
        yield from ((task, run(task)) for task in tasks)
    elif executor is None:
        # Fresh interpreters: a fork would copy the threads' locks of whoever calls us.
        with ProcessPoolExecutor(min(workers, len(tasks)), multiprocessing.get_context("spawn")) as pool:
            try:
                yield from _from_pool(tasks, pool, 2 * workers)
            except BrokenProcessPool as error:
                raise RuntimeError(
                    "a worker process ended abruptly: out of memory, killed, or started by a script that does not "
                    "guard its own work by `if __name__ == '__main__':`"
                ) from error
    else:
        yield from _from_pool(tasks, executor, math.inf)


def _from_pool(tasks: list[Task], pool: Executor, in_flight: float) -> Iterator[tuple[Task, xr.Dataset]]:
    waiting = iter(tasks)
    running: dict[Future[xr.Dataset], Task] = {}
    try:
        while True:
            room = len(tasks) if math.isinf(in_flight) else int(in_flight) - len(running)
            for task in itertools.islice(waiting, room):
                running[pool.submit(run, task)] = task
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()
    finally:
        for future in running:
            future.cancel()
