r"""Mean field of pairwise models: splitting iterations to a certified distance of the solution, and their adjoint.

Arrays of NumPy, CuPy or PyTorch (without gradient). Iterations run in orthonormal coordinates of the tangent space, in
which the zero-sum gauge, with its tighter bounds, is built in.
"""

import math
import warnings
from dataclasses import dataclass
from typing import Any

from array_api_compat import array_namespace

from hebbian import validation
from hebbian.iterations import Problem, accelerated, iteration
from hebbian.potts import GroupLayout
from hebbian.prepared_coupling import PreparedCoupling, on_host
from hebbian.softmax_prox import group_log_softmax, group_softmax, softmax_prox
from hebbian.splitting import CERTIFYING, CONTRACTING, METHODS, contraction_factor, optimal_step

__all__ = [
    "MeanFieldHistory",
    "MeanFieldSolution",
    "group_softmax",
    "softmax_prox",
    "solve_adjoint",
    "solve_mean_field",
]


@dataclass(frozen=True, eq=False)
class MeanFieldHistory:
    """What a solution passed through, one entry for each state from the start to the last.

    Attributes
    ----------
    states : list of array
        State that the method iterates, (B, N) each: q of forward-backward, log q less constants on groups of mirror,
        parallel, damped, coordinate and newton, u of the others.
    q : list of array
        Its probabilities, (B, N) each.
    error_bound : list of array
        Bound of their distance from the solution, (B,) each.
    """

    states: list[Any]
    q: list[Any]
    error_bound: list[Any]


@dataclass(frozen=True, eq=False)
class MeanFieldSolution:
    """A solution of mean field with its certificate.

    Attributes
    ----------
    q, log_q : array
        Probabilities and their logarithms, (B, N), or (N,) if the bias and the clamps have no batch. In groups that are
        clamped log_q is that of the field and q the given value.
    converged : bool
        Whether `error_bound` is at most tol for the whole batch.
    iterations, products : int
        Steps, and products of the batch with the coupling or its inverse.
    residual : array
        Largest |softmax(Phi q + b) - q| on free entries, (B,).
    error_bound : array
        Bound of the Euclidean distance from the only solution, (B,); infinite if lambda_max >= 2, which does not
        exclude several.
    gradient : array
        Norm of the gradient of the free energy on the tangent space, (B,).
    monotonicity : float
        2 - lambda_max, the constant of strong convexity of the free energy.
    rate : float
        Bound on the contraction of a step, NaN if none is known.
    history : MeanFieldHistory or None
        What was recorded.
    """

    q: Any
    log_q: Any
    converged: bool
    iterations: int
    products: int
    residual: Any
    error_bound: Any
    gradient: Any
    monotonicity: float
    rate: float
    history: MeanFieldHistory | None


