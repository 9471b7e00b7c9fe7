"""The command `hebbian-results`: look into results files, check, join, export and draw them."""

import contextlib
import importlib
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
import xarray as xr
from numpy.typing import NDArray

from hebbian import validation
from sim import store
from sim.cost import duration, size
from sim.merge import FLAGS, damaged_tasks, is_table, places_of, task_in_words
from sim.merge import merge as merge_files
from sim.tabulate import empty

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TABLES = (".csv", ".parquet")
PICTURES = (".png", ".pdf", ".svg")
# What a damaged or foreign file, a full disk or a wrong argument can raise.
REFUSED = (OSError, ValueError, TypeError, KeyError, RuntimeError, MemoryError, ImportError)
# Damaged tasks that are named.
_NAMED = 20
# Of typer's own copy of click, or of click.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0].__bases__[0]

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Look into results files, check, join, export and draw them.",
)
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="Results file.", show_default=False)]
FilesArgument = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Results files.", show_default=False)]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace an existing OUT.")]
GroupOption = Annotated[str | None, typer.Option(help="Group, such as simulation/NAME.", show_default=False)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; bad input is one line on stderr, without a traceback.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after the command's name; by default those of this process.

    Returns
    -------
    int
        Exit code: 0; 1 if a file is not sound; 2 after bad input; 130 if interrupted.
    """
    words = None if arguments is None else list(arguments)
    try:
        code = typer.main.get_command(app)(words, prog_name="hebbian-results", standalone_mode=False)
    except _UsageError as error:
        return _refuse(f"{error.format_message().rstrip('.')}; allowed: what --help says", 2)  # type: ignore[attr-defined]
    except (KeyboardInterrupt, typer.Abort):
        return _refuse("interrupted", 130)
    except KeyError as error:
        return _refuse(f"{error.args[0] if error.args else error} is missing", 2)
    except REFUSED as error:
        return _refuse(str(error) or type(error).__name__, 2)
    return code or 0


def _refuse(message: str, code: int) -> int:
    print("error:", " ".join(message.split()), file=sys.stderr)
    return code


@app.command()
def info(file: FileArgument) -> None:
    """Say what is in a file: where it comes from, its groups, what is stored and what is missing."""
    print("\n".join(describe(file)))


@app.command()
def verify(files: FilesArgument) -> None:
    """Check files: seal, schema, checksum of every task, groups, axes.

    Exit code 0 if all are sound; 1 if one is not; 2 if one is no results file. Damaged tasks run again when the sweep
    is gone on with by --resume.
    """
    codes = []
    for path in files:
        code, lines = check(path)
        codes.append(code)
        for line in lines:
            if code == 2:
                _refuse(line, code)
            else:
                print(line)
    raise typer.Exit(max(codes))


@app.command()
def merge(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Results file to write.", show_default=False)],
    files: FilesArgument,
    overwrite: OverwriteOption = False,
) -> None:
    """Join files of one sweep: its shards, parts of its grid or interrupted copies."""
    merge_files(out, files, overwrite)
    kept = store.rooms(out)
    print("\n".join(f"/{name}: {_progress(store.read(out, name))}" for name in kept if name.startswith("simulation")))
    if any(name not in kept for path in files for name in store.rooms(path)):
        print(f"comparisons are of the parts and left out: the script with --out {out} --resume makes them anew")


@app.command()
def export(
    file: FileArgument,
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="File to write: .nc (netCDF-4), .csv or .parquet.", show_default=False)
    ],
    group: GroupOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Write a group for other programs: as netCDF-4 (without --group all of them), or as a long table.

    A table has a row for each point, a column for each coordinate and variable; tasks that are not stored are left out.
    """
    suffix = _check_suffix("OUT", out, (".nc", *TABLES))
    if out.exists() and file.exists() and os.path.samefile(file, out):
        raise ValueError(f"OUT = {out} is the results file itself; allowed: another path")
    attributes = store.attributes_of(file)
    names = store.rooms(file) if suffix == ".nc" and group is None else [_choose_group(file, group)]
    groups = {name: _sound(file, name) for name in names}
    with _writing(out, overwrite) as new:
        if suffix == ".nc":
            _write_netcdf(new, groups, attributes, nested=group is None)
        else:
            _write_table(new, groups[names[0]], suffix)
    print(out)


@app.command()
def plot(
    file: FileArgument,
    out: Annotated[
        Path | None, typer.Option(help="PNG, PDF or SVG; by default beside the file.", show_default=False)
    ] = None,
    variable: Annotated[
        str | None, typer.Option(help="Variable, such as m: a general figure of it.", show_default=False)
    ] = None,
    group: GroupOption = None,
) -> None:
    """Draw the figure of the script that wrote the file; of other files, measured points or maps under the theory."""
    name = f"-{variable}" if variable else ""
    target = file.with_name(f"{file.stem}{name}.png") if out is None else out
    _check_suffix("out", target, PICTURES)
    script = store.attributes_of(file).get("script")
    draw = _draw_of(script) if variable is None and group is None else None
    if draw is None:
        figure = general_figure(file, _choose_group(file, group), variable)
    else:
        for room in store.rooms(file):
            _sound(file, room)
        try:
            figure = draw(file)
        except (ValueError, KeyError) as error:
            raise ValueError(
                f"the figure of {script} needs all of its groups: {error}; allowed: the script with --out {file} "
                "--resume before, or --variable"
            ) from error
    with _writing(target, overwrite=True) as new:
        figure.savefig(new)
    print(target)


@app.command()
def view(
    file: FileArgument,
    port: Annotated[int, typer.Option(help="Port on this machine; 0: a free one.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
) -> None:
    """Show a file as a page in the browser, from this machine alone, until Ctrl-C."""
    from runs import explorer

    with contextlib.suppress(KeyboardInterrupt):
        explorer.serve(file, port=port, browser=browser)


def describe(path: Path) -> list[str]:
    """Return what is in a results file, as lines of text.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing, foreign or damaged; damaged tasks are counted instead.
    """
    attributes = store.attributes_of(path)
    lines = [f"{path}: {size(path.stat().st_size)}, {attributes['schema']}"]
    lines += [f"  {name:<14}{text}" for name, text in _provenance(attributes)]
    groups = {name: store.read(path, name) for name in store.rooms(path)}
    for name, data in groups.items():
        lines += ["", f"/{name}: {', '.join(filter(None, (_progress(data), size(data.nbytes))))}"]
        lines += [f"  {dim:<14}{_span(data[dim].values)}" for dim in map(str, data.dims)]
        lines.append(f"  {'variables':<14}{', '.join(str(v) for v in data.data_vars if v not in FLAGS)}")
        if is_table(data) and (wrong := damaged_tasks(data)):
            lines.append(f"  {'damaged':<14}{len(wrong)} task(s), see verify; they run again with --resume")
    tables = [data for data in groups.values() if is_table(data)]
    return [*lines, "", *_missing(path, attributes, tables)] if tables else lines


def _provenance(attributes: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what the root attributes say, as (name, text)."""
    versions = ", ".join(f"{name} {attributes[name]}" for name in ("python", "numpy", "numba") if name in attributes)
    origin = {
        "hebbian": f"{attributes.get('hebbian_version')}, commit {attributes.get('git_commit')}",
        "command": attributes.get("command_line"),
        "engine": attributes.get("engine"),
        "on": f"{attributes.get('machine')}, {versions}",
        "seed": attributes.get("seed"),
        "script": attributes.get("script"),
        "started": attributes.get("started"),
        "finished": attributes.get("finished", "not yet"),
    }
    yield from ((name, str(text)) for name, text in origin.items() if text is not None)
    for name, value in json.loads(attributes.get("configuration", "{}")).items():
        if name == "grid" and isinstance(value, dict):
            yield from ((f"  {entry}", _span(np.asarray(values))) for entry, values in value.items())
        elif name not in ("script", "seed"):
            yield name, str(value)
    for changed in json.loads(attributes.get("resumed", "[]")):
        when = changed.pop("started", attributes["started"])
        other = "; ".join(f"{name} {_clip(str(value))}" for name, value in changed.items())
        yield "resumed", f"{when}{': now ' * bool(other)}{other}"
    for origin in json.loads(attributes.get("merged", "[]")):
        yield "merged from", f"{origin['file']}, begun {origin.get('started')} by {_clip(str(origin['command_line']))}"


def _clip(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:97]}..."


def _progress(data: xr.Dataset) -> str:
    if not is_table(data):
        return ""
    return f"{int((data['completed'] == 1).sum())} of {data['completed'].size} tasks"


def _span(values: NDArray[Any]) -> str:
    """Return the number of values of an axis and their range, or the single value."""
    flat = np.ravel(values)
    numbers = flat.dtype.kind in "iuf"
    if flat.size < 2:
        return ", ".join(f"{value:.6g}" if numbers else str(value) for value in flat)
    if numbers:
        return f"{flat.size} values, {flat.min():.6g} to {flat.max():.6g}"
    return _clip(f"{flat.size} values, {', '.join(map(str, flat))}")


def _missing(path: Path, attributes: dict[str, Any], tables: list[xr.Dataset]) -> Iterator[str]:
    """Yield what is missing of all tables, and how long it takes if the file tells."""
    done = sum(int((data["completed"] == 1).sum()) for data in tables)
    left = sum(data["completed"].size for data in tables) - done
    adaptive = any(json.loads(data.attrs.get("parameters", "{}")).get("adaptive") for data in tables)
    if left == 0:
        yield "all tasks are stored"
    elif adaptive and "finished" in attributes:
        yield f"{left} tasks are not stored: an adaptive sweep leaves out those that its budget does not pay for"
    elif done and not {"resumed", "merged"} & attributes.keys():
        end = attributes.get("finished")
        last = datetime.fromtimestamp(path.stat().st_mtime, UTC) if end is None else datetime.fromisoformat(end)
        seconds = max((last - datetime.fromisoformat(attributes["started"])).total_seconds(), 0.0)
        yield f"{left} tasks are missing: about {duration(seconds / done * left)} at the rate of those stored"
    else:
        yield f"{left} tasks are missing; how long they take, the file does not tell"


def check(path: Path) -> tuple[int, list[str]]:
    """Check a results file.

    Returns
    -------
    code : int
        0 if it is sound, 1 if it is not, 2 if it is no results file or cannot be read.
    lines : list of str
        One line that says so, or the problems.
    """
    try:
        attributes = store.attributes_of(path)
    except (OSError, ValueError) as error:
        # Of a foreign file nothing is known; this one was sealed once.
        return (1 if str(error).endswith("checksum is wrong") else 2), [str(error)]
    problems = [f"attribute {name}: {text}" for name, text in _unparsed(attributes)]
    groups: dict[str, xr.Dataset] = {}
    for name in store.rooms(path):
        try:
            groups[name] = store.read(path, name)
        except REFUSED as error:
            problems.append(f"/{name} cannot be read: {error}")
    done = total = 0
    for name, data in groups.items():
        problems += [f"/{name}, attribute {key}: {text}" for key, text in _unparsed(data.attrs)]
        if is_table(data):
            done, total = done + int((data["completed"] == 1).sum()), total + data["completed"].size
            problems += [f"/{name}, {problem}" for problem in _task_problems(data)]
    problems += _axis_problems(groups)
    if problems:
        return 1, [f"{path}: {problem}" for problem in problems]
    return 0, [f"{path}: sound, {f'{done} of {total} tasks' if total else 'no tasks'}"]


def _unparsed(attributes: Any) -> Iterator[tuple[str, str]]:
    """Yield the attributes that begin as JSON and are none."""
    for name, value in attributes.items():
        if isinstance(value, str) and value.startswith(("{", "[")):
            try:
                json.loads(value)
            except ValueError as error:
                yield str(name), f"no JSON: {error}"


def _task_problems(data: xr.Dataset) -> Iterator[str]:
    for words, wrong in (("damaged", damaged_tasks(data)), ("not marked as stored but written to", _half(data))):
        if wrong:
            named = "; ".join(task_in_words(data, place) for place in wrong[:_NAMED])
            more = f"; and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
            yield f"{len(wrong)} task(s) {words}, to run again with --resume: {named}{more}"


def _half(data: xr.Dataset) -> list[tuple[int, ...]]:
    """Return the places of a table that are not completed and yet hold something: their writer was stopped there."""
    places = places_of(data)
    written = np.zeros(data["completed"].shape, dtype=bool)
    for variable in data.data_vars.values():
        if set(places) <= set(variable.dims):
            values = np.ascontiguousarray(variable.transpose(*places, ...).values)
            blank = empty(values.shape[len(places) :], values.dtype)
            unlike = values.reshape(written.size, -1).view(np.uint8) != blank.reshape(-1).view(np.uint8)
            written |= unlike.any(axis=1).reshape(written.shape)
    return list(map(tuple, np.argwhere(written & (data["completed"].transpose(*places).values == 0)).tolist()))


def _axis_problems(groups: dict[str, xr.Dataset]) -> Iterator[str]:
    from runs import comparison

    for name, theory in groups.items():
        measured = name.replace("theory", "simulation", 1)
        if name.split("/")[0] == "theory" and measured in groups:
            try:
                comparison.align(groups[measured], theory)
            except ValueError as error:
                yield f"/{name} and /{measured} do not agree: {error}"


def _choose_group(path: Path, group: str | None) -> str:
    """Return the group that is asked for, or the measurements of a file that has one group of them."""
    known = store.rooms(path)
    if group is None:
        measured = [name for name in known if name.split("/")[0] == "simulation"]
        if "simulation" in measured or len(measured) == 1:
            return measured[0]
        raise ValueError(f"{path} has {len(measured)} groups of measurements; allowed: --group {', '.join(known)}")
    name = group.strip("/")
    if name not in known:
        raise ValueError(f"group = {group!r} is not in {path}; allowed: {', '.join(known) or 'none, it is empty'}")
    return name


def _sound(path: Path, group: str) -> xr.Dataset:
    """Read a group; raise ValueError if a task of it is damaged."""
    data = store.read(path, group)
    if is_table(data) and (wrong := damaged_tasks(data)):
        raise ValueError(
            f"{path}, /{group} has {len(wrong)} damaged task(s), first {task_in_words(data, wrong[0])}; "
            "allowed: sound files (--resume runs them again)"
        )
    return data


def _check_suffix(name: str, path: Path, allowed: tuple[str, ...]) -> str:
    if path.suffix.lower() not in allowed:
        raise ValueError(f"{name} = {path} ends in {path.suffix!r}; allowed: {', '.join(allowed)}")
    return path.suffix.lower()


@contextlib.contextmanager
def _writing(out: Path, overwrite: bool) -> Iterator[Path]:
    """Give a path to write to; once written, the file takes its place."""
    if out.exists() and not overwrite:
        raise FileExistsError(f"OUT = {out} exists; allowed: a new path, or --overwrite")
    store.check_output(out, overwrite=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        new = Path(folder, out.name)
        yield new
        os.replace(new, out)


def _write_netcdf(path: Path, groups: dict[str, xr.Dataset], attributes: dict[str, Any], *, nested: bool) -> None:
    plain = {name: data.drop_vars("checksum", errors="ignore") for name, data in groups.items()}
    if not nested:
        (data,) = plain.values()
        data.assign_attrs(attributes | data.attrs).to_netcdf(path, engine="h5netcdf")
        return
    xr.Dataset(attrs=attributes).to_netcdf(path, engine="h5netcdf")
    for name, data in plain.items():
        data.to_netcdf(path, mode="a", group=name, engine="h5netcdf")


def _write_table(path: Path, data: xr.Dataset, suffix: str) -> None:
    if suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise ImportError('pyarrow is not installed; allowed: pip install "hebbian[parquet]"')
    cells = int(np.prod(list(data.sizes.values()))) * len(data.variables)
    # The table, and the copies that make it.
    validation.memory(f"a table of {cells} cells", 3 * 8.0 * cells)
    frame = data.expand_dims("row").to_dataframe() if not data.dims else data.to_dataframe(list(data.sizes))
    frame = frame.reset_index()
    if is_table(data):
        frame = frame[frame["completed"] == 1].drop(columns=list(FLAGS))
    if suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, engine="pyarrow", index=False)


def _draw_of(script: Any) -> Any:
    """Return what draws the figure of a script, or None."""
    if not (isinstance(script, str) and script.isidentifier()) or importlib.util.find_spec(f"runs.{script}") is None:
        return None
    return getattr(importlib.import_module(f"runs.{script}"), "draw", None)


def general_figure(path: Path, group: str, name: str | None = None) -> "Figure":
    """Draw a measured variable: points over the predicted line along one axis, a map under the lines along two.

    Further axes are cut at their middle. Below or beside are pulls, where there is a comparison or a prediction.

    Parameters
    ----------
    path : Path
        Results file.
    group : str
        Group of measurements.
    name : str, optional
        Variable; by default m, or the first.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If a task is damaged, or there is no such variable, or it lies along no axis of numbers.
    """
    import matplotlib.pyplot as plt

    from runs import explorer, figures

    data, rooms = _sound(path, group), store.rooms(path)
    known = _drawable(data)
    if not known or (name is not None and name not in known):
        allowed = ", ".join(known) or "a group with measurements along an axis"
        raise ValueError(f"variable = {name!r} of /{group} cannot be drawn; allowed: {allowed}")
    name = name or known[0]
    of = group.removeprefix("simulation")
    theory = store.read(path, f"theory{of}") if f"theory{of}" in rooms else xr.Dataset()
    predicted = explorer.prediction(theory, data[name])
    mean, error = _statistics(data, name)
    compared = store.read(path, f"comparison{of}") if f"comparison{of}" in rooms else xr.Dataset()
    pull = compared[f"{name}_pull"] if f"{name}_pull" in compared else _pull(data, predicted, name)
    shown, place = explorer.choose_axes(mean), explorer.choose_point(mean, {})
    cut = {dim: mean[dim].values[i] for dim, i in place.items() if dim not in shown}
    mean, error = mean.isel({dim: place[dim] for dim in cut}), error.isel({dim: place[dim] for dim in cut})
    pull, predicted = _at(pull, cut), _at(predicted, cut)
    panels = 1 if pull is None or not set(shown) <= set(pull.dims) else 2
    if len(shown) == 2:
        x, y = shown
        lines = _lines(store.read(path, f"theory_lines{of}"), x, y) if f"theory_lines{of}" in rooms else {}
        figure, grid = plt.subplots(1, panels, figsize=(5.5 * panels, 4.6), squeeze=False)
        figures.heat_map(grid[0, 0], mean, x, y, lines=lines)
        if pull is not None and panels == 2:
            limits = (-figures.EDGE, figures.EDGE)
            words = f"${figures.symbol(name)}$" if figures.symbol(name) else name
            figures.heat_map(grid[0, 1], pull, x, y, lines=lines, limits=limits, bar=f"pull of {words}")
        if lines:
            grid[0, 0].legend(fontsize="small", labelcolor="white")
    else:
        ratios = [3, 1][:panels]
        figure, grid = plt.subplots(
            panels, 1, figsize=(6, 4 + panels), squeeze=False, sharex=True, height_ratios=ratios
        )
        _draw_cut(grid[0, 0], mean, error, predicted, shown[0])
        if pull is not None and panels == 2:
            figures.residual_panel(grid[1, 0], pull.rename(f"{name}_pull").to_dataset(), name, shown[0])
            grid[0, 0].set_xlabel("")
    where = ", ".join(f"{dim} = {explorer.number(float(value))}" for dim, value in cut.items() if _is_number(value))
    figure.suptitle(f"{path.name}, /{group}{': ' * bool(where)}{where}", fontsize="medium")
    return figure


def _drawable(data: xr.Dataset) -> list[str]:
    """Return the measured variables along an axis of numbers, m first."""
    from runs import explorer

    known = [
        str(name)
        for name, variable in data.data_vars.items()
        if variable.dtype.kind in "fiub" and name not in FLAGS and explorer.drawable(variable)
    ]
    measured = [name for name in known if not is_table(data) or set(places_of(data)) <= set(data[name].dims)]
    return sorted(measured, key=lambda name: name != "m")


def _statistics(data: xr.Dataset, name: str) -> tuple[xr.DataArray, xr.DataArray]:
    """Return mean and standard error over samples; of a variable without samples itself and NaN."""
    from runs import comparison

    if "sample" in data[name].dims:
        mean, error = comparison.sample_statistics(data, name)
    else:
        mean = data[name].astype(np.float64).where(data["completed"] == 1 if is_table(data) else True)
        mean = mean.mean([dim for dim in ("replica", "pair") if dim in mean.dims], skipna=False)
        error = xr.full_like(mean, np.nan)
    return mean.rename(name).assign_attrs(data[name].attrs), error


def _pull(data: xr.Dataset, predicted: xr.DataArray | None, name: str) -> xr.DataArray | None:
    """Return the pulls of a variable, or None where it is not predicted."""
    from runs import comparison

    if predicted is None or "sample" not in data[name].dims:
        return None
    return comparison.compare(data, predicted.rename(name).to_dataset(), [name])[f"{name}_pull"]


def _is_number(value: Any) -> bool:
    return np.issubdtype(type(value), np.number)


def _at(values: xr.DataArray | None, cut: dict[str, Any]) -> xr.DataArray | None:
    """Return values at a point of some of their dimensions, or None if they do not have it."""
    for dim, value in cut.items():
        if values is not None and dim in values.dims:
            own = values[dim].values
            same = np.isclose(own, value, rtol=1e-9, atol=1e-12) if _is_number(value) else own == value
            values = values.isel({dim: int(np.argmax(same))}) if same.any() else None
    return values


def _lines(lines: xr.Dataset, x: str, y: str) -> dict[str, xr.DataArray]:
    """Return the transition lines of a map over T: temperatures along the other axis, and what it is along T."""
    from runs import figures

    other = x if y == "T" else y
    if "T" not in (x, y):
        return {}
    # By what they are a function of: temperatures of the other axis, its values of T.
    squeezed = {str(name): line.squeeze(drop=True) for name, line in lines.data_vars.items() if line.dtype.kind == "f"}
    wanted = {name: (other,) if name.startswith("T") else ("T",) for name in squeezed}
    return {figures.label(line): line for name, line in squeezed.items() if line.dims == wanted[name]}


def _draw_cut(axes: Any, mean: Any, error: Any, predicted: xr.DataArray | None, along: str) -> None:
    from runs import figures

    name = str(mean.name)
    if predicted is not None and predicted.dims == (along,):
        points = xr.Dataset({f"{name}_mean": mean, f"{name}_error": error})
        theory = predicted.rename(name).to_dataset()
        figures.points_over_lines(axes, points, theory, name, along)
        axes.legend(fontsize="small")
    else:
        axes.errorbar(mean[along], mean, error, **figures.POINTS)
        axes.set(xlabel=figures.label(mean[along]))
    axes.set_ylabel(figures.label(mean))


if __name__ == "__main__":
    sys.exit(main())
