r"""Kernels of fully connected networks of infinite width: NNGP and neural tangent kernel, a tile of pairs at a time.

.. math::
    z_1 = \sqrt{c_w/d}\, W_1 x + \sqrt{c_b}\, b_1, \qquad
    z_{l+1} = \sqrt{c_w/n_l}\, W_{l+1} f(z_l) + \sqrt{c_b}\, b_{l+1}

with standard normal W and b. The kernels of an input with itself are carried apart, so that they are exact: computed
from the rounded correlation of a pair they would lose half of the digits at every kink (Lee et al. 2018, Jacot et al.
2018).
"""

import functools
import importlib
import importlib.util
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import is_cupy_array
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import ThreadpoolController

from hebbian import validation
from hebbian.activations import Activation, Function, get_activation
from hebbian.prepared_coupling import on_host
from theory.kernels import tiles
from theory.kernels.closed_forms import closed_form
from theory.kernels.duals import check_slope, pair_duals, series_of
from theory.kernels.kernels import KERNELS, Kernels, kernel_names
from theory.kernels.layers import Activation as Layer
from theory.kernels.layers import Dense, LayerNorm, Residual
from theory.kernels.mehler import Coefficients, MehlerSeries, unsettled
from theory.kernels.networks import Network
from theory.kernels.rates import Diagonals, Rates, diagonals, layer_rates
from theory.threads import spread

DTYPES = ("float32", "float64")
BACKENDS = ("auto", "numba", "numpy", "cupy")
TILE = 256


def mlp_kernel(
    X1: ArrayLike,
    X2: ArrayLike | None = None,
    act: str | Function | Activation = "relu",
    depth: int = 1,
    cw: float | Sequence[float] = 1.0,
    cb: float | Sequence[float] = 0.0,
    lw: float | Sequence[float] | None = None,
    lb: float | Sequence[float] | None = None,
    *,
    get: str | Sequence[str] = KERNELS,
    residual: float = 0.0,
    layer_norm: bool = False,
    parametrization: str = "ntk",
    widths: Sequence[int] | None = None,
    diag_only: bool = False,
    per_layer: bool = False,
    dtype: str = "float64",
    tol: float = 1e-10,
    tile: int = TILE,
    out: Kernels | None = None,
    backend: str = "auto",
) -> Kernels:
    r"""Return the kernels of a fully connected network between inputs.

    Parameters
    ----------
    X1 : array_like, shape (N1, d)
        Inputs.
    X2 : array_like, shape (N2, d), optional
        Other inputs; without them the kernels of X1 with itself, of which half is computed.
    act : str, callable or Activation
        As `hebbian.activations.get_activation` takes it.
    depth : int
        Number of layers of activations, at least 0: at 0 the network is linear.
    cw, cb : float or sequence of depth + 1 floats
        Variances of weights (times the number of inputs of a layer) and of biases, at least 0.
    lw, lb : float or sequence of depth + 1 floats, optional
        Learning rates of weights (times the number of inputs) and of biases, in units of the common one; default: those
        of the parametrisation, lw = cw and lb = cb in the NTK one.
    get : {"nngp", "ntk"} or both
        What is wanted.
    residual : float
        Weight :math:`\gamma` of :math:`z_{l+1} = {\rm layer}(z_l) + \gamma z_l` between hidden layers, which then have
        one width; the readout has no such path.
    layer_norm : bool
        Whether each input of an activation is divided by its root mean square over the layer.
    parametrization : {"ntk", "standard"}
        In the standard one weights have the variance cw/n themselves, and all learn at the same rate.
    widths : sequence of int, optional
        Widths of the hidden layers, for the standard parametrisation.
    diag_only : bool
        Return the kernels of inputs of X1 with themselves, shape (N1,).
    per_layer : bool
        Return the kernels of the preactivations of all layers, from the first to the readout, along the first axis.
    dtype : {"float64", "float32"}
        Precision of the N1 x N2 part.
    tol : float
        Error that is allowed, where the activation has no closed form, in each k and its derivative (`dual`).
    tile : int
        Rows and columns that are computed at a time, at least 1.
    out : Kernels, optional
        Arrays to write to: anything of shape (N1, N2) with assignment to slices, as `numpy.memmap` or a dataset of
        h5py. With X1 alone, both halves are written.
    backend : {"auto", "numba", "numpy", "cupy"}
        Compiled tiles, or functions of whole arrays on the CPU or an NVIDIA card, which need memory for some more
        kernels and have no use for ``per_layer``, ``out`` and ``tile``; "auto" takes "cupy" for arrays of CuPy, which
        are returned as such.

    Returns
    -------
    Kernels
        Besides them memory is needed for the tiles of all threads alone, and for the coefficients of activations
        without a closed form.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, inputs are not finite, empty or of different dimension, a step's tangent kernel
        is asked for (it is infinite), kernels overflow, or no card answers.
    ImportError
        If CuPy is missing, with the extra that brings it.

    Examples
    --------
    >>> kernels = mlp_kernel([[1.0, 0.0], [0.0, 1.0]], depth=1, cw=2.0)
    >>> kernels.nngp.round(4).tolist(), kernels.ntk.round(4).tolist()
    ([[1.0, 0.3183], [0.3183, 1.0]], [[2.0, 0.3183], [0.3183, 2.0]])
    """
    backend = validation.choice("backend", backend, BACKENDS)
    if backend == "auto":
        backend = "cupy" if is_cupy_array(X1) else "numba"
    problem = _Problem(
        X1, X2, act, depth, (cw, cb, lw, lb), get, dtype, tol, residual, layer_norm, parametrization, widths
    )
    tile = validation.integer("tile", tile, minimum=1)
    if diag_only:
        return problem.of_inputs(per_layer)
    if backend != "numba":
        if per_layer or out is not None:
            raise ValueError(f"backend = {backend!r} with per_layer or out; allowed: backend = 'numba'")
        return problem.by_arrays(_on_card if backend == "cupy" else np.asarray)
    layers = (problem.rates.depth + 1,) if per_layer else ()
    shape = (*layers, len(problem.one.X), len(problem.two.X))
    targets = {name: _target(name, out, shape, problem.kind) for name in problem.get}
    starts = [range(0, size, tile) for size in shape[-2:]]
    corners = [(i, j) for i, j in itertools.product(*starts) if not problem.symmetric or j >= i]

    def compute(begin: int, end: int) -> None:
        for i, j in corners[begin:end]:
            rows, columns = slice(i, min(i + tile, shape[-2])), slice(j, min(j + tile, shape[-1]))
            for layer, K, T in problem.layers(rows, columns):
                if not per_layer and layer < problem.rates.depth:
                    continue
                for name, values in zip(KERNELS, (K, T), strict=True):
                    if name in targets:
                        _store(targets[name], values, rows, columns, layer if per_layer else None, problem.symmetric)

    with _libraries().limit(limits=1, user_api="blas"):
        spread(compute, len(corners))
    return Kernels(**targets)


