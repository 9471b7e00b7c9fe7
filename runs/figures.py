"""The look of all figures: sizes, colours, theory as lines, simulation as points."""

import itertools
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from cycler import cycler
from matplotlib import patheffects
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

matplotlib.use("Agg")

# Okabe and Ito's palette, told apart by colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
COLOUR_MAP = "cividis"

plt.rcParams.update(
    {
        "figure.constrained_layout.use": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": cycler(color=COLOURS),
        "errorbar.capsize": 2,
        "legend.frameon": False,
        "savefig.dpi": 160,
    }
)

POINTS: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 4}
DASHES = (0, (4, 2))
# Largest pull that is drawn at its place.
EDGE = 6.0
OUTLINE = [patheffects.withStroke(linewidth=3.2, foreground="black")]
# Of variables whose name is not their symbol.
SYMBOLS = {
    "load": r"\gamma",
    "quality": "r",
    "examples": "M",
    "dilution": "d",
    "m_all": r"m_\mu",
    "energy": "u",
    "entropy": "s",
    "free_energy": "f",
}
GREEK = ("alpha", "beta", "gamma", "rho")
WORDS = {
    "load": r"load $\gamma$",
    "quality": "quality $r$",
    "examples": "examples per archetype $M$",
    "rho": r"data-set entropy $\rho$",
}
# What a comparison adds to the name of a quantity.
SUFFIXES = ("_mean", "_error", "_residual", "_pull")


def save(figure: Figure, out: Path) -> list[Path]:
    """Write a figure beside a results file, as PNG and PDF; return the paths."""
    paths = [out.with_suffix(suffix) for suffix in (".png", ".pdf")]
    for path in paths:
        figure.savefig(path)
    plt.close(figure)
    return paths


def symbol(name: str) -> str:
    r"""Return the symbol of a variable as mathematical text without its dollars, empty if it has none.

    Parameters
    ----------
    name : str
        Name of a variable, or of its ``_mean``, ``_error``, ``_residual`` or ``_pull``.

    Returns
    -------
    str
        Such as ``T``, ``T_{c}`` or ``\gamma``.
    """
    name = _quantity(name)
    letter, _, index = name.partition("_")
    letter = f"\\{letter}" if letter in GREEK else letter
    if name in SYMBOLS or (len(letter) != 1 and letter[:1] != "\\"):
        return SYMBOLS.get(name, "")
    return f"{letter}_{{{index}}}" if index else letter


def _quantity(name: str) -> str:
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def label(variable: xr.DataArray) -> str:
    """Return the axis label of a variable: words and symbol, such as "temperature $T$".

    Parameters
    ----------
    variable : xarray.DataArray
        Its ``long_name`` up to the first comma gives the words, its name the symbol; ``units`` that are neither those
        of a number nor a formula follow in brackets.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If it has neither a name nor a long name.
    """
    name = str(variable.name or "")
    quantity, sign = _quantity(name), symbol(name)
    words = str(variable.attrs.get("long_name", "")).partition(",")[0].split()
    # A name that is a word, such as energy, is no spelling of its symbol.
    spellings = {sign, quantity} if quantity not in SYMBOLS or "_" in quantity else {sign}
    spelled = [i for i, word in enumerate(words) if word in spellings]
    if name in WORDS:
        text = WORDS[name]
    elif not words and not name:
        raise ValueError("variable = an array without a name; allowed: variables with a name or a long_name")
    elif not sign:
        text = " ".join(words) or name.replace("_", " ")
    elif spelled:
        text = " ".join(f"${sign}$" if i == spelled[0] else word for i, word in enumerate(words))
    else:
        text = " ".join([*words, f"${sign}$"])
    units = str(variable.attrs.get("units", "1"))
    return text if units == "1" or "=" in units else f"{text} (${units}$)" if "_" in units else f"{text} ({units})"


def colours(count: int) -> list[Any]:
    """Return `count` colours that colour-blind readers can tell apart: those of the palette while they last.

    Parameters
    ----------
    count : int
        At least 0.

    Returns
    -------
    list
        Colours in any form that matplotlib takes.
    """
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    return list(plt.get_cmap(COLOUR_MAP)(np.linspace(0, 1, count)))


