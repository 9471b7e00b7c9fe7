r"""Replica-symmetric phase diagram of dense Hebbian networks on a grid."""

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from hebbian import DenseHebbian, validation
from theory.replica_symmetric import disorder, saddle, thermodynamics
from theory.replica_symmetric.axes import ENERGY_UNIT, data_axes, label, load_axis, models_along
from theory.replica_symmetric.field import ROUNDING
from theory.threads import spread

BRANCHES = {"retrieval": saddle.RETRIEVAL, "glass": saddle.GLASS, "paramagnet": saddle.PARAMAGNET}

VARIABLES = {
    "m": ("overlap with the retrieved archetype", "1"),
    "n": ("overlap with the normalised example mean of the retrieved archetype", "1"),
    "q": ("Edwards-Anderson overlap", "1"),
    "free_energy": ("free energy per spin", ENERGY_UNIT),
    "energy": ("energy per spin", ENERGY_UNIT),
    "entropy": ("entropy per spin", "k_B"),
    "replicon": ("replicon eigenvalue, replica symmetry is stable if positive", "1"),
    "retrieval": ("whether the archetype is retrieved", "1"),
    "converged": ("whether the saddle point was found", "1"),
}


def solve(
    model: DenseHebbian,
    *,
    load: ArrayLike | None = None,
    T: ArrayLike,
    quality: ArrayLike | None = None,
    examples: ArrayLike | None = None,
    branch: str = "retrieval",
    data_noise: str = "auto",
) -> xr.Dataset:
    r"""Solve the replica-symmetric equations in the limit N -> infinity on a grid.

    .. math::
        h = (P/2)\, n^{P-1} x + \sqrt V z, \quad m = E\tanh\beta h, \quad n = E[x\tanh\beta h],
        \quad q = E\tanh^2\beta h

    with z a standard normal, x the normalised example mean (1 when storing) and the noise V of
    `disorder.noise_powers` (P >= 3) or :math:`V = \alpha q \sum_l g_l l^2/(1-l\beta(1-q))^2` (P = 2).
    Units: :math:`k_B = 1`, :math:`H = -(N/2)\sum_\mu m_\mu^P` up to coinciding indices.

    Parameters
    ----------
    model : DenseHebbian
        Template. Its P, training and interaction are used, and its load, quality and examples where the argument
        of that name is left out; N and K have no meaning in the limit.
    load : float or array_like, optional
        gamma > 0 in :math:`K = \gamma (2/P!) N^{P-1}`, for ``interaction="all"`` too.
    T : float or array_like
        Temperatures, T >= 0; T = 0 is the exact limit.
    quality : float or array_like, optional
        r in (0, 1].
    examples : int or array_like of int, optional
        M >= 1.
    branch : {"retrieval", "glass", "paramagnet"}
        ``retrieval``: the solution reached from m = q = 1; where it does not exist, the one without retrieval that
        takes its place (``glass``), with ``retrieval`` False (of several retrieval solutions, which few examples can
        have, the one of largest n). ``glass``: m = 0 and the largest q, 0 where there is
        no other. ``paramagnet``: m = 0 and the smallest q (0, but for the random field of all tuples at odd P);
        it does not exist at T = 0, nor at T <= 1 for P = 2.
    data_noise : {"auto", "binomial", "gaussian"}
        Law of the example mean x: the exact binomial one, or its limit for large M,
        :math:`x = (1 + \sqrt\rho g)/\sqrt{1+\rho}`. ``auto``: binomial up to `disorder.LARGEST_BINOMIAL` examples.

    Returns
    -------
    xarray.Dataset
        Dimensions (quality, examples, load, T), the first two only where given. Variables: m, n, q; free_energy,
        energy, entropy per spin; replicon (:math:`1 - \beta^2 F''(q) E\,{\rm sech}^4\beta h`, for P = 2 with V/q in
        place of F''; stable if positive, -inf at T = 0); retrieval; converged. Where `converged` is False the others
        are NaN. For ``interaction="distinct"`` the energy is that without coinciding sites (P = 2: zero diagonal). For
        ``"all"`` it includes, at P = 2, the diagonal :math:`-\alpha/(2R)` (unsupervised; else :math:`-\alpha/2`); at
        P > 2 the mean energy of the noise, which no spin can change and which may diverge with N, is left out.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, not of the stated type, or without meaning for the model.

    References
    ----------
    Amit, Gutfreund, Sompolinsky, Ann. Phys. 173, 30 (1987); Gardner, J. Phys. A 20, 3453 (1987);
    arXiv:2111.12997 (dense), 2211.14067 (supervised), 2212.00606 (unsupervised).

    Examples
    --------
    >>> from hebbian import DenseHebbian
    >>> line = solve(DenseHebbian(N=100, P=4), load=0.3, T=[0.2, 0.3])
    >>> line.m.values.round(5)
    array([[0.98529, 0.98163]])
    """
    loads = load_axis(model, load)
    branch = validation.choice("branch", branch, BRANCHES)
    axes = {"load": loads, "T": validation.axis("T", T, minimum=0.0)}
    data = data_axes(quality, examples)
    nets = [disorder.network(point, load=1.0, T=0.0, data_noise=data_noise) for point in models_along(model, data)]
    raw = saddle_points(nets, axes["load"], axes["T"], branch)
    fields = variables(disorder.stacked(nets), axes["load"], axes["T"], raw)
    size = tuple(values.size for values in (data | axes).values())
    result = xr.Dataset(
        {name: ((*data, *axes), np.reshape(values, size)) for name, values in fields.items()},
        coords=data | axes,
        attrs={"P": model.order, "training": model.training, "interaction": model.interaction, "branch": branch},
    )
    for name, (long_name, units) in VARIABLES.items():
        result[name].attrs.update(long_name=long_name, units=units)
    label(result)
    return result


