"""Explorer of results files: one local page with a map, its cuts and its points, measured against predicted."""

import re
import socket
import sys
import textwrap
import threading
import webbrowser
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5netcdf
import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hebbian import validation
from runs import comparison, figures
from sim import store

if TYPE_CHECKING:
    import dash
    from werkzeug.serving import BaseWSGIServer

HOST = "127.0.0.1"
# Cells that the browser is sent along each axis of a map.
CELLS = 400
GAMMA = "\N{GREEK SMALL LETTER GAMMA}"
SYMBOLS = {
    "load": GAMMA,
    "dilution": "d",
    "quality": "r",
    "examples": "M",
    "m_all": "m<sub>μ</sub>",
    "energy": "H/N",
    "gamma_c": f"{GAMMA}<sub>c</sub>",
}
# Dimensions that are averaged over, or kept in the table of a point.
DRAWS = ("sample", "replica", "pair")
BOOKKEEPING = ("completed", "checksum")
FONT = {"family": "Helvetica, Arial, sans-serif", "size": 12, "color": "#222222"}
MEASURED, PREDICTED, CHOSEN = figures.COLOURS[0], figures.COLOURS[1], figures.COLOURS[3]
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
# What the browser may load: this server's own files alone.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; frame-ancestors 'none'"
)
# What reading a file that is being replaced, or is gone, can raise.
READING = (OSError, ValueError, KeyError, RuntimeError)


@dataclass(frozen=True)
class View:
    """What is looked at: a variable of a group at one point, and the axes of its map."""

    data: xr.Dataset
    name: str
    # Axes of the map, two, one (a cut alone) or none.
    shown: tuple[str, ...]
    # Place of the point along every axis of the variable.
    at: dict[str, int]
    predicted: xr.DataArray | None = None
    lines: xr.Dataset | None = None


