"""What a run is asked to do: the words of the command line, of a TOML or YAML file or of an earlier results file."""

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from hebbian import validation
from sim import executors, random, store
from sim.glauber.device import BACKENDS

# A grid of more values is a slip of the keyboard.
_LARGEST_GRID = 1_000_000
GRID_FORMS = "A:B:N (N values from A to B), log:A:B:N, or values and such ranges with commas between"
Words = Mapping[str, Any]
Preset = Mapping[str, Any]


@dataclass(frozen=True)
class Settings:
    """Everything that a run needs to know.

    Parameters
    ----------
    configuration : dict
        What determines the results, as it is kept in the file: script, preset, seed, grid, ...
    preset : dict
        The values of the preset with all changes, in the types of the preset.
    options : dict
        The script's own words.
    out : Path
        Results file.
    overwrite, resume : bool
        Whether an existing file is replaced, or gone on with.
    executor : str
        Name of the executor, see `sim.open_executor`.
    backend : str
        "auto" or "cpu".
    shard : tuple of int
        (i, n): every n-th task, from the i-th.
    budget : int or None
        Samples of each adaptive sweep.
    plot : bool
        Whether to draw the figure.
    log : Path or None
        File for the log.
    """

    configuration: dict[str, Any]
    preset: dict[str, Any]
    options: dict[str, Any]
    out: Path
    overwrite: bool
    resume: bool
    executor: str
    backend: str
    shard: tuple[int, int]
    budget: int | None
    plot: bool
    log: Path | None

    @property
    def seed(self) -> int:
        """Seed of the whole run."""
        return self.configuration["seed"]


def resolve(given: Words, script: str, presets: Mapping[str, Preset], options: Mapping[str, Any]) -> Settings:
    """Return the settings that words add up to; the command line goes before files, and these before the preset.

    Parameters
    ----------
    given : mapping
        Words of the command line: {word: value}, None for those that were not said.
    script : str
        Name of the script.
    presets : mapping
        Presets of the script; the first is the default.
    options : mapping
        The script's own words with their default values.

    Returns
    -------
    Settings

    Raises
    ------
    ValueError, TypeError, OSError
        If a word is unknown or its value not allowed, or a file cannot be read.
    """
    said = {name: value for name, value in given.items() if value is not None}
    words: dict[str, Any] = {}
    for source in (_of_results(said.pop("from_file", None), script), _of_text(said.pop("config", None)), said):
        _check_words(source, options)
        grid = words.get("grid", {}) | flatten(_named_specs(source.get("grid", {})))
        words |= source
        words["grid"] = grid
    name = validation.choice("preset", words.get("preset", next(iter(presets))), presets)
    preset = _changed(presets[name], words)
    seed = validation.integer("seed", words.get("seed", 1), minimum=0, maximum=random.LARGEST_SEED)
    backend = validation.choice("backend", words.get("backend", "auto"), BACKENDS)
    budget = words.get("budget")
    own = {word: _own(word, words.get(word, default), default) for word, default in options.items()}
    configuration: dict[str, Any] = {"script": script, "preset": name, "seed": seed, "grid": _plain(flatten(preset))}
    configuration |= {"backend": backend} | {word: _plain(value) for word, value in own.items()}
    if budget is not None:
        configuration["budget"] = validation.integer("budget", budget, minimum=1)
    return Settings(
        configuration=configuration,
        preset=preset,
        options=own,
        out=_path("out", words.get("out", f"results/{script}.h5")),
        overwrite=_flag("overwrite", words.get("overwrite", False)),
        resume=_flag("resume", words.get("resume", False)),
        executor=executors.check_name(words.get("executor", "local")),
        backend=backend,
        shard=_shard(words.get("shard", "0/1")),
        budget=budget,
        plot=_flag("plot", words.get("plot", True)),
        log=None if words.get("log") is None else _path("log", words["log"]),
    )


WORDS = (
    "preset",
    "grid",
    "samples",
    "sweeps",
    "seed",
    "out",
    "resume",
    "overwrite",
    "executor",
    "backend",
    "shard",
    "budget",
    "plot",
    "log",
)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested mapping as a flat one whose names have dots: {"N": {"P2": 100}} is {"N.P2": 100}."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def parse_values(name: str, text: str) -> NDArray[np.float64]:
    """Return the values that a text such as "0.1:0.4:16", "log:1:100:5" or "0.05,0.1,0.2" stands for.

    Raises
    ------
    ValueError
        If the text has another form.
    """
    values: list[NDArray[np.float64]] = []
    for part in text.split(","):
        fields = part.strip().split(":")
        logarithmic = fields[0] == "log"
        numbers = [_number(name, text, field) for field in (fields[1:] if logarithmic else fields)]
        if len(numbers) == 1 and not logarithmic:
            values.append(np.array(numbers))
        elif len(numbers) == 3:
            values.append(_range(name, text, *numbers, logarithmic=logarithmic))
        else:
            raise ValueError(f"grid {name} = {text!r} is no grid; allowed: {GRID_FORMS}")
    return np.concatenate(values)


def _range(name: str, text: str, first: float, last: float, count: float, *, logarithmic: bool) -> NDArray[np.float64]:
    if count != round(count) or not 1 <= count <= _LARGEST_GRID:
        raise ValueError(
            f"grid {name} = {text!r} has {count:g} values; allowed: whole numbers from 1 to {_LARGEST_GRID}"
        )
    if logarithmic and min(first, last) <= 0:
        raise ValueError(f"grid {name} = {text!r} is logarithmic with an end <= 0; allowed: ends > 0")
    return (np.geomspace if logarithmic else np.linspace)(first, last, int(count))


