"""Single-spin-flip and synchronous dynamics of Hebbian networks."""

from sim.glauber.front import flip_energies, simulate

__all__ = ["flip_energies", "simulate"]
