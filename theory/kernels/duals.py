r"""Dual activations: averages of f and of its derivative at two correlated normal variables.

.. math::
    k = E f(u) f(v), \qquad \dot k = E f'(u) f'(v) = \frac{dk}{dq_{12}}, \qquad
    (u, v) \sim N\Big(0, \begin{pmatrix} q_1 & q_{12} \\ q_{12} & q_2 \end{pmatrix}\Big)

Closed forms where there are any; else Mehler's series where its bound allows it; else quadrature over both variables.
"""

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hebbian import validation
from hebbian.activations import Activation, Function, get_activation
from theory.kernels.closed_forms import closed_form, correlation
from theory.kernels.expectation import check_variance, density, gaussian_expectation, graded, levels_of, pieces, refined
from theory.kernels.mehler import MehlerSeries, evaluate, unsettled

Array = NDArray[np.float64]

METHODS = ("auto", "closed", "mehler", "quadrature")
# How far above the product of its variances the square of a covariance may be.
_ROUNDING = 1e-12
_VALUES_AT_ONCE = 500_000
# Standard deviations of quadrature over two variables, for functions that grow slower than exponentially.
_REACH = 14.0


def dual(
    act: str | Function | Activation,
    q1: ArrayLike,
    q2: ArrayLike,
    q12: ArrayLike,
    method: str = "auto",
    tol: float = 1e-10,
) -> tuple[Array, Array]:
    r"""Return :math:`k = E f(u) f(v)` and :math:`\dot k = E f'(u) f'(v)`.

    Parameters
    ----------
    act : str, callable or Activation
        As `hebbian.activations.get_activation` takes it.
    q1, q2, q12 : array_like
        Variances, at least 0, and covariance, of shapes that broadcast; :math:`q_{12}^2 \le q_1 q_2`.
    method : {"auto", "closed", "mehler", "quadrature"}
        "auto" takes the first that serves, pair by pair.
    tol : float
        Error that is allowed, in units of the geometric means of :math:`E f^2` and of :math:`E f'^2` of the two
        variables; at least 1e-13.

    Returns
    -------
    k, kdot : ndarray of float64
        Of the common shape. A step has an infinite kdot where the correlation is 1.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, the activation has no closed form or no convergent series and that was asked
        for, or a custom activation jumps.

    Examples
    --------
    >>> k, kdot = dual("relu", 1.0, 1.0, 0.0)
    >>> round(float(k), 6), float(kdot)  # 1/(2 pi)
    (0.159155, 0.25)
    """
    act = get_activation(act)
    validation.choice("method", method, METHODS)
    tol = validation.real("tol", tol, minimum=1e-13)
    q1, q2 = check_variance("q1", q1), check_variance("q2", q2)
    q12 = validation.rectangular("q12", q12)
    q12 = validation.finite("q12", q12, (None,) * q12.ndim).astype(np.float64, copy=False)
    try:
        shape = np.broadcast_shapes(q1.shape, q2.shape, q12.shape)
    except ValueError as error:
        raise ValueError(
            f"q1, q2, q12 have shapes {q1.shape}, {q2.shape}, {q12.shape}; allowed: that broadcast"
        ) from error
    if (q12**2 > q1 * q2 * (1 + _ROUNDING)).any():
        raise ValueError("q12 has an entry beyond the root of q1 q2; allowed: |q12| <= sqrt(q1 q2)")
    form = closed_form(act)
    if method == "closed" and form is None:
        raise ValueError(f"method = 'closed': activation {act.name!r} has no closed form; allowed: 'auto'")
    if form is not None and method in ("auto", "closed"):
        k, kdot = form(q1, q2, np.broadcast_to(q12, shape))
        return k + np.zeros(shape), kdot + np.zeros(shape)
    check_slope(act)
    if method == "quadrature":
        return pair_duals(act, (q1, q2, q12), tol)
    return _by_series(act, q1, q2, np.broadcast_to(q12, shape), method, tol)


def dual_diag(act: str | Function | Activation, q: ArrayLike, tol: float = 1e-13) -> tuple[Array, Array]:
    r"""Return :math:`E f(u)^2` and :math:`E f'(u)^2` for u of variance q: `dual` of a variable with itself.

    Parameters
    ----------
    act : str, callable or Activation
        As `hebbian.activations.get_activation` takes it.
    q : array_like
        Variances, at least 0.
    tol : float
        Relative error that is allowed where there is no closed form; at least 1e-14.

    Returns
    -------
    k, kdot : ndarray of float64
        Of the shape of q.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or a custom activation jumps.
    """
    act, q = get_activation(act), check_variance("q", q)
    form = closed_form(act)
    if form is not None:
        return form(q, q, q)
    check_slope(act)
    values, where = np.unique(q, return_inverse=True)
    k, kdot = (_mean_square(f, values, act.kinks, tol)[where].reshape(q.shape) for f in (act.f, act.df))
    return k, kdot


def check_slope(act: Activation) -> None:
    """Raise if the derivative of an activation without a closed form has a delta."""
    if not act.continuous:
        raise ValueError(f"activation {act.name!r} is not continuous; allowed: continuous functions, 'step'")


