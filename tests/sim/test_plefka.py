"""Mean-field dynamics against enumeration of the product measure and against Monte Carlo."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hebbian import DenseHebbian
from sim import exact, random, simulate
from sim.plefka import effective_dynamics, energy_covariance
from tests.sim.cases import TRAININGS, network

ORDERS = [(training, interaction, P) for training in TRAININGS for interaction, P in (("distinct", 2), ("diluted", 2))]
ORDERS += [(training, "distinct", P) for training in TRAININGS for P in (3, 4)]


def product_measure(m):
    """Probabilities of all configurations of independent spins with magnetisations m."""
    return np.prod((1 + exact.configurations(len(m)) * m) / 2, axis=1)


def mean_fields(energies, m):
    """Mean energy of the product measure and its derivatives, which are differences: it is multilinear."""
    ends = [[np.where(np.arange(len(m)) == i, s, m) for s in (1.0, -1.0)] for i in range(len(m))]
    slopes = [(product_measure(up) @ energies - product_measure(down) @ energies) / 2 for up, down in ends]
    return product_measure(m) @ energies, -np.array(slopes)


def entropy(m):
    p = np.stack([(1 + m) / 2, (1 - m) / 2])
    return -np.sum(p * np.log(np.where(p > 0, p, 1)))


@pytest.mark.parametrize(("training", "interaction", "P"), ORDERS)
@pytest.mark.parametrize(("order", "K"), [(1, 4), (2, 1)])
def test_a_fixed_point_solves_the_equations_of_the_product_measure(training, interaction, P, order, K):
    # Nine spins are few: at most temperatures or with more patterns the reaction leaves no magnetised fixed point.
    sample = network(training, interaction, P, N=9, K=K, seed=3)
    energies = exact.energies(sample)
    T = 0.6 * np.abs(energies).max() / 9
    result = effective_dynamics(sample, T=T, order=order, tolerance=1e-13, damping=0.3, seed=0, magnetisations=True)
    assert result.converged.all()
    m = result.magnetisation.values[0, 0]
    assert np.abs(m).max() > 0.1
    energy, fields = mean_fields(energies, m)
    q, c = np.mean(m**2), energy_covariance(sample.model) if order == 2 else 0.0
    fields -= (1 - q) / T * c * P * (P - 1) * q ** (P - 2) * m
    np.testing.assert_allclose(m, np.tanh(fields / T), atol=1e-11)
    energy -= 9 * c / T * (1 - q**P - (1 - q) * P * q ** (P - 1))
    assert result.energy.item() == pytest.approx(energy / 9, rel=1e-10)
    assert result.q.item() == pytest.approx(q, rel=1e-12)
    assert result.m.item() == pytest.approx(sample.xi[0] @ m / 9, rel=1e-12, abs=1e-14)
    assert result.n.item() == pytest.approx(sample.learned(0) @ m / 9, rel=1e-12, abs=1e-14)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), P=st.integers(2, 4), T=st.floats(0.2, 2.0))
def test_a_sweep_never_raises_the_variational_free_energy(seed, P, T):
    sample = network("supervised", "distinct", P, N=8, K=5, seed=seed)
    energies = exact.energies(sample)
    options = {"T": T, "seed": seed, "initial": "random", "magnetisations": True}
    trajectory = [effective_dynamics(sample, iterations=k, **options).magnetisation.values[0, 0] for k in range(1, 7)]
    free_energies = [product_measure(m) @ energies - T * entropy(m) for m in trajectory]
    assert np.diff(free_energies).max() < 1e-9


def second_cumulant(energies, m):
    r"""Plefka's second-order term :math:`\langle U^2 \rangle`, by the product measure."""
    energy, fields = mean_fields(energies, m)
    return product_measure(m) @ energies**2 - energy**2 - np.sum((1 - m**2) * fields**2)


