"""The points of a sweep: a product of axes or a list, cut into cells that share their quenched samples."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from hebbian import HebbianNetwork, validation
from sim.glauber import front
from sim.tabulate import empty, in_words

LABELS = {
    "N": "number of spins",
    "P": "order of the interaction",
    "quality": "quality r of the examples",
    "examples": "number M of examples per pattern",
    "load": "load gamma, K = gamma (2/P!) N^(P-1)",
    "dilution": "fraction d of blank pattern entries",
    "K": "number of patterns",
    "T": "temperature",
    "sample": "quenched sample",
    "point": "point of the list",
}
INTEGERS = ("N", "P", "examples", "K")


@dataclass(frozen=True)
class Cell:
    """One model at its temperatures: a task for each of its quenched samples.

    Parameters
    ----------
    model : HebbianNetwork
        Network, with its number of patterns.
    T : ndarray, shape (temperatures,)
        Temperatures.
    indices : tuple of tuple of int
        Where the results go: one place for all temperatures, or one for each.
    label : str
        Parameters in words.
    """

    model: HebbianNetwork
    T: NDArray[np.float64]
    indices: tuple[tuple[int, ...], ...]
    label: str


@dataclass(frozen=True)
class Grid:
    """Cells and the dimensions on which their results lie.

    Parameters
    ----------
    cells : list of Cell
        In the order of their indices.
    outer : dict of str to (str, ndarray)
        Dimensions before T and the samples: {name: (dimension, coordinate)}.
    coordinates : dict of str to (str, ndarray)
        All coordinates of the points, along those dimensions.
    T : ndarray or None
        The temperatures, if they are an axis.
    """

    cells: list[Cell]
    outer: dict[str, tuple[str, NDArray[Any]]]
    coordinates: dict[str, tuple[str, NDArray[Any]]]
    T: NDArray[np.float64] | None

    @property
    def apart(self) -> bool:
        """Whether each temperature has a place of its own."""
        return self.T is None

    @property
    def places(self) -> tuple[str, ...]:
        """Dimensions whose indices name a place."""
        return (*self.outer, "sample")

    def template(self, measured: Mapping[str, front.Variable], samples: int, options: Mapping[str, Any]) -> xr.Dataset:
        """Return the dataset of all results, with nothing in it, from what a short simulation of a cell measured."""
        cell = self.cells[0]
        coordinates = front.coordinates(cell.model, {**options, "T": cell.T})
        sizes = {name: len(values) for name, (_, values) in self.outer.items()} | {"sample": samples}
        sizes["sweep"] = options["sweeps"]
        between = () if self.T is None else ("T",)
        variables: dict[str, Any] = {}
        for name, (dims, values) in measured.items():
            sizes |= {dim: size for dim, size in zip(dims, values.shape, strict=True) if dim not in ("T", "sweep")}
            if self.T is not None:
                sizes["T"] = len(self.T)
            kept = (*self.outer, *between, "sample", *dims[1:])
            variables[name] = (kept, empty(tuple(sizes[dim] for dim in kept), values.dtype))
        if "K" not in self.coordinates:
            shape = [sizes[name] for name in self.outer]
            K = np.zeros(shape, dtype=np.int64)
            for cell in self.cells:
                for index in cell.indices:
                    K[index] = cell.model.K or 0
            variables["K"] = (tuple(self.outer), K)
        if self.T is None:
            del coordinates["T"]
        dataset = front.dataset(variables, coordinates)
        named = self.outer | self.coordinates | {"sample": ("sample", np.arange(samples))}
        dataset = dataset.assign_coords(named)
        for name in ("K", *named):
            dataset[name].attrs.update(long_name=LABELS[name], units="1")
        return dataset


def of_axes(model: HebbianNetwork, axes: Mapping[str, ArrayLike], T: ArrayLike | None) -> Grid:
    """Return the product of axes over the parameters of a model.

    Raises
    ------
    TypeError, ValueError
        If an axis is empty, repeats a value or has a value that the model refuses, or T is missing or out of range.
    """
    if T is None:
        raise ValueError("T is missing; allowed: temperatures >= 0")
    temperatures = validation.axis("T", T, minimum=0.0)
    values = {name: _integers(name, validation.axis(name, axis)) for name, axis in axes.items()}
    cells = []
    for index in np.ndindex(*(len(axis) for axis in values.values())):
        changes = {name: axis[i].item() for (name, axis), i in zip(values.items(), index, strict=True)}
        cells.append(Cell(_counted(model.replace(**changes)), temperatures, (index,), in_words(changes)))
    outer = {name: (name, axis) for name, axis in values.items()}
    return Grid(cells, outer, outer, temperatures)


def of_points(
    model: HebbianNetwork, points: Mapping[str, ArrayLike], T: ArrayLike | None, axes: Mapping[str, ArrayLike]
) -> Grid:
    """Return a list of points, {parameter: its values at all points}; those of one model are one cell.

    Raises
    ------
    TypeError, ValueError
        If there are axes too, the lists differ in length or are empty, a point is repeated, the model refuses one,
        or T is given twice or not at all.
    """
    if axes:
        raise ValueError(f"points with axes {', '.join(axes)}; allowed: points or axes")
    if not points:
        raise ValueError("points = {} is empty; allowed: {parameter: values at all points}")
    if ("T" in points) == (T is not None):
        raise ValueError("T is given twice or not at all; allowed: T as an axis or in the points")
    values = {name: _integers(name, _column(name, column)) for name, column in points.items()}
    lengths = {name: column.size for name, column in values.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"points have {lengths} values; allowed: as many values of each parameter")
    rows = [
        dict(zip(values, row, strict=True))
        for row in zip(*(column.tolist() for column in values.values()), strict=True)
    ]
    if len({tuple(row.values()) for row in rows}) < len(rows):
        raise ValueError(f"points = {points!r} repeat a point; allowed: distinct points")
    common = None if T is None else validation.axis("T", T, minimum=0.0)
    if common is None:
        for temperature in values["T"].tolist():
            validation.real("every value of T: T", temperature, minimum=0.0)
    members: dict[tuple[Any, ...], list[int]] = {}
    for i, row in enumerate(rows):
        members.setdefault(tuple(value for name, value in row.items() if name != "T"), []).append(i)
    cells = []
    for indices in members.values():
        changes = {name: value for name, value in rows[indices[0]].items() if name != "T"}
        temperatures = values["T"][indices] if common is None else common
        places = tuple((i,) for i in indices)
        cells.append(Cell(_counted(model.replace(**changes)), temperatures, places, in_words(changes)))
    outer = {"point": ("point", np.arange(len(rows)))}
    return Grid(cells, outer, {name: ("point", column) for name, column in values.items()}, common)


def _column(name: str, values: ArrayLike) -> NDArray[np.float64]:
    column = np.atleast_1d(validation.rectangular(name, values))
    if column.ndim != 1 or column.size == 0 or column.dtype.kind not in "iuf":
        raise ValueError(f"{name} = {values!r} in points is no list of numbers; allowed: one number for each point")
    for value in column.astype(np.float64).tolist():
        validation.real(f"every value of {name}: {name}", value)
    return column.astype(np.float64)


def _integers(name: str, values: NDArray[np.float64]) -> NDArray[Any]:
    if name not in INTEGERS:
        return values
    if np.any(values != np.round(values)):
        raise ValueError(f"{name} = {values.tolist()} has non-integer values; allowed: integers")
    return values.astype(np.int64)


def _counted(model: HebbianNetwork) -> HebbianNetwork:
    if model.K is None:
        raise ValueError("neither load nor K is set by the model or an axis; allowed: load > 0 or K >= 1")
    return model
