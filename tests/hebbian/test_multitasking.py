import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hebbian import DenseHebbian, HebbianNetwork, MultitaskingHebbian

TRAININGS = [{}] + [{"training": name, "quality": 0.6, "examples": 4} for name in ("supervised", "unsupervised")]


def sample(seed=0, **parameters):
    return MultitaskingHebbian(**parameters).quench(rng=np.random.default_rng(seed))


@pytest.mark.parametrize("training", TRAININGS)
def test_without_blanks_it_is_the_hopfield_network_bit_for_bit(training):
    diluted = sample(N=50, K=7, dilution=0.0, **training)
    dense = DenseHebbian(N=50, P=2, K=7, **training).quench(rng=np.random.default_rng(0))
    np.testing.assert_array_equal(diluted.xi, dense.xi)
    np.testing.assert_array_equal(diluted.rows, dense.rows)
    sigma = np.sign(np.random.default_rng(1).normal(size=50))
    assert diluted.energy(sigma) == dense.energy(sigma)


@pytest.mark.parametrize("training", TRAININGS)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), dilution=st.sampled_from([0.1, 0.5, 0.9]))
def test_energy_is_that_of_the_couplings(training, seed, dilution):
    frozen = sample(seed, N=9, K=3, dilution=dilution, **training)
    sigma = 2 * np.random.default_rng(seed).integers(0, 2, 9) - 1
    rows = frozen.rows * frozen.scale
    couplings = frozen.weight * rows.T @ rows / 9
    np.fill_diagonal(couplings, 0)
    assert frozen.energy(sigma) == pytest.approx(-sigma @ couplings @ sigma / 2, abs=1e-12)
    assert frozen.energy(sigma) == pytest.approx(frozen.energy_by_tuples(sigma), abs=1e-12)


@pytest.mark.parametrize("training", TRAININGS)
def test_blanks_are_as_frequent_as_stated_and_stay_blank_in_the_examples(training):
    frozen = sample(N=4000, K=5, dilution=0.7, **training)
    blank = frozen.xi == 0
    # Five standard errors: one false alarm in a million.
    assert blank.mean() == pytest.approx(0.7, abs=5 * np.sqrt(0.21 / blank.size))
    assert not np.any(
        frozen.rows.reshape(5, -1, 4000)[np.broadcast_to(blank[:, None], (5, len(frozen.rows) // 5, 4000))]
    )
    assert not frozen.model.has_sign_rows
    learned = np.array([frozen.learned(mu) for mu in range(5)])
    # E[eta^4] of the example mean is below 3.
    assert (learned**2).mean() == pytest.approx(0.3, abs=5 * np.sqrt(3 * 0.3 / learned.size))


def test_number_of_patterns_stays_when_the_size_changes():
    model = MultitaskingHebbian(N=100, load=0.05, dilution=0.3)
    assert (model.K, model.replace(N=200).K, model.replace(N=200).load) == (5, 5, 0.025)
    assert model.replace(load=0.1).K == 10
    assert model.replace(K=4).load == 0.04
    assert model.replace(dilution=0.5).K == 5
    assert (model.order, model.P, model.interaction) == (2, 2, "distinct")


def test_memory_counts_the_arrays():
    for training in TRAININGS:
        frozen = sample(N=300, K=5, dilution=0.5, **training)
        arrays = frozen.xi.nbytes + (frozen.rows.nbytes if training else 0)
        assert frozen.model.memory() == arrays


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"dilution": 1.0}, ValueError, "dilution = 1.0 is out of range; allowed: finite numbers in \\[0.0, 1.0\\)"),
        ({"dilution": -0.1}, ValueError, "dilution = -0.1 is out of range"),
        ({"dilution": float("nan")}, ValueError, "dilution = nan is out of range"),
        ({"dilution": "0.5"}, TypeError, "dilution = '0.5' is not a real number"),
        ({"N": 1}, ValueError, "N = 1 is out of range"),
        ({"K": 0}, ValueError, "K = 0 is out of range"),
        ({"K": 2**62}, ValueError, "K = 4611686018427387904 is out of range"),
        ({"K": None, "load": 0.0}, ValueError, "load = 0.0 is out of range"),
        ({"K": None, "load": 1e308}, ValueError, r"load = 1e\+308 .* allowed: K < 2\^62"),
        ({"load": 0.5}, ValueError, "load = 0.5 means K = 5, not K = 3"),
        ({"training": "none"}, ValueError, "training = 'none' is unknown"),
        ({"quality": 0.5}, ValueError, "quality = 0.5 has no meaning for training='storing'"),
        ({"training": "supervised", "quality": 0.5}, TypeError, "examples = None is not an integer"),
    ],
)
def test_bad_parameters_are_refused(changes, error, message):
    with pytest.raises(error, match=message):
        MultitaskingHebbian(**({"N": 10, "K": 3, "dilution": 0.5} | changes))


def test_what_networks_share_is_no_network():
    with pytest.raises(TypeError, match="abstract"):
        HebbianNetwork(N=10, K=3)  # type: ignore[abstract]


def test_unknown_parameters_of_replace_are_refused():
    with pytest.raises(TypeError, match=r"P = 3 is no parameter of MultitaskingHebbian; allowed: N, load, K"):
        MultitaskingHebbian(N=10, K=3).replace(P=3)


def test_given_archetypes_may_be_blank_only_in_a_diluted_network():
    xi = np.array([[1, 0, -1, 1], [0, 0, 1, -1]])
    given_rng = {"rng": np.random.default_rng(0)}
    frozen = MultitaskingHebbian(N=4, K=2, dilution=0.4).quench(archetypes=xi, **given_rng)
    np.testing.assert_array_equal(frozen.xi, xi)
    with pytest.raises(ValueError, match="archetypes has an entry 0; allowed: -1 and"):
        MultitaskingHebbian(N=4, K=2).quench(archetypes=xi, **given_rng)
    with pytest.raises(ValueError, match="archetypes has an entry 2; allowed: -1, 0 and"):
        MultitaskingHebbian(N=4, K=2, dilution=0.4).quench(archetypes=2 * xi, **given_rng)
    learning = MultitaskingHebbian(N=4, K=2, dilution=0.4, training="supervised", quality=0.5, examples=3)
    examples = np.repeat(xi[:, None], 3, axis=1)
    np.testing.assert_array_equal(learning.quench(archetypes=xi, examples=examples, **given_rng).rows, 3 * xi)


def test_squared_errors_are_distances():
    frozen = sample(N=40, K=3, dilution=0.5)
    sigma = 2 * np.random.default_rng(2).integers(0, 2, 40) - 1
    distances = [((frozen.xi - sign * sigma) ** 2).sum(axis=1) / 80 for sign in (1, -1)]
    np.testing.assert_allclose(frozen.squared_errors(sigma), distances, rtol=1e-14)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), dilution=st.sampled_from([0.0, 0.3, 0.8]))
def test_loss_of_stored_patterns_is_the_energy(seed, dilution):
    frozen = sample(seed, N=30, K=3, dilution=dilution)
    rng = np.random.default_rng(seed)
    sigma, other = 2 * rng.integers(0, 2, (2, 30)) - 1
    change = 2 * (frozen.energy(other) - frozen.energy(sigma)) / 30
    assert frozen.loss(other) - frozen.loss(sigma) == pytest.approx(change, abs=1e-12)
