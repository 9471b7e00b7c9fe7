r"""Monotone deep Boltzmann machines: layers whose output is the only mean-field solution of a pairwise model.

The solution is found without gradient by `hebbian.fixed_point`; the gradient solves the adjoint equation, so that
memory does not grow with the number of iterations.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hebbian import validation
from hebbian.fixed_point import MeanFieldSolution, solve_adjoint, solve_mean_field
from hebbian.nn.group_layer import GroupLayer
from hebbian.potts import GroupLayout, monotone_coupling, smallest_eigenvalue
from hebbian.prepared_coupling import PreparedCoupling
from hebbian.softmax_prox import softmax_prox
from hebbian.splitting import METHODS

# Norm of the residual of the adjoint, relative: in single precision, what rounding lets be reached.
_ADJOINT = {torch.float32: 1e-5, torch.float64: 1e-10}
_SCALE = 0.5


class SoftmaxProx(torch.autograd.Function):
    r"""Proximal step of `hebbian.softmax_prox.softmax_prox` with its derivative.

    ``SoftmaxProx.apply(y, alpha, axis)`` has the arguments of that function, axis -1 too. With
    :math:`g_i = z_i / (\alpha + (1-\alpha) z_i)`,

    .. math::
        \frac{\partial z}{\partial y} = {\rm diag}(g) - \frac{g g^T}{\sum_i g_i}

    References
    ----------
    Feng, Winston, Kolter, Trans. Mach. Learn. Res. (2023), arXiv:2307.04990.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, alpha: float, axis: int = -1) -> Tensor:
        """Return z."""
        z = softmax_prox(y.detach(), alpha, axis)
        ctx.save_for_backward(z)
        ctx.alpha, ctx.axis = alpha, axis
        return z

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient with respect to y."""
        (z,) = ctx.saved_tensors
        g = z / (ctx.alpha + (1 - ctx.alpha) * z)
        mean = (g * grad).sum(ctx.axis, keepdim=True) / g.sum(ctx.axis, keepdim=True)
        return g * (grad - mean), None, None


class MeanFieldOutput(NamedTuple):
    """What a mean-field layer returns.

    Attributes
    ----------
    q : Tensor, shape (B, N)
        Probabilities; in groups that are observed, the given values.
    logits : Tensor, shape (B, N)
        Field Phi q + b, whose softmax is the probabilities of each group given the others; of observed groups too.
    info : MeanFieldSolution or None
        Whether iterations converged, how many there were, bounds of the error; without gradient. None where nothing is
        solved.
    """

    q: Tensor
    logits: Tensor
    info: MeanFieldSolution | None


class _ImplicitMeanField(torch.autograd.Function):
    """The solution as a function of the field at it, whose gradient is that of the adjoint equation."""

    @staticmethod
    def forward(ctx: Any, field: Tensor, q: Tensor, prepared: PreparedCoupling) -> Tensor:
        """Return q."""
        ctx.save_for_backward(q)
        ctx.prepared = prepared
        return q.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Return v, which vanishes in observed groups as their covariance does."""
        (q,) = ctx.saved_tensors
        v = solve_adjoint(ctx.prepared, q, grad, ctx.prepared.layout, tol=_ADJOINT[q.dtype])
        return v, None, None


