"""Networks of finite width: tangent kernel (three hidden layers of 512, 200 inputs) and training of ensembles."""

import functools

import numpy as np
import pytest
import torch

from benchmarks.conftest import Measure
from hebbian.nn import NTKMLP
from sim.empirical_kernel import empirical_ntk
from sim.ensembles import train_ensemble

full = pytest.mark.full
N, D_IN, WIDTHS = 200, 784, [512, 512, 512]
# How much faster than the product of all derivatives the structured one has to be.
RATIO = 8.0
K, WIDTH, MEMBERS, STEPS = 10, 1024, 100, 20
MEMORY = 2**32


@functools.cache
def network(kind: str, d_out: int) -> tuple[NTKMLP, torch.Tensor]:
    torch.manual_seed(0)
    dtype = getattr(torch, kind)
    return NTKMLP(D_IN, WIDTHS, d_out, cw=2.0, dtype=dtype), torch.randn(N, D_IN, dtype=dtype)


@pytest.mark.parametrize("kind", ["float32", pytest.param("float64", marks=full)])
@pytest.mark.parametrize("method", ["structured", "jacobian"])
def bench_kernel(measure: Measure, kind: str, method: str) -> None:
    model, X = network(kind, 1)
    facts = {"against": [("jacobian", RATIO)]} if method == "structured" else {}
    run = functools.partial(empirical_ntk, model, X, method=method, memory=MEMORY)
    group = f"empirical tangent kernel, 3 x 512 hidden units, {N} inputs, one output, {kind}"
    measure(group, method, run, 1, "kernel", **facts)


@full
def bench_kernel_of_outputs(measure: Measure) -> None:
    model, X = network("float64", 10)
    run = functools.partial(empirical_ntk, model, X, memory=MEMORY)
    measure(f"empirical tangent kernel, 3 x 512 hidden units, {N} inputs, ten outputs, float64", "structured", run, 1,
            "kernel")  # fmt: skip


@pytest.mark.parametrize("batch", [MEMBERS, 1])
def bench_training(measure: Measure, batch: int) -> None:
    spec = {"d_in": K, "widths": [WIDTH], "d_out": K, "bias": False}
    X = np.eye(K)
    arguments = {"steps": STEPS, "lr": 1.0, "drift": False, "seed": 0}
    run = functools.partial(train_ensemble, spec, X, X, X, MEMBERS, batch=batch, **arguments)
    name = "one by one" if batch == 1 else "side by side"
    facts = {} if batch == 1 else {"against": [("one by one", None)]}
    measure(f"{MEMBERS} networks, {K} x {WIDTH} x {K}, float32", name, run, MEMBERS * STEPS, "step", **facts)
