r"""Gaussian processes with given kernels: posterior, evidence, samples (Rasmussen and Williams 2006, chapter 2)."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hebbian import validation
from theory.kernels.solvers import kernel_matrix, solver

Array = NDArray[np.float64]

# Eigenvalues of a covariance below zero by more than this, in units of the largest, are not rounding.
_NEGATIVE = 1e-8


@dataclass(frozen=True)
class Law:
    """Gaussian law of outputs, of which several are independent with one covariance.

    Parameters
    ----------
    mean : ndarray, shape (..., S) or (..., S, O)
        Of O outputs at S inputs; times, if there are several, come first.
    cov : ndarray, shape (..., S, S) or (..., S)
        Covariance of inputs, or variances alone.
    """

    mean: Array
    cov: Array


def posterior(
    k_tt: ArrayLike,
    k_st: ArrayLike,
    k_ss: ArrayLike,
    y: ArrayLike,
    noise: float = 0.0,
    *,
    method: str = "auto",
    tol: float = 1e-10,
) -> Law:
    r"""Return the law of the outputs at S inputs, given those at N inputs with noise of a variance.

    .. math::
        \mu = K_{st} (K_{tt} + \sigma^2)^{-1} y, \qquad
        \Sigma = K_{ss} - K_{st} (K_{tt} + \sigma^2)^{-1} K_{ts}

    Parameters
    ----------
    k_tt, k_st : array_like, shapes (N, N) and (S, N)
        Kernels between given inputs, and of others with them.
    k_ss : array_like, shape (S, S) or (S,)
        Kernels among the others, or of them with themselves: then only variances are returned.
    y : array_like, shape (N,) or (N, O)
        Given outputs.
    noise : float
        :math:`\sigma^2`, at least 0, of the noise that the given outputs have; that of the law is without.
    method : {"auto", "cholesky", "cg"}
        Cholesky's factor, or conjugate gradients; "auto" takes these for more than 8192 inputs.
    tol : float
        Residual at which conjugate gradients end, relative.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or K_tt + noise is singular (with the rows that coincide).
    """
    K, across, own, y = check_kernels(k_tt, k_st, k_ss, y)
    noise = validation.real("noise", noise, minimum=0.0)
    solve, _ = solver("k_tt", K, noise, method, validation.real("tol", tol, above=0.0))
    mean = across @ solve(y)
    gain = solve(np.ascontiguousarray(across.T))
    if own.ndim == 1:
        return Law(mean, own - (across.T * gain).sum(0))
    cov = own - across @ gain
    return Law(mean, (cov + cov.T) / 2)


def log_marginal_likelihood(k_tt: ArrayLike, y: ArrayLike, noise: float = 0.0) -> float:
    r"""Return the logarithm of the density of given outputs, summed over outputs.

    .. math::
        \ln p(y) = -\tfrac12 y^T (K_{tt} + \sigma^2)^{-1} y - \tfrac12 \ln\det (K_{tt} + \sigma^2) - \tfrac N2 \ln 2\pi

    Parameters
    ----------
    k_tt : array_like, shape (N, N)
        Kernel.
    y : array_like, shape (N,) or (N, O)
        Given outputs.
    noise : float
        :math:`\sigma^2`, at least 0.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or K_tt + noise is singular.
    """
    K = kernel_matrix("k_tt", k_tt)
    y = check_outputs(y, len(K))
    solve, factor = solver("k_tt", K, validation.real("noise", noise, minimum=0.0), "cholesky")
    assert factor is not None
    log_det = 2 * np.log(np.diag(factor)).sum()
    outputs = 1 if y.ndim == 1 else y.shape[1]
    return float(-0.5 * (y * solve(y)).sum() - 0.5 * outputs * (log_det + len(K) * math.log(2 * math.pi)))


def sample(law: Law, rng: np.random.Generator, n: int = 1) -> Array:
    """Return draws from a law, shape (n, *shape of its mean); those of several times are independent.

    Parameters
    ----------
    law : Law
        With covariances, not variances alone.
    rng : numpy.random.Generator
        Source of random numbers.
    n : int
        Number of draws, at least 1.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or a covariance is not symmetric or has a negative eigenvalue beyond rounding.
    """
    validation.generator("rng", rng)
    n = validation.integer("n", n, minimum=1)
    transposed = np.swapaxes(law.cov, -1, -2) if law.cov.ndim > 1 else law.cov[:0]
    if transposed.shape != law.cov.shape or not np.allclose(transposed, law.cov):
        raise ValueError(f"cov of shape {law.cov.shape} is not symmetric; allowed: covariances, not variances alone")
    values, vectors = np.linalg.eigh(law.cov)
    if values.min() < -_NEGATIVE * np.abs(values).max():
        raise ValueError(f"cov has the eigenvalue {values.min()}; allowed: covariances, without negative ones")
    root = vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]
    noise = rng.normal(size=(n, *law.mean.shape))
    if law.mean.ndim == law.cov.ndim:
        return law.mean + root @ noise
    return law.mean + (root @ noise[..., None])[..., 0]


def check_outputs(y: ArrayLike, size: int) -> Array:
    """Return outputs as floats, or raise unless they are finite, of shape (size,) or (size, O)."""
    array = validation.rectangular("y", y)
    shape = (size,) if array.ndim == 1 else (size, None)
    return validation.finite("y", array, shape).astype(np.float64, copy=False)


def check_kernels(k_tt: ArrayLike, k_st: ArrayLike, k_ss: ArrayLike, y: ArrayLike) -> tuple[Array, Array, Array, Array]:
    """Return kernels and outputs as floats, or raise unless their shapes fit."""
    K = kernel_matrix("k_tt", k_tt)
    across = validation.finite("k_st", k_st, (None, len(K))).astype(np.float64, copy=False)
    own = validation.rectangular("k_ss", k_ss)
    own = validation.finite("k_ss", own, (len(across),) * (1 if own.ndim == 1 else 2)).astype(np.float64, copy=False)
    return K, across, own, check_outputs(y, len(K))
