import numpy as np
import pytest

from hebbian import DenseHebbian, MultitaskingHebbian
from sim import sweep
from sim.grid import LABELS, of_axes, of_points

MODEL = DenseHebbian(N=30, P=2, K=2)
LEARNING = DenseHebbian(N=20, P=2, K=2, training="supervised", quality=0.5, examples=3)


def test_a_product_of_axes():
    grid = of_axes(DenseHebbian(N=30, P=3), {"load": [0.1, 0.2], "N": [20, 24, 30]}, [0.5, 0.1])
    assert list(grid.outer) == ["load", "N"]
    assert grid.places == ("load", "N", "sample")
    assert not grid.apart
    assert [cell.indices for cell in grid.cells] == [((i, j),) for i in range(2) for j in range(3)]
    assert [(cell.model.load, cell.model.N) for cell in grid.cells[:2]] == [(0.1, 20), (0.1, 24)]
    assert grid.cells[4].label == "load = 0.2, N = 24"
    assert all(cell.T.tolist() == [0.5, 0.1] for cell in grid.cells)
    assert isinstance(grid.cells[0].model.N, int)


def test_a_list_of_points():
    points = {"T": [0.3, 0.1, 0.2, 0.3], "load": [0.1, 0.2, 0.1, 0.2]}
    grid = of_points(DenseHebbian(N=30, P=3), points, None, {})
    assert grid.apart
    assert grid.places == ("point", "sample")
    assert [(cell.model.load, cell.T.tolist(), cell.indices) for cell in grid.cells] == [
        (0.1, [0.3, 0.2], ((0,), (2,))),
        (0.2, [0.1, 0.3], ((1,), (3,))),
    ]
    assert {name: (dim, values.tolist()) for name, (dim, values) in grid.coordinates.items()} == {
        "T": ("point", points["T"]),
        "load": ("point", points["load"]),
    }
    assert not of_points(MODEL, {"N": [20, 24]}, 0.1, {}).apart


@pytest.mark.parametrize(
    ("model", "axis", "values"),
    [
        (MODEL, "N", [20, 24]),
        (MODEL, "P", [2, 4]),
        (MODEL, "K", [1, 3]),
        (DenseHebbian(N=30, P=2), "load", [0.1, 0.2]),
        (LEARNING, "quality", [0.4, 0.9]),
        (LEARNING, "examples", [1, 5]),
        (MultitaskingHebbian(N=30, K=2), "dilution", [0.0, 0.3]),
    ],
)
def test_every_parameter_can_be_an_axis_or_in_a_list(model, axis, values):
    run = {"T": [0.1, 0.4], "samples": 2, "sweeps": 3, "seed": 1, "progress": False}
    whole = sweep(model, **{axis: values}, **run)
    listed = sweep(model, points={axis: values}, **run)
    assert whole["m"].dims == (axis, "T", "sample", "replica")
    assert whole[axis].values.tolist() == values
    assert whole[axis].dtype.kind == ("i" if axis in ("N", "P", "K", "examples") else "f")
    assert whole[axis].attrs["long_name"] == LABELS[axis]
    for i, value in enumerate(values):
        alone = sweep(model.replace(**{axis: value}), **run)
        for name in ("m", "q", "energy"):
            np.testing.assert_array_equal(whole[name][i], alone[name])
            np.testing.assert_array_equal(listed[name][i], alone[name])


def test_all_axes_at_once():
    result = sweep(LEARNING, examples=[1, 5], quality=[0.4, 0.9], N=[20, 24], T=0.1, samples=1, sweeps=1, seed=1)
    assert result["m"].dims == ("N", "quality", "examples", "T", "sample", "replica")
    alone = sweep(LEARNING.replace(examples=5, quality=0.4, N=24), T=0.1, samples=1, sweeps=1, seed=1)
    np.testing.assert_array_equal(result["m"].sel(examples=5, quality=0.4, N=24), alone["m"])


def test_signed_zeros_are_one_point():
    with pytest.raises(ValueError, match="repeat a point"):
        of_points(MODEL, {"T": [0.0, -0.0]}, None, {})
