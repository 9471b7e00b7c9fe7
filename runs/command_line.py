"""The command line of every script: the same words, bad input answered by one line and exit code 2."""

import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NoReturn

import numpy as np
import typer

from runs import script, settings
from runs.script import Script
from sim import Interrupted, TaskError
from sim.executors import ALLOWED

# Of typer's own copy of click, or of click.
UsageError: type[Exception] = typer.BadParameter.__bases__[0].__bases__[0]

HELP: dict[str, tuple[Any, str]] = {
    "preset": (str, "Sizes of the run."),
    "grid": (list[str], f"Values of an entry of the preset, NAME=VALUES: {settings.GRID_FORMS}. Can be repeated."),
    "samples": (int, "Quenched samples at each point."),
    "sweeps": (int, "Sweeps measured."),
    "seed": (int, "Seed of the whole run, at least 0.  [default: 1]"),
    "out": (str, "Results file (HDF5); the figure goes beside it as PNG and PDF."),
    "resume": (bool, "Go on with a results file; without one, begin it."),
    "overwrite": (bool, "Replace an existing results file."),
    "executor": (str, f"Where tasks run: {ALLOWED}.  [default: local]"),
    "backend": (str, "Hardware of the kernels: auto, cpu or gpu.  [default: auto]"),
    "shard": (str, "Do part I of N only, I/N; hebbian-results merge joins the files.  [default: 0/1]"),
    "budget": (int, "Adaptive sweep: so many samples in all, more of them where errors are large or curves steep."),
    "plot": (bool, "Draw the figure.  [default: plot]"),
    "log": (str, "File for a log of all that happens."),
    "config": (str, "TOML or YAML file of these words; the command line goes before it."),
    "from_file": (str, "Results file whose run is repeated exactly, but for what is said here."),
}


def main(of: Script, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a script by the words of a command line and exit: 0; 1 failed task; 2 bad input; 128 + signal."""
    said: dict[str, Any] | None = None
    asked: settings.Settings | None = None

    def command(**given: Any) -> None:
        nonlocal said
        said = given | {"grid": given["grid"] or None}

    def end(code: int, message: str) -> NoReturn:
        hint = script.resume_hint(asked) if asked is not None and code != 2 else ""
        print(" ".join(f"{message}{hint}".split()), file=sys.stderr)
        raise SystemExit(code)

    try:
        _typer(of, command)(arguments, prog_name=f"python -m runs.{of.name}", standalone_mode=False)
        # Not inside typer, which has its own ways with signals.
        if said is not None:
            own = {word: default for word, (default, _) in of.options.items()}
            asked = settings.resolve(said, of.name, of.presets, own)
            script.execute(of, asked)
    except UsageError as error:
        end(2, f"error: {error.format_message()}")  # type: ignore[attr-defined]
    except Interrupted as error:
        end(128 + error.signal, str(error))
    except TaskError as error:
        end(1, f"error: {error}")
    except (OSError, ValueError, TypeError, MemoryError, ImportError) as error:
        end(2, f"error: {error}")
    raise SystemExit(0)


def _typer(of: Script, command: Callable[..., None]) -> Callable[..., Any]:
    """Return a typer command whose options are the words that all scripts share and those of this one."""
    own = {word: (type(default) if default is not None else str, text) for word, (default, text) in of.options.items()}
    words = {word: entry for word, entry in HELP.items() if word != "budget" or of.adaptive} | own
    command.__doc__ = f"{of.summary}\n\n{_presets_in_words(of)}"
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(word, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(word, *entry))
            for word, entry in words.items()
        ]
    )
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(command)
    return typer.main.get_command(app)


def _annotation(word: str, kind: Any, text: str) -> Any:
    name = f"--{word.replace('_', '-')}"
    names = ("--plot/--no-plot",) if word == "plot" else (name,)
    return Annotated[kind | None, typer.Option(*names, help=text, metavar=_METAVARS.get(word), show_default=False)]


_METAVARS = {"grid": "NAME=VALUES", "preset": "NAME", "shard": "I/N", "executor": "WHERE"}


def _presets_in_words(of: Script) -> str:
    """Return the entries of the presets, as the end of the help."""
    lines = ["Presets, and the names that --grid knows:"]
    for name, preset in of.presets.items():
        entries = (f"{entry} = {_in_words(value)}" for entry, value in settings.flatten(preset).items())
        lines.append(f"{name}: {'; '.join(entries)}")
    return "\n\n".join(lines)


def _in_words(value: Any) -> str:
    array = np.atleast_1d(value)
    if array.size <= 4:
        return ",".join(f"{number:g}" for number in array.tolist())
    return f"{array[0]:g} ... {array[-1]:g} ({array.size} values)"
