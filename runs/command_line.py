"""The words every script shares: --preset, --seed, --out, --overwrite, --workers."""

import functools
import os
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from hebbian import validation
from sim import random


class Preset(StrEnum):
    """Size of a run."""

    quick = "quick"
    paper = "paper"


PresetOption = Annotated[Preset, typer.Option(help="quick: about a minute on two cores; paper: publication sizes.")]
SeedOption = Annotated[int, typer.Option(help="Seed of the whole run, at least 0.")]
OutOption = Annotated[Path, typer.Option(help="Results file (HDF5); the figure goes beside it as PNG and PDF.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace an existing results file.")]
WorkersOption = Annotated[int, typer.Option(help="Worker processes, at least 1.", show_default="cores")]

CORES = os.cpu_count() or 1


def application(main: Callable[..., None]) -> typer.Typer:
    """Make a command of a script's main function: bad input is one line and exit code 2, not a traceback."""

    @functools.wraps(main)
    def command(*arguments: Any, **options: Any) -> None:
        try:
            validation.integer("seed", options.get("seed", 0), minimum=0, maximum=random.LARGEST_SEED)
            validation.integer("workers", options.get("workers", 1), minimum=1)
            main(*arguments, **options)
        except (OSError, ValueError, TypeError, MemoryError) as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(2) from error

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(command)
    return app