def solve_mean_field(
    coupling: Any,
    bias: Any,
    layout: GroupLayout,
    *,
    method: str = "auto",
    accelerate: str | None = None,
    clamp: tuple[Any, Any] | None = None,
    init: Any = None,
    step: float | None = None,
    rho: float = 2.0,
    relaxation: float = 1.0,
    tol: float | None = None,
    max_iter: int = 1000,
    record: bool = False,
) -> MeanFieldSolution:
    r"""Solve :math:`q_g = {\rm softmax}((\Phi q + b)_g)` for every free group.

    The solution is the minimum of :math:`F(q) = \sum q \ln q - \tfrac12 q^T \Phi q - b^T q`, which is strongly convex
    with constant :math:`2 - \lambda_{\max}` on the simplices. The norm of its gradient over that constant bounds the
    distance from the solution; iterations end when it is at most `tol`.

    Parameters
    ----------
    coupling : array, CouplingOperator or PreparedCoupling
        Phi, shape (N, N); prepared for many solutions.
    bias : array
        b, shape (N,) or (B, N); its kind and precision are those of the solution.
    layout : GroupLayout
        Groups of the N entries.
    method : str
        ``softmax_pr``: Peaceman-Rachford with a softmax for proximal step; ``forward_backward``, the paper's;
        ``peaceman_rachford``, ``douglas_rachford``; ``mirror``: damping of natural parameters; ``parallel``;
        ``damped``: arithmetic damping; ``coordinate``: group by group, F falls at every step for any coupling;
        ``newton``. ``auto``: ``softmax_pr``, or for operators accelerated ``mirror``.
    accelerate : {"anderson", None}
        Anderson acceleration of ``mirror``, ``parallel`` and the Rachford methods.
    clamp : (array, array), optional
        Which groups are observed, bool, shape (n_groups,) or (B, n_groups), and one-hot values, (N,) or (B, N), read
        there.
    init : array or MeanFieldSolution, optional
        Probabilities to start from, (N,) or (B, N); default: the softmax of the field of the uniform state.
    step : float, optional
        a of forward-backward, Peaceman- and Douglas-Rachford, t of ``mirror`` and ``damped``; default: `optimal_step`.
    rho : float
        Of ``softmax_pr``, in [max(1, lambda_max), 2].
    relaxation : float
        kappa in (0, 1] of the Rachford methods; Douglas-Rachford has half of it.
    tol : float, optional
        Largest `error_bound`, or norm of the gradient of F where lambda_max >= 2. Default 1e-8, in single precision
        1e-4.
    max_iter : int
        Largest number of steps; a RuntimeWarning says where they did not suffice.
    record : bool
        Keep the history (its own products are not counted).

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or value; if lambda_max >= 2 and the method needs a unique solution.

    References
    ----------
    Feng, Winston, Kolter, Trans. Mach. Learn. Res. (2023), arXiv:2307.04990.

    Examples
    --------
    >>> import numpy as np
    >>> layout = GroupLayout([(2, 2)])
    >>> coupling = np.kron([[0, 1], [1, 0]], np.eye(2))
    >>> solve_mean_field(coupling, np.array([1.0, 0, 0, 0]), layout).q.round(3).tolist()
    [0.781, 0.219, 0.637, 0.363]
    """
    prepared = _prepared(coupling, layout)
    method, accelerate = _method(method, accelerate, prepared)
    single = bias.ndim == 1 and (clamp is None or (clamp[0].ndim == 1 and clamp[1].ndim == 1))
    bias = _entries("bias", bias, layout)
    xp = array_namespace(bias)
    mask, values = _clamp(clamp, layout, bias)
    tol = (
        (1e-8 if xp.finfo(bias.dtype).eps < 1e-10 else 1e-4) if tol is None else validation.real("tol", tol, above=0.0)
    )
    validation.integer("max_iter", max_iter, minimum=1)
    relaxation = validation.real("relaxation", relaxation, above=0.0, maximum=1.0)
    step = _step(method, step, rho, prepared)
    monotonicity = 2.0 - prepared.lambda_max

    problem = Problem(prepared, prepared.field(bias), mask, values)
    theta = problem.field if init is None else _start(init, problem, bias)
    if theta.shape[0] < problem.batch:
        theta = theta + xp.zeros((problem.batch, 1), dtype=theta.dtype, device=_device(theta))
    solver = iteration(method, problem, bias, step, relaxation)
    advance = accelerated(solver.advance) if accelerate else solver.advance
    state, states, converged, iterations = solver.start(theta), [], False, 0
    gradient: Any = None
    for iterations in range(1, max_iter + 1):
        if record:
            states.append(state)
        state, estimate = advance(state)
        if iterations == max_iter or not bool(xp.any(~(estimate <= tol * _positive(monotonicity)))):
            log_q, gradient, residual = problem.certificate(solver.log_q(state))
            converged = not bool(xp.any(~(gradient <= tol * _positive(monotonicity))))
            if converged:
                break
    products = problem.products
    if not converged:
        warnings.warn(
            f"mean field by {method!r} did not converge in {max_iter} steps: gradient {float(xp.max(gradient)):.3g}; "
            f"allowed: {tol * _positive(monotonicity):.3g}",
            RuntimeWarning,
            stacklevel=2,
        )
    history = _history(problem, solver, [*states, state], monotonicity) if record else None
    q = problem.probabilities(log_q)
    bound = gradient / monotonicity if monotonicity > 0 else gradient * 0.0 + math.inf
    return MeanFieldSolution(
        q=q[0] if single else q,
        log_q=log_q[0] if single else log_q,
        converged=converged,
        iterations=iterations,
        products=products,
        residual=residual,
        error_bound=bound,
        gradient=gradient,
        monotonicity=monotonicity,
        rate=_rate(method, prepared, step, relaxation),
        history=history,
    )


