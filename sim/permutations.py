"""Ensembles of two-layer relu networks that learn a permutation of bits, and how many of them apply it exactly.

`train_members` needs PyTorch.
"""

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hebbian import validation
from hebbian.permutations import PermutationTask

Array = NDArray[np.float64]

#: What is trained, in which parametrisation.
REGIMES = ("ntk", "readout", "standard")
# Errors in single precision stay above.
_SMALLEST_TOL = 1e-5
# Networks are left out in so many groups to find the errors of what is made of all.
_BLOCKS = 10


def train_members(
    task: PermutationTask,
    A: ArrayLike,
    width: int,
    n_members: int,
    *,
    regime: str = "ntk",
    sigma_w: float = 1.0,
    lr: float | None = None,
    tol: float = 1e-3,
    max_steps: int = 10_000,
    batch: int | None = None,
    seed: int,
    address: tuple[int, ...] = (),
) -> NDArray[np.float32]:
    r"""Train networks on the k unit vectors, and return their outputs at words.

    Parameters
    ----------
    task : PermutationTask
        Permutation of k bits.
    A : array_like, shape (m, k)
        Words, which are divided by their lengths.
    width : int
        Hidden units, at least 1.
    n_members : int
        Number M of networks, at least 1.
    regime : {"ntk", "readout", "standard"}
        Both layers in the NTK parametrisation; the readout alone; both layers in the standard parametrisation, where
        the readout learns faster by a factor of the order of the width.
    sigma_w : float
        Standard deviation of weights times the root of the number of inputs, > 0.
    lr : float, optional
        Learning rate; by default chosen by `sim.ensembles.train_ensemble`.
    tol : float
        Largest error of a training output up to which each network is trained, at least 1e-5.
    max_steps : int
        Most steps, at least 1.
    batch : int, optional
        Networks that are trained at a time.
    seed, address
        Seed of the first parameters, and further part of the address of their streams.

    Returns
    -------
    ndarray of float32, shape (M, m, k)

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.
    RuntimeError
        If a network's error exceeds the tolerance after all steps.
    """
    if not isinstance(task, PermutationTask):
        raise TypeError(f"task = {task!r} is a {type(task).__name__}; allowed: PermutationTask")
    validation.choice("regime", regime, REGIMES)
    sigma_w = validation.real("sigma_w", sigma_w, above=0.0)
    tol = validation.real("tol", tol, minimum=_SMALLEST_TOL)
    max_steps = validation.integer("max_steps", max_steps, minimum=1)
    # Not before it is needed: PyTorch is an extra.
    from sim.ensembles import train_ensemble

    spec = {"d_in": task.k, "widths": [width], "d_out": task.k, "cw": sigma_w**2, "bias": False}
    made = train_ensemble(
        spec | {"parametrization": "standard" if regime == "standard" else "ntk"},
        *task.train(),
        task.encode(A),
        n_members,
        steps=max_steps,
        lr=lr,
        tol=tol,
        trained="readout" if regime == "readout" else "all",
        drift=False,
        batch=batch,
        seed=seed,
        address=address,
    )
    if made.residual.max() > tol:
        raise RuntimeError(
            f"errors up to {made.residual.max():.3g} are left after max_steps = {max_steps}; "
            f"allowed: at most tol = {tol}, more steps or another learning rate"
        )
    return made.outputs[:, 0]


@dataclass(frozen=True)
class Moments:
    """Moments of single networks' outputs, with standard errors over networks.

    Parameters
    ----------
    mean_on, mean_off, var : (float, float)
        Mean where the target is 1 and where it is 0, and variance about these means. NaN where there are no such
        coordinates.
    """

    mean_on: tuple[float, float]
    mean_off: tuple[float, float]
    var: tuple[float, float]


def output_moments(outputs: ArrayLike, targets: ArrayLike) -> Moments:
    """Return the moments of outputs at words of one number of ones.

    Parameters
    ----------
    outputs : array_like, shape (M, m, k)
        Outputs of at least 2 networks.
    targets : array_like, shape (m, k)
        Bits, 0 or 1.

    Raises
    ------
    ValueError
        If shapes do not fit, or there are fewer than 2 networks.
    """
    F, right = _check_outputs(outputs, targets)
    F = F.astype(np.float64)
    means, deviations = [], np.empty(F.shape)
    for bits in (right, ~right):
        values = F[:, bits]
        each = values.mean(1) if bits.any() else np.full(len(F), np.nan)
        means.append((float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(F)))))
        deviations[:, bits] = values - means[-1][0]
    squares = (deviations**2).mean((1, 2))
    on, off = means
    return Moments(on, off, (float(squares.mean()), float(squares.std(ddof=1) / np.sqrt(len(F)))))


