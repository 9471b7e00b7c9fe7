"""The results file: HDF5 laid out as netCDF-4 that survives its writer, one group a room (simulation, theory, ...).

Groups are added to a copy that then replaces the file. What a sweep will measure is laid out whole at the start
(`Table`), and finished tasks go to their places as bytes, without HDF5: a process killed at any moment
leaves a file that every reader opens. A seal behind the HDF5 data holds the checksum of all that is outside of
tables; a table holds one for each task.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO, Self

import filelock
import h5netcdf
import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray

SCHEMA = "hebbian-results/2"
# Facts that differ between runs of identical results.
VOLATILE = ("command_line", "started", "finished", "resumed")

_MAGIC = b"hebbian-results\n"
# Bytes of HDF5's own entries, at most, that come with a new file or group.
_MARGIN = 1 << 20
_BLOCK = 1 << 24
# What a table says about a task beside its values.
_FLAGS = ("completed", "checksum")
# Seconds between the moments at which finished tasks are forced to the disk, against loss of power.
_SYNC = 2.0


class ResultsFile:
    """A results file open for its only writer.

    Parameters
    ----------
    path : path-like
        File to create, or to go on with.
    attributes : mapping
        Root attributes beyond those of `provenance`: what determines the results.
    overwrite : bool
        Whether an existing file is replaced, once there is something to write.
    resume : bool
        Whether an existing file is gone on with; without one, a new one is begun.

    Raises
    ------
    FileExistsError
        If the file exists, and neither `overwrite` nor `resume` is set.
    ValueError
        If the file to resume is foreign, damaged, of another version, or has other attributes, with the difference.
    OSError
        If the file cannot be written, or another process is writing it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        attributes: Mapping[str, Any] | None = None,
        *,
        overwrite: bool = False,
        resume: bool = False,
    ) -> None:
        self.path = check_output(path, overwrite=overwrite, resume=resume)
        self._tables: dict[str, Table] = {}
        self._unbegun: dict[str, Any] = {}
        self._resumed: str | None = None
        self._lock = filelock.FileLock(self.path.with_name(self.path.name + ".lock"), timeout=0)
        try:
            self._lock.acquire()
        except filelock.Timeout as error:
            raise BlockingIOError(
                f"out = {self.path} is being written by another process; allowed: one writer"
            ) from error
        except OSError as error:
            raise type(error)(f"out = {self.path} cannot be written: {_reason(error)}") from error
        try:
            self._open(dict(attributes or {}), overwrite, resume)
        except BaseException:
            self._unlock()
            raise

    def _open(self, attributes: dict[str, Any], overwrite: bool, resume: bool) -> None:
        # Again, now that nobody else writes.
        check_output(self.path, overwrite=overwrite, resume=resume)
        known = provenance()
        if not (resume and self.path.exists()):
            # With the first group: until then, nothing is lost of a file that is to be replaced.
            self._unbegun = known | attributes
            return
        found = attributes_of(self.path)
        check_same(str(self.path), {name: found.get(name) for name in attributes}, attributes)
        if found["hebbian_version"] != known["hebbian_version"]:
            raise ValueError(
                f"{self.path} was begun with hebbian {found['hebbian_version']}, this is {known['hebbian_version']}; "
                "allowed: the same version, or overwrite (--overwrite)"
            )
        # When the file was gone on with, and what of its provenance has changed since.
        changed = {name: value for name, value in known.items() if found.get(name) != value}
        self._resumed = json.dumps([*json.loads(found.get("resumed", "[]")), changed])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close(finished=kind is None)

    def __contains__(self, group: str) -> bool:
        if self._unbegun:
            return False
        with h5py.File(self.path, "r") as file:
            return group in file

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return 0 if self._unbegun else self.path.stat().st_size

    def create(self, groups: Mapping[str, xr.Dataset]) -> None:
        """Add groups, given as {name: dataset}, all or none.

        Raises
        ------
        ValueError
            If the file has a group already.
        OSError
            If the disk is full; the file is as it was.
        """
        for group in groups:
            if check_group(group) in self:
                raise ValueError(f"{self.path} has a group /{group} already; allowed: groups that are not there yet")
        added = sum(dataset.nbytes for dataset in groups.values())
        with self._changing(added) as file:
            for group, dataset in groups.items():
                _write(file.create_group(group), dataset)

    def keep(self, group: str, compute: Callable[[], xr.Dataset]) -> xr.Dataset:
        """Return a group; compute and add it if the file does not have it yet."""
        if group not in self:
            self.create({group: compute()})
        return read(self.path, group)

    def table(self, group: str, template: xr.Dataset | None, places: tuple[str, ...]) -> "Table":
        """Return the table of tasks in a group: a new one laid out like the template, or the one that is there.

        Parameters
        ----------
        group : str
            Name of the group.
        template : xarray.Dataset or None
            Variables with nothing measured in them; its attributes say what determines the results. None takes what is
            there as it is.
        places : tuple of str
            Dimensions whose indices name a task: its place.

        Raises
        ------
        ValueError
            If the group is there with other attributes, coordinates or variables, with the difference; or if there are
            variables that are no numbers.
        """
        check_group(group)
        if template is None:
            check_same(
                f"{self.path}, /{group}",
                {"places": read(self.path, group).attrs.get("places")},
                {"places": " ".join(places)},
            )
        elif group not in self:
            for name, variable in template.data_vars.items():
                # A truth value would come back as one, whatever the byte on the disk.
                if variable.dtype.kind not in "iuf":
                    raise ValueError(f"{name} of /{group} has dtype {variable.dtype}; allowed: numbers")
            laid_out = template.copy()
            shape = [template.sizes[name] for name in places]
            for name, kind, words in (
                ("completed", np.int8, "whether the task has been stored"),
                ("checksum", np.uint32, "CRC-32 of what was stored of the task"),
            ):
                laid_out[name] = (places, np.zeros(shape, kind), {"long_name": words, "units": "1"})
            laid_out.attrs["places"] = " ".join(places)
            with self._changing(laid_out.nbytes) as file:
                _write(file.create_group(group), laid_out)
        else:
            found = read(self.path, group)
            wanted = template.attrs | {"places": " ".join(places)}
            check_same(f"{self.path}, /{group}", {name: found.attrs.get(name) for name in wanted}, wanted)
            check_same(f"{self.path}, /{group}", _layout(found.drop_vars(_FLAGS)), _layout(template))
        table = self._tables[group] = Table(self.path, group, places)
        if self._resumed is not None and not table.completed.all():
            with self._changing():
                pass
        return table

    def close(self, *, finished: bool = True) -> None:
        """Close the file; if all is in it, stamp the time."""
        try:
            for table in self._tables.values():
                table.close()
            if finished and (self._unbegun or "finished" not in attributes_of(self.path)):
                with self._changing() as file:
                    file.attrs["finished"] = _now()
        finally:
            self._unlock()

    def _unlock(self) -> None:
        # While it is held: who waits for it sees that it has no name any more, and makes a new one.
        Path(self._lock.lock_file).unlink(missing_ok=True)
        self._lock.release()

    @contextlib.contextmanager
    def _changing(self, added: int = 0) -> Iterator[Any]:
        """Give a copy of the file to write on; the first change of a resumed file says that it was gone on with."""
        opened = [table for table in self._tables.values() if table.close()]
        try:
            with _replacing(self.path, copy=not self._unbegun, added=added) as file:
                for name, value in self._unbegun.items():
                    file.attrs[name] = value
                if self._resumed is not None:
                    file.attrs["resumed"] = self._resumed
                yield file
            self._unbegun, self._resumed = {}, None
        finally:
            for table in opened:
                table.open()


