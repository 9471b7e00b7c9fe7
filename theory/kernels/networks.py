r"""Kernels of networks that are composed of layers: dense and convolutional, residual, normalised.

Where images are averaged over positions the kernels of all pairs of positions matter; where they are only flattened,
those of one position do (Arora et al. 2019). Kernels of every variable with itself are carried apart and put in where
they belong, as `theory.kernels.mlp_kernel` does. Arrays may be those of NumPy, with compiled activations, or of CuPy.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_numpy_array

from hebbian import validation
from hebbian.prepared_coupling import like, on_host
from theory.kernels import tiles
from theory.kernels.closed_forms import closed_form
from theory.kernels.duals import dual, dual_diag
from theory.kernels.kernels import KERNELS, Kernels, kernel_names
from theory.kernels.layers import Activation, Conv2d, Dense, Flatten, GlobalAvgPool, LayerNorm, Residual, check_layers

# Entries of the kernels of pairs that are held at a time.
_ENTRIES = 2_000_000


@dataclass(frozen=True)
class _State:
    """Kernels of pairs of variables, and of variables with themselves.

    Parameters
    ----------
    K, T : array
        NNGP and tangent kernel: of vectors (n1, n2); of images at one position (H, W, n1, n2), of all pairs of
        positions (n1, H, W, n2, H, W).
    q, t : (array, array)
        Both of the variables with themselves, for the first and the second inputs: (n,), (H, W, n) or (n, H, W).
    full : bool
        Whether there are all pairs of positions.
    same : bool
        Whether first and second inputs are the same.
    """

    K: Any
    T: Any
    q: tuple[Any, Any]
    t: tuple[Any, Any]
    full: bool
    same: bool

    def matrices(self) -> tuple[Any, ...]:
        """Return K, T, q1, q2 with rows and columns last."""
        if not self.full:
            return self.K, self.T, *self.q
        flat = [q.reshape(-1) for q in self.q]
        shape = tuple(len(q) for q in flat)
        return self.K.reshape(shape), self.T.reshape(shape), *flat

    def exact(self) -> "_State":
        """Return the state with the kernels of variables with themselves put in."""
        if not self.same:
            return self
        K, T, q, _ = self.matrices()
        index = array_namespace(K).arange(q.shape[-1])
        K[..., index, index], T[..., index, index] = q, self.t[0].reshape(q.shape)
        return replace(self, K=K.reshape(self.K.shape), T=T.reshape(self.T.shape))


class Network:
    r"""Network of infinite width.

    Parameters
    ----------
    layers : sequence
        Of `Dense`, `Conv2d`, `Activation`, `LayerNorm`, `Flatten`, `GlobalAvgPool`, `Residual`; with a convolution,
        first or in a residual, inputs are images.
    compiled : bool
        Whether activations of NumPy arrays are compiled where they can be; otherwise array functions compute them.

    Raises
    ------
    TypeError, ValueError
        If a layer does not fit on the one before.

    Examples
    --------
    >>> network = Network([Dense(2.0), Activation("relu"), Dense(2.0)])
    >>> network.kernel([[1.0, 0.0], [0.0, 1.0]]).ntk.round(4).tolist()
    [[2.0, 0.3183], [0.3183, 2.0]]
    """

    def __init__(self, layers: Sequence[Any], compiled: bool = True) -> None:
        self.layers = list(layers)
        if not self.layers:
            raise ValueError("layers is empty; allowed: at least one layer")
        self.of_images = any(isinstance(layer, (Conv2d, Flatten, GlobalAvgPool)) for layer in self.layers)
        if check_layers(self.layers, self.of_images)[0]:
            raise ValueError("the last layer leaves images; allowed: Flatten or GlobalAvgPool before the end")
        pools = [i for i, layer in enumerate(self.layers) if isinstance(layer, GlobalAvgPool)]
        self._pool = pools[0] if pools else None
        self._compiled = compiled

    def kernel(self, X1: Any, X2: Any = None, get: str | Sequence[str] = KERNELS) -> Kernels:
        """Return the kernels between inputs.

        Parameters
        ----------
        X1, X2 : array, shapes (N1, d) and (N2, d), or (N1, H, W, C) and (N2, H, W, C)
            Inputs, of NumPy or CuPy; without X2 the kernels of X1 with itself.
        get : {"nngp", "ntk"} or both
            What is wanted.

        Returns
        -------
        Kernels
            Of shape (N1, N2).

        Raises
        ------
        TypeError, ValueError
            If inputs do not fit the network or each other, or are not finite.
        """
        names = kernel_names(get)
        X = self._checked("X1", X1)
        Y = X if X2 is None else self._checked("X2", X2)
        if X.shape[1:] != Y.shape[1:]:
            raise ValueError(f"X2 has inputs of shape {tuple(Y.shape[1:])}; allowed: {tuple(X.shape[1:])}")
        xp = array_namespace(X, Y)
        pooled = self._pooled(X), self._pooled(Y) if X2 is not None else None
        positions = math.prod(X.shape[1:-1]) ** (1 if self._pool is None else 2)
        block = max(1, math.isqrt(_ENTRIES // positions))
        out = {name: xp.zeros((len(X), len(Y)), dtype=X.dtype) for name in names}
        for i, j in itertools.product(range(0, len(X), block), range(0, len(Y), block)):
            if X2 is None and j < i:
                continue
            one, two = slice(i, i + block), slice(j, j + block)
            parts = _part(pooled[0], one), _part(pooled[X2 is not None], two)
            state = self._run(self.layers, self._begin(X[one], Y[two], X2 is None and i == j), parts)
            for name, values in zip(KERNELS, (state.K, state.T), strict=True):
                if name in out:
                    # Sums over positions may be rounded differently above and below the diagonal.
                    out[name][one, two] = (values + values.T) / 2 if state.same else values
                    if X2 is None and i != j:
                        out[name][two, one] = values.T
        return Kernels(**out)

    def diag(self, X: Any) -> Kernels:
        """Return the kernels of inputs with themselves, shape (N,); X is as `kernel` has it."""
        X = self._checked("X", X)
        nobody = X[:0]
        parts = self._pooled(X), self._pooled(nobody)
        state = self._run(self.layers, self._begin(X, nobody, False), parts)
        return Kernels(nngp=state.q[0], ntk=state.t[0])

    def _checked(self, name: str, X: Any) -> Any:
        shape = (None,) * (4 if self.of_images else 2)
        host = validation.finite(name, on_host(X), shape)
        if not host.size:
            raise ValueError(f"{name} has shape {host.shape}; allowed: at least one input, of one number or more")
        return host if not hasattr(X, "dtype") or is_numpy_array(X) else X

    def _begin(self, X: Any, Y: Any, same: bool) -> _State:
        xp, channels = array_namespace(X, Y), X.shape[-1]
        q = tuple(xp.sum(Z * Z, axis=-1) / channels for Z in (X, Y))
        if not self.of_images:
            K = X @ Y.T
        elif self._pool is None:
            K = xp.permute_dims(X, (1, 2, 0, 3)) @ xp.permute_dims(Y, (1, 2, 3, 0))
            q = tuple(xp.permute_dims(part, (1, 2, 0)) for part in q)
        else:
            K = (X.reshape((-1, channels)) @ Y.reshape((-1, channels)).T).reshape((*X.shape[:-1], *Y.shape[:-1]))
        K = K / channels
        t = tuple(xp.zeros_like(part) for part in q)
        return _State(K, xp.zeros_like(K), q, t, self._pool is not None, same).exact()

    def _run(self, layers: Sequence[Any], state: _State, pooled: tuple[Any, Any]) -> _State:
        for layer in layers:
            if isinstance(layer, (Dense, Conv2d)):
                state = _weights(layer, state)
            elif isinstance(layer, Activation):
                state = self._activation(layer, state)
            elif isinstance(layer, LayerNorm):
                state = _normalised(state)
            elif isinstance(layer, Residual):
                inner, skip = self._run(layer.inner, state, pooled), layer.gamma**2
                if inner.K.shape != state.K.shape:
                    raise ValueError(
                        f"inner layers of Residual change the size of images; allowed: one of {state.K.shape}"
                    )
                state = replace(
                    state,
                    K=inner.K + skip * state.K,
                    T=inner.T + skip * state.T,
                    q=tuple(a + skip * b for a, b in zip(inner.q, state.q, strict=True)),
                    t=tuple(a + skip * b for a, b in zip(inner.t, state.t, strict=True)),
                )
            else:
                state = _without_positions(state, pooled)
            state = state.exact()
        return state

    def _activation(self, layer: Activation, state: _State) -> _State:
        act, form = layer.act, closed_form(layer.act)
        own = [_own_duals(act, q) for q in state.q]
        t = tuple(kdot * t for (_, kdot), t in zip(own, state.t, strict=True))
        K, T, q1, q2 = state.matrices()
        compiled = tiles.form_of(act) if self._compiled and is_numpy_array(K) else None
        if compiled:
            K, T = _compiled_activation(*compiled, K, T, q1, q2)
        else:
            pairs = q1[..., :, None], q2[..., None, :]
            if form is not None:
                k, kdot = form(*pairs, K)
            else:
                one, two, both = (on_host(values) for values in (*pairs, K))
                limit = np.sqrt(one * two)
                k, kdot = (like(values, K) for values in dual(act, one, two, np.clip(both, -limit, limit)))
            K, T = k, kdot * T
        q = tuple(k for k, _ in own)
        return replace(state, K=K.reshape(state.K.shape), T=T.reshape(state.T.shape), q=q, t=t)

    def _pooled(self, X: Any) -> Any:
        """Return both kernels of averages over positions with themselves, shape (2, N), where there are averages."""
        if self._pool is None:
            return None
        xp = array_namespace(X)
        out = xp.empty((2, len(X)), dtype=X.dtype)
        for i in range(len(X)):
            state = self._begin(X[i : i + 1], X[i : i + 1], True)
            state = self._run(self.layers[: self._pool], state, (None, None))
            out[0, i], out[1, i] = xp.mean(state.K), xp.mean(state.T)
        return out


def _part(pooled: Any, where: slice) -> Any:
    return None if pooled is None else pooled[:, where]


def _own_duals(act: Any, q: Any) -> tuple[Any, Any]:
    form = closed_form(act)
    if form is not None:
        return form(q, q, q)
    k, kdot = dual_diag(act, on_host(q))
    return like(k, q), like(kdot, q)


def _compiled_activation(
    form: int, parameters: tuple[float, float], K: Any, T: Any, q1: Any, q2: Any
) -> tuple[Any, Any]:
    """Return the kernels behind an activation, of matrices or of a batch of them."""
    kind = K.dtype
    K, T = K.copy(), T.copy()
    numbers, nothing = np.array([[1, 0, 0, 0, 0, 0]], kind), np.empty((1, 0), kind)
    vectors = []
    for q in (q1, q2):
        root = np.sqrt(q)
        vectors.append(np.stack([q, root, 1 / np.where(root > 0, root, np.inf)])[None])
    for where in np.ndindex(K.shape[:-2]):
        one, two = (np.ascontiguousarray(part[(slice(None), slice(None), *where)]) for part in vectors)
        tiles.layers(
            form, np.array(parameters, kind), K[where], T[where], nothing[0], one, two, numbers, False, nothing, nothing
        )
    return K, T


def _weights(layer: Dense | Conv2d, state: _State) -> _State:
    """Return the state behind weights: windows are summed, at both ends of a pair by one offset."""
    parts = {"K": state.K, "T": state.T}
    sums = {name: _windows(layer, values, state.full, True) for name, values in parts.items()}
    own = {name: [_windows(layer, values, state.full, False) for values in getattr(state, name)] for name in ("q", "t")}
    size = math.prod(layer.filter_sizes) if isinstance(layer, Conv2d) else 1
    cw, cb = layer.cw / size, layer.cb
    lw = cw if layer.lw is None else layer.lw / size
    lb = cb if layer.lb is None else layer.lb
    return replace(
        state,
        K=cw * sums["K"] + cb,
        T=lw * sums["K"] + lb + cw * sums["T"],
        q=tuple(cw * q + cb for q in own["q"]),
        t=tuple(lw * q + lb + cw * t for q, t in zip(own["q"], own["t"], strict=True)),
    )


def _windows(layer: Dense | Conv2d, values: Any, full: bool, pairs: bool) -> Any:
    """Return the sums over the positions that a filter covers."""
    if not isinstance(layer, Conv2d):
        return values
    xp = array_namespace(values)
    for dimension in (0, 1):
        axes = [dimension + full] + ([dimension + 4] if full and pairs else [])
        total = 0.0
        for row in layer.sources(dimension, values.shape[axes[0]]):
            part = values
            for axis in axes:
                part = xp.take(part, xp.asarray([max(at, 0) for at in row]), axis=axis)
                if min(row) < 0:
                    shape = [len(row) if at == axis else 1 for at in range(part.ndim)]
                    part = part * xp.asarray([float(at >= 0) for at in row], dtype=part.dtype).reshape(shape)
            total = total + part
        values = total
    return values


def _normalised(state: _State) -> _State:
    if min(float(q.min()) for q in state.q if q.size) <= 0:
        raise ValueError("an input has variance 0 before LayerNorm; allowed: > 0, or cb > 0")
    K, T, q1, q2 = state.matrices()
    xp = array_namespace(K)
    scale = 1 / xp.sqrt(q1[..., :, None] * q2[..., None, :])
    units = tuple(xp.ones_like(q) for q in state.q)
    t = tuple(t / q for t, q in zip(state.t, state.q, strict=True))
    return replace(state, K=(K * scale).reshape(state.K.shape), T=(T * scale).reshape(state.T.shape), q=units, t=t)


def _without_positions(state: _State, pooled: tuple[Any, Any]) -> _State:
    """Return the state of flattened images, or of averages over positions, of which kernels are given."""
    xp = array_namespace(state.K)
    if state.full:
        K, T = (xp.mean(values, axis=(1, 2, 4, 5)) for values in (state.K, state.T))
        q, t = ((pooled[0][i], pooled[1][i]) for i in (0, 1))
        return _State(K, T, q, t, False, state.same)
    K, T = (xp.mean(values, axis=(0, 1)) for values in (state.K, state.T))
    q, t = (tuple(xp.mean(values, axis=(0, 1)) for values in pair) for pair in (state.q, state.t))
    return _State(K, T, q, t, False, state.same)
