"""What a simulation measures: Monte Carlo engines, effective dynamics, sweeps and the results file."""

from sim.adaptive import Adaptive
from sim.executors import open_executor
from sim.glauber import flip_energies, simulate
from sim.plefka import effective_dynamics
from sim.sweep import quench, sweep
from sim.tabulate import tabulate
from sim.tasks import Interrupted, TaskError
from sim.tempering import parallel_tempering, tuned_ladder

__all__ = [
    "Adaptive",
    "Interrupted",
    "TaskError",
    "effective_dynamics",
    "flip_energies",
    "open_executor",
    "parallel_tempering",
    "quench",
    "simulate",
    "sweep",
    "tabulate",
    "tuned_ladder",
]