def extend(kernels: Kernels, X_old: ArrayLike, X_new: ArrayLike, **arguments: Any) -> Kernels:
    """Return the kernels of old and new inputs together, of which those of old ones are taken over.

    Parameters
    ----------
    kernels : Kernels
        ``mlp_kernel(X_old, **arguments)``.
    X_old, X_new : array_like, shapes (N, d) and (n, d)
        Inputs.
    **arguments
        The same as those of the kernels; not ``out``, ``per_layer`` or ``diag_only``.

    Raises
    ------
    ValueError
        If the kernels are not those of so many inputs, or an argument is out of range.
    """
    for name in ("out", "per_layer", "diag_only", "X2"):
        if arguments.get(name):
            raise ValueError(f"{name} = {arguments[name]!r} is not for extend; allowed: other arguments of mlp_kernel")
    X_old = np.asarray(X_old)
    names = [name for name in KERNELS if getattr(kernels, name) is not None]
    for name in names:
        if np.shape(getattr(kernels, name)) != (len(X_old), len(X_old)):
            raise ValueError(f"{name} has shape {np.shape(getattr(kernels, name))}; allowed: {(len(X_old),) * 2}")
    arguments["get"] = names
    across, new = mlp_kernel(X_old, X_new, **arguments), mlp_kernel(X_new, **arguments)
    blocks = {name: [getattr(part, name) for part in (kernels, across, new)] for name in names}
    return Kernels(**{name: np.block([[old, side], [side.T, end]]) for name, (old, side, end) in blocks.items()})


def _on_card(X: NDArray[Any]) -> Any:
    if importlib.util.find_spec("cupy") is None:
        raise ImportError("backend = 'cupy' needs the package cupy; `pip install 'hebbian[gpu]'` brings it")
    cupy = importlib.import_module("cupy")
    try:
        return cupy.asarray(X)
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise ValueError(f"backend = 'cupy': no card answers ({error}); allowed: 'numba', 'numpy'") from error


