r"""Closed forms of :math:`k = E f(u) f(v)` and :math:`\dot k = E f'(u) f'(v)` for two centred normal variables.

:math:`(u, v)` has variances :math:`q_1, q_2` and covariance :math:`q_{12}`. Rectifiers: Cho and Saul 2009; erf:
Williams 1997; the others are Gaussian integrals, and :math:`\dot k = dk/dq_{12}` for all of them (Price's theorem).
"""

import functools
import math
from collections.abc import Callable
from typing import Any

from array_api_compat import array_namespace

from hebbian.activations import Activation

#: From arrays (q1, q2, q12) that broadcast, of NumPy or CuPy, to k and its derivative.
Form = Callable[[Any, Any, Any], tuple[Any, Any]]


def closed_form(act: Activation) -> Form | None:
    """Return the closed form of an activation, if it has one."""
    if act.homogeneous is not None:
        return functools.partial(_rectifier, *act.homogeneous)
    form = _FORMS.get(act.name)
    return form and functools.partial(form, **act.parameters)


def correlation(q1: Any, q2: Any, q12: Any) -> Any:
    """Return the correlation, exactly 1 where all three are equal, and 0 where a variance is 0."""
    xp = array_namespace(q1, q2, q12)
    # The root of a rounded square is exact, the product of two roots is not.
    scale = xp.sqrt(q1 * q2)
    return xp.clip(xp.where(scale > 0, q12 / xp.where(scale > 0, scale, xp.ones_like(scale)), 0.0 * scale), -1.0, 1.0)


def _rectifier(a: float, b: float, q1: Any, q2: Any, q12: Any) -> tuple[Any, Any]:
    xp = array_namespace(q1, q2, q12)
    if a == b:
        return a * a * q12, xp.full_like(q12, a * a)
    c = correlation(q1, q2, q12)
    # Sine and angle of one root: their rounding errors near c = 1 cancel in k.
    sine = xp.sqrt((1 - c) * (1 + c))
    kink = (a - b) ** 2 / (2 * math.pi)
    kdot = (a * a + b * b) / 2 - kink * xp.atan2(sine, c)
    return xp.sqrt(q1 * q2) * (kink * sine + kdot * c), kdot


def _step(q1: Any, q2: Any, q12: Any) -> tuple[Any, Any]:
    xp = array_namespace(q1, q2, q12)
    c = correlation(q1, q2, q12)
    sine = xp.sqrt((1 - c) * (1 + c))
    area = xp.sqrt(q1 * q2) * sine
    kdot = xp.where(area > 0, 1 / (2 * math.pi * xp.where(area > 0, area, xp.ones_like(area))), math.inf + 0 * area)
    # A step is 0 at 0, and so are averages with a variable that does not vary.
    return xp.where(q1 * q2 > 0, 0.5 - xp.atan2(sine, c) / (2 * math.pi), 0 * c), kdot


def _erf(q1: Any, q2: Any, q12: Any) -> tuple[Any, Any]:
    xp = array_namespace(q1, q2, q12)
    root = xp.sqrt(1 + 2 * (q1 + q2) + 4 * (q1 * q2 - q12 * q12))
    return 2 / math.pi * xp.atan2(2 * q12, root), 4 / math.pi / root


def _sin(q1: Any, q2: Any, q12: Any) -> tuple[Any, Any]:
    even, odd = _half_exponentials(q1, q2, q12)
    return odd, even


def _cos(q1: Any, q2: Any, q12: Any) -> tuple[Any, Any]:
    return _half_exponentials(q1, q2, q12)


def _half_exponentials(q1: Any, q2: Any, q12: Any) -> tuple[Any, Any]:
    """Return the averages of products of two cosines and of two sines."""
    xp = array_namespace(q1, q2, q12)
    mean = (q1 + q2) / 2
    near, far = xp.exp(q12 - mean), xp.exp(-q12 - mean)
    return (near + far) / 2, (near - far) / 2


def _exp(q1: Any, q2: Any, q12: Any, a: float) -> tuple[Any, Any]:
    xp = array_namespace(q1, q2, q12)
    k = xp.exp(a * a / 2 * (q1 + q2 + 2 * q12))
    return k, a * a * k


def _rbf(q1: Any, q2: Any, q12: Any, g: float) -> tuple[Any, Any]:
    xp = array_namespace(q1, q2, q12)
    k = xp.exp(-g * (q1 + q2 - 2 * q12))
    return k, 2 * g * k


def _gaussian(q1: Any, q2: Any, q12: Any) -> tuple[Any, Any]:
    xp = array_namespace(q1, q2, q12)
    square = 1 + 2 * (q1 + q2) + 4 * (q1 * q2 - q12 * q12)
    k = 1 / xp.sqrt(square)
    return k, 4 * q12 * k / square


def _gelu(q1: Any, q2: Any, q12: Any) -> tuple[Any, Any]:
    xp = array_namespace(q1, q2, q12)
    p, square = (1 + q1) * (1 + q2), 1 + q1 + q2 + (q1 * q2 - q12 * q12)
    root = xp.sqrt(square)
    angle = xp.atan2(q12, root)
    k = q12 / 4 + ((q12 * q12 + q1 * q2 * square) / (p * root) + q12 * angle) / (2 * math.pi)
    slope = q12 / root * (1 / square + (1 - q1 * q2) / p + 1)
    return k, 0.25 + (angle + slope) / (2 * math.pi)


_FORMS: dict[str, Callable[..., tuple[Any, Any]]] = {
    "step": _step,
    "erf": _erf,
    "sin": _sin,
    "cos": _cos,
    "exp": _exp,
    "rbf": _rbf,
    "gaussian": _gaussian,
    "gelu": _gelu,
}
