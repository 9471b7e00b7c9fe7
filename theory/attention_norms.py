r"""Norms of targets in the spaces of the kernels of random-feature attention and of a multilayer perceptron.

The kernels are sums over k of weights times products of symmetric tensors of the tokens,
:math:`\tilde x_0^{\otimes k} \otimes \tilde x_i^{\otimes (k+1)}`: :math:`a_k^2/4^k` without bias, and
:math:`c_k(m_i)\, c_k(m_j')/4^k` with mean scores m, where :math:`a_k = c_k(0)` are the Hermite coefficients of
`theory.rectified_moments`. Fu, Guo, Bai, Mei, NeurIPS 2023, arXiv:2307.11353.
"""

import math

import numpy as np
from scipy.optimize import brentq
from scipy.special import comb, roots_gegenbauer

from hebbian import validation
from hebbian.attention_targets import Target
from theory import rectified_moments as moments

MODELS = ("rfa", "brfa", "rfmlp")
# With biased matrices: part of the target that may be missing, orders, and nodes of the law of a mean score.
_MISSING, _ORDERS, _NODES = 0.1, 40, 60


def rkhs_norm_bound(
    target: Target, model: str, d: int, N: int, *, orders: int = 1, error: float | None = None
) -> float:
    r"""Return a bound of the squared norm of a target in the space of a model's kernel.

    A target that is linear in tensors of order k with :math:`T_k` has, with ``rfa``,

    .. math::
        \lVert f \rVert^2 \le \frac{4^k}{a_k^2} |T_k|_F^2, \qquad
        \lVert f \rVert^2 \le \Big( \sum_k \frac{a_k^2}{4^k |T_k|_F^2} \Big)^{-1}

    by one order, or divided among several. For ``rfmlp`` the tensors are those of all tokens in one vector, and N + 2
    takes the place of 4. For ``brfa``, with :math:`W_0 = {\rm blockdiag}(I, 0)`, :math:`a_k` becomes
    :math:`c_k(\langle x_0, x_i \rangle)`, and what the target has of powers of this argument is fitted by them: no
    finite number of orders gives it exactly, and the bound is that of a function near the target.

    Parameters
    ----------
    target : Target
        See `hebbian.attention_targets`.
    model : {"rfa", "brfa", "rfmlp"}
        Attention, attention with biased matrices, or the multilayer perceptron.
    d, N : int
        Dimension of a token and number of keys, at least 1.
    orders : int
        Number of orders of ``rfa`` and ``rfmlp``, from 1 to 20: the lowest with :math:`a_k \ne 0`.
    error : float, optional
        Part of the target's mean square, of one key, that may be missing, in [0, 1); 0 by default, and 0.1 for
        ``brfa``, where it is above 0.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, the target has another dimension, or 40 orders do not come within the error.

    Examples
    --------
    >>> from hebbian.attention_targets import key_power
    >>> [round(rkhs_norm_bound(key_power([1.0, 0.0], 2), model, 2, 8)) for model in ("rfa", "rfmlp")]
    [16, 157]
    """
    if not isinstance(target, Target):
        raise TypeError(f"target = {target!r} is a {type(target).__name__}; allowed: Target")
    validation.choice("model", model, MODELS)
    d = validation.integer("d", d, minimum=target.d, maximum=target.d)
    N, orders = validation.integer("N", N, minimum=1), validation.integer("orders", orders, minimum=1, maximum=20)
    if model == "brfa":
        return _biased_norm(
            target, validation.real("error", _MISSING if error is None else error, above=0.0, below=1.0)
        )
    remaining = 1 - math.sqrt(validation.real("error", error or 0.0, minimum=0.0, below=1.0))
    u, w = target.degrees
    lowest = target.lowest_order if model == "rfa" else u + w
    squares = moments.hermite_coefficients(0.0, lowest + 2 * orders + 2) ** 2
    k = np.flatnonzero(squares[lowest:] > 0)[:orders] + lowest
    if model == "rfa":
        places, base = comb(k, u) * comb(k + 1, w), 4.0
    else:
        # All slots are alike; targets of keys are means over N tensors without common entries.
        places, base = comb(k, u + w) * comb(u + w, u) * (N if w else 1), N + 2.0
    return remaining**2 * target.squared_norm() / float((places * squares[k] / base**k).sum())


def _biased_norm(target: Target, error: float) -> float:
    """Return the bound for biased matrices: the part of S along I is the mean score, and the rest is apart."""
    d, q = target.d, target.pairs
    along = float(np.trace(target.S)) / d if q else 0.0
    across = target.S - along * np.eye(d)
    norm = 0.0
    # Powers of the mean score times tensors that differ in the number of slots that hold no constant: orthogonal ones.
    for j in range(q + 1):
        part = Target(target.beta, target.query, j, target.keys, across)
        size = (math.comb(q, j) * abs(along) ** (q - j)) ** 2 * part.squared_norm()
        # Rounding leaves some of the identity across.
        if size > 1e-24:
            norm += size * _fitted_norm(*part.degrees, q - j, d, error)
    return norm


def _fitted_norm(u: int, w: int, power: int, d: int, error: float) -> float:
    """Return the least sum of squares by which orders fit a power of the mean score, times a unit tensor."""
    m, weights = roots_gegenbauer(_NODES, (d - 2) / 2) if d > 1 else (np.array([-1.0, 1.0]), np.ones(2))
    root = np.sqrt(weights / weights.sum())
    k = np.arange(max(u, w - 1), _ORDERS)
    functions = (
        moments.hermite_coefficients(m, _ORDERS)[k] * (np.sqrt(comb(k, u) * comb(k + 1, w)) / 2.0**k)[:, None]
    ).T
    wanted = m**power * root
    basis, s, _ = np.linalg.svd(functions * root[:, None], full_matrices=False)
    fitted, allowed = basis.T @ wanted, error * (wanted @ wanted)
    outside = wanted @ wanted - fitted @ fitted

    def excess(log_lam: float) -> float:
        lam = math.exp(log_lam)
        return float(((fitted * lam / (s**2 + lam)) ** 2).sum() + outside - allowed)

    if excess(-60.0) > 0:
        raise ValueError(f"error = {error} is not reached with {_ORDERS} orders; allowed: larger ones, below 1")
    lam = math.exp(brentq(excess, -60.0, 60.0))
    return float(((fitted * s / (s**2 + lam)) ** 2).sum())
