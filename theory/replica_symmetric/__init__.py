"""Replica-symmetric theory of dense Hebbian networks."""

from theory.replica_symmetric.solve import solve

__all__ = ["solve"]
