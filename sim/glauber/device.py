"""The GPU of this process, and the arrays that live on it: CuPy's, or NumPy's in Numba's simulator of CUDA."""

import importlib
import importlib.util
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numba import config
from numpy.typing import NDArray

from hebbian import validation

BACKENDS = ("auto", "cpu", "gpu")
EXTRA = "pip install 'hebbian[gpu]'"
# Of the free memory; the rest is for what libraries take without a word.
_SHARE = 0.85


@dataclass(frozen=True)
class Device:
    """A card and its arrays.

    Parameters
    ----------
    name : str
        Name of the card.
    xp : module
        Array namespace: CuPy, or NumPy in the simulator.
    multiprocessors : int
        Blocks of threads run on them side by side.
    simulated : bool
        Whether kernels run in Numba's simulator of CUDA, with a thread of Python for each of CUDA's.
    """

    name: str
    xp: Any
    multiprocessors: int
    simulated: bool

    @property
    def engine(self) -> str:
        """What runs the kernels, as the results file has it."""
        return "numba simulator of cuda" if self.simulated else "numba-cuda and cupy"

    def free_memory(self) -> float:
        """Bytes that new arrays may occupy."""
        if self.simulated:
            return validation.available_memory()
        # What CuPy's pool holds without using it is free too.
        pool = self.xp.get_default_memory_pool()
        return _SHARE * (self.xp.cuda.Device().mem_info[0] + pool.free_bytes())

    def release(self) -> None:
        """Give back what the pool of memory holds without using it."""
        if not self.simulated:
            self.xp.get_default_memory_pool().free_all_blocks()

    def shared_with_kernels(self, array: Any) -> Any:
        """Return an array as a kernel takes it: handing over a CuPy array itself would wait for the card each time."""
        if self.simulated:
            return array
        from numba import cuda

        # Kernels and CuPy use one stream, the default one: they wait for each other without a word.
        return cuda.as_cuda_array(array, sync=False)

    def launched(self, kernel: Any, blocks: int, threads: int, shared: int = 0) -> Any:
        """Return a kernel for blocks of threads, with bytes of shared memory; that few blocks are slow is no news."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # The simulator knows no shared memory without a byte.
            return kernel[blocks, threads, 0, max(shared, 16)]

    def to_host(self, array: Any) -> NDArray[Any]:
        """Return a copy in the memory of the host."""
        return np.array(array) if self.simulated else self.xp.asnumpy(array)


@cache
def find() -> Device:
    """Return the GPU of this process; Numba's simulator of CUDA (NUMBA_ENABLE_CUDASIM=1) counts as one.

    Raises
    ------
    ImportError
        If a package is missing, with the extra that brings it.
    ValueError
        If no card answers, with what was said instead.
    """
    if config.ENABLE_CUDASIM:
        return Device("Numba's simulator of CUDA", np, 1, True)
    for package in ("cupy", "numba_cuda"):
        if importlib.util.find_spec(package) is None:
            raise ImportError(f"backend = 'gpu' needs the package {package}; `{EXTRA}` brings it")
    cupy = importlib.import_module("cupy")
    try:
        properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise ValueError(f"backend = 'gpu': no CUDA device answers ({error}); allowed: 'auto', 'cpu'") from error
    return Device(properties["name"].decode(), cupy, properties["multiProcessorCount"], False)


def hardware() -> Device | None:
    """Return the GPU if there is a real one."""
    try:
        found = find()
    except (ImportError, ValueError):
        return None
    return None if found.simulated else found
