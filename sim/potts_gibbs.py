r"""Gibbs sampling of pairwise categorical models: blocks of groups that do not couple with each other, many chains."""

# mypy: disable-error-code="no-untyped-def"
import itertools
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hebbian import validation
from hebbian.compilation import cached_njit
from hebbian.potts import PairwiseModel
from sim import observables, random
from sim.potts_clamp import FreePart, restrict


class Blocks(NamedTuple):
    """A model whose groups are sorted into blocks without coupling inside.

    Parameters
    ----------
    coupling : ndarray, shape (n, n)
    bias : ndarray, shape (n,)
    offsets : ndarray of int, shape (groups + 1,)
        First entry of each group, and n.
    first : ndarray of int, shape (blocks + 1,)
        First group of each block, and the number of groups.
    neighbours : ndarray of int
        Groups that couple with each block, one block after the other.
    first_neighbour : ndarray of int, shape (blocks + 1,)
        Where those of each block begin, and their number.
    order : ndarray of int, shape (n,)
        Where each entry was before the groups were sorted.
    """

    coupling: NDArray[np.float64]
    bias: NDArray[np.float64]
    offsets: NDArray[np.int64]
    first: NDArray[np.int64]
    neighbours: NDArray[np.int64]
    first_neighbour: NDArray[np.int64]
    order: NDArray[np.int64]


def sort_into_blocks(coupling: NDArray[np.float64], bias: NDArray[np.float64], offsets: NDArray[np.int64]) -> Blocks:
    """Give each group the first block that it does not couple with: one a layer at most where layers are hollow.

    Parameters
    ----------
    coupling : ndarray, shape (n, n)
    bias : ndarray, shape (n,)
    offsets : ndarray of int, shape (groups + 1,)
        First entry of each group, and n.

    Returns
    -------
    Blocks
    """
    sizes = np.diff(offsets)
    coupled = np.add.reduceat(np.add.reduceat(abs(coupling), offsets[:-1], axis=0), offsets[:-1], axis=1) > 0
    block = np.zeros(len(sizes), dtype=np.int64)
    for group in range(1, len(sizes)):
        taken = set(block[:group][coupled[group, :group]].tolist())
        block[group] = next(number for number in range(group + 1) if number not in taken)
    groups = np.argsort(block, kind="stable")
    first = np.searchsorted(block[groups], np.arange(block.max() + 2))
    order = np.concatenate([np.arange(offsets[group], offsets[group + 1]) for group in groups])
    coupled = coupled[np.ix_(groups, groups)]
    beside = [np.flatnonzero(coupled[a:b].any(axis=0)) for a, b in itertools.pairwise(first)]
    return Blocks(
        np.ascontiguousarray(coupling[np.ix_(order, order)]),
        bias[order],
        np.concatenate([[0], np.cumsum(sizes[groups])]),
        first,
        np.concatenate(beside),
        np.concatenate([[0], np.cumsum([len(groups) for groups in beside])]),
        order,
    )


@cached_njit()
def update_blocks(blocks, beta, draws, state, conditional, pairs):
    """Draw all groups anew, block by block, from their law given the rest, with the coupling multiplied by beta.

    Parameters
    ----------
    blocks : Blocks
    beta : float
    draws : (groups,) float64
        Uniform numbers.
    state : (groups,) int64
        The entry that each group is in, which is advanced.
    conditional : (n,) float64
        Receives the probabilities of each group's categories from which it was drawn.
    pairs : (n, n) float64
        Are added these probabilities, in the rows of the entries that the other groups are in; (0, 0): nothing.
    """
    for b in range(blocks.first.size - 1):
        begin, end = blocks.first[b], blocks.first[b + 1]
        start, stop = blocks.offsets[begin], blocks.offsets[end]
        field = conditional[start:stop]
        field[:] = 0.0
        for k in range(blocks.first_neighbour[b], blocks.first_neighbour[b + 1]):
            row = blocks.coupling[state[blocks.neighbours[k]], start:stop]
            for i in range(stop - start):
                field[i] += row[i]
        for group in range(begin, end):
            start, stop = blocks.offsets[group], blocks.offsets[group + 1]
            largest = -np.inf
            for i in range(start, stop):
                conditional[i] = blocks.bias[i] + beta * conditional[i]
                largest = max(largest, conditional[i])
            total = 0.0
            for i in range(start, stop):
                conditional[i] = np.exp(conditional[i] - largest)
                total += conditional[i]
            i, left = start, draws[group] * total - conditional[start]
            while left >= 0.0 and i < stop - 1:
                i += 1
                left -= conditional[i]
            state[group] = i
            for i in range(start, stop):
                conditional[i] /= total
            if pairs.size:
                for other in range(state.size):
                    if other != group:
                        for i in range(start, stop):
                            pairs[state[other], i] += conditional[i]


