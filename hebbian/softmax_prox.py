r"""Softmax of groups and the proximal step of the entropy less half the square, exact to rounding."""

import math
from typing import Any

from array_api_compat import array_namespace

from hebbian import validation
from hebbian.potts import GroupLayout

# Joint Newton steps before bisection takes over (22 were the most in 420 cases); up to how many categories are few.
_NEWTON, _FEW = 40, 32
_HALVINGS = 200


def log_sum_exp(u: Any, axis: int = -1) -> Any:
    """Return the logarithm of the sum of exponentials along an axis that is kept, with length 1."""
    xp = array_namespace(u)
    largest = xp.max(u, axis=axis, keepdims=True)
    return largest + xp.log(xp.sum(xp.exp(u - largest), axis=axis, keepdims=True))


def group_log_softmax(u: Any, layout: GroupLayout) -> Any:
    """Return the logarithms of `group_softmax`, finite where those underflow."""
    xp, out = array_namespace(u), u + 0.0
    for start, G, k in layout.segments:
        part = u[..., start : start + G * k]
        if k == 2:
            pair = _log_sigmoids(xp, part[..., ::2] - part[..., 1::2])
            out[..., start : start + 2 * G : 2], out[..., start + 1 : start + 2 * G : 2] = pair
        else:
            part = part.reshape((*u.shape[:-1], G, k))
            out[..., start : start + G * k] = (part - log_sum_exp(part)).reshape((*u.shape[:-1], G * k))
    return out


def group_softmax(u: Any, layout: GroupLayout) -> Any:
    r"""Return the probabilities :math:`e^{u_i} / \sum_j e^{u_j}` within each group.

    Parameters
    ----------
    u : array
        Fields of shape (..., N), of NumPy, CuPy or PyTorch.
    layout : GroupLayout
        Groups of the N entries.
    """
    return array_namespace(u).exp(group_log_softmax(u, layout))


def softmax_prox(y: Any, alpha: float, axis: int = -1, tol: float | None = None, warm: Any = None) -> Any:
    r"""Return the proximal step of the entropy less half the square on the simplex.

    .. math::
        z = \arg\min_{z \in \Delta} \alpha \Big(\sum_i z_i \ln z_i - \tfrac12 |z|^2\Big) + \tfrac12 |z - y|^2, \qquad
        (1-\alpha) z_i + \alpha \ln z_i = y_i + \nu

    alpha = 1 is softmax(y); alpha -> 0 is the Euclidean projection on the simplex. z is a Lipschitz function of y with
    constant 1/(1 + alpha).

    Parameters
    ----------
    y : array
        Any finite numbers, float32 or float64, of NumPy, CuPy or PyTorch; a group along `axis`.
    alpha : float
        Step, > 0.
    axis : int
        Axis of the categories.
    tol : float, optional
        Newton's method ends with the step after the first that changes no z by more. Default: the root of the rounding
        unit, after which that step is exact to rounding.
    warm : array, optional
        log z of a similar y, of the same shape, to start from.

    Raises
    ------
    TypeError, ValueError
        If alpha is not positive, y is not finite, or `warm` has another shape.

    Examples
    --------
    >>> import numpy as np
    >>> softmax_prox(np.array([1, 0.5, -0.3, -2]), 0.5).round(6).tolist()
    [0.613015, 0.306427, 0.077761, 0.002797]
    """
    return array_namespace(y).exp(log_softmax_prox(y, alpha, axis, tol, warm))


def log_softmax_prox(y: Any, alpha: float, axis: int = -1, tol: float | None = None, warm: Any = None) -> Any:
    """Return the logarithm of `softmax_prox`, which has the same arguments; finite where z underflows."""
    xp = array_namespace(y)
    alpha = validation.real("alpha", alpha, above=0.0)
    if not bool(xp.all(xp.isfinite(y))):
        raise ValueError("y has an entry that is infinite or not a number; allowed: finite numbers")
    if warm is not None and warm.shape != y.shape:
        raise ValueError(f"warm has shape {tuple(warm.shape)}; allowed: that of y, {tuple(y.shape)}")
    precision = xp.finfo(y.dtype)
    tol = math.sqrt(float(precision.eps)) if tol is None else validation.real("tol", tol, above=0.0)
    # Few categories go first, for long inner loops; many last, for sums that lose no digits.
    at = 0 if y.shape[axis] <= _FEW else -1
    y = xp.moveaxis(y, axis, at)
    y = y / 2 - xp.max(y, axis=at, keepdims=True) / 2
    # Twice this, and its ratio with alpha, are finite.
    y = 2 * xp.clip(y, -float(precision.max) / 8 * min(alpha, 1.0), 0.0)
    if y.shape[at] == 2:
        return xp.moveaxis(_binary(xp, y, alpha, tol), 0, axis)
    log_z = _newton(xp, y, alpha, tol, None if warm is None else xp.moveaxis(warm, axis, at), at)
    return xp.moveaxis(log_z, at, axis)


