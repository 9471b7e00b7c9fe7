"""Which points of a sweep get more quenched samples: those whose error weighs most in the figure."""

import heapq
import math
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from hebbian import validation


@dataclass(frozen=True)
class Adaptive:
    r"""Distribution of a budget of samples over the points of a grid.

    The weighted sum of squared errors, :math:`\sum_i w_i^2 s_i^2 / n_i`, falls fastest if the next
    sample goes to the point of largest :math:`w_i s_i / \sqrt{n_i (n_i + 1)}`: Neyman's allocation. s is the
    spread of the variable from sample to sample, and the weight is one plus how far its mean jumps to the
    neighbouring points, in units of its range over the grid, times `steepness`. At each point of
    the grid of tasks the temperature counts at which :math:`w s` is largest.

    Parameters
    ----------
    budget : int
        Samples in all, over all points of the grid.
    largest : int
        Samples at one point, at most.
    variable : str
        Variable whose error counts; replicas are averaged, of a variable along patterns the largest error counts.
    error : float
        No more samples where the standard error is not larger than this, in the units of the variable.
    steepness : float
        Weight of the jump, at least 0.
    """

    budget: int
    largest: int
    variable: str = "m"
    error: float = 0.0
    steepness: float = 4.0

    def __post_init__(self) -> None:
        validation.integer("budget", self.budget, minimum=1)
        validation.integer("largest", self.largest, minimum=2)
        validation.real("error", self.error, minimum=0.0)
        validation.real("steepness", self.steepness, minimum=0.0)

    def next_counts(self, data: xr.Dataset, counts: NDArray[np.int64], outer: tuple[str, ...]) -> NDArray[np.int64]:
        """Return the number of samples that each point has after the next round; the same numbers at the end.

        Parameters
        ----------
        data : xarray.Dataset
            Results along (outer..., T, sample, ...). What lies beyond the counts is not looked at, so that a sweep
            that was interrupted decides as one that was not.
        counts : ndarray of int, shape (outer...)
            Samples of each point so far, at least 2.
        outer : tuple of str
            Dimensions of the grid of tasks.

        Returns
        -------
        ndarray of int, shape (outer...)
        """
        spread, weight = self._spread_and_weight(data, counts, outer)
        flat, spread, weight = counts.ravel().copy(), spread.reshape(counts.size, -1), weight.reshape(counts.size, -1)
        # A round of a quarter of what there is: decisions are few, and each rests on what came before.
        room = min(self.budget - int(flat.sum()), max(1, int(flat.sum()) // 4))
        heap = [entry for i in range(flat.size) if (entry := self._gain(i, flat, spread, weight)) is not None]
        heapq.heapify(heap)
        for _ in range(room):
            if not heap:
                break
            _, i = heapq.heappop(heap)
            flat[i] += 1
            entry = self._gain(i, flat, spread, weight)
            if entry is not None:
                heapq.heappush(heap, entry)
        return flat.reshape(counts.shape)

    def _gain(
        self, i: int, counts: NDArray[np.int64], spread: NDArray[np.float64], weight: NDArray[np.float64]
    ) -> tuple[float, int] | None:
        """Return the (negative) gain of one more sample at a point, or None if it needs or can have no more."""
        n = int(counts[i])
        wanting = spread[i] / math.sqrt(n) > self.error
        if n >= self.largest or not wanting.any():
            return None
        return -float(np.max(spread[i, wanting] * weight[i, wanting])) / math.sqrt(n * (n + 1)), i

    def _spread_and_weight(
        self, data: xr.Dataset, counts: NDArray[np.int64], outer: tuple[str, ...]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        values = data[self.variable]
        values = values.mean([dim for dim in ("replica", "pair") if dim in values.dims])
        known = data["sample"] < xr.DataArray(counts, dims=outer)
        values = values.where(known)
        spread = values.std("sample", ddof=1).transpose(*outer, ...)
        mean = values.mean("sample").transpose(*outer, ...)
        extent = float(mean.max() - mean.min())
        jump = np.zeros(mean.shape)
        for i, dim in enumerate(mean.dims):
            # The points of a list have no neighbours.
            if extent > 0 and mean.sizes[dim] > 1 and dim not in ("pattern", "point"):
                step = abs(np.diff(mean.values, axis=i)) / extent
                after = np.concatenate([step, np.zeros_like(step.take([0], axis=i))], axis=i)
                before = np.roll(after, 1, axis=i)
                jump = np.maximum(jump, np.maximum(after, before))
        return np.nan_to_num(spread.values), 1 + self.steepness * np.nan_to_num(jump)
