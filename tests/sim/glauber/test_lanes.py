"""The vector code against NumPy, as compiled for this processor and for ones that can less."""

import os
import subprocess
import sys

import numpy as np
import pytest
from numba import njit

from sim.glauber import lanes
from sim.glauber.lanes import LANES, SITES


@njit
def fields(X, S, H):
    lanes.fields(X, S, H)


@njit
def settle(H, gram, squares, spins, bounds, changes, moved, heat_bath):
    return lanes.settle(H, gram, squares, spins, bounds, changes, moved, heat_bath)


@njit
def accumulate(X, changes, moved, count, S):
    lanes.accumulate(X, changes, moved, count, S)


def by_row(S):
    return S.transpose(0, 2, 1).reshape(-1, LANES).astype(np.int64)


def check(L=48):
    rng = np.random.default_rng(1)
    X = rng.integers(-9, 10, (SITES, L)).astype(np.int16)
    S = rng.integers(-(2**15), 2**15, (L // 2, LANES, 2)).astype(np.int16)
    # The extremes of a pair: two products of -2^15 are 2^31, which 32 bits do not hold; 2^15 - 1 they do.
    X[0], S[:, 0], S[:, 1] = 1, -(2**15), 2**15 - 1
    H = np.zeros((SITES, LANES), np.int32)
    fields(X, S, H)
    np.testing.assert_array_equal(H, X.astype(np.int64) @ by_row(S))
    gram = (X.astype(np.int64) @ X.T).astype(np.int32)
    squares = gram.diagonal().copy()
    for heat_bath in (True, False):
        spins = (2 * rng.integers(0, 2, (SITES, LANES)) - 1).astype(np.int32)
        bounds = rng.integers(-(10**6), 10**6, (SITES, LANES)).astype(np.int32)
        # Sites at which no lane changes.
        bounds[::3], spins[::3] = -(2**31), np.where(heat_bath, 1, spins[::3])
        changes, moved = np.zeros((SITES, LANES, 2), np.int16), np.zeros(SITES, np.int32)
        at, expected, change = H.astype(np.int64), spins.copy(), np.zeros_like(spins)
        for b in range(SITES):
            if heat_bath:
                expected[b] = np.where(at[b] - spins[b] * squares[b] > bounds[b], 1, -1)
            else:
                expected[b] = np.where(spins[b] * at[b] - squares[b] < bounds[b], -spins[b], spins[b])
            change[b] = expected[b] - spins[b]
            at[b + 1 :] += gram[b, b + 1 :, None].astype(np.int64) * change[b]
        count = settle(H.copy(), gram, squares, spins, bounds, changes, moved, heat_bath)
        np.testing.assert_array_equal(spins, expected)
        np.testing.assert_array_equal(changes, np.stack([change, change], axis=2))
        assert moved[:count].tolist() == np.flatnonzero(change.any(axis=1)).tolist()
        assert 0 < count < SITES
        S_before = by_row(S)
        accumulate(X, changes, moved, count, S)
        np.testing.assert_array_equal(by_row(S), (S_before + X.T.astype(np.int64) @ change).astype(np.int16))


@pytest.mark.parametrize("L", [16, 48, 256])
def test_this_processor(L):
    check(L)


@pytest.mark.parametrize("features", ["", "+avx2", "+avx512f,+avx512bw"])
def test_other_processors(features):
    if missing := set(features.replace("+", "").split(",")) - {""} - processor():
        pytest.skip(f"this processor has no {', '.join(sorted(missing))}")
    code = "from tests.sim.glauber.test_lanes import check; check()"
    environment = os.environ | {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": features}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=120)


def processor():
    from llvmlite import binding

    return {name for name, there in binding.get_host_cpu_features().items() if there}