@cached_njit()
def _sample(blocks, first_sweep, key, states, series, pairs):
    """Advance all chains, one sweep for each row of the series.

    Parameters
    ----------
    blocks : Blocks
    first_sweep : int
        Number of the first sweep, a part of the address of its random numbers.
    key : (2,) uint32
    states : (chains, groups) int64
    series : (sweeps, n) float64
        Is added the mean over chains of the probabilities from which groups were drawn.
    pairs : (chains, n, n) float64
        Are added these probabilities, for the entries that the other groups are in; (chains, 0, 0): nothing.
    """
    groups, chains = states.shape[1], states.shape[0]
    draws, conditional = np.empty(groups), np.empty(blocks.bias.size)
    for t in range(series.shape[0]):
        for c in range(chains):
            random.fill_uniforms(draws, first_sweep + t, c, 0, key)
            update_blocks(blocks, 1.0, draws, states[c], conditional, pairs[c])
            for i in range(conditional.size):
                series[t, i] += conditional[i] / chains


@cached_njit()
def draw_independent(blocks, key, states, conditional):
    """Draw the state of each chain from the model without coupling, with the random numbers of sweep 0 of a key."""
    draws, nothing = np.empty(states.shape[1]), np.zeros((0, 0))
    for c in range(states.shape[0]):
        random.fill_uniforms(draws, 0, c, 0, key)
        update_blocks(blocks, 0.0, draws, states[c], conditional, nothing)


@dataclass(frozen=True)
class GibbsResult:
    """What chains measured; N entries, groups that were held without error.

    Parameters
    ----------
    marginals : ndarray, shape (N,)
        Probability of each category of each group: mean, over chains and sweeps, of the law it was drawn from.
    standard_error : ndarray, shape (N,)
        Of the marginals, corrected for autocorrelation (`sim.observables.mean_and_error`).
    autocorrelation_time : ndarray, shape (N,)
        Integrated autocorrelation time of this law, in sweeps; 1 for independent values.
    pair_marginals, pair_standard_error : ndarray, shape (N, N), or None
        Joint probabilities of the categories of two groups: mean of the law one was drawn from while the other was in
        its state, with errors from the spread over chains (Student-t, chains - 1 degrees of freedom; NaN of one
        chain). Within a group the marginals, on the diagonal.
    """

    marginals: NDArray[np.float64]
    standard_error: NDArray[np.float64]
    autocorrelation_time: NDArray[np.float64]
    pair_marginals: NDArray[np.float64] | None
    pair_standard_error: NDArray[np.float64] | None


