"""Kernels of wide random networks, and Gaussian processes that they are."""

from theory.kernels.duals import dual, dual_diag
from theory.kernels.expectation import gaussian_expectation
from theory.kernels.multilayer import Kernels, extend, mlp_kernel

__all__ = ["Kernels", "dual", "dual_diag", "extend", "gaussian_expectation", "mlp_kernel"]
