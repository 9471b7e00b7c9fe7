r"""Law of the outputs of a wide network under training by gradient flow or descent on squared errors.

With the tangent kernel :math:`\Theta` and the NNGP kernel K, at train inputs t and others s (Jacot et al. 2018, Lee et
al. 2019),

.. math::
    f_s(\tau) = f_s(0) + M (y - f_t(0)), \qquad
    M = \Theta_{st} A^{-1} \big(1 - e^{-\eta A \tau}\big), \qquad A = \Theta_{tt} + \rho

with the loss :math:`\tfrac12 \sum (f - y)^2 + \tfrac\rho2 |\theta - \theta_0|^2`; steps of gradient descent have
:math:`(1 - \eta A)^n` in place of the exponential. The initial outputs are Gaussian with covariance K, so that the law
stays Gaussian. With K in place of :math:`\Theta` only the readout is trained. All functions of A are taken in its
eigenbasis, which is found once; the end of training alone needs the solution of a linear system.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hebbian import validation
from theory.kernels import series
from theory.kernels.gaussian_process import Law, check_kernels
from theory.kernels.solvers import LARGE, kernel_matrix, singular, solver

Array = NDArray[np.float64]

LOSSES = ("half_sum", "half_mean")
FLOW_METHODS = ("auto", "direct", "iterative")
# An eigenbasis costs as much as so many products of matrices.
_EIGENBASIS = 5
# Eigenvalues below zero by less than this, in units of the largest, are rounding; residuals of conjugate gradients.
_NEGATIVE, _RESIDUAL = 1e-8, 1e-10


def flow(
    theta_tt: ArrayLike,
    theta_st: ArrayLike,
    k_tt: ArrayLike,
    k_st: ArrayLike,
    k_ss: ArrayLike,
    y: ArrayLike,
    t: ArrayLike,
    *,
    lr: float = 1.0,
    loss: str = "half_sum",
    ridge: float = 0.0,
    start: tuple[ArrayLike, ArrayLike] | None = None,
    method: str = "auto",
) -> Law:
    r"""Return the law of the outputs after times of gradient flow.

    Parameters
    ----------
    theta_tt, theta_st : array_like, shapes (N, N) and (S, N)
        Tangent kernels between train inputs, and of others with them.
    k_tt, k_st : array_like, shapes (N, N) and (S, N)
        NNGP kernels of the same.
    k_ss : array_like, shape (S, S) or (S,)
        NNGP kernels among the others, or of them with themselves: then the law has variances alone.
    y : array_like, shape (N,) or (N, O)
        Outputs to learn.
    t : float or array_like, shape (T,)
        Times, at least 0; infinity is allowed.
    lr : float
        :math:`\eta`, the rate at which parameters follow the negative gradient, > 0.
    loss : {"half_sum", "half_mean"}
        Half of the sum of squares, or that over N O; the ridge is divided with it.
    ridge : float
        :math:`\rho`, at least 0, in units of the tangent kernel.
    start : (array_like, array_like), optional
        Mean outputs at train and at other inputs in the beginning, of the shapes of y and of the result; default: 0.
        With kernels that are the covariance of a law, a flow goes on from there.
    method : {"auto", "direct", "iterative"}
        "direct" takes the Cholesky factor where the only time is infinity, and else the eigenbasis; "iterative" takes
        products with theta_tt alone, at infinity by conjugate gradients. "auto" is iterative beyond 8192 rows, unless
        times are so late that the eigenbasis costs less: products grow as the root of the time, in units of the fastest
        mode.

    Returns
    -------
    Law
        With times first if t has several.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or t is infinite, the ridge 0 and theta_tt singular (with rows that coincide).
    """
    times = _times("t", t)
    setting = _Setting.of(theta_tt, theta_st, k_tt, k_st, k_ss, y, ridge, start)
    rate = validation.real("lr", lr, above=0.0) * setting.scale(loss)
    validation.choice("method", method, FLOW_METHODS)
    if np.isinf(times).all():
        law = setting.end({"direct": "cholesky", "iterative": "cg"}.get(method, method))
        return Law(*(np.broadcast_to(values, (*times.shape, *values.shape)) for values in (law.mean, law.cov)))
    if method == "iterative" or (method == "auto" and len(setting.theta_tt) > LARGE):
        bound = series.spectral_bound(setting.theta_tt, setting.ridge)
        terms = [series.coefficients(partial(_gain, rate * t), bound) for t in times.ravel() if np.isfinite(t)]
        known = [c for c in terms if c is not None]
        if method == "iterative" and len(known) < len(terms):
            raise ValueError(
                f"t = {times.tolist()} is too late for method = 'iterative'; allowed: 'direct', or infinity"
            )
        products = max(map(len, known), default=0) * len(setting.theta_st)
        if method == "iterative" or (len(known) == len(terms) and products < _EIGENBASIS * len(setting.theta_tt)):
            return setting.by_series(times, known, bound)
    values, rotated = setting.modes()
    if np.isinf(times).any() and values[0] <= len(values) * np.finfo(float).eps * values[-1]:
        raise singular("theta_tt", setting.theta_tt, setting.ridge)
    return rotated.laws(times, [_gain(rate * at, values) for at in times.ravel()])


def descent(
    theta_tt: ArrayLike,
    theta_st: ArrayLike,
    k_tt: ArrayLike,
    k_st: ArrayLike,
    k_ss: ArrayLike,
    y: ArrayLike,
    *,
    step: float,
    n_steps: ArrayLike,
    loss: str = "half_sum",
    ridge: float = 0.0,
    start: tuple[ArrayLike, ArrayLike] | None = None,
) -> Law:
    r"""Return the law of the outputs after steps of gradient descent on the whole training set.

    Parameters
    ----------
    theta_tt, theta_st, k_tt, k_st, k_ss, y, loss, ridge, start
        As `flow` has them.
    step : float
        Learning rate, > 0, with which descent converges: times the largest eigenvalue of A (over N O with "half_mean")
        it is below 2.
    n_steps : int or array_like of int, shape (T,)
        Numbers of steps, at least 0.

    Returns
    -------
    Law
        With numbers of steps first if there are several.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or descent diverges at such a step.
    """
    counts = _times("n_steps", n_steps)
    for count in np.unique(counts).tolist():
        if count != round(count):
            raise ValueError(f"n_steps has an entry {count}; allowed: integers >= 0")
    setting = _Setting.of(theta_tt, theta_st, k_tt, k_st, k_ss, y, ridge, start)
    rate = validation.real("step", step, above=0.0) * setting.scale(loss)
    values, rotated = setting.modes()
    change = rate * values
    if change[-1] >= 2:
        raise ValueError(f"step = {step} diverges; allowed with these kernels: below {2 * float(step) / change[-1]}")

    def moved(count: float) -> Array:
        slow = -np.expm1(count * np.log1p(-np.minimum(change, 0.5)))
        return np.where(change <= 0.5, slow, 1 - (1 - change) ** count)

    return rotated.laws(counts, [_ratio(moved(count), values, rate * count) for count in counts.ravel()])


def train_law(theta_tt: ArrayLike, k_tt: ArrayLike, y: ArrayLike, t: ArrayLike, **options: object) -> Law:
    """Return the law of the outputs at the train inputs themselves after times of gradient flow.

    Parameters
    ----------
    theta_tt, k_tt, y, t
        As `flow` has them.
    **options
        ``lr``, ``loss``, ``ridge`` of `flow`.

    Raises
    ------
    TypeError, ValueError
        As `flow` does.
    """
    return flow(theta_tt, theta_tt, k_tt, k_tt, k_tt, y, t, **options)  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Setting:
    """Checked kernels, errors of the mean outputs at train inputs, and mean outputs at the others to begin with."""

    theta_tt: Array
    theta_st: Array
    k_tt: Array
    k_st: Array
    k_ss: Array
    error: Array
    start: Array
    ridge: float

    @classmethod
    def of(
        cls,
        theta_tt: ArrayLike,
        theta_st: ArrayLike,
        k_tt: ArrayLike,
        k_st: ArrayLike,
        k_ss: ArrayLike,
        y: ArrayLike,
        ridge: float,
        start: tuple[ArrayLike, ArrayLike] | None,
    ) -> "_Setting":
        K, across, own, y = check_kernels(k_tt, k_st, k_ss, y)
        theta = kernel_matrix("theta_tt", theta_tt, len(K))
        tangent = validation.finite("theta_st", theta_st, across.shape).astype(np.float64, copy=False)
        ridge = validation.real("ridge", ridge, minimum=0.0)
        begin = [np.zeros_like(y), np.zeros((len(across), *y.shape[1:]))]
        if start is not None:
            begin = [validation.finite(f"start[{i}]", start[i], begin[i].shape) for i in (0, 1)]
        return cls(theta, tangent, K, across, own, y - begin[0], begin[1], ridge)

    def scale(self, loss: str) -> float:
        """Return what a loss is of the half sum of squares."""
        return 1 / self.error.size if validation.choice("loss", loss, LOSSES) == "half_mean" else 1.0

    def modes(self) -> "tuple[Array, _Setting]":
        """Return the eigenvalues of A, rising, and all else in its eigenbasis."""
        values, vectors = np.linalg.eigh(self.theta_tt)
        # Negative ones are rounding, or the matrix is no kernel.
        if values[0] < -_NEGATIVE * values[-1] or values[-1] <= 0:
            raise ValueError(f"theta_tt has eigenvalues from {values[0]} to {values[-1]}; allowed: positive kernels")
        rotated = {"theta_st": self.theta_st @ vectors, "k_tt": vectors.T @ self.k_tt @ vectors}
        rotated |= {"k_st": self.k_st @ vectors, "error": vectors.T @ self.error}
        return np.maximum(values, 0.0) + self.ridge, replace(self, **rotated)

    def law(self, M: Array) -> Law:
        """Return the law of f + M (y - f_t), shape of M: (S, N)."""
        mean = self.start + M @ self.error
        if self.k_ss.ndim == 1:
            return Law(mean, self.k_ss + ((M @ self.k_tt - 2 * self.k_st) * M).sum(1))
        half = (M @ self.k_tt / 2 - self.k_st) @ M.T
        return Law(mean, self.k_ss + half + half.T)

    def end(self, method: str) -> Law:
        """Return the law at the end of training."""
        solve, _ = solver("theta_tt", self.theta_tt, self.ridge, method, _RESIDUAL)
        return self.law(solve(np.ascontiguousarray(self.theta_st.T)).T)

    def by_series(self, times: Array, terms: list[Array], bound: float) -> Law:
        """Return the laws at all times, of which the finite ones have the coefficients of their gains."""
        right = np.ascontiguousarray(self.theta_st.T)
        finite = iter(series.apply(self.theta_tt, self.ridge, bound, terms, right))
        found = [self.end("cg") if np.isinf(t) else self.law(next(finite).T) for t in times.ravel()]
        parts = ([law.mean for law in found], [law.cov for law in found])
        return Law(*(np.array(part).reshape(*times.shape, *part[0].shape) for part in parts))

    def laws(self, times: Array, gains: list[Array]) -> Law:
        """Return the laws at all times from what multiplies each mode of theta_st."""
        found = [self.law(self.theta_st * gain) for gain in gains]
        parts = ([law.mean for law in found], [law.cov for law in found])
        return Law(*(np.array(part).reshape(*times.shape, *part[0].shape) for part in parts))


def _gain(time: float, values: Array) -> Array:
    """Return (1 - exp(-time x))/x."""
    return _ratio(-np.expm1(-time * values), values, time)


def _ratio(moved: Array, values: Array, limit: float) -> Array:
    """Return what the modes moved over their eigenvalues; a mode of eigenvalue 0 has the limit."""
    return np.divide(moved, values, out=np.full_like(values, limit), where=values > 0)


def _times(name: str, values: ArrayLike) -> Array:
    array = validation.rectangular(name, values)
    if array.dtype.kind not in "iuf" or array.ndim > 1 or not array.size:
        raise ValueError(f"{name} = {values!r}; allowed: a number >= 0 or a list of them")
    array = array.astype(np.float64)
    if not (array >= 0).all():
        raise ValueError(f"{name} has an entry {float(np.min(array))}; allowed: numbers >= 0")
    return array
