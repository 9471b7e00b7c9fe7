r"""Learning to permute bits from the k inputs with a single one, and to do it exactly on all inputs.

Inputs are the nonzero words of k bits, divided by their length; the target is the word with its bits moved. An output
counts as right where every coordinate is positive for a 1 and not positive for a 0.
"""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hebbian import validation

Array = NDArray[np.float64]

# Most words that are listed at once.
_LARGEST = 2**20


@dataclass(frozen=True)
class PermutationTask:
    r"""A permutation of k bits, its training set and its inputs (arXiv:2502.16763).

    Parameters
    ----------
    k : int
        Number of bits, at least 2.
    permutation : array_like of int, shape (k,), optional
        Bit i of the input is bit ``permutation[i]`` of the target; by default the identity.
    rng : numpy.random.Generator, optional
        Draws the permutation, instead of giving it.

    Raises
    ------
    TypeError, ValueError
        If k is out of range, or the permutation is none, or given twice.

    Examples
    --------
    >>> task = PermutationTask(3, [1, 2, 0])
    >>> task.target([[1, 1, 0]]).tolist(), task.encode([[1, 1, 0]]).round(3).tolist()
    ([[0.0, 1.0, 1.0]], [[0.707, 0.707, 0.0]])
    """

    k: int
    permutation: Any = None
    rng: np.random.Generator | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        k = validation.integer("k", self.k, minimum=2)
        if self.rng is not None:
            if self.permutation is not None:
                raise ValueError("permutation and rng are both given; allowed: one of them")
            moved = validation.generator("rng", self.rng).permutation(k)
        else:
            moved = (
                np.arange(k) if self.permutation is None else validation.rectangular("permutation", self.permutation)
            )
        if moved.dtype.kind not in "iu" or not np.array_equal(np.sort(moved, axis=None), np.arange(k)):
            raise ValueError(f"permutation = {moved.tolist()} is none of {k} bits; allowed: 0 to {k - 1}, once each")
        object.__setattr__(self, "permutation", tuple(moved.tolist()))

    def train(self) -> tuple[Array, Array]:
        """Return the training inputs, the k unit vectors, and their targets, both of shape (k, k)."""
        X = np.eye(self.k)
        return X, self.target(X)

    def inputs(
        self,
        n_ones: int | Iterable[int] | None = None,
        count: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> NDArray[np.int8]:
        """Return words of given numbers of ones.

        Parameters
        ----------
        n_ones : int or iterable of int, optional
            Allowed numbers of ones, from 1 to k; by default all.
        count : int, optional
            How many words are drawn, independently and evenly; by default all of them are listed, at most 2^20.
        rng : numpy.random.Generator, optional
            Source of random numbers, needed with `count`.

        Returns
        -------
        ndarray of int8, shape (m, k)

        Raises
        ------
        TypeError, ValueError
            If an argument is out of range, or there are too many words to list.
        """
        n_ones = range(1, self.k + 1) if n_ones is None else n_ones
        allowed = n_ones if isinstance(n_ones, Iterable) else [n_ones]
        weights = sorted({validation.integer("n_ones", n, minimum=1, maximum=self.k) for n in allowed})
        if not weights:
            raise ValueError("n_ones is empty; allowed: at least one number of ones")
        numbers = [math.comb(self.k, n) for n in weights]
        if count is None:
            if sum(numbers) > _LARGEST:
                raise ValueError(f"{sum(numbers)} words of k = {self.k} bits; allowed: {_LARGEST} at once, or a count")
            ones = itertools.chain.from_iterable(itertools.combinations(range(self.k), n) for n in weights)
            return _words(list(ones), self.k)
        count = validation.integer("count", count, minimum=1)
        rng = validation.generator("rng", rng)
        drawn = rng.choice(weights, size=count, p=np.array(numbers, dtype=float) / sum(numbers))
        return _words([rng.choice(self.k, size=n, replace=False) for n in drawn], self.k)

    def encode(self, A: ArrayLike) -> Array:
        """Return words, shape (m, k), divided by their lengths.

        Raises
        ------
        TypeError, ValueError
            If an entry is neither 0 nor 1, or a word has no one.
        """
        A = check_words("A", A, self.k)
        return A / np.sqrt(A.sum(1, keepdims=True))

    def target(self, A: ArrayLike) -> Array:
        """Return words, shape (m, k), with their bits moved, as floats.

        Raises
        ------
        TypeError, ValueError
            If an entry is neither 0 nor 1, or a word has no one.
        """
        A = check_words("A", A, self.k)
        moved = np.empty(A.shape)
        moved[:, list(self.permutation)] = A
        return moved


def check_words(name: str, A: ArrayLike, k: int) -> Array:
    """Return words of k bits, shape (m, k), as floats, or raise unless all entries are 0 or 1 and none is zero."""
    words = validation.finite(name, A, (None, k)).astype(np.float64)
    if not ((words == 0) | (words == 1)).all():
        other = next(entry for entry in words.flat if entry not in (0, 1))
        raise ValueError(f"{name} has an entry {other}; allowed: 0 and 1")
    if not words.any(1).all():
        raise ValueError(f"{name} has no one in row {int(np.argmin(words.any(1)))}; allowed: words with at least one")
    return words


def round_output(F: ArrayLike) -> NDArray[np.bool_]:
    """Return the bits that outputs stand for: 1 where they are positive, of the same shape."""
    return np.asarray(F) > 0


def exact_match(F: ArrayLike, target: ArrayLike) -> NDArray[np.bool_]:
    """Return whether all bits are right.

    Parameters
    ----------
    F : array_like, shape (..., k)
        Outputs.
    target : array_like, shape (..., k)
        Bits, 0 or 1; leading axes broadcast.

    Returns
    -------
    ndarray of bool, shape (...)
    """
    return (round_output(F) == (np.asarray(target) > 0)).all(-1)


def _words(ones: list[Any], k: int) -> NDArray[np.int8]:
    words = np.zeros((len(ones), k), np.int8)
    for word, places in zip(words, ones, strict=True):
        word[list(places)] = 1
    return words
