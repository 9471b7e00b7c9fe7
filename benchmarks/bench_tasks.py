"""What whole tasks cost: several temperatures, scaling, patterns, imports, the replica-symmetric theory."""

import functools
import subprocess
import sys
import time
from concurrent.futures import wait

import numpy as np
import pytest

from benchmarks import engine, limits, replica_symmetric
from benchmarks.bench_dense import NETWORKS as DENSE
from benchmarks.bench_dense import TRAININGS
from benchmarks.conftest import Measure
from hebbian import DenseHebbian, MultitaskingHebbian, QuenchedSample
from sim import executors, random, simulate
from theory import replica_symmetric as theory

full = pytest.mark.full
LADDER = np.linspace(0.1, 1.6, 16)


@functools.lru_cache(maxsize=2)
def sample(N: int, K: int) -> QuenchedSample:
    return engine.quench(DenseHebbian(N=N, P=2, K=K))


@pytest.mark.parametrize("way", ["one call", "sixteen calls"])
@pytest.mark.parametrize("N", [pytest.param(1000, id="1000"), pytest.param(5000, marks=full, id="5000")])
def bench_temperatures(measure: Measure, N: int, way: str) -> None:
    network, sweeps = sample(N, N // 20), 1000
    task = functools.partial(simulate, network, sweeps=sweeps, seed=1, replicas=1)
    work, name = N * sweeps * len(LADDER), f"16 temperatures 0.1 ... 1.6, N = {N}, K = {N // 20}, 1000 sweeps"
    if way == "one call":
        against = [("sixteen calls", 2.5)]
        measure(name, way, lambda: task(T=LADDER), work, "update", rounds=3, against=against)
    else:
        measure(name, way, lambda: [task(T=T) for T in LADDER], work, "update", rounds=3)


@full
@pytest.mark.parametrize("N", [500, 1000, 2000, 5000, 10_000, 20_000])
def bench_scaling_in_N(measure: Measure, N: int) -> None:
    scaling(measure, "scaling in N: P = 2, alpha = 0.05, T = 0.4, auto", f"N = {N}", N, N // 20)


@full
@pytest.mark.parametrize("K", [20, 50, 100, 200, 500])
def bench_scaling_in_K(measure: Measure, K: int) -> None:
    scaling(measure, "scaling in K: P = 2, N = 5000, T = 0.4, auto", f"K = {K}", 5000, K)


@full
@pytest.mark.parametrize("replicas", [1, 2, 4, 16])
def bench_scaling_in_chains(measure: Measure, replicas: int) -> None:
    name = f"{replicas} chain{'s' * (replicas > 1)}"
    scaling(measure, "scaling in chains: P = 2, N = 2000, K = 100, T = 0.4, auto", name, 2000, 100, replicas)


def scaling(measure: Measure, group: str, name: str, N: int, K: int, replicas: int = 1) -> None:
    network, T = sample(N, K), 0.4
    sweeps = measure.sweeps(engine.chain(network, T, "auto", 1, replicas=replicas).run)
    chain = engine.chain(network, T, "auto", sweeps, replicas=replicas)
    measure(group, name, chain.run, float(N) * sweeps * replicas, "update", note=chain.algorithm)


def alone(seed: int) -> None:
    """Do a task that shares nothing."""
    model = DenseHebbian(N=1000, P=2, K=50)
    simulate(model.quench(rng=random.stream(seed, (0,), "patterns")), T=0.4, sweeps=20_000, seed=seed, replicas=1)


@full
@pytest.mark.parametrize("workers", [1, 2])
def bench_cores(measure: Measure, workers: int) -> None:
    with executors.local(workers) as pool:
        wait([pool.submit(alone, seed) for seed in range(workers)])
        against = [("1 process", 1.85)] if workers == 2 else []
        name = f"{workers} process{'es' * (workers > 1)}"
        run = functools.partial(_all, pool)
        measure("scaling in cores: four tasks, P = 2, N = 1000, K = 50", name, run, 4, "task", against=against)


def _all(pool: executors.Pool) -> None:
    for future in [pool.submit(alone, seed) for seed in range(4)]:
        future.result()


PATTERNS = {
    "P = 2, N = 5000, K = 250, storing": DenseHebbian(N=5000, P=2, K=250),
    "P = 2, N = 5000, K = 250, supervised": DenseHebbian(N=5000, P=2, K=250, training="supervised", **TRAININGS),
    "P = 2, N = 5000, K = 250, unsupervised": DenseHebbian(
        N=5000, P=2, K=250, training="unsupervised", quality=0.6, examples=10
    ),
} | {name: model for name, model in DENSE.items() if "load" not in name}
PATTERNS["multitasking, N = 100000, K = 5, supervised"] = MultitaskingHebbian(
    N=100_000, K=5, dilution=0.2, training="supervised", **TRAININGS
)


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if "2" in n[:5] else full, id=n) for n in PATTERNS])
def bench_patterns(measure: Measure, name: str) -> None:
    """Draw a sample, and compare with a hundred sweeps of it at T = 0.3, estimated from ten where that is long."""
    model = PATTERNS[name]
    network, sweeps = engine.quench(model), 10 if model.order > 2 else 100
    simulate(network, T=0.3, sweeps=1, seed=1, replicas=1)
    times = []
    for _ in range(2):
        start = time.perf_counter()
        simulate(network, T=0.3, sweeps=sweeps, seed=1, replicas=1)
        times.append((time.perf_counter() - start) * 100 / sweeps)
    hundred = min(times)
    entries = network.rows.size
    aim = (hundred / 9 / entries, "10% of a task of 100 sweeps")
    limit = ("reading a byte an entry", limits.reading(entries))
    note = f"100 sweeps: {hundred * 1e3:.0f} ms"
    measure("patterns", name, lambda: engine.quench(model), entries, "entry", aim=aim, limit=limit, note=note)


@pytest.mark.parametrize("code", ["import sim", "import numba, h5py, xarray"])
def bench_import(measure: Measure, code: str) -> None:
    facts = {"against": [("import numba, h5py, xarray", 1 / 1.3)]} if code == "import sim" else {}
    run = functools.partial(subprocess.run, [sys.executable, "-c", code], check=True)
    measure("imports, a new process each", code, run, 1, "process", rounds=9, middle=True, **facts)


def bench_replica_symmetric(measure: Measure) -> None:
    model = DenseHebbian(N=100, P=replica_symmetric.P)
    loads, temperatures = replica_symmetric.LOADS, replica_symmetric.TEMPERATURES
    run = functools.partial(theory.solve, model, load=loads, T=temperatures)
    points = loads.size * temperatures.size
    measure("replica-symmetric theory", "P = 4, 100 x 100 points", run, points, "point", aim=(0.6 / points, "0.6 s"))


def bench_pattern_memory(measure: Measure) -> None:
    """Time a process that draws and simulates many patterns; its note is the peak of its memory."""
    code = "from benchmarks import memory; print(memory.peak())"
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    peak, entries = map(float, output.split())
    allowed = 1.6 * entries + 300e6
    note = f"peak {peak / 1e6:.0f} MB, {peak / allowed:.2f} of 1.6 bytes an entry + 300 MB"
    run = functools.partial(subprocess.run, [sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    measure("memory", "N = 200, P = 4, K = 240000, storing, one sweep", run, 1, "process", rounds=1, note=note)
