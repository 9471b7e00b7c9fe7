"""Kernels of wide random networks, and the Gaussian processes that such networks are, in training too."""

from theory.kernels.duals import dual, dual_diag
from theory.kernels.expectation import gaussian_expectation
from theory.kernels.gaussian_process import Law, log_marginal_likelihood, posterior, sample
from theory.kernels.kernels import Kernels
from theory.kernels.layers import Activation, Conv2d, Dense, Flatten, GlobalAvgPool, LayerNorm, Residual
from theory.kernels.multilayer import extend, mlp_kernel
from theory.kernels.networks import Network
from theory.kernels.training import descent, flow, train_law

__all__ = [
    "Activation",
    "Conv2d",
    "Dense",
    "Flatten",
    "GlobalAvgPool",
    "Kernels",
    "Law",
    "LayerNorm",
    "Network",
    "Residual",
    "descent",
    "dual",
    "dual_diag",
    "extend",
    "flow",
    "gaussian_expectation",
    "log_marginal_likelihood",
    "mlp_kernel",
    "posterior",
    "sample",
    "train_law",
]
