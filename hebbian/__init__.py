"""What a system is: models of Hebbian networks, their parameters, energies and patterns."""

from importlib.metadata import version

from hebbian.dense import DenseHebbian
from hebbian.quenched import QuenchedSample

__version__ = version("hebbian")

__all__ = ["DenseHebbian", "QuenchedSample", "__version__"]