def series_of(act: Activation, q: Array, squares: Array, slope_squares: Array, tol: float) -> MehlerSeries:
    """Return the series that serves all variances q, given their averages of squares."""
    largest = int(np.argmax(q))
    at = float(squares.flat[largest]), float(slope_squares.flat[largest])
    return MehlerSeries(act, max(float(q.flat[largest]), 1e-12), at, 0.01 * tol)


def _by_series(act: Activation, q1: Array, q2: Array, q12: Array, method: str, tol: float) -> tuple[Array, Array]:
    both = np.concatenate([q1.ravel(), q2.ravel()])
    if not both.size:
        return np.zeros(q12.shape), np.zeros(q12.shape)
    squares = dual_diag(act, both)
    series = series_of(act, both, *squares, tol)
    parts = [[values[: q1.size].reshape(q1.shape), values[q1.size :].reshape(q2.shape)] for values in squares]
    one = series.coefficients(q1, parts[0][0], parts[1][0])
    two = series.coefficients(q2, parts[0][1], parts[1][1])
    c = correlation(q1, q2, q12)
    (k, kdot), open_ = evaluate(one, two, c), unsettled(one, two, c, tol)
    if open_.any() and method == "mehler":
        raise ValueError(f"method = 'mehler' does not reach tol = {tol} for {int(open_.sum())} pairs; allowed: 'auto'")
    if open_.any():
        rest = tuple(np.broadcast_to(q, q12.shape)[open_] for q in (q1, q2, q12))
        k[open_], kdot[open_] = pair_duals(act, rest, tol)
    return k, kdot


def pair_duals(act: Activation, pairs: Sequence[Array], tol: float) -> tuple[Array, Array]:
    """Return k and kdot of pairs, arrays (q1, q2, q12) of one shape, by quadrature over both variables."""
    q1, q2, q12 = np.broadcast_arrays(*pairs)
    k, kdot = np.empty(q12.shape), np.empty(q12.shape)
    copies = (q1 == q2) & (q12 == q1)
    k[copies], kdot[copies] = dual_diag(act, q1[copies])
    for f, out in ((act.f, k), (act.df, kdot)):
        out[~copies] = pair_expectation(f, act.kinks, q1[~copies], q2[~copies], q12[~copies], tol)
    return k, kdot


def pair_expectation(f: Function, kinks: tuple[float, ...], q1: Array, q2: Array, q12: Array, tol: float) -> Array:
    """Return the average of f(u) f(v) for pairs, arrays of shape (pairs,), by quadrature over both variables."""
    scale = np.sqrt(_mean_square(f, q1, kinks, tol) * _mean_square(f, q2, kinks, tol))
    c = correlation(q1, q2, q12)
    out = np.empty(q12.shape)
    for i in range(q12.size):
        # Halving the panels quadruples the work: each pair goes on alone.
        rule = functools.partial(_pair, f, kinks, float(q1[i]), float(q2[i]), float(c[i]), scale[i] or 1.0)
        out[i] = refined(rule, tol)
    return out


def _mean_square(f: Function, q: Array, kinks: tuple[float, ...], tol: float) -> Array:
    return gaussian_expectation(lambda z: f(z) ** 2, q, kinks, tol=tol)


def _pair(
    f: Function, kinks: tuple[float, ...], q1: float, q2: float, c: float, scale: float, halvings: int
) -> tuple[Array, Array]:
    """Return the average over v = sqrt(q2) (c g + s h) at given u = sqrt(q1) g, then over g; and its scale."""
    one, two, s = np.sqrt(q1), np.sqrt(q2), np.sqrt((1 - c) * (1 + c))
    features = np.unique([0.0, *kinks])
    # The inner average bends where its mean passes a kink, over a range of s.
    bends = np.concatenate([features / max(one, 1e-300), features / np.copysign(max(abs(c * two), 1e-300), c)])
    breaks = list(np.unique(np.clip(bends, -1e6, 1e6)).reshape(-1, 1))
    u, w = graded(levels_of(max(one, abs(c) * two, min(abs(c) / max(s, 1e-12), 1e12)), _REACH), halvings)
    outer = [(fine + (coarse - fine) * u, np.abs(coarse - fine) * w) for fine, coarse in pieces(breaks, _REACH)]
    g, weight = (np.concatenate(parts) for parts in zip(*outer, strict=True))
    weight = weight * density(g)
    near = weight > 1e-30
    g, weight = g[near], weight[near]
    u, w = (values[:, None] for values in graded(levels_of(two * s, _REACH), halvings))
    total = 0.0
    step = max(1, _VALUES_AT_ONCE // u.size)
    for i in range(0, g.size, step):
        part = g[i : i + step]
        inner = np.zeros(part.size)
        for fine, coarse in pieces([(x / max(two, 1e-300) - c * part) / max(s, 1e-300) for x in features], _REACH):
            h = fine + (coarse - fine) * u
            inner += (w * np.abs(coarse - fine) * density(h) * f(two * (c * part + s * h))).sum(0)
        total += float((weight[i : i + step] * f(one * part)) @ inner)
    return np.array(total), np.array(scale)
