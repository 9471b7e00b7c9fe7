r"""Functions of a kernel matrix times vectors by series of Chebyshev polynomials, without its eigenvectors.

.. math::
    g(A)\, b = \sum_k c_k T_k(2A/\Lambda - 1)\, b

on the interval from 0 to :math:`\Lambda`, the largest sum of moduli in a row of A, which bounds its eigenvalues
(Gershgorin). For :math:`g(x) = (1 - e^{-\tau x})/x` terms fall off beyond k of the order of
:math:`\sqrt{\tau \Lambda}`, whatever the smallest eigenvalue is: products with A are all that is needed, and all times
share them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

Array = NDArray[np.float64]

# Terms below this, in units of the largest value of the function, are left out.
_SMALL = 1e-15
_MOST = 2**16


def spectral_bound(matrix: Any, shift: float) -> float:
    """Return a bound of the eigenvalues of a symmetric matrix with a multiple of the identity added, above it."""
    # A block at a time: the moduli of a large matrix are as large.
    sums = [float(np.abs(matrix[i : i + 512]).sum(1).max()) for i in range(0, len(matrix), 512)]
    return max(sums) + shift


def coefficients(function: Callable[[Array], Array], bound: float) -> Array | None:
    """Return the coefficients of a function on the interval from 0 to a bound; None if too many are needed."""
    size = 32
    while size <= _MOST:
        half = np.pi * (np.arange(size) + 0.5) / (2 * size)
        # Not one plus a cosine: late times tell the smallest x apart.
        c = dct(function(bound * np.cos(half) ** 2), type=2) / size
        c[0] /= 2
        large = np.flatnonzero(np.abs(c) > _SMALL * np.abs(c).sum())
        # As many again are known to be small.
        if large.size == 0 or 2 * large[-1] < size:
            return c[: large[-1] + 1] if large.size else c[:1]
        size *= 2
    return None


def apply(matrix: Any, shift: float, bound: float, series: list[Array], b: Array) -> list[Array]:
    """Return the functions of `series`, coefficients of each, of the matrix plus a shift, times b, shape (N, S)."""
    scale = 2 / bound
    before, now = b, scale * (matrix @ b + shift * b) - b
    sums = [c[0] * before + (c[1] * now if len(c) > 1 else 0.0) for c in series]
    for k in range(2, max(map(len, series))):
        before, now = now, 2 * (scale * (matrix @ now + shift * now) - now) - before
        for total, c in zip(sums, series, strict=True):
            if k < len(c):
                total += c[k] * now
    return sums
