"""P = 4, distinct tuples, and multitasking networks: against NumPy, bare scalar products, and reading the patterns."""

import functools

import numpy as np
import pytest

from benchmarks import engine, limits
from benchmarks.conftest import Measure
from hebbian import DenseHebbian, MultitaskingHebbian, QuenchedSample

full = pytest.mark.full
TRAININGS = {"quality": 0.6, "examples": 20}
NETWORKS = {
    "P = 4, N = 100, load = 0.24, storing": DenseHebbian(N=100, P=4, load=0.24),
    "P = 4, N = 160, K = 80000, storing": DenseHebbian(N=160, P=4, K=80_000),
    "P = 4, N = 250, load = 0.24, storing": DenseHebbian(N=250, P=4, load=0.24),
    "P = 4, N = 160, K = 80000, supervised": DenseHebbian(N=160, P=4, K=80_000, training="supervised", **TRAININGS),
    "P = 4, N = 160, K = 8000, unsupervised": DenseHebbian(
        N=160, P=4, K=8000, training="unsupervised", quality=0.6, examples=10
    ),
    "multitasking, N = 100000, K = 5": MultitaskingHebbian(N=100_000, K=5, dilution=0.2),
}
QUICK = {
    "P = 4, N = 100, load = 0.24, storing",
    "P = 4, N = 160, K = 80000, supervised",
    "multitasking, N = 100000, K = 5",
}
CASES = [pytest.param(name, marks=() if name in QUICK else full, id=name) for name in NETWORKS]
# Most seconds a unit, in words.
AIMS = {
    "P = 4, N = 160, K = 80000, supervised": (1 / 2.5e9, "2.5e9 terms a second"),
    "multitasking, N = 100000, K = 5": (1 / 2.5e7, "2.5e7 updates a second"),
}


@functools.lru_cache(maxsize=1)
def sample(name: str) -> QuenchedSample:
    return engine.quench(NETWORKS[name])


@pytest.mark.parametrize("T", [0.3, 0.6])
@pytest.mark.parametrize("name", CASES)
def bench_engine(measure: Measure, name: str, T: float) -> None:
    network = sample(name)
    N, L = network.model.N, len(network.rows)
    sweeps = measure.sweeps(engine.chain(network, T, "auto", 1).run)
    chain = engine.chain(network, T, "auto", sweeps)
    chain.run()
    note = f"{chain.acceptance:.2%} flips"
    if network.model.P == 2:
        measure(name, f"auto, T = {T}", chain.run, N * sweeps, "update", aim=AIMS.get(name), note=note)
        return
    against = [("NumPy loop, T = 0.3", None)] if T == 0.3 and network.model.has_sign_rows else []
    against.append(("int8 x float32 products", 0.6 if "N = 160, K = 80000, storing" in name and T == 0.6 else None))
    limit = ("reading the patterns", limits.reading(network.rows.nbytes))
    facts = {"against": against, "limit": limit, "aim": AIMS.get(name), "note": note}
    measure(name, f"auto, T = {T}", chain.run, float(L) * N * sweeps, "term", **facts)


@pytest.mark.parametrize("name", [case for case in CASES if case.id.startswith("P")])
def bench_products(measure: Measure, name: str) -> None:
    """Time the scalar products of all rows with one vector of real numbers, and nothing else."""
    rows = np.ascontiguousarray(sample(name).rows.T)
    factors = np.ones(rows.shape[1], np.float32)
    measure(name, "int8 x float32 products", lambda: limits.real_products(rows, factors), rows.size, "term")


@full
@pytest.mark.parametrize("name", [case for case in CASES if "storing" in case.id])
def bench_loop(measure: Measure, name: str) -> None:
    network = sample(name)
    sweep = engine.numpy_rows(network, 0.3)
    measure(name, "NumPy loop, T = 0.3", sweep, network.rows.size, "term", rounds=2)
