"""Energies by the O(K) formulas against the literal Hamiltonian, symmetries, and order parameters."""

import functools
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hebbian import DenseHebbian
from hebbian.network import TRAININGS

INTERACTIONS = ("distinct", "all")


@functools.cache
def _tuples(N, P, interaction):
    if interaction == "distinct":
        return np.array(list(itertools.permutations(range(N), P)))
    return np.indices((N,) * P, dtype=np.int8).reshape(P, -1).T


def literal_energy(sample, sigma):
    """H as it is written down, in terms of the normalised pattern and all the P-tuples of sites."""
    model = sample.model
    if model.training == "unsupervised":
        learned, weight = sample.rows / math.sqrt(model.R), 1 / model.examples
    elif model.training == "supervised":
        learned, weight = sample.rows / model.examples / math.sqrt(model.R), 1.0
    else:
        learned, weight = sample.xi, 1.0
    y = learned * sigma
    if model.interaction == "exponential":
        return -weight * math.fsum(math.exp(math.fsum(row)) for row in y)
    tuples = _tuples(model.N, model.P, model.interaction)
    terms = [math.fsum(np.prod(row[tuples], axis=1)) for row in y]
    return -weight / (2 * model.N ** (model.P - 1)) * math.fsum(terms)


@st.composite
def systems(draw, interactions=(*INTERACTIONS, "exponential")):
    interaction = draw(st.sampled_from(interactions))
    P = None if interaction == "exponential" else draw(st.integers(2, 6))
    N = draw(st.integers(P or 2, 9))
    if interaction == "all" and P == 6:
        N = min(N, 7)  # 9^6 tuples for each row would take seconds
    training = draw(st.sampled_from(TRAININGS))
    learning = {}
    if training != "storing":
        learning = {"quality": draw(st.floats(0.05, 1.0)), "examples": draw(st.integers(1, 4))}
    model = DenseHebbian(N=N, P=P, K=draw(st.integers(1, 3)), interaction=interaction, training=training, **learning)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return model.quench(rng=rng), rng.choice([-1, 1], size=N)


def assert_energy_is_the_literal_sum(sample, sigma):
    model = sample.model
    # Terms cancel, down to 0: the literal sum, of rounded numbers, is good to 1e-13 of the lowest possible energy.
    rounding = 0.0 if model.P is None else 1e-13 * sample.prefactor * (model.N * (model.examples or 1)) ** model.P
    assert sample.energy(sigma) == pytest.approx(literal_energy(sample, sigma), rel=1e-10, abs=rounding)


@settings(max_examples=300, deadline=None)
@given(systems())
def test_energy_is_the_literal_sum(system):
    assert_energy_is_the_literal_sum(*system)


@pytest.mark.parametrize("training", TRAININGS)
@pytest.mark.parametrize(
    ("interaction", "P", "N"),
    [("distinct", P, 9) for P in range(2, 7)] + [("all", P, 9) for P in range(2, 6)] + [("all", 6, 7)],
)
def test_energy_is_the_literal_sum_at_the_largest_sizes(training, interaction, P, N):
    learning = {} if training == "storing" else {"quality": 0.3, "examples": 4}
    model = DenseHebbian(N=N, P=P, K=4, interaction=interaction, training=training, **learning)
    rng = np.random.default_rng(1)
    assert_energy_is_the_literal_sum(model.quench(rng=rng), rng.choice([-1, 1], size=N))


@settings(max_examples=60, deadline=None)
@given(systems())
def test_energy_by_tuples_is_the_energy(system):
    sample, sigma = system
    if sample.model.P is not None and sample.model.N**sample.model.P > 10**4:
        return
    # Both sums are of integers, exactly: no cancellation.
    assert sample.energy_by_tuples(sigma) == pytest.approx(sample.energy(sigma), rel=1e-10)