def points_over_lines(
    axes: plt.Axes,
    compared: xr.Dataset,
    theory: xr.Dataset,
    name: str,
    along: str,
    by: str | None = None,
    *,
    solid: xr.DataArray | None = None,
    dashed: str = "metastable",
    point: Mapping[str, Any] | None = None,
    line: Mapping[str, Any] | None = None,
    keys: bool = True,
) -> None:
    """Draw measured means with their errors over predicted lines, a colour a value of `by`.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Panel; it gets axis labels, and entries for a legend that the caller places.
    compared : xarray.Dataset
        With ``{name}_mean`` and ``{name}_error``, from `runs.comparison.compare`.
    theory : xarray.Dataset
        With `name`, on the same axis `along` or a finer one. Its values of `by`, which `compared` has too up to
        rounding, are drawn.
    name, along : str
        Quantity, and the coordinate that it is drawn against.
    by : str, optional
        Coordinate whose values are told apart by colour.
    solid : xarray.DataArray of bool, optional
        On the points of `theory`: where it is False, the line is dashed, as for metastable states.
    dashed : str
        What the legend calls the dashed part.
    point, line : mapping, optional
        Styles for matplotlib beyond the usual ones, such as ``{"marker": "s", "fillstyle": "none"}``.
    keys : bool
        Whether to make entries for a legend.

    Raises
    ------
    ValueError
        If a variable or coordinate is missing, or has further dimensions of more than one value.
    """
    mean = _along("compared", compared, f"{name}_mean", along, by)
    error = _along("compared", compared, f"{name}_error", along, by)
    predicted = _along("theory", theory, name, along, by)
    where = xr.full_like(predicted, True, dtype=bool) if solid is None else solid.squeeze()
    marks: dict[str, Any] = POINTS | dict(point or {})
    stroke: dict[str, Any] = {"linewidth": 1.2} | dict(line or {})
    values = [None] if by is None else list(predicted[by].values)
    for value, colour in zip(values, colours(len(values)), strict=True):
        curve, broken, y, dy = (
            data if by is None or by not in data.dims else _at(data, by, value)
            for data in (predicted, ~where, mean, error)
        )
        axes.plot(curve[along], curve.where(~broken), **stroke | {"color": colour})
        if broken.any():
            axes.plot(curve[along], curve.where(broken), **stroke | {"color": colour} | {"linestyle": DASHES})
        axes.errorbar(y[along].values, y.values, dy.values, **marks | {"color": colour})
        if keys and by is not None:
            axes.plot([], [], label=_value(predicted[by], value), **stroke | _marker(marks) | {"color": colour})
    if keys:
        neutral = "grey" if by is not None else colours(1)[0]
        axes.plot([], [], label="theory", **stroke | {"color": neutral})
        if solid is not None:
            axes.plot([], [], label=f"theory, {dashed}", **stroke | {"color": neutral} | {"linestyle": DASHES})
        axes.plot([], [], label="measured", **_marker(marks) | {"color": neutral, "linestyle": "none"})
    axes.set(xlabel=label(predicted[along]), ylabel=label(predicted))


def residual_panel(axes: plt.Axes, compared: xr.Dataset, name: str, along: str, by: str | None = None) -> None:
    """Draw pulls along an axis over bands at 1, 2 and 3 standard errors; pulls beyond 6 are arrows at the edge.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Panel; it gets axis labels, and with `by` entries for a legend that the caller places.
    compared : xarray.Dataset
        With ``{name}_pull``, from `runs.comparison.compare`.
    name, along : str
        Quantity, and the coordinate that its pulls are drawn against.
    by : str, optional
        Coordinate whose values are told apart by colour, side by side; those without a pull are left out.

    Raises
    ------
    ValueError
        If a variable or coordinate is missing, or has further dimensions of more than one value.
    """
    pull = _along("compared", compared, f"{name}_pull", along, by)
    for band in (3, 2, 1):
        axes.axhspan(-band, band, color="black", alpha=0.07, linewidth=0)
    axes.axhline(0, color="grey", linewidth=0.8)
    values = [None]
    if by is not None:
        pull = pull.isel({by: np.flatnonzero(pull.notnull().any(along))})
        values = list(pull[by].values)
    # Side by side, in points of the page, whatever the scale of the axis; no wider than a narrow panel allows.
    step = min(4.0, 20 / max(len(values), 1)) / 72
    for i, (value, colour) in enumerate(zip(values, colours(len(values)), strict=True)):
        at = pull if by is None else _at(pull, by, value)
        text = None if by is None else _value(pull[by], value)
        shift = ScaledTranslation(step * (i - (len(values) - 1) / 2), 0, axes.figure.dpi_scale_trans)
        # A thin edge: the ends of a colour map are hard to see on a page.
        style = POINTS | {"color": colour, "markeredgecolor": "black", "markeredgewidth": 0.3}
        drawn = axes.plot(at[along], at.where(abs(at) <= EDGE), label=text, **style)
        for side, marker in ((1, "^"), (-1, "v")):
            beyond = xr.full_like(at, 0.93 * side * EDGE).where(side * at > EDGE)
            drawn += axes.plot(at[along], beyond, **style | {"marker": marker, "markersize": 6})
        for marks in drawn:
            # Once the limits of the axes know the points.
            marks.set_transform(axes.transData + shift)
    sign = symbol(name)
    axes.set(xlabel=label(pull[along]), ylabel=f"pull of ${sign}$" if sign else f"pull of {name}", ylim=(-EDGE, EDGE))


