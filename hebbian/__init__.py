"""What a system is: models of Hebbian networks, their parameters, energies and patterns."""

from importlib.metadata import version

from hebbian.dense import DenseHebbian
from hebbian.multitasking import MultitaskingHebbian
from hebbian.network import HebbianNetwork
from hebbian.quenched import QuenchedSample

__version__ = version("hebbian")

__all__ = ["DenseHebbian", "HebbianNetwork", "MultitaskingHebbian", "QuenchedSample", "__version__"]