def solve_adjoint(
    coupling: Any,
    q: Any,
    grad: Any,
    layout: GroupLayout,
    clamp: tuple[Any, Any] | None = None,
    tol: float = 1e-10,
    max_iter: int = 1000,
) -> Any:
    r"""Solve :math:`(J^{-1} - \Phi) v = g` on the tangent space, J the covariance of each group at the solution.

    :math:`v = dq/db^T g`; the gradient of a loss with :math:`g = d{\rm loss}/dq` with respect to b is v, and
    with respect to :math:`\Phi_{gh}` the symmetric part of :math:`v q^T`. By conjugate gradients preconditioned by J,
    which never form the inverse of J: probabilities that underflow do no harm.

    Parameters
    ----------
    coupling : array, CouplingOperator or PreparedCoupling
        Phi, shape (N, N).
    q : array
        Solution of mean field, shape (N,) or (B, N).
    grad : array
        g, shape (N,) or (B, N); only its tangent part counts.
    layout : GroupLayout
        Groups of the N entries.
    clamp : (array, array), optional
        That of the solution; v is 0 there.
    tol : float
        Norm of the residual, in the metric of J, relative to that of g.
    max_iter : int
        Largest number of steps; a RuntimeWarning says where they did not suffice.

    Returns
    -------
    array
        v, of the shape of q and g broadcast.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or value, or lambda_max >= 2.
    """
    prepared = _prepared(coupling, layout)
    if prepared.lambda_max >= 2:
        raise ValueError(f"lambda_max = {prepared.lambda_max}; allowed for the adjoint: below 2")
    tol = validation.real("tol", tol, above=0.0)
    validation.integer("max_iter", max_iter, minimum=1)
    single = q.ndim == 1 and grad.ndim == 1
    q, grad = _entries("q", q, layout), _entries("grad", grad, layout)
    mask, values = _clamp(clamp, layout, q)
    xp = array_namespace(q)
    problem = Problem(prepared, prepared.coordinates.reduce(0.0 * q), mask, values)
    v, converged = problem.conjugate_gradients(q, prepared.coordinates.reduce(grad), tol, max_iter)
    if not converged:
        warnings.warn(
            f"the adjoint of mean field did not converge to {tol:g} in {max_iter} steps", RuntimeWarning, stacklevel=2
        )
    v = prepared.coordinates.expand(v)
    return xp.reshape(v, (layout.size,)) if single and v.shape[0] == 1 else v


def _prepared(coupling: Any, layout: GroupLayout) -> PreparedCoupling:
    if isinstance(coupling, PreparedCoupling):
        if coupling.layout != layout:
            raise ValueError(f"layout = {layout!r} is not that of the prepared coupling, {coupling.layout!r}")
        return coupling
    return PreparedCoupling(coupling, layout)


def _method(method: str, accelerate: str | None, prepared: PreparedCoupling) -> tuple[str, str | None]:
    validation.choice("method", method, ("auto", *METHODS))
    if accelerate is not None:
        validation.choice("accelerate", accelerate, ("anderson",))
    if method == "auto":
        if prepared.is_operator:
            return "mirror", "anderson"
        method = "softmax_pr"
    if prepared.lambda_max >= 2 and method in CERTIFYING:
        raise ValueError(
            f"lambda_max = {prepared.lambda_max}: several solutions are possible; allowed for {method!r}: below 2 "
            "(use 'coordinate')"
        )
    if prepared.is_operator and method not in ("forward_backward", "mirror", "parallel", "damped", "newton"):
        raise ValueError(f"method = {method!r} needs the matrix of the coupling; allowed for an operator: 'mirror'")
    if accelerate is not None and method in ("forward_backward", "damped", "coordinate", "newton"):
        raise ValueError(f"accelerate = {accelerate!r} is not defined for {method!r}; allowed: None")
    return method, accelerate


def _step(method: str, step: float | None, rho: float, prepared: PreparedCoupling) -> float | None:
    """Return the step of a method, None for those that have none."""
    if method == "softmax_pr":
        if step is not None:
            raise ValueError(f"step = {step!r}; 'softmax_pr' has rho instead")
        return validation.real("rho", rho, minimum=max(1.0, prepared.lambda_max), maximum=2.0)
    if method in ("coordinate", "newton", "parallel") and step is not None:
        raise ValueError(f"step = {step!r}; allowed for {method!r}: None")
    if method not in CONTRACTING:
        return None
    if step is None:
        if method == "forward_backward" and prepared.lambda_max >= 2:
            raise ValueError(f"lambda_max = {prepared.lambda_max}: no step is known to contract (use 'coordinate')")
        return optimal_step(method, prepared.lambda_min, prepared.lambda_max)
    if method in ("mirror", "damped"):
        return validation.real("step", step, above=0.0, maximum=1.0)
    return validation.real("step", step, above=0.0)


