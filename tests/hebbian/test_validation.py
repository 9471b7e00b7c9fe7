"""Every check passes what is allowed, and names argument, value and allowed range otherwise."""

import math
import os
from fractions import Fraction

import numpy as np
import pytest

from hebbian import validation


def test_integer_accepts_numpy_integers_and_returns_an_int():
    for value in (3, np.int8(3), np.uint64(3)):
        result = validation.integer("K", value, minimum=3)
        assert result == 3
        assert type(result) is int


@pytest.mark.parametrize("value", [3.0, "3", None, True, np.bool_(True), np.float64(3)])
def test_integer_refuses_other_types(value):
    with pytest.raises(TypeError, match=r"K = .* is not an integer; allowed: integers >= 1"):
        validation.integer("K", value, minimum=1)


def test_integer_refuses_smaller_values():
    with pytest.raises(ValueError, match=r"K = 0 is out of range; allowed: integers >= 1"):
        validation.integer("K", 0, minimum=1)


@pytest.mark.parametrize("value", [1, 0.5, np.float32(0.5), np.int16(1), Fraction(1, 2)])
def test_real_accepts_every_real_type(value):
    result = validation.real("r", value, above=0.0, maximum=1.0)
    assert result == value
    assert type(result) is float


@pytest.mark.parametrize("value", ["1", None, 1j, True, np.bool_(True), [1.0]])
def test_real_refuses_other_types(value):
    with pytest.raises(TypeError, match=r"r = .* is not a real number"):
        validation.real("r", value)


@pytest.mark.parametrize(
    ("value", "bounds", "interval"),
    [
        (0.0, {"above": 0.0}, r"\(0.0, inf\)"),
        (-0.1, {"minimum": 0.0}, r"\[0.0, inf\)"),
        (1.1, {"above": 0.0, "maximum": 1.0}, r"\(0.0, 1.0\]"),
        (1.0, {"minimum": 0.0, "below": 1.0}, r"\[0.0, 1.0\)"),
        (math.inf, {}, r"\(-inf, inf\)"),
        (math.nan, {}, r"\(-inf, inf\)"),
        (10**400, {}, r"\(-inf, inf\)"),
    ],
)
def test_real_names_the_interval(value, bounds, interval):
    with pytest.raises(ValueError, match=rf"r = .* is out of range; allowed: finite numbers in {interval}$"):
        validation.real("r", value, **bounds)


def test_real_accepts_closed_ends():
    assert validation.real("r", 0.0, minimum=0.0) == 0.0
    assert validation.real("r", 1.0, maximum=1.0) == 1.0


def test_choice():
    assert validation.choice("method", "a", ("a", "b")) == "a"
    for value in ("c", None, 1, ["a"]):
        with pytest.raises(ValueError, match=r"method = .* is unknown; allowed: 'a', 'b'"):
            validation.choice("method", value, ("a", "b"))


def test_axis_turns_numbers_into_a_float_array():
    for values in (1, [1], np.array([1], dtype=np.int8), 1.0):
        array = validation.axis("T", values)
        assert array.dtype == np.float64
        assert array.tolist() == [1.0]


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (["0.5"], TypeError, "not an array of real numbers"),
        (None, TypeError, "not an array of real numbers"),
        (True, TypeError, "not an array of real numbers"),
        (np.array([1j]), TypeError, "not an array of real numbers"),
        ([[1], [1, 2]], ValueError, "is ragged; allowed: rows of equal length"),
        ([[1.0]], ValueError, r"T has shape \(1, 1\); allowed: a number or a one-dimensional array"),
        ([], ValueError, "T is empty; allowed: at least one value"),
        ([1.0, math.nan], ValueError, "every value of T: T = nan is out of range"),
        ([1.0, 0.0], ValueError, r"every value of T: T = 0.0 is out of range; allowed: finite numbers in \(0.0, inf\)"),
        ([1.0, 2.0, 1.0], ValueError, "repeats a value; allowed: distinct values"),
    ],
)
def test_axis_refuses(values, error, message):
    with pytest.raises(error, match=message):
        validation.axis("T", values, above=0.0)


