"""The O(N P) formulas for one pattern against literal sums and generating functions."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hebbian.interaction import INTERACTIONS, elementary_symmetric, sign_polynomial, tuple_sum


def _generating_function(S: int, N: int, P: int) -> int:
    """P! times the coefficient of x^P in (1 + x)^a (1 - x)^b, for a signs +1 and b signs -1."""
    a, b = (N + S) // 2, (N - S) // 2
    return math.factorial(P) * sum((-1) ** j * math.comb(b, j) * math.comb(a, P - j) for j in range(P + 1))


@given(st.integers(1, 400), st.integers(1, 14), st.data())
def test_distinct_polynomial_is_the_coefficient_of_the_generating_function(N, P, data):
    S = 2 * data.draw(st.integers(0, N)) - N
    # Equal as floats: both are integers rounded once.
    assert sign_polynomial(S, N, P, "distinct") == float(_generating_function(S, N, P))


@given(st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=5), st.integers(1, 14))
def test_all_polynomial_is_the_power(S, P):
    assert sign_polynomial(S, 10**6, P, "all").tolist() == [float(s**P) for s in S]


def test_polynomial_beyond_n():
    # e_2 = (S^2 - N)/2 and e_3 = (S^3 - (3N - 2) S)/6 hold for every S.
    assert sign_polynomial([7, -7], 5, 2, "distinct").tolist() == [44.0, 44.0]
    assert sign_polynomial([7, -7], 5, 3, "distinct").tolist() == [252.0, -252.0]


def test_polynomial_keeps_the_shape():
    assert sign_polynomial(np.zeros((2, 3), dtype=np.int64), 4, 2, "distinct").shape == (2, 3)


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=9))
def test_elementary_symmetric_is_the_polynomial_with_roots_minus_y(y):
    coefficients = np.poly(-np.array(y))
    result = elementary_symmetric(np.array(y), len(y))
    # Rounding scales with the same polynomial of |y|.
    bound = 1e-13 * np.poly(-np.abs(y))
    assert np.all(np.abs(result - coefficients) <= bound)


def test_elementary_symmetric_works_row_by_row():
    y = np.random.default_rng(1).normal(size=(2, 3, 5))
    result = elementary_symmetric(y, 2)
    assert result.shape == (3, 2, 3)
    for index in np.ndindex(2, 3):
        pairs = math.fsum(a * b for a, b in itertools.combinations(y[index], 2))
        assert result[(0, *index)] == 1.0
        assert result[(1, *index)] == pytest.approx(y[index].sum(), rel=1e-12)
        assert result[(2, *index)] == pytest.approx(pairs, rel=1e-12)


@pytest.mark.parametrize("interaction", INTERACTIONS[:2])
@pytest.mark.parametrize("P", [2, 3, 4])
def test_tuple_sum_is_the_loop_over_tuples(P, interaction):
    y = np.random.default_rng(P).normal(size=5)
    tuples = itertools.permutations(y, P) if interaction == "distinct" else itertools.product(y, repeat=P)
    assert tuple_sum(y, P, interaction) == pytest.approx(math.fsum(map(math.prod, tuples)), rel=1e-12)