class Table:
    """The tasks of a sweep in a results file: each has a place, a flag that says it is there, and a checksum."""

    def __init__(self, path: Path, group: str, places: tuple[str, ...]) -> None:
        self._path, self._group, self._places = path, group, places
        self.open()
        self.data = read(path, group)
        self._layout = task_layout(self.data, places)
        # The arrays of the dataset themselves: looking them up in it takes longer than to write them.
        self._arrays = {name: self.data[name].values for name in (*self._layout, *_FLAGS)}
        self._drop_damaged()

    def open(self) -> None:
        """Open the file for bytes; find where the variables begin in it."""
        with h5py.File(self._path, "r") as file:
            group = file[self._group]
            self._variables = {name: _Slots(group[name], *_order(group, name, self._places)) for name in _tasked(group)}
        # Unbuffered: what is written is in the hands of the system, a killed process does not take it along.
        self._raw = open(self._path, "r+b", buffering=0)  # noqa: SIM115
        self._synced = time.monotonic()

    def close(self) -> bool:
        """Force what was written to the disk and close the file; return whether it was open."""
        if self._raw.closed:
            return False
        with self._raw:
            os.fsync(self._raw.fileno())
        return True

    @property
    def completed(self) -> NDArray[np.bool_]:
        """Whether each task is stored, along the places."""
        return self._arrays["completed"] == 1

    def write(self, place: tuple[int, ...], values: Mapping[str, Any]) -> None:
        """Store what a task measured, {name: array along the dimensions of the variable that are no places}.

        Raises
        ------
        ValueError
            If these are not the variables of the table, or one has another shape or kind; nothing is written.
        OSError
            If the disk is full or the file is gone. What was stored before stays readable.
        """
        check_values(self._layout, values)
        crc = 0
        for name in sorted(values):
            slots = self._variables[name]
            part = np.asarray(values[name], dtype=slots.dtype, order="C")
            crc = zlib.crc32(part, crc)
            slots.write(self._raw, place, part)
            self._arrays[name][slots.index(place)] = part
        # The flag is last: where it is set, all the rest is in place.
        for name, value in (("checksum", crc), ("completed", 1)):
            self._variables[name].write(self._raw, place, np.asarray(value, self._variables[name].dtype))
            self._arrays[name][place] = value
        if time.monotonic() - self._synced > _SYNC:
            self.sync()

    def sync(self) -> None:
        """Force what was written to the disk; raise OSError if the path no longer leads to the file."""
        os.fsync(self._raw.fileno())
        self._synced = time.monotonic()
        if not (self._path.exists() and os.path.samestat(os.stat(self._path), os.fstat(self._raw.fileno()))):
            raise FileNotFoundError(f"{self._path} was moved, replaced or deleted while it was being written")

    def _drop_damaged(self) -> None:
        """Take back the flag of every task whose checksum is wrong: it did not reach the disk whole, and runs again."""
        for place in damaged(self.data, self._places):
            self._arrays["completed"][place] = 0
            self._variables["completed"].write(self._raw, place, np.zeros((), np.int8))


