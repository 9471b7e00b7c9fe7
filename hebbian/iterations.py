r"""Steps of the methods that solve mean field, all in coordinates of the tangent space.

A method has a state. `start` makes one from log q, `log_q` gives back what it stands for. `advance` returns the next
state and, without further products, the norm of the gradient of F at the present one or a number that takes its place:
over 2 - lambda_max it bounds the distance from the solution.
"""

import math
from collections.abc import Callable
from typing import Any

from array_api_compat import array_namespace

from hebbian.prepared_coupling import PreparedCoupling, like, like_index
from hebbian.softmax_prox import group_log_softmax, log_binary_prox, log_softmax_prox

# Anderson acceleration: differences kept, weight of the regularisation, growth of the residual that restarts it.
_MEMORY, _RIDGE, _GROWTH = 5, 1e-12, 2.0
_BACKTRACKS, _INNER = 40, 200


class Problem:
    """Fields, clamps and free energy of a batch, with a count of the products.

    Parameters
    ----------
    prepared : PreparedCoupling
        The coupling.
    field : array
        Coordinates of the field of the uniform state, (B, n) or (1, n).
    mask, values : array or None
        Groups that are clamped and vectors read there.
    """

    def __init__(self, prepared: PreparedCoupling, field: Any, mask: Any, values: Any) -> None:
        self.prepared, self.coordinates, self.field = prepared, prepared.coordinates, field
        self.mask, self.values = mask, values
        self.batch = field.shape[0]
        self.products = 0
        if mask is not None:
            xp, reduced = array_namespace(values), self.coordinates.reduce(values)
            self.batch = max(self.batch, mask.shape[0], values.shape[0])
            # Two products with numbers cost less than a choice by a mask.
            self.weight = xp.astype(~self.coordinates.per_coordinate(mask), reduced.dtype)
            self.held = (1 - self.weight) * reduced
        segments = prepared.layout.segments
        self.binary = len(segments) == 1 and segments[0][2] == 2

    def clamped(self, q: Any) -> Any:
        """Return coordinates with those of the observed values where groups are clamped."""
        return q if self.mask is None else q * self.weight + self.held

    def free(self, x: Any) -> Any:
        """Return coordinates with 0 where groups are clamped."""
        return x if self.mask is None else x * self.weight

    def local_field(self, q: Any) -> Any:
        """Return the coordinates of the local field."""
        self.products += 1
        return self.prepared.product(q) + self.field

    def softmax(self, theta: Any) -> Any:
        """Return the coordinates of the probabilities, from those of their logarithms."""
        xp = array_namespace(theta)
        if self.binary:
            q = xp.tanh(theta * 0.5**0.5)
            q *= 0.5**0.5
        else:
            q = self.coordinates.reduce(xp.exp(group_log_softmax(self.coordinates.expand(theta), self.layout)))
        return self.clamped(q)

    def prox(self, y: Any, alpha: float) -> tuple[Any, Any]:
        """Return the coordinates of the proximal step and of its logarithm."""
        if self.binary:
            theta = log_binary_prox(y * 2**0.5, alpha) * 0.5**0.5
            return self.softmax(theta), theta
        xp, full = array_namespace(y), self.coordinates.expand(y)
        parts = [
            log_softmax_prox(full[..., first : first + G * k].reshape((-1, G, k)), alpha).reshape((-1, G * k))
            for first, G, k in self.layout.segments
        ]
        log_z = xp.concat(parts, axis=-1)
        return self.clamped(self.coordinates.reduce(xp.exp(log_z))), self.coordinates.reduce(log_z)

    @property
    def layout(self) -> Any:
        """Groups of the entries."""
        return self.prepared.layout

    def probabilities(self, log_q: Any) -> Any:
        """Return q, (B, N), with the observed values."""
        xp = array_namespace(log_q)
        q = xp.exp(log_q)
        if self.mask is None:
            return q
        return xp.where(self._observed(log_q), self.values, q)

    def _observed(self, x: Any) -> Any:
        """Return which entries are clamped, (B, N)."""
        return array_namespace(x).take(self.mask, like_index(self.layout.groups, x), axis=-1)

    def certificate(self, theta: Any) -> tuple[Any, Any, Any]:
        """Return log q, (B, N), the norm of the gradient of F at q and the residual of mean field, (B,) each."""
        xp = array_namespace(theta)
        q = self.softmax(theta)
        field = self.local_field(q)
        log_q = group_log_softmax(self.coordinates.expand(theta), self.layout)
        difference = xp.abs(self.coordinates.expand(self.softmax(field) - q))
        return log_q, norm(self.free(theta - field)), xp.max(difference, axis=-1)

    def free_energy(self, theta: Any, q: Any, field: Any) -> Any:
        """Return F up to a constant, (B,); `field` is the local field of q."""
        xp = array_namespace(theta)
        log_q = group_log_softmax(self.coordinates.expand(theta), self.layout)
        full = xp.exp(log_q)
        terms = full * log_q
        if self.mask is not None:
            terms = xp.where(self._observed(log_q), 0.0 * terms, terms)
        return xp.sum(terms, axis=-1) - xp.sum(q * (field + self.field), axis=-1) / 2

    def covariance(self, full: Any, t: Any) -> Any:
        """Return J t, with J the covariance of each free group at probabilities of shape (B, N)."""
        xp, x = array_namespace(t), self.coordinates.expand(t)
        weighted = full * x
        out = weighted + 0.0
        for first, G, k in self.layout.segments:
            part = slice(first, first + G * k)
            mean = xp.sum(weighted[..., part].reshape((*x.shape[:-1], G, k)), axis=-1, keepdims=True)
            p = (full[..., part] + 0.0 * x[..., part]).reshape((*x.shape[:-1], G, k))
            out[..., part] = weighted[..., part] - (p * mean).reshape((*x.shape[:-1], G * k))
        return self.free(self.coordinates.reduce(out))

    def conjugate_gradients(self, full: Any, right: Any, tol: float, max_iter: int) -> tuple[Any, bool]:
        r"""Solve :math:`(J^{-1} - \Phi) v = g`, with each direction and its image under J^{-1} side by side."""
        xp = array_namespace(right)
        residual = self.free(right + 0.0 * full[..., :1])
        p, image = self.covariance(full, residual), residual
        z, v = p, 0.0 * p
        size = xp.sum(residual * z, axis=-1, keepdims=True)
        goal = tol * tol * size
        for _ in range(max_iter):
            if not bool(xp.any(size > goal)):
                return v, True
            self.products += 1
            matrix = self.free(image - self.prepared.product(p))
            curvature = xp.sum(p * matrix, axis=-1, keepdims=True)
            active = (size > goal) & (curvature > 0)
            length = xp.where(active, size / xp.where(active, curvature, 1.0 + 0.0 * size), 0.0 * size)
            v = v + length * p
            residual = residual - length * matrix
            z = self.covariance(full, residual)
            new = xp.sum(residual * z, axis=-1, keepdims=True)
            ratio = xp.where(active, new / xp.where(active, size, 1.0 + 0.0 * size), 0.0 * size)
            p, image, size = z + ratio * p, residual + ratio * image, new
        return v, not bool(xp.any(size > goal))


