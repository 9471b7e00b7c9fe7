import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from sim import simulate
from sim.glauber import device
from tests.sim.cases import network


@pytest.fixture
def no_simulator(monkeypatch):
    monkeypatch.setattr(device.config, "ENABLE_CUDASIM", 0)
    device.find.cache_clear()
    yield monkeypatch
    device.find.cache_clear()


class CUDARuntimeError(RuntimeError):
    """As CuPy's."""


def pretend(monkeypatch, properties):
    """Put a CuPy in place whose card, if there is one, has some properties."""

    def answer(number):
        if properties is None:
            raise CUDARuntimeError("cudaErrorNoDevice")
        return properties

    cupy = ModuleType("cupy")
    runtime = SimpleNamespace(getDeviceProperties=answer, CUDARuntimeError=CUDARuntimeError)
    card = SimpleNamespace(id=0, mem_info=(1000, 4000))
    cupy.cuda = SimpleNamespace(runtime=runtime, Device=lambda: card)
    cupy.get_default_memory_pool = lambda: SimpleNamespace(free_bytes=lambda: 200)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(device.importlib.util, "find_spec", lambda name: object())


def test_a_missing_package_is_named_with_the_extra_that_brings_it(no_simulator):
    no_simulator.setattr(device.importlib.util, "find_spec", lambda name: None if name == "numba_cuda" else object())
    with pytest.raises(ImportError, match=r"needs the package numba_cuda; .*hebbian\[gpu\]"):
        device.find()
    assert device.hardware() is None


def test_a_machine_without_a_card_says_so(no_simulator):
    pretend(no_simulator, None)
    with pytest.raises(ValueError, match=r"no CUDA device answers \(cudaErrorNoDevice\); allowed: 'auto', 'cpu'"):
        simulate(network("storing", "distinct", 2, 8, 2), T=0.3, sweeps=1, seed=1, backend="gpu")
    assert device.hardware() is None


def test_a_card_is_found_and_its_free_memory_includes_the_pool(no_simulator):
    pretend(no_simulator, {"name": b"H100", "multiProcessorCount": 132})
    found = device.hardware()
    assert (found.name, found.multiprocessors, found.simulated) == ("H100", 132, False)
    assert found.free_memory() == pytest.approx(0.85 * 1200)


def test_the_simulator_counts_only_where_it_is_asked_for():
    if not device.config.ENABLE_CUDASIM:
        pytest.skip("there is a card here")
    assert device.find().simulated
    assert device.find().xp is np
    assert device.hardware() is None
    assert "simulator" in device.find().engine
