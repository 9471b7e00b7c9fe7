r"""Mean field of pairwise categorical models whose variational free energy is convex.

With :math:`\lambda_{\max}` the largest eigenvalue of the coupling on the tangent space of the simplices, the free
energy is :math:`(2 - \lambda_{\max})`-strongly convex: minus the entropy of a group has curvature 2 or more there.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax, xlogy

from hebbian import validation
from hebbian.fixed_point import solve_mean_field
from hebbian.potts import GroupLayout, PairwiseModel, coupling_bounds
from hebbian.prepared_coupling import TangentCoordinates
from hebbian.splitting import CONTRACTING, contraction_factor, optimal_step

__all__ = [
    "asymptotic_rate",
    "contraction_factor",
    "critical_coupling",
    "error_bound",
    "free_energy",
    "kl_gap",
    "log_partition_bound",
    "optimal_step",
    "start_bound",
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
    J = _covariance(_one(q, "q", model), model)
    chi = np.linalg.solve(np.eye(len(J)) - J @ model.coupling, J)
    return (chi + chi.T) / 2


def asymptotic_rate(
    q: ArrayLike, model: PairwiseModel, method: str, step: float | None = None, relaxation: float = 1.0
) -> float:
    r"""Return the factor by which the error of a method falls at each step near the solution.

    The largest modulus of an eigenvalue of the derivative of a step, on the tangent space of the simplices:

    .. math::
        \textrm{mirror, parallel, damped:} \quad & (1 - t) I + t \Phi J \\
        \textrm{forward-backward:} \quad & P ((1 - a) I + a \Phi), \qquad P = (a I + (1 - a) J)^{-1} J \\
        \textrm{Peaceman-, Douglas-Rachford:} \quad & I + 2 \kappa (V (2 P - I) - P), \qquad
            V = ((1 + a) I - a \Phi)^{-1} \\
        \textrm{softmax-only:} \quad & \textrm{the same with } P = \rho J, \; V = (2 I - \Phi / \rho)^{-1}

    with J as in `susceptibility`. It is at most `contraction_factor`; at 1 or more the solution repels.

    Parameters
    ----------
    q : array_like
        Solution of mean field, shape (N,).
    model : PairwiseModel
        Coupling and bias.
    method : str
        As in `contraction_factor`.
    step : float, optional
        a, rho or t; `optimal_step` by default.
    relaxation : float
        kappa in (0, 1] of Peaceman-Rachford; Douglas-Rachford has half of it.

    Raises
    ------
    TypeError, ValueError
        If the model is not a PairwiseModel, q has another shape or is not made of probabilities, a number is out of
        range, or the method has no fixed step.
    """
    J, kappa = _covariance(_one(q, "q", model), model), validation.real("relaxation", relaxation, above=0.0, maximum=1)
    step = _step(method, step, model)
    basis = TangentCoordinates(model.layout).expand(np.eye(model.layout.size - model.layout.n_groups))
    J, coupling, identity = basis @ J @ basis.T, basis @ model.coupling @ basis.T, np.eye(len(basis))
    if method in ("mirror", "parallel", "damped"):
        derivative = (1 - step) * identity + step * coupling @ J
    else:
        P = step * J if method == "softmax_pr" else np.linalg.solve(step * identity + (1 - step) * J, J)
        shifted = 2 * identity - coupling / step if method == "softmax_pr" else identity + step * (identity - coupling)
        if method == "forward_backward":
            derivative = P @ ((1 - step) * identity + step * coupling)
        else:
            twice = kappa if method == "douglas_rachford" else 2 * kappa
            derivative = identity + twice * (np.linalg.solve(shifted, 2 * P - identity) - P)
    return float(np.abs(np.linalg.eigvals(derivative)).max(initial=0.0))


def start_bound(q: ArrayLike, start: ArrayLike, model: PairwiseModel, method: str, step: float | None = None) -> float:
    r"""Return what the Euclidean error after n steps is at most, over `contraction_factor` to the power n.

    The distance of the states that start and solution have, times how far apart their probabilities can be: 1 for
    forward-backward and damped, whose state is q; 1/2 for a softmax; 1/(1 + a) for the proximal step.

    Parameters
    ----------
    q : array_like
        Solution of mean field, shape (N,), positive.
    start : array_like
        Probabilities of the start, shape (N,), positive.
    model : PairwiseModel
        Coupling and bias.
    method : str
        As in `contraction_factor`.
    step : float, optional
        a, rho or t; `optimal_step` by default.

    Raises
    ------
    TypeError, ValueError
        If the model is not a PairwiseModel, q or the start has another shape or is not made of positive
        probabilities, a number is out of range, or the method has no fixed step.
    """
    ends = [_one(x, name, model) for x, name in ((q, "q"), (start, "start"))]
    if min(x.min() for x in ends) <= 0:
        raise ValueError(f"q and start have entries from {min(x.min() for x in ends)}; allowed: above 0")
    step = _step(method, step, model)
    apart, logarithms = ends[0] - ends[1], model.layout.tangent(np.log(ends[0]) - np.log(ends[1]))
    if method in ("forward_backward", "damped"):
        return float(np.linalg.norm(apart))
    if method in ("peaceman_rachford", "douglas_rachford"):
        return float(np.linalg.norm(step * logarithms + (1 - step) * apart)) / (1 + step)
    return float(np.linalg.norm(logarithms)) / 2


def _one(q: ArrayLike, name: str, model: PairwiseModel) -> NDArray[np.float64]:
    """Return probabilities without a batch, or raise."""
    _check_model(model)
    return _probabilities(validation.finite(name, q, (model.layout.size,)), model.layout)


def _covariance(q: NDArray[np.float64], model: PairwiseModel) -> NDArray[np.float64]:
    return np.diag(q) - np.where(model.layout.block_mask(), np.outer(q, q), 0.0)


def _step(method: str, step: float | None, model: PairwiseModel) -> float:
    validation.choice("method", method, CONTRACTING)
    if step is not None:
        return validation.real("step", step, above=0.0)
    return optimal_step(method, *coupling_bounds(model.coupling, model.layout))


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
