r"""Symmetric mixtures of patterns, the spurious states of the Hopfield model (P = 2, storing).

A state with the same overlap m with each of l patterns, :math:`S = \sum_{\mu\le l}\xi^\mu`, is in the field

.. math:: h = m S + \sqrt V z, \quad m = E[(S/l) \tanh\beta h], \quad V = \alpha q/(1-C)^2, \quad C = \beta(1-q),

that of a retrieved pattern with :math:`x = S/\sqrt l` and :math:`n = \sqrt l\, m`: the solver of `saddle` serves both.
A change of the overlaps that leaves their sum as it is couples neither to q nor, in replica space, to its fluctuations;
the free energy has the curvature :math:`1 - C - \beta E[\xi^1\xi^2\tanh^2\beta h]` in those l - 1 directions.
"""

import math
import sys
from collections.abc import Callable
from functools import partial

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.stats import binom

from hebbian import DenseHebbian, validation
from hebbian.compilation import cached_njit
from theory.replica_symmetric.axes import ENERGY_UNIT, check_model, label, line, load_axis
from theory.replica_symmetric.disorder import Network, network
from theory.replica_symmetric.field import field_averages
from theory.replica_symmetric.saddle import RETRIEVAL, solve_point
from theory.replica_symmetric.solve import VARIABLES, saddle_points, variables
from theory.replica_symmetric.spinodal import SMALLEST_LOAD, largest_load, largest_temperature

_SCAN = 40
_COPIED = ("q", "free_energy", "energy", "entropy", "replicon", "converged")
_OWN = {
    "m": ("overlap with each of the mixed patterns", "1"),
    "transverse": ("curvature of the free energy in the directions that tell the mixed patterns apart", "1"),
    "exists": ("whether the mixture is a solution", "1"),
    "stable": ("whether the mixture is locally stable", "1"),
}


def mixture(model: DenseHebbian, *, components: int, load: ArrayLike | None = None, T: ArrayLike) -> xr.Dataset:
    r"""Solve for the symmetric mixture of l patterns in the limit N -> infinity on a grid.

    Units: :math:`k_B = 1`, :math:`H = -(N/2)\sum_\mu m_\mu^2` up to coinciding indices.

    Parameters
    ----------
    model : DenseHebbian
        Template with P = 2 and training "storing"; N and K have no meaning in the limit.
    components : int
        Number l >= 1 of patterns in the mixture; 1 is the retrieved pattern of `solve`.
    load : float or array_like, optional
        alpha = K/N > 0; left out: the load of the model. Low load is the limit of a small one.
    T : float or array_like
        Temperatures, T >= 0; T = 0 is the exact limit.

    Returns
    -------
    xarray.Dataset
        Dimensions (load, T). Variables: m, the overlap with each of the l patterns; q, free_energy, energy, entropy,
        replicon as in `solve`; transverse, the curvature of the free energy in the l - 1 directions that break the
        symmetry of the mixture, :math:`1 - C - \beta E[\xi^1\xi^2\tanh^2\beta h]` (l = 1: along a pattern that is not
        condensed, 1 - C, which exceeds the former at l > 1); exists; stable: exists, and transverse is positive
        (whether replica symmetry is stable too, the replicon says); converged. Of several solutions, that of largest
        m. NaN where the mixture does not exist.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or not of the stated type, or the model is not the storing network of P = 2.

    References
    ----------
    Amit, Gutfreund, Sompolinsky, Phys. Rev. A 32, 1007 (1985); Ann. Phys. 173, 30 (1987).

    Examples
    --------
    >>> from hebbian import DenseHebbian
    >>> state = mixture(DenseHebbian(N=2, P=2), components=3, load=0.001, T=[0.0, 0.3, 0.45])
    >>> state.m.values.round(4), state.stable.values
    (array([[0.5   , 0.4794, 0.4267]]), array([[ True,  True, False]]))
    """
    net = _network(model, components)
    axes = {"load": load_axis(model, load), "T": validation.axis("T", T, minimum=0.0)}
    raw = saddle_points([net], axes["load"], axes["T"], "retrieval")[0]
    solution = variables(net, axes["load"], axes["T"], raw)
    exists = solution["retrieval"]
    curvature = _curvatures(net, axes["load"], axes["T"], raw)
    fields = {"m": solution["n"] / math.sqrt(components)} | {name: solution[name] for name in _COPIED}
    fields |= {"transverse": curvature, "exists": exists, "stable": exists & (curvature > 0)}
    for name, values in fields.items():
        if values.dtype != bool:
            fields[name] = np.where(exists, values, np.nan)
    result = xr.Dataset(
        {name: (tuple(axes), values) for name, values in fields.items()},
        coords=axes,
        attrs={"P": 2, "training": "storing", "interaction": model.interaction, "components": components},
    )
    for name in fields:
        long_name, units = (VARIABLES | _OWN)[name]
        result[name].attrs.update(long_name=long_name, units=units)
    label(result)
    return result


