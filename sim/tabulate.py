"""A function at every point of a grid: tasks, workers, a table in a results file or in memory."""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hebbian import validation
from sim.store import ResultsFile, Table, check_group, check_same, check_values, task_layout, to_json
from sim.tasks import Interrupted, Task, Together, execute

Out = str | os.PathLike[str] | ResultsFile


class Memory:
    """A table of tasks that is kept in memory alone; as `sim.store.Table`."""

    def __init__(self, template: xr.Dataset, places: tuple[str, ...]) -> None:
        shape = [template.sizes[name] for name in places]
        words = {"long_name": "whether the task has been stored", "units": "1"}
        self.data = template.assign(completed=(places, np.zeros(shape, np.int8), words))
        self.data.attrs["places"] = " ".join(places)
        self._layout = task_layout(self.data, places)
        self._arrays = {name: (self.data[name].values, self.data[name].dims) for name in self._layout}
        self._places = places

    @property
    def completed(self) -> NDArray[np.bool_]:
        """Whether each task is stored, along the places."""
        return self.data["completed"].values == 1

    def write(self, place: tuple[int, ...], values: Mapping[str, Any]) -> None:
        """Store what a task measured; as `sim.store.Table.write`."""
        check_values(self._layout, values)
        at = dict(zip(self._places, place, strict=True))
        for name, value in values.items():
            array, dims = self._arrays[name]
            array[tuple(at.get(str(dim), slice(None)) for dim in dims)] = value
        self.data["completed"].values[place] = 1


@contextmanager
def opened(
    out: Out | None, attributes: Mapping[str, Any] | None = None, *, overwrite: bool = False, resume: bool = False
) -> Iterator[ResultsFile | None]:
    """Open a results file for as long as it takes; one that is open already stays open."""
    if out is None or isinstance(out, ResultsFile):
        yield out
        return
    with ResultsFile(out, attributes, overwrite=overwrite, resume=resume) as file:
        yield file


def begin(file: ResultsFile | None, group: str, template: xr.Dataset, places: tuple[str, ...]) -> Table | Memory:
    """Return the table of some tasks, in a file or in memory."""
    return Memory(template, places) if file is None else file.table(group, template, places)


def fill(
    table: Table | Memory,
    function: Callable[[Any], Sequence[Mapping[str, Any]]],
    batches: Iterable[Sequence[Task]],
    *,
    executor: Executor | None,
    progress: bool,
    total: int,
    done: Callable[[], int],
    together: Together | None = None,
) -> xr.Dataset:
    """Run the tasks that a table does not have yet, see `sim.tasks.execute`; return its data."""

    def missing() -> Iterator[list[Task]]:
        for batch in batches:
            completed = table.completed
            yield [task for task in batch if not all(completed[place] for place in task.places)]

    def keep(task: Task, results: Sequence[Mapping[str, Any]]) -> None:
        for place, values in zip(task.places, results, strict=True):
            table.write(place, values)

    try:
        execute(
            function,
            missing(),
            keep,
            executor=executor,
            total=total,
            done=done(),
            progress=progress,
            together=together,
        )
    except Interrupted as interruption:
        stored = f"{done()} of {total} tasks are stored"
        interruption.args = (f"{interruption.args[0]}: {stored}",)
        raise
    finally:
        if isinstance(table, Table):
            table.sync()
            table.close()
    return table.data.drop_vars("checksum", errors="ignore")