def heat_map(
    axes: plt.Axes,
    values: xr.DataArray,
    x: str,
    y: str,
    *,
    lines: Mapping[str, xr.DataArray] | None = None,
    limits: tuple[float | None, float | None] = (None, None),
    bar: str | None = None,
) -> Colorbar:
    """Draw a measured map with predicted lines on top and a labelled colour bar.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Panel; set a logarithmic scale before. It gets axis labels, and entries for a legend that the caller places.
    values : xarray.DataArray
        Map along two dimensions; further ones of length one are dropped. NaN is left white.
    x, y : str
        Coordinates of the map, each along one dimension: the dimension itself, or another coordinate along it.
    lines : mapping of str to xarray.DataArray, optional
        Lines by their legends, each along one dimension that has x or y as a coordinate, holding the other.
    limits : tuple of float or None
        Values of the first and the last colour; None: the least and the largest of the map.
    bar : str, optional
        Label of the colour bar; by default that of the map, and that it was measured.

    Returns
    -------
    matplotlib.colorbar.Colorbar

    Raises
    ------
    ValueError
        If a coordinate is missing or not along one dimension of its own, the map has further dimensions, a value on a
        logarithmic axis is not positive, or a line has neither coordinate.
    """
    values = values.squeeze(
        [dim for dim, size in values.sizes.items() if size == 1 and not _carries(values, dim, x, y)]
    )
    for argument, name in (("x", x), ("y", y)):
        if name not in values.coords or values[name].ndim != 1:
            allowed = ", ".join(str(other) for other in values.coords if values[other].ndim == 1) or "none"
            raise ValueError(f"{argument} = {name!r} is no coordinate along a dimension of the map; allowed: {allowed}")
    dims = (values[y].dims[0], values[x].dims[0])
    if len(set(dims)) < 2 or set(values.dims) != set(dims):
        raise ValueError(
            f"values has dimensions {values.dims}; allowed: two, one along x = {x!r} and one along y = {y!r}"
        )
    for dim, name in zip(dims, (y, x), strict=True):
        values = values.isel({dim: np.argsort(values[name].values)})
    cells = values.transpose(*dims).values
    scales = (axes.get_xscale(), axes.get_yscale())
    borders = [
        _borders(name, values[name].values, log=scale == "log") for name, scale in zip((x, y), scales, strict=True)
    ]
    style: dict[str, Any] = {"cmap": COLOUR_MAP, "vmin": limits[0], "vmax": limits[1]}
    if scales == ("linear", "linear") and all(_regular(border) for border in borders):
        extent = (borders[0][0], borders[0][-1], borders[1][0], borders[1][-1])
        image: Any = axes.imshow(cells, extent=extent, origin="lower", aspect="auto", interpolation="nearest", **style)
    else:
        image = axes.pcolormesh(*borders, cells, rasterized=True, **style)
    for (text, curve), stroke in zip((lines or {}).items(), itertools.cycle(("-", "--", ":", "-."))):
        axes.plot(*_curve(curve, x, y), stroke, color="white", path_effects=OUTLINE, label=text)
    axes.set(xlabel=label(values[x]), ylabel=label(values[y]))
    axes.set(xlim=(borders[0][0], borders[0][-1]), ylim=(borders[1][0], borders[1][-1]))
    return axes.figure.colorbar(image, ax=axes, label=bar or textwrap.fill(f"{label(values)}, measured", 36))