def _rate(method: str, prepared: PreparedCoupling, step: float | None, relaxation: float) -> float:
    if method not in CONTRACTING:
        return math.nan
    return contraction_factor(method, prepared.lambda_min, prepared.lambda_max, step, relaxation)


def _entries(name: str, x: Any, layout: GroupLayout) -> Any:
    """Return vectors with a batch, or raise unless they have the shape (N,) or (B, N) and are finite."""
    if x.ndim not in (1, 2) or x.shape[-1] != layout.size:
        raise ValueError(f"{name} has shape {tuple(x.shape)}; allowed: ({layout.size},) or (B, {layout.size})")
    xp = array_namespace(x)
    if not bool(xp.all(xp.isfinite(x))):
        raise ValueError(f"{name} has an entry that is infinite or not a number; allowed: finite numbers")
    return x if x.ndim == 2 else x[None]


def _clamp(clamp: tuple[Any, Any] | None, layout: GroupLayout, like: Any) -> tuple[Any, Any]:
    """Return the mask of groups and the values, with a batch, or raise unless those observed are one-hot."""
    if clamp is None:
        return None, None
    mask, values = clamp
    if mask.ndim not in (1, 2) or mask.shape[-1] != layout.n_groups:
        raise ValueError(
            f"mask of clamp has shape {tuple(mask.shape)}; allowed: ({layout.n_groups},) or (B, {layout.n_groups})"
        )
    if "bool" not in str(mask.dtype):
        raise TypeError(f"mask of clamp has dtype {mask.dtype}; allowed: bool")
    values = _entries("values of clamp", values, layout)
    mask = mask if mask.ndim == 2 else mask[None]
    sizes = {n for n in (mask.shape[0], values.shape[0], like.shape[0]) if n != 1}
    if len(sizes) > 1:
        raise ValueError(f"clamp has batches of {mask.shape[0]} and {values.shape[0]}; allowed: 1 or {like.shape[0]}")
    xp = array_namespace(values)
    for first, G, k in layout.segments:
        part = values[:, first : first + G * k].reshape((-1, G, k))
        wrong = xp.any((part != 0) & (part != 1), axis=-1) | (xp.sum(part, axis=-1) != 1)
        group = int(layout.groups[first])
        wrong = wrong & mask[:, group : group + G]
        if bool(xp.any(wrong)):
            sample, index = (int(i[0]) for i in on_host(wrong).nonzero())
            found = on_host(part)[min(sample, part.shape[0] - 1), index].tolist()
            raise ValueError(f"values of clamp are {found} in group {group + index} of {sample}; allowed: one-hot")
    return mask, xp.astype(values, like.dtype, copy=False)


def _start(init: Any, problem: Problem, bias: Any) -> Any:
    """Return the coordinates of log q of a start."""
    coordinates = problem.prepared.coordinates
    if isinstance(init, MeanFieldSolution):
        log_q = init.log_q if init.log_q.ndim == 2 else init.log_q[None]
    else:
        q = _entries("init", init, coordinates.layout)
        xp = array_namespace(q)
        if bool(xp.any(q < 0)):
            raise ValueError("init has a negative entry; allowed: probabilities")
        log_q = group_log_softmax(xp.log(xp.clip(q, float(xp.finfo(q.dtype).tiny), None)), coordinates.layout)
    if log_q.shape[0] not in (1, problem.batch) or log_q.shape[1] != bias.shape[1]:
        raise ValueError(f"init has shape {tuple(log_q.shape)}; allowed: ({problem.batch}, {bias.shape[1]})")
    return coordinates.reduce(log_q)


def _history(problem: Problem, solver: Any, states: list[Any], monotonicity: float) -> MeanFieldHistory:
    certificates = [problem.certificate(solver.log_q(state)) for state in states]
    return MeanFieldHistory(
        states=[solver.public(state) for state in states],
        q=[problem.probabilities(log_q) for log_q, _, _ in certificates],
        error_bound=[norm / monotonicity if monotonicity > 0 else norm * 0.0 + math.inf for _, norm, _ in certificates],
    )


def _positive(monotonicity: float) -> float:
    """Return what an error bound is multiplied by for the norm of the gradient, 1 where there is no bound."""
    return monotonicity if monotonicity > 0 else 1.0


def _device(x: Any) -> Any:
    return getattr(x, "device", None)
