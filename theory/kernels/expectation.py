r"""Averages over a centred normal variable of functions with kinks, to a tolerance.

Every interval between kinks is cut into panels that halve towards its ends, with a Gauss-Legendre rule on each: what
happens on a scale of its own around a kink or around zero is resolved whatever the variance.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hebbian import validation

Array = NDArray[np.float64]

# Beyond it the normal density is zero: below 1e-313.
REACH = 38.0
_NODES = 16
# Times that all panels are halved before a function counts as one that cannot be averaged.
_HALVINGS = 6


def gaussian_expectation(
    function: Callable[[Array], Any], variance: ArrayLike, kinks: Sequence[float] = (), *, tol: float = 1e-12
) -> Array:
    r"""Return the average :math:`\langle F(z) \rangle` over :math:`z \sim N(0, K)`.

    Parameters
    ----------
    function : callable
        F, of arrays z of shape (nodes, \*shape of variance), to arrays of that shape; it may use K by broadcasting. The
        average is of the function as it stands: a delta of a second derivative is not in it.
    variance : array_like
        K, finite and at least 0; at 0 the average is F(0).
    kinks : sequence of float
        Values of z where F or a derivative jumps.
    tol : float
        Error that is allowed, in units of the average of :math:`|F|`; at least 1e-14.

    Returns
    -------
    ndarray of float64
        Of the shape of variance.

    Raises
    ------
    TypeError, ValueError
        If the variance or a kink is out of range, F is not finite, or the rule does not reach the tolerance.

    Examples
    --------
    >>> import numpy as np
    >>> from hebbian.activations import get_activation
    >>> relu = get_activation("relu")
    >>> gaussian_expectation(lambda z: relu.f(z) ** 2, [0.5, 2.0], relu.kinks).round(12).tolist()
    [0.25, 1.0]
    """
    K = check_variance("variance", variance)
    tol = validation.real("tol", tol, minimum=1e-14)
    positions = sorted(validation.real("kinks", kink) for kink in kinks)
    width = np.sqrt(K)
    return refined(lambda halvings: _average(function, width, positions, halvings), tol)


def refined(rule: Callable[[int], tuple[Array, Array]], tol: float) -> Array:
    """Return the value of a rule, which gives values and their scale, once halving all panels changes it no more."""
    before, _ = rule(0)
    for halvings in range(1, _HALVINGS + 1):
        value, scale = rule(halvings)
        if not np.isfinite(value).all():
            raise ValueError("the function is not finite; allowed: functions with a finite average")
        if (np.abs(value - before) <= tol * scale).all():
            return value
        before = value
    worst = float(np.max(np.abs(value - before) / scale))
    raise ValueError(f"tol = {tol} is not reached, the rule still moves by {worst:.1e}; allowed: all kinks, or more")


def check_variance(name: str, value: ArrayLike) -> Array:
    """Return variances as floats, or raise unless they are finite and at least 0."""
    array = validation.rectangular(name, value)
    array = validation.finite(name, array, (None,) * array.ndim).astype(np.float64, copy=False)
    if array.size and array.min() < 0:
        raise ValueError(f"{name} has an entry {array.min()}; allowed: numbers >= 0")
    return array


def pieces(breaks: Sequence[Array], reach: float = REACH) -> Iterator[tuple[Array, Array]]:
    """Yield (finer end, coarser end) of the intervals between rising breaks, and of the two outer ones."""
    clipped = [np.clip(at, -reach, reach) for at in breaks]
    yield clipped[0], np.full_like(clipped[0], -reach)
    for left, right in itertools.pairwise(clipped):
        middle = (left + right) / 2
        yield left, middle
        yield right, middle
    yield clipped[-1], np.full_like(clipped[-1], reach)


@functools.lru_cache(maxsize=64)
def graded(levels: int, halvings: int) -> tuple[Array, Array]:
    """Return nodes and weights on (0, 1), on panels that halve towards 0, each cut again in two so many times.

    They are kept and shared, and cannot be written to.
    """
    outer = np.append(0.0, 0.5 ** np.arange(levels, -1, -1))
    cut = [np.linspace(a, b, 2**halvings, endpoint=False) for a, b in itertools.pairwise(outer)]
    edges = np.concatenate([*cut, [1.0]])
    x, w = np.polynomial.legendre.leggauss(_NODES)
    length = np.diff(edges)[:, None]
    nodes, weights = (edges[:-1, None] + length * (x + 1) / 2).ravel(), (length * w / 2).ravel()
    nodes.flags.writeable = weights.flags.writeable = False
    return nodes, weights


def levels_of(scale: float, reach: float = REACH) -> int:
    """Return how many halvings of the reach resolve a standard deviation, and a scale so many times finer."""
    return int(np.ceil(np.log2(2 * reach * max(1.0, scale))))


def density(g: Array) -> Array:
    """Return the density of a standard normal variable."""
    return np.exp(-(g**2) / 2) / np.sqrt(2 * np.pi)


def _average(function: Callable[[Array], Any], width: Array, kinks: Sequence[float], halvings: int) -> Any:
    with np.errstate(divide="ignore"):
        breaks = [np.where(width > 0, kink / np.where(width > 0, width, 1.0), np.sign(kink) * REACH) for kink in kinks]
    if 0.0 not in kinks:
        breaks.insert(sum(kink < 0 for kink in kinks), np.zeros_like(width))
    u, w = (values.reshape(-1, *(1,) * width.ndim) for values in graded(levels_of(width.max(initial=0.0)), halvings))
    value, scale = np.zeros_like(width), np.zeros_like(width)
    for fine, coarse in pieces(breaks):
        g = fine + (coarse - fine) * u
        with np.errstate(over="ignore", invalid="ignore"):
            weighted = w * np.abs(coarse - fine) * density(g) * function(width * g)
        value += weighted.sum(0)
        scale += np.abs(weighted).sum(0)
    return value, np.where(scale > 0, scale, 1.0)
