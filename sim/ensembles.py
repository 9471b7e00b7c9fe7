r"""Ensembles of networks of finite width, trained side by side by gradient descent on all data.

Each network minimises half the sum of squared errors over the training set. Its first parameters come from its own
random stream, so that it is the same network whatever the others. Needs PyTorch.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from hebbian import validation
from hebbian.nn import NTKMLP
from sim import random
from sim.empirical_kernel import empirical_ntk

DTYPES = {"float32": torch.float32, "float64": torch.float64}
TRAINED = ("all", "readout")
# Bytes that the networks of a batch take at most, by default: what stays in the caches is faster.
_BATCH_MEMORY = 2**26


@dataclass(frozen=True)
class Ensemble:
    r"""What a training measured; arrays are of the kind that was trained in.

    Parameters
    ----------
    steps : ndarray of int, shape (T,)
        Steps after which was measured; the time of gradient flow is ``lr * steps``.
    lr : float
        Learning rate.
    outputs : ndarray, shape (M, T, Ns, O)
        Outputs of each network at the test inputs.
    loss : ndarray, shape (M, T)
        Half the sum of squared errors.
    drift : ndarray, shape (M, T)
        :math:`\lVert\hat\Theta_t - \hat\Theta_0\rVert_F / \lVert\hat\Theta_0\rVert_F` of the tangent kernel (mean over
        outputs) at the training inputs; NaN if it was not asked for.
    residual : ndarray, shape (M,)
        Largest error of a training output at the end.
    taken : ndarray of int, shape (M,)
        Steps that each network was trained for.
    """

    steps: NDArray[np.int64]
    lr: float
    outputs: NDArray[Any]
    loss: NDArray[Any]
    drift: NDArray[Any]
    residual: NDArray[Any]
    taken: NDArray[np.int64]


def train_ensemble(
    spec: Mapping[str, Any],
    X: ArrayLike,
    Y: ArrayLike,
    Xs: ArrayLike,
    n_members: int,
    *,
    steps: int,
    lr: float | None = None,
    tol: float = 0.0,
    record_at: Sequence[int] | None = None,
    trained: str = "all",
    drift: bool = True,
    batch: int | None = None,
    dtype: str = "float32",
    device: Any = None,
    seed: int,
    address: tuple[int, ...] = (),
) -> Ensemble:
    r"""Train networks by gradient descent.

    Parameters
    ----------
    spec : mapping
        Arguments of `hebbian.nn.NTKMLP`, without ``members``, ``device`` and ``dtype``.
    X, Y : array_like, shapes (N, d) and (N, O)
        Training inputs and targets.
    Xs : array_like, shape (Ns, d)
        Test inputs.
    n_members : int
        Number M of networks, at least 1.
    steps : int
        Most steps, at least 0.
    lr : float, optional
        Learning rate > 0, the same for all networks; by default one over the largest eigenvalue of the tangent kernel
        (mean over outputs) of the first network at the training inputs.
    tol : float
        A network whose errors are all at most this one is trained no further; 0: all steps are made.
    record_at : sequence of int, optional
        Steps, rising from 0 to `steps`, after which is measured; by default the last alone. Networks that are trained
        no further stay as they are.
    trained : {"all", "readout"}
        Which layers.
    drift : bool
        Whether to measure the drift of the tangent kernel.
    batch : int, optional
        Networks that are trained at a time; by default what fits in about 64 MiB. Of the results the last digits alone
        depend on it.
    dtype : {"float32", "float64"}
        Precision, also of the random numbers: networks of different precision are different ones.
    device : optional
        Where to train, as PyTorch names it.
    seed : int
        Seed of the first parameters.
    address : tuple of int
        Further part of the address of their streams, see `sim.random`.

    Returns
    -------
    Ensemble

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.
    FloatingPointError
        If the learning rate lets a network diverge.

    Examples
    --------
    >>> spec = {"d_in": 2, "widths": [64], "d_out": 1}
    >>> X = [[1.0, 0.0], [0.0, 1.0]]
    >>> made = train_ensemble(spec, X, [[1.0], [0.0]], X, 3, steps=200, tol=1e-3, seed=0)
    >>> made.outputs.shape, bool((made.residual <= 1e-3).all())
    ((3, 1, 2, 1), True)
    """
    n_members = validation.integer("n_members", n_members, minimum=1)
    steps = validation.integer("steps", steps, minimum=0)
    if lr is not None:
        lr = validation.real("lr", lr, above=0.0)
    tol = validation.real("tol", tol, minimum=0.0)
    records = _check_records(record_at, steps)
    validation.choice("trained", trained, TRAINED)
    kind = DTYPES[validation.choice("dtype", dtype, DTYPES)]
    single = NTKMLP(**spec, dtype=kind)
    inputs, targets, tests = (
        torch.tensor(validation.finite(name, values, (None, size)), dtype=kind, device=device)
        for name, values, size in (("X", X, single.d_in), ("Y", Y, single.d_out), ("Xs", Xs, single.d_in))
    )
    if not len(inputs) or len(inputs) != len(targets):
        raise ValueError(f"X and Y have {len(inputs)} and {len(targets)} rows; allowed: equal numbers, at least 1")
    batch = _batch(single, len(inputs)) if batch is None else validation.integer("batch", batch, minimum=1)
    networks = functools.partial(_networks, spec, trained, kind, device, seed, address)
    lr = _rate(networks([0]), inputs) if lr is None else lr
    members = [range(i, min(i + batch, n_members)) for i in range(0, n_members, batch)]
    made = [_train(networks(some), inputs, targets, tests, lr, tol, records, drift) for some in members]
    outputs, loss, moved, residual, taken = (np.concatenate(parts) for parts in zip(*made, strict=True))
    return Ensemble(records, lr, outputs, loss, moved, residual, taken)


def _check_records(record_at: Sequence[int] | None, steps: int) -> NDArray[np.int64]:
    given = [steps] if record_at is None else list(record_at)
    records = [validation.integer("record_at", step, minimum=0, maximum=steps) for step in given]
    if not records or sorted(set(records)) != records:
        raise ValueError(f"record_at = {given}; allowed: at least one step, rising")
    return np.array(records, dtype=np.int64)


def _batch(model: NTKMLP, n: int) -> int:
    """Return how many networks are trained at a time by default."""
    # Parameters and their gradients; activations, twice, and what autograd keeps of them.
    numbers = 2 * sum(p.numel() for p in model.parameters()) + 5 * n * sum(model.widths)
    return max(1, int(_BATCH_MEMORY / (numbers * next(model.parameters()).element_size())))


def _networks(
    spec: Mapping[str, Any],
    trained: str,
    kind: torch.dtype,
    device: Any,
    seed: int,
    address: tuple[int, ...],
    members: Sequence[int],
) -> NTKMLP:
    """Return the networks of some numbers, as they are at first."""
    model = NTKMLP(**spec, members=len(members), dtype=kind, device=device)
    model.reset_parameters([random.stream(seed, (*address, member), "initial") for member in members])
    if trained == "readout":
        for parameters in (model.weights, model.biases):
            for parameter in list(parameters)[:-1]:
                parameter.requires_grad_(False)
    return model


def _rate(first: NTKMLP, X: Tensor) -> float:
    largest = float(torch.linalg.eigvalsh(empirical_ntk(first, X)[0])[-1])
    if largest <= 0:
        raise ValueError("lr cannot be chosen: the tangent kernel of the first network vanishes; allowed: lr > 0")
    return 1 / largest


def _train(
    model: NTKMLP,
    X: Tensor,
    Y: Tensor,
    Xs: Tensor,
    lr: float,
    tol: float,
    records: NDArray[np.int64],
    drift: bool,
) -> tuple[NDArray[Any], ...]:
    """Train the networks of a model; return outputs, losses, drifts, residuals and steps."""
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    kernel = empirical_ntk(model, X) if drift else None
    measured: list[tuple[Tensor, ...]] = []
    taken = torch.zeros(model.members or 1, dtype=torch.int64, device=X.device)
    for step in range(int(records[-1]) + 1):
        errors = model(X) - Y
        worst = errors.detach().abs().amax((-2, -1))
        if not worst.isfinite().all():
            raise FloatingPointError(f"lr = {lr:.6g} lets gradient descent diverge; allowed: a smaller one")
        active = worst > tol
        done = not active.any()
        while len(measured) < len(records) and (done or records[len(measured)] == step):
            measured.append(_measure(model, Xs, X, errors, kernel))
        if len(measured) == len(records):
            break
        gradients = torch.autograd.grad((errors**2).sum() / 2, learned)
        with torch.no_grad():
            for parameter, gradient in zip(learned, gradients, strict=True):
                rate = lr * active.to(gradient.dtype).reshape(-1, *[1] * (gradient.ndim - 1))
                parameter.sub_(rate * gradient)
        taken += active
    outputs, loss, moved = (torch.stack(parts, 1) for parts in zip(*measured, strict=True))
    return tuple(values.cpu().numpy() for values in (outputs, loss, moved, worst, taken))


def _measure(model: NTKMLP, Xs: Tensor, X: Tensor, errors: Tensor, kernel: Tensor | None) -> tuple[Tensor, ...]:
    """Return outputs, losses and drifts of the networks as they are."""
    with torch.no_grad():
        loss = (errors**2).sum((-2, -1)) / 2
        if kernel is None:
            return model(Xs), loss, torch.full_like(loss, torch.nan)
        moved = torch.linalg.matrix_norm(empirical_ntk(model, X) - kernel)
        return model(Xs), loss, moved / torch.linalg.matrix_norm(kernel)
