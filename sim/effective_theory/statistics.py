r"""Fluctuations of random deep networks at one input, by exact recursions from layer to layer.

With :math:`z' = b + W f(z) + \gamma z` and :math:`M = W f'(z) + \gamma`, tangent kernel and its differential are

.. math::
    H'_{ij} &= \delta_{ij} \Big( \lambda_b + \frac{\lambda_W}{n} \sum_a f_a^2 \Big) + \sum_{ab} M_{ia} M_{jb} H_{ab} \\
    dH'_{ijk} &= \sum_a W_{ia} f''_a (MH)_{ja} (MH)_{ka} + \sum_{abc} M_{ia} M_{jb} M_{kc}\, dH_{abc}
      + \frac{\lambda_W}{n} \sum_a f_a f'_a \big( \delta_{ij} (MH)_{ka} + \delta_{ik} (MH)_{ja} \big)

(Roberts, Yaida and Hanin, arXiv:2106.10165). All are measured between pairs of different neurons of each layer.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hebbian import validation
from hebbian.activations import Activation, Function, get_activation
from sim import random

Array = NDArray[np.float64]
Statistics = dict[str, tuple[Array, Array]]

# Widest layer whose differentials, cubic in the width, are followed.
LARGEST_DIFFERENTIAL = 48
# Bytes of the largest array of a batch of networks.
_BATCH_MEMORY = 2**24


@dataclass(frozen=True)
class Ensemble:
    r"""Law of a random network at one input; arguments as for `sample_statistics`, checked."""

    act: Activation
    widths: tuple[int, ...]
    C_W: float
    C_b: float
    K1: float
    lambda_W: float
    lambda_b: float
    gamma: float


def sample_statistics(
    act: str | Function | Activation,
    L: int,
    n: int | Sequence[int],
    C_W: float,
    C_b: float,
    K1: float,
    lambda_W: float = 1.0,
    lambda_b: float = 0.0,
    gamma: float = 0.0,
    *,
    n_nets: int,
    n_out: int | None = None,
    seed: int,
    ntk: bool = True,
    dntk: bool = True,
    address: tuple[int, ...] = (),
) -> Statistics:
    r"""Measure fluctuations of all layers of random networks at one input.

    Parameters
    ----------
    act : str, callable or Activation
        As `hebbian.activations.get_activation` takes it.
    L : int
        Number of layers of weights, at least 1.
    n : int or sequence of L - 1 ints
        Width of all hidden layers, or of each, at least 2; equal if gamma > 0.
    C_W, C_b : float
        Variance of a weight times the number of inputs of its layer, > 0; of a bias, at least 0.
    K1 : float
        Variance of the preactivations of the first layer, > 0 and at least C_b.
    lambda_W, lambda_b : float
        Learning rates of weights, times the number of inputs of their layer, and of biases, at least 0.
    gamma : float
        Weight of the residual path, in [0, 1].
    n_nets : int
        Number of networks, at least 2.
    n_out : int, optional
        Number of outputs, at least 2; by default as wide as the last hidden layer.
    seed : int
        Seed of all networks.
    ntk, dntk : bool
        Whether tangent kernels, and their differentials (widths up to 48), are measured too. Without them no weights
        are needed: given a layer, the neurons of the next are independent and normal.
    address : tuple of int
        Address of the random streams, besides the seed.

    Returns
    -------
    dict of str to (value, standard error)
        Arrays of shape (L,), of neurons i != j: ``K`` = E z_i^2 and ``Theta`` = E H_ii; and, times the width of the
        layer before (the own one of the first layer), ``V`` = Cov(z_i^2, z_j^2), ``U`` = E z_i z_j^2, ``T3`` =
        E z_i^3, ``A`` = Cov(H_ii, H_jj), ``B`` = E H_ij^2, ``D`` = Cov(H_ii, z_j^2), ``F`` = E H_ij z_i z_j, ``P`` =
        E dH_ijj z_i, ``Q`` = E dH_iij z_j.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, the activation lacks a derivative that is needed, or a tangent kernel is asked
        of one that jumps.

    Examples
    --------
    >>> measured = sample_statistics("relu", 3, 16, 2.0, 0.0, 1.0, n_nets=200, seed=1, dntk=False)
    >>> measured["V"][0].shape, bool(abs(measured["K"][0][2] - 1) < 4 * measured["K"][1][2])
    ((3,), True)
    """
    ensemble = check_ensemble(act, L, n, C_W, C_b, K1, lambda_W, lambda_b, gamma, n_out)
    n_nets = validation.integer("n_nets", n_nets, minimum=2)
    order = 2 * dntk or int(ntk)
    if order and not ensemble.act.continuous:
        raise ValueError(f"act = {ensemble.act.name!r} jumps, its tangent kernel is infinite; allowed: ntk = False")
    if dntk and max(ensemble.widths) > LARGEST_DIFFERENTIAL:
        raise ValueError(
            f"n = {max(ensemble.widths)} is too wide for differentials; allowed: up to {LARGEST_DIFFERENTIAL}, or "
            "dntk = False"
        )
    if order:
        ensemble.act.df(np.zeros(1))
    if dntk:
        ensemble.act.d2f(np.zeros(1))
    batch = max(1, _BATCH_MEMORY // (8 * max(ensemble.widths) ** (order + 1)))
    parts = []
    for i, begin in enumerate(range(0, n_nets, batch)):
        rng = random.stream(seed, (*address, i), "patterns")
        layers = [_means(*layer) for layer in _networks(ensemble, min(batch, n_nets - begin), order, rng)]
        parts.append({name: np.stack([means[name] for means in layers]) for name in layers[0]})
    means = {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}
    feeding = np.array([ensemble.widths[0], *ensemble.widths[:-1]], dtype=np.float64)
    return _estimates(means, feeding)


def check_ensemble(
    act: Any,
    L: Any,
    n: Any,
    C_W: Any,
    C_b: Any,
    K1: Any,
    lambda_W: Any,
    lambda_b: Any,
    gamma: Any,
    n_out: Any,
    least: int = 2,
) -> Ensemble:
    """Return the law of a network of at least so many outputs, or raise unless all arguments are in range."""
    L, C_b = validation.integer("L", L, minimum=1), validation.real("C_b", C_b, minimum=0.0)
    hidden = [n] * max(L - 1, 1) if np.ndim(n) == 0 else list(n)
    widths = [validation.integer("n", width, minimum=2) for width in hidden]
    if np.ndim(n) > 0 and len(widths) != max(L - 1, 1):
        raise ValueError(f"n = {n} has {len(widths)} entries; allowed: a number, or L - 1 = {L - 1} of them")
    outputs = widths[-1] if n_out is None else validation.integer("n_out", n_out, minimum=least)
    widths = [*widths[: L - 1], outputs]
    gamma = validation.real("gamma", gamma, minimum=0.0, maximum=1.0)
    if gamma > 0 and len(set(widths)) > 1:
        raise ValueError(f"gamma = {gamma} beside widths {widths}; allowed: equal widths, or gamma = 0")
    return Ensemble(
        get_activation(act),
        tuple(widths),
        validation.real("C_W", C_W, above=0.0),
        C_b,
        validation.real("K1", K1, **({"minimum": C_b} if C_b > 0 else {"above": 0.0})),
        validation.real("lambda_W", lambda_W, minimum=0.0),
        validation.real("lambda_b", lambda_b, minimum=0.0),
        gamma,
    )


def _networks(
    of: Ensemble, count: int, order: int, rng: np.random.Generator
) -> Iterator[tuple[Array, Array | None, Array | None]]:
    """Yield preactivations, tangent kernel and differential of each layer of `count` networks, up to an order."""
    n = of.widths[0]
    z, H, dH = math.sqrt(of.K1) * rng.standard_normal((count, n)), None, None
    if order:
        H = np.broadcast_to((of.lambda_b + of.lambda_W * (of.K1 - of.C_b) / of.C_W) * np.eye(n), (count, n, n))
    if order == 2:
        dH = np.zeros((count, n, n, n))
    yield z, H, dH
    for n_next in of.widths[1:]:
        f = of.act.f(z)
        if H is None:
            scale = np.sqrt(of.C_b + of.C_W * (f * f).mean(1, keepdims=True))
            z = scale * rng.standard_normal((count, n_next)) + (of.gamma * z if of.gamma else 0.0)
        else:
            W = math.sqrt(of.C_W / n) * rng.standard_normal((count, n_next, n))
            slope = of.act.df(z)
            M = W * slope[:, None] + (of.gamma * np.eye(n) if of.gamma else 0.0)
            if dH is not None:
                dH = _next_differential(of, z, f, slope, W, M, H, dH)
            H = M @ H @ M.mT + (of.lambda_b + of.lambda_W * (f * f).mean(1))[:, None, None] * np.eye(n_next)
            bias = math.sqrt(of.C_b) * rng.standard_normal((count, n_next))
            z = (W @ f[..., None])[..., 0] + bias + (of.gamma * z if of.gamma else 0.0)
        n = n_next
        yield z, H, dH


def _next_differential(
    of: Ensemble, z: Array, f: Array, slope: Array, W: Array, M: Array, H: Array, dH: Array
) -> Array:
    """Return the differential of the next layer, shape (networks, n, n, n)."""
    count, n_next, n = W.shape
    MH = M @ H
    new = (MH[:, None] * (W * of.act.d2f(z)[:, None])[:, :, None]) @ MH.mT[:, None]
    if dH.any():  # not of the first layer
        first = (M @ dH.reshape(count, n, n * n)).reshape(count, n_next, n, n)
        new += M[:, None] @ first @ M.mT[:, None]
    readout = of.lambda_W / n * (MH @ (f * slope)[..., None])[..., 0]
    diagonal = np.arange(n_next)
    new[:, diagonal, diagonal] += readout[:, None]
    new[:, diagonal, :, diagonal] += readout
    return new


def _means(z: Array, H: Array | None, dH: Array | None) -> dict[str, Array]:
    """Return means over neurons, and over pairs of different neurons, of each network; arrays of shape (networks,)."""
    n, z2 = z.shape[1], z * z

    def pairs(of_all: Array, of_equal: Array) -> Array:
        return (of_all - of_equal) / (n * (n - 1))

    means = {
        "K": z2.mean(1),
        "zz": pairs(z2.sum(1) ** 2, (z2 * z2).sum(1)),
        "U": pairs(z.sum(1) * z2.sum(1), (z2 * z).sum(1)),
        "T3": (z2 * z).mean(1),
    }
    if H is not None:
        own = np.diagonal(H, axis1=1, axis2=2)
        means |= {
            "Theta": own.mean(1),
            "HH": pairs(own.sum(1) ** 2, (own * own).sum(1)),
            "Hz": pairs(own.sum(1) * z2.sum(1), (own * z2).sum(1)),
            "B": pairs((H * H).sum((1, 2)), (own * own).sum(1)),
            "F": pairs(np.einsum("mij,mi,mj->m", H, z, z), (own * z2).sum(1)),
        }
    if dH is not None:
        equal = np.einsum("miii,mi->m", dH, z)
        means["P"] = pairs(np.einsum("mijj,mi->m", dH, z), equal)
        means["Q"] = pairs(np.einsum("miij,mj->m", dH, z), equal)
    return means


def _estimates(means: dict[str, Array], feeding: Array) -> Statistics:
    """Return estimates and their errors over networks; those of covariances by linearisation."""
    nets = means["K"].shape[1]
    factors = dict.fromkeys(("K", "Theta"), 1.0) | dict.fromkeys(("U", "T3", "B", "F", "P", "Q"), feeding[:, None])
    found = {name: factors[name] * array for name, array in means.items() if name in factors}
    values = {name: array.mean(1) for name, array in found.items()}
    products = {"V": ("zz", "K", "K"), "A": ("HH", "Theta", "Theta"), "D": ("Hz", "Theta", "K")}
    for name, (both, one, two) in products.items():
        if both in means:
            x, y = means[one].mean(1, keepdims=True), means[two].mean(1, keepdims=True)
            values[name] = feeding * (means[both].mean(1) - (x * y)[:, 0])
            found[name] = feeding[:, None] * (means[both] - x * means[two] - y * means[one])
    return {name: (value, found[name].std(1, ddof=1) / math.sqrt(nets)) for name, value in values.items()}
