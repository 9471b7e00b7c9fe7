r"""Initial variances at which signals neither explode nor vanish, and what kind of criticality an activation has."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from hebbian import validation
from hebbian.activations import Activation, Function
from theory.effective_theory.moments import check_activation, gauss, overflows

Array = NDArray[np.float64]

KINDS = ("scale_invariant", "K=0", "half_stable", "none")
# Where half-stable fixed points are looked for.
_KERNELS = np.geomspace(1e-3, 1e2, 61)
# Step of the third derivative at zero.
_STEP = 2e-3


@dataclass(frozen=True)
class CriticalPoint:
    r"""Where both susceptibilities are 1.

    Parameters
    ----------
    kind : {"scale_invariant", "K=0", "half_stable", "none"}
        Every kernel is a fixed point; or zero is, and attracts; or one is that attracts kernels from one side alone; or
        there is no critical point.
    C_W, C_b : float
        Critical variances; NaN without a critical point.
    K_star : float
        Fixed point; NaN where there is none, or each kernel is one.
    exponent : float
        p in :math:`\chi_\perp \simeq 1 - p/l` while the kernel approaches its fixed point as 1/l; 0 where it does not
        move; NaN without a critical point.
    """

    kind: str
    C_W: float
    C_b: float
    K_star: float
    exponent: float


def find_critical(act: str | Function | Activation) -> CriticalPoint:
    r"""Return the critical point of an activation.

    Homogeneous f of slopes a, b: :math:`C_b = 0, C_W = 2/(a^2 + b^2)`. Else, with :math:`f(0) = 0`,
    :math:`a_1 = f_3 + \tfrac34 f_2^2 < 0` and :math:`f_k = f^{(k)}(0)/f'(0)`: :math:`C_b = 0, C_W = 1/f'(0)^2`, where
    :math:`K \simeq -1/(a_1 l)`. Else the smallest K with :math:`\langle f f'' \rangle = 0`, where both susceptibilities
    agree, if its :math:`C_b = K - C_W \langle f^2 \rangle` is not negative.

    Parameters
    ----------
    act : str, callable or Activation
        As `theory.effective_theory.gauss` takes it.

    Returns
    -------
    CriticalPoint

    Raises
    ------
    TypeError, ValueError
        If the activation jumps, lacks a derivative or has a kink where it does not vanish.

    Examples
    --------
    >>> find_critical("tanh")
    CriticalPoint(kind='K=0', C_W=1.0, C_b=0.0, K_star=0.0, exponent=1.0)
    """
    act = check_activation(act)
    if act.homogeneous is not None and any(act.homogeneous):
        return CriticalPoint("scale_invariant", 2 / sum(a * a for a in act.homogeneous), 0.0, math.nan, 0.0)
    return _at_zero(act) or _half_stable(act) or CriticalPoint("none", *[math.nan] * 4)


def learning_rates(point: CriticalPoint, L: int) -> tuple[Array, Array]:
    r"""Return learning rates with which every layer contributes equally to the tangent kernel of the last.

    Up to a common factor, :math:`\lambda_b = \lambda_W = 1/L` where kernels do not move, and
    :math:`\lambda_b^{(l)} = (L/l)^p/L, \lambda_W^{(l)} = (L/l)^{p-1}` where they approach zero as 1/l: the factors
    :math:`\chi_\perp` behind layer l multiply to :math:`(l/L)^p`.

    Parameters
    ----------
    point : CriticalPoint
        From `find_critical`; at a half-stable point for kernels that are there.
    L : int
        Number of layers of weights, at least 1.

    Returns
    -------
    lambda_W, lambda_b : ndarray, shape (L,)
        Of weights, over the number of inputs of their layer, and of biases.

    Raises
    ------
    TypeError, ValueError
        If L is out of range, or there is no critical point.
    """
    validation.choice("kind", point.kind, KINDS[:-1])
    layer = np.arange(1, validation.integer("L", L, minimum=1) + 1)
    if point.kind == "K=0":
        return (L / layer) ** (point.exponent - 1), (L / layer) ** point.exponent / L
    return np.full(L, 1 / L), np.full(L, 1 / L)


def _at_zero(act: Activation) -> CriticalPoint | None:
    origin = np.zeros(1)
    value, slope = float(act.f(origin)[0]), float(act.df(origin)[0])
    if value != 0 or slope == 0 or 0.0 in act.kinks:
        return None
    near, far = (float(np.diff(act.d2f(np.array([-h, h])))[0] / (2 * h)) for h in (_STEP, 2 * _STEP))
    f2, f3 = float(act.d2f(origin)[0]) / slope, (4 * near - far) / 3 / slope
    a1 = f3 + 0.75 * f2**2
    if not a1 < 0:
        return None
    return CriticalPoint("K=0", 1 / slope**2, 0.0, 0.0, (f3 + f2**2) / a1)


def _half_stable(act: Activation) -> CriticalPoint | None:
    kernels = np.array([K for K in _KERNELS if not overflows(act, K, 4)])
    sign = np.sign(gauss(act, kernels).fc)
    for i in np.flatnonzero(sign[1:] * sign[:-1] < 0):
        K = float(brentq(lambda K: float(gauss(act, K).fc), kernels[i], kernels[i + 1], rtol=1e-14))
        moments = gauss(act, K)
        C_W = 1 / float(moments.s2)
        C_b = K - C_W * float(moments.f2)
        if C_b >= 0:
            # Twice the ratio of the derivatives of the susceptibilities: the first decays twice as fast at p = 1.
            exponent = 2 * float(moments.s2_K) / (float(moments.f2_zzzz) / 4)
            return CriticalPoint("half_stable", C_W, C_b, K, exponent)
    return None