@settings(max_examples=60, deadline=None)
@given(systems(), st.data())
def test_gauge_symmetry(system, data):
    sample, sigma = system
    gauge = np.array(data.draw(st.lists(st.sampled_from([-1, 1]), min_size=len(sigma), max_size=len(sigma))))
    rotated = type(sample)(sample.model, (sample.xi * gauge).astype(np.int8), sample.rows * gauge)
    assert rotated.energy(sigma * gauge) == pytest.approx(sample.energy(sigma), rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(systems(INTERACTIONS))
def test_global_flip_multiplies_by_the_parity(system):
    sample, sigma = system
    assert sample.energy(-sigma) == pytest.approx((-1) ** sample.model.P * sample.energy(sigma), rel=1e-12)


def test_ground_state_of_one_pattern():
    # At sigma = xi every one of the N!/(N-P)! or N^P products is +1.
    for P in range(2, 7):
        for interaction, tuples in (("distinct", math.perm(20, P)), ("all", 20**P)):
            sample = DenseHebbian(N=20, P=P, K=1, interaction=interaction).quench(rng=np.random.default_rng(P))
            assert sample.energy(sample.xi[0]) == pytest.approx(-tuples / (2 * 20 ** (P - 1)), rel=1e-14)
    sample = DenseHebbian(N=20, P=None, K=1, interaction="exponential").quench(rng=np.random.default_rng(1))
    assert sample.energy(sample.xi[0]) == pytest.approx(-math.exp(20), rel=1e-14)


def test_hopfield_energy_is_the_coupling_matrix():
    sample = DenseHebbian(N=300, K=40).quench(rng=np.random.default_rng(1))
    J = sample.xi.T.astype(float) @ sample.xi / 300
    np.fill_diagonal(J, 0)
    sigma = np.random.default_rng(2).choice([-1, 1], size=300)
    assert sample.energy(sigma) == pytest.approx(-0.5 * sigma @ J @ sigma, rel=1e-12)


@pytest.mark.parametrize("P", [2, 3, 4])
@pytest.mark.parametrize("interaction", INTERACTIONS)
def test_training_on_one_perfect_example_is_storing(P, interaction):
    storing = DenseHebbian(N=30, P=P, K=9, interaction=interaction).quench(rng=np.random.default_rng(1))
    sigma = np.random.default_rng(2).choice([-1, 1], size=30)
    for training in ("supervised", "unsupervised"):
        model = storing.model.replace(training=training, quality=1.0, examples=4)
        learned = model.quench(rng=np.random.default_rng(3), archetypes=storing.xi)
        assert learned.energy(sigma) == pytest.approx(storing.energy(sigma), rel=1e-12)


@pytest.mark.parametrize("training", TRAININGS)
def test_prefactor_is_that_of_the_rows(training):
    learning = {} if training == "storing" else {"quality": 0.5, "examples": 3}
    model = DenseHebbian(N=12, P=3, K=5, training=training, **learning)
    sample = model.quench(rng=np.random.default_rng(1))
    R = 1.0 if training == "storing" else 0.25 + 0.75 / 3
    scale = {"storing": 1.0, "supervised": 1 / (3 * math.sqrt(R)), "unsupervised": 1 / math.sqrt(R)}[training]
    weight = 1 / 3 if training == "unsupervised" else 1.0
    assert sample.scale == pytest.approx(scale, rel=1e-15)
    assert sample.weight == pytest.approx(weight, rel=1e-15)
    assert sample.prefactor == pytest.approx(weight * scale**3 / (2 * 12**2), rel=1e-14)
    assert sample.model.has_sign_rows == (training != "supervised")
    one = model.replace(K=5, **({} if training == "storing" else {"examples": 1}))
    assert one.has_sign_rows


def test_prefactor_of_the_exponential_interaction_is_the_weight():
    model = DenseHebbian(N=12, P=None, K=5, interaction="exponential", training="unsupervised", quality=0.5, examples=4)
    assert model.quench(rng=np.random.default_rng(1)).prefactor == 0.25


def test_exponential_energy_beyond_the_floats():
    sample = DenseHebbian(N=1000, P=None, K=3, interaction="exponential").quench(rng=np.random.default_rng(1))
    assert sample.energy(sample.xi[0]) == -math.inf
    assert sample.log_energy(sample.xi[0]) == pytest.approx(1000.0, rel=1e-12)
    balanced = sample.xi[0] * np.repeat([1, -1], [800, 200])
    assert sample.energy(balanced) == pytest.approx(-math.exp(600), rel=1e-11)


@pytest.mark.parametrize("training", TRAININGS)
def test_learned_pattern_is_the_normalised_example_mean(training):
    rng = np.random.default_rng(1)
    if training == "storing":
        sample = DenseHebbian(N=8, K=3).quench(rng=rng)
        expected = sample.xi
    else:
        xi, eta = rng.choice([-1, 1], size=(3, 8)), rng.choice([-1, 1], size=(3, 5, 8))
        model = DenseHebbian(N=8, K=3, training=training, quality=0.5, examples=5)
        sample = model.quench(rng=rng, archetypes=xi, examples=eta)
        expected = eta.mean(axis=1) / math.sqrt(0.25 + 0.75 / 5)
    for mu in range(3):
        np.testing.assert_allclose(sample.learned(mu), expected[mu], rtol=1e-14)


def test_archetype_overlap():
    sample = DenseHebbian(N=100, K=7, training="supervised", quality=0.3, examples=4).quench(
        rng=np.random.default_rng(1)
    )
    sigma = np.random.default_rng(2).choice([-1, 1], size=100)
    np.testing.assert_allclose(sample.archetype_overlap(sigma), sample.xi.astype(int) @ sigma / 100, rtol=1e-15)
    assert sample.archetype_overlap(-sample.xi[3])[3] == -1.0


CALLS = ("energy", "energy_by_tuples", "archetype_overlap")


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    ("sigma", "error", "message"),
    [
        (np.ones(5), ValueError, r"sigma has shape \(5,\); allowed: \(6,\)"),
        (np.zeros(6), ValueError, "sigma has an entry 0.0; allowed: -1 and"),
        (["+"] * 6, TypeError, "sigma has dtype <U1"),
    ],
)
def test_configurations_are_checked(name, sigma, error, message):
    sample = DenseHebbian(N=6, K=2).quench(rng=np.random.default_rng(1))
    with pytest.raises(error, match=message):
        getattr(sample, name)(sigma)