def map_legend(axes: plt.Axes, **options: Any) -> Legend:
    """Place the legend of a map, in outlined words that can be read on every colour; options are those of matplotlib.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Panel with the lines of `heat_map`.
    **options
        Of `matplotlib.axes.Axes.legend`.

    Returns
    -------
    matplotlib.legend.Legend
    """
    legend = axes.legend(**{"fontsize": "small", "labelcolor": "white"} | options)
    for text in legend.get_texts():
        text.set_path_effects([patheffects.withStroke(linewidth=1.5, foreground="black")])
    return legend


def _carries(values: xr.DataArray, dim: Any, *names: str) -> bool:
    return any(name in values.coords and values[name].dims == (dim,) for name in names)


def _borders(name: str, centres: NDArray[Any], *, log: bool) -> NDArray[np.float64]:
    """Return the borders of cells around ascending centres; a single cell is as wide as half its distance from 0."""
    centres = centres.astype(np.float64)
    if log and np.any(centres <= 0):
        raise ValueError(f"{name} has a value {centres.min():g} on a logarithmic axis; allowed: values > 0")
    centres = np.log(centres) if log else centres
    if centres.size == 1:
        half = 0.5 if log else 0.25 * abs(centres[0]) or 0.5
        borders = np.array([centres[0] - half, centres[0] + half])
    else:
        between = (centres[1:] + centres[:-1]) / 2
        borders = np.concatenate([[2 * centres[0] - between[0]], between, [2 * centres[-1] - between[-1]]])
    return np.exp(borders) if log else borders


def _regular(borders: NDArray[np.float64]) -> bool:
    widths = np.diff(borders)
    return bool(np.ptp(widths) <= 1e-6 * widths.mean())


def _curve(line: xr.DataArray, x: str, y: str) -> tuple[xr.DataArray, xr.DataArray]:
    """Return abscissae and ordinates of a line over (x, y)."""
    line = line.squeeze()
    if line.ndim == 1:
        for name in (x, y):
            if name in line.coords and line[name].dims == line.dims:
                return (line[name], line) if name == x else (line, line[name])
    raise ValueError(f"line {line.name!r} has dimensions {line.dims}; allowed: one, with the coordinate {x!r} or {y!r}")


def _along(argument: str, dataset: xr.Dataset, name: str, along: str, by: str | None) -> xr.DataArray:
    """Return a variable along one axis, or two with `by`; raise unless it is."""
    if name not in dataset.data_vars:
        allowed = ", ".join(map(str, dataset.data_vars)) or "none"
        raise ValueError(f"name = {name!r} is not a variable of {argument}; allowed: {allowed}")
    wanted = [along] if by is None else [along, by]
    values = dataset[name]
    values = values.squeeze([dim for dim, size in values.sizes.items() if size == 1 and dim not in wanted])
    for word, coordinate in (("along", along), ("by", by)):
        if coordinate is not None and coordinate not in values.dims:
            raise ValueError(
                f"{word} = {coordinate!r} is no dimension of {name}; allowed: {', '.join(map(str, values.dims))}"
            )
    if values.ndim > len(wanted):
        raise ValueError(
            f"{name} has dimensions {values.dims}; allowed: {', '.join(wanted)}; select one point of the rest"
        )
    return values


def _at(values: xr.DataArray, by: str, value: Any) -> xr.DataArray:
    """Select a value of `by`, a number up to rounding."""
    if values[by].dtype.kind not in "iuf":
        return values.sel({by: value})
    nearest = int(np.argmin(abs(values[by].values - value)))
    if not np.isclose(values[by].values[nearest], value, rtol=1e-9, atol=1e-12):
        raise ValueError(f"{by} = {value:g} is not in {values.name}; allowed: {values[by].values.tolist()}")
    return values.isel({by: nearest})


def _value(coordinate: xr.DataArray, value: Any) -> str:
    """Return a legend's words for a value of a coordinate, such as "$T = 0.2$"."""
    if coordinate.dtype.kind not in "iuf":
        return str(value)
    sign = symbol(str(coordinate.name))
    return f"${sign} = {value:.3g}$" if sign else f"{coordinate.name} = {value:.3g}"


def _marker(style: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a legend shows of a style of points."""
    return {word: style[word] for word in ("marker", "markersize", "fillstyle") if word in style}
