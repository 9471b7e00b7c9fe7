r"""Theory of the multitasking Hebbian network at low load: all patterns that condense, at once.

For :math:`N \to \infty` at finite K, with expectations over the entries of one site,

.. math::
    n_\mu = E[\hat\eta^\mu\tanh\beta X], \quad m_\mu = E[\xi^\mu\tanh\beta X], \quad
    X = \sum_\nu n_\nu\hat\eta^\nu, \qquad
    -\beta f = E\ln 2\cosh\beta X - \frac\beta2\sum_\nu n_\nu^2.

Units: :math:`k_B = 1`, :math:`H = -(N/2)\sum_\mu n_\mu^2`, which the learning paper divides by 1 - d. Unsupervised
training has the same equations: the overlaps :math:`n^{\mu,a}` with the examples of a pattern are equal by symmetry,
and :math:`\frac1M\sum_a\eta^{\mu,a} n^{\mu,a}/\sqrt R = \hat\eta^\mu n^\mu`. The expectations are exact sums
(`pattern_average`), at hundreds of patterns too, in place of a Monte Carlo integration.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from hebbian import MultitaskingHebbian, validation
from theory.replica_symmetric.amplitudes import SAME, State, descend, hierarchy, mixture, states
from theory.replica_symmetric.axes import ENERGY_UNIT, data_axes, label, models_along
from theory.replica_symmetric.pattern_average import LARGEST_ENUMERATION, LOWEST_T, Entries, entries
from theory.threads import spread

STARTS = ("hierarchical", "pure", "parallel", "lowest")
PHASES = ("paramagnetic", "retrieval", "hierarchical", "partially_ordered", "parallel")

VARIABLES = {
    "m": ("overlaps with the archetypes", "1"),
    "n": ("overlaps with the normalised example means", "1"),
    "free_energy": ("free energy per spin", ENERGY_UNIT),
    "energy": ("energy per spin", ENERGY_UNIT),
    "entropy": ("entropy per spin", "k_B"),
    "eigenvalue": ("smallest eigenvalue of the Hessian of the free energy", "1"),
    "stable": ("whether the state is a minimum of the free energy", "1"),
    "phase": ("kind of state, -1 where not converged", "1"),
    "converged": ("whether the state was found", "1"),
}
_ALONG_PATTERNS = ("m", "n")


def solve(
    model: MultitaskingHebbian,
    *,
    T: ArrayLike,
    dilution: ArrayLike | None = None,
    quality: ArrayLike | None = None,
    examples: ArrayLike | None = None,
    start: str = "hierarchical",
    data_noise: str = "auto",
) -> xr.Dataset:
    r"""Solve for the amplitudes of K patterns in the limit N -> infinity on a grid; see the module for the equations.

    Parameters
    ----------
    model : MultitaskingHebbian
        Template with K. Its dilution, quality and examples are used where the argument of that name is left out.
    T : float or array_like
        Temperatures, T >= 0; T = 0 is the exact limit.
    dilution : float or array_like, optional
        d in [0, 1).
    quality : float or array_like, optional
        r in (0, 1].
    examples : int or array_like of int, optional
        M >= 1.
    start : {"hierarchical", "pure", "parallel", "lowest"}
        State that the dynamics reaches from :math:`m_\mu = (1-d)d^{\mu-1}`, what a simulation that starts there sees;
        from one pattern alone; from equal amplitudes of all (the symmetry of either start stays, stable or not);
        equilibrium: the state of lowest free energy among `solutions`.
    data_noise : {"auto", "binomial", "gaussian"}
        Law of the example mean: the exact binomial one (``auto`` too), or its limit for large M.

    Returns
    -------
    xarray.Dataset
        Dimensions (quality, examples, dilution, T, pattern), the first three only where given. Variables: m, n, along
        pattern too, n descending and not negative; free_energy, energy, entropy per spin; eigenvalue, the smallest
        one of the Hessian
        :math:`\delta_{\mu\nu} - \beta E[\hat\eta^\mu\hat\eta^\nu\,{\rm sech}^2\beta X]`, at T = 0 1 or, where X
        vanishes on sites that are not blank, -inf; stable, whether it is positive; converged. When unsupervised the
        Hessian is that in the overlaps with all examples, with the further eigenvalues
        :math:`1 - \beta E[((\xi^\mu)^2 - R(\hat\eta^\mu)^2)\,{\rm sech}^2\beta X]/(R(M-1))`: few poor examples may be
        retrieved one by one.

        phase, a code with the names in its attributes: ``paramagnetic``, all amplitudes 0; ``retrieval``, one is not;
        ``hierarchical``, two or more and :math:`n_1 > n_2 + \dots + n_K`: the first pattern decides wherever it is
        not blank (at T = 0, storing, if :math:`1 - 2d + d^K > 0`); ``parallel``, all K equal; ``partially_ordered``,
        the rest. Where `converged` is False it is -1 and other numbers are NaN.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, not of the stated type, or without meaning for the model; if K is not set; if
        the sum over the values of the entries, the only one at T = 0 and below `pattern_average.LOWEST_T`, is too long.

    References
    ----------
    Agliari, Barra, Galluzzi, Guerra, Moauro, Phys. Rev. Lett. 109, 268101 (2012); learning: arXiv:2308.04106.

    Examples
    --------
    >>> from hebbian import MultitaskingHebbian
    >>> line = solve(MultitaskingHebbian(N=2, K=3), dilution=[0.2, 0.7], T=0.1)
    >>> line.m.values.round(3)
    array([[[0.8  , 0.143, 0.   ]],
    <BLANKLINE>
           [[0.231, 0.231, 0.196]]])
    >>> line.phase.values.ravel()
    array([2, 3], dtype=int8)
    """
    K = check_model(model)
    start = validation.choice("start", start, STARTS)
    temperatures = validation.axis("T", T, minimum=0.0)
    axes = data_axes(quality, examples)
    if dilution is not None:
        axes["dilution"] = validation.axis("dilution", dilution, minimum=0.0, below=1.0)
    shape = tuple(values.size for values in axes.values())
    models = models_along(model, axes)
    laws = [law_of_entries(point, temperatures, data_noise) for point in models]
    points = list(itertools.product(zip(models, laws, strict=True), temperatures.tolist()))
    found: list[Any] = [None] * len(points)

    def compute(begin: int, end: int) -> None:
        for i in range(begin, end):
            (point, law), value = points[i]
            found[i] = _state(point, law, value, start)

    spread(compute, len(points))
    axes["T"] = temperatures
    attributes = {"K": K, "training": model.training, "start": start}
    return _dataset(found, tuple(axes), (*shape, temperatures.size), axes, attributes)


def solutions(model: MultitaskingHebbian, *, T: float, data_noise: str = "auto") -> xr.Dataset:
    r"""Solve for all states of K patterns at one temperature that a list of starts leads to.

    The starts: no pattern; the hierarchical amplitudes :math:`(1-d)d^{\mu-1}` of the first 1, ..., K patterns (of one:
    the pure state), equal amplitudes of the first 2, ..., K; then every unstable state that was found, displaced
    either way along its most unstable direction, until nothing new appears. Whether there are others is not known.

    Parameters
    ----------
    model : MultitaskingHebbian
        Network with K.
    T : float
        Temperature, T >= 0.
    data_noise : {"auto", "binomial", "gaussian"}
        See `solve`.

    Returns
    -------
    xarray.Dataset
        Variables of `solve` along (solution, pattern), lowest free energy first: the first is the equilibrium state.
        States that differ by the order or the signs of the patterns are one.

    Raises
    ------
    ValueError, TypeError
        As `solve`.

    Examples
    --------
    >>> from hebbian import MultitaskingHebbian
    >>> mixtures = solutions(MultitaskingHebbian(N=2, K=3), T=0.0)
    >>> mixtures.n[mixtures.stable].values.round(3)
    array([[1. , 0. , 0. ],
           [0.5, 0.5, 0.5]])
    """
    K = check_model(model)
    temperature = validation.real("T", T, minimum=0.0)
    law = law_of_entries(model, np.array([temperature]), data_noise)
    found = states(K, model.dilution, temperature, law, _examples(model))
    attributes = {"K": K, "training": model.training, "T": temperature, "dilution": model.dilution}
    return _dataset(found, ("solution",), (len(found),), {}, attributes)


def check_model(model: MultitaskingHebbian) -> int:
    """Return K, or raise unless the model is a MultitaskingHebbian that has one."""
    if not isinstance(model, MultitaskingHebbian):
        raise TypeError(f"model = {model!r} is not a MultitaskingHebbian")
    if model.K is None:
        raise ValueError("neither load nor K of the model is set; allowed: load > 0 or K >= 1")
    return model.K


def law_of_entries(model: MultitaskingHebbian, T: NDArray[np.float64], data_noise: str) -> Entries:
    """Return the law of the entries, or raise where the averages at one of the temperatures are out of reach."""
    K = check_model(model)
    law = entries(model, K=K, data_noise=data_noise)
    cold = T[T < LOWEST_T]
    if cold.size and law.terms > LARGEST_ENUMERATION:
        raise ValueError(
            f"T = {cold[0]} with K = {K} and examples = {model.examples} needs a sum over more than "
            f"{LARGEST_ENUMERATION} values of the entries; allowed: T >= {LOWEST_T}, fewer patterns or examples, "
            "or data_noise='gaussian'"
        )
    return law


def follow_hierarchy(model: MultitaskingHebbian, T: float, law: Entries) -> State:
    """Return the state that the dynamics reaches from the hierarchical one."""
    return _state(model, law, T, "hierarchical")


def phase(n: NDArray[np.float64]) -> int:
    """Return the code of the phase, an index of `PHASES`, of amplitudes in descending order."""
    condensed = int(np.count_nonzero(n))
    if condensed <= 1:
        return condensed
    if n[0] - n[-1] <= SAME * n[0]:
        return PHASES.index("parallel")
    return PHASES.index("hierarchical" if n[0] > n[1:].sum() else "partially_ordered")


def _state(model: MultitaskingHebbian, law: Entries, T: float, start: str) -> State:
    K, d = check_model(model), model.dilution
    if start == "lowest":
        return states(K, d, T, law, _examples(model))[0]
    # A spin that follows an archetype has the overlap E x with its example mean.
    amplitudes = {
        "hierarchical": law.mean * hierarchy(K, d, K),
        "pure": law.mean * hierarchy(K, d, 1),
        "parallel": mixture(K, d, K),
    }
    return descend(amplitudes[start], T, law, _examples(model))


def _examples(model: MultitaskingHebbian) -> int:
    return (model.examples or 1) if model.training == "unsupervised" else 1


def _dataset(
    found: Sequence[State],
    dims: tuple[str, ...],
    shape: tuple[int, ...],
    axes: dict[str, NDArray],
    attributes: dict[str, Any],
) -> xr.Dataset:
    converged = np.array([state.converged for state in found])
    fields: dict[str, NDArray] = {}
    for name in VARIABLES:
        if name == "phase":
            values = np.array([phase(state.n) if state.converged else -1 for state in found], dtype=np.int8)
        else:
            values = np.array([getattr(state, name) for state in found])
        if values.dtype.kind == "f":
            values[~converged] = np.nan
        fields[name] = values.reshape(*shape, *values.shape[1:])
    result = xr.Dataset(
        {name: ((*dims, "pattern") if name in _ALONG_PATTERNS else dims, values) for name, values in fields.items()},
        coords=axes | {"pattern": np.arange(attributes["K"])},
        attrs=attributes,
    )
    for name, (long_name, units) in VARIABLES.items():
        result[name].attrs.update(long_name=long_name, units=units)
    codes = np.arange(len(PHASES), dtype=np.int8)
    result["phase"].attrs.update(flag_values=codes, flag_meanings=" ".join(PHASES))
    label(result)
    return result
