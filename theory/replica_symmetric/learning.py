r"""Learning phase diagrams: how many examples, or how poor ones, still let a network retrieve their archetype.

`learning_threshold` is the line of the plane (M, r), `entropy_threshold` that of the plane (rho, load), which
`critical_load` gives as a load. Both end where the retrieval solution ends, which is decided exactly at each point
(`saddle.largest_root`).

Retrieval alone is not learning: at M = 1 the network stores the example, and at small loads it stores the mean of few
or poor examples (at odd M up to larger loads than at even M, where their votes can be level; at P >= 3 however poor
they are). The thresholds are the far end of the gap, if there is one, between that and learning; an `overlap` asked of
the solution tells the two apart where there is none.
"""

import itertools
import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from hebbian import DenseHebbian, validation
from theory.replica_symmetric.axes import data_axes, line, load_axis
from theory.replica_symmetric.disorder import Network, network
from theory.replica_symmetric.saddle import RETRIEVAL, retrieves, solve_point
from theory.threads import spread

#: Where this many examples are too few, any number is taken to be.
LARGEST_EXAMPLES = 10**15
#: As little order in the data as this is taken to be none.
LARGEST_ENTROPY = 1e6
# Where a gap is looked for: every M up to the first number, and from there on, as in rho, steps of this ratio.
_EVERY, _RATIO = 256, 1.05
_EXAMPLES = np.geomspace(_EVERY, LARGEST_EXAMPLES, math.ceil(math.log(LARGEST_EXAMPLES / _EVERY, _RATIO)))
_LADDER = [*range(1, _EVERY), *_EXAMPLES.astype(np.int64).tolist()]
_ENTROPIES = np.geomspace(1e-4, LARGEST_ENTROPY, math.ceil(math.log(LARGEST_ENTROPY / 1e-4, _RATIO))).tolist()


def learning_threshold(
    model: DenseHebbian,
    *,
    load: ArrayLike | None = None,
    T: ArrayLike,
    quality: ArrayLike,
    overlap: float = 0.0,
    data_noise: str = "auto",
) -> xr.DataArray:
    r"""Smallest number M of examples from which on a network retrieves their archetype.

    At small quality :math:`M \sim (1-r^2)/r^2` supervised, :math:`M \sim r^{-2P}` unsupervised.
    Units: :math:`k_B = 1`, :math:`H = -(N/2)\sum_\mu m_\mu^P` up to coinciding indices.

    Parameters
    ----------
    model : DenseHebbian
        Template that learns, supervised or unsupervised; its own quality and examples are not used.
    load : float or array_like, optional
        gamma > 0 in :math:`K = \gamma(2/P!)N^{P-1}`; left out: the load of the model.
    T : float or array_like
        Temperatures, T >= 0.
    quality : float or array_like
        r in (0, 1].
    overlap : float
        In [0, 1): what the overlap m with the archetype must exceed for retrieval to count.
    data_noise : {"auto", "binomial", "gaussian"}
        See `solve`; ``gaussian`` forgets what is special to few examples.

    Returns
    -------
    xarray.DataArray
        Dimensions (quality, load, T). One more than the largest M that fails, of all those up to 256 and of a series
        of ratio 1.05 beyond (refined by bisection, each M together with M + 1: near the threshold even M can fail
        where odd M do not). 1 where none fails; NaN where `LARGEST_EXAMPLES` do, as they do beyond the critical load
        of the archetypes themselves.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or not of the stated type, or the model does not learn from examples.

    References
    ----------
    arXiv:2211.14067 (supervised), 2212.00606 (unsupervised).

    Examples
    --------
    >>> from hebbian import DenseHebbian
    >>> model = DenseHebbian(N=2, P=2, training="unsupervised", quality=1.0, examples=1)
    >>> learning_threshold(model, load=0.05, T=0.0, quality=[0.2, 0.4, 0.7]).values.ravel()
    array([319.,  41.,   7.])
    """
    loads, temperatures, overlap = _conditions(model, load, T, overlap)
    axes = data_axes(quality, None) | {"load": loads, "T": temperatures}

    def learned(r: float) -> Callable[[int], Network]:
        return cache(lambda M: network(model.replace(quality=r, examples=M), load=1.0, T=0.0, data_noise=data_noise))

    values = _map(axes, learned, partial(_smallest_number, overlap=overlap))
    return line("learning_threshold", "smallest number M of examples with retrieval", "1", values, axes)


