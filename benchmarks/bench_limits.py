"""The machine itself: reading, products and additions, which the other figures are measured against."""

import numpy as np
import pytest

from benchmarks import limits
from benchmarks.conftest import Measure

GROUP = "this machine, one core"


@pytest.mark.parametrize("size", [2**15, 2**19, 2**23, 2**28])
def bench_reading(measure: Measure, size: int) -> None:
    words = np.ones(size // 8, np.int64)
    repeat = 1 + 2**25 // size
    run = lambda: [limits.exclusive_or(words) for _ in range(repeat)]  # noqa: E731
    measure(GROUP, f"reading {size / 2**20:g} MiB again and again", run, repeat * words.nbytes, "byte")


@pytest.mark.parametrize(("kind", "function"), [("int16", limits.integer_products), ("float32", limits.real_products)])
def bench_products(measure: Measure, kind: str, function: object) -> None:
    rows, factors = np.ones((1000, 4096), np.int8), np.ones(4096, kind)
    measure(GROUP, f"int8 x {kind} products, 4 MiB", lambda: function(rows, factors), rows.size, "term")


def bench_additions(measure: Measure) -> None:
    rows, sums = np.ones((2000, 2000), np.int16), np.zeros(2000, np.int32)
    measure(GROUP, "int32 += 2 int16, 8 MiB", lambda: limits.add_rows(rows, sums), rows.size, "term")


def bench_matrix_product(measure: Measure) -> None:
    a = np.ones((1024, 1024), np.float32)
    measure(GROUP, "product of matrices in single precision", lambda: a @ a, a.size * 1024.0, "term")