class _HostProducts:
    """Products with vectors of NumPy, for ARPACK."""

    def __init__(self, product: Callable[[Tensor], Tensor], like: Tensor) -> None:
        self.product, self.like = product, like

    def matvec(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the product."""
        return self.product(torch.as_tensor(x, dtype=self.like.dtype, device=self.like.device)).cpu().numpy()


def _same(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and one.device == other.device and torch.equal(one, other)


class MeanFieldLayer(GroupLayer):
    """What layers of one mean-field solution share: solution, gradient, observed groups.

    A subclass has parameters, and `bias` and `_product` that are made of them.

    Parameters
    ----------
    layout : GroupLayout
        Groups of the N entries.
    margin : float
        m in (-1, 1), so that no eigenvalue of the coupling is above 1 - m.
    method : str
        Method of `hebbian.fixed_point.solve_mean_field`.
    tol : float or None
        Largest bound on the error of q, Euclidean; by default 1e-8, in single precision 1e-4.
    max_iter : int
        Largest number of steps; a RuntimeWarning says where they did not suffice.
    """

    def __init__(self, layout: GroupLayout, margin: float, method: str, tol: float | None, max_iter: int) -> None:
        super().__init__(layout)
        self.margin = validation.real("margin", margin, above=-1.0, below=1.0)
        self.method = validation.choice("method", method, ("auto", *METHODS))
        self.tol = None if tol is None else validation.real("tol", tol, above=0.0)
        self.max_iter = validation.integer("max_iter", max_iter, minimum=1)
        self._prepared: tuple[tuple[Tensor, ...], PreparedCoupling] | None = None

    def forward(self, x: Tensor | Sequence[Tensor | None] | None = None, mask: Any = None) -> MeanFieldOutput:
        """Return the mean field given what is observed.

        Parameters
        ----------
        x : Tensor or sequence of (Tensor or None), optional
            One-hot values, shape (B, N), or for each layer (B, G, k) or (B, G k); None for a layer that is hidden. Only
            what the mask marks is read, and gets no gradient.
        mask : Tensor or sequence of (Tensor or None), optional
            Which groups are observed, bool, shape (B, n_groups), or for each layer (B, G). By default all groups of
            layers that x has; required where x is one tensor.

        Raises
        ------
        TypeError, ValueError
            If a shape or type is wrong, or an observed group is not one-hot.
        """
        clamp = self.observed(x, mask)
        bias = self.bias()
        product, prepared = self._product()
        solution = self._solve(prepared, bias, clamp)
        q = solution.q if solution.q.ndim == 2 else solution.q[None]
        q = _ImplicitMeanField.apply(product(q) + bias, q, prepared)
        return MeanFieldOutput(q, product(q) + bias, solution)

    def bias(self) -> Tensor:
        """Return b, shape (N,)."""
        raise NotImplementedError

    def prepared(self) -> PreparedCoupling:
        """Return the coupling as it is, with its spectrum; the same as long as parameters do not change."""
        return self._product()[1]

    def _product(self) -> tuple[Callable[[Tensor], Tensor], PreparedCoupling]:
        """Return the product with the coupling, with gradient, and the prepared coupling."""
        raise NotImplementedError

    @torch.compiler.disable
    @torch.no_grad()
    def _keep(self, key: tuple[Tensor, ...], prepare: Callable[[], tuple[Any, Any]]) -> PreparedCoupling:
        """Return what was prepared for the same tensors, or prepare a coupling given with its product: once an update.

        No eigenvalue is above 1 - margin, so that the smallest alone has to be found.
        """
        kept = self._prepared
        if kept is None or not all(_same(one, other) for one, other in zip(kept[0], key, strict=True)):
            coupling, product = prepare()
            bounds = smallest_eigenvalue(_HostProducts(product, key[0]), self.layout), 1.0 - self.margin
            kept = tuple(one.clone() for one in key), PreparedCoupling(coupling, self.layout, bounds)
            self._prepared = kept
        return kept[1]

    @torch.compiler.disable
    @torch.no_grad()
    def _solve(self, prepared: PreparedCoupling, bias: Tensor, clamp: Any) -> MeanFieldSolution:
        return solve_mean_field(
            prepared,
            bias.detach(),
            self.layout,
            method=self.method,
            accelerate="anderson" if self.method == "mirror" else None,
            clamp=clamp,
            tol=self.tol,
            max_iter=self.max_iter,
        )


class MonotoneDBM(MeanFieldLayer):
    r"""Deep Boltzmann machine of one-hot variables whose mean field has exactly one solution.

    .. math::
        q_g = {\rm softmax}((\Phi q + b)_g), \qquad
        \Phi = {\rm blkdiag}_g(\hat A_g^T \hat A_g) - \hat A^T \hat A

    for groups g that are not observed, with the scaled factor of `hebbian.potts.monotone_coupling`.

    Parameters
    ----------
    layers : iterable of (int, int)
        Groups and categories of each layer.
    tiers : sequence of int
        Rows of the factor that read each layer and those before it; 0 for none.
    margin : float
        m in (-1, 1), so that no eigenvalue of the coupling is above 1 - m; the paper has m in (0, 1).
    method : str
        Method of `hebbian.fixed_point.solve_mean_field`.
    tol : float or None
        Largest bound on the error of q, Euclidean; by default 1e-8, in single precision 1e-4.
    max_iter : int
        Largest number of steps; a RuntimeWarning says where they did not suffice.
    connections : array_like, optional
        Table of the layers that each tier reads, as in `hebbian.potts.GroupLayout.tier_mask`.
    device, dtype
        Of the parameters.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    References
    ----------
    Feng, Winston, Kolter, Trans. Mach. Learn. Res. (2023), arXiv:2307.04990.

    Examples
    --------
    >>> layer = MonotoneDBM([(3, 2), (1, 4)], tiers=(2, 5))
    >>> image = torch.eye(2)[torch.tensor([[0, 1, 1]])]
    >>> layer((image, None)).q.shape
    torch.Size([1, 10])
    """

    tier_mask: Tensor

    def __init__(
        self,
        layers: Iterable[Sequence[int]],
        tiers: Sequence[int],
        margin: float = 0.1,
        method: str = "auto",
        tol: float | None = None,
        max_iter: int = 200,
        connections: ArrayLike | None = None,
        *,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        layout = GroupLayout(layers)
        mask = layout.tier_mask(tiers, connections)
        super().__init__(layout, margin, method, tol, max_iter)
        self.factor = nn.Parameter(torch.empty(mask.shape, device=device, dtype=dtype))
        self.shift = nn.Parameter(torch.empty(layout.size, device=device, dtype=dtype))
        self.register_buffer("tier_mask", torch.as_tensor(mask, device=device), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        r"""Draw A from a normal distribution of width :math:`1/(2\sqrt R)`, and set b to 0."""
        nn.init.normal_(self.factor, std=_SCALE / math.sqrt(max(1, len(self.factor))))
        nn.init.zeros_(self.shift)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return f"layers={self.layout.layers}, rows={len(self.factor)}, margin={self.margin}, method={self.method!r}"

    def coupling(self) -> Tensor:
        """Return Phi, shape (N, N)."""
        return monotone_coupling(self.factor * self.tier_mask, self.layout, self.margin)

    def bias(self) -> Tensor:
        """Return b, shape (N,)."""
        return self.shift

    def _product(self) -> tuple[Callable[[Tensor], Tensor], PreparedCoupling]:
        coupling = self.coupling()
        fixed = coupling.detach()
        return lambda q: q @ coupling, self._keep((fixed,), lambda: (fixed, lambda x: x @ fixed))
