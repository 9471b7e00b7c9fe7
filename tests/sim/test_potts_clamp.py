import numpy as np
import pytest

from sim.potts_clamp import restrict
from tests.sim import potts_cases

MODEL = potts_cases.model([(2, 3), (1, 1), (2, 2)])
VALUES = MODEL.layout.one_hot([1, 2, 0, 1, 0])


def test_weights_of_the_parts_are_those_of_the_whole():
    part = restrict(MODEL, (np.array([True, False, False, False, True]), VALUES))
    np.testing.assert_array_equal(part.entries, [3, 4, 5, 7, 8])
    np.testing.assert_array_equal(part.offsets, [0, 3, 5])
    for free in ([1, 0, 0, 1, 0], [0, 0, 1, 0, 1]):
        weight = part.log_weight + np.dot(free, part.coupling @ free / 2 + part.bias)
        assert weight == pytest.approx(MODEL.log_weight(part.whole(np.array(free, dtype=float))), rel=1e-13)


def test_values_of_free_groups_do_not_count():
    mask = np.array([True, False, False, False, True])
    values = np.where(np.repeat(mask, MODEL.layout.categories), VALUES, 7.0)
    first, second = (restrict(MODEL, (mask, v)) for v in (VALUES, values))
    np.testing.assert_array_equal(first.bias, second.bias)
    np.testing.assert_array_equal(first.held, second.held)
    # A group of one category is held whatever the clamp says.
    assert first.held[6] == 1


ALL = np.ones(5, dtype=bool)


@pytest.mark.parametrize(
    ("clamp", "error", "message"),
    [
        (ALL, TypeError, "clamp = array"),
        ((ALL[:4], VALUES), ValueError, r"mask of clamp has shape \(4,\) and dtype bool; allowed: \(5,\), bool"),
        ((ALL.astype(int), VALUES), ValueError, "dtype int64"),
        ((ALL, VALUES[:-1]), ValueError, "values of clamp has shape"),
        ((ALL, VALUES * np.nan), ValueError, "values of clamp"),
        ((ALL, VALUES / 2), ValueError, r"values of clamp has \[0.0, 0.5, 0.0\] for group 0; allowed: one-hot"),
        ((ALL, VALUES * (np.arange(11) > 8)), ValueError, "for group 0"),
        ((np.arange(5) == 4, 1 - VALUES * 0), ValueError, r"\[1.0, 1.0\] for group 4"),
    ],
)
def test_bad_clamps_are_named(clamp, error, message):
    with pytest.raises(error, match=message):
        restrict(MODEL, clamp)
