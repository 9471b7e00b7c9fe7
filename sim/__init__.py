"""What a simulation measures: Monte Carlo engines, sweeps and the results file."""

from sim.glauber import flip_energies, simulate
from sim.sweep import quench, sweep

__all__ = ["flip_energies", "quench", "simulate", "sweep"]
