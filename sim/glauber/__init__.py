"""Single-spin-flip and synchronous dynamics of Hebbian networks."""

from sim.glauber.front import simulate

__all__ = ["simulate"]
