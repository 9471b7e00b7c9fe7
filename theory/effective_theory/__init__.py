"""Effective theory of deep networks: criticality, and fluctuations to first order in depth over width."""

from theory.effective_theory.aspect_ratio import aspect_ratio, homogeneous_exact, mutual_information, nu
from theory.effective_theory.criticality import CriticalPoint, find_critical, learning_rates
from theory.effective_theory.finite_width import Flow, finite_width_flow, ntk_drift
from theory.effective_theory.kernel_flow import correlation_depth, kernel_flow, kernel_flow_two
from theory.effective_theory.moments import Moments, gauss, susceptibilities

__all__ = [
    "CriticalPoint",
    "Flow",
    "Moments",
    "aspect_ratio",
    "correlation_depth",
    "find_critical",
    "finite_width_flow",
    "gauss",
    "homogeneous_exact",
    "kernel_flow",
    "kernel_flow_two",
    "learning_rates",
    "mutual_information",
    "ntk_drift",
    "nu",
    "susceptibilities",
]