class GibbsSampler:
    r"""Heat bath for pairwise categorical models: each group is drawn from :math:`{\rm softmax}(\Phi x + b)`.

    Groups without coupling between them are a block, whose groups are drawn given the same others, such as every second
    layer of a deep Boltzmann machine; where all groups couple a block is one group. Random numbers are addressed by
    (sweep, chain): a chain does not depend on how many there are.

    Parameters
    ----------
    model : PairwiseModel
        Model of N entries in all.
    n_chains : int
        Independent chains, at least 1.
    seed : int
        Seed of the run.
    task : tuple of int
        Address of the model within the run, see `sim.random`.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.

    References
    ----------
    Geman and Geman, IEEE Trans. Pattern Anal. Mach. Intell. 6, 721 (1984);
    Salakhutdinov and Hinton, AISTATS 2009 (blocks of a deep Boltzmann machine).

    Examples
    --------
    >>> from hebbian.potts import GroupLayout, PairwiseModel
    >>> model = PairwiseModel([[0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0]], [0.5, 0, 0, 0],
    ...                       GroupLayout([(2, 2)]))
    >>> measured = GibbsSampler(model, n_chains=10, seed=1).run(sweeps=1000, burn_in=10)
    >>> bool(abs(measured.marginals[0] - 0.62246) < 5 * measured.standard_error[0] < 0.05)
    True
    """

    def __init__(self, model: PairwiseModel, n_chains: int, seed: int, task: tuple[int, ...] = (0,)) -> None:
        restrict(model)
        self.model = model
        self.n_chains = validation.integer("n_chains", n_chains, minimum=1)
        self.keys = [np.array(random.kernel_key(seed, task, purpose)) for purpose in ("initial", "dynamics")]

    def run(
        self, sweeps: int, burn_in: int = 0, clamp: tuple[Any, Any] | None = None, *, pairs: bool = False
    ) -> GibbsResult:
        """Sample from states drawn without coupling.

        Parameters
        ----------
        sweeps : int
            Sweeps (one update of each free group) measured, at least 2.
        burn_in : int
            Sweeps before them that are discarded.
        clamp : tuple of array_like, optional
            Groups that are held: (mask, values), bool of shape (groups,), one-hot of shape (N,); values of free groups
            do not count.
        pairs : bool
            Whether to measure pair marginals.

        Returns
        -------
        GibbsResult

        Raises
        ------
        TypeError, ValueError
            If an argument is out of range, or the clamp has another shape or no one-hot values.
        MemoryError
            If the record does not fit in memory, with the estimate.
        """
        sweeps = validation.integer("sweeps", sweeps, minimum=2)
        burn_in = validation.integer("burn_in", burn_in, minimum=0)
        part = restrict(self.model, clamp)
        n = len(part.entries)
        # Means, their transform of twice the length and its square; sums of pairs, their mean and deviations.
        needed = 8.0 * n * (max(6 * sweeps, burn_in) + 4 * pairs * self.n_chains * n)
        validation.memory(f"the record of {sweeps} sweeps of {n} entries, {self.n_chains} chains", needed)
        series, counts = self._record(part, sweeps, burn_in, pairs)
        mean, error = observables.mean_and_error(series)
        result = (part.whole(mean), part.whole(error, 0.0), part.whole(observables.autocorrelation_time(series), 1.0))
        if not pairs:
            return GibbsResult(*result, None, None)
        frequency = (counts + counts.transpose(0, 2, 1)) / (2 * sweeps)
        spread = frequency.std(axis=0, ddof=1) if self.n_chains > 1 else np.full((n, n), np.nan)
        groups = np.repeat(np.arange(len(part.offsets) - 1), np.diff(part.offsets))
        same = groups[:, None] == groups
        joint = np.where(same, np.diag(mean), frequency.mean(axis=0))
        # The partner of a group held is certain: the error is that of the marginal.
        errors = np.outer(part.held, result[1])
        errors += errors.T
        errors[np.ix_(part.entries, part.entries)] = np.where(same, np.diag(error), spread / np.sqrt(self.n_chains))
        return GibbsResult(*result, part.whole_pairs(mean, joint), errors)

    def _record(
        self, part: FreePart, sweeps: int, burn_in: int, pairs: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return means over chains along (sweep, entry) and sums of pairs along (chain, entry, entry), free ones."""
        n, nothing = len(part.entries), np.zeros((self.n_chains, 0, 0))
        series, counts = np.zeros((sweeps, n)), np.zeros((self.n_chains, n, n)) if pairs else nothing
        if n == 0:
            return series, counts
        blocks = sort_into_blocks(part.coupling, part.bias, part.offsets)
        states = np.tile(blocks.offsets[:-1], (self.n_chains, 1))
        draw_independent(blocks, self.keys[0], states, np.empty(n))
        _sample(blocks, 0, self.keys[1], states, np.zeros((burn_in, n)), nothing)
        _sample(blocks, burn_in, self.keys[1], states, series, counts)
        sorted_back = np.argsort(blocks.order)
        return series[:, sorted_back], counts[:, sorted_back][:, :, sorted_back] if pairs else nothing
