"""Kernels of wide random networks, and Gaussian processes that they are."""

from theory.kernels.duals import dual, dual_diag
from theory.kernels.expectation import gaussian_expectation

__all__ = ["dual", "dual_diag", "gaussian_expectation"]
