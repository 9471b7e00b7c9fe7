"""Without a card, the GPU's kernels run in Numba's simulator of CUDA, which is chosen before Numba is imported."""

import ctypes
import os
import sys

import pytest


def has_driver() -> bool:
    """Whether the driver of an NVIDIA card can be loaded."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


if not has_driver():
    os.environ.setdefault("NUMBA_ENABLE_CUDASIM", "1")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("gpu") and not has_driver():
            item.add_marker(pytest.mark.skip(reason="there is no NVIDIA card here"))


@pytest.fixture
def short_turns():
    """Let threads take turns quickly: those of the simulated blocks wait for each other."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)