def _number(name: str, text: str, field: str) -> float:
    try:
        value = float(field)
    except ValueError:
        raise ValueError(f"grid {name} = {text!r} is no grid; allowed: {GRID_FORMS}") from None
    if not math.isfinite(value):
        raise ValueError(f"grid {name} = {text!r} has the value {field}; allowed: finite numbers")
    return value


def _named_specs(grid: Any) -> Mapping[str, Any]:
    """Return the grids of a word: a mapping as it is, texts NAME=VALUES by their names."""
    if isinstance(grid, Mapping):
        return grid
    if not isinstance(grid, list | tuple) or not all(isinstance(text, str) for text in grid):
        raise TypeError(f"grid = {grid!r} is no table; allowed: {{name: values}}")
    named: dict[str, Any] = {}
    for text in grid:
        name, separator, values = text.partition("=")
        if not separator or not name.strip() or not values.strip():
            raise ValueError(f"grid = {text!r} is not of the form NAME=VALUES; allowed values: {GRID_FORMS}")
        named[name.strip()] = values.strip()
    return named


def _changed(preset: Preset, words: Words) -> dict[str, Any]:
    """Return a preset with the grids, samples and sweeps of the words."""
    flat = flatten(preset)
    changes = dict(words["grid"])
    for name in ("samples", "sweeps"):
        if name in words:
            changes[name] = words[name]
    changed: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in flat:
            raise ValueError(f"grid {name} is unknown here; allowed: {', '.join(flat)}")
        flat[name] = _coerce(name, value, flat[name])
    for name, value in flat.items():
        inner = changed
        *path, last = name.split(".")
        for key in path:
            inner = inner.setdefault(key, {})
        inner[last] = value
    return changed


def _coerce(name: str, value: Any, template: Any) -> Any:
    """Return a value given for an entry of a preset in the type of that entry."""
    values = parse_values(name, value) if isinstance(value, str) else value
    array = validation.axis(f"grid {name}", values)
    wanted = np.asarray(template)
    if wanted.dtype.kind == "i":
        if np.any(array != np.round(array)) or np.any(abs(array) > 2**53):
            raise ValueError(f"grid {name} = {array.tolist()} has values that are no integers; allowed: integers")
        array = array.astype(np.int64)
    if wanted.ndim == 0:
        if array.size != 1:
            raise ValueError(f"grid {name} has {array.size} values; allowed: one value")
        number = array[0].item()
        return validation.integer(name, number, minimum=1) if name in ("samples", "sweeps") else number
    return tuple(array.tolist()) if isinstance(template, tuple) else array


def _of_results(path: Any, script: str) -> dict[str, Any]:
    """Return the words that repeat the run of a results file."""
    if path is None:
        return {}
    attributes = store.attributes_of(_path("from_file", path))
    if "configuration" not in attributes:
        raise ValueError(f"from_file = {path} was not written by a script; allowed: results files of {script}")
    configuration = json.loads(attributes["configuration"])
    if configuration.pop("script") != script:
        raise ValueError(f"from_file = {path} was written by {attributes['script']}; allowed: files of {script}")
    return configuration


def _of_text(path: Any) -> dict[str, Any]:
    """Return the words of a TOML or YAML file."""
    if path is None:
        return {}
    path = _path("config", path)
    kind = path.suffix.lower()
    if kind not in (".toml", ".yaml", ".yml"):
        raise ValueError(f"config = {path} is of unknown kind; allowed: .toml, .yaml or .yml")
    try:
        text = path.read_text(encoding="utf-8")
        words = tomllib.loads(text) if kind == ".toml" else yaml.safe_load(text)
    except OSError as error:
        raise type(error)(f"config = {path} cannot be read: {error.strerror}") from error
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"config = {path} is no {kind[1:].upper()}: {' '.join(str(error).split())}") from error
    if words is not None and not (isinstance(words, dict) and all(isinstance(word, str) for word in words)):
        raise ValueError(f"config = {path} holds no table of words; allowed: {', '.join(WORDS)}")
    return words or {}


def _check_words(words: Words, options: Words) -> None:
    for word in words:
        if word not in (*WORDS, *options):
            raise ValueError(f"{word} is an unknown word; allowed: {', '.join((*WORDS, *options))}")


def _own(word: str, value: Any, default: Any) -> Any:
    """Return the value of a word of the script's own, in the type of its default; texts if that is None."""
    if isinstance(default, int):
        return validation.integer(word, value, minimum=1)
    if value is not None and not isinstance(value, str | Path):
        raise TypeError(f"{word} = {value!r} is no text; allowed: a text")
    return None if value is None else str(value)


def _path(word: str, value: Any) -> Path:
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ValueError(f"{word} = {value!r} is no path; allowed: the path of a file")
    return Path(value)


def _flag(word: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{word} = {value!r} is neither true nor false; allowed: true, false")
    return value


def _shard(value: Any) -> tuple[int, int]:
    """Return (i, n) of a text "i/n", 0 <= i < n."""
    part, separator, parts = str(value).partition("/")
    if not (separator and part.isdecimal() and parts.isdecimal() and int(part) < int(parts)):
        raise ValueError(f"shard = {value!r} is no part of a whole; allowed: I/N with 0 <= I < N")
    return int(part), int(parts)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value
