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
from collections.abc import Sequence
from typing import Any

import numpy as np
from array_api_compat import is_cupy_array
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import ThreadpoolController

from hebbian import validation
from hebbian.activations import Activation, Function
from theory.kernels.kernels import KERNELS, Kernels
from theory.kernels.stack import Stack
from theory.threads import spread

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
        Error that is allowed, where the activation has no closed form, in each k and its derivative (`dual`). Pairs for
        which its series does not suffice, near-copies under a custom activation with kinks above all, take some
        hundredths of a second each.
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
    stack = Stack(X1, X2, act, depth, (cw, cb, lw, lb), get, dtype, tol, residual, layer_norm, parametrization, widths)
    tile = validation.integer("tile", tile, minimum=1)
    if diag_only:
        return stack.of_inputs(per_layer)
    if backend != "numba":
        if per_layer or out is not None:
            raise ValueError(f"backend = {backend!r} with per_layer or out; allowed: backend = 'numba'")
        return stack.by_arrays(_on_card if backend == "cupy" else np.asarray)
    layers = (stack.rates.depth + 1,) if per_layer else ()
    shape = (*layers, len(stack.one.X), len(stack.two.X))
    targets = {name: _target(name, out, shape, stack.kind) for name in stack.get}
    starts = [range(0, size, tile) for size in shape[-2:]]
    corners = [(i, j) for i, j in itertools.product(*starts) if not stack.symmetric or j >= i]

    def compute(begin: int, end: int) -> None:
        for i, j in corners[begin:end]:
            rows, columns = slice(i, min(i + tile, shape[-2])), slice(j, min(j + tile, shape[-1]))
            for layer, K, T in stack.layers(rows, columns, per_layer):
                for name, values in zip(KERNELS, (K, T), strict=True):
                    if name in targets:
                        _store(targets[name], values, rows, columns, layer if per_layer else None, stack.symmetric)

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
