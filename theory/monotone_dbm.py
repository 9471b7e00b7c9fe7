r"""Mean field of pairwise categorical models whose variational free energy is convex.

With :math:`\lambda_{\max}` the largest eigenvalue of the coupling on the tangent space of the simplices, the free energy
is :math:`(2 - \lambda_{\max})`-strongly convex: minus the entropy of a group has curvature 2 or more there.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax, xlogy

from hebbian import validation
from hebbian.fixed_point import solve_mean_field
from hebbian.potts import GroupLayout, PairwiseModel, coupling_bounds
from hebbian.splitting import contraction_factor, optimal_step

__all__ = [
    "contraction_factor",
    "critical_coupling",
    "error_bound",
    "free_energy",
    "kl_gap",
    "log_partition_bound",
    "optimal_step",
    "susceptibility",
]

# How far the probabilities of a group may be from a sum of 1.
_TOLERANCE = 1e-6


def free_energy(q: ArrayLike, model: PairwiseModel) -> Any:
    r"""Return the variational free energy of independent groups, in units of :math:`k_B T`.

    .. math::
        F(q) = \sum_i q_i \ln q_i - \tfrac12 q^T \Phi q - b^T q, \qquad
        {\rm KL}(q \| p) = F(q) + \ln Z \ge 0

    Parameters
    ----------
    q : array_like
        Probabilities of the categories of each group, shape (..., N).
    model : PairwiseModel
        Coupling Phi and bias b.

    Returns
    -------
    array
        Shape (...).

    Raises
    ------
    TypeError, ValueError
        If the model is not a PairwiseModel, or q has another shape or is not made of probabilities.
    """
    _check_model(model)
    q = _probabilities(q, model.layout)
    return xlogy(q, q).sum(-1) - model.log_weight(q)


def log_partition_bound(model: PairwiseModel, tol: float = 1e-8) -> float:
    r"""Return :math:`-\min_q F(q)`, the largest lower bound of ln Z by independent groups.

    A distance e of q from the minimum lowers it by terms of order e squared.

    Parameters
    ----------
    model : PairwiseModel
        With lambda_max below 2, so that mean field has one solution.
    tol : float
        Distance of q from the minimum, as it is bounded by the solver.

    Raises
    ------
    TypeError, ValueError
        If the model is not a PairwiseModel, tol is not positive, or lambda_max >= 2.

    Examples
    --------
    >>> import numpy as np
    >>> free = PairwiseModel(np.zeros((4, 4)), np.zeros(4), GroupLayout([(2, 2)]))
    >>> round(log_partition_bound(free), 6)  # 2 ln 2
    1.386294
    """
    _check_model(model)
    return -float(free_energy(solve_mean_field(model.coupling, model.bias, model.layout, tol=tol).q, model))


def kl_gap(model: PairwiseModel, log_z: float) -> float:
    r"""Return :math:`{\rm KL}(q \| p) = \ln Z + \min_q F(q)`, what independent groups miss of the distribution.

    Parameters
    ----------
    model : PairwiseModel
        With lambda_max below 2.
    log_z : float
        ln Z, enumerated or measured.

    Raises
    ------
    TypeError, ValueError
        If the model is not a PairwiseModel, log_z is not finite, or lambda_max >= 2.
    """
    return validation.real("log_z", log_z) - log_partition_bound(model)


def critical_coupling() -> float:
    r"""Return the :math:`\lambda_{\max}` up to which mean field has one solution whatever the bias, 2.

    Reached by binary groups at probability 1/2: the ferromagnet :math:`\Phi_{gh} = c I/(G-1)` without bias has one
    solution for c < 2 and magnetised ones for c > 2.
    """
    return 2.0


def error_bound(q: ArrayLike, model: PairwiseModel) -> Any:
    r"""Return a bound of the distance of p, the mean field of q, from the solution.

    .. math::
        p = {\rm softmax}(\Phi q + b), \qquad
        \lVert p - q^* \rVert_2 \le \frac{\lVert T \Phi (q - p) \rVert_2}{2 - \lambda_{\max}}

    The numerator is the gradient of F at p on the tangent space.

    Parameters
    ----------
    q : array_like
        Any numbers, shape (..., N).
    model : PairwiseModel
        With lambda_max below 2.

    Returns
    -------
    array
        Shape (...).

    Raises
    ------
    TypeError, ValueError
        If the model is not a PairwiseModel, q has another shape, or lambda_max >= 2.
    """
    _check_model(model)
    convexity = critical_coupling() - coupling_bounds(model.coupling, model.layout)[1]
    if convexity <= 0:
        raise ValueError(f"lambda_max = {critical_coupling() - convexity}; allowed for a bound: below 2")
    field = model.local_field(q)
    p = np.concatenate([softmax(part, axis=-1) for part in np.split(field, model.layout.offsets[1:-1], axis=-1)], -1)
    return np.linalg.norm(model.layout.tangent((np.asarray(q) - p) @ model.coupling), axis=-1) / convexity


def susceptibility(q: ArrayLike, model: PairwiseModel) -> NDArray[np.float64]:
    r"""Return the response of mean field to the bias, which estimates the covariance of the categories.

    .. math::
        \chi = \frac{dq}{db} = (J^{-1} - \Phi)^{-1} = (I - J \Phi)^{-1} J, \qquad
        J = {\rm blkdiag}_g({\rm diag}\,q_g - q_g q_g^T)

    Parameters
    ----------
    q : array_like
        Solution of mean field, shape (N,).
    model : PairwiseModel
        Coupling and bias.

    Returns
    -------
    array
        chi, symmetric, shape (N, N).

    Raises
    ------
    TypeError, ValueError
        If the model is not a PairwiseModel, or q has another shape or is not made of probabilities.
    """
    _check_model(model)
    q = validation.finite("q", q, (model.layout.size,))
    q = _probabilities(q, model.layout)
    J = np.diag(q) - np.where(model.layout.block_mask(), np.outer(q, q), 0.0)
    chi = np.linalg.solve(np.eye(q.size) - J @ model.coupling, J)
    return (chi + chi.T) / 2


def _check_model(model: object) -> None:
    if not isinstance(model, PairwiseModel):
        raise TypeError(f"model = {model!r} is a {type(model).__name__}; allowed: PairwiseModel")


def _probabilities(q: ArrayLike, layout: GroupLayout) -> NDArray[np.float64]:
    array = validation.rectangular("q", q)
    if array.ndim == 0 or array.shape[-1] != layout.size:
        raise ValueError(f"q has shape {array.shape}; allowed: (..., {layout.size})")
    array = array.astype(np.float64)
    sums = np.add.reduceat(array, layout.offsets[:-1], axis=-1)
    # Written so that entries that are not numbers fail too.
    if not ((array >= 0).all() and (np.abs(sums - 1) <= _TOLERANCE).all()):
        raise ValueError(
            f"q has entries from {array.min()} and sums of groups from {sums.min()} to {sums.max()}; "
            "allowed: probabilities that sum to 1 in each group"
        )
    return array