def entropy_threshold(
    model: DenseHebbian,
    *,
    load: ArrayLike | None = None,
    T: ArrayLike,
    examples: ArrayLike,
    overlap: float = 0.0,
    data_noise: str = "auto",
) -> xr.DataArray:
    r"""Largest data-set entropy rho up to which a network retrieves the archetype of its M examples.

    :math:`\rho = (1-r^2)/(M r^2)`, so that the examples have quality :math:`r = 1/\sqrt{1+\rho M}`. The same line
    is that of `critical_load` at these qualities, for a given rho. Units: :math:`k_B = 1`,
    :math:`H = -(N/2)\sum_\mu m_\mu^P` up to coinciding indices.

    Parameters
    ----------
    model : DenseHebbian
        Template that learns, supervised or unsupervised; its own quality and examples are not used.
    load : float or array_like, optional
        gamma > 0 in :math:`K = \gamma(2/P!)N^{P-1}`; left out: the load of the model.
    T : float or array_like
        Temperatures, T >= 0.
    examples : int or array_like of int
        M >= 1. Supervised networks of many depend on rho alone.
    overlap : float
        In [0, 1): what the overlap m with the archetype must exceed for retrieval to count.
    data_noise : {"auto", "binomial", "gaussian"}
        See `solve`.

    Returns
    -------
    xarray.DataArray
        Dimensions (examples, load, T). Below it a series of rho of ratio 1.05 from 1e-4 was found to retrieve. NaN
        where perfect examples fail; infinite where a rho of `LARGEST_ENTROPY` does not, as with a single example,
        which is stored.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or not of the stated type, or the model does not learn from examples.

    References
    ----------
    arXiv:2211.14067 (supervised), 2212.00606 (unsupervised).

    Examples
    --------
    >>> from hebbian import DenseHebbian
    >>> model = DenseHebbian(N=2, P=2, training="supervised", quality=1.0, examples=1)
    >>> entropy_threshold(model, load=[0.05, 0.1], T=0.0, examples=10**6).values.ravel().round(5)
    array([0.15715, 0.0487 ])
    """
    loads, temperatures, overlap = _conditions(model, load, T, overlap)
    axes = data_axes(None, examples) | {"load": loads, "T": temperatures}

    def learned(M: int) -> Callable[[float], Network]:
        def at(rho: float) -> Network:
            r = 1 / math.sqrt(1 + rho * M)
            return network(model.replace(quality=r, examples=M), load=1.0, T=0.0, data_noise=data_noise)

        return cache(at)

    values = _map(axes, learned, partial(_largest_entropy, overlap=overlap))
    return line("entropy_threshold", "largest data-set entropy rho with retrieval", "1", values, axes)


def _map(
    axes: dict[str, NDArray], learned: Callable[[Any], Callable], threshold: Callable[..., float]
) -> NDArray[np.float64]:
    """Return the thresholds of the networks learned at each value of the first axis, along all axes."""
    data, *rest = (axis.tolist() for axis in axes.values())
    points = list(itertools.product([learned(value) for value in data], *rest))
    values = np.empty([axis.size for axis in axes.values()])

    def compute(begin: int, end: int) -> None:
        for i in range(begin, end):
            values.flat[i] = threshold(*points[i])

    spread(compute, len(points))
    return values


def _conditions(
    model: DenseHebbian, load: ArrayLike | None, T: ArrayLike, overlap: float
) -> tuple[NDArray, NDArray, float]:
    """Return loads, temperatures and overlap, or raise unless they are in range and the model learns."""
    loads = load_axis(model, load)
    validation.choice("training", model.training, ("supervised", "unsupervised"))
    temperatures = validation.axis("T", T, minimum=0.0)
    return loads, temperatures, validation.real("overlap", overlap, minimum=0.0, below=1.0)


def _retrieves(net: Network, load: float, T: float, overlap: float) -> bool:
    """Return whether there is retrieval at this load and temperature with m above the overlap."""
    if not retrieves(net, load, T):
        return False
    if overlap == 0.0:
        return True
    solution = np.empty(7)
    solve_point(net._replace(load=load, T=T), RETRIEVAL, solution)
    return bool(solution[0] > overlap)


def _smallest_number(learned: Callable[[int], Network], load: float, T: float, overlap: float) -> float:
    """Return the number of examples from which on there is retrieval, by a search from above."""

    def holds(M: int) -> bool:
        return _retrieves(learned(M), load, T, overlap) and _retrieves(learned(M + 1), load, T, overlap)

    if not holds(LARGEST_EXAMPLES):
        return math.nan
    high = LARGEST_EXAMPLES
    for low in reversed(_LADDER):
        if not holds(low):
            break
        high = low
    else:
        return 1.0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return float(high)


def _largest_entropy(learned: Callable[[float], Network], load: float, T: float, overlap: float) -> float:
    """Return the data-set entropy up to which there is retrieval, by a search from below."""
    if not _retrieves(learned(0.0), load, T, overlap):
        return math.nan
    low = 0.0
    for high in _ENTROPIES:
        if not _retrieves(learned(high), load, T, overlap):
            break
        low = high
    else:
        return math.inf
    while high - low > 1e-14 * high:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _retrieves(learned(middle), load, T, overlap) else (low, middle)
    return 0.5 * (low + high)
