r"""Exact enumeration of small pairwise categorical models: what every sampler must reproduce."""

# mypy: disable-error-code="no-untyped-def"
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hebbian.compilation import cached_njit
from hebbian.potts import PairwiseModel
from sim.potts_clamp import restrict

MAXIMUM_STATES = 2**22

# Exponentials of less than this and their sums over all states fit into floating point.
_HEADROOM = 600.0


@dataclass(frozen=True)
class ExactResult:
    """Sums over all states of a model, N = sum of categories over its groups.

    Parameters
    ----------
    log_z : float
        Logarithm of the sum of weights; with a clamp, of those of the states that agree with it.
    marginals : ndarray, shape (N,)
        Probability of each category of each group.
    pair_marginals : ndarray, shape (N, N)
        Joint probabilities of the categories of two groups; within a group diagonal, the marginals.
    entropy : float
        Entropy of the distribution over the states, in nats.
    """

    log_z: float
    marginals: NDArray[np.float64]
    pair_marginals: NDArray[np.float64]
    entropy: float


def enumerate_model(model: PairwiseModel, clamp: tuple[Any, Any] | None = None) -> ExactResult:
    r"""Sum over all states of a small model.

    .. math:: Z = \sum_x \exp(\tfrac12 x^T \Phi x + b^T x)

    over one-hot vectors x (Feng, Winston, Kolter, arXiv:2307.04990). The states are the leaves of a tree with a level a
    group. Fields are handed down it and sums of weights up, so that a state costs a few operations, whatever their
    number, and no rounding adds up from state to state.

    Parameters
    ----------
    model : PairwiseModel
        Model of N entries in all.
    clamp : tuple of array_like, optional
        Groups that are held: (mask, values), bool of shape (groups,), one-hot of shape (N,); values of free groups do
        not count.

    Returns
    -------
    ExactResult

    Raises
    ------
    TypeError, ValueError
        If the model is none, the clamp has another shape or no one-hot values, or there are more than 2^22 states.
    """
    part = restrict(model, clamp)
    states = math.prod(np.diff(part.offsets).tolist())
    if states > MAXIMUM_STATES:
        raise ValueError(
            f"model has {states} states of {len(part.offsets) - 1} free groups, too many to enumerate; "
            f"allowed: up to 2^22 = {MAXIMUM_STATES} (clamp groups, or sample)"
        )
    if states == 1:
        free, pairs, log_z = np.empty(0), np.empty((0, 0)), 0.0
    else:
        weights, pairs, shift = _sum_states(part.coupling, part.bias, part.offsets)
        total = weights[: part.offsets[1]].sum()
        log_z, free, pairs = float(shift + np.log(total)), weights / total, pairs / total
        pairs = pairs + pairs.T + np.diag(free)
    mean = part.bias @ free + np.sum(part.coupling * pairs) / 2
    return ExactResult(part.log_weight + log_z, part.whole(free), part.whole_pairs(free, pairs), float(log_z - mean))


@cached_njit()
def _sum_states(coupling, bias, offsets):
    """Return sums of weights by entry and by pair (first group before the second), and the logarithm of their unit.

    Parameters
    ----------
    coupling : (N, N) float64
    bias : (N,) float64
    offsets : (groups + 1,) int64
        First entry of each of the groups, at least one of them.

    Returns
    -------
    (N,) float64, (N, N) float64, float
    """
    N, last = bias.size, offsets.size - 2
    # Of each level: the weight of the groups above, the fields they leave, the sums over what is below.
    above, field, sums = np.zeros(last + 1), np.empty((last + 1, N)), np.zeros((last + 1, N))
    pairs = np.zeros((N, N))
    entry = offsets[:-1].copy()
    field[0] = bias
    shift, level = -np.inf, 0
    while level >= 0:
        if level < last and entry[level] < offsets[level + 1]:
            i, level = entry[level], level + 1
            above[level] = above[level - 1] + field[level - 1, i]
            for j in range(offsets[level], N):
                field[level, j] = field[level - 1, j] + coupling[i, j]
                sums[level, j] = 0.0
            entry[level] = offsets[level]
            continue
        if level == last:
            largest = field[level, offsets[level]]
            for j in range(offsets[level] + 1, N):
                largest = max(largest, field[level, j])
            largest += above[level]
            if largest > shift + _HEADROOM:
                factor = np.exp(shift - largest)
                sums *= factor
                pairs *= factor
                shift = largest
            for j in range(offsets[level], N):
                sums[level, j] = np.exp(above[level] + field[level, j] - shift)
        # All categories of this level are summed: they are one category of the level above.
        level -= 1
        if level >= 0:
            i = entry[level]
            for j in range(offsets[level + 1], offsets[level + 2]):
                sums[level, i] += sums[level + 1, j]
            for j in range(offsets[level + 1], N):
                sums[level, j] += sums[level + 1, j]
                pairs[i, j] += sums[level + 1, j]
            entry[level] += 1
    return sums[0], pairs, shift
