r"""Transition lines other than the spinodal: equal free energies, glass, stability, the Nishimori line.

Units everywhere: :math:`k_B = 1`, :math:`H = -(N/2)\sum_\mu m_\mu^P` up to coinciding indices; load gamma in
:math:`K = \gamma(2/P!)N^{P-1}`.
"""

import math

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike
from scipy.optimize import brentq, minimize_scalar

from hebbian import DenseHebbian, validation
from theory.replica_symmetric import one_step
from theory.replica_symmetric.axes import ENERGY_UNIT, label, line, load_axis
from theory.replica_symmetric.disorder import Network, network
from theory.replica_symmetric.saddle import RETRIEVAL, retrieves, solve_point
from theory.replica_symmetric.solve import solve, solve_network
from theory.replica_symmetric.spinodal import largest_temperature

_SCAN = 40


def critical_temperature(
    model: DenseHebbian, load: ArrayLike | None = None, *, crossing: str = "upper", data_noise: str = "auto"
) -> xr.DataArray:
    r"""Temperature T_c at which retrieval and the phase without it have equal free energies.

    The phase without retrieval: for P = 2, and for ``interaction="all"``, the replica-symmetric glass (the paramagnet
    above T_g); for P >= 3 and distinct sites the paramagnet above T_K and the glass with one step of
    replica-symmetry breaking below.

    Parameters
    ----------
    model : DenseHebbian
        Template.
    load : float or array_like, optional
        Loads, positive; left out: the load of the model.
    crossing : {"upper", "lower"}
        The highest temperature at which the pattern states cease to be the stable phase, or the lower end of that
        window of temperatures where T_c is reentrant (P = 2, storing: alpha between .05185 and about .053).
    data_noise : {"auto", "binomial", "gaussian"}
        See `solve`.

    Returns
    -------
    xarray.DataArray
        Dimension load. NaN at loads where the free energies do not cross: retrieval is metastable wherever it exists,
        or (near the end of the line for P >= 3) stable up to its spinodal; for the lower crossing, where retrieval is
        stable down to T = 0.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or not of the stated type.

    References
    ----------
    Amit, Gutfreund, Sompolinsky, Ann. Phys. 173, 30 (1987).

    Examples
    --------
    >>> from hebbian import DenseHebbian
    >>> print(f"{critical_temperature(DenseHebbian(N=2, P=2), 0.05).item():.4f}")
    0.2164
    """
    loads = load_axis(model, load)
    crossing = validation.choice("crossing", crossing, ("upper", "lower"))
    net = network(model, load=1.0, T=0.0, data_noise=data_noise)
    one_step_glass = model.order > 2 and model.interaction == "distinct"
    values = np.array([_crossing(net, value, crossing, one_step_glass) for value in loads.tolist()])
    return line("critical_temperature", f"critical temperature T_c, {crossing}", ENERGY_UNIT, values, {"load": loads})


def _crossing(net: Network, load: float, crossing: str, one_step_glass: bool) -> float:
    top = largest_temperature(net, load)
    if math.isnan(top):
        return math.nan

    def excess(T: float) -> float:
        """Return the free energy of retrieval minus that of the phase without it."""
        at = np.array([load]), np.array([T])
        retrieval = solve_network(net, *at, "retrieval")
        if not retrieval["retrieval"].item():
            return math.nan
        if one_step_glass:
            scale = math.sqrt(load)
            glass = scale * one_step.free_energy(tuple(net.powers), T / scale)
        else:
            glass = solve_network(net, *at, "glass")["free_energy"].item()
        return retrieval["free_energy"].item() - glass

    # At the fold itself rounding decides whether the solution exists.
    grid = np.linspace(0.0, top * (1 - 1e-9), _SCAN)
    values = np.array([excess(T) for T in grid])
    grid, values = grid[~np.isnan(values)], values[~np.isnan(values)]
    i = int(np.argmin(values))
    if values[i] > 0:
        around = grid[max(0, i - 1)], grid[min(grid.size - 1, i + 1)]
        best = minimize_scalar(excess, bounds=around, method="bounded", options={"xatol": 1e-10})
        if not best.fun < 0:
            return math.nan
        at = np.searchsorted(grid, best.x)
        grid, values = np.insert(grid, at, best.x), np.insert(values, at, best.fun)
    stable = values < 0
    changes = np.flatnonzero(stable[:-1] & ~stable[1:] if crossing == "upper" else ~stable[:-1] & stable[1:])
    if changes.size == 0:
        return math.nan
    j = changes[-1]
    return float(brentq(excess, grid[j], grid[j + 1], xtol=1e-13))


