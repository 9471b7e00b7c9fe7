"""Examples in docstrings run, and every public function says what it takes, gives and raises."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import hebbian
import sim
import theory

MODULES = [
    module.name
    for package in (hebbian, sim, theory)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def public():
    """The names that the packages export."""
    for name in (
        "hebbian",
        "hebbian.data",
        "sim",
        "theory.effective_theory",
        "theory.kernels",
        "theory.replica_symmetric",
    ):
        module = importlib.import_module(name)
        for word in module.__all__:
            value = getattr(module, word)
            if callable(value):
                yield pytest.param(value, id=f"{name}.{word}")


@pytest.mark.parametrize("function", list(public()))
def test_public_docstrings_name_every_parameter(function):
    text, parameters = inspect.getdoc(function), inspect.signature(function).parameters
    assert ("Parameters\n----------" in text) == bool(parameters)
    for parameter in parameters.values():
        assert parameter.name in text.split("Parameters\n----------", 1)[1], parameter.name
