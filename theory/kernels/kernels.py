"""Pair of kernels of a network of infinite width."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hebbian import validation

KERNELS = ("nngp", "ntk")


@dataclass(frozen=True)
class Kernels:
    """Kernels of pairs of inputs; one that was not asked for is None.

    Parameters
    ----------
    nngp, ntk : array, shape (N1, N2), optional
        Covariance of the outputs of random networks, and tangent kernel. With all layers (layers, N1, N2); of inputs
        with themselves (N1,).
    """

    nngp: Any = None
    ntk: Any = None


def kernel_names(get: str | Sequence[str]) -> list[str]:
    """Return the names of the kernels that are wanted, or raise unless they are known."""
    return [validation.choice("get", name, KERNELS) for name in ([get] if isinstance(get, str) else get)]