class _Slots:
    """Where in a file the parts of a variable lie that belong to a task."""

    def __init__(self, variable: h5py.Dataset, places: tuple[int, ...], inner: tuple[int, ...]) -> None:
        # An empty variable lies nowhere.
        self.dtype, self._offset = variable.dtype, variable.id.get_offset() or 0
        self._places, self._rank = places, variable.ndim
        strides = [variable.dtype.itemsize * int(np.prod(variable.shape[i + 1 :])) for i in range(variable.ndim)]
        self._task_strides = [strides[i] for i in places]
        # The last dimensions that follow all places are one stretch of bytes.
        scattered = [i for i in inner if places and i < max(places)]
        steps = np.zeros(1, dtype=np.int64)
        for i in scattered:
            steps = (steps[:, None] + strides[i] * np.arange(variable.shape[i])).ravel()
        self._steps = steps.tolist()

    def index(self, place: tuple[int, ...]) -> tuple[Any, ...]:
        """Return the index of a place into the variable."""
        index: list[Any] = [slice(None)] * self._rank
        for dimension, i in zip(self._places, place, strict=True):
            index[dimension] = i
        return tuple(index)

    def write(self, file: Any, place: tuple[int, ...], part: NDArray[Any]) -> None:
        """Write the part of a task, its dimensions in the order of the variable."""
        start = self._offset + sum(i * stride for i, stride in zip(place, self._task_strides, strict=True))
        pieces = part.reshape(len(self._steps), -1).view(np.uint8)
        for step, piece in zip(self._steps, pieces, strict=True):
            file.seek(start + step)
            _write_all(file, memoryview(piece))


