"""Ensembles of random deep networks: fluctuations of preactivations, of the tangent kernel and of its change."""

from sim.effective_theory.statistics import sample_statistics

__all__ = ["sample_statistics"]
