"""Tiles of the kernels of a fully connected network: of some inputs with some others, layer after layer."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hebbian import validation
from hebbian.activations import Activation, Function, get_activation
from hebbian.prepared_coupling import on_host
from theory.kernels import tiles
from theory.kernels.closed_forms import closed_form
from theory.kernels.duals import check_slope, pair_duals, series_of
from theory.kernels.kernels import Kernels, kernel_names
from theory.kernels.layers import Activation as Layer
from theory.kernels.layers import Dense, LayerNorm, Residual
from theory.kernels.mehler import Coefficients, MehlerSeries, unsettled
from theory.kernels.networks import Network
from theory.kernels.rates import Diagonals, Rates, diagonals, layer_rates

DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class _Inputs:
    """Inputs, and per layer the kernels with themselves and the coefficients of the series."""

    X: NDArray[Any]
    diagonals: Diagonals
    vectors: NDArray[Any]
    coefficients: list[Coefficients]


class Stack:
    """Fully connected network between given inputs: checked arguments of `theory.kernels.mlp_kernel`, and tiles."""

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
        vectors, coefficients = np.empty((self.rates.depth, 3, len(X)), self.kind), []
        for layer in range(self.rates.depth):
            q = values.q[layer]
            root = np.sqrt(q)
            inverse = 1 / np.where(root > 0, root, np.inf)
            vectors[layer] = q, root, inverse
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

    def layers(self, rows: slice, columns: slice, every: bool) -> Iterator[tuple[int, NDArray[Any], NDArray[Any]]]:
        """Yield the layer and both kernels of a tile, which change in place: of every layer, or of the readout."""
        diagonal = self.symmetric and rows == columns
        rates, kind, depth = self.rates, self.kind.type, self.rates.depth
        K = self.one.X[rows] @ self.two.X[columns].T
        T = np.empty(K.shape if self.tangent else (0, 0), kind)
        form, parameters = self._form or (tiles.GIVEN, (0.0, 0.0))
        numbers = np.array([rates.of_layer(layer) for layer in range(depth + 1)]).astype(kind)
        start = numbers[0, :4] * np.array([1 / self.inputs, 1, 1 / self.inputs, 1], kind)
        one, two = (
            np.ascontiguousarray(self.one.vectors[..., rows]),
            np.ascontiguousarray(self.two.vectors[..., columns]),
        )
        nothing = np.empty((0, 0), kind)
        # The first layer alone, then one by one; or all at once.
        ends = range(depth + 1) if every or not self._form else [depth]
        begin = 0
        for end in ends:
            given = self._given(begin, K, rows, columns, diagonal) if end and not self._form else (nothing, nothing)
            part = slice(begin, end)
            tiles.layers(
                form,
                np.array(parameters, kind),
                K,
                T,
                start if end == ends[0] else start[:0],
                one[part],
                two[part],
                numbers[1:][part],
                diagonal,
                *given,
            )
            self._finish(K, T, rows, diagonal, end)
            begin = end
            if every or end == depth:
                yield end, K, T

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
