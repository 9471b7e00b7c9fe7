r"""Functions of a query token x_0 and keys x_1, ..., x_N that a random-feature attention layer is asked to learn.

Each is an average over keys of a polynomial,

.. math::
    f(x) = \frac1N \sum_{i=1}^N \langle \beta, x_0 \rangle^r \langle x_0, S x_i \rangle^q \langle \beta, x_i \rangle^p,

which is linear in a tensor of the tokens with a constant added, :math:`\tilde x = [x; 1]`:

.. math::
    f(x) = \frac1N \sum_i \langle \tilde x_0^{\otimes k} \otimes \tilde x_i^{\otimes (k+1)}, T_k \rangle
    \qquad\text{for every } k \ge \max(r + q,\; q + p - 1).
"""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hebbian import validation

# How far the norm of a token may be from 1.
_TOLERANCE = 1e-5


def sample_tokens(n: int, N: int, d: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return n inputs of a query and N keys, independent and uniform on the unit sphere, shape (n, N + 1, d).

    Parameters
    ----------
    n, N, d : int
        Inputs, keys of each, and dimension of a token, at least 1.
    rng : numpy.random.Generator
        Source of the tokens.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.
    """
    n, N, d = (validation.integer(name, value, minimum=1) for name, value in (("n", n), ("N", N), ("d", d)))
    x = validation.generator("rng", rng).normal(size=(n, N + 1, d))
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def check_tokens(x: ArrayLike, d: int | None = None, name: str = "x", *, unit: bool = True) -> NDArray[Any]:
    """Return tokens as floats, or raise unless they are finite, of shape (n, N + 1 >= 2, d), and of norm 1 (`unit`)."""
    x = validation.finite(name, x, (None, None, d))
    if x.shape[1] < 2 or x.shape[2] < 1:
        raise ValueError(f"{name} has shape {x.shape}; allowed: (any, at least 2 tokens: a query and keys, at least 1)")
    if unit and x.size:
        norm = np.linalg.norm(x, axis=-1)
        worst = norm.flat[np.abs(norm - 1).argmax()]
        if abs(worst - 1) > _TOLERANCE:
            raise ValueError(f"{name} has a token of norm {worst:.6g}; allowed: 1, as the closed forms assume")
    return x


def identity_bias(d: int, scale: float = 1.0) -> NDArray[np.float64]:
    """Return scale * blockdiag(I_d, 0), a mean of query-key matrices, shape (d + 1, d + 1).

    Parameters
    ----------
    d : int
        Dimension of a token, at least 1.
    scale : float
        Mean score of a query and an equal key.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.
    """
    d = validation.integer("d", d, minimum=1)
    return validation.real("scale", scale) * np.diag(np.append(np.ones(d), 0.0))


def partly_aligned(gamma: float, d: int, rng: np.random.Generator) -> NDArray[np.float64]:
    r"""Return :math:`S = \gamma I + \sqrt{1-\gamma^2}\, Z/\sqrt d` with Z Gaussian, shape (d, d).

    Parameters
    ----------
    gamma : float
        Weight of the identity, in [0, 1].
    d : int
        Dimension, at least 1.
    rng : numpy.random.Generator
        Source of Z.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.
    """
    gamma = validation.real("gamma", gamma, minimum=0.0, maximum=1.0)
    d = validation.integer("d", d, minimum=1)
    noise = validation.generator("rng", rng).normal(size=(d, d)) / math.sqrt(d)
    return gamma * np.eye(d) + math.sqrt(1 - gamma**2) * noise


@dataclass(frozen=True, eq=False)
class Target:
    """One of the functions above: of keys, of the query, or of keys weighted by their correlation with the query.

    Made by `key_power`, `query_power` and `correlation_weighted`, which check what they are given.

    Parameters
    ----------
    beta : ndarray, shape (d,)
        Direction.
    query, pairs, keys : int
        The powers r, q, p; r and q are not both positive.
    S : ndarray, shape (d, d)
        Correlation that is measured.
    """

    beta: NDArray[np.float64]
    query: int
    pairs: int
    keys: int
    S: NDArray[np.float64]

    def __call__(self, x: ArrayLike) -> NDArray[np.float64]:
        """Return f of inputs of shape (n, N + 1, d), shape (n,)."""
        x = check_tokens(x, self.d, unit=False).astype(np.float64)
        x_0, keys = x[:, 0], x[:, 1:]
        terms = (keys @ self.beta) ** self.keys
        if self.pairs:
            terms = terms * np.einsum("nid,nd->ni", keys, x_0 @ self.S) ** self.pairs
        return (x_0 @ self.beta) ** self.query * terms.mean(1)

    @property
    def d(self) -> int:
        """Dimension of a token."""
        return self.beta.size

    @property
    def degrees(self) -> tuple[int, int]:
        """Degree in the query and in the keys."""
        return self.query + self.pairs, self.pairs + self.keys

    @property
    def lowest_order(self) -> int:
        """Smallest k with a tensor T_k."""
        return max(self.degrees[0], self.degrees[1] - 1)

    def squared_norm(self) -> float:
        r"""Return :math:`|T|_F^2` of the tensor of the degrees, symmetric in the query and in the keys.

        With :math:`G = S^T S`, :math:`h_n` the complete homogeneous symmetric polynomials of its eigenvalues, and
        r = 0,

        .. math::
            |T|_F^2 = \binom{q+p}{q}^{-1} \sum_{l=0}^q h_{q-l}\, [z^l]
            \Big( \sum_j \beta^T G^j \beta\, z^j \Big)^p .

        That of :math:`T_k`, whose other slots hold the constant, is less by the two binomials that count their places.
        """
        q, p = self.pairs, self.keys
        if q == 0:
            return float(self.beta @ self.beta) ** (self.query + p)
        values, vectors = np.linalg.eigh(self.S.T @ self.S)
        chain = np.array([(vectors.T @ self.beta) ** 2 @ values**j for j in range(q + 1)])
        power = np.ones(1)
        for _ in range(p):
            power = np.convolve(power, chain)[: q + 1]
        h = [1.0]
        for n in range(1, q + 1):
            h.append(sum(float((values**length).sum()) * h[n - length] for length in range(1, n + 1)) / n)
        return float(power @ h[::-1][: power.size]) / math.comb(q + p, q)

    def expansion(self, order: int | None = None) -> dict[int, NDArray[np.float64]]:
        """Return {k: T_k}, symmetric in its first k slots (query) and in the k + 1 others (keys).

        Parameters
        ----------
        order : int, optional
            The one k, at least `lowest_order`, which is the default.

        Returns
        -------
        dict
            One array of shape (d + 1,) * (2 k + 1).

        Raises
        ------
        TypeError, ValueError, MemoryError
            If the order is out of range, or the array does not fit in memory.
        """
        k = validation.integer(
            "order", self.lowest_order if order is None else order, minimum=self.lowest_order, maximum=6
        )
        validation.memory(f"the tensor of order {k}", 24.0 * (self.d + 1) ** (2 * k + 1))
        beta, constant = np.append(self.beta, 0.0), np.append(np.zeros(self.d), 1.0)
        pair = np.zeros((self.d + 1, self.d + 1))
        pair[:-1, :-1] = self.S
        of_query, of_keys = self.degrees
        tensor = np.ones(())
        for factor in (
            [pair] * self.pairs + [beta] * (self.query + self.keys) + [constant] * (2 * k + 1 - of_query - of_keys)
        ):
            tensor = np.multiply.outer(tensor, factor)
        # The factors' slots: pairs, beta of the query, beta of the keys, constants of either.
        q, r, p = self.pairs, self.query, self.keys
        first = [*range(0, 2 * q, 2), *range(2 * q, 2 * q + r)]
        second = [*range(1, 2 * q, 2), *range(2 * q + r, 2 * q + r + p)]
        rest = list(range(of_query + of_keys, 2 * k + 1))
        missing = k - of_query
        tensor = tensor.transpose(first + rest[:missing] + second + rest[missing:])
        return {k: _symmetrised(_symmetrised(tensor, range(k)), range(k, 2 * k + 1))}


def key_power(beta: ArrayLike, p: int) -> Target:
    r"""Return :math:`(1/N) \sum_i \langle \beta, x_i \rangle^p`.

    Parameters
    ----------
    beta : array_like
        Direction, shape (d,).
    p : int
        Power, at least 1.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.
    """
    beta = _direction(beta)
    return Target(beta, 0, 0, validation.integer("p", p, minimum=1), np.eye(beta.size))


def query_power(beta: ArrayLike, p: int) -> Target:
    r"""Return :math:`\langle \beta, x_0 \rangle^p`.

    Parameters
    ----------
    beta : array_like
        Direction, shape (d,).
    p : int
        Power, at least 1.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.
    """
    beta = _direction(beta)
    return Target(beta, validation.integer("p", p, minimum=1), 0, 0, np.eye(beta.size))


def correlation_weighted(beta: ArrayLike, q: int, S: ArrayLike | None = None) -> Target:
    r"""Return :math:`(1/N) \sum_i \langle x_0, S x_i \rangle^q \langle \beta, x_i \rangle`.

    Parameters
    ----------
    beta : array_like
        Direction, shape (d,).
    q : int
        Power, at least 1.
    S : array_like, optional
        Shape (d, d); the identity by default.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range.
    """
    beta = _direction(beta)
    S = np.eye(beta.size) if S is None else validation.finite("S", S, (beta.size, beta.size)).astype(np.float64)
    return Target(beta, 0, validation.integer("q", q, minimum=1), 1, S)


def _direction(beta: ArrayLike) -> NDArray[np.float64]:
    beta = validation.finite("beta", beta, (None,)).astype(np.float64)
    if not beta.any():
        raise ValueError(f"beta = {beta.tolist()} is no direction; allowed: at least one entry other than 0")
    return beta


def _symmetrised(tensor: NDArray[np.float64], slots: range) -> NDArray[np.float64]:
    """Return the mean over all orders of some slots."""
    total, order = np.zeros_like(tensor), list(range(tensor.ndim))
    for permutation in itertools.permutations(slots):
        order[slots.start : slots.stop] = permutation
        total += tensor.transpose(order)
    return total / math.factorial(len(slots))
