"""Replica theory of Hebbian networks, dense and multitasking: order parameters, free energies, transition lines.

Maps are computed on as many threads as Numba has, ``NUMBA_NUM_THREADS``; results do not depend on their number.
"""

from theory.replica_symmetric import multitasking
from theory.replica_symmetric.breaking import one_step_critical_load, one_step_solve
from theory.replica_symmetric.given_patterns import solve_given
from theory.replica_symmetric.learning import entropy_threshold, learning_threshold
from theory.replica_symmetric.lines import (
    almeida_thouless_temperature,
    critical_temperature,
    glass_temperature,
    nishimori,
)
from theory.replica_symmetric.mixtures import mixture, mixture_loads, mixture_temperatures
from theory.replica_symmetric.multitasking_lines import condensation_temperatures, critical_dilution, parallel_dilution
from theory.replica_symmetric.solve import solve
from theory.replica_symmetric.spinodal import critical_load, spinodal_temperature

__all__ = [
    "almeida_thouless_temperature",
    "condensation_temperatures",
    "critical_dilution",
    "critical_load",
    "critical_temperature",
    "entropy_threshold",
    "glass_temperature",
    "learning_threshold",
    "mixture",
    "mixture_loads",
    "mixture_temperatures",
    "multitasking",
    "nishimori",
    "one_step_critical_load",
    "one_step_solve",
    "parallel_dilution",
    "solve",
    "solve_given",
    "spinodal_temperature",
]
