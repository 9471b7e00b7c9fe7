"""What a simulation measures: Monte Carlo engines, effective dynamics, sweeps and the results file."""

from sim.glauber import flip_energies, simulate
from sim.plefka import effective_dynamics
from sim.sweep import quench, sweep
from sim.tempering import parallel_tempering, tuned_ladder

__all__ = [
    "effective_dynamics",
    "flip_energies",
    "parallel_tempering",
    "quench",
    "simulate",
    "sweep",
    "tuned_ladder",
]
