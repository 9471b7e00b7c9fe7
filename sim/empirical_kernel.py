r"""Kernels of networks of finite width, measured from their parameters.

.. math::
    \hat\Theta(x, x') = \sum_p \frac{\partial f(x)}{\partial p} \frac{\partial f(x')}{\partial p}, \qquad
    \hat K(x, x') = f(x) f(x')

over the parameters p that require gradients. For fully connected networks the derivative by a matrix is a product of
what enters its layer, h, and of the derivative by what leaves it, D, so that the sum needs neither derivative in full
(Novak et al. 2022, arXiv:2206.08720):

.. math::
    \hat\Theta(x, x') = \sum_l \big(c_l\, h_l(x) \cdot h_l(x') + b_l\big)\, D_l(x) \cdot D_l(x') .

Needs PyTorch.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from hebbian import validation
from hebbian.nn import NTKMLP

METHODS = ("auto", "structured", "jacobian")
# Bytes that the derivatives of two blocks of inputs take at most.
MEMORY = 2**28

# What is kept of a block of inputs: tensors, and what is made of those of two blocks.
_Features = list[tuple[Tensor, ...]]


def empirical_ntk(
    model: nn.Module,
    X1: Tensor,
    X2: Tensor | None = None,
    trace_outputs: bool = True,
    method: str = "auto",
    memory: float = MEMORY,
) -> Tensor:
    r"""Return the tangent kernel of a network as it is.

    Parameters
    ----------
    model : torch.nn.Module
        Any module that takes inputs of shape (N, ...) and gives outputs (N, O), each of its own input alone.
        Parameters that do not require gradients are taken as frozen.
    X1, X2 : Tensor, shapes (N1, ...) and (N2, ...)
        Inputs, of the kind and on the device of the parameters; without X2 the kernel of X1 with itself.
    trace_outputs : bool
        Whether to return the mean over outputs of the kernel of an output with itself.
    method : {"auto", "structured", "jacobian"}
        "structured" is for `hebbian.nn.NTKMLP`; "jacobian" contracts the derivatives by all parameters.
    memory : float
        Bytes that derivatives may take, > 0; at least those of one pair of inputs are needed.

    Returns
    -------
    Tensor, shape (N1, N2), or (N1, N2, O, O)
        With a leading axis for the networks of an `NTKMLP` of several.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or the method is not for this module.
    """
    validation.choice("method", method, METHODS)
    memory = validation.real("memory", memory, above=0.0)
    if method == "structured" and not isinstance(model, NTKMLP):
        raise ValueError(f"method = 'structured' with a {type(model).__name__}; allowed: NTKMLP, or 'jacobian'")
    if method == "jacobian" and isinstance(model, NTKMLP) and model.members is not None:
        raise ValueError(f"method = 'jacobian' with {model.members} networks side by side; allowed: 'structured'")
    _check_inputs("X1", X1)
    if X2 is not None:
        _check_inputs("X2", X2)
    if isinstance(model, NTKMLP) and method != "jacobian":
        features, contract, numbers = _structured(model, trace_outputs)
    else:
        features, contract, numbers = _jacobian(model, X1, trace_outputs)
    rows = max(1, int(memory / (2 * numbers * X1.element_size())))
    with torch.no_grad():
        return _blocked(features, contract, rows, X1, X2, -1 if trace_outputs else -3)


def empirical_nngp(model: nn.Module, X1: Tensor, X2: Tensor | None = None) -> Tensor:
    r"""Return the mean over outputs of :math:`f(x) f(x')`, whose average over random networks is the NNGP kernel.

    Parameters
    ----------
    model : torch.nn.Module
        Any module that gives outputs of shape (..., N, O); a leading axis of several networks stays.
    X1, X2 : Tensor, shapes (N1, ...) and (N2, ...)
        Inputs; without X2 the kernel of X1 with itself.

    Returns
    -------
    Tensor, shape (..., N1, N2)

    Raises
    ------
    TypeError, ValueError
        If inputs are no tensors, or empty.
    """
    _check_inputs("X1", X1)
    if X2 is not None:
        _check_inputs("X2", X2)
    with torch.no_grad():
        one = model(X1)
        two = one if X2 is None else model(X2)
        return one @ two.mT / one.shape[-1]


def _check_inputs(name: str, X: Any) -> None:
    if not isinstance(X, Tensor):
        raise TypeError(f"{name} = {X!r} is a {type(X).__name__}; allowed: torch.Tensor")
    if X.ndim < 2 or not X.numel():
        raise ValueError(f"{name} has shape {tuple(X.shape)}; allowed: at least one input, (N, ...)")


def _blocked(
    features: Callable[[Tensor], _Features],
    contract: Callable[[_Features, _Features], Tensor],
    rows: int,
    X1: Tensor,
    X2: Tensor | None,
    columns: int,
) -> Tensor:
    """Return the kernel in blocks of so many inputs; `columns` is the axis of X2 in it, from the last."""
    others = X1 if X2 is None else X2
    strips: list[Tensor] = []
    for i in range(0, len(X1), rows):
        one, parts = features(X1[i : i + rows]), []
        for j in range(0, len(others), rows):
            if X2 is None and j < i:  # mirrored from above the diagonal
                part = strips[j // rows].narrow(columns, i, len(X1[i : i + rows])).transpose(columns, columns - 1)
                parts.append(part if columns == -1 else part.mT)
            else:
                parts.append(contract(one, one if X2 is None and i == j else features(others[j : j + rows])))
        strips.append(torch.cat(parts, columns))
    return torch.cat(strips, columns - 1)


def _structured(model: NTKMLP, trace_outputs: bool) -> tuple[Any, Any, int]:
    """Return what makes features of inputs, what makes a kernel of them, and the numbers of an input."""
    learn = [weight.requires_grad for weight in model.weights]
    learn_bias = [bias.requires_grad for bias in model.biases] or [False] * len(learn)
    ntk = model.parametrization == "ntk"
    weight_rates = [factor**2 if ntk else 1.0 for factor in model.weight_factors()]
    bias_rates = [factor**2 if ntk else 1.0 for factor in model.bias_factors()]
    last = len(model.weights) - 1

    def features(X: Tensor) -> _Features:
        z = model.preactivations(X)
        entering = [X, *(model.act.f(values) for values in z[:-1])]
        D = torch.eye(model.d_out, dtype=X.dtype, device=X.device)
        leaving = [D]
        for index in range(last, 0, -1):
            factor = model.weight_factors()[index] if ntk else 1.0
            passed = (D @ (factor * model.weights[index]).unsqueeze(-3)) * model.act.df(z[index - 1]).unsqueeze(-2)
            D = passed + model.residual * D if model.residual and index < last else passed
            leaving.insert(0, D)
        return list(zip(entering, leaving, strict=True))

    def gram(index: int, h1: Tensor, h2: Tensor) -> Tensor:
        products = weight_rates[index] * (h1 @ h2.mT) if learn[index] else h1.new_zeros(())
        return products + bias_rates[index] if learn_bias[index] else products

    def traced(one: _Features, two: _Features) -> Tensor:
        total: Any = 0.0
        for index, ((h1, D1), (h2, D2)) in enumerate(zip(one, two, strict=True)):
            if learn[index] or learn_bias[index]:
                signals = 1.0 if index == last else D1.flatten(-2) @ D2.flatten(-2).mT / model.d_out
                total = total + gram(index, h1, h2) * signals
        return total

    def of_outputs(one: _Features, two: _Features) -> Tensor:
        total: Any = 0.0
        for index, ((h1, D1), (h2, D2)) in enumerate(zip(one, two, strict=True)):
            if learn[index] or learn_bias[index]:
                signals = D1 if index == last else torch.einsum("...ioa,...jpa->...ijop", D1, D2)
                total = total + gram(index, h1, h2)[..., None, None] * signals
        return total

    numbers = (1 + model.d_out) * (model.d_in + sum(model.widths)) * (model.members or 1)
    return features, traced if trace_outputs else of_outputs, numbers


def _jacobian(model: nn.Module, X: Tensor, trace_outputs: bool) -> tuple[Any, Any, int]:
    """Return the same as `_structured` for any module, by derivatives with respect to all parameters."""
    learned = {name: value.detach() for name, value in model.named_parameters() if value.requires_grad}
    if not learned:
        raise ValueError("model has no parameter that requires gradients; allowed: at least one")
    rest = {name: value.detach() for name, value in model.named_parameters() if name not in learned}
    rest |= dict(model.named_buffers())

    def output(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(model, parameters | rest, (x.unsqueeze(0),)).squeeze(0)

    with torch.no_grad():
        d_out = math.prod(output(learned, X[0]).shape)
    derivative = torch.func.vmap(torch.func.jacrev(output), (None, 0))

    def features(X: Tensor) -> _Features:
        parts = derivative(learned, X).values()
        return [(part.reshape(len(X), d_out, -1),) for part in parts]

    def traced(one: _Features, two: _Features) -> Tensor:
        products: Any = [J1.flatten(1) @ J2.flatten(1).mT for (J1,), (J2,) in zip(one, two, strict=True)]
        return sum(products) / d_out

    def of_outputs(one: _Features, two: _Features) -> Tensor:
        products: Any = [torch.einsum("iop,jqp->ijoq", J1, J2) for (J1,), (J2,) in zip(one, two, strict=True)]
        return sum(products)

    numbers = d_out * sum(value.numel() for value in learned.values())
    return features, traced if trace_outputs else of_outputs, numbers