def mixture_temperatures(model: DenseHebbian, *, components: int, load: ArrayLike | None = None) -> xr.Dataset:
    r"""Highest temperatures at which the symmetric mixture of l patterns exists, and is locally stable.

    Parameters
    ----------
    model : DenseHebbian
        Template with P = 2 and training "storing".
    components : int
        Number l >= 1 of patterns in the mixture.
    load : float or array_like, optional
        alpha = K/N > 0; left out: the load of the model.

    Returns
    -------
    xarray.Dataset
        Dimension load. Variables: existence, the highest temperature with a solution; stability, the highest at which
        `mixture` calls it stable (looked for at 40 temperatures, then refined). NaN at loads where there is none.

    Raises
    ------
    ValueError, TypeError
        As in `mixture`.

    References
    ----------
    Amit, Gutfreund, Sompolinsky, Phys. Rev. A 32, 1007 (1985).

    Examples
    --------
    >>> from hebbian import DenseHebbian
    >>> print(f"{mixture_temperatures(DenseHebbian(N=2, P=2), components=3, load=1e-10).stability.item():.4f}")
    0.4598
    """
    net = _network(model, components)
    loads = load_axis(model, load)
    ends = [_ends(largest_temperature(net, value), partial(_transverse, net, value), 0.0) for value in loads.tolist()]
    return _lines(ends, "highest temperature at which the mixture {}", ENERGY_UNIT, {"load": loads})


def mixture_loads(model: DenseHebbian, *, components: int, T: ArrayLike) -> xr.Dataset:
    r"""Largest loads at which the symmetric mixture of l patterns exists, and is locally stable.

    Parameters
    ----------
    model : DenseHebbian
        Template with P = 2 and training "storing"; its load is not used.
    components : int
        Number l >= 1 of patterns in the mixture.
    T : float or array_like
        Temperatures, T >= 0.

    Returns
    -------
    xarray.Dataset
        Dimension T. Variables: existence, the largest alpha with a solution; stability, the largest at which `mixture`
        calls it stable (looked for at 40 loads, then refined). NaN at temperatures where there is none.

    Raises
    ------
    ValueError, TypeError
        As in `mixture`.

    References
    ----------
    Amit, Gutfreund, Sompolinsky, Ann. Phys. 173, 30 (1987).
    """
    net = _network(model, components)
    temperatures = validation.axis("T", T, minimum=0.0)
    ends = [
        _ends(largest_load(net, value), partial(_transverse, net, T=value), SMALLEST_LOAD)
        for value in temperatures.tolist()
    ]
    return _lines(ends, "largest load alpha at which the mixture {}", "1", {"T": temperatures})


def _network(model: DenseHebbian, components: int) -> Network:
    """Return the network with the law of the sum of l signs in place of that of the example mean."""
    check_model(model)
    validation.integer("components", components, minimum=1)
    if model.P != 2:
        raise ValueError(f"P = {model.P} has no theory of mixtures here; allowed: P = 2")
    validation.choice("training", model.training, ("storing",))
    positive = np.arange(components + 1)
    x, weight = (2 * positive - components) / math.sqrt(components), binom.pmf(positive, components, 0.5)
    # x has mean 0 and variance 1 = rho/(1 + rho).
    return network(model, load=1.0, T=0.0)._replace(x=x, weight=weight, rho=sys.float_info.max)


@cached_njit(error_model="numpy", nogil=True)
def _transverse(net: Network, load: float, T: float) -> float:
    """Return the curvature of the free energy across the symmetric direction, NaN where there is no mixture."""
    point = Network(net.P, T, load, net.powers, net.modes, net.x, net.weight, net.rho, net.diagonal)
    out = np.empty(7)
    solve_point(point, RETRIEVAL, out)
    return _curvature(point, out)


@cached_njit(error_model="numpy")
def _curvatures(
    net: Network, load: NDArray[np.float64], T: NDArray[np.float64], raw: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return `_transverse` on a grid of which the saddle points are known."""
    result = np.empty((load.size, T.size))
    for i in range(load.size):
        for j in range(T.size):
            point = Network(net.P, T[j], load[i], net.powers, net.modes, net.x, net.weight, net.rho, net.diagonal)
            result[i, j] = _curvature(point, raw[i, j])
    return result


@cached_njit(error_model="numpy")
def _curvature(point: Network, saddle: NDArray[np.float64]) -> float:
    n, C, V = saddle[1], saddle[2], saddle[3]
    if not n > 0:
        return math.nan
    # E[xi1 xi2 | S] = (S^2 - l)/(l(l-1)), and beta E[x^2 sech^2] is dn/dA: finite at T = 0.
    return 1 - C + (field_averages(n, V, point)[4] - C) / max(point.x.size - 2, 1)


def _ends(existence: float, curvature: Callable[[float], float], start: float) -> tuple[float, float]:
    """Return the end of existence, along load or temperature, and the last point where the curvature is positive."""
    if math.isnan(existence):
        return math.nan, math.nan
    # At the fold itself rounding decides whether the solution exists.
    grid = np.linspace(start, existence * (1 - 1e-9), _SCAN)
    stable = np.array([curvature(value) > 0 for value in grid.tolist()])
    if not stable.any():
        return existence, math.nan
    last = int(np.flatnonzero(stable)[-1])
    if last == _SCAN - 1:
        return existence, existence
    return existence, float(brentq(curvature, grid[last], grid[last + 1], xtol=1e-300, rtol=1e-13))


def _lines(ends: list[tuple[float, float]], long_name: str, units: str, axis: dict[str, NDArray]) -> xr.Dataset:
    existence, stability = np.transpose(ends)
    return xr.Dataset(
        {
            "existence": line("existence", long_name.format("exists"), units, existence, axis),
            "stability": line("stability", long_name.format("is stable"), units, stability, axis),
        }
    )
