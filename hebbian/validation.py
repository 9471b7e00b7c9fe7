"""Checks of arguments: each error names the argument, its value and what is allowed."""

import math
import numbers
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def integer(name: str, value: object, *, minimum: int, maximum: int | None = None) -> int:
    """Return `value` as an int, or raise unless it is an integer from `minimum` to `maximum`."""
    allowed = f"integers >= {minimum}" if maximum is None else f"integers from {minimum} to {maximum}"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} = {value!r} is not an integer; allowed: {allowed}")
    number = int(value)
    if number < minimum or (maximum is not None and number > maximum):
        raise ValueError(f"{name} = {number} is out of range; allowed: {allowed}")
    return number


def real(
    name: str,
    value: object,
    *,
    above: float = -math.inf,
    minimum: float = -math.inf,
    maximum: float = math.inf,
    below: float = math.inf,
) -> float:
    """Return `value` as a float, or raise unless it is finite and inside the stated interval."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} = {value!r} is not a real number")
    try:
        number = float(value)
    except OverflowError:  # an integer beyond the floats
        number = math.inf
    if not (math.isfinite(number) and above < number < below and minimum <= number <= maximum):
        lower = f"({above}" if above > minimum else f"[{minimum}"
        upper = f"{below})" if below < maximum else f"{maximum}]"
        interval = f"{lower}, {upper}".replace("[-inf", "(-inf").replace("inf]", "inf)")
        raise ValueError(f"{name} = {value} is out of range; allowed: finite numbers in {interval}")
    return number


def choice(name: str, value: object, allowed: Collection[str]) -> str:
    """Return `value`, or raise unless it is one of the `allowed` words."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} = {value!r} is unknown; allowed: {', '.join(map(repr, allowed))}")
    return value


def rectangular(name: str, values: ArrayLike) -> NDArray[Any]:
    """Return `values` as an array, or raise if its rows differ in length."""
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} = {values!r} is ragged; allowed: rows of equal length") from error


def axis(
    name: str,
    values: ArrayLike,
    *,
    above: float = -math.inf,
    minimum: float = -math.inf,
    maximum: float = math.inf,
    below: float = math.inf,
) -> NDArray[np.float64]:
    """Return a grid axis as a 1D float array, or raise unless it is non-empty, finite, distinct and in range."""
    array = np.atleast_1d(rectangular(name, values))
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} = {values!r} is not an array of real numbers")
    array = array.astype(np.float64, copy=False)
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}; allowed: a number or a one-dimensional array")
    if array.size == 0:
        raise ValueError(f"{name} is empty; allowed: at least one value")
    for value in array.tolist():
        real(f"every value of {name}: {name}", value, above=above, minimum=minimum, maximum=maximum, below=below)
    if np.unique(array).size != array.size:
        raise ValueError(f"{name} = {array.tolist()} repeats a value; allowed: distinct values")
    return array


def signs(name: str, values: ArrayLike, shape: tuple[int, ...], *, blanks: bool = False) -> NDArray[np.int8]:
    """Return `values` as int8, or raise unless it has the given shape and only entries -1 and +1 (0, with `blanks`)."""
    allowed = (-1, 0, 1) if blanks else (-1, 1)
    words = "-1, 0 and +1" if blanks else "-1 and +1"
    array = rectangular(name, values)
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}; allowed: {shape}")
    if not np.issubdtype(array.dtype, np.number) or np.issubdtype(array.dtype, np.complexfloating):
        raise TypeError(f"{name} has dtype {array.dtype}; allowed: real numbers {words}")
    if sum(np.count_nonzero(array == entry) for entry in allowed) != array.size:
        other = next(entry for entry in array.flat if entry not in allowed)
        raise ValueError(f"{name} has an entry {other}; allowed: {words}")
    return array.astype(np.int8, copy=False)


