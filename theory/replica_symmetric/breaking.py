r"""One step of replica-symmetry breaking of stored patterns: retrieval, and the glass without it.

The field on a spin, in the gauge of the retrieved pattern, is

.. math:: h = (P/2) m^{P-1} + \sqrt{V_0} z + \sqrt{V_1 - V_0}\, y

with y averaged in the measure :math:`(2\cosh\beta h)^x`, written < >, and then z as a standard normal:
:math:`m = E\langle t\rangle,\; q_0 = E\langle t\rangle^2,\; q_1 = E\langle t^2\rangle`, t = tanh beta h. With
:math:`\mu = \beta x` and :math:`C = \beta(1-q_1)`, finite at T = 0, and l = T ln 2cosh(h/T), the free energy is

.. math::
    P \ge 3:\quad f &= \tfrac{P-1}2 m^P - \tfrac\beta2 [F(1) - F(q_1) - (1-q_1) F'(q_1)]
        + \tfrac\mu2 [\theta(q_1) - \theta(q_0)] - \tfrac1\mu E_z \ln E_y e^{\mu l}, \\
    P = 2:\quad f &= \tfrac{\alpha+m^2}2 + \tfrac\alpha2 \Big[T\ln D_1 + \tfrac1\mu\ln\tfrac D{D_1} - \tfrac{q_0}D
        + C r_1 + \mu (r_1 q_1 - r_0 q_0)\Big] - \tfrac1\mu E_z \ln E_y e^{\mu l},

:math:`F = \gamma q^P/2,\; V = F',\; \theta = q V - F`; :math:`D_1 = 1 - C,\; D = D_1 - \mu(q_1 - q_0),\;
V = \alpha r,\; r_0 = q_0/D^2,\; r_1 - r_0 = (q_1-q_0)/(D_1 D)`. It is stationary in m, q_0, q_1 and x.

Given the scaled signal :math:`a = (P/2) m^{P-1}/\sqrt{V_1}`, :math:`V_1`, :math:`w = 1 - V_0/V_1` and mu all else is
explicit, the load too: three equations are left, and the load along a has its maximum where retrieval ends.
"""

import itertools
import math
from collections.abc import Callable
from functools import cache

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from hebbian import DenseHebbian, validation
from theory.replica_symmetric import thermodynamics
from theory.replica_symmetric.axes import ENERGY_UNIT, check_model, label, line, load_axis
from theory.replica_symmetric.broken_glass import broken_glass
from theory.replica_symmetric.broken_retrieval import Branch, Point
from theory.replica_symmetric.disorder import Network, network
from theory.replica_symmetric.lines import glass_temperature
from theory.replica_symmetric.solve import solve_network
from theory.replica_symmetric.spinodal import largest_load
from theory.threads import spread

VARIABLES = {
    "m": ("overlap with the retrieved pattern", "1"),
    "q0": ("overlap of states of different clusters", "1"),
    "q1": ("self-overlap of a state", "1"),
    "x": ("block parameter x", "1"),
    "mu": ("block parameter over temperature, x/T", f"1/({ENERGY_UNIT})"),
    "free_energy": ("free energy per spin", ENERGY_UNIT),
    "energy": ("energy per spin", ENERGY_UNIT),
    "entropy": ("entropy per spin", "k_B"),
    "breaking": ("whether replica symmetry is broken, q1 > q0", "1"),
    "retrieval": ("whether the pattern is retrieved", "1"),
    "converged": ("whether the saddle point was found", "1"),
}
BRANCHES = ("retrieval", "glass")


