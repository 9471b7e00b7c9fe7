"""The results file: HDF5 laid out as netCDF-4, one group a room (simulation, theory, comparison)."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import h5netcdf
import h5py
import numpy as np
import xarray as xr

SCHEMA = "hebbian-results/1"
# Facts that differ between runs of identical results.
VOLATILE = ("command_line", "started", "finished")


class ResultsFile:
    """A results file being written by one sweep.

    Parameters
    ----------
    path : path-like
        File to create.
    attributes : mapping
        Root attributes beyond those of `provenance`.
    overwrite : bool
        Whether to replace an existing file; it is replaced once the new one can be written.

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is not set.
    OSError
        If the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], attributes: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.path = check_output(path, overwrite=overwrite)
        partial = self.path.with_name(self.path.name + ".new")
        self._hdf5 = h5py.File(partial, "w")
        self._file = h5netcdf.File(self._hdf5, "r+")
        for name, value in (provenance() | dict(attributes)).items():
            self._file.attrs[name] = value
        self._flush()
        os.replace(partial, self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    def create(self, group: str, dataset: xr.Dataset) -> None:
        """Create a group from a dataset: its dimensions, coordinates, variables and attributes."""
        _write(self._file.create_group(group), dataset)
        self._flush()

    def write(self, group: str, values: Mapping[str, tuple[Any, Any]]) -> None:
        """Write parts of variables, given as {name: (index, values)}, and bring them to disk."""
        for name, (index, part) in values.items():
            self._file[group].variables[name][index] = part
        self._flush()

    def close(self) -> None:
        """Stamp the time and close the file."""
        self._file.attrs["finished"] = _now()
        self._file.close()
        self._hdf5.close()

    def _flush(self) -> None:
        self._file.flush()
        self._hdf5.flush()


def append(path: str | os.PathLike[str], group: str, dataset: xr.Dataset) -> None:
    """Add a group to a results file.

    Raises
    ------
    ValueError
        If the file is not a results file or has the group already.
    """
    _check_schema(path)
    with h5netcdf.File(path, "r+") as file:
        if group in file:
            raise ValueError(f"{path} has a group /{group} already; allowed: groups that are not there yet")
        _write(file.create_group(group), dataset)


def read(path: str | os.PathLike[str], group: str) -> xr.Dataset:
    """Read one group of a results file into memory.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing, foreign, unreadable, or has no such group.
    """
    _check_schema(path)
    try:
        with xr.open_dataset(path, group=group, engine="h5netcdf") as dataset:
            return dataset.load()
    except OSError as error:
        raise ValueError(f"{path} has no readable group /{group}: {error}") from error


def groups(path: str | os.PathLike[str], group: str) -> list[str]:
    """Return the names of the groups inside a group, in alphabetical order."""
    _check_schema(path)
    with h5py.File(path, "r") as file:
        return sorted(name for name, node in file[group].items() if isinstance(node, h5py.Group))


def check_output(path: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Return an output path, or raise unless it can be created (or replaced, with `overwrite`)."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"out = {path} is a directory; allowed: the path of a file")
    if path.exists() and not overwrite:
        raise FileExistsError(f"out = {path} exists; allowed: a new path, or overwrite (--overwrite)")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe = path.with_name(path.name + ".new")
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise type(error)(f"out = {path} cannot be written: {error.strerror}") from error
    return path


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
        "finished": " " * len(_now()),
    }


def to_json(parameters: Mapping[str, Any]) -> str:
    """Return parameters as JSON with sorted names, arrays as lists: the form kept in a file."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray | np.generic):
            return value.tolist()
        raise TypeError(f"{value!r} of type {type(value).__name__} cannot be kept in a results file")

    return json.dumps(dict(parameters), default=plain, sort_keys=True)


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


def _bool(data: Any) -> bool:
    return data.dtype == np.bool_


def _check_schema(path: str | os.PathLike[str]) -> None:
    if not Path(path).exists():
        raise FileNotFoundError(f"{path} does not exist; allowed: a results file")
    try:
        with h5py.File(path, "r") as file:
            schema = file.attrs.get("schema")
    except OSError as error:
        raise ValueError(f"{path} is not a readable HDF5 file: {error}") from error
    if schema != SCHEMA:
        raise ValueError(f"{path} has schema {schema!r}; allowed: {SCHEMA!r}")


def _git_commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
