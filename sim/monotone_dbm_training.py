r"""Training of monotone deep Boltzmann machines, and of what they are compared with, on images with hidden pixels."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from hebbian import validation
from hebbian.fixed_point import solve_mean_field
from hebbian.nn import CompletionClassificationLoss, CompletionLoss, MeanFieldLayer, MeanFieldOutput
from hebbian.nn.group_layer import GroupLayer
from hebbian.potts import GroupLayout
from hebbian.prepared_coupling import PreparedCoupling
from sim import random, training
from sim.monotone_dbm import random_probabilities

# Starts that end further apart than this, in one probability, ended at two solutions.
_SEPARATION = 1e-2
# Norm of the free energy's gradient at which they have ended.
_GRADIENT = 1e-4


def complete(model: GroupLayer, levels: Tensor, observed: Tensor) -> tuple[Tensor, Tensor, MeanFieldOutput]:
    """Return a model's logits of all pixels, (B, *shape, k), and of the label, (B, labels), from the pixels observed.

    Parameters
    ----------
    model : GroupLayer
        Its first layer are the pixels, its last the label, which is hidden like all between.
    levels : Tensor of int, shape (B, *shape)
        Grey levels.
    observed : Tensor of bool, shape (B, *shape)
        Which pixels are observed.
    """
    G, k = model.layout.layers[0]
    rest = [None] * (len(model.layout.layers) - 1)
    dtype = next(model.parameters()).dtype
    pixels = one_hot(levels.reshape(-1, G), k).to(dtype)
    output = model((pixels, *rest), (observed.reshape(-1, G), *rest))
    parts = model.split(output.logits)
    return parts[0].reshape(*levels.shape, k), parts[-1][:, 0], output


def train_monotone_dbm(
    model: GroupLayer,
    loss: CompletionClassificationLoss,
    levels: NDArray[np.integer] | Tensor,
    classes: NDArray[np.integer] | Tensor,
    *,
    obs_level: float = 0.4,
    epochs: int = 40,
    batch_size: int = 128,
    lr: float = 1e-3,
    seed: int,
    task: tuple[int, ...] = (),
    device: Any = None,
) -> dict[str, NDArray[np.float64]]:
    """Train a model to complete images and tell their label, each pixel being observed by chance, by Adam.

    Parameters
    ----------
    model : GroupLayer
        `hebbian.nn.MonotoneDBM`, or another module on pixels as first and the label as last layer.
    loss : CompletionClassificationLoss
        Loss, whose parameters are trained too.
    levels : array of int, shape (n, *shape)
        Grey levels of images.
    classes : array of int, shape (n,)
        Labels.
    obs_level : float
        Probability that a pixel is observed, in [0, 1].
    epochs, batch_size : int
        As for `sim.training.train`.
    lr : float
        Learning rate, > 0.
    seed : int
        Seed of the whole run.
    task : tuple of int
        Address of this training within the run.
    device : optional
        Where it runs; model and loss are moved there.

    Returns
    -------
    dict of str to ndarray, shape (epochs,)
        ``loss``, its parts ``pixel`` and ``label``; ``unconverged``: minibatches whose solution was not found in time;
        ``lambda_min`` of the coupling after the epoch, NaN for a model that is no `MeanFieldLayer`.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range or does not fit the model.
    FloatingPointError
        If the loss is not finite.
    """
    obs_level = validation.real("obs_level", obs_level, minimum=0.0, maximum=1.0)
    lr = validation.real("lr", lr, above=0.0)
    model.to(device)
    loss.to(device)
    unconverged = 0

    def objective(levels: Tensor, classes: Tensor, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        nonlocal unconverged
        observed = (torch.rand(levels.shape, generator=generator) < obs_level).to(levels.device)
        with warnings.catch_warnings():
            # Counted below.
            warnings.simplefilter("ignore", RuntimeWarning)
            pixels, label, output = complete(model, levels, observed)
        unconverged += output.info is not None and not output.info.converged
        found: CompletionLoss = loss(pixels, label, levels, ~observed, classes)
        return found.total, {"pixel": float(found.pixel.detach()), "label": float(found.label.detach())}

    def after_epoch(_: int) -> Mapping[str, float]:
        nonlocal unconverged
        counted, unconverged = unconverged, 0
        smallest = model.prepared().lambda_min if isinstance(model, MeanFieldLayer) else np.nan
        return {"unconverged": counted, "lambda_min": smallest}

    optimiser = torch.optim.Adam([*model.parameters(), *loss.parameters()], lr=lr)
    return training.train(
        objective,
        (torch.as_tensor(levels), torch.as_tensor(classes)),
        optimiser,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        task=task,
        device=device,
        after_epoch=after_epoch,
    )


def completion(
    model: GroupLayer,
    loss: CompletionClassificationLoss,
    levels: NDArray[np.integer],
    observed: NDArray[np.bool_],
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the logarithms of a trained model's probabilities, of pixels (n, *shape, k) and of labels (n, labels).

    Parameters
    ----------
    model : GroupLayer
        Model.
    loss : CompletionClassificationLoss
        The loss that it was trained with.
    levels, observed : ndarray, shape (n, *shape)
        Grey levels, and which are observed.
    """
    device = next(model.parameters()).device
    with torch.no_grad():
        pixels, label, _ = complete(model, torch.as_tensor(levels).to(device), torch.as_tensor(observed).to(device))
        log_pixels, log_label = loss.log_probabilities(pixels, label)
    return log_pixels.cpu().numpy(), log_label.cpu().numpy()