def one_step_solve(
    model: DenseHebbian, *, load: ArrayLike | None = None, T: ArrayLike, branch: str = "retrieval"
) -> xr.Dataset:
    r"""Solve the equations with one step of replica-symmetry breaking, N -> infinity, on a grid; storing.

    Units: :math:`k_B = 1`, :math:`H = -(N/2)\sum_\mu m_\mu^P` up to coinciding indices.

    Parameters
    ----------
    model : DenseHebbian
        Template with training "storing", interaction "distinct"; N and K have no meaning in the limit.
    load : float or array_like, optional
        gamma > 0 in :math:`K = \gamma (2/P!) N^{P-1}` (P = 2: alpha); left out: the load of the model.
    T : float or array_like
        Temperatures, T >= 0; T = 0 is the exact limit.
    branch : {"retrieval", "glass"}
        ``retrieval``: the solution of largest m; where retrieval is no solution, the glass that takes its place, with
        `retrieval` False. ``glass``: m = 0, with q_0 = 0 for P >= 3 and q_0 > 0 for P = 2 (q_0 = 0 near
        T_g, where f differs by less than 1e-6; below loads of 0.001 it is not always found); the
        paramagnet above T_K and T_g.

    Returns
    -------
    xarray.Dataset
        Dimensions (load, T). Variables: m; q0, q1; x in [0, 1] and mu = x/T, finite at T = 0, both NaN without
        breaking; free_energy, energy, entropy per spin; breaking; retrieval; converged. Where `converged` is False the
        numbers are NaN. Retrieval is replica symmetric, with q0 = q1, above the Almeida-Thouless line, and is given so
        where breaking is too weak to be resolved: the replicon above about -0.005 or, at T = 0, q1 - q0 below 2e-5.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, not of the stated type, or the model is not a network that stores patterns by
        distinct tuples.

    References
    ----------
    Crisanti, Amit, Gutfreund, Europhys. Lett. 2, 337 (1986); Steffan and Kuehn, Z. Phys. B 95, 249 (1994),
    cond-mat/9404036; Gardner, J. Phys. A 20, 3453 (1987).

    Examples
    --------
    >>> from hebbian import DenseHebbian
    >>> point = one_step_solve(DenseHebbian(N=9, P=3), load=0.42, T=0.0)
    >>> print(f"{point.m.item():.4f} {point.q0.item():.4f}")
    0.8471 0.9125
    """
    _check(model)
    axes = {"load": load_axis(model, load), "T": validation.axis("T", T, minimum=0.0)}
    branch = validation.choice("branch", branch, BRANCHES)
    net = network(model, load=1.0, T=0.0)
    fields = {name: np.full((axes["load"].size, axes["T"].size), np.nan) for name in VARIABLES}
    glass_limit = glass_temperature(model, axes["load"]).values
    broken = cache(lambda temperature: Branch(net, temperature))
    retrieval, paramagnet = (solve_network(net, axes["load"], axes["T"], name) for name in ("retrieval", "paramagnet"))
    # Loads are the faster axis: those of one temperature share a branch.
    points = list(itertools.product(range(axes["T"].size), range(axes["load"].size)))

    def compute(begin: int, end: int) -> None:
        for j, i in points[begin:end]:
            value, temperature = axes["load"][i].item(), axes["T"][j].item()
            found = None
            if branch == "retrieval":
                found = _retrieval(broken, net, temperature, value, _symmetric(retrieval, i, j))
            if found is None and temperature >= glass_limit[i]:
                found = _symmetric(paramagnet, i, j)
            elif found is None:
                found = _glass(net, temperature, value)
            for name in VARIABLES:
                fields[name][i, j] = found.get(name, math.nan)

    spread(compute, len(points))
    result = xr.Dataset(
        {name: (tuple(axes), values) for name, values in fields.items()},
        coords=axes,
        attrs={"P": model.order, "training": model.training, "interaction": model.interaction, "branch": branch},
    )
    for name in ("breaking", "retrieval", "converged"):
        result[name] = result[name].astype(bool)
    for name, (long_name, units) in VARIABLES.items():
        result[name].attrs.update(long_name=long_name, units=units)
    label(result)
    return result


