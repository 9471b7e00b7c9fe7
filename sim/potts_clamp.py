"""Pairwise categorical models with some groups held: what is left for the others."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hebbian import validation
from hebbian.potts import PairwiseModel


@dataclass(frozen=True)
class FreePart:
    r"""Model of the free groups, :math:`b_f + \Phi_{fo} x_o` its bias, n entries of N.

    Parameters
    ----------
    coupling : ndarray, shape (n, n)
    bias : ndarray, shape (n,)
    offsets : ndarray of int, shape (free groups + 1,)
        First entry of each free group, and n.
    entries : ndarray of int, shape (n,)
        The entries of the whole model that are free.
    held : ndarray, shape (N,)
        One-hot values of the groups held, 0 elsewhere.
    log_weight : float
        Logarithm of the weight of the groups held alone.
    """

    coupling: NDArray[np.float64]
    bias: NDArray[np.float64]
    offsets: NDArray[np.int64]
    entries: NDArray[np.int64]
    held: NDArray[np.float64]
    log_weight: float

    def whole(self, values: NDArray[np.float64], held: float | None = None) -> NDArray[np.float64]:
        """Return values (n,) of free entries among those of the groups held, which are one-hot or all `held`."""
        result = self.held.copy() if held is None else np.full_like(self.held, held)
        result[self.entries] = values
        return result

    def whole_pairs(self, marginals: NDArray[np.float64], pairs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return pair marginals (N, N) of all groups from the marginals and pair marginals of the free ones."""
        whole = self.whole(marginals)
        result = np.outer(whole, whole)
        result[np.ix_(self.entries, self.entries)] = pairs
        return result


def restrict(model: PairwiseModel, clamp: tuple[Any, Any] | None = None) -> FreePart:
    """Split a model into the groups that are held, those with one category among them, and the free ones.

    Parameters
    ----------
    model : PairwiseModel
        Model of N entries.
    clamp : tuple of array_like, optional
        Groups that are held: (mask, values), bool of shape (groups,), one-hot of shape (N,); values of free groups do
        not count.

    Returns
    -------
    FreePart

    Raises
    ------
    TypeError, ValueError
        If the model is none, or the clamp has another shape or no one-hot values.
    """
    layout = check_model(model).layout
    mask, values = _check_clamp(model, clamp)
    mask = mask | (layout.categories == 1)
    entries = np.flatnonzero(~mask[layout.groups])
    held = np.where(mask[layout.groups], np.where(layout.categories[layout.groups] == 1, 1.0, values), 0.0)
    coupling, bias = model.coupling.astype(np.float64), model.bias.astype(np.float64)
    return FreePart(
        np.ascontiguousarray(coupling[np.ix_(entries, entries)]),
        (bias + coupling @ held)[entries],
        np.concatenate([[0], np.cumsum(layout.categories[~mask])]),
        entries,
        held,
        float(held @ (coupling @ held / 2 + bias)),
    )


def check_model(model: object) -> PairwiseModel:
    """Return a model, or raise."""
    if not isinstance(model, PairwiseModel):
        raise TypeError(f"model is of type {type(model).__name__}; allowed: PairwiseModel")
    return model


def _check_clamp(model: PairwiseModel, clamp: tuple[Any, Any] | None) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return mask (groups,) and values (N,) of a clamp, or raise."""
    layout = model.layout
    if clamp is None:
        return np.zeros(layout.n_groups, dtype=bool), np.zeros(layout.size)
    if not isinstance(clamp, tuple) or len(clamp) != 2:
        raise TypeError(f"clamp = {clamp!r}; allowed: (mask, values)")
    mask = validation.rectangular("mask of clamp", clamp[0])
    if mask.shape != (layout.n_groups,) or mask.dtype != np.bool_:
        raise ValueError(
            f"mask of clamp has shape {mask.shape} and dtype {mask.dtype}; allowed: {(layout.n_groups,)}, bool"
        )
    values = validation.finite("values of clamp", clamp[1], (layout.size,)).astype(np.float64)
    ones = np.add.reduceat(values, layout.offsets[:-1])
    binary = np.logical_and.reduceat(np.isin(values, (0.0, 1.0)), layout.offsets[:-1])
    wrong = np.flatnonzero(mask & ~(binary & (ones == 1.0)))
    if wrong.size:
        group = wrong[0]
        entries = values[layout.offsets[group] : layout.offsets[group + 1]].tolist()
        raise ValueError(f"values of clamp has {entries} for group {group}; allowed: one-hot")
    return mask, values