def tabulate(
    function: Callable[[Any], xr.Dataset],
    axes: Mapping[str, Sequence[Any]],
    *,
    argument: Callable[..., Any] = dict,
    out: Out | None = None,
    group: str = "simulation",
    parameters: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    resume: bool = False,
    shard: tuple[int, int] = (0, 1),
    executor: Executor | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Call a function at every point of the product of axes.

    Parameters
    ----------
    function : callable
        Takes the argument of a point and returns the dataset measured there: the same dimensions, coordinates and kinds
        of variables everywhere. With an executor: a function that can be pickled.
    axes : mapping of str to sequence
        Axes, the slowest first.
    argument : callable
        Makes the argument of a point of its coordinates, given by name; by default a dict of them.
    out : path-like or ResultsFile, optional
        Results file to write, a task at a time.
    group : str
        Group of the file.
    parameters : mapping, optional
        What determines the results beside the axes, for the file: to go on with it, they must be the same.
    overwrite, resume : bool
        Whether an existing file is replaced, or gone on with.
    shard : tuple of int
        (i, n): of all points only those numbered i, i + n, i + 2n, ...
    executor : concurrent.futures.Executor, optional
        Where the function is called; without one, in this process.
    progress : bool
        Whether to show a progress bar, on a terminal.

    Returns
    -------
    xarray.Dataset
        The variables along (axes..., their own dimensions), and ``completed`` along the axes.

    Raises
    ------
    ValueError, OSError
        If there is no point, or the file exists, cannot be written or holds something else.
    TaskError, Interrupted
        See `sim.tasks.execute`; what was finished is stored.
    """
    check_group(group)
    check_executor(executor)
    for name, values in axes.items():
        if isinstance(values, str) or np.ndim(values) != 1:
            raise ValueError(f"{name} = {values!r} is no axis; allowed: a sequence of numbers or words")
    if not axes or not all(len(values) for values in axes.values()):
        raise ValueError(f"axes = {dict(axes)!r} have no point; allowed: at least one axis, none of them empty")
    for name, values in axes.items():
        if len(set(map(str, values))) != len(values):
            raise ValueError(f"{name} = {list(values)!r} repeats a value; allowed: distinct values")
    points = list(itertools.product(*(np.asarray(values).tolist() for values in axes.values())))
    places = list(np.ndindex(*(len(values) for values in axes.values())))

    def task(i: int) -> Task:
        point = dict(zip(axes, points[i], strict=True))
        return Task(lambda: argument(**point), (places[i],), in_words(point))

    part, parts = check_shard(shard)
    tasks = [task(i) for i in range(len(points))]
    chosen = tasks[part::parts]
    kept = {"parameters": to_json(parameters or {})}
    with opened(out, overwrite=overwrite, resume=resume) as file:
        if file is not None and group in file:
            table: Table | Memory = file.table(group, None, tuple(axes))
            where = f"{file.path}, /{group}"
            check_same(where, table.data.attrs, table.data.attrs | kept)
            check_same(where, {name: table.data[name].values for name in axes}, axes)
        else:
            # The first point shows what is measured; a part that has none looks at one of another.
            first: list[xr.Dataset] = []
            execute(
                partial(_alone, function),
                [(chosen or tasks)[:1]],
                lambda _, results: first.extend(results),
                executor=executor,
                total=1,
                progress=False,
            )
            table = begin(file, group, _template(first[0], axes).assign_attrs(kept), tuple(axes))
            if chosen:
                table.write(chosen[0].places[0], _values(first[0]))
        return fill(
            table,
            partial(_listed, function),
            [chosen],
            executor=executor,
            progress=progress,
            total=len(chosen),
            done=lambda: stored(table, chosen),
        )


def stored(table: Table | Memory, tasks: Sequence[Task]) -> int:
    """Return how many of some tasks a table has."""
    completed = table.completed
    return sum(all(completed[place] for place in task.places) for task in tasks)


def check_shard(shard: tuple[int, int]) -> tuple[int, int]:
    """Return a part (i, n) of a whole, or raise unless 0 <= i < n."""
    if not isinstance(shard, tuple | list) or len(shard) != 2:
        raise TypeError(f"shard = {shard!r} is no pair; allowed: (i, n) with 0 <= i < n")
    parts = validation.integer("n of shard = (i, n): n", shard[1], minimum=1)
    return validation.integer("i of shard = (i, n): i", shard[0], minimum=0, maximum=parts - 1), parts


def in_words(point: Mapping[str, Any]) -> str:
    """Return a point in words."""
    texts = (f"{value:.6g}" if isinstance(value, float) else str(value) for value in point.values())
    return ", ".join(f"{name} = {text}" for name, text in zip(point, texts, strict=True))


def check_executor(executor: object) -> None:
    """Raise TypeError unless this is an executor, or None."""
    if executor is not None and not isinstance(executor, Executor):
        raise TypeError(
            f"executor = {executor!r} is no executor; allowed: a concurrent.futures.Executor, such as "
            "`sim.open_executor` opens by a name, or None"
        )


def _alone(function: Callable[[Any], xr.Dataset], argument: Any) -> list[xr.Dataset]:
    """Return the one result of a function in the list that tasks want."""
    measured = function(argument)
    if not isinstance(measured, xr.Dataset):
        raise TypeError(f"{measured!r} was returned; allowed: xarray.Dataset")
    return [measured]


def _listed(function: Callable[[Any], xr.Dataset], argument: Any) -> list[dict[str, Any]]:
    """Return the values of the one result of a function in the list that tasks want."""
    return [_values(measured) for measured in _alone(function, argument)]


def _values(measured: xr.Dataset) -> dict[str, Any]:
    """Return what was measured as a table keeps it: truth values as 0 and 1."""
    values = {str(name): variable.values for name, variable in measured.data_vars.items()}
    return {name: value.astype(np.int8) if value.dtype == bool else value for name, value in values.items()}


def _template(measured: xr.Dataset, axes: Mapping[str, Sequence[Any]]) -> xr.Dataset:
    """Return a dataset like the measured one along the axes, with nothing in it."""
    lengths = tuple(len(values) for values in axes.values())
    variables = {
        name: ((*axes, *measured[name].dims), empty((*lengths, *value.shape), value.dtype), measured[name].attrs)
        for name, value in _values(measured).items()
    }
    return xr.Dataset(variables, {name: list(values) for name, values in axes.items()} | dict(measured.coords))


def empty(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Return an array with nothing measured: NaN, or zeros of integers."""
    return np.full(shape, np.nan if np.dtype(dtype).kind == "f" else 0, dtype=dtype)