def log_binary_prox(d: Any, alpha: float, tol: float | None = None) -> Any:
    r"""Return the difference t of the two log z of binary groups from that of their y.

    .. math::
        (1-\alpha) \tanh(t/2) + \alpha t = d

    The left side is concave for t > 0 if alpha < 1 and convex otherwise, so that Newton's method from the tangent or
    the asymptote, whichever is nearer, does not overshoot.
    """
    xp = array_namespace(d)
    tol = math.sqrt(float(xp.finfo(d.dtype).eps)) if tol is None else tol
    size = xp.abs(d)
    tangent, asymptote = size / ((1 + alpha) / 2), (size - (1 - alpha)) / alpha
    t = xp.maximum(tangent, asymptote) if alpha <= 1 else xp.minimum(tangent, asymptote)
    for _ in range(_HALVINGS):
        tanh = xp.tanh(t / 2)
        change = (size - (1 - alpha) * tanh - alpha * t) / (alpha + (1 - alpha) / 2 * (1 - tanh * tanh))
        t = t + change
        if not bool(xp.any(xp.abs(change) > tol * (1 + t))):
            break
    return xp.where(d < 0, -t, t)


def _binary(xp: Any, y: Any, alpha: float, tol: float) -> Any:
    return xp.stack(_log_sigmoids(xp, log_binary_prox(y[0] - y[1], alpha, tol)))


def _log_sigmoids(xp: Any, t: Any) -> tuple[Any, Any]:
    """Return the logarithms of 1/(1 + e^-t) and 1/(1 + e^t), the larger of which is exact too."""
    rest = xp.log1p(xp.exp(-xp.abs(t)))
    return xp.clip(t, None, 0.0) - rest, xp.clip(-t, None, 0.0) - rest


def _newton(xp: Any, y: Any, alpha: float, tol: float, warm: Any, axis: int) -> Any:
    """Solve for log z and nu jointly; nu enters linearly, so that only log z has to be kept for a warm start."""
    k = y.shape[axis]
    lowest, highest = (1 - alpha) / k - alpha * math.log(k), 1 - alpha
    log_z = xp.clip((y + highest) / alpha, None, 0.0) if warm is None else xp.clip(warm, None, 0.0)
    last = False
    for _ in range(_NEWTON):
        z = xp.exp(log_z)
        value, slope = alpha * log_z + (1 - alpha) * z - y, alpha + (1 - alpha) * z
        weight = z / slope
        total = xp.sum(weight, axis=axis, keepdims=True)
        # Where all z underflow there is nothing to weigh by; the largest y then has z near 1.
        nu = (1 - xp.sum(z, axis=axis, keepdims=True) + xp.sum(weight * value, axis=axis, keepdims=True)) / xp.where(
            total > 0, total, 1.0 + 0.0 * total
        )
        nu = xp.clip(xp.where(total > 0, nu, highest + 0.0 * nu), lowest, highest)
        new = xp.clip(log_z + (nu - value) / slope, None, 0.0)
        change = xp.abs(xp.exp(new) - z)
        log_z = new
        if last:
            return log_z - xp.log(xp.sum(xp.exp(log_z), axis=axis, keepdims=True))
        last = not bool(xp.any(change > tol))
    return _bisection(xp, y, alpha, axis)


def _bisection(xp: Any, y: Any, alpha: float, axis: int) -> Any:
    """Solve by halving the bracket of nu, with log z of each nu by Newton's method on a monotone function."""
    k = y.shape[axis]
    zero = 0.0 * xp.max(y, axis=axis, keepdims=True)
    low, high = zero + ((1 - alpha) / k - alpha * math.log(k)), zero + (1 - alpha)
    for _ in range(_HALVINGS):
        nu = (low + high) / 2
        log_z = _at(xp, y + nu, alpha)
        above = xp.sum(xp.exp(log_z), axis=axis, keepdims=True) > 1
        low, high = xp.where(above, low, nu), xp.where(above, nu, high)
    log_z = _at(xp, y + (low + high) / 2, alpha)
    return log_z - xp.log(xp.sum(xp.exp(log_z), axis=axis, keepdims=True))


def _at(xp: Any, target: Any, alpha: float) -> Any:
    r"""Solve :math:`\alpha l + (1-\alpha) e^l = ` target for l <= 0."""
    # Right of the root of a convex function for alpha < 1, left of that of a concave one above: never overshoots.
    log_z = xp.clip(target / alpha, None, 0.0)
    for _ in range(_NEWTON):
        z = xp.exp(log_z)
        log_z = xp.clip(log_z + (target - alpha * log_z - (1 - alpha) * z) / (alpha + (1 - alpha) * z), None, 0.0)
    return log_z
