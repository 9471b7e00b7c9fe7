"""Random-feature attention: kernels of infinitely many heads against NumPy, features against the number of heads."""

import numba
import pytest
import torch

from benchmarks.conftest import Measure
from hebbian.attention_targets import sample_tokens
from hebbian.nn.attention_features import RandomFeatureAttention
from sim import random
from theory.attention_features import brfa_kernel, rfa_kernel

full = pytest.mark.full
KERNELS = {"zero mean": rfa_kernel, "biased": brfa_kernel}
N, D = 16, 16


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("n", [128, pytest.param(512, marks=full)])
@pytest.mark.parametrize("backend", ["numba", "numpy"])
def bench_kernel(measure: Measure, name: str, n: int, backend: str) -> None:
    x = sample_tokens(n, N, D, random.stream(0, (0,), "patterns"))
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    rounds = 1 if backend == "numpy" and name == "biased" else None
    facts = {"against": [(f"{name}, closed form in NumPy", None)]} if backend == "numba" else {}
    row = f"{name}, {'compiled' if backend == 'numba' else 'closed form in NumPy'}"
    run = lambda: KERNELS[name](x, backend=backend)  # noqa: E731
    measure(f"attention kernel, {n} inputs, N = d = {N}", row, run, (n * N) ** 2, "pair", rounds=rounds, **facts)
    numba.set_num_threads(threads)


@pytest.mark.parametrize("heads", [64, 1024])
def bench_features(measure: Measure, heads: int) -> None:
    x = torch.tensor(sample_tokens(128, N, D, random.stream(0, (0,), "patterns")), dtype=torch.float32)
    layer, threads = RandomFeatureAttention(D, heads, seed=0), torch.get_num_threads()
    torch.set_num_threads(1)

    def run() -> None:
        with torch.no_grad():
            layer.features(x)

    facts = {"against": [("64 heads", None)]} if heads > 64 else {}
    measure(f"attention features, 128 inputs, N = d = {N}", f"{heads} heads", run, 128 * heads, "head", **facts)
    torch.set_num_threads(threads)