class Reader:
    """Groups of a results file, read whole and again once the file has changed; it is never kept open.

    Parameters
    ----------
    path : path-like
        Results file.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._stamp: tuple[int, ...] = ()
        self._kept: dict[str, xr.Dataset | None] = {}

    def dataset(self, group: str) -> xr.Dataset | None:
        """Return a group of the file, or None if it has none of this name.

        Raises
        ------
        FileNotFoundError, ValueError
            If the file is missing or no results file any more.
        """
        with self._lock:
            stamp = self._now()
            if stamp != self._stamp:
                self._kept, self._stamp = {}, stamp
            if group not in self._kept:
                # One measurement at a time: they can be large.
                if group.startswith("simulation"):
                    self._kept = {}
                with h5py.File(self.path, "r") as file:
                    there = group in file
                self._kept[group] = store.read(self.path, group) if there else None
            return self._kept[group]

    def _now(self) -> tuple[int, ...]:
        if not self.path.exists():
            store.groups(self.path, "/")  # raises, in the words of the store
        found = self.path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns


def measurements(path: Path) -> list[str]:
    """Return the groups that hold numbers along samples: ``simulation`` or ``simulation/NAME``.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing or no results file.
    """
    if "simulation" not in store.groups(path, "/"):
        return []
    names = ["simulation", *(f"simulation/{name}" for name in store.groups(path, "simulation"))]
    with h5netcdf.File(path, "r") as file:
        return [name for name in names if any(map(_is_measured, file[name].variables.values()))]


def _is_measured(variable: Any) -> bool:
    return "sample" in variable.dimensions[:] and variable.dtype.kind == "f"


def provenance(path: Path) -> dict[str, str]:
    """Return the root attributes of a file as text."""
    with h5py.File(path, "r") as file:
        return {name: str(value) for name, value in sorted(file.attrs.items())}


def variables(data: xr.Dataset) -> list[str]:
    """Return the measured variables of a group, `m` or `m_all` first; standard errors of single runs are left out."""
    found = [
        str(name)
        for name, variable in data.data_vars.items()
        if "sample" in variable.dims and variable.dtype.kind in "fiub" and name not in BOOKKEEPING
    ]
    found = [name for name in found if not (name.endswith("_error") and name.removesuffix("_error") in found)]
    first = [name for name in ("m", "m_all") if name in found]
    return first + sorted(set(found) - set(first))


def axes_of(variable: xr.DataArray) -> list[str]:
    """Return the dimensions of a variable that are parameters or components: all but samples and replicas."""
    return [str(dim) for dim in variable.dims if dim not in DRAWS]


def drawable(variable: xr.DataArray) -> list[str]:
    """Return the axes of a variable that a map or a cut can have: numbers, more than one value."""
    return [axis for axis in axes_of(variable) if variable.sizes[axis] > 1 and variable[axis].dtype.kind in "fiu"]


def choose_axes(variable: xr.DataArray, x: str | None = None, y: str | None = None) -> tuple[str, ...]:
    """Return the axes of the map: those asked for where the variable has them, else a load or dilution, and T."""
    known = drawable(variable)
    usual = sorted(known, key=lambda axis: ("load", "dilution").index(axis) if axis in ("load", "dilution") else 2)
    first = [axis for axis in usual if axis not in ("T", "pattern")] + [axis for axis in usual if axis == "T"] + usual
    if x not in known:
        x = next((axis for axis in first if axis != y), first[0] if first else None)
    if y not in known or y == x:
        y = next((axis for axis in ("T", *first) if axis in known and axis != x), None)
    return tuple(axis for axis in (x, y) if axis is not None)


def choose_point(variable: xr.DataArray, at: Mapping[str, int]) -> dict[str, int]:
    """Return a place along every axis of a variable: the one asked for, else the middle (0 off the map)."""
    middle = {axis: variable.sizes[axis] // 2 if axis in drawable(variable) else 0 for axis in axes_of(variable)}
    middle |= {"pattern": 0} if "pattern" in middle else {}
    return {axis: min(max(at.get(axis, place), 0), variable.sizes[axis] - 1) for axis, place in middle.items()}


def look(
    reader: Reader,
    group: str,
    name: str | None = None,
    x: str | None = None,
    y: str | None = None,
    at: Mapping[str, int] | None = None,
) -> View:
    """Gather what is to be shown of a group, with what is predicted; what it lacks is replaced by what it has.

    Raises
    ------
    FileNotFoundError, ValueError
        If the file is missing, no results file, or has no such group.
    """
    data = reader.dataset(group)
    if data is None or not variables(data):
        raise ValueError(f"{reader.path} has no measurements in /{group}; allowed: a group with values along samples")
    theory, lines = reader.dataset(group.replace("simulation", "theory", 1)), reader.dataset("theory_lines")
    if name not in data or name not in variables(data):
        overlaps = [known for known in ("m", "m_all") if known in variables(data)]
        told = [known for known in overlaps if theory is not None and prediction(theory, data[known]) is not None]
        name = (told + overlaps + variables(data))[0]
    return View(
        data=data,
        name=name,
        shown=choose_axes(data[name], x, y),
        at=choose_point(data[name], at or {}),
        predicted=None if theory is None else prediction(theory, data[name]),
        lines=lines,
    )


def prediction(theory: xr.Dataset, variable: xr.DataArray) -> xr.DataArray | None:
    """Return the prediction of a measured variable, along axes that the variable has, or None.

    The overlaps with all patterns, `m_all` where they are measured, are `m` in the theory of multitasking networks.
    """
    name = str(variable.name)
    if name == "m_all" and name not in theory and "pattern" in theory.get("m", xr.DataArray()).dims:
        name = "m"
    if name not in theory.data_vars or not set(theory[name].dims) <= set(axes_of(variable)):
        return None
    return theory[name] if theory[name].dtype.kind in "fiu" else None


def sample_values(view: View, free: Iterable[str] = ()) -> xr.DataArray:
    """Return each sample's value, replicas averaged, at the point of a view, along its `free` axes.

    A sample whose task is not completed is NaN and has no ``completed`` flag (coordinate along the same dimensions).
    """
    at = {axis: place for axis, place in view.at.items() if axis not in set(free)}
    values = view.data[view.name].isel(at).astype(float)
    values = values.mean([dim for dim in ("replica", "pair") if dim in values.dims])
    done = xr.DataArray(True)
    if "completed" in view.data:
        flags = view.data["completed"]
        done = flags.isel({axis: place for axis, place in at.items() if axis in flags.dims}) == 1
    done = done.reset_coords(drop=True).broadcast_like(values).transpose(*values.dims)
    return values.where(done).assign_coords(completed=done)


def statistics(values: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Return the mean over completed samples and its standard error.

    Both are NaN where a completed sample has no value, the error also where fewer than two are completed.
    """
    done = values["completed"]
    values, count = values.drop_vars("completed"), done.sum("sample")
    mean = values.where(done, 0.0).sum("sample", skipna=False) / count.where(count > 0)
    square = ((values - mean) ** 2).where(done, 0.0).sum("sample", skipna=False)
    return mean, (square / (count * (count - 1)).where(count > 1)) ** 0.5


def predicted_at(view: View, axis: str | None = None) -> xr.DataArray | None:
    """Return the prediction at the point of a view, or along one axis through it; None where there is none."""
    found = view.predicted
    if found is None:
        return None
    for dim in map(str, found.dims):
        if dim == axis:
            continue
        value = view.data[view.name][dim].values[view.at[dim]]
        own = found[dim].values
        if own.dtype.kind in "fiu" and np.issubdtype(type(value), np.number):
            hits = np.flatnonzero(np.isclose(own, value, rtol=1e-9, atol=1e-12))
        else:
            hits = np.flatnonzero(own == value)
        if not hits.size:
            return None
        found = found.isel({dim: hits[0]})
    return found


