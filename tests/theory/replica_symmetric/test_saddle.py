import itertools

import numpy as np
import pytest

from tests.theory.replica_symmetric.cases import CASES, build
from theory.replica_symmetric import field, saddle


def iterate(net):
    """Return n and C by damped iteration of the equations from the pattern, q = 1 - T C."""
    n, C = 1.0, 0.0
    for _ in range(20_000):
        averages = field.field_averages(0.5 * net.P * n ** (net.P - 1), field.noise(C, net)[0], net)
        change = abs(averages[1] - n) + abs(averages[2] - C)
        n, C = 0.5 * (n + averages[1]), 0.5 * (C + averages[2])
        if change < 1e-14:
            break
    return n, C


@pytest.mark.parametrize(("case", "T"), list(itertools.product(CASES, (0.0, 0.05, 0.4))))
def test_the_solution_is_the_one_that_iteration_from_the_pattern_reaches(case, T):
    net = build(*case, load=0.02, T=T)
    n, C = iterate(net)
    out = np.empty(7)
    saddle.solve_point(net, saddle.RETRIEVAL, out)
    # Without retrieval the iteration creeps to n = 0.
    expected = n if n > 1e-3 else 0.0
    assert out[1] == pytest.approx(expected, abs=1e-10)
    assert out[2] == pytest.approx(C, abs=1e-9 if expected else 1e-4)


def test_a_fold_separates_retrieval_from_none_within_rounding():
    # Just inside the fold the solution is sqrt(distance) away from it, and is still found.
    net = build(4, "distinct", "storing", load=1.0, T=0.0)
    low, high = 0.39, 0.4
    while high - low > 1e-15:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if saddle.retrieves(net, middle, 0.0) else (low, middle)
    inside = [saddle.largest_root(net._replace(load=low - d), saddle.RETRIEVAL)[0] for d in (1e-6, 1e-8, 1e-10)]
    # sqrt(1e-6) - sqrt(1e-10) against sqrt(1e-8) - sqrt(1e-10).
    assert (inside[0] - inside[2]) / (inside[1] - inside[2]) == pytest.approx(11, rel=0.01)
    assert not saddle.retrieves(net, low + 1e-13, 0.0)


@pytest.mark.parametrize("P", [3, 4, 6])
def test_the_glass_of_an_even_or_odd_order_solves_its_equation(P):
    net = build(P, "distinct", "storing", load=0.3, T=0.05)
    out = np.empty(7)
    saddle.solve_point(net, saddle.GLASS, out)
    q = 1 - net.T * out[2]
    assert q > 0.5
    averages = field.field_averages(0.0, field.noise(out[2], net)[0], net)
    assert averages[2] == pytest.approx(out[2], abs=1e-12)
    assert out[1] == 0


def test_a_point_without_solution_is_nan():
    out = np.empty(7)
    saddle.solve_point(build(2, "distinct", "storing", load=0.1, T=0.5), saddle.PARAMAGNET, out)
    assert np.isnan(out).all()


def test_a_second_fold_is_not_overlooked():
    # Three examples: the spins on which all agree keep n = .6 where the state of all spins is gone.
    net = build(6, "distinct", "supervised", load=1.0, T=0.2, r=0.5, M=3)
    out = np.empty(7)
    for load in np.linspace(0.1, 0.265, 34):
        saddle.solve_point(net._replace(load=load), saddle.RETRIEVAL, out)
        assert out[1] > 0.5
        assert out[6] < saddle.TOLERANCE
    assert not saddle.retrieves(net, 0.28, 0.2)
