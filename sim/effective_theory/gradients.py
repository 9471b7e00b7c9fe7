r"""What gradient descent does to random deep networks: the first change of their tangent kernel, and training.

Everything is differentiated by PyTorch; no recursion from layer to layer is used. Needs PyTorch.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

try:
    import torch
except ImportError as error:
    raise ImportError('torch is not installed; allowed: pip install "hebbian[nn]"') from error
from torch import Tensor
from torch.func import grad, jacrev, vmap

from hebbian import validation
from hebbian.activations import Activation, Function
from sim import random
from sim.effective_theory.statistics import Ensemble, check_ensemble
from sim.training import train

Array = NDArray[np.float64]
Layers = list[tuple[Tensor, Tensor]]

# Bytes of the weights of the networks that are differentiated side by side.
_BATCH_MEMORY = 2**24


@dataclass(frozen=True)
class Training:
    """How one network learned.

    Parameters
    ----------
    gradient : ndarray, shape (L,)
        Mean over inputs of the squared norm of the gradient of the loss by the preactivations of each layer, at first.
    steps : ndarray of int, shape (epochs + 1,)
        Steps after which was measured: none, and those of each epoch.
    loss, accuracy : ndarray, shape (epochs + 1,)
        Mean cross-entropy of the training inputs in nats, and fraction of test inputs that are put into their class.
    """

    gradient: Array
    steps: NDArray[np.int64]
    loss: Array
    accuracy: Array


def ntk_step_change(
    act: str | Function | Activation,
    L: int,
    n: int,
    C_W: float,
    C_b: float,
    K1: float,
    lambda_W: float = 1.0,
    lambda_b: float = 0.0,
    *,
    n_nets: int,
    n_out: int = 1,
    y: float = 0.0,
    seed: int,
    address: tuple[int, ...] = (),
) -> tuple[float, float]:
    r"""Measure the rate at which the mean tangent kernel changes as gradient descent begins.

    .. math::
        \frac{d}{d\eta} E H_{ii} \quad {\rm along} \quad
        \frac{d\theta_\mu}{d\eta} = -\lambda_\mu \partial_\mu \tfrac12 |z - y|^2

    at :math:`\eta = 0`, for one input.

    Parameters
    ----------
    act, L, n, C_W, C_b, K1, lambda_W, lambda_b
        As for `sim.effective_theory.sample_statistics`; widths are equal.
    n_nets : int
        Number of networks, at least 2.
    n_out : int
        Number of outputs, at least 1.
    y : float
        Target of all outputs.
    seed : int
        Seed of all networks.
    address : tuple of int
        Address of the random streams, besides the seed.

    Returns
    -------
    value, error : float
        Mean over outputs and networks, and its standard error.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or the activation jumps.
    """
    of = check_ensemble(act, L, n, C_W, C_b, K1, lambda_W, lambda_b, 0.0, n_out, least=1)
    n_nets, y = validation.integer("n_nets", n_nets, minimum=2), validation.real("y", y)
    if not of.act.continuous:
        raise ValueError(f"act = {of.act.name!r} jumps, its tangent kernel is infinite; allowed: continuous functions")
    batch = max(1, _BATCH_MEMORY // (8 * L * max(of.widths) ** 2))
    changes = []
    for i, begin in enumerate(range(0, n_nets, batch)):
        rng = random.stream(seed, (*address, i), "patterns")
        layers = _draw(rng, of, 1, min(batch, n_nets - begin))
        changes.append(vmap(lambda drawn: _change(of, drawn, y))(layers).numpy())
    values = np.concatenate(changes)
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(n_nets))


def train_classifier(
    X: ArrayLike,
    labels: ArrayLike,
    X_test: ArrayLike,
    labels_test: ArrayLike,
    *,
    act: str | Function | Activation = "tanh",
    L: int,
    n: int,
    C_W: float,
    C_b: float,
    rate: float,
    epochs: int,
    batch: int = 64,
    seed: int,
    address: tuple[int, ...] = (),
) -> Training:
    """Train a deep network on classes by stochastic gradient descent, from random weights.

    Parameters
    ----------
    X, X_test : array_like, shapes (N, d) and (N_test, d)
        Inputs; weights of the first layer have the variance C_W/d.
    labels, labels_test : array_like of int, shapes (N,) and (N_test,)
        Classes, from 0.
    act : str, callable or Activation
        As `hebbian.activations.get_activation` takes it.
    L, n : int
        Number of layers of weights, at least 1, and width of the hidden ones, at least 2.
    C_W, C_b : float
        Variance of a weight times the number of inputs of its layer, > 0; of a bias, at least 0.
    rate : float
        Learning rate of all parameters, > 0.
    epochs : int
        Passes through the training inputs, at least 0.
    batch : int
        Inputs of a step, at least 1.
    seed : int
        Seed of weights and of the order of inputs.
    address : tuple of int
        Address of the random streams, besides the seed.

    Returns
    -------
    Training

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range or shapes do not match.
    """
    data = [_inputs(name, x) for name, x in (("X", X), ("X_test", X_test))]
    classes = [_classes(*given) for given in (("labels", labels, data[0]), ("labels_test", labels_test, data[1]))]
    if data[0].shape[1] != data[1].shape[1]:
        raise ValueError(f"X_test has shape {tuple(data[1].shape)}; allowed: (any, {data[0].shape[1]})")
    n_out = int(max(c.max() for c in classes)) + 1
    of = check_ensemble(act, L, n, C_W, C_b, max(1.0, C_b), 1.0, 1.0, 0.0, n_out, least=1)
    rate, batch = validation.real("rate", rate, above=0.0), validation.integer("batch", batch, minimum=1)
    epochs = validation.integer("epochs", epochs, minimum=0)
    drawn = _draw(random.stream(seed, address, "patterns"), of, data[0].shape[1], None)
    parameters = [parameter.requires_grad_() for layer in drawn for parameter in layer]
    gradient = _gradients(of, drawn, data[0], classes[0])
    measured = [_measure(of, drawn, data, classes)]

    def loss(inputs: Tensor, labels: Tensor, *, generator: torch.Generator) -> Tensor:
        return torch.nn.functional.cross_entropy(_preactivations(of, drawn, inputs)[-1], labels)

    def after_epoch(epoch: int) -> dict[str, float]:
        measured.append(_measure(of, drawn, data, classes))
        return {}

    if epochs:
        options: dict[str, Any] = {"epochs": epochs, "batch_size": batch, "seed": seed, "task": address}
        optimiser = torch.optim.SGD(parameters, lr=rate)
        train(loss, (data[0], classes[0]), optimiser, after_epoch=after_epoch, **options)
    losses, accuracies = np.array(measured).T
    return Training(gradient, -(-len(data[0]) // batch) * np.arange(epochs + 1), losses, accuracies)


def _draw(rng: np.random.Generator, of: Ensemble, d: int, count: int | None) -> Layers:
    """Return random weights and biases of all layers for inputs of dimension d, of one network or side by side."""
    lead, layers = () if count is None else (count,), []
    for n_in, n_out in zip([d, *of.widths], of.widths, strict=False):
        W = math.sqrt(of.C_W / n_in) * rng.standard_normal((*lead, n_out, n_in))
        b = math.sqrt(of.C_b) * rng.standard_normal((*lead, n_out))
        layers.append((torch.from_numpy(W), torch.from_numpy(b)))
    return layers


def _preactivations(of: Ensemble, layers: Layers, x: Tensor) -> list[Tensor]:
    z: list[Tensor] = []
    for W, b in layers:
        z.append((x if not z else of.act.f(z[-1])) @ W.mT + b)
    return z


def _change(of: Ensemble, layers: Layers, y: float) -> Tensor:
    """Return the rate of change of the mean of H_ii of one network."""
    x = torch.full((1,), math.sqrt((of.K1 - of.C_b) / of.C_W), dtype=torch.float64)
    rates = [rate for W, _ in layers for rate in (of.lambda_W / W.shape[-1], of.lambda_b)]

    def outputs(given: Layers) -> Tensor:
        return _preactivations(of, given, x)[-1]

    def slopes(given: Layers) -> list[Tensor]:
        J: Any = jacrev(outputs)(given)
        return [slope for of_layer in J for slope in of_layer]

    def tangent(given: Layers) -> Tensor:
        squares = [rate * (J**2).sum() for J, rate in zip(slopes(given), rates, strict=True)]
        return torch.stack(squares).sum() / of.widths[-1]

    error = outputs(layers) - y
    steps = [-rate * torch.tensordot(error, J, 1) for J, rate in zip(slopes(layers), rates, strict=True)]
    gradient: Any = grad(tangent)(layers)
    parts = [slope for of_layer in gradient for slope in of_layer]
    return torch.stack([(part * step).sum() for part, step in zip(parts, steps, strict=True)]).sum()


def _gradients(of: Ensemble, layers: Layers, X: Tensor, labels: Tensor) -> Array:
    """Return the mean squared gradient of the loss of an input by the preactivations of each layer."""
    z = _preactivations(of, layers, X)
    loss = torch.nn.functional.cross_entropy(z[-1], labels, reduction="sum")
    return np.array([float((slope**2).sum(1).mean()) for slope in torch.autograd.grad(loss, z)])


@torch.no_grad()
def _measure(of: Ensemble, layers: Layers, data: list[Tensor], classes: list[Tensor]) -> tuple[float, float]:
    loss = torch.nn.functional.cross_entropy(_preactivations(of, layers, data[0])[-1], classes[0])
    right = _preactivations(of, layers, data[1])[-1].argmax(1) == classes[1]
    return float(loss), float(right.double().mean())


def _inputs(name: str, x: Any) -> Tensor:
    return torch.from_numpy(validation.finite(name, x, (None, None)).astype(np.float64))


def _classes(name: str, given: Any, inputs: Tensor) -> Tensor:
    labels = validation.rectangular(name, given)
    if labels.shape != (len(inputs),) or labels.dtype.kind not in "iu" or labels.min(initial=0) < 0:
        raise ValueError(
            f"{name} has shape {labels.shape}, dtype {labels.dtype}; allowed: ({len(inputs)},), integers >= 0"
        )
    return torch.from_numpy(labels.astype(np.int64))
