r"""Fully connected networks in the parametrisation whose infinite width has a tangent kernel.

.. math::
    z_1 = \sqrt{c_w/d}\, W_1 x + \sqrt{c_b}\, b_1, \qquad
    z_{l+1} = \sqrt{c_w/n_l}\, W_{l+1} f(z_l) + \sqrt{c_b}\, b_{l+1} + \gamma z_l

with W and b standard normal at first (Jacot et al. 2018, arXiv:1806.07572). In the standard parametrisation the factors
are in the first values instead: W of variance :math:`c_w/n_l` and b of variance :math:`c_b` (Lee et al. 2019).
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hebbian import validation
from hebbian.activations import Activation, Function, get_activation

PARAMETRIZATIONS = ("ntk", "standard")


class NTKMLP(nn.Module):
    r"""A fully connected network, or several independent ones side by side.

    Parameters
    ----------
    d_in : int
        Dimension of an input, at least 1.
    widths : sequence of int
        Widths of the hidden layers, each at least 1; none: a linear network.
    d_out : int
        Number of outputs, at least 1.
    act : str, callable or Activation
        As `hebbian.activations.get_activation` takes it.
    cw, cb : float or sequence of float
        Variances of weights (times the number of inputs of a layer) and of biases, at least 0, for all layers or, from
        the first to the readout, for each.
    parametrization : {"ntk", "standard"}
        Whether variances multiply the parameters or are those of their first values.
    bias : bool
        Whether there are biases; without them `cb` has to be 0.
    residual : float
        Weight :math:`\gamma` of a path around each hidden layer but the first, which then have one width.
    members : int, optional
        Number M of networks: parameters, and outputs, have a leading axis of that length.
    device, dtype : optional
        As of any PyTorch module.

    Attributes
    ----------
    weights, biases : ParameterList
        Of layers, from the first to the readout, shapes (..., outputs, inputs) and (..., outputs).

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range; by a call, if inputs have another dimension.

    Examples
    --------
    >>> model = NTKMLP(3, [64, 64], 2, act="erf", members=5)
    >>> model(torch.ones(7, 3)).shape
    torch.Size([5, 7, 2])
    >>> model.kernel_spec()["depth"], model.kernel_spec()["cw"]
    (2, [1.0, 1.0, 1.0])
    """

    def __init__(
        self,
        d_in: int,
        widths: Sequence[int],
        d_out: int = 1,
        act: str | Function | Activation = "relu",
        cw: float | Sequence[float] = 1.0,
        cb: float | Sequence[float] = 0.0,
        parametrization: str = "ntk",
        bias: bool = True,
        residual: float = 0.0,
        *,
        members: int | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.d_in = validation.integer("d_in", d_in, minimum=1)
        self.widths = tuple(validation.integer("every width: width", width, minimum=1) for width in widths)
        self.d_out = validation.integer("d_out", d_out, minimum=1)
        self.act = get_activation(act)
        self.cw, self.cb = self._per_layer("cw", cw), self._per_layer("cb", cb)
        self.parametrization = validation.choice("parametrization", parametrization, PARAMETRIZATIONS)
        self.residual = validation.real("residual", residual)
        self.members = None if members is None else validation.integer("members", members, minimum=1)
        if not bias and any(self.cb):
            raise ValueError(f"cb = {cb} with bias = False; allowed: 0, or bias = True")
        if self.residual and len(set(self.widths)) > 1:
            raise ValueError(f"widths = {self.widths} with residual = {self.residual}; allowed: equal widths")
        lead = () if members is None else (members,)
        sizes = [self.d_in, *self.widths, self.d_out]
        facts = {"device": device, "dtype": dtype}
        self.weights = nn.ParameterList(
            nn.Parameter(torch.empty(*lead, n, m, **facts)) for m, n in itertools.pairwise(sizes)
        )
        self.biases = nn.ParameterList(nn.Parameter(torch.empty(*lead, n, **facts)) for n in sizes[1:] if bias)
        self.reset_parameters()

    def _per_layer(self, name: str, given: float | Sequence[float]) -> list[float]:
        layers = len(self.widths) + 1
        values = [given] * layers if np.ndim(given) == 0 else list(given)  # type: ignore[arg-type]
        if len(values) != layers:
            raise ValueError(f"{name} = {given} has {len(values)} values; allowed: a number or {layers} of them")
        return [validation.real(name, value, minimum=0.0) for value in values]

    def reset_parameters(self, rngs: Sequence[np.random.Generator] | None = None) -> None:
        """Draw all parameters.

        Parameters
        ----------
        rngs : sequence of numpy.random.Generator, optional
            Source of random numbers of each network; by default those of PyTorch.
        """
        groups = [(self.weights, self.weight_factors()), (self.biases, self.bias_factors())]
        for parameters, factors in groups:
            for parameter, factor in zip(parameters, factors, strict=False):
                std = 1.0 if self.parametrization == "ntk" else factor
                if rngs is None:
                    nn.init.normal_(parameter, std=std)
                    continue
                kind = np.float32 if parameter.dtype == torch.float32 else np.float64
                shape = parameter.shape if self.members is None else parameter.shape[1:]
                drawn = np.stack([rng.standard_normal(shape, kind) for rng in rngs])
                with torch.no_grad():
                    parameter.copy_(std * torch.from_numpy(drawn).reshape(parameter.shape))

    def weight_factors(self) -> list[float]:
        r"""Return :math:`\sqrt{c_w/n}` of each layer."""
        return [math.sqrt(c / n) for c, n in zip(self.cw, [self.d_in, *self.widths], strict=True)]

    def bias_factors(self) -> list[float]:
        r"""Return :math:`\sqrt{c_b}` of each layer."""
        return [math.sqrt(c) for c in self.cb]

    def layer(self, index: int, h: Tensor) -> Tensor:
        """Return what weights and biases of layer `index`, from 0, make of h, shape (..., N, inputs)."""
        z = h @ self.weights[index].mT
        z = z * self.weight_factors()[index] if self.parametrization == "ntk" else z
        if self.biases:
            bias = self.biases[index].unsqueeze(-2)
            z = z + (bias * self.bias_factors()[index] if self.parametrization == "ntk" else bias)
        return z

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs at x, shape (N, d_in): (N, d_out), or (M, N, d_out) of several networks."""
        return self.preactivations(x)[-1]

    def preactivations(self, x: Tensor) -> list[Tensor]:
        """Return what all layers give before the activation, from the first to the outputs."""
        if x.ndim < 2 or x.shape[-1] != self.d_in:
            raise ValueError(f"x has shape {tuple(x.shape)}; allowed: (N, {self.d_in})")
        z = [self.layer(0, x)]
        for index in range(1, len(self.weights)):
            new = self.layer(index, self.act.f(z[-1]))
            if self.residual and index < len(self.widths):
                new = new + self.residual * z[-1]
            z.append(new)
        return z

    def kernel_spec(self) -> dict[str, Any]:
        """Return what `theory.kernels.mlp_kernel` takes for the infinite width of this network.

        Learning rates of the parameters are equal; without biases they have none.
        """
        spec: dict[str, Any] = {
            "act": self.act,
            "depth": len(self.widths),
            "cw": list(self.cw),
            "cb": list(self.cb),
            "residual": self.residual,
            "parametrization": self.parametrization,
        }
        if self.parametrization == "standard":
            spec["widths"] = list(self.widths)
            spec["lb"] = 1.0 if self.biases else 0.0
        return spec

    def extra_repr(self) -> str:
        """Return what the network's line says in brackets."""
        sizes = ", ".join(map(str, (self.d_in, *self.widths, self.d_out)))
        several = "" if self.members is None else f", members={self.members}"
        return f"{sizes}, act={self.act.name!r}, parametrization={self.parametrization!r}{several}"