def norm(x: Any) -> Any:
    """Return the Euclidean norm of each vector of a batch, (B,)."""
    xp = array_namespace(x)
    return xp.sqrt(xp.vecdot(x, x))


class Mirror:
    """Damping of natural parameters by t: theta <- (1 - t) theta + t (Phi q + b); undamped at t = 1."""

    def __init__(self, problem: Problem, step: float) -> None:
        self.problem, self.step = problem, step

    def start(self, theta: Any) -> Any:
        """Return theta itself."""
        return theta

    log_q = start

    def public(self, state: Any) -> Any:
        """Return the state in full."""
        return self.problem.coordinates.expand(state)

    def advance(self, theta: Any) -> tuple[Any, Any]:
        """Return the next theta; the gradient is exact."""
        gradient = self.problem.free(theta - self.problem.local_field(self.problem.softmax(theta)))
        return theta - self.step * gradient, norm(gradient)


class Damped(Mirror):
    """Arithmetic damping: q <- (1 - t) q + t softmax(Phi q + b), by logarithms."""

    def advance(self, theta: Any) -> tuple[Any, Any]:
        """Return the next log q; the gradient is exact."""
        problem, layout = self.problem, self.problem.layout
        field = problem.local_field(problem.softmax(theta))
        xp = array_namespace(theta)
        log_q = group_log_softmax(problem.coordinates.expand(theta), layout)
        log_p = group_log_softmax(problem.coordinates.expand(field), layout)
        largest = xp.maximum(log_q, log_p)
        mean = (1 - self.step) * xp.exp(log_q - largest) + self.step * xp.exp(log_p - largest)
        gradient = problem.free(theta - field)
        smallest = float(xp.finfo(theta.dtype).tiny)
        return problem.coordinates.reduce(largest + xp.log(xp.clip(mean, smallest, None))), norm(gradient)


