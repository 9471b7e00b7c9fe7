"""The vector code against NumPy, as compiled for this processor and for ones that can less."""

import os
import subprocess
import sys

import numpy as np
import pytest
from numba import njit

from sim.glauber import lanes
from sim.glauber.lanes import LANES, SITES, STEP, VECTORS


@njit
def fields(tile, S, H):
    lanes.fields(tile, S, H)


@njit
def settle_block(H, limits, spins, gram, rows, S):
    return lanes.settle_block(H, limits, spins, gram, rows, S)


@njit
def settle_fields(group, limits, spins, couplings, fields):
    return lanes.settle_fields(group, limits, spins, couplings, fields)


@njit
def contains(values, value):
    return lanes.contains(values, value)


def settled(H, limits, spins, products):
    """Return spins after updates in their order, whose flips change fields by the products; and all changes."""
    at, spins, change = H.astype(np.int64), spins.astype(np.int64), np.zeros(H.size, np.int64)
    for i in range(H.size):
        if (at[i] > limits[i]) != (spins[i] > 0):
            change[i] = -2 * spins[i]
            at += change[i] * products[i]
    return spins + change, change


def random_limits(rng, H):
    """Return limits that some spins flip at and most do not, with stretches at which none or all do."""
    spins = 2 * rng.integers(0, 2, H.size) - 1
    # Above the field a spin down stays.
    limits = H - spins * rng.integers(1, 10**6, H.size) * np.where(rng.random(H.size) < 0.2, -1, 1)
    limits[3:9], limits[20:24] = (H - spins * 10**8)[3:9], (H + spins * 10**8)[20:24]
    return limits.astype(np.int32), spins.astype(np.int8)


def check_block(L, kind, entry, wide_gram):
    rng, width = np.random.default_rng(L), 2 if kind is np.int16 else 1
    filled, largest = -(-L // STEP) * STEP, 9 if np.iinfo(entry).bits == 8 else 2000
    rows = np.zeros((SITES, filled), entry)
    rows[:, :L] = rng.integers(-largest, largest + 1, (SITES, L))
    rows[0] = 1
    limit = 2**15 if width == 2 else 2**17
    S = rng.integers(-limit // 2, limit // 2, filled).astype(kind)
    # The extremes of a pair: two products of -2^15 are 2^31, which 32 bits do not hold; 2^15 - 1 they do.
    S[:4] = -limit, limit - 1, -limit, limit - 1
    length = -(-L // 4) * 4
    tile = np.ascontiguousarray(rows[:, :length].reshape(VECTORS, LANES, length // width, width).transpose(0, 2, 1, 3))
    H = np.zeros((VECTORS, LANES), np.int32)
    fields(tile, S, H)
    rows_of_tile = np.where(np.arange(filled) < length, rows, 0).astype(np.int64)
    np.testing.assert_array_equal(H.ravel(), rows_of_tile @ S)
    products = rows.astype(np.int64) @ rows.T.astype(np.int64)
    gram = (2 * products).astype(np.int32 if wide_gram else np.int16)
    assert (gram == 2 * products).all()
    limits, spins = random_limits(rng, H.ravel())
    expected, change = settled(H.ravel(), limits, spins, products)
    S_expected = (S + rows.T.astype(np.int64) @ change).astype(kind)
    count = settle_block(H, limits, spins, gram.reshape(SITES, VECTORS, LANES), rows, S)
    np.testing.assert_array_equal(spins, expected)
    np.testing.assert_array_equal(S, S_expected)
    assert count == np.count_nonzero(change)
    assert 0 < count < SITES


def check_fields(kind, coupling):
    rng, N = np.random.default_rng(1), 50
    largest = 100 if np.iinfo(coupling).bits == 8 else 200
    couplings = np.zeros((N, 64), coupling)
    couplings[:, :N] = rng.integers(-largest, largest, (N, N))
    couplings[:, :N] += couplings[:, :N].T // 2
    start = rng.integers(-20_000, 20_000, 64).astype(kind)
    for group in range(N // LANES):
        sites = slice(group * LANES, (group + 1) * LANES)
        limits, spins = (np.tile(part, 2)[:N] for part in random_limits(rng, start[:32].astype(np.int64)))
        values, before = start.copy(), spins.copy()
        products = couplings[sites, sites].astype(np.int64)
        expected, change = settled(start[sites], limits[sites], spins[sites], products)
        count = settle_fields(group, limits, spins, couplings, values)
        np.testing.assert_array_equal(spins[sites], expected)
        np.testing.assert_array_equal(np.delete(spins, np.r_[sites]), np.delete(before, np.r_[sites]))
        np.testing.assert_array_equal(values, start + change @ couplings[sites].astype(np.int64))
        assert count == np.count_nonzero(change) > 0


def check():
    for L in (3, 32, 77, 256):
        check_block(L, np.int16, np.int8, False)
        check_block(L, np.int32, np.int8, False)
    check_block(77, np.int16, np.int16, True)
    check_block(77, np.int32, np.int16, True)
    check_fields(np.int16, np.int8)
    check_fields(np.int32, np.int16)


def test_this_processor():
    check()


def test_one_number_among_many():
    values = np.arange(STEP, dtype=np.int32)
    assert all(contains(values, value) for value in values)
    assert not contains(values, -1)
    assert not contains(values, STEP)


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
