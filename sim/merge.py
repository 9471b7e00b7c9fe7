"""Results files of one sweep, such as its shards, parts of its grid or interrupted copies, joined into one."""

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sim import store
from sim.tabulate import empty, in_words

FLAGS = ("completed", "checksum")
# Groups that are computed from all tasks.
CONCLUSIONS = "comparison"
_SAME = "allowed: files of one sweep, written by the same version"


@dataclass(frozen=True)
class _Part:
    """A file to be merged, in memory."""

    path: Path
    attributes: dict[str, Any]
    groups: dict[str, xr.Dataset]

    @property
    def has_tasks(self) -> bool:
        return any((data["completed"] == 1).any() for data in self.groups.values() if is_table(data))


def merge(out: str | os.PathLike[str], paths: Sequence[str | os.PathLike[str]], overwrite: bool = False) -> None:
    """Join results files of one sweep into one that the sweep can go on with.

    The files hold shards of one grid, or other values along one or more of its axes, or copies of each other. Axes that
    differ are joined, in ascending order if they are numbers. A sweep of the whole grid with ``out=out, resume=True``
    runs what is missing; if nothing is, it returns what it would have returned undivided, bit for bit. Predictions are
    kept if they are the same, and joined along the same axes; groups ``comparison...``, which rest on all tasks, are
    left out unless all tasks are from one file.

    The root attribute ``merged`` (JSON) lists what is particular to each file: its name, commit, machine, times.

    Parameters
    ----------
    out : path-like
        Results file to write.
    paths : sequence of path-like
        Two files or more.
    overwrite : bool
        Whether an existing file is replaced, once the new one is written.

    Raises
    ------
    FileExistsError
        If `out` exists, and `overwrite` is not set.
    ValueError
        If a file is foreign or damaged; they are of other versions, seeds, engines, scripts or parameters; they hold
        different values of one task; or a group cannot be joined: with the difference. Nothing is written.
    OSError
        If a file is missing, or `out` cannot be written or is being written by another process.
    """
    target = Path(out)
    if len(paths) < 2:
        raise ValueError(f"paths = {list(map(str, paths))} has {len(paths)} file(s); allowed: two or more")
    if target.exists() and not overwrite:
        raise FileExistsError(f"out = {target} exists; allowed: a new path, or overwrite (--overwrite)")
    parts = [_read(Path(path)) for path in paths]
    _check_origin(parts)
    groups, axes = _join_groups(parts)
    attributes = _attributes(parts, axes)
    store.check_output(target, overwrite=overwrite)
    lock = filelock.FileLock(target.with_name(target.name + ".lock"), timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise BlockingIOError(f"out = {target} is being written by another process; allowed: one writer") from error
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
            new = Path(folder, target.name)
            file = store.ResultsFile(new, attributes)
            try:
                file.create(groups)
            finally:
                file.close(finished=False)
            os.replace(new, target)
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def is_table(data: xr.Dataset) -> bool:
    """Return whether a group is a table of tasks."""
    return "places" in data.attrs and all(name in data.data_vars for name in FLAGS)


def places_of(data: xr.Dataset) -> tuple[str, ...]:
    """Return the dimensions of a table whose indices name a task."""
    return tuple(str(data.attrs["places"]).split())


def damaged_tasks(data: xr.Dataset) -> list[tuple[int, ...]]:
    """Return the places of a table, in order, that are marked wrongly or do not hold what was measured there."""
    places = places_of(data)
    flags = data["completed"].transpose(*places).values
    wrong = map(tuple, np.argwhere((flags != 0) & (flags != 1)).tolist())
    return sorted({*wrong, *store.damaged(data, places)})


def task_in_words(data: xr.Dataset, place: tuple[int, ...]) -> str:
    """Return the coordinates of a task, such as "load = 0.1, sample = 3"."""
    return in_words({name: _label(data, name, i) for name, i in zip(places_of(data), place, strict=True)})


def _label(data: xr.Dataset, dim: str, i: int) -> Any:
    return data[dim].values[i].item() if dim in data.coords and data[dim].dtype != object else data[dim].values[i]


def _read(path: Path) -> _Part:
    attributes = store.attributes_of(path)
    groups = {name: store.read(path, name) for name in store.rooms(path)}
    for name, data in groups.items():
        wrong = damaged_tasks(data) if is_table(data) else []
        if wrong:
            raise ValueError(
                f"{path}, /{name} has {len(wrong)} damaged task(s), first {task_in_words(data, wrong[0])}; "
                "allowed: sound files (go on with this one by --resume: they run again)"
            )
    return _Part(path, attributes, groups)


def _check_origin(parts: list[_Part]) -> None:
    """Raise unless the root attributes agree that determine the results."""
    free = {*store.provenance(), *store.VOLATILE, "merged"} - {"schema", "hebbian_version"}
    first = _determining(parts[0], free)
    for part in parts[1:]:
        _check_same("", parts[0].path, first, part.path, _determining(part, free))


def _determining(part: _Part, free: set[str]) -> dict[str, Any]:
    found = {name: value for name, value in part.attributes.items() if name not in free}
    configuration = _configuration(part)
    # What is a list in the grid is an axis: the groups say whether axes may differ.
    configuration["grid"] = {
        name: "a list" if isinstance(value, list) else value for name, value in configuration.get("grid", {}).items()
    }
    found.pop("configuration", None)
    return found | {"configuration": configuration}


def _configuration(part: _Part) -> dict[str, Any]:
    return json.loads(part.attributes.get("configuration", "{}"))


def _check_same(where: str, path: Path, first: Mapping[str, Any], other_path: Path, other: Mapping[str, Any]) -> None:
    """Raise ValueError that names the first difference between two files."""
    leaves, others = dict(_leaves(first)), dict(_leaves(other))
    for name in [*leaves, *others]:
        old, new = leaves.get(name, "nothing"), others.get(name, "nothing")
        if old != new:
            raise ValueError(f"{other_path}{where} has {name} = {_short(new)} where {path} has {_short(old)}; {_SAME}")


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the entries of nested mappings, and of JSON in texts, as (name with dots, text)."""
    if isinstance(value, str) and value.startswith("{"):
        value = json.loads(value)
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, json.dumps(json.loads(store.to_json({"": value}))[""])


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:117] + "..."


def _attributes(parts: list[_Part], axes: set[str]) -> dict[str, Any]:
    """Return the root attributes of the merged file: those of the first part where parts differ, times of all."""
    own = ("command_line", "started", "finished", "resumed", "merged")
    attributes = {name: value for name, value in parts[0].attributes.items() if name not in own}
    if "seed" in attributes:
        attributes["seed"] = np.uint64(attributes["seed"])
    if axes and "configuration" in attributes:
        configuration = _configuration(parts[0])
        for name, value in configuration.get("grid", {}).items():
            if isinstance(value, list):
                lists = [np.asarray(_configuration(part)["grid"][name]) for part in parts]
                configuration["grid"][name] = _union(lists).tolist()
        attributes["configuration"] = store.to_json(configuration)
    attributes["started"] = min(part.attributes["started"] for part in parts)
    if all("finished" in part.attributes for part in parts):
        attributes["finished"] = max(part.attributes["finished"] for part in parts)
    return attributes | {"merged": json.dumps([entry for part in parts for entry in _origins(part)])}


def _origins(part: _Part) -> list[dict[str, Any]]:
    """Return what is particular to a part, or to each of those that it was merged from."""
    if "merged" in part.attributes:
        return json.loads(part.attributes["merged"])
    known = (*store.provenance(), *store.VOLATILE)
    names = [name for name in part.attributes if name in known and name not in ("schema", "hebbian_version")]
    return [{"file": part.path.name} | {name: part.attributes[name] for name in names}]


def _join_groups(parts: list[_Part]) -> tuple[dict[str, xr.Dataset], set[str]]:
    """Return the groups of the merged file, and the axes along which the parts differ."""
    names = sorted({name for part in parts for name in part.groups})
    tables = [name for name in names if any(is_table(part.groups[name]) for part in parts if name in part.groups)]
    joined: dict[str, xr.Dataset] = {}
    axes: set[str] = set()
    for name in tables:
        found = _having(parts, name)
        places = places_of(found[0][1])
        axes |= {dim for dim in places if _differ([data for _, data in found], dim)}
        joined[name] = _join(name, found, set(places), tasks=places)
    for name in names:
        if name not in tables and name.split("/")[0] != CONCLUSIONS:
            joined[name] = _join(name, _having(parts, name), axes)
    if axes:
        for name in joined:
            lacking = [part.path for part in parts if name not in part.groups]
            if lacking:
                raise ValueError(
                    f"{lacking[0]} has no group /{name}, and other values of {', '.join(sorted(axes))} than other "
                    "files; allowed: parts of a grid that have the same groups (go on with this one by --resume)"
                )
    working = [part for part in parts if part.has_tasks]
    if len(working) == 1 and not axes:
        concluded = {name: data for name, data in working[0].groups.items() if name not in joined}
        joined |= concluded
    return dict(sorted(joined.items())), axes


Found = list[tuple[Path, xr.Dataset]]


def _having(parts: list[_Part], group: str) -> Found:
    return [(part.path, part.groups[group]) for part in parts if group in part.groups]


def _differ(datasets: Iterable[xr.Dataset], dim: str) -> bool:
    first, *others = [data[dim].values for data in datasets]
    return not all(np.array_equal(first, values) for values in others)


def _join(group: str, found: Found, along: set[str], tasks: tuple[str, ...] = ()) -> xr.Dataset:
    """Join a group of several files along some axes.

    Parameters
    ----------
    group : str
        Name, for messages.
    found : list of (Path, xarray.Dataset)
        The group of each file that has it.
    along : set of str
        Dimensions whose coordinates may differ.
    tasks : tuple of str
        Places of a table; its variables count where tasks are completed.
    """
    (path, first), *others = found
    for other_path, other in others:
        _check_same(f", /{group}", path, _layout(first), other_path, _layout(other))
    datasets = [data for _, data in found]
    differing = [str(dim) for dim in first.dims if _differ(datasets, str(dim))]
    for dim in differing:
        if dim not in along:
            raise ValueError(
                f"/{group} of {', '.join(str(path) for path, _ in found)} has different {dim}; allowed: "
                f"the same {dim}, other values only along {', '.join(sorted(along)) or 'no axis'}"
            )
    if differing and json.loads(first.attrs.get("parameters", "{}")).get("adaptive"):
        raise ValueError(
            f"/{group} is an adaptive sweep, which decides on all points, with different {', '.join(differing)}; "
            "allowed: files of the same grid"
        )
    axes = {str(dim): _union([data[dim].values for data in datasets]) for dim in first.dims}
    indices = [{dim: _positions(axes[dim], data[dim].values) for dim in axes} for data in datasets]
    variables = {}
    for name, variable in first.variables.items():
        if name in axes:
            values = axes[str(name)]
        else:
            of_tasks = bool(tasks) and set(tasks) <= set(variable.dims)
            lead = tasks if of_tasks else tuple(dim for dim in differing if dim in variable.dims)
            values = _scatter(group, str(name), found, indices, axes, lead, of_tasks)
        variables[name] = (variable.dims, values, variable.attrs)
    coordinates = {name: variables.pop(name) for name in first.coords if name in variables}
    return xr.Dataset(variables, coordinates, first.attrs)


def _layout(data: xr.Dataset) -> dict[str, Any]:
    """Return what two parts of a group have in common: attributes, and what its variables are."""
    described: dict[str, Any] = {}
    for name, variable in data.variables.items():
        described |= {f"dimensions of {name}": list(variable.dims), f"dtype of {name}": str(variable.dtype)}
        described |= {f"{key} of {name}": value for key, value in variable.attrs.items()}
    return described | data.attrs


def _union(axes: list[NDArray[Any]]) -> NDArray[Any]:
    """Return all values of some axes: in their order if they are the same, else numbers in ascending order."""
    if all(np.array_equal(axes[0], axis) for axis in axes):
        return axes[0]
    values = np.concatenate(axes)
    if values.dtype.kind in "iuf":
        return np.unique(values)
    return np.array(list(dict.fromkeys(values.tolist())), dtype=values.dtype)


def _positions(axis: NDArray[Any], values: NDArray[Any]) -> NDArray[np.int64]:
    at = {value: i for i, value in enumerate(axis.tolist())}
    return np.array([at[value] for value in values.tolist()], dtype=np.int64)


def _scatter(
    group: str,
    name: str,
    found: Found,
    indices: list[dict[str, NDArray[np.int64]]],
    axes: dict[str, NDArray[Any]],
    lead: tuple[str, ...],
    of_tasks: bool,
) -> NDArray[Any]:
    """Put the parts of a variable to their places along the dimensions of `lead`; raise if two differ at one."""
    variable = found[0][1].variables[name]
    rest = [str(dim) for dim in variable.dims if dim not in lead]
    shape, inner = [len(axes[dim]) for dim in lead], [variable.sizes[dim] for dim in rest]
    rows, width = int(np.prod(shape)), int(np.prod(inner))
    joined = empty((rows, width), variable.dtype)
    owner = np.full(rows, -1)

    def point(row: int) -> str:
        if not lead:
            return ""
        at = zip(lead, np.unravel_index(row, shape), strict=True)
        return f" at {in_words({dim: axes[dim].tolist()[i] for dim, i in at})}"

    for number, ((path, data), index) in enumerate(zip(found, indices, strict=True)):
        at = np.ravel(np.arange(rows).reshape(shape)[np.ix_(*(index[dim] for dim in lead))])
        values = np.ascontiguousarray(data.variables[name].transpose(*lead, *rest).values).reshape(len(at), width)
        given = np.ones(len(at), bool)
        if of_tasks:
            given = (data["completed"].transpose(*lead).values == 1).ravel()
        again = np.flatnonzero(given & (owner[at] >= 0))
        unlike = again[~_equal_rows(joined[at[again]], values[again])]
        if unlike.size:
            row = int(at[unlike[0]])
            raise ValueError(
                f"{path} and {found[owner[row]][0]} have different {name} in /{group}{point(row)}; "
                "allowed: the same values, bit for bit"
            )
        joined[at[given]] = values[given]
        owner[at[given & (owner[at] < 0)]] = number
    if not of_tasks and (owner < 0).any():
        row = int(np.flatnonzero(owner < 0)[0])
        raise ValueError(f"no file has {name} of /{group}{point(row)}; allowed: parts that make up the whole grid")
    ordered = joined.reshape((*shape, *inner))
    return ordered.transpose([(*lead, *rest).index(str(dim)) for dim in variable.dims]).copy(order="C")


def _equal_rows(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which rows are the same, bit for bit."""
    if first.dtype.kind not in "OU":
        first, second = (np.ascontiguousarray(values).view(np.uint8) for values in (first, second))
    return (first == second).all(axis=1)
