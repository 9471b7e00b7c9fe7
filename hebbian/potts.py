r"""Pairwise models of categorical variables in layers: layout, energy, gauge and couplings of convex free energy."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from array_api_compat import array_namespace, is_array_api_obj, is_numpy_array, to_device
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import LinearOperator, eigsh

from hebbian import validation
from hebbian.spectral_scale import column_scale

# How far a coupling may be from symmetric and hollow, relative to its largest entry or to 1.
_TOLERANCE = 1e-8
# Below this size all eigenvalues of a dense matrix cost less than the set-up of an iteration.
_SMALL = 12
# Vectors that the iteration keeps: more of them, fewer restarts.
_BASIS = 60


class CouplingOperator(Protocol):
    """A symmetric hollow coupling that is known by its products alone."""

    def matvec(self, x: Any) -> Any:
        """Return the products of the coupling with vectors of shape (..., N), in the same shape."""


@dataclass(frozen=True, init=False)
class GroupLayout:
    r"""Layers of groups of one-hot entries: a group is a categorical variable with k states.

    A vector has :math:`N = \sum_l G_l k_l` entries, ordered by layer, then group, then category.

    Parameters
    ----------
    layers : iterable of (int, int)
        For each layer its number of groups G >= 1 and of categories k >= 1.

    Raises
    ------
    TypeError, ValueError
        If there is no layer, or a number is not an integer >= 1.

    Examples
    --------
    >>> layout = GroupLayout([(2, 3), (1, 2)])
    >>> layout.size, layout.n_groups, layout.offsets.tolist()
    (8, 3, [0, 3, 6, 8])
    """

    layers: tuple[tuple[int, int], ...]

    def __init__(self, layers: Iterable[Sequence[int]]) -> None:
        pairs = tuple(tuple(layer) for layer in layers)
        if not pairs or any(len(pair) != 2 for pair in pairs):
            raise ValueError(f"layers = {pairs!r}; allowed: one (groups, categories) or more")
        checked = tuple(
            (
                validation.integer(f"groups of layer {index}", groups, minimum=1),
                validation.integer(f"categories of layer {index}", categories, minimum=1),
            )
            for index, (groups, categories) in enumerate(pairs)
        )
        object.__setattr__(self, "layers", checked)

    @cached_property
    def categories(self) -> NDArray[np.int64]:
        """Number of categories of each group, shape (n_groups,)."""
        return np.repeat([k for _, k in self.layers], [G for G, _ in self.layers])

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """First entry of each group, and N at the end, shape (n_groups + 1,)."""
        return np.concatenate(([0], np.cumsum(self.categories)))

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """Index of the group of each entry, shape (N,)."""
        return np.repeat(np.arange(self.n_groups), self.categories)

    @cached_property
    def segments(self) -> tuple[tuple[int, int, int], ...]:
        """Runs of groups of equal k, as long as they get: (first entry, groups, categories) of each."""
        runs: list[tuple[int, int, int]] = []
        start = 0
        for G, k in self.layers:
            if runs and runs[-1][2] == k:
                runs[-1] = (runs[-1][0], runs[-1][1] + G, k)
            else:
                runs.append((start, G, k))
            start += G * k
        return tuple(runs)

    @property
    def size(self) -> int:
        """Number N of entries of a vector."""
        return sum(G * k for G, k in self.layers)

    @property
    def n_groups(self) -> int:
        """Number of groups of all layers."""
        return sum(G for G, _ in self.layers)

    @property
    def uniform(self) -> NDArray[np.float64]:
        """The vector with 1/k at every entry, shape (N,)."""
        return 1.0 / np.repeat(self.categories, self.categories)

    def block_mask(self) -> NDArray[np.bool_]:
        """Return where two entries belong to the same group, shape (N, N)."""
        return self.groups[:, None] == self.groups

    def tier_mask(self, ranks: Sequence[int], connections: ArrayLike | None = None) -> NDArray[np.bool_]:
        """Return which entries of a factor of tiers are free, shape (sum of ranks, N).

        Tier i reads the layers j <= i that the table connects it to: a block lower-triangular factor, whose coupling
        joins layers with each other and with themselves.

        Parameters
        ----------
        ranks : sequence of int
            Number of rows of each tier, one tier a layer; 0 for a tier that is absent.
        connections : array_like, optional
            Table of shape (layers, layers), non-zero where tier i reads layer j; all j <= i by default. Entries with
            j > i must be zero.

        Raises
        ------
        TypeError, ValueError
            If the numbers of tiers and layers differ, a rank is negative, or the table is not lower-triangular.
        """
        n = len(self.layers)
        if len(ranks) != n:
            raise ValueError(f"ranks = {tuple(ranks)!r} has {len(ranks)} tiers; allowed: {n}, one for each layer")
        rows = [validation.integer(f"ranks[{tier}]", rank, minimum=0) for tier, rank in enumerate(ranks)]
        table = np.tri(n, dtype=bool) if connections is None else validation.rectangular("connections", connections)
        if table.shape != (n, n):
            raise ValueError(f"connections has shape {table.shape}; allowed: {(n, n)}")
        table = table != 0
        if np.triu(table, 1).any():
            tier, layer = np.argwhere(np.triu(table, 1))[0].tolist()
            raise ValueError(f"connections joins tier {tier} to layer {layer}; allowed: layers up to that of the tier")
        return np.repeat(np.repeat(table, rows, axis=0), [G * k for G, k in self.layers], axis=1)

    def one_hot(self, states: ArrayLike) -> NDArray[np.float64]:
        """Return the one-hot vectors of categories, shape (..., N).

        Parameters
        ----------
        states : array_like of int
            Category of each group, 0 to k - 1, shape (..., n_groups).

        Raises
        ------
        TypeError, ValueError
            If the shape is wrong, or an entry is not an integer in range.
        """
        array = validation.rectangular("states", states)
        if array.ndim == 0 or array.shape[-1] != self.n_groups:
            raise ValueError(f"states has shape {array.shape}; allowed: (..., {self.n_groups})")
        if array.dtype.kind not in "iu":
            raise TypeError(f"states has dtype {array.dtype}; allowed: integers")
        wrong = (array < 0) | (array >= self.categories)
        if wrong.any():
            where = tuple(np.argwhere(wrong)[0])
            k = self.categories[where[-1]]
            raise ValueError(f"states has {array[where]} for group {where[-1]}; allowed: 0 to {k - 1}")
        vectors = np.zeros((*array.shape[:-1], self.size))
        np.put_along_axis(vectors, array + self.offsets[:-1], 1.0, axis=-1)
        return vectors

    def tangent(self, x: Any) -> Any:
        """Return vectors less the mean of each group: projected by T on the tangent space of the simplices.

        Parameters
        ----------
        x : array
            Shape (..., N), of NumPy, CuPy or PyTorch.
        """
        out = x + 0.0
        for start, G, k in self.segments:
            part = x[..., start : start + G * k].reshape((*x.shape[:-1], G, k))
            out[..., start : start + G * k] = (part - part.mean(-1)[..., None]).reshape((*x.shape[:-1], G * k))
        return out


@dataclass(frozen=True, eq=False)
class PairwiseModel:
    r"""Probability of one-hot vectors with pairwise couplings.

    .. math::
        \ln p(x) = \tfrac12 x^T \Phi x + b^T x - \ln Z

    with each unordered pair counted once, in units where :math:`k_B T = 1`.

    Parameters
    ----------
    coupling : array_like
        Phi, symmetric, zero between entries of one group, shape (N, N).
    bias : array_like
        b, shape (N,).
    layout : GroupLayout
        Groups of the N entries.

    Raises
    ------
    TypeError, ValueError
        If a shape does not fit the layout, an entry is not finite, or the coupling is not symmetric or not zero within
        groups, up to 1e-8.

    References
    ----------
    Feng, Winston, Kolter, Trans. Mach. Learn. Res. (2023), arXiv:2307.04990.

    Examples
    --------
    >>> model = PairwiseModel([[0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0]], [0.5, 0, 0, 0],
    ...                       GroupLayout([(2, 2)]))
    >>> float(model.energy([1, 0, 1, 0]))
    -1.5
    """

    coupling: NDArray[Any]
    bias: NDArray[Any]
    layout: GroupLayout

    def __post_init__(self) -> None:
        """Validate."""
        N = check_layout(self.layout).size
        object.__setattr__(self, "coupling", check_coupling(self.coupling, self.layout))
        object.__setattr__(self, "bias", validation.finite("bias", self.bias, (N,)))

    def log_weight(self, x: ArrayLike) -> Any:
        r"""Return :math:`\ln p + \ln Z` of vectors of shape (..., N)."""
        x = self._vectors(x)
        return np.vecdot(x, x @ self.coupling / 2 + self.bias)

    def energy(self, x: ArrayLike) -> Any:
        """Return minus the log-weight of vectors of shape (..., N)."""
        return -self.log_weight(x)

    def local_field(self, x: ArrayLike) -> Any:
        r"""Return :math:`h = \Phi x + b` of vectors of shape (..., N); a group given the others has softmax(h_g)."""
        return self._vectors(x) @ self.coupling + self.bias

    def zero_sum_gauge(self) -> "PairwiseModel":
        r"""Return the same distribution with couplings and biases that sum to zero over each group.

        .. math::
            \Phi \to T \Phi T, \qquad b \to T (b + \Phi u)

        with u uniform. Log-weights of one-hot vectors become less by :math:`\tfrac12 u^T \Phi u + b^T u`.
        """
        layout, u = self.layout, self.layout.uniform
        coupling = layout.tangent(layout.tangent(self.coupling).T)
        coupling = (coupling + coupling.T) / 2
        bias = layout.tangent(self.bias + self.coupling @ u)
        return PairwiseModel(coupling.astype(self.coupling.dtype), bias.astype(self.bias.dtype), layout)

    def _vectors(self, x: ArrayLike) -> NDArray[Any]:
        array = validation.rectangular("x", x)
        if array.ndim == 0 or array.shape[-1] != self.layout.size:
            raise ValueError(f"x has shape {array.shape}; allowed: (..., {self.layout.size})")
        return array


def monotone_coupling(factor: Any, layout: GroupLayout, margin: float = 0.1) -> Any:
    r"""Return the coupling of a factor, with no eigenvalue above 1 - margin.

    .. math::
        \Phi = {\rm blkdiag}_g (\hat A_g^T \hat A_g) - \hat A^T \hat A, \qquad
        \hat A_g = A_g \min\Big(\frac{\sqrt{1-m}}{\lVert A_g \rVert_2}, 1\Big)

    with A_g the columns of group g. On one-hot x,
    :math:`\tfrac12 x^T \Phi x = -\tfrac12 |\hat A x|^2 + \tfrac12 \sum_i x_i |\hat a_i|^2`. The variational free
    energy is convex, and mean field has one solution, for every margin above -1.

    Parameters
    ----------
    factor : array_like
        A, shape (R, N); for layers in tiers times `GroupLayout.tier_mask`. Of CuPy or PyTorch too, with its gradient.
    layout : GroupLayout
        Groups of the N columns.
    margin : float
        m in (-1, 1); the paper has m in (0, 1).

    Returns
    -------
    array
        Phi, shape (N, N), of the kind of the factor, float32 if the factor is, else float64.

    Raises
    ------
    TypeError, ValueError
        If a shape does not fit the layout, an entry is not finite, or the margin is out of range.

    References
    ----------
    Feng, Winston, Kolter, Trans. Mach. Learn. Res. (2023), arXiv:2307.04990.

    Examples
    --------
    >>> monotone_coupling([[0.5, 0.5, 0.5, 0.5]], GroupLayout([(2, 2)])).tolist()[0]
    [0.0, 0.0, -0.25, -0.25]
    """
    check_layout(layout)
    A = _factor(factor, layout)
    xp = array_namespace(A)
    largest = math.sqrt(1.0 - validation.real("margin", margin, above=-1.0, below=1.0))
    scaled = A * xp.concat([column_scale(A[:, start : start + G * k], G, largest) for start, G, k in layout.segments])
    mask = layout.block_mask()
    mask = mask if is_numpy_array(A) else to_device(xp.asarray(mask), A.device)
    return xp.where(mask, xp.zeros_like(scaled[:1, :1]), -(xp.matrix_transpose(scaled) @ scaled))


def _factor(factor: Any, layout: GroupLayout) -> Any:
    """Return a factor as an array, or raise unless it fits the layout and is finite."""
    if not is_array_api_obj(factor) or is_numpy_array(factor):
        return validation.finite("factor", factor, (None, layout.size))
    if factor.ndim != 2 or factor.shape[1] != layout.size:
        raise ValueError(f"factor has shape {tuple(factor.shape)}; allowed: (any, {layout.size})")
    xp = array_namespace(factor)
    if not bool(xp.all(xp.isfinite(factor))):
        raise ValueError("factor has an entry that is infinite or not a number; allowed: finite numbers")
    return factor


def coupling_bounds(coupling: Any, layout: GroupLayout, method: str = "eigh") -> tuple[float, float]:
    r"""Return the smallest and the largest eigenvalue of :math:`T \Phi T`, T the projection on the tangent space.

    A hollow coupling has a tangent part without trace: the smallest is <= 0 <= the largest.

    Parameters
    ----------
    coupling : array_like or CouplingOperator
        Phi, shape (N, N), or an object with ``matvec`` (then by Lanczos).
    layout : GroupLayout
        Groups of the N entries.
    method : {"eigh", "lanczos"}
        Direct, or by products alone.

    Raises
    ------
    TypeError, ValueError
        If the coupling does not fit the layout, or the method is unknown or needs the matrix of an operator.
    """
    validation.choice("method", method, ("eigh", "lanczos"))
    N = check_layout(layout).size
    operator = hasattr(coupling, "matvec")
    if operator and method == "eigh":
        raise ValueError("method = 'eigh' needs the matrix of the coupling; allowed for an operator: 'lanczos'")
    matrix = None if operator else check_coupling(coupling, layout)
    if method == "eigh" or N < _SMALL:
        if matrix is None:
            matrix = coupling.matvec(np.eye(N))
        tangent = layout.tangent(layout.tangent(matrix).T)
        ends = np.linalg.eigvalsh(tangent)[[0, -1]].tolist()
    else:
        multiply = coupling.matvec if matrix is None else matrix.astype(np.float64).__matmul__
        linear, start = _tangent_operator(multiply, layout)
        if not start.any():
            return 0.0, 0.0
        basis = min(N, _BASIS)
        ends = [
            eigsh(linear, k=1, which=end, v0=start, ncv=basis, return_eigenvectors=False)[0] for end in ("SA", "LA")
        ]
    return min(float(ends[0]), 0.0), max(float(ends[1]), 0.0)


def smallest_eigenvalue(coupling: Any, layout: GroupLayout, tol: float = 1e-3) -> float:
    r"""Return a bound from below of the eigenvalues of :math:`T \Phi T`, above it by `tol` of its size at most.

    By Lanczos' method, whose eigenvalues are far nearer than the residuals at which it ends; for couplings that change
    at every step of a training, where `coupling_bounds` costs more than the solutions.

    Parameters
    ----------
    coupling : array_like or CouplingOperator
        Phi, shape (N, N), or an object with ``matvec``.
    layout : GroupLayout
        Groups of the N entries.
    tol : float
        Residual at which iterations end, relative to the eigenvalue, in (0, 1).

    Raises
    ------
    TypeError, ValueError
        If the coupling does not fit the layout, or the tolerance is out of range.
    """
    tol = validation.real("tol", tol, above=0.0, below=1.0)
    if check_layout(layout).size < _SMALL:
        method = "lanczos" if hasattr(coupling, "matvec") else "eigh"
        return coupling_bounds(coupling, layout, method)[0]
    multiply = coupling.matvec if hasattr(coupling, "matvec") else check_coupling(coupling, layout).__matmul__
    linear, start = _tangent_operator(multiply, layout)
    if not start.any():
        return 0.0
    end = eigsh(linear, k=1, which="SA", v0=start, tol=tol, return_eigenvectors=False)[0]
    return min(float(end), 0.0) * (1 + tol)


def _tangent_operator(multiply: Any, layout: GroupLayout) -> tuple[LinearOperator, NDArray[np.float64]]:
    """Return the coupling on the tangent space for ARPACK, and a start."""

    def product(x: NDArray[Any]) -> NDArray[Any]:
        return layout.tangent(np.asarray(multiply(layout.tangent(x.ravel()))))

    # ARPACK needs a start that is not random, for results that do not change between calls.
    start = product(np.random.default_rng(0).normal(size=layout.size))
    return LinearOperator((layout.size, layout.size), matvec=product, dtype=np.float64), start


def check_layout(layout: object) -> GroupLayout:
    """Return a layout, or raise."""
    if not isinstance(layout, GroupLayout):
        raise TypeError(f"layout = {layout!r} is a {type(layout).__name__}; allowed: GroupLayout")
    return layout


def check_coupling(coupling: ArrayLike, layout: GroupLayout) -> NDArray[Any]:
    """Return a coupling as an array, or raise unless it fits the layout, is finite, symmetric and hollow."""
    N = layout.size
    array = validation.finite("coupling", coupling, (N, N))
    scale = max(1.0, float(np.abs(array).max()))
    excess = np.abs(array - array.T)
    if excess.max() > _TOLERANCE * scale:
        i, j = np.unravel_index(excess.argmax(), excess.shape)
        raise ValueError(
            f"coupling is not symmetric: entry ({i}, {j}) is {array[i, j]}, entry ({j}, {i}) is {array[j, i]}; "
            f"allowed: differences up to {_TOLERANCE:g}"
        )
    for start, G, k in layout.segments:
        entries = np.arange(start, start + G * k).reshape(G, k)
        blocks = np.abs(array[entries[:, :, None], entries[:, None, :]])
        if blocks.max() > _TOLERANCE * scale:
            group, i, j = np.unravel_index(blocks.argmax(), blocks.shape)
            i, j = entries[group, i], entries[group, j]
            raise ValueError(
                f"coupling is not hollow: entry ({i}, {j}), within a group, is {array[i, j]}; "
                f"allowed: up to {_TOLERANCE:g}"
            )
    return array
