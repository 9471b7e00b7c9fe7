"""The training loop that all layers share: minibatches, random streams, records, error bars over seeds."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hebbian import validation
from sim import random

try:
    import torch
except ImportError as error:
    raise ImportError('torch is not installed; allowed: pip install "hebbian[nn]"') from error

# What is minimised, or it with numbers to record.
Loss = torch.Tensor | tuple[torch.Tensor, Mapping[str, Any]]


def generator(seed: int, task: tuple[int, ...], purpose: str, replica: int = 0) -> torch.Generator:
    """Return a generator of PyTorch, on the CPU, for an address of `sim.random.stream`."""
    word = random.stream(seed, task, purpose, replica).integers(2**63)
    return torch.Generator().manual_seed(int(word))


@contextlib.contextmanager
def seeded(seed: int, task: tuple[int, ...] = (), purpose: str = "initial") -> Iterator[None]:
    """Give the address's numbers to what draws from PyTorch's own generator, such as a module's first parameters."""
    with torch.random.fork_rng():
        torch.manual_seed(int(random.stream(seed, task, purpose).integers(2**63)))
        yield


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch use one thread: sums over several threads round otherwise, and a run is to end the same anywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train(
    loss: Callable[..., Loss],
    data: Sequence[torch.Tensor],
    optimiser: torch.optim.Optimizer,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    task: tuple[int, ...] = (),
    device: Any = None,
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
    clip_norm: float | None = None,
    after_epoch: Callable[[int], Mapping[str, Any]] | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Minimise the mean of a loss over minibatches.

    Every epoch goes through all examples once, in an order of its own. Orders and the numbers that the loss draws are
    functions of the seed and the task alone.

    Parameters
    ----------
    loss : callable
        Called with a minibatch of each tensor of `data`, and the keyword ``generator``, from which (on the CPU) it
        draws what it needs; returns the loss, a scalar, or it and a mapping of numbers to record.
    data : sequence of Tensor
        Examples along the first axis, as many of each.
    optimiser : torch.optim.Optimizer
        Of the parameters to be trained.
    epochs : int
        Passes through the examples, at least 1.
    batch_size : int
        Examples in a minibatch, at least 1; the last of an epoch has what is left.
    seed : int
        Seed of the whole run, 0 to 2^64 - 1.
    task : tuple of int
        Address of this training within the run, entries >= 0.
    device : optional
        Where minibatches are taken to; by default they stay.
    schedule : torch.optim.lr_scheduler.LRScheduler, optional
        Of the optimiser; goes on after every minibatch.
    clip_norm : float, optional
        Largest norm of the gradient in all parameters together, above 0; a longer one is scaled down. Its norm before
        that is recorded as ``gradient_norm``.
    after_epoch : callable, optional
        Called with the number of each epoch, from 0; returns numbers to record.

    Returns
    -------
    dict of str to ndarray, shape (epochs,)
        ``loss`` and what else was recorded: means over the examples of an epoch.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.
    FloatingPointError
        If a loss, or a gradient that is to be clipped, is not finite; names epoch and batch. Parameters stay as
        they were before that step.
    """
    epochs = validation.integer("epochs", epochs, minimum=1)
    batch_size = validation.integer("batch_size", batch_size, minimum=1)
    if clip_norm is not None:
        clip_norm = validation.real("clip_norm", clip_norm, above=0.0)
    sizes = {len(tensor) for tensor in data}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(f"data has tensors of {sorted(sizes)} examples; allowed: one number >= 1")
    (count,) = sizes
    records: list[dict[str, float]] = []
    for epoch in range(epochs):
        # Streams of each epoch: one that is repeated alone has the same numbers.
        order = torch.randperm(count, generator=generator(seed, task, "batches", epoch))
        noise = generator(seed, task, "noise", epoch)
        sums: dict[str, float] = {}
        for batch, chosen in enumerate(order.split(batch_size)):
            parts = [tensor[chosen.to(tensor.device)].to(device) for tensor in data]
            for name, value in _step(loss, parts, optimiser, noise, clip_norm, (epoch, batch)).items():
                sums[name] = sums.get(name, 0.0) + value * len(chosen)
            if schedule is not None:
                schedule.step()
        record = {name: total / count for name, total in sums.items()}
        if after_epoch is not None:
            record |= {name: float(value) for name, value in after_epoch(epoch).items()}
        records.append(record)
    return {name: np.array([record[name] for record in records]) for name in records[0]}


def _step(
    loss: Callable[..., Loss],
    parts: list[torch.Tensor],
    optimiser: torch.optim.Optimizer,
    noise: torch.Generator,
    clip_norm: float | None,
    at: tuple[int, int],
) -> dict[str, float]:
    """Take one step; return what it records."""
    optimiser.zero_grad()
    result = loss(*parts, generator=noise)
    value, extra = result if isinstance(result, tuple) else (result, {})
    numbers = {"loss": value, **extra}
    _finite("loss", value, at)
    value.backward()
    if clip_norm is not None:
        numbers["gradient_norm"] = _clip(optimiser, clip_norm, at)
    optimiser.step()
    return {name: float(one.detach() if isinstance(one, torch.Tensor) else one) for name, one in numbers.items()}


def _clip(optimiser: torch.optim.Optimizer, clip_norm: float, at: tuple[int, int]) -> torch.Tensor:
    """Scale a long gradient down in place; return its norm before that."""
    named: dict[Any, torch.Tensor] = {}
    for group in optimiser.param_groups:
        # An optimiser knows names if it was given `named_parameters()`.
        numbers = range(len(named), len(named) + len(group["params"]))
        named |= zip(group.get("param_names", numbers), group["params"], strict=True)
    norm = torch.nn.utils.clip_grad_norm_(named.values(), clip_norm)
    if not math.isfinite(norm):
        for name, parameter in named.items():
            if parameter.grad is not None:
                _finite(f"norm of the gradient in parameter {name}", parameter.grad.norm(), at)
    return norm


def _finite(name: str, value: torch.Tensor, at: tuple[int, int]) -> None:
    number = float(value.detach())
    if not math.isfinite(number):
        raise FloatingPointError(f"{name} = {number} in epoch {at[0]}, batch {at[1]}; allowed: finite numbers")


def over_seeds(values: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard error of trainings with several seeds.

    Parameters
    ----------
    values : array_like, shape (seeds, ...)
        What each training gave; with one seed the error is NaN.

    Returns
    -------
    mean, error : ndarray, shape (...)
    """
    array = np.atleast_1d(validation.rectangular("values", values))
    array = validation.finite("values", array, (None,) * array.ndim)
    error = array.std(axis=0, ddof=1) / math.sqrt(len(array)) if len(array) > 1 else np.full(array.shape[1:], np.nan)
    return array.mean(axis=0), error
