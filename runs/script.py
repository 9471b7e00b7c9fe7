"""A script: presets, what it computes, draws and reports; and a run of it, with its file and its workers."""

import contextlib
import logging
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from tqdm import tqdm

from hebbian import HebbianNetwork
from runs import comparison, figures
from runs.settings import Settings
from sim import Adaptive, Interrupted, open_executor, sweep, tabulate
from sim.store import ResultsFile, check_output, read, rooms, to_json

# An adaptive sweep gives one point at most so many times the samples that each has at first.
_MOST = 16


@dataclass(frozen=True)
class Run:
    """One run of a script: its settings, the open file, the open executor.

    Parameters
    ----------
    settings : Settings
        What is asked for.
    file : ResultsFile
        File to write.
    executor : Executor or None
        Where tasks run.
    """

    settings: Settings
    file: ResultsFile
    executor: Executor | None

    @property
    def preset(self) -> dict[str, Any]:
        """The values of the preset, with changes."""
        return self.settings.preset

    @property
    def seed(self) -> int:
        """Seed of the whole run."""
        return self.settings.seed

    @property
    def whole(self) -> bool:
        """Whether all tasks are done here, not only those of a shard."""
        return self.settings.shard[1] == 1

    def sweep(self, model: HebbianNetwork, group: str, **options: Any) -> xr.Dataset:
        """Simulate into a group of the file, see `sim.sweep`; samples, sweeps and seed are those of the run."""
        settings = self.settings
        of_preset: dict[str, Any] = {name: self.preset[name] for name in ("samples", "sweeps") if name in self.preset}
        options = of_preset | {"seed": self.seed, "backend": settings.backend, "shard": settings.shard} | options
        if settings.budget is not None:
            options["adaptive"] = Adaptive(settings.budget, largest=_MOST * options["samples"])
        return sweep(model, out=self.file, group=group, executor=self.executor, **options)

    def tabulate(
        self, function: Callable[[Any], xr.Dataset], axes: Mapping[str, Sequence[Any]], group: str, **options: Any
    ) -> xr.Dataset:
        """Call a function at all points of axes into a group of the file, see `sim.tabulate`."""
        options = {"shard": self.settings.shard} | options
        return tabulate(function, axes, out=self.file, group=group, executor=self.executor, **options)

    def keep(self, group: str, compute: Callable[[], xr.Dataset]) -> xr.Dataset:
        """Return a group of the file; compute it first if it is not there."""
        return self.file.keep(group, compute)

    def conclude(self, group: str, compute: Callable[[], xr.Dataset]) -> None:
        """Add a group that needs all tasks; of a shard there is none."""
        if self.whole:
            self.file.keep(group, compute)


@dataclass(frozen=True)
class Script:
    """What a script of this folder is made of.

    Parameters
    ----------
    name : str
        Name of its module.
    summary : str
        What it does, in a sentence.
    presets : mapping
        {name: {entry: value}}; entries are numbers, arrays or tuples, or nested mappings of them.
    compute : callable
        Measures, predicts and compares, through a `Run`.
    draw : callable
        Returns the figure of a results file.
    report : callable
        Yields lines about a results file; by default those of all comparisons.
    options : mapping
        Its own words: {word: (default, help)}.
    adaptive : bool
        Whether its sweeps can have a budget.
    """

    name: str
    summary: str
    presets: Mapping[str, Mapping[str, Any]]
    compute: Callable[[Run], None]
    draw: Callable[[Path], Figure]
    report: Callable[[Path], Iterable[str]] | None = None
    options: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    adaptive: bool = False