@pytest.mark.parametrize(
    ("mu", "error", "message"),
    [
        (2, ValueError, "mu = 2 is out of range; allowed: 0 <= mu < K = 2"),
        (-1, ValueError, "mu = -1 is out of range"),
        (0.0, TypeError, "mu = 0.0 is not an integer"),
    ],
)
def test_learned_checks_the_pattern(mu, error, message):
    sample = DenseHebbian(N=6, K=2).quench(rng=np.random.default_rng(1))
    with pytest.raises(error, match=message):
        sample.learned(mu)


def test_log_energy_is_of_the_exponential_interaction_only():
    sample = DenseHebbian(N=6, K=2).quench(rng=np.random.default_rng(1))
    with pytest.raises(ValueError, match="interaction = 'distinct' has no log_energy; allowed: 'exponential'"):
        sample.log_energy(np.ones(6))


def test_products_do_not_depend_on_the_blocks_of_sites(monkeypatch):
    frozen = DenseHebbian(N=50, P=3, K=4, training="supervised", quality=0.5, examples=7).quench(
        rng=np.random.default_rng(0)
    )
    sigma = 2 * np.random.default_rng(1).integers(0, 2, 50) - 1
    whole = frozen.archetype_overlap(sigma)
    np.testing.assert_allclose(whole, frozen.xi.astype(int) @ sigma / 50, rtol=1e-15)
    for block in (1, 12, 33):
        monkeypatch.setattr("hebbian.quenched._BLOCK", block)
        np.testing.assert_array_equal(frozen.archetype_overlap(sigma), whole)