def solve_network(
    net: disorder.Network, load: NDArray[np.float64], T: NDArray[np.float64], branch: str
) -> dict[str, NDArray]:
    """Return the variables of `solve`, shape (loads, temperatures), for a network; its own load and T are not used."""
    return variables(net, load, T, saddle_points([net], load, T, branch)[0])


def saddle_points(
    nets: list[disorder.Network], load: NDArray[np.float64], T: NDArray[np.float64], branch: str
) -> NDArray[np.float64]:
    """Return the numbers of `saddle.solve_point`, shape (networks, loads, temperatures, 7)."""
    loads, temperatures = (values.ravel() for values in np.meshgrid(load, T, indexing="ij"))
    raw = np.empty((len(nets), loads.size, 7))

    def compute(begin: int, end: int) -> None:
        while begin < end:
            i, first = divmod(begin, loads.size)
            last = min(loads.size, first + end - begin)
            saddle.solve_points(
                nets[i], loads[first:last], temperatures[first:last], BRANCHES[branch], raw[i, first:last]
            )
            begin += last - first

    spread(compute, len(nets) * loads.size)
    return raw.reshape(len(nets), load.size, T.size, 7)


def variables(
    net: disorder.Network, load: NDArray[np.float64], T: NDArray[np.float64], raw: NDArray[np.float64]
) -> dict[str, NDArray]:
    """Return the variables of `solve_network` that follow from its `saddle_points`; `net` may be several, stacked."""
    loads, temperatures = np.meshgrid(load, T, indexing="ij")
    m, n, C, V, instability, spin_entropy, residual = np.moveaxis(raw, -1, 0)
    q = 1 - temperatures * C
    q = np.where(q < ROUNDING, 0.0, q)
    # The replicon is -inf at T = 0; the energy of a paramagnet overflows at T below 1e-150.
    with np.errstate(all="ignore"):
        u, s = thermodynamics.energy_and_entropy(net, loads, temperatures, n, C, V, temperatures * spin_entropy)
        replicon = np.where(instability == 0, 1.0, 1 - instability / temperatures)
        f = u - temperatures * s
        converged = (residual <= saddle.TOLERANCE) & np.isfinite(f)
    fields = {"m": m, "n": n, "q": q, "free_energy": f, "energy": u, "entropy": s, "replicon": replicon}
    fields = {name: np.where(converged, values, np.nan) for name, values in fields.items()}
    return fields | {"retrieval": converged & (n > 0), "converged": converged}