@pytest.mark.parametrize("P", [2, 3, 4])
def test_covariance_is_the_second_order_term_averaged_over_all_patterns(P):
    # Exact: one pattern, all its 2^7 values, magnetisations of one size. Terms of different patterns average to 0.
    N, q = 7, 0.3
    m = math.sqrt(q) * np.array([1, -1, 1, 1, -1, 1, -1])
    model = DenseHebbian(N=N, P=P, K=1)
    draws = [
        second_cumulant(exact.energies(model.quench(rng=np.random.default_rng(0), archetypes=xi[None])), m)
        for xi in exact.configurations(N)
    ]
    expected = N * energy_covariance(model) * (1 - q**P - (1 - q) * P * q ** (P - 1))
    assert np.mean(draws) == pytest.approx(expected, rel=1e-10)
    assert energy_covariance(model.replace(K=5)) == pytest.approx(5 * energy_covariance(model), rel=1e-14)


@pytest.mark.parametrize("training", ["supervised", "unsupervised"])
@pytest.mark.parametrize(("interaction", "P"), [("distinct", 2), ("distinct", 3), ("diluted", 2)])
def test_covariance_of_networks_that_learn(training, interaction, P):
    # Over 400 samples; five standard errors: a false-alarm rate of 6e-7 for each case, with fixed seeds.
    N, q = 6, 0.4
    m = math.sqrt(q) * np.array([1, 1, -1, 1, -1, 1])
    model = network(training, interaction, P, N=N, K=2).model
    draws = [
        second_cumulant(exact.energies(model.quench(rng=random.stream(1, (k,), "patterns"))), m) for k in range(400)
    ]
    expected = N * energy_covariance(model) * (1 - q**P - (1 - q) * P * q ** (P - 1))
    error = np.std(draws, ddof=1) / math.sqrt(len(draws))
    assert error < 0.12 * expected
    assert abs(np.mean(draws) - expected) < 5 * error


def test_covariance_of_a_large_network_is_that_of_the_theory():
    # F(q) = g gamma q^P / 2 up to 1/N
    model = DenseHebbian(N=4000, P=4, load=0.2, training="unsupervised", quality=0.6, examples=7)
    g = (0.6**8 * (1 - 1 / 7) + 1 / 7) / model.R**4
    assert energy_covariance(model) == pytest.approx(g * 0.2 / 2, rel=2 * 6 / 4000)


def measured_and_expanded(model, T, samples, sweeps):
    """Mean and error over samples of m, q and energy: Monte Carlo, and the two orders minus it."""
    names, rows = ("m", "q", "energy"), []
    for k in range(samples):
        sample = model.quench(rng=random.stream(2, (k,), "patterns"))
        run = simulate(sample, T=T, sweeps=sweeps, equilibration=sweeps // 3, seed=2, task=(k,))
        expanded = [effective_dynamics(sample, T=T, order=order, seed=0) for order in (1, 2)]
        assert all(result.converged.all() for result in expanded)
        rows.append([[run[name].mean() for name in names], *([r[name].item() for name in names] for r in expanded)])
    data = np.array(rows)
    data[:, 1:] -= data[:, :1]
    return data.mean(axis=0), data.std(axis=0, ddof=1) / math.sqrt(samples)


def test_one_pattern_is_curie_weiss():
    # m = tanh(m / T) at one pattern and N -> infinity; the self term that a finite network lacks is 1/N.
    sample = network("storing", "distinct", 2, N=2000, K=1)
    result = effective_dynamics(sample, T=[0.4, 0.8, 1.2], seed=0, tolerance=1e-12)
    m = result.m.values[:, 0]
    np.testing.assert_allclose(m, np.tanh(m * (1 - 1 / 2000) / [0.4, 0.8, 1.2]), atol=1e-10)
    assert m[0] == pytest.approx(0.98562, abs=1e-3)
    assert abs(m[2]) < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "T"),
    [
        (DenseHebbian(N=2000, P=2, load=0.05), 0.3),
        (DenseHebbian(N=100, P=4, load=0.1), 0.4),
        (DenseHebbian(N=2000, P=2, load=0.05, training="supervised", quality=0.7, examples=20), 0.2),
    ],
    ids=["pairwise", "four-body", "supervised"],
)
def test_expansion_agrees_with_monte_carlo_in_the_retrieval_phase(model, T):
    # Sample by sample, so that disorder drops out. Six standard errors of eight samples (Student, seven degrees of
    # freedom): a false-alarm rate of 5e-4 for each number, seeds fixed; 5e-4 is room for the higher orders.
    mean, error = measured_and_expanded(model, T, samples=8, sweeps=600)
    first, second = np.abs(mean[1]), np.abs(mean[2])
    assert mean[0, 0] > 0.98
    assert (first < 5e-3).all()
    assert (second < 6 * error[2] + 5e-4).all()


