r"""Solutions of :math:`(A + \rho) x = b` with a kernel matrix A: Cholesky's, or conjugate gradients of large ones."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from hebbian import validation

Array = NDArray[np.float64]

METHODS = ("auto", "cholesky", "cg")
#: Rows above which "auto" takes conjugate gradients: factors of as many take minutes and another matrix of memory.
LARGE = 8192
# Entries of a kernel of copies differ by rounding.
_COPIES = 1e-13
_ASYMMETRY = 1e-8


def kernel_matrix(name: str, values: ArrayLike, size: int | None = None) -> Array:
    """Return a symmetric matrix as floats, or raise unless it is one, finite and of the size."""
    array = validation.finite(name, values, (size, size)).astype(np.float64, copy=False)
    if array.shape[0] != array.shape[1] or not array.size:
        raise ValueError(f"{name} has shape {array.shape}; allowed: square, at least one row")
    largest = 0.0
    # A block at a time: the difference of a large matrix from its transpose is as large.
    for i in range(0, len(array), 512):
        largest = max(largest, float(np.abs(array[i : i + 512] - array[:, i : i + 512].T).max()))
    if largest > _ASYMMETRY * np.abs(np.diag(array)).max():
        raise ValueError(f"{name} differs by {largest} from its transpose; allowed: symmetric matrices")
    return array


def solver(
    name: str, matrix: Array, shift: float, method: str = "auto", tol: float = 1e-10
) -> tuple[Callable[[Array], Array], Array | None]:
    """Return the function from b, shape (N, ...), to x, and the Cholesky factor if there is one.

    Raises
    ------
    ValueError
        If the matrix is singular, with rows that coincide, or conjugate gradients do not converge.
    """
    method = validation.choice("method", method, METHODS)
    if method == "cg" or (method == "auto" and len(matrix) > LARGE):
        return lambda b: conjugate_gradients(name, matrix, shift, b, tol), None
    shifted = matrix.copy()
    shifted[np.diag_indices_from(shifted)] += shift
    try:
        factor = cho_factor(shifted, lower=True, overwrite_a=True, check_finite=False)
    except LinAlgError:
        raise singular(name, matrix, shift) from None
    pivots = np.diag(factor[0]) ** 2
    if pivots.min() <= len(matrix) * np.finfo(float).eps * pivots.max():
        raise singular(name, matrix, shift)
    return lambda b: cho_solve(factor, b, check_finite=False), factor[0]


def singular(name: str, matrix: Array, shift: float) -> ValueError:
    """Return the error of a singular matrix, with the first rows that coincide."""
    diagonal = np.diag(matrix)
    found = ""
    for i in range(len(matrix)):
        distance = diagonal[i] + diagonal[i + 1 :] - 2 * matrix[i, i + 1 :]
        copies = np.flatnonzero(distance <= _COPIES * diagonal[i] + 0.0)
        if copies.size:
            found = f": rows {i} and {i + 1 + int(copies[0])} coincide"
            break
    return ValueError(f"{name} + {shift} is singular{found}; allowed: distinct inputs, or a ridge (noise) > 0")


def conjugate_gradients(name: str, matrix: Any, shift: float, b: Array, tol: float, most: int | None = None) -> Array:
    r"""Solve :math:`(A + \rho) x = b` for all columns of b side by side, with the diagonal as preconditioner.

    Parameters
    ----------
    name : str
        What the matrix is called in errors.
    matrix : array, shape (N, N)
        A, symmetric and positive; anything that multiplies, as a `numpy.memmap`.
    shift : float
        :math:`\rho \ge 0`.
    b : ndarray, shape (N, ...)
        Right-hand sides.
    tol : float
        Largest norm of a residual in units of that of its b.
    most : int, optional
        Most products with A; default: 10 N.

    Raises
    ------
    ValueError
        If a residual does not come down to the tolerance.
    """
    columns = b.reshape(len(b), -1)
    inverse = 1 / (np.diagonal(matrix) + shift)[:, None]
    x, residual = np.zeros_like(columns), columns.copy()
    wanted = tol * np.linalg.norm(columns, axis=0)
    direction = inverse * residual
    energy = (residual * direction).sum(0)
    for _ in range(10 * len(b) if most is None else most):
        active = np.linalg.norm(residual, axis=0) > wanted
        if not active.any():
            return x.reshape(b.shape)
        product = matrix @ direction + shift * direction
        curvature = (direction * product).sum(0)
        # Columns that are solved, or that the matrix annuls, stand still.
        active &= curvature > 0
        if not active.any():
            break
        step = np.where(active, energy / np.where(active, curvature, 1.0), 0.0)
        x += step * direction
        residual -= step * product
        scaled = inverse * residual
        new = (residual * scaled).sum(0)
        direction = scaled + np.where(active, new / np.where(active, energy, 1.0), 0.0) * direction
        energy = new
    worst = float((np.linalg.norm(residual, axis=0) / np.linalg.norm(columns, axis=0)).max())
    raise ValueError(f"{name}: conjugate gradients end at a residual of {worst:.1e}; allowed: tol above it, or a ridge")