def scores(
    log_pixels: NDArray[Any],
    log_label: NDArray[Any],
    levels: NDArray[np.integer],
    hidden: NDArray[np.bool_],
    classes: NDArray[np.integer],
) -> dict[str, float]:
    """Return how good predictions of hidden pixels and labels are.

    Parameters
    ----------
    log_pixels : ndarray, shape (n, pixels, k)
        Logarithms of the probabilities of grey levels.
    log_label : ndarray, shape (n, labels)
        Logarithms of those of labels.
    levels, hidden : ndarray, shape (n, pixels)
        Grey levels, and which are hidden.
    classes : ndarray of int, shape (n,)
        Labels.

    Returns
    -------
    dict of str to float
        Accuracy and cross-entropy (in nats) of hidden pixels and of labels; NaN for pixels if none is hidden.
    """
    found = np.take_along_axis(log_pixels, levels[..., None], -1)[..., 0]
    of_label = np.take_along_axis(log_label, classes[:, None], -1)
    right = log_pixels.argmax(-1) == levels
    return {
        "pixel_accuracy": float(right[hidden].mean()) if hidden.any() else np.nan,
        "pixel_cross_entropy": float(-found[hidden].mean()) if hidden.any() else np.nan,
        "label_accuracy": float((log_label.argmax(-1) == classes).mean()),
        "label_cross_entropy": float(-of_label.mean()),
    }


def solve_from_starts(
    coupling: NDArray[Any],
    bias: NDArray[Any],
    layout: GroupLayout,
    clamp: tuple[NDArray[np.bool_], NDArray[Any]],
    *,
    starts: int,
    seed: int,
    task: tuple[int, ...] = (),
    max_iter: int = 1000,
) -> dict[str, float]:
    """Return how many of the samples have several mean-field solutions, and on how many undamped iteration fails.

    Parameters
    ----------
    coupling, bias, layout
        Phi, shape (N, N), b, shape (N,), and the groups.
    clamp : (ndarray, ndarray)
        Which groups are observed, (B, n_groups), and vectors read there, (B, N).
    starts : int
        Starts from random probabilities for each sample, at least 2.
    seed : int
        Seed of the whole run.
    task : tuple of int
        Address of these starts.
    max_iter : int
        Largest number of steps of each method.

    Returns
    -------
    dict of str to float
        ``ambiguous``: fraction of samples of which two starts ended more than 0.01 apart in a probability;
        ``unsolved``: fraction of starts that had not ended; ``undamped_failures``: fraction of samples on which
        undamped iteration does not converge; ``lambda_min``, ``lambda_max``: the ends of the spectrum.
    """
    starts = validation.integer("starts", starts, minimum=2)
    prepared = PreparedCoupling(np.asarray(coupling, dtype=np.float64), layout)
    batch, unique = len(clamp[0]), prepared.lambda_max < 2
    tol = _GRADIENT / (2 - prepared.lambda_max) if unique else _GRADIENT
    rng = random.stream(seed, task, "initial")
    ends, unsolved = [], 0.0
    with warnings.catch_warnings():
        # What does not converge is counted.
        warnings.simplefilter("ignore", RuntimeWarning)
        method = "softmax_pr" if unique else "mirror"
        fields = np.tile(np.asarray(bias, dtype=np.float64), (batch, 1))
        for _ in range(starts):
            begin = random_probabilities(layout, batch, rng)
            solution = solve_mean_field(
                prepared, fields, layout, method=method, clamp=clamp, init=begin, tol=tol, max_iter=max_iter
            )
            done = solution.gradient <= _GRADIENT
            unsolved += float((~done).mean()) / starts
            ends.append(np.where(done[:, None], solution.q, np.nan))
        undamped = solve_mean_field(
            prepared, fields, layout, method="parallel", clamp=clamp, tol=tol, max_iter=max_iter
        )
        spread = np.nanmax(ends, axis=0) - np.nanmin(ends, axis=0)
    return {
        # Of samples that no start solved nothing is known.
        "ambiguous": float((np.nan_to_num(spread).max(axis=1) > _SEPARATION).mean()),
        "unsolved": unsolved,
        "undamped_failures": float((undamped.gradient > _GRADIENT).mean()),
        "lambda_min": prepared.lambda_min,
        "lambda_max": prepared.lambda_max,
    }


def train_by_contrastive_divergence(
    model: Any, levels: NDArray[np.integer], classes: NDArray[np.integer], *, lr: float, **options: Any
) -> dict[str, NDArray[np.float64]]:
    """Train a `sim.monotone_dbm_baselines.RestrictedBoltzmann` on whole images by Adam.

    Parameters
    ----------
    model : RestrictedBoltzmann
        Model.
    levels, classes : ndarray of int, shapes (n, pixels) and (n,)
        Grey levels and labels.
    lr : float
        Learning rate, > 0.
    **options
        Of `sim.training.train`.
    """
    data = torch.as_tensor(levels), torch.as_tensor(classes)
    model.start(*data)
    optimiser = torch.optim.Adam(model.parameters(), lr=validation.real("lr", lr, above=0.0))
    return training.train(model.surrogate, data, optimiser, **options)