def glass_temperature(model: DenseHebbian, load: ArrayLike | None = None, *, kind: str = "static") -> xr.DataArray:
    r"""Temperature at which the glass without retrieval appears.

    P = 2: the continuous transition :math:`\alpha \sum_l g_l l^2/(T_g - l)^2 = 1`; storing and supervised
    :math:`T_g = 1 + \sqrt\alpha`. P >= 3: T_K, where the complexity of the one-step solution at x = 1 vanishes
    (``static``), or T_d, where that solution appears (``dynamic``); of the P-spin glass with :math:`J^2 = g\gamma` for
    distinct sites, and of the mixture of lower-order spin glasses for all tuples.

    Parameters
    ----------
    model : DenseHebbian
        Template.
    load : float or array_like, optional
        Loads, positive; left out: the load of the model.
    kind : {"static", "dynamic"}
        T_K or T_d; both the same where the transition is continuous.

    Returns
    -------
    xarray.DataArray
        Dimension load. NaN for all tuples at odd P, where a random field leaves no transition.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or not of the stated type.

    References
    ----------
    Amit, Gutfreund, Sompolinsky, Ann. Phys. 173, 30 (1987); Gardner, Nucl. Phys. B 257, 747 (1985);
    Kirkpatrick and Thirumalai, Phys. Rev. B 36, 5388 (1987).
    """
    loads = load_axis(model, load)
    kind = validation.choice("kind", kind, ("static", "dynamic"))
    net = network(model, load=1.0, T=0.0)
    if model.order == 2:
        g, modes = net.modes

        def instability(T: float, value: float) -> float:
            return float(value * np.sum(g * modes**2 / (T - modes) ** 2) - 1)

        # All l <= 1: the first mode alone bounds T_g from below, all of them at l = 1 from above.
        values = np.array(
            [
                brentq(instability, 1 + 0.999 * math.sqrt(a), 1 + 1.001 * math.sqrt(a * g.sum()), args=(a,), xtol=1e-14)
                for a in loads.tolist()
            ]
        )
    elif net.powers[0] > 0:
        values = np.full(loads.size, np.nan)
    else:
        static, dynamic = one_step.transition_temperatures(tuple(net.powers))
        values = np.sqrt(loads) * (static if kind == "static" else dynamic)
    return line("glass_temperature", f"glass temperature, {kind}", ENERGY_UNIT, values, {"load": loads})


def almeida_thouless_temperature(
    model: DenseHebbian, load: ArrayLike | None = None, *, data_noise: str = "auto"
) -> xr.DataArray:
    r"""Temperature of the Almeida-Thouless line of the retrieval phase, below which replica symmetry is unstable.

    Where the replicon :math:`1 - \beta^2 \kappa\,E\,{\rm sech}^4\beta h` of the retrieval solution changes sign
    (the uppermost such temperature).

    Parameters
    ----------
    model : DenseHebbian
        Template.
    load : float or array_like, optional
        Loads, positive; left out: the load of the model.
    data_noise : {"auto", "binomial", "gaussian"}
        See `solve`.

    Returns
    -------
    xarray.DataArray
        Dimension load. NaN without retrieval and where the retrieval solution is unstable at all temperatures.
        The line falls as exp(-1/(2 alpha)) at small loads: 0 where it leaves the range of floating point.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or not of the stated type.

    References
    ----------
    Amit, Gutfreund, Sompolinsky, Ann. Phys. 173, 30 (1987); Albanese et al., arXiv:2303.06375.
    """
    loads = load_axis(model, load)
    net = network(model, load=1.0, T=0.0, data_noise=data_noise)
    values = np.array([_stability_limit(net, value) for value in loads.tolist()])
    return line("almeida_thouless_temperature", "Almeida-Thouless temperature", ENERGY_UNIT, values, {"load": loads})


def _stability_limit(net: Network, load: float) -> float:
    top = largest_temperature(net, load)
    if math.isnan(top):
        return math.nan

    def replicon(T: float) -> float:
        return float(solve_network(net, np.array([load]), np.array([T]), "retrieval")["replicon"].item())

    if retrieves(net, load, 0.0):
        # At low T the replicon is 1 - T_0/T, T_0 the fifth number of the solution at T = 0.
        ground_state = np.empty(7)
        solve_point(net._replace(load=load), RETRIEVAL, ground_state)
        low = 0.25 * float(ground_state[4])
        if low == 0.0:
            return 0.0
        grid = np.geomspace(min(low, 0.5 * top), top * (1 - 1e-9), _SCAN)
    else:
        grid = np.linspace(0.0, top * (1 - 1e-9), _SCAN)[1:]
        grid = grid[[retrieves(net, load, T) for T in grid.tolist()]]
    stable = np.array([replicon(T) > 0 for T in grid.tolist()])
    changes = np.flatnonzero(~stable[:-1] & stable[1:])
    if changes.size == 0:
        return math.nan
    j = changes[-1]
    return float(brentq(replicon, grid[j], grid[j + 1], xtol=1e-300, rtol=1e-13))


def nishimori(model: DenseHebbian, load: ArrayLike | None = None) -> xr.Dataset:
    r"""Solve along the Nishimori line T = gamma, P >= 3, distinct sites, storing.

    There m = q exactly, replica symmetry is exact, and the energy of the retrieval phase is -1/2 per spin.

    Parameters
    ----------
    model : DenseHebbian
        Template with P >= 3, training "storing", interaction "distinct".
    load : float or array_like, optional
        Loads, positive; left out: the load of the model.

    Returns
    -------
    xarray.Dataset
        Variables of `solve` along the dimension load, with T = load as a coordinate.

    Raises
    ------
    ValueError, TypeError
        If the model has no such line or a load is out of range.

    References
    ----------
    Nishimori, Statistical Physics of Spin Glasses and Information Processing (Oxford, 2001), chapter 4.

    Examples
    --------
    >>> from hebbian import DenseHebbian
    >>> point = nishimori(DenseHebbian(N=100, P=4), 0.3)
    >>> print(f"{point.m.item():.7f} {point.q.item():.7f} {point.energy.item():.7f}")
    0.9816345 0.9816345 -0.5000000
    """
    loads = load_axis(model, load)
    for name, value, allowed in (
        ("training", model.training, "storing"),
        ("interaction", model.interaction, "distinct"),
    ):
        if value != allowed:
            raise ValueError(f"{name} = {value!r} has no Nishimori line; allowed: {allowed!r}")
    if model.order < 3:
        raise ValueError(f"P = {model.order} has no Nishimori line; allowed: P >= 3")
    points = [solve(model, load=value, T=value).squeeze("T") for value in loads.tolist()]
    result = xr.concat(points, dim="load", coords="different", compat="equals")
    label(result)
    return result