def one_step_critical_load(model: DenseHebbian, T: ArrayLike = 0.0) -> xr.DataArray:
    r"""Critical load with one step of replica-symmetry breaking, beyond which there is no retrieval solution; storing.

    Units: :math:`k_B = 1`, :math:`H = -(N/2)\sum_\mu m_\mu^P` up to coinciding indices; load gamma in
    :math:`K = \gamma(2/P!)N^{P-1}` (P = 2: alpha).

    Parameters
    ----------
    model : DenseHebbian
        Template with training "storing", interaction "distinct"; its load is not used.
    T : float or array_like
        Temperatures, T >= 0.

    Returns
    -------
    xarray.DataArray
        Dimension T. The replica-symmetric value where retrieval is stable up to its end; NaN at temperatures without
        retrieval at any load. Error about 1e-9.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, not of the stated type, or the model is not a network that stores patterns by
        distinct tuples.

    References
    ----------
    Steffan and Kuehn, Z. Phys. B 95, 249 (1994), cond-mat/9404036.

    Examples
    --------
    >>> from hebbian import DenseHebbian
    >>> print(f"{one_step_critical_load(DenseHebbian(N=9, P=2)).item():.6f}")
    0.138186
    """
    _check(model)
    temperatures = validation.axis("T", T, minimum=0.0)
    net = network(model, load=1.0, T=0.0)
    values = np.empty(temperatures.size)

    def compute(begin: int, end: int) -> None:
        for i, value in enumerate(temperatures[begin:end].tolist(), begin):
            values[i] = _largest_load(Branch(net, value), net, value)

    spread(compute, values.size)
    return line("one_step_critical_load", "critical load gamma_c, one-step breaking", "1", values, {"T": temperatures})


def _largest_load(broken: Branch, net: Network, T: float) -> float:
    return broken.top[2] if broken.nodes else largest_load(net, T)


def _retrieval(
    broken: Callable[[float], Branch], net: Network, T: float, load: float, symmetric: dict[str, float]
) -> dict[str, float] | None:
    """Return the variables of the retrieval solution, None if there is none."""
    if symmetric["retrieval"] and symmetric["replicon"] >= 0:
        return symmetric
    point = broken(T).solution(load)
    if point is not None:
        return _variables(net, T, load, point)
    unresolved = not broken(T).nodes or load < broken(T).nodes[0][2].load
    return symmetric if symmetric["retrieval"] and unresolved else None


def _glass(net: Network, T: float, load: float) -> dict[str, float]:
    point = broken_glass(net.P, T, load)
    if point is None:
        return {"breaking": False, "retrieval": False, "converged": False}
    return _variables(net, T, load, point)


def _variables(net: Network, T: float, load: float, point: Point) -> dict[str, float]:
    n, C, V1, spin_entropy = (np.array(value) for value in (point.m, point.C, point.V1, T * point.entropy))
    u, s = thermodynamics.energy_and_entropy(net, np.array(load), np.array(T), n, C, V1, spin_entropy)
    energy = float(u) + point.energy
    return {
        "m": point.m,
        "q0": point.q0,
        "q1": point.q1,
        "x": point.mu * T,
        "mu": point.mu,
        "free_energy": energy - T * float(s),
        "energy": energy,
        "entropy": float(s),
        "breaking": True,
        "retrieval": point.m > 0,
        "converged": math.isfinite(energy),
    }


def _symmetric(solution: dict[str, NDArray], i: int, j: int) -> dict[str, float]:
    """Return the variables of a replica-symmetric solution at one point, and its replicon."""
    values = {name: solution[name][i, j].item() for name in solution}
    return values | {"q0": values["q"], "q1": values["q"], "breaking": False}


def _check(model: DenseHebbian) -> None:
    check_model(model)
    for name, value, allowed in (
        ("training", model.training, "storing"),
        ("interaction", model.interaction, "distinct"),
    ):
        if value != allowed:
            raise ValueError(f"{name} = {value!r} has no one-step theory here; allowed: {allowed!r}")
