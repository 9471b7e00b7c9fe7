"""What a simulation measures: Monte Carlo engines, sweeps and the results file."""

from sim.glauber import simulate
from sim.sweep import sweep

__all__ = ["simulate", "sweep"]
