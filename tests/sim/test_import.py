"""What the import of the package loads."""

import subprocess
import sys

# Each takes as long as numba to load, or needs an extra, and serves a function or two.
HEAVY = ("scipy.interpolate", "scipy.optimize", "sklearn", "matplotlib", "dask", "mpi4py", "torch", "typer")


def test_the_import_of_sim_loads_nothing_heavy():
    code = f"import sim, sys; print(*(name for name in {HEAVY} if name in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []
