import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hebbian import MultitaskingHebbian
from theory.replica_symmetric.amplitudes import descend, hierarchy, mixture, states
from theory.replica_symmetric.pattern_average import averages, entries


def law(K, d, **training):
    return entries(MultitaskingHebbian(N=9, K=K, dilution=d, **training), K=K)


def free_energy(n, T, entry_law):
    return 0.5 * n @ n - averages(n, T, entry_law, False)[4]


@given(
    K=st.integers(1, 6),
    d=st.floats(0, 0.97),
    T=st.just(0.0) | st.floats(0.005, 1.2),
    training=st.sampled_from([{}, {"training": "supervised", "quality": 0.6, "examples": 3}]),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_the_descent_ends_in_a_stationary_point_below_its_start(K, d, T, training):
    entry_law = law(K, d, **training)
    start = hierarchy(K, d, K)
    state = descend(start, T, entry_law)
    assert state.converged
    assert np.abs(averages(state.n, T, entry_law, False)[0] - state.n).max() < 1e-12
    assert state.free_energy <= free_energy(start, T, entry_law) + 1e-12
    assert np.all(np.diff(state.n) <= 0)
    assert state.n[-1] >= 0
    assert state.n @ state.n <= 1 - d + 1e-12
    assert state.free_energy == pytest.approx(state.energy - T * state.entropy, abs=1e-12)
    assert -1e-12 <= state.entropy <= math.log(2) + 1e-12
    if T >= 1 - d + 1e-6:
        assert not state.n.any()


@pytest.mark.parametrize(("d", "T"), [(0.2, 0.05), (0.55, 0.1), (0.7, 0.02), (0.85, 0.05), (0.65, 0.0)])
def test_the_descent_follows_the_dynamics(d, T):
    # dn/dt = G(n) - n, small steps, at points away from transitions.
    K, entry_law = 4, law(4, d)
    n = hierarchy(K, d, K)
    for _ in range(4000):
        n += 0.05 * (averages(n, T, entry_law, False)[0] - n)
    np.testing.assert_allclose(descend(hierarchy(K, d, K), T, entry_law).n, n, atol=1e-7)


def test_the_symmetry_of_the_start_is_kept():
    # At low T rounding alone would tell the patterns of an unstable mixture apart.
    for T in (0.0, 0.02):
        for condensed in (2, 4):
            state = descend(mixture(5, 0.3, condensed), T, law(5, 0.3))
            assert np.unique(state.n).tolist() == [0.0, state.n[0]]
            assert np.count_nonzero(state.n) == condensed
            assert not state.stable


def test_the_order_and_signs_of_a_start_do_not_matter():
    entry_law = law(3, 0.3)
    state = descend(hierarchy(3, 0.3, 3), 0.05, entry_law)
    other = descend(np.array([0.2, -0.7, 0.1]), 0.05, entry_law)
    np.testing.assert_allclose(other.n, state.n, atol=1e-12)
    np.testing.assert_allclose(other.m, state.m, atol=1e-12)


def test_the_states_of_two_patterns_by_a_grid_of_starts():
    # Every stationary point up to order and sign, from scipy's root of the gradient at many starts.
    from scipy.optimize import root

    for d, T in ((0.0, 0.3), (0.5, 0.1), (0.3, 0.5)):
        entry_law = law(2, d)
        found = set()
        for start in itertools.product(np.linspace(0, 0.95, 9), repeat=2):
            solution = root(lambda n, T=T, at=entry_law: n - averages(n, T, at, False)[0], start, tol=1e-12)
            if solution.success:
                found.add(tuple(np.sort(np.abs(solution.x).round(5))[::-1] + 0.0))
        ours = {tuple(state.n.round(5) + 0.0) for state in states(2, d, T, entry_law)}
        assert ours == found


def test_states_are_different_sorted_and_as_stable_as_they_say():
    d, T, entry_law = 0.7, 0.02, law(5, 0.7)
    found = states(5, d, T, entry_law)
    energies = [state.free_energy for state in found]
    assert energies == sorted(energies)
    assert found[0].stable
    for one, other in itertools.combinations(found, 2):
        assert np.abs(one.n - other.n).max() > 1e-6
    rng = np.random.default_rng(1)
    for state in found:
        assert np.linalg.norm(averages(state.n, T, entry_law, False)[0] - state.n) < 1e-12
        nearby = [free_energy(state.n + 1e-3 * rng.normal(size=5), T, entry_law) for _ in range(60)]
        assert state.stable == (min(nearby) > state.free_energy)


@pytest.mark.parametrize("training", ["supervised", "unsupervised"])
def test_the_stability_of_an_unsupervised_network_counts_single_examples(training):
    # f of the overlaps with two examples of one pattern, by enumeration, displaced towards one of them.
    r, M, d, T = 0.2, 2, 0.3, 0.2
    R = r**2 + (1 - r**2) / M

    def f(n):
        total = d * T * math.log(2)
        for chi in itertools.product((-1, 1), repeat=M):
            p = (1 - d) * math.prod((1 + r * c) / 2 for c in chi)
            total += p * T * math.log(2 * math.cosh(np.dot(chi, n) / (M * math.sqrt(R)) / T))
        return np.dot(n, n) / (2 * M) - total

    entry_law = law(1, d, training=training, quality=r, examples=M)
    state = descend(hierarchy(1, d, 1), T, entry_law, M if training == "unsupervised" else 1)
    n, h = state.n[0], 1e-4
    assert f([n, n]) == pytest.approx(state.free_energy, abs=1e-13)
    # The direction (1, -1), and the metric 1/M of the overlaps with the examples.
    curvature = M * (f([n + h, n - h]) + f([n - h, n + h]) - 2 * f([n, n])) / (2 * h**2)
    along = (f([n + h, n + h]) + f([n - h, n - h]) - 2 * f([n, n])) / h**2
    expected = min(curvature, along) if training == "unsupervised" else along
    assert state.eigenvalue == pytest.approx(expected, abs=1e-6)
    assert curvature < along  # the case tells the two trainings apart


@pytest.mark.parametrize("training", [{}, {"training": "supervised", "quality": 0.6, "examples": 3}])
def test_amplitudes_vanish_from_where_the_paramagnet_is_alone(training):
    entry_law = law(3, 0.25, **training)
    assert (descend(hierarchy(3, 0.25, 3), 0.75, entry_law).n == 0).all()
    below = descend(hierarchy(3, 0.25, 3), 0.75 * (1 - 1e-6), entry_law)
    assert below.converged
    assert below.n[0] > 1e-4
