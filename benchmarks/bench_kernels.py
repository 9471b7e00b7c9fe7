"""NNGP and tangent kernel of ReLU networks, N = 2000, d = 784: against neural-tangents, and the arithmetic alone."""

import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numba
import numpy as np
import pytest

from benchmarks import limits, timing
from benchmarks.conftest import Measure
from benchmarks.kernels_peer import PYTHON, Peer, inputs
from theory.kernels import mlp_kernel

full = pytest.mark.full
N, D = 2000, 784
# How many times as fast as neural-tangents, by number of hidden layers; and most times of product and arithmetic.
AIMS, FLOORS = {3: 4, 20: 15}, 3
CASES = pytest.mark.parametrize(
    ("depth", "kind"),
    [(3, "float64"), *(pytest.param(*case, marks=full) for case in ((3, "float32"), (20, "float64"), (20, "float32")))],
)
PEER = "neural-tangents"


def heading(depth: int, kind: str) -> str:
    return f"NNGP and NTK, ReLU, {depth} hidden layers, N = {N}, d = {D}, {kind}, {numba.get_num_threads()} threads"


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    if not PYTHON.exists():
        pytest.skip("neural-tangents is not there; `make .venv-kernels/.installed` brings it")
    made = Peer()
    yield made
    made.close()


@functools.cache
def floor(depth: int, kind: str) -> float:
    """Return the seconds a pair of half of a product of matrices and of the arithmetic of all layers."""
    X, pairs, threads = inputs(N, D, kind), N * (N + 1) / 2, numba.get_num_threads()
    # NumPy computes one half of a matrix times its transpose, on one thread here.
    return (timing.best(lambda: X @ X.T) / pairs + depth * limits.angles(kind)) / threads


@CASES
def bench_kernels(measure: Measure, depth: int, kind: str) -> None:
    X = inputs(N, D, kind)
    run = functools.partial(mlp_kernel, X, depth=depth, cw=2.0, dtype=kind)
    facts = {"against": [(PEER, AIMS[depth])], "limit": ("product and arithmetic", floor(depth, kind))}
    facts["aim"] = (FLOORS * floor(depth, kind), f"{FLOORS} x product and arithmetic")
    measure(
        heading(depth, kind),
        "both kernels",
        run,
        N * (N + 1) / 2,
        "pair",
        note=f"{cpu(run):.3g} s of processor",
        **facts,
    )


def cpu(run: Callable[[], object]) -> float:
    """Return the shortest time of the processor, of all threads."""
    run()
    times = []
    for _ in range(5):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


@CASES
def bench_peer(measure: Measure, peer: Peer, depth: int, kind: str, tmp_path: Path) -> None:
    problem = {"N": N, "d": D, "depth": depth, "kind": kind}
    path = tmp_path / "kernels.npy"
    peer.kernels(**problem, path=str(path))
    found, expected = mlp_kernel(inputs(N, D, kind), depth=depth, cw=2.0, dtype=kind), np.load(path)
    off = ~np.eye(N, dtype=bool)
    pairs = zip((found.nngp, found.ntk), expected, strict=True)
    difference = max(np.abs(one[off] / two[off] - 1).max() for one, two in pairs)
    assert difference < (1e-10 if kind == "float64" else 1e-2)
    seconds = min(peer.kernels(**problem) for _ in range(3))
    ours = cpu(functools.partial(mlp_kernel, inputs(N, D, kind), depth=depth, cw=2.0, dtype=kind))
    note = f"{seconds:.3g} s of processor, {seconds / ours:.3g} x ours; relative difference of ours {difference:.1e}"
    measure(heading(depth, kind), PEER, lambda: peer.kernels(**problem), N * (N + 1) / 2, "pair", rounds=3, note=note)