def task_layout(data: xr.Dataset, places: tuple[str, ...]) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Return shape and dtype of what one task of a table measures, {name: (shape, dtype)}."""
    return {
        name: (tuple(size for dim, size in variable.sizes.items() if dim not in places), variable.dtype)
        for name, variable in _tasks_variables(data, places).items()
        if name not in _FLAGS
    }


def check_values(layout: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]], values: Mapping[str, Any]) -> None:
    """Raise ValueError unless the values are those of one task of a table: its variables, their shapes and kinds."""
    if layout.keys() != values.keys():
        raise ValueError(f"a task measured {sorted(values)}; allowed: what the others measured, {sorted(layout)}")
    for name, (shape, dtype) in layout.items():
        value = np.asarray(values[name])
        if value.shape != shape or not np.can_cast(value.dtype, dtype, "same_kind"):
            raise ValueError(
                f"a task measured {name} of shape {value.shape} and dtype {value.dtype}; "
                f"allowed: what the others measured, shape {shape} and dtype {dtype}"
            )


def damaged(data: xr.Dataset, places: tuple[str, ...]) -> list[tuple[int, ...]]:
    """Return the places of the completed tasks of a table whose values do not have the stored checksum."""
    names = sorted(name for name in _tasks_variables(data, places) if name not in _FLAGS)
    completed = data["completed"].transpose(*places).values
    stored = data["checksum"].transpose(*places).values.ravel()
    of_tasks = [
        np.ascontiguousarray(data[name].transpose(*places, ...).values).reshape(completed.size, -1)
        for name in names
        if data[name].size
    ]
    chosen = np.flatnonzero(completed)
    # Some tasks at a time: their bytes are copied, a row a task.
    step = max(1, _BLOCK // max(1, sum(values.itemsize * values.shape[1] for values in of_tasks)))
    wrong: list[int] = []
    for i in range(0, len(chosen), step):
        part = chosen[i : i + step]
        rows = np.concatenate([values[part].view(np.uint8) for values in of_tasks], axis=1)
        found = np.fromiter(map(zlib.crc32, rows), np.uint32, len(part))
        wrong.extend(part[found != stored[part]].tolist())
    return [tuple(map(int, np.unravel_index(i, completed.shape))) for i in wrong]


def read(path: str | os.PathLike[str], group: str) -> xr.Dataset:
    """Read one group of a results file into memory.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing, foreign, damaged, or has no such group.
    """
    attributes_of(path)
    try:
        with xr.open_dataset(path, group=group, engine="h5netcdf") as dataset:
            # First of all: while a file is being written, what is completed then is in place.
            if "completed" in dataset:
                dataset["completed"].load()
            # Of the layout, not of the results.
            dataset.attrs.pop("tasked", None)
            return dataset.load()
    except OSError as error:
        raise ValueError(f"{path} has no readable group /{group}: {error}") from error


def groups(path: str | os.PathLike[str], group: str = "/") -> list[str]:
    """Return the names of the groups inside a group, in alphabetical order."""
    attributes_of(path)
    with h5py.File(path, "r") as file:
        if group not in file:
            raise ValueError(f"{path} has no group /{group}; allowed: {', '.join(sorted(file))}")
        return sorted(name for name, node in file[group].items() if isinstance(node, h5py.Group))


def rooms(path: str | os.PathLike[str]) -> list[str]:
    """Return the full names of all groups that hold variables, in alphabetical order."""
    attributes_of(path)
    found = []

    def collect(name: str, node: Any) -> None:
        if isinstance(node, h5py.Group) and any(isinstance(child, h5py.Dataset) for child in node.values()):
            found.append(name)

    with h5py.File(path, "r") as file:
        file.visititems(collect)
    return sorted(found)


def attributes_of(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the root attributes of a results file.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing, no results file of this schema, or not as it was written.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; allowed: a results file")
    if not path.is_file():
        raise ValueError(f"{path} is not a file; allowed: a results file")
    try:
        # Opened once: its writer may put another in its place.
        with open(path, "rb") as raw:
            seal = _read_seal(raw)
            if seal is None:
                raise ValueError(_foreign(path))
            if seal["schema"] != SCHEMA:
                raise ValueError(f"{path} has schema {seal['schema']!r}; allowed: {SCHEMA!r}")
            if _checksum(raw, seal["length"], seal["tables"]) != seal["crc32"]:
                raise ValueError(f"{path} is damaged, or was changed by another program: its checksum is wrong")
        with h5py.File(path, "r") as file:
            # netCDF knows no scalar attributes: a number comes back as an array of one.
            return {
                name: value.item() if np.size(value) == 1 and not isinstance(value, str) else value
                for name, value in file.attrs.items()
            }
    except OSError as error:
        raise ValueError(f"{path} is not readable: {error}") from error


def check_output(path: str | os.PathLike[str], *, overwrite: bool = False, resume: bool = False) -> Path:
    """Return an output path, or raise unless it can be created (or replaced, or resumed)."""
    path = Path(path)
    if overwrite and resume:
        raise ValueError("overwrite and resume are both set; allowed: one of them")
    if path.is_dir():
        raise IsADirectoryError(f"out = {path} is a directory; allowed: the path of a file")
    if path.exists() and not (overwrite or resume):
        raise FileExistsError(f"out = {path} exists; allowed: a new path, overwrite (--overwrite) or resume (--resume)")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise type(error)(f"out = {path} cannot be written: {_reason(error)}") from error
    return path


def check_group(name: str) -> str:
    """Return the name of a group, of parts joined by slashes, or raise ValueError."""
    if not isinstance(name, str) or not all(part.strip(". ") for part in name.split("/")):
        raise ValueError(f"group = {name!r} is no name of a group; allowed: a name, or names joined by single slashes")
    return name


def check_same(where: str, found: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Raise ValueError that names the first difference between what a file says and what is asked for."""
    for name, old, new in _differences("", _plain(found), _plain(asked)):
        raise ValueError(
            f"{where} has {name} = {_short(old)}, asked for is {_short(new)}; "
            "allowed: the same, another path, or overwrite (--overwrite)"
        )


def provenance() -> dict[str, str]:
    """Return what is known about the origin of a file: versions, commit, command line, machine, time."""
    return {
        "schema": SCHEMA,
        "hebbian_version": version("hebbian"),
        "git_commit": _git_commit(),
        "command_line": " ".join(sys.argv),
        "python": platform.python_version(),
        "numpy": version("numpy"),
        "numba": version("numba"),
        "machine": f"{platform.system()} {platform.machine()}",
        "started": _now(),
    }


def to_json(parameters: Mapping[str, Any], *, kept: float = math.inf) -> str:
    """Return parameters as JSON with sorted names: the form kept in a file.

    Arrays become lists (larger ones than `kept` entries their fingerprint), dataclasses their names and fields.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray) and value.size > kept:
            digest = hashlib.sha256(np.ascontiguousarray(value)).hexdigest()
            return {"shape": value.shape, "dtype": str(value.dtype), "sha256": digest}
        if isinstance(value, np.ndarray | np.generic):
            return value.tolist()
        if isinstance(value, range):
            return list(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
            return {"class": type(value).__name__} | fields
        raise TypeError(f"{value!r} of type {type(value).__name__} cannot be kept in a results file")

    return json.dumps(dict(parameters), default=plain, sort_keys=True)


@contextlib.contextmanager
def _replacing(path: Path, *, copy: bool = True, added: int = 0) -> Iterator[Any]:
    """Give a copy of a results file (or a new one) to write on; then seal it and let it take the file's place."""
    new = path.with_name(path.name + ".new")
    try:
        new.unlink(missing_ok=True)
        if copy:
            shutil.copyfile(path, new)
        _reserve(new, added + _MARGIN)
        with h5py.File(new, "r+" if copy else "w") as hdf5, h5netcdf.File(hdf5, "r+") as file:
            yield file
        _seal(new)
        os.replace(new, path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise type(error)(f"{path} cannot be written: {_reason(error)}; what it held before stays") from error
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _reserve(path: Path, size: int) -> None:
    """Raise OSError unless a file can grow by some bytes; HDF5, which gives the excess back, must not run out of disk.

    Its library would keep the file open for ever.
    """
    if hasattr(os, "posix_fallocate"):
        with open(path, "ab") as raw:
            os.posix_fallocate(raw.fileno(), raw.tell(), size)


def _seal(path: Path) -> None:
    """Append the checksum of all but the tables, which change, to a file and force it to the disk."""
    with h5py.File(path, "r") as file:
        tables = sorted(_table_extents(file))
    length = path.stat().st_size
    with open(path, "rb") as raw:
        seal = {"schema": SCHEMA, "length": length, "tables": tables, "crc32": _checksum(raw, length, tables)}
    text = json.dumps(seal).encode()
    with open(path, "ab") as raw:
        raw.write(text + len(text).to_bytes(8, "little") + zlib.crc32(text).to_bytes(4, "little") + _MAGIC)
        raw.flush()
        os.fsync(raw.fileno())


def _read_seal(raw: BinaryIO) -> dict[str, Any] | None:
    """Return the seal of a file, or None if there is none at its end."""
    tail = 8 + 4 + len(_MAGIC)
    size = raw.seek(0, os.SEEK_END)
    if size < tail:
        return None
    raw.seek(size - tail)
    end = raw.read(tail)
    length, crc = int.from_bytes(end[:8], "little"), int.from_bytes(end[8:12], "little")
    if end[12:] != _MAGIC or length > size - tail:
        return None
    raw.seek(size - tail - length)
    text = raw.read(length)
    if zlib.crc32(text) != crc:
        return None
    seal = json.loads(text)
    return seal if seal["length"] == size - tail - length else None


def _foreign(path: Path) -> str:
    if not h5py.is_hdf5(path):
        return f"{path} is not an HDF5 file; allowed: a results file"
    return f"{path} is no results file, is cut short, or was changed by another program; allowed: a results file"


def _checksum(raw: BinaryIO, length: int, skipped: list[list[int]]) -> int:
    """Return the CRC-32 of the first bytes of a file but for some stretches (offset, size)."""
    crc, position = 0, 0
    for offset, size in [*skipped, [length, 0]]:
        raw.seek(position)
        while position < offset:
            block = raw.read(min(_BLOCK, offset - position))
            if not block:
                return -1
            crc = zlib.crc32(block, crc)
            position += len(block)
        position = max(position, offset + size)
    return crc


def _table_extents(file: h5py.File) -> Iterator[list[int]]:
    """Yield the stretches of a file (offset, size) that hold what the tasks of tables measured."""
    found: list[list[int]] = []

    def collect(_: str, node: Any) -> None:
        if isinstance(node, h5py.Group) and "checksum" in node:
            for name in _tasked(node):
                offset = node[name].id.get_offset()
                if offset is not None:
                    found.append([offset, node[name].id.get_storage_size()])

    file.visititems(collect)
    yield from found


def _tasked(group: h5py.Group) -> list[str]:
    """Return the names of the variables of a table that tasks fill."""
    return str(group.attrs["tasked"]).split()


def _tasks_variables(data: xr.Dataset, places: Iterable[str]) -> dict[str, xr.DataArray]:
    """Return the variables of a table that tasks fill, and its flags."""
    return {str(name): variable for name, variable in data.data_vars.items() if set(places) <= set(variable.dims)}


def _order(group: h5py.Group, name: str, places: tuple[str, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the positions of the places and of the other dimensions among those of a variable."""
    dims = _dimensions(group[name])
    return tuple(dims.index(place) for place in places), tuple(i for i, dim in enumerate(dims) if dim not in places)


def _dimensions(variable: h5py.Dataset) -> list[str]:
    return [scale.values()[0].name.rpartition("/")[2] if len(scale) else "" for scale in variable.dims]


def _layout(dataset: xr.Dataset) -> dict[str, Any]:
    """Return what two tables of the same tasks have in common."""
    described: dict[str, Any] = {
        str(name): [list(map(str, variable.dims)), list(variable.shape), str(variable.dtype.kind)]
        for name, variable in dataset.data_vars.items()
    }
    return described | {str(name): coordinate.values for name, coordinate in dataset.coords.items()}


def _write(group: Any, dataset: xr.Dataset) -> None:
    group.dimensions = {str(name): size for name, size in dataset.sizes.items()}
    for name, variable in dataset.variables.items():
        data = variable.values
        if data.dtype.kind in "UO":
            data = data.astype(object)
            created = group.create_variable(str(name), variable.dims, h5py.string_dtype(), data=data)
        else:
            created = group.create_variable(str(name), variable.dims, data=data.view(np.int8) if _bool(data) else data)
            if _bool(data):
                created.attrs["dtype"] = "bool"
        for key, value in variable.attrs.items():
            created.attrs[key] = value
    for key, value in dataset.attrs.items():
        group.attrs[key] = value
    if "places" in dataset.attrs:
        # HDF5 takes its time to say which dimensions a variable has.
        group.attrs["tasked"] = " ".join(sorted(_tasks_variables(dataset, dataset.attrs["places"].split())))
    further = [str(name) for name in dataset.coords if name not in dataset.dims]
    if further:
        # By the convention of netCDF: what readers take for coordinates although no dimension has their name.
        group.attrs["coordinates"] = " ".join(further)


def _write_all(file: Any, data: memoryview) -> None:
    while data:
        data = data[file.write(data) :]


def _bool(data: Any) -> bool:
    return data.dtype == np.bool_


def _plain(value: Any) -> Any:
    """Return a value as JSON would give it back; a text of JSON as what it says."""
    if isinstance(value, str) and value.startswith(("{", "[")):
        with contextlib.suppress(ValueError):
            return json.loads(value)
    return json.loads(to_json({"": dict(value) if isinstance(value, Mapping) else value}))[""]


def _differences(name: str, found: Any, asked: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(found, dict) and isinstance(asked, dict):
        for key in [*asked, *(key for key in found if key not in asked)]:
            inner = (_plain(value.get(key)) for value in (found, asked))
            yield from _differences(f"{name}.{key}" if name else key, *inner)
    elif found != asked:
        yield name, found, asked


def _reason(error: OSError) -> str:
    """Return why a file cannot be written; the messages of HDF5 are long."""
    full = os.strerror(errno.ENOSPC)
    return error.strerror or (full if full in str(error) else str(error).partition("\n")[0])


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."


def _git_commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
