r"""Annealed importance sampling: log Z of pairwise categorical models that are too large to enumerate."""

# mypy: disable-error-code="no-untyped-def"
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hebbian import validation
from hebbian.compilation import cached_njit
from hebbian.potts import PairwiseModel
from sim import random
from sim.potts_clamp import restrict
from sim.potts_gibbs import sort_into_blocks, update_blocks


@dataclass(frozen=True)
class AnnealedResult:
    """What the chains of annealed importance sampling found.

    Parameters
    ----------
    log_z : float
        Logarithm of the mean importance weight, an estimate of that of the sum of weights of all states.
    standard_error : float
        Error of log Z by the jackknife over chains.
    effective_sample_size : float
        Squared sum of importance weights over the sum of their squares, 1 to the number of chains; near 1 one chain
        decides, and neither number above is to be believed.
    log_weights : ndarray, shape (n_chains,)
        Logarithm of each importance weight, an estimate of Z without bias.
    """

    log_z: float
    standard_error: float
    effective_sample_size: float
    log_weights: NDArray[np.float64]


def ais_log_partition(
    model: PairwiseModel,
    betas: ArrayLike,
    n_chains: int,
    seed: int,
    task: tuple[int, ...] = (0,),
    clamp: tuple[Any, Any] | None = None,
) -> AnnealedResult:
    r"""Estimate log Z by chains that are led from independent groups to the model.

    .. math::
        Z = Z_0 \Big\langle \prod_j \exp\big((\beta_{j+1} - \beta_j) \tfrac12 x_j^T \Phi x_j\big) \Big\rangle, \qquad
        p_\beta(x) \propto \exp(\tfrac\beta2 x^T \Phi x + b^T x)

    with :math:`x_0` drawn from :math:`p_0` and :math:`x_j` by a sweep of Gibbs sampling at :math:`\beta_j` from
    :math:`x_{j-1}` (Neal, Stat. Comput. 11, 125 (2001), eq. 11; Salakhutdinov and Murray, ICML 2008, for Boltzmann
    machines). Couplings are first made to sum to zero over each group, which hands their mean to the bias, that is to
    :math:`p_0`.

    Parameters
    ----------
    model : PairwiseModel
        Model of N entries in all.
    betas : array_like, shape (temperatures,)
        Inverse temperatures of the coupling, increasing from 0 to 1.
    n_chains : int
        Independent chains, at least 2.
    seed : int
        Seed of the run.
    task : tuple of int
        Address of the model within the run, see `sim.random`.
    clamp : tuple of array_like, optional
        Groups that are held: (mask, values), bool of shape (groups,), one-hot of shape (N,); values of free groups do
        not count. Z is then the sum over the states that agree with it.

    Returns
    -------
    AnnealedResult

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or the clamp has another shape or no one-hot values.

    Examples
    --------
    >>> from hebbian.potts import GroupLayout
    >>> model = PairwiseModel([[0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0]], [0.5, 0, 0, 0],
    ...                       GroupLayout([(2, 2)]))
    >>> found = ais_log_partition(model, np.linspace(0, 1, 50), n_chains=100, seed=1)
    >>> bool(abs(found.log_z - 2.28734) < 5 * found.standard_error < 0.1)
    True
    """
    inverse = validation.axis("betas", betas, minimum=0.0, maximum=1.0)
    if len(inverse) < 2 or inverse[0] != 0.0 or inverse[-1] != 1.0 or np.any(np.diff(inverse) <= 0.0):
        raise ValueError(f"betas = {inverse.tolist()}; allowed: increasing numbers from 0 to 1")
    n_chains = validation.integer("n_chains", n_chains, minimum=2)
    key = np.array(random.kernel_key(seed, task, "annealing"))
    whole = restrict(model, clamp)
    part = restrict(model.zero_sum_gauge(), clamp)
    # The gauge moves all log-weights by the same number: here that of the state of first categories.
    first = np.zeros(len(part.entries))
    first[part.offsets[:-1]] = 1.0
    difference = first @ ((whole.coupling - part.coupling) @ first / 2 + whole.bias - part.bias)
    constant = float(whole.log_weight + difference)
    if len(part.entries) == 0:
        return AnnealedResult(constant, 0.0, float(n_chains), np.full(n_chains, constant))
    blocks = sort_into_blocks(part.coupling, part.bias, part.offsets)
    independent = np.logaddexp.reduceat(part.bias, part.offsets[:-1]).sum()
    log_weights = constant + independent + _anneal(blocks, inverse, key, n_chains)
    return _summary(log_weights)


def _summary(log_weights: NDArray[np.float64]) -> AnnealedResult:
    """Return mean, jackknife and effective sample size of importance weights."""
    count, largest = len(log_weights), log_weights.argmax()
    weights = np.exp(log_weights - log_weights[largest])
    others = weights.sum() - weights
    # Next to the largest weight the others may round away.
    rest = np.delete(log_weights, largest)
    log_others = np.log(np.where(np.arange(count) == largest, 1.0, others)) + log_weights[largest]
    log_others[largest] = rest.max() + np.log(np.exp(rest - rest.max()).sum())
    left_out = log_others - np.log(count - 1)
    log_z = log_weights[largest] + np.log(weights.mean())
    error = np.sqrt((count - 1) * left_out.var())
    size = weights.sum() ** 2 / np.sum(weights**2)
    return AnnealedResult(float(log_z), float(error), float(size), log_weights)


@cached_njit()
def _anneal(blocks, betas, key, chains):
    """Return the logarithm of the importance weight of each chain, relative to independent groups."""
    groups = blocks.offsets.size - 1
    draws, conditional, state = np.empty(groups), np.empty(blocks.bias.size), np.empty(groups, dtype=np.int64)
    log_weights, nothing = np.zeros(chains), np.zeros((0, 0))
    for c in range(chains):
        # The first update, without coupling, does not depend on the state before it.
        state[:] = blocks.offsets[:-1]
        for j in range(betas.size - 1):
            random.fill_uniforms(draws, j, c, 0, key)
            update_blocks(blocks, betas[j], draws, state, conditional, nothing)
            interaction = 0.0
            for second in range(1, groups):
                for first in range(second):
                    interaction += blocks.coupling[state[first], state[second]]
            log_weights[c] += (betas[j + 1] - betas[j]) * interaction
    return log_weights
