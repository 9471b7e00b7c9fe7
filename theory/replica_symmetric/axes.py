"""Axes and labels that the functions of this package share."""

import itertools
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from hebbian import DenseHebbian, HebbianNetwork, validation

Model = TypeVar("Model", bound=HebbianNetwork)

#: Unit of energies and temperatures: the normalisation of the Hamiltonian.
ENERGY_UNIT = "H = -(N/2) sum m^P"
AXES = {
    "load": ("load gamma, K = gamma (2/P!) N^(P-1)", "1"),
    "T": ("temperature T, k_B = 1", ENERGY_UNIT),
    "quality": ("quality r of the examples", "1"),
    "examples": ("number M of examples per archetype", "1"),
    "dilution": ("dilution d, fraction of blank entries", "1"),
    "pattern": ("pattern", "1"),
}


def check_model(model: object) -> None:
    """Raise TypeError unless the model is a DenseHebbian."""
    if not isinstance(model, DenseHebbian):
        raise TypeError(f"model = {model!r} is not a DenseHebbian")


def load_axis(model: DenseHebbian, load: ArrayLike | None) -> NDArray:
    """Return the loads given, or that of the model; raise if there is neither.

    Parameters
    ----------
    model : DenseHebbian
        Its load is used where none is given.
    load : float or array_like or None
        Loads, positive.

    Returns
    -------
    ndarray, shape (loads,)

    Raises
    ------
    ValueError, TypeError
        If the model is none, or no load or one out of range is given.
    """
    check_model(model)
    if load is None:
        load = model.load
    if load is None:
        raise ValueError("load = None and the model has none; allowed: load > 0 here or in the model")
    return validation.axis("load", load, above=0.0)


def data_axes(quality: ArrayLike | None, examples: ArrayLike | None) -> dict[str, NDArray]:
    """Return the axes among quality and examples that are given; raise if one is out of range.

    Parameters
    ----------
    quality : float or array_like or None
        r in (0, 1].
    examples : int or array_like of int or None
        M >= 1.

    Returns
    -------
    dict of ndarray
        Each of one dimension.

    Raises
    ------
    ValueError, TypeError
        If an axis is empty, repeats a value, or has one out of range or not of the stated type.
    """
    data: dict[str, NDArray] = {}
    if quality is not None:
        data["quality"] = validation.axis("quality", quality, above=0.0, maximum=1.0)
    if examples is not None:
        if np.asarray(examples).size and not np.issubdtype(np.asarray(examples).dtype, np.integer):
            raise TypeError(f"examples = {examples!r} is not an array of integers; allowed: integers >= 1")
        data["examples"] = validation.axis("examples", examples, minimum=1, maximum=2**62).astype(np.int64)
    return data


def models_along(model: Model, axes: Mapping[str, NDArray]) -> list[Model]:
    """Return the model at every point of the product of axes over its parameters, the last axis fastest."""
    points = itertools.product(*(values.tolist() for values in axes.values()))
    return [model.replace(**dict(zip(axes, point, strict=True))) for point in points]


def label(data: xr.Dataset | xr.DataArray) -> None:
    """Give the coordinates their long names and units."""
    for name, (long_name, units) in AXES.items():
        if name in data.coords:
            data.coords[name].attrs.update(long_name=long_name, units=units)


def line(name: str, long_name: str, units: str, values: NDArray, axis: dict[str, NDArray]) -> xr.DataArray:
    """Return a labelled line of a phase diagram, values along one axis."""
    result = xr.DataArray(
        values, dims=list(axis), coords=axis, name=name, attrs={"long_name": long_name, "units": units}
    )
    label(result)
    return result
