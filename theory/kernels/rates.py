r"""Variances and learning rates of the layers of a network, and its kernels between an input and itself.

A layer has weights of variance :math:`c_w/n` and biases of variance :math:`c_b`; its kernels are

.. math::
    K' = c_w k + c_b + \gamma^2 K, \qquad
    \Theta' = \lambda_w k + \lambda_b + (c_w \dot k + \gamma^2)\, \Theta .

In the NTK parametrisation :math:`\lambda = c`; in the standard one, with unit learning rate,
:math:`\lambda_w = n` and :math:`\lambda_b = 1`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hebbian import validation
from hebbian.activations import Activation
from theory.kernels.duals import dual_diag

Array = NDArray[np.float64]

PARAMETRIZATIONS = ("ntk", "standard")


@dataclass(frozen=True)
class Rates:
    r"""Numbers of the layers of a network.

    Parameters
    ----------
    cw, cb, lw, lb : ndarray, shape (L + 1,)
        Variances and learning rates of weights and biases, from the first layer to the readout.
    skip : ndarray, shape (L + 1,)
        :math:`\gamma^2`.
    layer_norm : bool
        Whether inputs of activations have unit variance.
    """

    cw: Array
    cb: Array
    lw: Array
    lb: Array
    skip: Array
    layer_norm: bool

    @property
    def depth(self) -> int:
        """Number of layers of activations, L."""
        return len(self.cw) - 1

    def of_layer(self, layer: int) -> Array:
        """Return the numbers of a layer as compiled code takes them."""
        parts = (self.cw, self.cb, self.lw, self.lb, self.skip)
        return np.array([*(part[layer] for part in parts), float(self.layer_norm)])


def layer_rates(
    depth: int,
    inputs: int,
    cw: object,
    cb: object,
    lw: object = None,
    lb: object = None,
    *,
    residual: object = 0.0,
    layer_norm: bool = False,
    parametrization: str = "ntk",
    widths: Sequence[int] | None = None,
) -> Rates:
    """Return the checked numbers of the layers; arguments are those of `theory.kernels.mlp_kernel`."""
    validation.choice("parametrization", parametrization, PARAMETRIZATIONS)
    variances = {"cw": _per_layer("cw", cw, depth), "cb": _per_layer("cb", cb, depth)}
    if parametrization == "ntk":
        if widths is not None:
            raise ValueError(f"widths = {widths} with parametrization = 'ntk'; allowed: widths with 'standard' alone")
        rates = {"lw": variances["cw"], "lb": variances["cb"]}
    else:
        if widths is None or len(widths) != depth:
            raise ValueError(f"widths = {widths}; allowed with parametrization = 'standard': {depth} widths")
        sizes = [inputs, *(validation.integer("widths", width, minimum=1) for width in widths)]
        rates = {"lw": np.array(sizes, dtype=float), "lb": np.ones(depth + 1)}
    for name, given in (("lw", lw), ("lb", lb)):
        if given is not None:
            rates[name] = _per_layer(name, given, depth)
    skip = np.zeros(depth + 1)
    skip[1:depth] = validation.real("residual", residual) ** 2
    return Rates(**variances, **rates, skip=skip, layer_norm=bool(layer_norm))


def _per_layer(name: str, given: object, depth: int) -> Array:
    values: Any = given if np.ndim(given) else [given] * (depth + 1)  # type: ignore[arg-type]
    if np.ndim(values) != 1 or len(values) != depth + 1:
        raise ValueError(f"{name} = {given} has {len(values)} values; allowed: a number or depth + 1 = {depth + 1}")
    return np.array([validation.real(name, value, minimum=0.0) for value in values])


@dataclass(frozen=True)
class Diagonals:
    r"""Kernels of inputs with themselves at all layers.

    Parameters
    ----------
    q, t : ndarray, shape (L + 1, N)
        K(x, x) and :math:`\Theta(x, x)`, from the first layer to the readout.
    squares, slopes : ndarray, shape (L, N)
        :math:`E f^2` and :math:`E f'^2`.
    """

    q: Array
    t: Array
    squares: Array
    slopes: Array

    def variances(self, rates: Rates, layer: int) -> Array:
        """Return the variances of the inputs of the activations of a layer."""
        return np.ones_like(self.q[layer]) if rates.layer_norm else self.q[layer]


def diagonals(norms: Array, act: Activation, rates: Rates, tangent: bool = True) -> Diagonals:
    r"""Return the kernels of inputs with themselves, exact to rounding.

    Parameters
    ----------
    norms : ndarray, shape (N,)
        :math:`|x|^2 / d`.
    act : Activation
        Function.
    rates : Rates
        Numbers of the layers.
    tangent : bool
        Whether :math:`\Theta` is wanted; if not, it is that of the first layer throughout.

    Raises
    ------
    ValueError
        If an input is 0 before a normalisation, or a variance overflows.
    """
    q, t = [rates.cw[0] * norms + rates.cb[0]], [rates.lw[0] * norms + rates.lb[0]]
    squares, slopes = np.empty((2, rates.depth, norms.size))
    for layer in range(rates.depth):
        if rates.layer_norm and q[-1].size and q[-1].min() <= 0:
            where = int(q[-1].argmin())
            raise ValueError(f"input {where} has variance 0 before a normalisation; allowed: > 0, or cb > 0")
        k, kdot = dual_diag(act, np.ones_like(q[-1]) if rates.layer_norm else q[-1])
        slope = kdot / q[-1] if rates.layer_norm else kdot
        cw, cb, lw, lb, skip, _ = rates.of_layer(layer + 1)
        t.append(lw * k + lb + (cw * slope + skip) * t[-1] if tangent else t[-1])
        q.append(cw * k + cb + skip * q[-1])
        squares[layer], slopes[layer] = k, kdot
        if not (np.isfinite(q[-1]).all() and np.isfinite(t[-1]).all()):
            raise ValueError(f"kernels overflow at layer {layer + 2}; allowed: smaller cw, depth or inputs")
    return Diagonals(np.array(q), np.array(t), squares, slopes)
