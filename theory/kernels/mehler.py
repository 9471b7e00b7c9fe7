r"""Mehler's series of the averages of two correlated normal variables, with a bound of what it leaves out.

.. math::
    E f(u) f(v) = \sum_j a_j(q_1)\, a_j(q_2)\, c^j, \qquad a_j(q) = E f(\sqrt q\, g)\, he_j(g)

with the orthonormal Hermite polynomials :math:`he_j` and the correlation c. The N x N part is a polynomial in c. By the
inequality of Cauchy and Schwarz J terms leave out at most :math:`|c|^J \sqrt{t(q_1) t(q_2)}`, where the tail
:math:`t(q) = E f^2 - \sum_{j<J} a_j(q)^2` is known from an integral over one variable.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hebbian.activations import Activation
from theory.kernels.expectation import REACH, density, graded, levels_of, pieces

Array = NDArray[np.float64]

#: Most terms; those of a function with kinks fall off slowly, and the bound tells for which correlations they suffice.
TERMS = 512
# Below it a variance is taken for this, so that slopes stay ratios of finite numbers.
SMALLEST = 1e-30
# Where the largest term of 512, times the root of the density, is below 1e-17.
_REACH = 13.0
_STEP = 0.2
_HALVINGS = 6
# By how much coefficients may change when the step is halved, in units of the root of their sum of squares.
_ROUNDING = 1e-13


@dataclass(frozen=True)
class Coefficients:
    r"""Coefficients of N variances, those that parity leaves.

    Parameters
    ----------
    a : ndarray, shape (J, \*shape of q)
        Coefficients of the powers ``first``, ``first + stride``, ... of c.
    first, stride : int
        Powers.
    tail, slope_tail : ndarray, shape of q
        What the squares lack of :math:`E f^2` and of :math:`E f'^2`, in units of these.
    width : ndarray, shape of q
        :math:`\sqrt q`.
    resolved : bool
        Whether the nodes were close enough for the coefficients, and with them the tails, to be right.
    """

    a: Array
    first: int
    stride: int
    tail: Array
    slope_tail: Array
    width: Array
    resolved: bool

    @property
    def terms(self) -> int:
        """Return the power after the last one."""
        return self.first + self.stride * len(self.a)

    def at(self, *index: Any) -> "Coefficients":
        """Return those of the variances at an index."""
        parts = {name: getattr(self, name)[index] for name in ("tail", "slope_tail", "width")}
        return replace(self, a=self.a[(slice(None), *index)], **parts)


class MehlerSeries:
    """The series of an activation for variances up to a largest one.

    Parameters
    ----------
    act : Activation
        Function.
    largest : float
        Largest variance, > 0.
    largest_squares : (float, float)
        :math:`E f^2` and :math:`E f'^2` at that variance.
    tol : float
        Tail, in units of these squares, at which the series ends for all correlations.
    """

    def __init__(self, act: Activation, largest: float, largest_squares: tuple[float, float], tol: float) -> None:
        self.act = act
        self._first = 1 if act.parity == "odd" else 0
        self._stride = 1 if act.parity is None else 2
        self._halvings, self._terms, self._resolved = 0, TERMS, False
        width = np.sqrt(np.array([largest]))
        finer = self._all(width)
        while self._halvings < _HALVINGS and not self._resolved:
            self._halvings, coarse = self._halvings + 1, finer
            finer = self._all(width)
            self._resolved = bool(np.abs(finer - coarse).max() <= _ROUNDING * math.sqrt(largest_squares[0]))
        squares = finer[:, 0] ** 2
        left = largest_squares[0] - np.cumsum(squares)
        slope_left = largest_squares[1] - np.cumsum(squares * np.arange(TERMS)) / largest
        enough = (left <= tol * largest_squares[0]) & (slope_left <= tol * largest_squares[1])
        self._terms = min(TERMS, int(np.argmax(enough)) + 1) if enough.any() else TERMS

    def coefficients(self, q: Array, squares: Array, slope_squares: Array) -> Coefficients:
        r"""Return the coefficients of variances, given their :math:`E f^2` and :math:`E f'^2`, all of one shape."""
        width = np.sqrt(np.maximum(q, SMALLEST))
        a = self._all(width.ravel()).reshape(self._terms, *q.shape)
        powers = np.arange(len(a)).reshape(-1, *(1,) * q.ndim)
        tail = _lacking(squares, (a**2).sum(0))
        slope_tail = _lacking(slope_squares, (powers * (a / width) ** 2).sum(0))
        kept = a[self._first :: self._stride]
        return Coefficients(
            np.ascontiguousarray(kept), self._first, self._stride, tail, slope_tail, width, self._resolved
        )

    def _all(self, width: Array) -> Array:
        """Return all coefficients of widths of shape (N,), shape (terms, N)."""
        if self.act.kinks in ((), (0.0,)):
            levels = levels_of(2.0 ** math.ceil(math.log2(width.max(initial=1.0)))) if self.act.kinks else 0
            g, table = _shared_table(levels, self._halvings, self._terms)
            return table @ self.act.f(g[:, None] * width)
        parts = [self._moving(width[i : i + 64]) for i in range(0, width.size, 64)]
        return np.concatenate(parts, axis=1)

    def _moving(self, width: Array) -> Array:
        """Return the coefficients where kinks lie at other nodes for each width."""
        u, w = (values[:, None] for values in graded(levels_of(width.max()), self._halvings))
        out = np.zeros((self._terms, width.size))
        for fine, coarse in pieces([kink / width for kink in self.act.kinks]):
            g = fine + (coarse - fine) * u
            weighted = w * np.abs(coarse - fine) * np.sqrt(density(g)) * self.act.f(width * g)
            for j, row in enumerate(_functions(g, self._terms)):
                out[j] += (weighted * row).sum(0)
        return out


@lru_cache(maxsize=8)
def _shared_table(levels: int, halvings: int, terms: int) -> tuple[Array, Array]:
    """Return nodes, on panels of so many levels beside a kink at 0, and for each term the weights of values of f."""
    if levels:
        u, w = graded(levels, halvings)
        g, w = np.concatenate([-REACH * u, REACH * u]), np.tile(REACH * w, 2)
        near = np.abs(g) < 2 * _REACH
        g, w = g[near], w[near]
    else:
        step = _STEP / 2**halvings
        count = math.ceil(_REACH / step)
        g = step * np.arange(-count, count + 1)
        w = np.full(g.size, step)
    return g, np.stack(list(_functions(g, terms))) * (w * np.sqrt(density(g)))


def _functions(g: Array, terms: int) -> Any:
    r"""Yield :math:`he_j(g) \sqrt{\varphi(g)}`, which do not overflow."""
    previous, current = np.zeros_like(g), np.sqrt(density(g))
    for j in range(terms):
        yield current
        previous, current = current, (g * current - math.sqrt(j) * previous) / math.sqrt(j + 1)


def _lacking(whole: Array, part: Array) -> Array:
    return np.maximum(whole - part, 0.0) / np.where(whole > 0, whole, 1.0)


def evaluate(one: Coefficients, two: Coefficients, c: Array) -> tuple[Array, Array]:
    """Return k and its derivative in the covariance; shapes broadcast with that of c."""
    x = c**one.stride
    series, slope = np.zeros(np.broadcast(c, one.width, two.width).shape), np.zeros(())
    for a1, a2 in zip(one.a[::-1], two.a[::-1], strict=True):
        slope = slope * x + series
        series = series * x + a1 * a2
    # k = c^first S(c^stride)
    lowest = c**one.first
    derivative = lowest * slope * one.stride * c ** (one.stride - 1) + one.first * series
    return lowest * series, derivative / (one.width * two.width)


def error_bounds(one: Coefficients, two: Coefficients, c: Array) -> tuple[Array, Array]:
    """Return bounds of both errors, in units of the geometric means of the averages of squares."""
    size = np.abs(c)
    return (
        size**one.terms * np.sqrt(one.tail * two.tail),
        size ** (one.terms - 1) * np.sqrt(one.slope_tail * two.slope_tail),
    )


def unsettled(one: Coefficients, two: Coefficients, c: Array, tol: float) -> NDArray[np.bool_]:
    """Return for which pairs the bounds exceed the tolerance."""
    if not one.resolved:
        return np.ones(np.broadcast(c, one.width, two.width).shape, bool)
    # Most series settle all pairs, whatever c is.
    if max(bound.max(initial=0.0) for bound in error_bounds(one, two, np.ones(()))) <= tol:
        return np.zeros(np.broadcast(c, one.width, two.width).shape, bool)
    return np.logical_or(*(bound > tol for bound in error_bounds(one, two, c)))