def test_axis_names_the_whole_interval():
    for value in (-0.1, 1.0):
        with pytest.raises(ValueError, match=rf"every value of d: d = {value} .* \[0\.0, 1\.0\)"):
            validation.axis("d", [0.5, value], minimum=0.0, below=1.0)
    with pytest.raises(ValueError, match=r"r = 1\.5 .* \(0\.0, 1\.0\]"):
        validation.axis("r", 1.5, above=0.0, maximum=1.0)


def test_axis_minimum_is_allowed():
    assert validation.axis("T", [0.0], minimum=0.0).tolist() == [0.0]
    with pytest.raises(ValueError, match=r"T = -1.0 is out of range; allowed: finite numbers in \[0.0, inf\)"):
        validation.axis("T", [-1.0], minimum=0.0)


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float32])
def test_signs_returns_int8(dtype):
    array = validation.signs("sigma", np.array([1, -1, -1], dtype=dtype), (3,))
    assert array.dtype == np.int8
    assert array.tolist() == [1, -1, -1]


def test_signs_accepts_one_sign_only_and_unsigned_types():
    assert validation.signs("sigma", [-1, -1], (2,)).tolist() == [-1, -1]
    assert validation.signs("sigma", np.ones(2, dtype=np.uint8), (2,)).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([1, -1, 1], ValueError, r"sigma has shape \(3,\); allowed: \(2,\)"),
        ([[1], [1, 1]], ValueError, "sigma = .* is ragged"),
        ([True, True], TypeError, "sigma has dtype bool; allowed: real numbers"),
        ([1j, 1], TypeError, "sigma has dtype complex128; allowed: real numbers"),
        (["1", "1"], TypeError, "sigma has dtype <U1"),
        ([0, 1], ValueError, "sigma has an entry 0; allowed: -1 and"),
        ([-2, 1], ValueError, "sigma has an entry -2; allowed: -1 and"),
        ([math.nan, 1], ValueError, "sigma has an entry nan; allowed: -1 and"),
        ([-1, 0], ValueError, "sigma has an entry 0; allowed: -1 and"),
        ([1, 2], ValueError, "sigma has an entry 2; allowed: -1 and"),
        ([-1, -0.5], ValueError, "sigma has an entry -0.5; allowed: -1 and"),
        ([-1, 0.5], ValueError, "sigma has an entry 0.5; allowed: -1 and"),
    ],
)
def test_signs_refuses(values, error, message):
    with pytest.raises(error, match=message):
        validation.signs("sigma", values, (2,))


def test_generator():
    rng = np.random.default_rng(1)
    assert validation.generator("rng", rng) is rng
    for value in (None, 1, np.random.RandomState, np.random.PCG64(1)):
        with pytest.raises(TypeError, match=r"rng = .* is not a random generator; allowed: numpy\.random\.Generator"):
            validation.generator("rng", value)


def test_memory_names_need_and_supply(monkeypatch):
    monkeypatch.setattr(validation, "available_memory", lambda: 2.0 * 2**30)
    validation.memory("the sample", 2.0 * 2**30)
    with pytest.raises(MemoryError, match=r"the sample needs about 3 GiB, 2 GiB are available; allowed: what fits"):
        validation.memory("the sample", 3.0 * 2**30)


