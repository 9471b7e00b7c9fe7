r"""Learning with random-feature attention: ridge and norm-constrained fits of the value vectors, learning curves.

Features are divided by the root of the number of heads (or units): their products then tend to the kernel of
`theory.attention_features` as heads are added, and the squared norm of the coefficients u is M times that of the value
vectors. Errors are mean squares over the variance of the labels.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.optimize import brentq

from hebbian import validation
from hebbian.attention_targets import Target, check_tokens, sample_tokens
from hebbian.nn.attention_features import RandomFeatureAttention, RandomFeatureMLP, ReluAttentionLayer
from sim import random

try:
    import torch
except ImportError as error:
    raise ImportError('torch is not installed; allowed: pip install "hebbian[nn]"') from error
from sim.training import one_thread, train

Array = NDArray[np.float64]
Layer = RandomFeatureAttention | RandomFeatureMLP

# Numbers that a layer holds at once while it computes features.
_CHUNK = 2**23
# Largest ratio by which ridge penalties below and above the scale of the data are tried for a norm.
_SPAN = 1e14


def draw_inputs(sizes: Sequence[int], N: int, d: int, seed: int) -> list[Array]:
    """Return sets of inputs of one seed, such as for training, validation and test.

    Parameters
    ----------
    sizes : sequence of int
        Number of inputs of each.
    N, d : int
        Keys and dimension of a token, at least 1.
    seed : int
        Seed, 0 to 2^64 - 1.

    Returns
    -------
    list of ndarray
        Shapes (size, N + 1, d); inputs of one set do not depend on the size of another.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.
    """
    return [sample_tokens(size, N, d, random.stream(seed, (index,), "patterns")) for index, size in enumerate(sizes)]


def scaled_features(layer: Layer, x: ArrayLike) -> Array:
    """Return the features of a layer over the root of its number of heads or units, in double precision.

    Parameters
    ----------
    layer : RandomFeatureAttention or RandomFeatureMLP
        Layer, in any precision.
    x : array_like
        Inputs, shape (n, N + 1, d).

    Returns
    -------
    ndarray, shape (n, p)

    Raises
    ------
    TypeError, ValueError, MemoryError
        If the inputs do not fit the layer, or the features do not fit in memory.
    """
    x = check_tokens(x, layer.d, unit=False)
    heads, width = (layer.n_units, 1) if isinstance(layer, RandomFeatureMLP) else (layer.n_heads, layer.d + 1)
    validation.memory(f"the features of {len(x)} inputs", 16.0 * len(x) * heads * width)
    out = np.empty((len(x), heads * width))
    step = max(1, _CHUNK // (heads * (2 * width + x.shape[1])))
    weight = layer.w if isinstance(layer, RandomFeatureMLP) else layer.W
    with torch.no_grad():
        for start in range(0, len(x), step):
            part = torch.as_tensor(x[start : start + step], dtype=weight.dtype, device=weight.device)
            out[start : start + step] = layer.features(part).cpu().numpy()
    return out / np.sqrt(heads)


def fit_ridge(features: ArrayLike, y: ArrayLike, lam: float) -> Array:
    r"""Return the coefficients that minimise :math:`|y - \Phi u|^2 + \lambda |u|^2`.

    Parameters
    ----------
    features : array_like
        Phi, shape (n, p); one p x p system is solved if n > p, else one n x n system.
    y : array_like
        Labels, shape (n,) or (n, targets).
    lam : float
        lambda, at least 0.

    Returns
    -------
    ndarray, shape (p,) or (p, targets)

    Raises
    ------
    TypeError, ValueError
        If a shape does not fit, an entry is not finite, lam is negative, or lam = 0 and the features are dependent.
    """
    phi, y = _data(features, y)
    return _Ridge(phi, y).coefficients(validation.real("lam", lam, minimum=0.0))


def fit_constrained(features: ArrayLike, y: ArrayLike, norm2: float) -> Array:
    r"""Return the coefficients that minimise :math:`|y - \Phi u|^2` subject to :math:`|u|^2 \le` norm2.

    The constraint is met by a ridge penalty, unless the fit of least squares and least norm meets it.

    Parameters
    ----------
    features : array_like
        Phi, shape (n, p).
    y : array_like
        Labels, shape (n,).
    norm2 : float
        Largest squared norm, above 0.

    Returns
    -------
    ndarray, shape (p,)

    Raises
    ------
    TypeError, ValueError
        If a shape does not fit, an entry is not finite, or norm2 is not positive.

    Examples
    --------
    >>> fit_constrained([[1.0, 0.0], [0.0, 1.0]], [3.0, 4.0], norm2=1.0).round(6).tolist()
    [0.6, 0.8]
    """
    phi, y = _data(features, y)
    if y.ndim != 1:
        raise ValueError(f"y has shape {y.shape}; allowed: ({len(phi)},)")
    norm2 = validation.real("norm2", norm2, above=0.0)
    left, s, right = np.linalg.svd(phi, full_matrices=False)
    projected = left.T @ y
    kept = s > s.max(initial=0.0) * max(phi.shape) * np.finfo(np.float64).eps
    s, projected, right = s[kept], projected[kept], right[kept]

    def excess(log_lam: float) -> float:
        return float(((s * projected / (s**2 + np.exp(log_lam))) ** 2).sum()) - norm2

    if ((projected / s) ** 2).sum() <= norm2:
        return right.T @ (projected / s)
    # At the larger end the norm is below that of s projected / lam.
    largest = np.log(max(np.linalg.norm(s * projected) / np.sqrt(norm2), s[0] ** 2))
    log_lam = brentq(excess, np.log(s[-1] ** 2 / _SPAN), largest, xtol=1e-12)
    return right.T @ (s * projected / (s**2 + np.exp(log_lam)))


def learning_curve(
    model: Callable[[int], Layer],
    target: Target | Sequence[Target],
    n_list: Sequence[int],
    lam_grid: Iterable[float],
    n_val: int,
    n_test: int,
    seeds: Sequence[int],
    *,
    N: int,
) -> xr.Dataset:
    """Measure the test error of ridge fits against the number of training inputs, with validated penalties.

    Training sets of one seed are nested; labels have no noise.

    Parameters
    ----------
    model : callable
        Makes the layer of a seed.
    target : Target or sequence of Target
        Functions to learn, of one dimension d.
    n_list : sequence of int
        Numbers of training inputs, at least 1.
    lam_grid : iterable of float
        Penalties to choose from by the error on the validation inputs, at least 0.
    n_val, n_test : int
        Validation and test inputs, at least 2.
    seeds : sequence of int
        Seeds of layer and inputs, a sample each.
    N : int
        Number of keys, at least 1.

    Returns
    -------
    xarray.Dataset
        Along (sample, target, n): ``error``, mean square on test inputs over the variance of their labels;
        ``absolute``, mean absolute error over their standard deviation; ``lam``, the penalty; ``norm2``, the squared
        norm of the coefficients.

    Raises
    ------
    TypeError, ValueError, MemoryError
        If an argument is out of range, or the features do not fit in memory.
    """
    targets = [target] if isinstance(target, Target) else list(target)
    if not targets or any(not isinstance(function, Target) or function.d != targets[0].d for function in targets):
        raise ValueError(f"target = {target!r}; allowed: one Target, or several of one dimension")
    n_list = [validation.integer("every n of n_list: n", n, minimum=1) for n in n_list]
    penalties = validation.axis("lam_grid", list(lam_grid), minimum=0.0).tolist()
    n_val, n_test = (validation.integer(name, n, minimum=2) for name, n in (("n_val", n_val), ("n_test", n_test)))
    shape = (len(seeds), len(targets), len(n_list))
    error, absolute, lam, norm2 = (np.empty(shape) for _ in range(4))
    for sample, seed in enumerate(seeds):
        layer = model(seed)
        inputs = draw_inputs((max(n_list), n_val, n_test), N, targets[0].d, seed)
        y, y_val, y_test = (np.stack([function(x) for function in targets], 1) for x in inputs)
        phi, phi_val, phi_test = (scaled_features(layer, x) for x in inputs)
        for at, n in enumerate(n_list):
            u, lam[sample, :, at] = _validated(phi[:n], y[:n], phi_val, y_val, penalties)
            predicted = phi_test @ u
            error[sample, :, at] = normalised_error(predicted, y_test)
            absolute[sample, :, at] = np.abs(predicted - y_test).mean(0) / y_test.std(0)
            norm2[sample, :, at] = (u**2).sum(0)
    dims = ("sample", "target", "n")
    return xr.Dataset(
        {
            "error": (dims, error, _label("mean square error over the variance of the labels")),
            "absolute": (dims, absolute, _label("mean absolute error over the standard deviation of the labels")),
            "lam": (dims, lam, _label("validated ridge penalty")),
            "norm2": (dims, norm2, _label("squared norm of the coefficients")),
        },
        {"sample": list(seeds), "n": n_list},
    )


def normalised_error(predicted: ArrayLike, y: ArrayLike) -> Array:
    """Return the mean square error over the variance of the labels, along the first axis."""
    predicted, y = np.asarray(predicted), np.asarray(y)
    return ((predicted - y) ** 2).mean(0) / y.var(0)


def train_attention(
    layer: ReluAttentionLayer,
    x: ArrayLike,
    y: ArrayLike,
    x_val: ArrayLike,
    y_val: ArrayLike,
    *,
    epochs: int = 100,
    rate: float = 1e-2,
    batch: int = 64,
    seed: int = 0,
) -> Array:
    """Train all parameters of an attention layer by Adam on the mean square error, and keep its best epoch.

    The rate falls to zero along a cosine. Labels are fitted in units of their root mean square, and the value vectors
    scaled back.

    Parameters
    ----------
    layer : ReluAttentionLayer
        Layer, which is trained in place.
    x, y : array_like
        Training inputs and labels, shapes (n, N + 1, d) and (n,).
    x_val, y_val : array_like
        Those by which the epoch is chosen.
    epochs, batch : int
        Passes through the training inputs, and inputs of a step, at least 1.
    rate : float
        Learning rate at first, above 0.
    seed : int
        Seed of the order of the inputs, 0 to 2^64 - 1.

    Returns
    -------
    ndarray, shape (epochs,)
        Normalised error on the validation inputs after each epoch.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or labels are all zero.
    """
    if not isinstance(layer, ReluAttentionLayer):
        raise TypeError(f"layer = {layer!r} is a {type(layer).__name__}; allowed: ReluAttentionLayer")
    epochs, batch = validation.integer("epochs", epochs, minimum=1), validation.integer("batch", batch, minimum=1)
    rate = validation.real("rate", rate, above=0.0)
    of: dict[str, Any] = {"dtype": layer.V.dtype, "device": layer.V.device}
    x, x_val = (check_tokens(tokens, layer.d, name, unit=False) for tokens, name in ((x, "x"), (x_val, "x_val")))
    y, y_val = validation.finite("y", y, (len(x),)), validation.finite("y_val", y_val, (len(x_val),))
    scale = float(np.sqrt((y**2).mean()))
    if scale == 0:
        raise ValueError("y is zero; allowed: labels that are not all zero")
    inputs, labels, inputs_val = torch.tensor(x, **of), torch.tensor(y / scale, **of), torch.tensor(x_val, **of)
    optimiser = torch.optim.Adam(layer.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * -(-len(x) // batch))
    errors: list[float] = []
    best: dict[str, torch.Tensor] = {}

    def loss(inputs: torch.Tensor, labels: torch.Tensor, *, generator: torch.Generator) -> torch.Tensor:
        return ((layer(inputs) - labels) ** 2).mean()

    def validate(epoch: int) -> dict[str, float]:
        with torch.no_grad():
            errors.append(float(normalised_error(scale * layer(inputs_val).cpu().numpy(), y_val)))
        if errors[-1] == min(errors):
            best.update({name: parameter.detach().clone() for name, parameter in layer.named_parameters()})
        return {"error": errors[-1]}

    options: dict[str, Any] = {"epochs": epochs, "batch_size": batch, "seed": seed}
    with one_thread():
        train(loss, (inputs, labels), optimiser, schedule=schedule, after_epoch=validate, **options)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            parameter.copy_(best[name] * (scale if name == "V" else 1.0))
    return np.array(errors)


class _Ridge:
    """The n x n or p x p system of ridge fits, whichever is smaller, for several penalties."""

    def __init__(self, phi: Array, y: Array) -> None:
        self._primal = len(phi) > phi.shape[1]
        self._phi = phi
        self._gram = phi.T @ phi if self._primal else phi @ phi.T
        self._right = phi.T @ y if self._primal else y

    def coefficients(self, lam: float) -> Array:
        """Return the coefficients of a penalty."""
        system = self._gram + lam * np.eye(len(self._gram))
        try:
            solved = cho_solve(cho_factor(system, lower=True, overwrite_a=True), self._right)
        except LinAlgError as error:
            raise ValueError(f"lam = {lam} leaves a singular system: {error}; allowed: larger ones") from error
        return solved if self._primal else self._phi.T @ solved


def _validated(phi: Array, y: Array, phi_val: Array, y_val: Array, penalties: list[float]) -> tuple[Array, Array]:
    """Return for each target the coefficients of the penalty of least validation error, and this penalty."""
    ridge = _Ridge(phi, y)
    best, chosen, least = np.zeros((phi.shape[1], y.shape[1])), np.zeros(y.shape[1]), np.full(y.shape[1], np.inf)
    for lam in penalties:
        u = ridge.coefficients(lam)
        errors = normalised_error(phi_val @ u, y_val)
        better = errors < least
        best[:, better], chosen[better], least[better] = u[:, better], lam, errors[better]
    return best, chosen


def _data(features: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    phi = validation.finite("features", features, (None, None)).astype(np.float64)
    shape = (len(phi),) if np.ndim(y) == 1 else (len(phi), None)
    return phi, validation.finite("y", y, shape).astype(np.float64)


def _label(long_name: str) -> dict[str, str]:
    return {"long_name": long_name, "units": "1"}