@pytest.mark.slow
def test_the_reaction_removes_most_of_the_error_of_naive_mean_field():
    # alpha = .05, T = .4: naive mean field is off by many standard errors, the second order by a fraction of that.
    mean, error = measured_and_expanded(DenseHebbian(N=2000, P=2, load=0.05), 0.4, samples=6, sweeps=600)
    assert (np.abs(mean[1]) > 5 * error[1]).all()
    assert (np.abs(mean[2]) < 0.5 * np.abs(mean[1])).all()


def test_zero_temperature_is_a_fixed_point_of_the_descent():
    sample = network("storing", "distinct", 3, N=60, K=30)
    options = {"T": 0, "initial": "random", "seed": 4, "magnetisations": True}
    for order in (1, 2):
        sigma = effective_dynamics(sample, order=order, **options).magnetisation.values[0, 0]
        assert set(sigma) == {-1, 1}
        descent = simulate(sample, T=0, dynamics="descent", initial=sigma, sweeps=1, configurations=True, seed=1)
        np.testing.assert_array_equal(descent.spins.values[0, 0, 0], sigma)
    cold = effective_dynamics(sample, **(options | {"T": 1e-5})).magnetisation.values[0, 0]
    np.testing.assert_array_equal(np.sign(cold), sigma)


def test_damping_and_starts_change_the_path_and_not_the_fixed_point():
    sample = network("supervised", "distinct", 3, N=50, K=40)
    plain = effective_dynamics(sample, T=0.4, seed=0)
    damped = effective_dynamics(sample, T=0.4, seed=0, damping=0.5, corruption=0.05, replicas=2)
    assert damped.sizes == {"T": 1, "replica": 2}
    assert (damped.iterations > plain.iterations.item()).all()
    np.testing.assert_allclose(damped.m.values[0], plain.m.item(), atol=1e-8)
    short = effective_dynamics(sample, T=0.4, seed=0, iterations=1)
    assert short.iterations.item() == 1
    assert not short.converged.item()
    for name, variable in plain.data_vars.items():
        assert variable.attrs.keys() >= {"long_name", "units"}, name


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"order": 3}, ValueError, "order = 3 .* from 1 to 2"),
        ({"iterations": 0}, ValueError, "iterations = 0"),
        ({"tolerance": 0}, ValueError, "tolerance = 0"),
        ({"damping": 1.0}, ValueError, "damping = 1.0"),
        ({"T": -1}, ValueError, "T = -1"),
        ({"initial": "cold"}, ValueError, "initial = 'cold'"),
        ({"pattern": 30}, ValueError, "pattern = 30 is out of range"),
    ],
)
def test_bad_input_is_named(options, error, message):
    sample = network("storing", "distinct", 3, N=20, K=30)
    with pytest.raises(error, match=message):
        effective_dynamics(sample, **({"T": 0.5, "seed": 0} | options))


@pytest.mark.parametrize(("interaction", "P"), [("all", 3), ("all", 2), ("exponential", None)])
def test_coinciding_sites_are_refused(interaction, P):
    sample = network("storing", interaction, P, N=8, K=2)
    for order in (1, 2):
        with pytest.raises(ValueError, match=f"interaction = '{interaction}' .* allowed: 'distinct'"):
            effective_dynamics(sample, T=1, order=order, seed=0)
    with pytest.raises(ValueError, match="neither load nor K"):
        energy_covariance(DenseHebbian(N=8, P=2))
