r"""Interaction of one pattern with a configuration, as a function of their scalar product.

For a row of +-1 entries everything the Hamiltonian needs is the integer
:math:`S = \sum_i \eta_i \sigma_i`; for a row of real entries it needs the
elementary symmetric polynomials of :math:`y_i = \eta_i \sigma_i`.
"""

import functools
import itertools
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

INTERACTIONS = ("distinct", "all", "exponential")


def sign_polynomial(S: ArrayLike, N: int, P: int, interaction: str) -> NDArray[np.float64]:
    r"""Sum over index tuples of a product of P of N signs that add up to S.

    ``distinct``: :math:`P!\,e_P`, with :math:`(k+1) e_{k+1} = S e_k - (N-k+1) e_{k-1}`
    (from :math:`y_i^2 = 1`); ``all``: :math:`S^P`.

    Parameters
    ----------
    S : array_like of int
        Scalar products. Values beyond +-N are allowed: the polynomial is defined there.
    N, P : int
        Number of signs and order of the interaction, P >= 1.
    interaction : {"distinct", "all"}
        Tuples with all indices different, or all tuples.

    Returns
    -------
    ndarray of float64
        Exact (computed in integers of any size) up to the final rounding.
    """
    products = np.asarray(S).astype(object)
    if interaction == "all":
        return np.asarray(products**P, dtype=np.float64)
    previous, current = products * 0, products * 0 + 1
    for k in range(P):
        # k! e_k in place of e_k keeps the recursion in integers.
        previous, current = current, products * current - k * (N - k + 1) * previous
    return np.asarray(current, dtype=np.float64)


def elementary_symmetric(y: NDArray[np.floating], P: int) -> NDArray[np.float64]:
    r"""Elementary symmetric polynomials :math:`e_0 \dots e_P` of the entries of each row.

    Parameters
    ----------
    y : ndarray, shape (..., N)
        Rows of real numbers.
    P : int
        Highest order, at least 0.

    Returns
    -------
    ndarray of float64, shape (P + 1, ...)
        Built up a site at a time, :math:`e_k \leftarrow e_k + y_i e_{k-1}`.
    """
    e = np.zeros((P + 1, *y.shape[:-1]))
    e[0] = 1.0
    for i in range(y.shape[-1]):
        e[1:] += y[..., i] * e[:-1]
    return e


def tuple_sum(y: NDArray[np.floating], P: int, interaction: str) -> float:
    r"""Sum :math:`\sum_{i_1 \dots i_P} y_{i_1} \cdots y_{i_P}` term by term, for tests: :math:`O(N^P)`.

    Parameters
    ----------
    y : ndarray, shape (N,)
        One row.
    P : int
        Order of the interaction.
    interaction : {"distinct", "all"}
        Whether tuples with coinciding indices are left out or kept.

    Returns
    -------
    float
    """
    if interaction == "distinct":
        # The P! orders of a tuple have one product.
        return math.factorial(P) * math.fsum(math.prod(chosen) for chosen in itertools.combinations(y, P))
    products = functools.reduce(np.multiply.outer, [y] * P)
    return math.fsum(products.ravel())