def accuracy_curve(
    outputs: ArrayLike,
    targets: ArrayLike,
    sizes: ArrayLike,
    *,
    together: bool = False,
    n_subsets: int = 200,
    seed: int = 0,
) -> tuple[Array, Array]:
    r"""Return how often the mean output of N networks is right in all bits, and standard errors.

    Averaged over random subsets of the networks without repetition, which makes it unbiased: means over N draws with
    repetition scatter about the mean of all M networks, which has an error itself, as those of
    :math:`(1/N + 1/M)^{-1}` networks do about the true one. Errors are by the jackknife over ten groups of networks; on
    average they are too large rather than too small (Efron and Stein 1981).

    Parameters
    ----------
    outputs : array_like, shape (M, m, k)
        Outputs of single networks at m words; at least 20 networks.
    targets : array_like, shape (m, k)
        Bits, 0 or 1.
    sizes : array_like of int
        Numbers N, from 1 to 0.9 M.
    together : bool
        Whether all words have to be right at once; else the fraction of words is returned.
    n_subsets : int
        Subsets for each N, at least 1.
    seed : int
        Seed of the subsets.

    Returns
    -------
    accuracy, error : ndarray
        Of the shape of `sizes`.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or shapes do not fit.
    """
    pool = _Pool(outputs, targets, together, n_subsets, seed)
    sizes = np.asarray(sizes)
    for N in sizes.flat:
        validation.integer("every one of sizes: size", N, minimum=1, maximum=pool.largest)
    values = [pool.jackknife(operator.methodcaller("__call__", int(N))) for N in sizes.flat]
    accuracy, error = np.array(values).reshape(*sizes.shape, 2).T if sizes.ndim else np.array(values)[0]
    return accuracy, error


def required_members(
    outputs: ArrayLike,
    targets: ArrayLike,
    p: float = 0.9,
    *,
    together: bool = False,
    n_subsets: int = 200,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the least N at which the mean output of N networks is right with probability p, and its standard error.

    Parameters
    ----------
    outputs, targets, together, n_subsets, seed
        See `accuracy_curve`.
    p : float
        Probability, in (0, 1).

    Returns
    -------
    N, error : float
        NaN if more than 0.9 M networks are needed; the error alone, if so many are with a tenth of them left out.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or shapes do not fit.
    """
    p = validation.real("p", p, above=0.0, below=1.0)
    pool = _Pool(outputs, targets, together, n_subsets, seed)

    def least(accuracy: Callable[[int], float]) -> float:
        low, high = 0, pool.largest
        if accuracy(high) < p:
            return np.nan
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if accuracy(middle) >= p else (middle, high)
        return float(high)

    return pool.jackknife(least)


class _Pool:
    """Networks of which subsets are averaged, each the first of a random order."""

    def __init__(self, outputs: ArrayLike, targets: ArrayLike, together: bool, n_subsets: int, seed: int) -> None:
        F, self._right = _check_outputs(outputs, targets)
        self._M, self._together = len(F), together
        if self._M < 2 * _BLOCKS:
            raise ValueError(f"outputs has {self._M} networks; allowed: at least {2 * _BLOCKS}")
        self._F = np.ascontiguousarray(F.reshape(self._M, -1), np.float32)
        n_subsets = validation.integer("n_subsets", n_subsets, minimum=1)
        rng = np.random.default_rng(validation.integer("seed", seed, minimum=0))
        self._orders = rng.permuted(np.tile(np.arange(self._M), (n_subsets, 1)), axis=1)
        self.largest = self._M - -(-self._M // _BLOCKS)

    def accuracy(self, left_out: NDArray[Any], N: int) -> float:
        """Return how often N networks are right, none of those left out, a sorted array, among them."""
        orders = self._orders
        if left_out.size:
            kept = ~np.isin(orders, left_out)
            orders = orders[kept].reshape(len(orders), -1)
        weights = np.zeros(self._orders.shape, np.float32)
        np.put_along_axis(weights, orders[:, :N], 1.0, axis=1)
        bits = (weights @ self._F).reshape(len(orders), *self._right.shape) > 0
        words = (bits == self._right).all(-1)
        return float(words.all(-1).mean() if self._together else words.mean())

    def jackknife(self, statistic: Callable[[Callable[[int], float]], float]) -> tuple[float, float]:
        """Return a statistic of the accuracy of all networks, and its error by leaving out groups of them."""
        groups = [np.arange(block, self._M, _BLOCKS) for block in range(_BLOCKS)]
        value, *others = (
            statistic(functools.partial(self.accuracy, left_out)) for left_out in (np.empty(0, np.int64), *groups)
        )
        return value, float(np.sqrt((_BLOCKS - 1) * np.var(others)))


def _check_outputs(outputs: ArrayLike, targets: ArrayLike) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    F = validation.finite("outputs", outputs, (None, None, None))
    right = validation.finite("targets", targets, F.shape[1:])
    if len(F) < 2 or not F.size:
        raise ValueError(f"outputs has shape {F.shape}; allowed: at least 2 networks, 1 word and 1 bit")
    if not ((right == 0) | (right == 1)).all():
        raise ValueError("targets has an entry that is neither 0 nor 1; allowed: 0 and 1")
    return F, right == 1