def system(root, files):
    """Write system files under a folder that stands for /."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


MACHINE = {"proc/meminfo": "MemTotal: 9000 kB\nMemFree: 3 kB\nMemAvailable:   5000 kB\n"}
V1, V2 = "sys/fs/cgroup/memory/", "sys/fs/cgroup/"


def group(folder, limit, usage, cache=0, *, version=2):
    """The files of one control group; its own cache in version 1 is a part of what counts."""
    limit_file, usage_file = ("limit_in_bytes", "usage_in_bytes") if version == 1 else ("max", "current")
    own, total = (cache // 2, f"total_inactive_file {cache}\n") if version == 1 else (cache, "")
    return {
        f"{folder}memory.{limit_file}": f"{limit}\n",
        f"{folder}memory.{usage_file}": f"{usage}\n",
        f"{folder}memory.stat": f"anon 7\ninactive_file {own}\nactive_file 99\n{total}",
    }


@pytest.mark.parametrize(
    ("files", "available"),
    [
        (MACHINE, 5_120_000),
        ({"proc/meminfo": "MemTotal: 9 kB\n"}, math.inf),
        # Version 2: a limit of the group itself, of a parent, of the root of a container; none.
        (MACHINE | {"proc/self/cgroup": "0::/a/b\n"} | group(V2 + "a/b/", 1000, 300, 50), 750),
        (MACHINE | {"proc/self/cgroup": "0::/a/b\n"} | group(V2 + "a/b/", 1000, 300) | group(V2 + "a/", 900, 800), 100),
        (MACHINE | {"proc/self/cgroup": "0::/\n"} | group(V2, 1000, 300), 700),
        (MACHINE | {"proc/self/cgroup": "0::/a\n"} | group(V2 + "a/", "max", 300), 5_120_000),
        (MACHINE | {"proc/self/cgroup": "0::/a\n"} | group(V2 + "a/", 10**12, 300), 5_120_000),
        (MACHINE | {"proc/self/cgroup": "0::/a\n"} | group(V2 + "a/", 300, 400), 0),
        # Another group's limit, and groups that are not mounted here.
        (MACHINE | {"proc/self/cgroup": "0::/a\n"} | group(V2 + "b/", 1000, 300), 5_120_000),
        (MACHINE | {"proc/self/cgroup": "0::/../a\n"} | group(V2, 1000, 300) | group("sys/fs/", 10, 0), 700),
        # Version 1, alone and beside version 2; a path as the host sees it.
        (MACHINE | {"proc/self/cgroup": "3:memory:/a\n"} | group(V1 + "a/", 1000, 300, 50, version=1), 750),
        (
            MACHINE | {"proc/self/cgroup": "4:cpu:/\n3:memory:/a:b\n0::/\n"} | group(V1 + "a:b/", 900, 300, version=1),
            600,
        ),
        (MACHINE | {"proc/self/cgroup": "3:memory:/docker/1f\n"} | group(V1, 1000, 300, version=1), 700),
        (MACHINE | {"proc/self/cgroup": "3:memory:/\n"} | group(V1, 2**63 - 4096, 300, version=1), 5_120_000),
        # Limits where the machine itself does not say.
        ({"proc/meminfo": "", "proc/self/cgroup": "0::/a\n"} | group(V2 + "a/", 1000, 300), 700),
    ],
)
def test_available_memory_is_the_least_of_machine_and_control_groups(tmp_path, files, available):
    assert validation._available_memory(system(tmp_path, files)) == available


def test_available_memory_of_this_machine_is_that_of_its_files():
    assert 0 < validation.available_memory() < math.inf or not os.path.exists("/proc/meminfo")


def _unreadable(*_):
    raise OSError


def test_available_memory_without_proc(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 10, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert validation._available_memory(tmp_path) == 40960.0
    monkeypatch.setattr(os, "sysconf", _unreadable)
    assert validation._available_memory(tmp_path) == math.inf


def test_finite_returns_floats_of_the_shape():
    assert validation.finite("b", [1, 2], (2,)).dtype == np.float64
    assert validation.finite("b", np.ones((3, 2), np.float32), (None, 2)).dtype == np.float32
    assert validation.finite("b", np.ones(2, np.float16), (2,)).dtype == np.float64


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        ([[1, 2], [3]], ValueError, r"b = .* is ragged"),
        (np.ones((2, 2)), ValueError, r"b has shape \(2, 2\); allowed: \(any, 3\)"),
        (np.ones(3), ValueError, r"b has shape \(3,\); allowed: \(any, 3\)"),
        (np.ones((2, 3), complex), TypeError, r"b has dtype complex128; allowed: real numbers"),
        ([[0, 0, np.nan]], ValueError, r"b has an entry nan at \(0, 2\); allowed: finite numbers"),
    ],
)
def test_finite_refuses_other_shapes_and_values(values, error, words):
    with pytest.raises(error, match=words):
        validation.finite("b", values, (None, 3))
