import itertools

import numpy as np
import pytest

from hebbian import MultitaskingHebbian
from theory.replica_symmetric.given_patterns import solve_given


def every_combination(K, copies):
    """Patterns whose sites run through all combinations of entries, as often as at this (rational) dilution."""
    columns = [c for c in itertools.product((-1, 0, 1), repeat=K) for _ in range(copies ** (K - np.count_nonzero(c)))]
    return np.array(columns).T


def hierarchical(xi):
    spins = np.zeros(xi.shape[1], dtype=int)
    for row in xi:
        spins = np.where(spins == 0, row, spins)
    return np.where(spins == 0, 1, spins)


def test_hierarchical_amplitudes_at_zero_temperature():
    # A blank weighs as much as one entry of +1 and one of -1 do: d = 1/2 < d_c.
    xi = every_combination(3, 2)
    solution = solve_given(xi, T=0.0, initial=hierarchical(xi))
    np.testing.assert_allclose(solution.m.values[0], [0.5, 0.25, 0.125], atol=1e-15)
    assert solution.energy.item() == pytest.approx(-(0.25 + 0.0625 + 0.015625) / 2, abs=1e-15)
    # The energy of a spin in its field, counted once a pair: f = u at T = 0.
    assert solution.free_energy.item() == pytest.approx(solution.energy.item(), abs=1e-15)
    assert solution.q.item() == pytest.approx(1 - 0.5**3, abs=1e-15)


def test_single_pattern_follows_the_mattis_equation():
    xi = np.array([[1, 1, -1, 0]])
    solution = solve_given(xi, T=[0.3, 0.74, 0.76], initial=[1, 1, -1, 1])
    m = solution.m.values[:, 0]
    np.testing.assert_allclose(m[:2], 0.75 * np.tanh(m[:2] / np.array([0.3, 0.74])), atol=1e-11)
    # T_c = 1 - d = 3/4.
    assert m[1] > 0.1
    assert abs(m[2]) < 1e-9
    assert solution.converged.all()


def test_free_energy_is_stationary_and_gives_the_entropy():
    xi, step = every_combination(3, 3), 1e-4
    T = np.array([0.2 - step, 0.2, 0.2 + step])
    solution = solve_given(xi, T=T, initial=hierarchical(xi))
    f, u = solution.free_energy.values, solution.energy.values
    slope = (f[2] - f[0]) / (2 * step)
    assert f[1] - 0.2 * slope == pytest.approx(u[1], abs=1e-7)


def test_learned_rows_take_the_place_of_the_archetypes():
    model = MultitaskingHebbian(N=3000, K=2, dilution=0.4, training="supervised", quality=0.5, examples=20)
    sample = model.quench(rng=np.random.default_rng(0))
    learned = np.array([sample.learned(mu) for mu in range(2)])
    solution = solve_given(sample.xi, T=0.1, initial=hierarchical(sample.xi), learned=learned)
    n, m = solution.n.values[0], solution.m.values[0]
    means = np.tanh(n @ learned / 0.1)
    np.testing.assert_allclose(n, learned @ means / 3000, atol=1e-11)
    np.testing.assert_allclose(m, sample.xi @ means / 3000, atol=1e-11)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"archetypes": np.ones(4)}, ValueError, r"archetypes has shape \(4,\)"),
        ({"archetypes": np.full((1, 4), 2)}, ValueError, "archetypes has an entry 2"),
        ({"initial": np.zeros(4)}, ValueError, "initial has an entry 0"),
        ({"initial": np.ones(3)}, ValueError, r"initial has shape \(3,\)"),
        ({"learned": np.ones((2, 4))}, ValueError, r"learned has shape \(2, 4\)"),
        ({"learned": np.full((1, 4), np.nan)}, ValueError, "not finite"),
        ({"learned": np.full((1, 4), 1j)}, TypeError, "learned has dtype complex128"),
        ({"learned": "one"}, TypeError, "learned has dtype"),
        ({"learned": [[1.0], [1.0, 1.0]]}, ValueError, "learned = .* is ragged"),
        ({"archetypes": [[1], [1, 1]]}, ValueError, "archetypes = .* is ragged"),
        ({"T": -0.1}, ValueError, "T = -0.1 is out of range"),
    ],
)
def test_bad_input_is_named(changes, error, message):
    arguments = {"archetypes": np.ones((1, 4), dtype=int), "initial": np.ones(4), "T": 0.1} | changes
    with pytest.raises(error, match=message):
        solve_given(**arguments)


def test_the_lowest_temperature_is_the_limit():
    xi, start = np.array([[1, 1, -1, 0], [0, 1, 1, 1]]), np.ones(4)
    cold, zero = (solve_given(xi, T=T, initial=start) for T in (1e-320, 0.0))
    np.testing.assert_array_equal(cold.m.values, zero.m.values)