def finite(name: str, values: ArrayLike, shape: tuple[int | None, ...]) -> NDArray[Any]:
    """Return `values` as floats (float32 if they are), or raise unless finite and of the shape; None is any length."""
    array = rectangular(name, values)
    if array.ndim != len(shape) or any(n not in (None, m) for n, m in zip(shape, array.shape, strict=True)):
        words = ", ".join("any" if n is None else str(n) for n in shape) + ("," if len(shape) == 1 else "")
        raise ValueError(f"{name} has shape {array.shape}; allowed: ({words})")
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} has dtype {array.dtype}; allowed: real numbers")
    array = array if array.dtype in (np.float32, np.float64) else array.astype(np.float64)
    if not np.isfinite(array).all():
        where = tuple(np.argwhere(~np.isfinite(array))[0].tolist())
        raise ValueError(f"{name} has an entry {array[where]} at {where}; allowed: finite numbers")
    return array


def generator(name: str, value: object) -> np.random.Generator:
    """Return `value`, or raise unless it is a NumPy random generator."""
    if not isinstance(value, np.random.Generator):
        raise TypeError(f"{name} = {value!r} is not a random generator; allowed: numpy.random.Generator")
    return value


def memory(name: str, needed: float) -> None:
    """Raise MemoryError with the estimate unless `needed` bytes are available on this machine."""
    available = available_memory()
    if needed > available:
        raise MemoryError(
            f"{name} needs about {needed / 2**30:.3g} GiB, {available / 2**30:.3g} GiB are available; "
            "allowed: what fits in memory (lower N, P, the load or the number of examples)"
        )


def available_memory() -> float:
    """Bytes that a new allocation can use now; infinite where the system does not say.

    The least of what the machine has and of what is left under the limits of the control groups (a container, a batch
    job) that this process is in. Inactive file cache counts as free: the kernel drops it before a limit is met.
    """
    return _available_memory(Path("/"))


def _available_memory(root: Path) -> float:
    """`available_memory` of a tree of system files."""
    return min(_memory_of_machine(root), _memory_of_control_groups(root))


def _memory_of_machine(root: Path) -> float:
    try:
        text = (root / "proc/meminfo").read_text()
    except OSError:
        pass
    else:
        return _entry(text, "MemAvailable:") * 1024.0
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return math.inf


# Limit, usage, and the name in memory.stat of the inactive file cache; a group's usage includes its children's.
_CONTROL_GROUPS = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "),
    2: ("memory.max", "memory.current", "inactive_file "),
}


def _memory_of_control_groups(root: Path) -> float:
    mount, left = root / "sys/fs/cgroup", math.inf
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            left = min(left, _memory_of_control_group(mount, path, 2))
        elif "memory" in controllers.split(","):
            left = min(left, _memory_of_control_group(mount / "memory", path, 1))
    return left


def _memory_of_control_group(mount: Path, path: str, version: int) -> float:
    """Bytes left under the limits of a group and its parents; those that cannot be seen from here do not count."""
    limit_file, usage_file, cache = _CONTROL_GROUPS[version]
    parts = [part for part in path.split("/") if part]
    if ".." in parts:  # the group lies outside of what is mounted
        parts = []
    left = math.inf
    for depth in range(len(parts) + 1):
        group = mount.joinpath(*parts[:depth])
        limit, usage = _text(group / limit_file).strip(), _text(group / usage_file).strip()
        if limit.isdigit() and usage.isdigit():
            cached = _entry(_text(group / "memory.stat"), cache)
            free = int(limit) - int(usage) + (cached if math.isfinite(cached) else 0)
            left = min(left, max(free, 0.0))
    return left


def _text(path: Path) -> str:
    """Return the text of a system file, empty where there is none."""
    try:
        return path.read_text()
    except OSError:
        return ""


def _entry(text: str, key: str) -> float:
    """Return the number behind a key at the start of a line, infinite where there is none."""
    for line in text.splitlines():
        if line.startswith(key):
            return float(line.removeprefix(key).split()[0])
    return math.inf
