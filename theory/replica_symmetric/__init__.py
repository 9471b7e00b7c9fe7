"""Replica-symmetric theory of dense Hebbian networks: order parameters, free energies, transition lines."""

from theory.replica_symmetric.lines import (
    almeida_thouless_temperature,
    critical_temperature,
    glass_temperature,
    nishimori,
)
from theory.replica_symmetric.solve import solve
from theory.replica_symmetric.spinodal import critical_load, spinodal_temperature

__all__ = [
    "almeida_thouless_temperature",
    "critical_load",
    "critical_temperature",
    "glass_temperature",
    "nishimori",
    "solve",
    "spinodal_temperature",
]