@functools.cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


@dataclass(frozen=True)
class _Inputs:
    """Inputs, and per layer the kernels with themselves and the coefficients of the series."""

    X: NDArray[Any]
    diagonals: Diagonals
    vectors: list[NDArray[Any]]
    coefficients: list[Coefficients]


class _Problem:
    """Checked arguments of a kernel, and its tiles."""

    def __init__(
        self,
        X1: ArrayLike,
        X2: ArrayLike | None,
        act: str | Function | Activation,
        depth: int,
        numbers: tuple[Any, Any, Any, Any],
        get: str | Sequence[str],
        dtype: str,
        tol: float,
        residual: float,
        layer_norm: bool,
        parametrization: str,
        widths: Sequence[int] | None,
    ) -> None:
        depth = validation.integer("depth", depth, minimum=0)
        self.act = get_activation(act)
        self.get = kernel_names(get)
        self.kind = np.dtype(validation.choice("dtype", dtype, DTYPES))
        self.tol = validation.real("tol", tol, minimum=1e-13)
        inputs = [_checked("X1", X1)] + ([] if X2 is None else [_checked("X2", X2)])
        if len(inputs) == 2 and inputs[0].shape[1] != inputs[1].shape[1]:
            raise ValueError(f"X2 has {inputs[1].shape[1]} columns; allowed: those of X1, {inputs[0].shape[1]}")
        self.tangent = "ntk" in self.get
        if depth and self.tangent and self.act.name == "step":
            raise ValueError("get = 'ntk' with activation 'step': its slope is infinite; allowed: get = 'nngp'")
        self.symmetric = X2 is None
        rest = {"residual": residual, "layer_norm": layer_norm, "parametrization": parametrization, "widths": widths}
        self.inputs = inputs[0].shape[1]
        self.rates: Rates = layer_rates(depth, self.inputs, *numbers, **rest)  # type: ignore[arg-type]
        self._form = tiles.form_of(self.act)
        self._closed = closed_form(self.act)
        if self._closed is None:
            check_slope(self.act)
        norms = [np.einsum("ij,ij->i", X, X, dtype=np.float64) / self.inputs for X in inputs]
        both = [diagonals(values, self.act, self.rates, self.tangent) for values in norms]
        self._series = self._make_series(both) if self._closed is None else None
        parts = [self._prepared(X, values) for X, values in zip(inputs, both, strict=True)]
        self.one, self.two = parts[0], parts[-1]

    def _make_series(self, both: list[Diagonals]) -> list[MehlerSeries]:
        series = []
        for layer in range(self.rates.depth):
            q = np.concatenate([part.variances(self.rates, layer) for part in both])
            squares = np.concatenate([part.squares[layer] for part in both])
            slopes = np.concatenate([part.slopes[layer] for part in both])
            series.append(series_of(self.act, q, squares, slopes, self.tol))
        return series

    def _prepared(self, X: NDArray[Any], values: Diagonals) -> _Inputs:
        vectors, coefficients = [], []
        for layer in range(self.rates.depth):
            q = values.q[layer]
            root = np.sqrt(q)
            inverse = 1 / np.where(root > 0, root, np.inf)
            vectors.append(np.stack([q, root, inverse]).astype(self.kind))
            if self._series is not None:
                at = values.variances(self.rates, layer)
                coefficients.append(self._series[layer].coefficients(at, values.squares[layer], values.slopes[layer]))
        return _Inputs(np.ascontiguousarray(X, self.kind), values, vectors, coefficients)

    def of_inputs(self, per_layer: bool) -> Kernels:
        """Return the kernels of inputs with themselves."""
        own = self.one.diagonals
        values = {"nngp": own.q, "ntk": own.t}
        return Kernels(
            **{name: (values[name] if per_layer else values[name][-1]).astype(self.kind) for name in self.get}
        )

    def by_arrays(self, place: Callable[[NDArray[Any]], Any]) -> Kernels:
        """Return the kernels by functions of whole arrays, which live where `place` puts the inputs."""
        rates = self.rates
        weights = [Dense(*numbers) for numbers in zip(rates.cw, rates.cb, rates.lw, rates.lb, strict=True)]
        stack: list[Any] = [weights[0]]
        for layer, skip in zip(weights[1:], rates.skip[1:], strict=True):
            block = [*([LayerNorm()] if rates.layer_norm else []), Layer(self.act), layer]
            stack += [Residual(block, skip**0.5)] if skip > 0 else block
        X = [place(part.X) for part in (self.one, self.two)]
        return Network(stack, compiled=False).kernel(X[0], None if self.symmetric else X[1], self.get)

    def layers(self, rows: slice, columns: slice) -> Iterator[tuple[int, NDArray[Any], NDArray[Any]]]:
        """Yield the layer and both kernels of a tile, which are changed in place."""
        diagonal = self.symmetric and rows == columns
        rates, kind = self.rates, self.kind.type
        K = self.one.X[rows] @ self.two.X[columns].T
        T = np.empty((0, 0), kind)
        if self.tangent:
            T = K * kind(rates.lw[0] / self.inputs) + kind(rates.lb[0])
        K *= kind(rates.cw[0] / self.inputs)
        K += kind(rates.cb[0])
        nothing = np.empty((0, 0), kind)
        self._finish(K, T, rows, diagonal, 0)
        yield 0, K, T
        form, parameters = self._form or (tiles.GIVEN, (0.0, 0.0))
        for layer in range(rates.depth):
            one, two = (
                np.ascontiguousarray(part.vectors[layer][:, where])
                for part, where in ((self.one, rows), (self.two, columns))
            )
            given = (nothing, nothing) if self._form else self._given(layer, K, rows, columns, diagonal)
            numbers = rates.of_layer(layer + 1).astype(kind)
            tiles.layer(form, np.array(parameters, kind), K, T, one, two, numbers, diagonal, *given)
            self._finish(K, T, rows, diagonal, layer + 1)
            yield layer + 1, K, T

    def _finish(self, K: NDArray[Any], T: NDArray[Any], rows: slice, diagonal: bool, layer: int) -> None:
        """Complete a tile on the diagonal."""
        if not diagonal:
            return
        own = self.one.diagonals
        for values, exact in ((K, own.q), (T, own.t)):
            if values.size:
                upper = np.triu(values, 1)
                values[...] = upper + upper.T
                np.fill_diagonal(values, exact[layer, rows])

    def _given(self, layer: int, K: NDArray[Any], rows: slice, columns: slice, diagonal: bool) -> tuple[Any, Any]:
        """Return k and its derivative of a tile for activations without a compiled form."""
        own = (self.one, rows), (self.two, columns)
        q1, q2 = (part.diagonals.variances(self.rates, layer)[where] for part, where in own)
        inverse = [1 / np.sqrt(np.maximum(part.diagonals.q[layer][where], 1e-300)) for part, where in own]
        c = np.clip(K * inverse[0][:, None] * inverse[1], -1.0, 1.0)
        covariance = c * np.sqrt(q1[:, None] * q2)
        if self._closed is not None:
            return tuple(values.astype(self.kind) for values in self._closed(q1[:, None], q2, covariance))
        one, two = (part.coefficients[layer].at(where) for part, where in own)
        k, kdot = np.empty(K.shape), np.empty(K.shape)
        a1, a2 = np.ascontiguousarray(one.a), np.ascontiguousarray(two.a)
        tiles.series(a1, a2, c, one.first, one.stride, 1 / one.width, 1 / two.width, k, kdot)
        open_ = unsettled(one.at(slice(None), None), two, c, self.tol)
        if diagonal:
            open_ &= np.triu(np.ones(K.shape, bool), 1)
        if open_.any():
            i, j = np.nonzero(open_)
            k[i, j], kdot[i, j] = pair_duals(self.act, (q1[i], q2[j], covariance[i, j]), self.tol)
        return k.astype(self.kind), kdot.astype(self.kind)


def _checked(name: str, X: ArrayLike) -> NDArray[Any]:
    array = validation.finite(name, on_host(X), (None, None))
    if not array.size:
        raise ValueError(f"{name} has shape {array.shape}; allowed: at least one row and one column")
    return array


def _target(name: str, out: Kernels | None, shape: tuple[int, ...], kind: np.dtype[Any]) -> Any:
    if out is None:
        return np.empty(shape, kind)
    target = getattr(out, name)
    if getattr(target, "shape", None) != shape:
        raise ValueError(f"out.{name} has shape {getattr(target, 'shape', None)}; allowed: {shape}")
    return target


def _store(target: Any, values: NDArray[Any], rows: slice, columns: slice, layer: int | None, symmetric: bool) -> None:
    where = () if layer is None else (layer,)
    target[(*where, rows, columns)] = values
    if symmetric and rows != columns:
        target[(*where, columns, rows)] = values.T