def execute(script: Script, settings: Settings) -> None:
    """Run a script: compute, report, draw.

    Raises
    ------
    ValueError, TypeError, OSError, MemoryError, ImportError
        If something is asked for that cannot be; nothing is lost.
    TaskError, Interrupted
        If the run ended early; what was finished is in the file.
    """
    if settings.budget is not None and not script.adaptive:
        raise ValueError(f"budget = {settings.budget} has no meaning for {script.name}; allowed: leave it out")
    out, whole = settings.out, settings.shard[1] == 1
    # The executor before the file: other ranks of MPI never come further.
    with _terminated(), open_executor(settings.executor) as executor:
        check_output(out, overwrite=settings.overwrite, resume=settings.resume)
        with _logging(settings):
            with open_run(script, settings, executor) as run:
                script.compute(run)
            if not whole:
                print(
                    f"shard {settings.shard[0]}/{settings.shard[1]} is in {out}; join: hebbian-results merge OUT FILES"
                )
                return
            for line in (script.report or report)(out):
                print(line)
            if settings.plot:
                print(*figures.save(script.draw(out), out), sep="\n")


@contextlib.contextmanager
def open_run(script: Script, settings: Settings, executor: Executor | None = None) -> Iterator[Run]:
    """Open the results file of a run; what it holds is complete if the block ends without an error."""
    attributes = {"seed": np.uint64(settings.seed), "script": script.name}
    attributes["configuration"] = to_json(settings.configuration)
    file = ResultsFile(settings.out, attributes, overwrite=settings.overwrite, resume=settings.resume)
    try:
        yield Run(settings, file, executor)
    except BaseException:
        file.close(finished=False)
        raise
    file.close(finished=settings.shard[1] == 1)


def report(out: Path) -> Iterator[str]:
    """Yield how all measurements of a file agree with their predictions."""
    for room in rooms(out):
        if room.split("/")[0] == "comparison":
            compared = read(out, room)
            for name in sorted(str(name).removesuffix("_pull") for name in compared if str(name).endswith("_pull")):
                prefix = room.removeprefix("comparison").lstrip("/")
                yield f"{prefix}: " * bool(prefix) + comparison.summary(compared, name)


def resume_hint(settings: Settings) -> str:
    """Return how to go on with a run that ended early, or nothing if it has not begun to store."""
    if not settings.out.exists():
        return ""
    words = [word for word in sys.argv[1:] if word not in ("--overwrite", "--resume")]
    spec = sys.modules["__main__"].__spec__
    program = f"python -m {spec.name}" if spec is not None else " ".join(sys.argv[:1])
    return f"; go on: {' '.join([program, *words, '--resume'])}"


@contextlib.contextmanager
def _terminated() -> Iterator[None]:
    """Let SIGTERM, by which batch systems announce the end, stop a run as Ctrl-C does."""

    def stop(number: int, _: FrameType | None) -> None:
        raise Interrupted(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Console(logging.Handler):
    """Log lines on the screen, above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


@contextlib.contextmanager
def _logging(settings: Settings) -> Iterator[None]:
    """Send the log to the screen, and in all detail to a file."""
    log = logging.getLogger("hebbian")
    handlers: list[logging.Handler] = [_Console(logging.INFO)]
    if settings.log is not None:
        handlers.append(_log_file(settings.log, settings))
        handlers[-1].setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    before = log.level
    log.setLevel(logging.DEBUG)
    for handler in handlers:
        log.addHandler(handler)
    try:
        log.debug("%s", to_json(settings.configuration))
        yield
    except BaseException as error:
        log.debug("ended by %s: %s", type(error).__name__, error)
        raise
    finally:
        log.setLevel(before)
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()


def _log_file(path: Path, settings: Settings) -> logging.Handler:
    if path.exists() and not (path.is_file() and settings.resume and _is_text(path)):
        raise FileExistsError(f"log = {path} exists; allowed: a new path (with --resume: a log to add to)")
    if path.absolute() == settings.out.absolute():
        raise ValueError(f"log = {path} is the results file too; allowed: another path")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise type(error)(f"log = {path} cannot be written: {error.strerror}") from error


def _is_text(path: Path) -> bool:
    with open(path, "rb") as file:
        return b"\0" not in file.read(4096)