class ForwardBackward:
    """The paper's step, q <- prox_a((1 - a) q + a (Phi q + b)). The state is q beside log q, one after the other."""

    def __init__(self, problem: Problem, step: float) -> None:
        self.problem, self.step = problem, step

    def start(self, theta: Any) -> Any:
        """Return q and log q."""
        return self.problem.softmax(theta), theta

    def log_q(self, state: Any) -> Any:
        """Return log q."""
        return state[1]

    def public(self, state: Any) -> Any:
        """Return q in full."""
        q = self.problem.coordinates.expand(state[0])
        return q + like(self.problem.layout.uniform, q)

    def advance(self, state: Any) -> tuple[Any, Any]:
        """Return the next state; the gradient is exact."""
        q, theta = state
        field = self.problem.local_field(q)
        new = self.problem.prox((1 - self.step) * q + self.step * field, self.step)
        return new, norm(self.problem.free(theta - field))


class Rachford:
    r"""Peaceman- and Douglas-Rachford with the proximal step of a.

    The gradient at z is :math:`-((1+a)/a\, I - \Phi)(v - z)`.
    """

    def __init__(self, problem: Problem, step: float, relaxation: float) -> None:
        self.problem, self.step, self.twice = problem, step, 2 * relaxation
        self._prepare(1 + step, step, (1 + step) / step)

    def _prepare(self, identity: float, scale: float, shift: float) -> None:
        prepared = self.problem.prepared
        self.inverse = prepared.inverse(identity, scale)
        # With M = 2 I - Phi, |e|_M <= |(M + d) r|_{1/M} and |e|^2 <= |e|_M^2 / s_min.
        d = shift - 2
        ends = (2 - prepared.lambda_max, 2 - prepared.lambda_min)
        self.factor = math.sqrt(max((s + d) ** 2 / s for s in ends) * ends[0])

    def start(self, theta: Any) -> Any:
        """Return the u whose proximal step is q."""
        return self.step * theta + (1 - self.step) * self.problem.softmax(theta)

    def log_q(self, u: Any) -> Any:
        """Return log q of the proximal step."""
        return self.problem.prox(u, self.step)[1]

    def public(self, u: Any) -> Any:
        """Return u in full, up to constants on groups."""
        return self.problem.coordinates.expand(u)

    def advance(self, u: Any) -> tuple[Any, Any]:
        """Return the next u, and a bound of the gradient at its present z."""
        z = self.problem.prox(u, self.step)[0]
        self.problem.products += 1
        difference = (2 * z - u + self.step * self.problem.field) @ self.inverse - z
        return u + self.twice * difference, self.factor * norm(difference)


class SoftmaxRachford(Rachford):
    r"""Peaceman-Rachford whose proximal step is a softmax: z = softmax(rho u), no root to find.

    The gradient at z is :math:`-(2 \rho I - \Phi)(v - z)`.
    """

    def __init__(self, problem: Problem, step: float, relaxation: float) -> None:
        self.problem, self.step, self.twice = problem, step, 2 * relaxation
        self.scaled_field = problem.field / step
        self._prepare(2.0, 1 / step, 2 * step)

    def start(self, theta: Any) -> Any:
        """Return the u whose softmax is q."""
        return theta / self.step

    def log_q(self, u: Any) -> Any:
        """Return log q."""
        return u * self.step

    def advance(self, u: Any) -> tuple[Any, Any]:
        """Return the next u, and a bound of the gradient at its present z."""
        z = self.problem.softmax(u * self.step)
        right = 2 * z
        right -= u
        right += self.scaled_field
        self.problem.products += 1
        difference = right @ self.inverse
        difference -= z
        bound = self.factor * norm(difference)
        difference *= self.twice
        difference += u
        return difference, bound


class Coordinate(Mirror):
    """Ascent group by group: each takes the softmax of its field given all others, so that F falls."""

    def __init__(self, problem: Problem, bias: Any) -> None:
        self.problem, self.bias = problem, bias

    def advance(self, theta: Any) -> tuple[Any, Any]:
        """Return log q after a sweep over all groups; the gradient is that before it."""
        problem, xp = self.problem, array_namespace(theta)
        log_q = group_log_softmax(problem.coordinates.expand(theta), problem.layout)
        q = problem.probabilities(log_q)
        gradient = norm(problem.free(theta - problem.local_field(problem.softmax(theta))))
        coupling, offsets = problem.prepared.coupling, problem.layout.offsets.tolist()
        for group in range(problem.layout.n_groups):
            part = slice(offsets[group], offsets[group + 1])
            field = q @ coupling[:, part] + self.bias[:, part]
            field = field - xp.max(field, axis=-1, keepdims=True)
            log_p = field - xp.log(xp.sum(xp.exp(field), axis=-1, keepdims=True))
            log_q[:, part] = log_p
            p = xp.exp(log_p)
            q[:, part] = p if problem.mask is None else xp.where(problem.mask[:, group, None], q[:, part], p)
        problem.products += 1
        return problem.coordinates.reduce(log_q), gradient


