import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xarray as xr

from sim import TaskError, store, tabulate
from tests.sim.interrupted import contents

AXES = {"a": [1, 2, 3], "b": [0.5, 1.5], "word": ["x", "y"]}


def measure(point):
    a, b = point["a"], point["b"]
    return xr.Dataset(
        {
            "product": ((), a * b, {"units": "1"}),
            "powers": ("power", [a, a**2]),
            "large": a * b > 2,
        },
        coords={"power": [1, 2]},
    )


def check(result):
    assert result["product"].dims == ("a", "b", "word")
    assert result["powers"].dims == ("a", "b", "word", "power")
    expected = np.multiply.outer(AXES["a"], AXES["b"])[..., None].repeat(2, axis=2)
    np.testing.assert_array_equal(result["product"], expected)
    np.testing.assert_array_equal(result["powers"].sel(power=2, b=0.5, word="x"), [1, 4, 9])
    np.testing.assert_array_equal(result["large"], expected > 2)
    assert result["product"].attrs == {"units": "1"}
    assert result["powers"].dtype.kind == "i"
    assert result["word"].values.tolist() == ["x", "y"]
    assert (result["completed"] == 1).all()


def test_every_point_has_its_place_in_memory_and_in_a_file(tmp_path):
    check(tabulate(measure, AXES))
    filed = tabulate(measure, AXES, out=tmp_path / "results.h5", group="room/table")
    check(filed)
    check(store.read(tmp_path / "results.h5", "room/table"))
    xr.testing.assert_equal(filed, tabulate(measure, AXES))


def test_the_argument_is_made_of_the_coordinates():
    result = tabulate(lambda total: xr.Dataset({"x": total}), {"a": [1, 2], "b": [10]}, argument=lambda a, b: a + b)
    assert result["x"].values.tolist() == [[11], [12]]


def test_an_executor_and_an_interruption_change_nothing(tmp_path):
    tabulate(measure, AXES, out=tmp_path / "whole.h5", parameters={"c": 1})
    calls = []

    def stop(point):
        calls.append(point)
        if len(calls) == 6:
            raise ArithmeticError("enough")
        return measure(point)

    with pytest.raises(TaskError, match=r"task a = 2, b = 0.5, word = y failed: ArithmeticError: enough"):
        tabulate(stop, AXES, out=tmp_path / "results.h5", parameters={"c": 1})
    assert int((store.read(tmp_path / "results.h5", "simulation")["completed"] == 1).sum()) == 5
    with ThreadPoolExecutor(2) as executor:
        tabulate(
            stop, AXES, out=tmp_path / "results.h5", parameters={"c": 1}, resume=True, executor=executor, progress=False
        )
    # One that failed, and each once.
    assert len(calls) == 13
    assert contents(tmp_path / "results.h5") == contents(tmp_path / "whole.h5")


def test_shards_are_disjoint_and_make_up_the_whole(tmp_path):
    parts = [tabulate(measure, AXES, out=tmp_path / f"{i}.h5", shard=(i, 5)) for i in range(5)]
    np.testing.assert_array_equal(sum(part["completed"].values for part in parts), 1)
    for i in (2, 0, 1, 4, 3):
        whole = tabulate(measure, AXES, out=tmp_path / "whole.h5", shard=(i, 5), resume=True)
    check(whole)
    none = tabulate(measure, AXES, out=tmp_path / "none.h5", shard=(50, 51))
    assert not none["completed"].any()


@pytest.mark.parametrize(
    ("axes", "parameters", "message"),
    [
        (AXES | {"a": [1, 2, 4]}, {"c": 1}, r"a = \[1, 2, 3\], asked for is \[1, 2, 4\]"),
        (AXES, {"c": 2}, "parameters.c = 1, asked for is 2"),
        (AXES, {}, "parameters.c = 1, asked for is None"),
        ({"a": AXES["a"]}, {"c": 1}, "places = 'a b word', asked for is 'a'"),
    ],
)
def test_another_table_is_not_gone_on_with(tmp_path, axes, parameters, message):
    tabulate(measure, AXES, out=tmp_path / "results.h5", parameters={"c": 1})
    before = contents(tmp_path / "results.h5")
    with pytest.raises(ValueError, match=message):
        tabulate(measure, axes, out=tmp_path / "results.h5", parameters=parameters, resume=True)
    assert contents(tmp_path / "results.h5") == before


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"axes": {}}, ValueError, "have no point"),
        ({"axes": {"a": []}}, ValueError, "have no point"),
        ({"axes": {"a": [1, 1]}}, ValueError, r"a = \[1, 1\] repeats a value"),
        ({"axes": {"a": 3}}, ValueError, "a = 3 is no axis"),
        ({"axes": {"a": "abc"}}, ValueError, "a = 'abc' is no axis"),
        ({"axes": {"a": [[1, 2], [3, 4]]}}, ValueError, "is no axis"),
        ({"shard": (3, 2)}, ValueError, "i of shard"),
        ({"shard": 2}, TypeError, "shard = 2 is no pair"),
        ({"group": "/"}, ValueError, "group = '/' is no name"),
        ({"executor": 3}, TypeError, "executor = 3 is no executor"),
        ({"parameters": {"f": object()}}, TypeError, "cannot be kept"),
        ({"overwrite": True, "resume": True}, ValueError, "overwrite and resume"),
    ],
)
def test_bad_input_is_named_before_anything_is_done(tmp_path, arguments, error, message):
    def fail(_):
        pytest.fail("work was begun")

    with pytest.raises(error, match=message):
        tabulate(fail, **({"axes": AXES} | arguments), out=tmp_path / "results.h5")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("filed", [True, False])
@pytest.mark.parametrize(
    ("other", "message"),
    [
        (xr.Dataset({"x": ("site", [1.0, 2.0, 3.0])}), r"x of shape \(3,\) .* allowed: .* shape \(2,\)"),
        (xr.Dataset({"y": ("site", [1.0, 2.0])}), r"measured \['y'\]; allowed: .* \['x'\]"),
        (xr.Dataset({"x": ("site", [1j, 2j])}), "dtype complex128"),
    ],
)
def test_points_that_measure_other_things_are_refused(tmp_path, filed, other, message):
    answers = {1: xr.Dataset({"x": ("site", [1.0, 2.0])}), 2: other}
    out = tmp_path / "results.h5" if filed else None
    with pytest.raises(ValueError, match=message):
        tabulate(lambda point: answers[point["i"]], {"i": [1, 2]}, out=out)
    if filed:
        assert store.read(out, "simulation")["completed"].values.tolist() == [1, 0]


def test_a_function_that_returns_no_dataset_is_told_so():
    with pytest.raises(TaskError, match=r"task a = 1 failed: TypeError: 3 was returned; allowed: xarray.Dataset"):
        tabulate(lambda point: 3, {"a": [1]})