def coarsen(values: NDArray[np.float64], cells: int = CELLS) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Return block means of a map, of at most about `cells` cells along each axis, and the size of the blocks.

    Points without a value are left out; a block of them alone is NaN.
    """
    rows, columns = (-(-size // cells) for size in values.shape)
    if rows == columns == 1:
        return values, (1, 1)
    padding = [(0, -size % block) for size, block in zip(values.shape, (rows, columns), strict=True)]
    padded = np.pad(values, padding, constant_values=np.nan)
    blocks = padded.reshape(padded.shape[0] // rows, rows, padded.shape[1] // columns, columns)
    there = ~np.isnan(blocks)
    count = there.sum(axis=(1, 3))
    return np.where(there, blocks, 0).sum(axis=(1, 3)) / np.where(count, count, np.nan), (rows, columns)


def _centres(values: NDArray[np.float64], block: int) -> NDArray[np.float64]:
    return np.array([values[i : i + block].mean() for i in range(0, len(values), block)])


def logarithmic(values: NDArray[Any]) -> bool:
    """Return whether an axis is better drawn on a logarithmic scale: a wide range, in factors rather than steps."""
    values = np.sort(np.asarray(values, dtype=float))
    if len(values) < 3 or values[0] <= 0 or values[-1] / values[0] < 20:
        return False
    steps, factors = np.diff(values), np.diff(np.log(values))
    return bool(factors.std() / factors.mean() < steps.std() / steps.mean())


def _edges(centres: NDArray[np.float64], log: bool) -> NDArray[np.float64]:
    at = np.log(centres) if log else centres
    inner = (at[1:] + at[:-1]) / 2
    edges = np.concatenate([[2 * at[0] - inner[0]], inner, [2 * at[-1] - inner[-1]]])
    return np.exp(edges) if log else edges


def nearest(values: NDArray[Any], value: float) -> int:
    """Return the place of the value of an axis that is nearest on the scale on which it is drawn."""
    values = np.asarray(values, dtype=float)
    if logarithmic(values) and value > 0:
        return int(np.argmin(abs(np.log(values / value))))
    return int(np.argmin(abs(values - value)))


def label(variable: xr.DataArray, *, markup: bool = True) -> str:
    """Return symbol and words of a variable, with the units; as plain text without `markup`."""
    name = str(variable.name)
    words = str(variable.attrs.get("long_name", name.replace("_", " "))).replace("gamma", GAMMA)
    symbol = SYMBOLS.get(name, name if len(name) == 1 else "")
    if symbol and symbol not in re.split(r"[ ,=]", words):
        words = f"<i>{symbol}</i>, {words}"
    units = str(variable.attrs.get("units", "1"))
    words += "" if units in ("", "1") else f" [{units}]"
    words = re.sub(r"\^(?:\(([^)]*)\)|(\w))", lambda found: f"<sup>{found[1] or found[2]}</sup>", words)
    return words if markup else _plain(words)


def _plain(markup: str) -> str:
    markup = re.sub(r"<sup>(.*?)</sup>", r"^(\1)", markup).replace("m<sub>μ</sub>", "m_μ")
    return re.sub(r"<[^>]*>", "", markup)


def number(value: float) -> str:
    """Return a number to six digits, or "none"."""
    return "none" if np.isnan(value) else f"{value:.6g}"


def _text(value: Any) -> str:
    return number(float(value)) if np.issubdtype(type(value), np.number) else str(value)


def _axis(variable: xr.DataArray, axis: str) -> dict[str, Any]:
    values = variable[axis].values
    log, title = logarithmic(values), {"text": label(variable[axis]), "standoff": 6}
    style = {"title": title, "ticks": "outside", "linecolor": "#444444", "showline": True, "zeroline": False}
    return style | {"type": "log" if log else "linear", "automargin": True, "gridcolor": "#eeeeee"}


def _layout(**more: Any) -> dict[str, Any]:
    return {
        "font": FONT,
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": "white", "font": FONT},
        "margin": {"l": 60, "r": 12, "t": 44, "b": 48},
    } | more


def map_figure(view: View, *, theory: bool = True) -> dict[str, Any]:
    """Return the map of the measured mean over the two axes of a view as a Plotly figure.

    Transition lines of the theory are drawn on top with `theory`; a ring is at the point of the view.
    ``layout.meta`` holds the size of the blocks, (1, 1) unless the map was coarsened.
    """
    x, y = view.shown
    variable = view.data[view.name]
    # In ascending order, so that blocks are of neighbours.
    mean = statistics(sample_values(view, view.shown))[0].sortby(list(view.shown)).transpose(y, x)
    z, (rows, columns) = coarsen(mean.values)
    centres = _centres(mean[x].values, columns), _centres(mean[y].values, rows)
    log = logarithmic(mean[x].values), logarithmic(mean[y].values)
    edges = _edges(centres[0], log[0]), _edges(centres[1], log[1])
    names = [_plain(f"{SYMBOLS.get(name, name)}") for name in (x, y, view.name)]
    measured = f"{names[2]} = %{{z:.5g}}<extra></extra>"
    heat: dict[str, Any] = {
        "type": "heatmap",
        "x": edges[0] if log[0] else centres[0],
        "y": edges[1] if log[1] else centres[1],
        "z": z,
        "colorscale": figures.COLOUR_MAP.capitalize(),
        "colorbar": {"thickness": 14, "outlinewidth": 0, "title": {"text": label(variable), "side": "right"}},
        "hovertemplate": f"{names[0]} = %{{x:.6g}}<br>{names[1]} = %{{y:.6g}}<br>{measured}",
        "hoverongaps": True,
    }
    if any(log):
        # The browser knows such cells by their edges only.
        heat["text"] = [[f"{names[0]} = {a:.6g}<br>{names[1]} = {b:.6g}" for a in centres[0]] for b in centres[1]]
        heat["hovertemplate"] = f"%{{text}}<br>{measured}"
    least, most = np.nanmin(z, initial=np.inf), np.nanmax(z, initial=-np.inf)
    # Overlaps over more than one phase: colours that are the same in every map.
    if view.name in ("m", "m_all", "n", "q") and -0.2 < least and most <= 1 and most - least > 0.3:
        heat |= {"zmin": 0, "zmax": 1}
    traces = [heat]
    curves = transition_lines(view) if theory else []
    for (name, across, up), dash in zip(curves, DASHES * len(curves), strict=False):
        for colour, width in (("black", 4.0), ("white", 1.8)):
            line = {"color": colour, "width": width, "dash": dash}
            curve = {"type": "scatter", "mode": "lines", "x": across, "y": up, "line": line, "hoverinfo": "skip"}
            traces.append(curve | {"name": name, "legendgroup": name, "showlegend": colour == "white"})
    chosen = {"x": [variable[x].values[view.at[x]].item()], "y": [variable[y].values[view.at[y]].item()]}
    for colour, width in (("black", 5), ("white", 2)):
        ring = {"symbol": "circle-open", "size": 13, "color": colour, "line": {"width": width, "color": colour}}
        style = {"type": "scatter", "mode": "markers", "marker": ring, "hoverinfo": "skip", "showlegend": False}
        traces.append(chosen | style | {"name": "point"})
    limits = [
        [np.log10(e[0]), np.log10(e[-1])] if is_log else [e[0], e[-1]] for e, is_log in zip(edges, log, strict=True)
    ]
    legend = {"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom", "bgcolor": "#00224e"}
    return {
        "data": traces,
        "layout": _layout(
            xaxis=_axis(variable, x) | {"range": limits[0], "showgrid": False},
            yaxis=_axis(variable, y) | {"range": limits[1], "showgrid": False},
            legend=legend | {"font": FONT | {"color": "white", "size": 11}},
            showlegend=bool(curves),
            uirevision=f"{x} {y}",
            meta={"blocks": [rows, columns]},
        ),
    }


def transition_lines(view: View) -> list[tuple[str, NDArray[np.float64], NDArray[np.float64]]]:
    """Return the transition lines that fit the map, as (label, abscissae, ordinates).

    A variable along T is a load (or dilution) and one along the other axis a temperature; others are left out.
    """
    if view.lines is None or "T" not in view.shown:
        return []
    x, y = view.shown
    other = x if y == "T" else y
    if other not in (*view.lines.dims, "load", "dilution"):
        return []
    curves = []
    for line in view.lines.data_vars.values():
        along = [axis for axis in (other, "T") if axis in line.dims]
        # A line along T is of the one parameter that the lines were computed for.
        if (
            line.dtype.kind != "f"
            or len(along) != 1
            or (along == ["T"] and _parameter(view.lines) not in (None, other))
        ):
            continue
        further = [str(dim) for dim in line.dims if dim not in along]
        for place in np.ndindex(*(line.sizes[dim] for dim in further)):
            at = dict(zip(further, place, strict=True))
            if any(dim in view.at and not _same(view, line, dim, i) for dim, i in at.items() if dim != "pattern"):
                continue
            curve = line.isel(at)
            words = _name_line(line) + "".join(f", {dim} {_text(line[dim].values[i])}" for dim, i in at.items())
            pair = curve[along[0]].values, curve.values
            across, up = pair if along[0] == x else pair[::-1]
            curves.append((words, across, up))
    return curves


def _parameter(lines: xr.Dataset) -> str | None:
    return next((axis for axis in ("load", "dilution") if axis in lines.dims), None)


def _same(view: View, line: xr.DataArray, dim: str, place: int) -> bool:
    return bool(np.isclose(line[dim].values[place], view.data[view.name][dim].values[view.at[dim]], rtol=1e-9))


def _name_line(line: xr.DataArray) -> str:
    name = str(line.name)
    stem, _, index = name.partition("_")
    symbol = f"<i>{stem}</i>" + (f"<sub>{index}</sub>" if index else "")
    return f"{SYMBOLS.get(name, symbol)}: {str(line.attrs.get('long_name', '')).replace(f' {name}', '')}"


def cut_figure(view: View, axis: str, *, theory: bool = True, samples: bool = False) -> dict[str, Any]:
    """Return the cut along one axis through the point of a view as a Plotly figure.

    Measured means with their standard errors, the prediction as a line with `theory`, each completed sample's value
    as a small dot with `samples`; the point itself is ringed.
    """
    values = sample_values(view, [axis]).sortby(axis)
    mean, error = statistics(values)
    abscissae, variable = values[axis].values, view.data[view.name]
    hover = f"{_plain(SYMBOLS.get(axis, axis))} = %{{x:.6g}}<br>%{{y:.5g}}"
    traces: list[dict[str, Any]] = []
    predicted = predicted_at(view, axis) if theory else None
    if predicted is not None:
        if axis in predicted.dims:
            predicted = predicted.sortby(axis)
            line = {"x": predicted[axis].values, "y": predicted.values}
        else:
            line = {"x": abscissae[[0, -1]], "y": np.full(2, predicted.item())}
        style = {"color": PREDICTED, "width": 1.8}
        # The prediction was solved at the marks alone.
        marks = {"mode": "lines+markers", "marker": {"size": 4, "symbol": "diamond"}}
        traces.append(line | marks | {"type": "scatter", "line": style, "name": "predicted"})
        traces[-1]["hovertemplate"] = hover + "<extra>predicted</extra>"
    if samples:
        each = values.transpose(axis, "sample").values
        at = np.repeat(abscissae, each.shape[1])
        there = ~np.isnan(each.ravel())
        dots = {"type": "scatter", "mode": "markers", "x": at[there], "y": each.ravel()[there], "name": "samples"}
        number_of = np.tile(values["sample"].values, len(abscissae))[there]
        dots |= {"customdata": number_of, "hovertemplate": hover + "<extra>sample %{customdata}</extra>"}
        traces.append(dots | {"marker": {"size": 4, "color": figures.COLOURS[2], "opacity": 0.6}})
    bars = {"type": "data", "array": error.values, "thickness": 1.2, "width": 3}
    points = {"type": "scatter", "mode": "markers", "x": abscissae, "y": mean.values, "name": "measured"}
    points |= {"error_y": bars, "marker": {"size": 7, "color": MEASURED}}
    traces.append(points | {"hovertemplate": hover + " ± %{error_y.array:.2g}<extra>measured</extra>"})
    place = int(np.flatnonzero(abscissae == variable[axis].values[view.at[axis]])[0])
    ring = {"size": 13, "symbol": "circle-open", "color": CHOSEN, "line": {"width": 2}}
    chosen = {"type": "scatter", "mode": "markers", "x": abscissae[[place]], "y": mean.values[[place]], "marker": ring}
    traces.append(chosen | {"name": "point", "hoverinfo": "skip", "showlegend": False})
    others = [name for name in axes_of(variable) if name != axis]
    fixed = ", ".join(f"<i>{SYMBOLS.get(name, name)}</i> = {_text(_value(view, name))}" for name in others)
    title_up = "<br>".join(textwrap.wrap(label(variable), 34))
    title = {"text": fixed, "font": FONT, "x": 0, "xref": "paper", "y": 0.97, "yanchor": "top"}
    return {
        "data": traces,
        "layout": _layout(
            xaxis=_axis(variable, axis),
            yaxis={"title": {"text": title_up, "font": {"size": 11}}, "automargin": True, "gridcolor": "#eeeeee"}
            | {"showline": True, "linecolor": "#444444", "ticks": "outside", "zeroline": False},
            title=title,
            legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1.01, "yanchor": "bottom"},
            showlegend=True,
            uirevision=f"{view.name} {axis}",
            margin={"l": 60, "r": 12, "t": 40, "b": 44},
        ),
    }


def _value(view: View, axis: str) -> Any:
    return view.data[view.name][axis].values[view.at[axis]]


def point_rows(view: View) -> dict[str, list[tuple[str, str]]]:
    """Return the table of the point of a view: its parameters, what was measured and predicted, and each sample."""
    variable, values = view.data[view.name], sample_values(view)
    mean, error = (float(value) for value in statistics(values))
    found = predicted_at(view)
    predicted = float("nan") if found is None else float(found)
    pull = (mean - predicted) / error if error > comparison.ROUNDING else float("nan")
    parameters = []
    for axis in axes_of(variable):
        parameters.append((label(variable[axis], markup=False), _text(_value(view, axis))))
        parameters += [
            (label(coordinate, markup=False), _text(coordinate.values[view.at[axis]]))
            for name, coordinate in variable.coords.items()
            if coordinate.dims == (axis,) and name != axis
        ]
    done = values["completed"].values
    return {
        "parameters": parameters,
        "values": [
            ("measured mean", number(mean)),
            ("standard error", number(error)),
            ("predicted", number(predicted)),
            ("pull, measured minus predicted over the error", "none" if np.isnan(pull) else f"{pull:+.2f}"),
            ("samples completed", f"{int(done.sum())} of {done.size}"),
        ],
        "samples": [
            (str(sample), number(value) if is_done else "not completed")
            for sample, value, is_done in zip(values["sample"].values, values.values, done, strict=True)
        ],
    }


def progress(data: xr.Dataset) -> str:
    """Return how many tasks of a group are completed, in words."""
    if "completed" not in data:
        return f"{data.sizes['sample']} samples"
    flags = data["completed"]
    return f"{int((flags == 1).sum())} of {flags.size} tasks completed"


def application(path: Path) -> "dash.Dash":
    """Build the page that explores a results file.

    Parameters
    ----------
    path : path-like
        Results file; it is opened for reading, for a moment at a time.

    Returns
    -------
    dash.Dash

    Raises
    ------
    ImportError
        Without Dash, naming the extra that brings it.
    FileNotFoundError, ValueError
        If the file is missing or no results file.
    """
    try:
        from dash import Dash
    except ImportError as error:
        raise ImportError('Dash is not installed; allowed: pip install "hebbian[explorer]"') from error
    path = Path(path)
    measurements(path)

    class Page(Dash):
        def interpolate_index(self, **parts: Any) -> str:  # type: ignore[override]
            # The address that Dash's developer tools would ask for a newer version.
            parts["config"] = re.sub(r'"dash_version_url":"[^"]*",', "", parts["config"])
            return super().interpolate_index(**parts)

    app = Page(__name__, serve_locally=True, title=f"{path.name} · hebbian", update_title="", assets_ignore=".*")
    app.enable_dev_tools(debug=False, dev_tools_disable_version_check=True)
    app.layout = _page(path)
    _protect(app)
    _connect(app, Reader(path))
    return app


def _protect(app: "dash.Dash") -> None:
    from flask import Response, abort, request

    @app.server.before_request
    def refuse_other_names() -> None:
        # A foreign page whose name was made to point here must not read the results.
        if request.host.rsplit(":", 1)[0] not in (HOST, "localhost"):
            abort(403)

    @app.server.after_request
    def keep_local(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = POLICY
        return response


def _page(path: Path) -> Any:
    from dash import dcc, html

    def field(words: str, identity: str, width: str) -> Any:
        menu = dcc.Dropdown(id=identity, options=[], clearable=False, searchable=False)
        return html.Div([html.Label(words, htmlFor=identity, style=SMALL), menu], style={"width": width})

    def switch(identity: str, words: str, on: bool) -> Any:
        return dcc.Checklist(
            [{"label": f" {words}", "value": words}], [words] if on else [], id=identity, style={"paddingBottom": "8px"}
        )

    config: Any = {"displayModeBar": False}
    hidden = {"display": "none"}
    graphs = {name: dcc.Graph(id=name, config=config, style=hidden) for name in ("map", "cut-x", "cut-y")}
    head = [
        html.H1(path.name, title=str(path), style={"fontSize": "20px", "margin": 0}),
        html.Span(id="progress", style={"color": "#555555"}),
        html.Button("reload", id="reload", title="read the file again", style={"padding": "4px 14px"}),
    ]
    controls = [
        field("group", "group", "220px"),
        field("variable", "variable", "330px"),
        field("horizontal axis", "axis-x", "130px"),
        field("vertical axis", "axis-y", "130px"),
        html.Div(id="fixed", style={"display": "flex", "gap": "14px"}),
        switch("theory", "theory", True),
        switch("samples", "samples", False),
    ]
    line = {"display": "flex", "flexWrap": "wrap", "alignItems": "end", "gap": "14px", "marginBottom": "10px"}
    return html.Div(
        [
            html.Div(head, style=line | {"alignItems": "center"}),
            html.Div(controls, style=line),
            html.Div(id="error-file", role="alert"),
            html.Div(id="error-view", role="alert"),
            html.Div(
                [
                    html.Div([graphs["map"], html.Div(id="note", style=SMALL)], id="left"),
                    html.Div([graphs["cut-x"], graphs["cut-y"]]),
                ],
                id="plots",
            ),
            html.Div(id="table"),
            html.Details(
                [html.Summary("provenance"), html.Div(id="provenance")],
                id="origin",
                style={"marginTop": "14px", "cursor": "pointer"},
            ),
            dcc.Store(id="point", data={}),
        ],
        style={
            "fontFamily": FONT["family"],
            "fontSize": "14px",
            "color": FONT["color"],
            "maxWidth": "1400px",
            "margin": "0 auto",
            "padding": "6px 12px",
        },
    )


SMALL = {"fontSize": "12px", "color": "#555555"}
CELL = {"padding": "2px 14px 2px 0", "textAlign": "left", "verticalAlign": "top"}


def _connect(app: "dash.Dash", reader: Reader) -> None:
    from dash import ALL, Input, Output, State, ctx, dcc, html, no_update

    def message(error: Exception) -> Any:
        box = {"border": f"1px solid {PREDICTED}", "background": "#fff4ec", "padding": "8px 12px", "margin": "8px 0"}
        return html.Div(str(error), className="error", style=box)

    @app.callback(
        Output("group", "options"),
        Output("group", "value"),
        Output("variable", "options"),
        Output("variable", "value"),
        Output("axis-x", "options"),
        Output("axis-x", "value"),
        Output("axis-y", "options"),
        Output("axis-y", "value"),
        Output("fixed", "children"),
        Output("progress", "children"),
        Output("provenance", "children"),
        Output("error-file", "children"),
        Input("reload", "n_clicks"),
        Input("group", "value"),
        Input("variable", "value"),
        Input("axis-x", "value"),
        Input("axis-y", "value"),
        State("point", "data"),
        State({"type": "fixed", "axis": ALL}, "value"),
        State({"type": "fixed", "axis": ALL}, "id"),
    )
    def set_controls(
        _: int | None, group: Any, name: Any, x: Any, y: Any, point: Any, places: list[Any], identities: list[Any]
    ) -> tuple[Any, ...]:
        try:
            groups = measurements(reader.path)
            if not groups:
                raise ValueError(f"{reader.path} has no measurements yet; allowed: values along samples in /simulation")
            group = group if group in groups else groups[0]
            known = (point or {}) | {i["axis"]: place for i, place in zip(identities, places, strict=True)}
            view = look(reader, group, name, x, y, known)
            origin = provenance(reader.path)
        except READING as error:
            return (*[no_update] * 11, message(error))
        variable = view.data[view.name]
        axes = [{"label": axis, "value": axis} for axis in drawable(variable)]
        chosen = [*view.shown, None, None][:2]
        fixed = []
        for axis in axes_of(variable):
            if axis in view.shown or variable.sizes[axis] == 1:
                continue
            options = [{"label": _text(value), "value": i} for i, value in enumerate(variable[axis].values)]
            identity = {"type": "fixed", "axis": axis}
            menu = dcc.Dropdown(options, view.at[axis], id=identity, clearable=False, searchable=False)
            fixed.append(html.Div([html.Label(axis, style=SMALL), menu], style={"width": "110px"}))
        rows = [html.Tr([html.Th(key, style=CELL), html.Td(value, style=CELL)]) for key, value in origin.items()]
        return (
            [{"label": f"/{name}", "value": name} for name in groups],
            group,
            [{"label": _menu(view.data[name]), "value": name} for name in variables(view.data)],
            view.name,
            axes,
            chosen[0],
            [axis for axis in axes if axis["value"] != chosen[0]],
            chosen[1],
            fixed,
            progress(view.data),
            html.Table(html.Tbody(rows), style={"fontSize": "12px", "overflowWrap": "anywhere"}),
            None,
        )

    @app.callback(
        Output("point", "data"),
        Output("map", "clickData"),
        Output("cut-x", "clickData"),
        Output("cut-y", "clickData"),
        Output("error-view", "children", allow_duplicate=True),
        Input("map", "clickData"),
        Input("cut-x", "clickData"),
        Input("cut-y", "clickData"),
        State("group", "value"),
        State("variable", "value"),
        State("axis-x", "value"),
        State("axis-y", "value"),
        State("point", "data"),
        prevent_initial_call=True,
    )
    def choose(*given: Any) -> tuple[Any, ...]:
        clicks, (group, name, x, y, point) = dict(zip(("map", "cut-x", "cut-y"), given[:3], strict=True)), given[3:]
        # Forgotten once read: the same place can be chosen again.
        forget = None, None, None
        where = {"map": {"x": x, "y": y}, "cut-x": {"x": x}, "cut-y": {"x": y}}
        try:
            view = look(reader, group, name, x, y, point)
        except READING as error:
            return no_update, *forget, message(error)
        for source in {str(key).split(".")[0] for key in ctx.triggered_prop_ids}:
            if clicks.get(source):
                clicked = clicks[source]["points"][0]
                point = point | {
                    axis: nearest(view.data[name][axis].values, float(clicked[key]))
                    for key, axis in where[source].items()
                }
        return point, *forget, no_update

    @app.callback(
        Output("map", "figure"),
        Output("map", "style"),
        Output("cut-x", "figure"),
        Output("cut-x", "style"),
        Output("cut-y", "figure"),
        Output("cut-y", "style"),
        Output("plots", "style"),
        Output("note", "children"),
        Output("table", "children"),
        Output("error-view", "children"),
        Input("group", "value"),
        Input("variable", "value"),
        Input("axis-x", "value"),
        Input("axis-y", "value"),
        Input({"type": "fixed", "axis": ALL}, "value"),
        Input("point", "data"),
        Input("theory", "value"),
        Input("samples", "value"),
        Input("reload", "n_clicks"),
        State({"type": "fixed", "axis": ALL}, "id"),
    )
    def draw(
        group: Any,
        name: Any,
        x: Any,
        y: Any,
        places: Any,
        point: Any,
        theory: Any,
        samples: Any,
        _: Any,
        identities: Any,
    ) -> tuple[Any, ...]:
        if group is None:
            return (*[no_update] * 9, None)
        try:
            chosen = {i["axis"]: place for i, place in zip(identities, places, strict=True)}
            view = look(reader, group, name, x, y, (point or {}) | chosen)
            return (*_drawn(view, theory=bool(theory), samples=bool(samples)), _table(view), None)
        except READING as error:
            return (*[no_update] * 9, message(error))


def _menu(variable: xr.DataArray) -> str:
    words = label(variable, markup=False)
    name = str(variable.name)
    return words if words.startswith(f"{name},") else f"{name}: {words}"


def _drawn(view: View, *, theory: bool, samples: bool) -> tuple[Any, ...]:
    """Return figures and styles of the map and of both cuts, the style around them, and the note under the map."""
    hidden = {"display": "none"}
    empty: dict[str, Any] = {"data": [], "layout": {}}
    found: list[Any] = [empty, hidden]
    note = ""
    if len(view.shown) == 2:
        figure = map_figure(view, theory=theory)
        found = [figure, {"height": "520px"}]
        rows, columns = figure["layout"]["meta"]["blocks"]
        note = "Click on the map to see the cuts through a point, and on a point of a cut to choose it."
        if rows * columns > 1:
            note += f" Coarsened map: each cell is the mean of {columns} by {rows} points; cuts are exact."
    for i in range(2):
        if i < len(view.shown):
            figure = cut_figure(view, view.shown[i], theory=theory, samples=samples)
            found += [figure, {"height": "270px" if len(view.shown) == 2 else "480px"}]
        else:
            found += [empty, hidden]
    columns_of = {"gridTemplateColumns": "minmax(0, 11fr) minmax(0, 10fr)" if len(view.shown) == 2 else "0 1fr"}
    return (*found, {"display": "grid", "gap": "10px"} | columns_of, note)


def _table(view: View) -> Any:
    from dash import html

    rows = point_rows(view)

    def table(identity: str, title: str) -> Any:
        cells = [
            html.Tr([html.Th(key, style=CELL | {"fontWeight": "normal"}), html.Td(value, style=CELL)])
            for key, value in rows[identity]
        ]
        caption = html.Caption(title, style={"textAlign": "left", "fontWeight": "bold", "padding": "4px 0"})
        return html.Table(
            [caption, html.Tbody(cells)], id=f"table-{identity}", style={"fontVariantNumeric": "tabular-nums"}
        )

    each = [
        html.Span([html.Span(f"{sample}: ", style={"color": "#777777"}), value], className="sample")
        for sample, value in rows["samples"]
    ]
    grid = {"display": "grid", "gridTemplateColumns": "repeat(auto-fill, minmax(130px, 1fr))", "gap": "3px 12px"}
    return html.Div(
        [
            table("parameters", "point"),
            table("values", label(view.data[view.name], markup=False)),
            html.Div(
                [
                    html.Div("value of each sample", style={"fontWeight": "bold", "padding": "4px 0"}),
                    html.Div(each, id="table-samples", style=grid | {"maxHeight": "190px", "overflowY": "auto"}),
                ],
                style={"flex": "1 1 300px"},
            ),
        ],
        style={
            "display": "flex",
            "flexWrap": "wrap",
            "gap": "36px",
            "alignItems": "start",
            "marginTop": "8px",
            "fontSize": "13px",
        },
    )


def listen(path: Path, *, port: int = 0) -> "BaseWSGIServer":
    """Return a server of the page of a results file, bound to 127.0.0.1 and listening, to be set to serve.

    Raises
    ------
    TypeError, ValueError, ImportError, OSError
        If the port is no integer from 0 (a free one) to 65535 or is taken, or as `application` does.
    """
    port = validation.integer("port", port, minimum=0, maximum=65535)
    app = application(path)
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        def log_request(self, *_: Any) -> None:
            """Say nothing: the terminal is the user's."""

    try:
        bound = socket.create_server((HOST, port))
    except OSError as error:
        raise OSError(f"port = {port} cannot be opened: {error.strerror}; allowed: a free port, or 0") from error
    with bound:
        # The server keeps a copy of the socket.
        return make_server(HOST, bound.getsockname()[1], app.server, True, request_handler=Quiet, fd=bound.fileno())


def serve(path: Path, *, port: int = 0, browser: bool = True) -> None:
    """Serve the page of a results file on this machine alone until interrupted, and print its address.

    Parameters
    ----------
    path : path-like
        Results file; it may still be written by others.
    port : int
        Port on 127.0.0.1, 0 to 65535; 0: a free one.
    browser : bool
        Whether to open the page in the browser.

    Raises
    ------
    TypeError, ValueError, ImportError, OSError
        Before anything is served: see `listen`.
    """
    server = listen(path, port=port)
    address = f"http://{HOST}:{server.port}/"
    print(f"{address}  (Ctrl-C ends)", file=sys.stdout, flush=True)
    if browser:
        webbrowser.open(address)
    server.serve_forever()