class Newton(Mirror):
    """Newton's method for F, with steps in log q and halved until F falls enough."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def advance(self, theta: Any) -> tuple[Any, Any]:
        """Return the next log q; the gradient is exact."""
        problem, xp = self.problem, array_namespace(theta)
        q = problem.softmax(theta)
        field = problem.local_field(q)
        gradient = problem.free(theta - field)
        full = xp.exp(group_log_softmax(problem.coordinates.expand(theta), problem.layout))
        change, _ = problem.conjugate_gradients(full, -gradient, 1e-3, _INNER)
        problem.products += 1
        direction = problem.free(problem.prepared.product(change) - gradient)
        slope = xp.sum(gradient * change, axis=-1)
        energy = problem.free_energy(theta, q, field)
        # Differences of F below its rounding decide nothing.
        slack = 64 * float(xp.finfo(theta.dtype).eps) * (1 + xp.abs(energy))
        length = 1.0 + 0.0 * slope
        for _ in range(_BACKTRACKS):
            new = theta + length[:, None] * direction
            new_q = problem.softmax(new)
            rise = problem.free_energy(new, new_q, problem.local_field(new_q)) - energy
            high = rise > 1e-4 * length * slope + slack
            if not bool(xp.any(high)):
                break
            length = xp.where(high, length / 2, length)
        return new, norm(gradient)


def iteration(method: str, problem: Problem, bias: Any, step: float | None, relaxation: float) -> Any:
    """Return the steps of a method by its name."""
    if method == "coordinate":
        return Coordinate(problem, bias)
    if method == "newton":
        return Newton(problem)
    assert step is not None
    if method == "forward_backward":
        return ForwardBackward(problem, step)
    if method == "damped":
        return Damped(problem, step)
    if method in ("mirror", "parallel"):
        return Mirror(problem, step)
    if method == "softmax_pr":
        return SoftmaxRachford(problem, step, relaxation)
    return Rachford(problem, step, relaxation / 2 if method == "douglas_rachford" else relaxation)


def accelerated(advance: Callable[[Any], tuple[Any, Any]]) -> Callable[[Any], tuple[Any, Any]]:
    """Return steps with Anderson acceleration, sample by sample.

    The least squares are regularised by the trace of their matrix. A sample whose residual grows drops what it
    remembers and takes a plain step.
    """
    states: list[Any] = []
    steps: list[Any] = []
    weights: list[Any] = []
    last: list[Any] = []

    def step(state: Any) -> tuple[Any, Any]:
        xp = array_namespace(state)
        image, estimate = advance(state)
        residual = image - state
        size = norm(residual)
        if last:
            before, before_image, before_size = last
            kept = xp.astype(size <= _GROWTH * before_size, size.dtype)[:, None]
            states.append(image - before_image)
            steps.append(residual - before)
            weights.append(1.0 + 0.0 * kept)
            weights[:] = [weight * kept for weight in weights]
            del states[:-_MEMORY], steps[:-_MEMORY], weights[:-_MEMORY]
        last[:] = [residual, image, size]
        if not steps:
            return image, estimate
        differences = xp.stack([weight * one for weight, one in zip(weights, steps, strict=True)], axis=1)
        gram = differences @ xp.matrix_transpose(differences)
        trace = xp.sum(xp.linalg.diagonal(gram), axis=-1)[:, None, None]
        eye = xp.eye(gram.shape[-1], dtype=gram.dtype, device=getattr(gram, "device", None))
        # Not below the rounding of single precision, in which parallel differences make a matrix singular.
        ridge = max(_RIDGE, float(xp.finfo(gram.dtype).eps))
        gram = gram + (ridge * trace + float(xp.finfo(gram.dtype).tiny)) * eye
        mixture = xp.linalg.solve(gram, differences @ residual[:, :, None])
        moves = xp.stack([weight * one for weight, one in zip(weights, states, strict=True)], axis=1)
        return image - (xp.matrix_transpose(mixture) @ moves)[:, 0], estimate

    return step
