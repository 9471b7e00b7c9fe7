import numpy as np
import pytest

from hebbian.potts import GroupLayout, PairwiseModel, coupling_bounds, monotone_coupling
from sim.monotone_dbm import find_fixed_points, measure_contraction, random_probabilities
from tests.sim import potts_cases


def frustrated():
    """Twenty groups that repel each other alike, the spectrum of the coupling from -18.05 to 0.95."""
    layout = GroupLayout([(20, 3)])
    isometry = np.linalg.qr(np.column_stack([np.ones(3), np.eye(3)[:, :2]]))[0][:, 1:].T
    coupling = monotone_coupling(np.tile(isometry, 20), layout, margin=0.05)
    return PairwiseModel(coupling, np.random.default_rng(0).normal(size=60), layout)


def curie_weiss(c):
    """Twenty binary groups that attract each other alike, without bias."""
    layout = GroupLayout([(20, 2)])
    return PairwiseModel(c / 19 * np.kron(1 - np.eye(20), np.eye(2)), np.zeros(40), layout)


STEPS = {
    "forward_backward": (0.02, 0.05, 0.1, 0.11, None),
    "peaceman_rachford": (0.3, 1.0, None),
    "douglas_rachford": (0.3, 1.0, None),
    "softmax_pr": (1.0, 1.5, 2.0),
    "mirror": (0.02, 0.1, None),
}


@pytest.mark.parametrize(("method", "step"), [(method, step) for method in STEPS for step in STEPS[method]])
def test_no_step_contracts_less_than_its_bound(method, step):
    measured = measure_contraction(frustrated(), method, step, starts=40, steps=30, seed=1)
    assert measured.worst <= measured.bound * (1 + 1e-9)
    assert 0 < measured.mean <= measured.worst
    assert measured.factors.shape[1] == 20


def test_bound_of_forward_backward_is_not_idle():
    low, high = coupling_bounds(frustrated().coupling, frustrated().layout)
    np.testing.assert_allclose([low, high], [-18.05, 0.95], atol=1e-10)
    measured = measure_contraction(frustrated(), "forward_backward", starts=100, steps=20, seed=1)
    assert measured.bound == pytest.approx((1 - low - (1 - high)) / (2 - low - high + 2), rel=1e-12)
    assert measured.worst > 0.8 * measured.bound


def test_pairs_that_have_met_have_no_factor():
    # Rounding keeps the last distances from shrinking.
    measured = measure_contraction(frustrated(), "forward_backward", starts=10, steps=500, seed=1)
    assert measured.worst <= measured.bound * (1 + 1e-9)
    assert np.isnan(measured.factors[-1]).all()
    assert len(measured.factors) > 200


def test_undamped_iteration_does_not_contract_where_groups_repel():
    measured = measure_contraction(frustrated(), "parallel", starts=40, steps=30, seed=1)
    assert measured.bound > 1
    assert measured.worst > 1


@pytest.mark.parametrize(("c", "count"), [(1.9, 1), (2.1, 2)])
def test_curie_weiss_has_two_fixed_points_beyond_two(c, count):
    found = find_fixed_points(curie_weiss(c), starts=40, seed=2)
    assert len(found.q) == count
    assert found.visits.sum() == 40
    # By symmetry each has half of the starts; five or fewer of 40 are a false alarm of 1e-6.
    assert found.visits.min() > 5
    assert found.unconverged == 0
    # q = (1 + m)/2 with m = tanh(c m / 2).
    m = 0.0 if count == 1 else 1.0
    for _ in range(2000):
        m = np.tanh(c * m / 2)
    np.testing.assert_allclose(np.sort(found.q[:, 0]), np.unique([(1 - m) / 2, (1 + m) / 2]), atol=1e-7)


def test_monotone_models_have_one_whatever_their_strength():
    for strength in (1, 10, 100):
        layout = GroupLayout([(6, 2), (4, 3)])
        factor = strength * np.random.default_rng(strength).normal(size=(24, 24))
        model = PairwiseModel(monotone_coupling(factor, layout), np.zeros(24), layout)
        assert find_fixed_points(model, starts=50, seed=1).visits.tolist() == [50]


def test_strong_couplings_have_many_and_starts_that_do_not_converge_are_counted():
    model = potts_cases.model([(10, 2)], strength=3.0)
    found = find_fixed_points(model, starts=50, seed=1)
    assert len(found.q) > 2
    assert (np.diff(found.visits) <= 0).all()
    # Each is one: q = softmax(Phi q + b).
    p = np.exp(model.local_field(found.q)).reshape(-1, 10, 2)
    np.testing.assert_allclose((p / p.sum(axis=-1, keepdims=True)).reshape(-1, 20), found.q, atol=1e-8)
    # And all differ.
    assert len(np.unique(found.q.round(2), axis=0)) == len(found.q)
    cut = find_fixed_points(model, starts=50, max_iter=2, seed=1)
    assert cut.unconverged == 50
    assert cut.q.shape == (0, 20)
    assert find_fixed_points(frustrated(), starts=10, method="parallel", max_iter=200, seed=1).unconverged == 10


def test_random_probabilities_are_even_on_the_simplices():
    # On a triangle each probability has mean 1/3 and variance 1/18; five standard errors of 10 000 draws.
    q = random_probabilities(GroupLayout([(1, 3), (1, 2)]), 10_000, np.random.default_rng(1))
    np.testing.assert_allclose(q[:, :3].sum(axis=1), 1)
    np.testing.assert_allclose(q[:, 3:].sum(axis=1), 1)
    assert abs(q[:, 0].mean() - 1 / 3) < 5 * np.sqrt(1 / 18 / 10_000)
    assert q[:, 0].var() == pytest.approx(1 / 18, rel=0.1)
    assert q[:, 3].var() == pytest.approx(1 / 12, rel=0.1)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: measure_contraction(m.coupling, "mirror", seed=1), TypeError, "model is of type ndarray"),
        (lambda m: measure_contraction(m, "newton", seed=1), ValueError, "method = 'newton'"),
        (lambda m: measure_contraction(m, "mirror", starts=1, seed=1), ValueError, "starts = 1"),
        (lambda m: measure_contraction(m, "mirror", steps=0, seed=1), ValueError, "steps = 0"),
        (lambda m: measure_contraction(m, "softmax_pr", 3.0, seed=1), ValueError, "rho = 3"),
        (lambda m: measure_contraction(m, "mirror", seed=-1), ValueError, "seed = -1"),
        (lambda m: find_fixed_points(m.bias, seed=1), TypeError, "model is of type ndarray"),
        (lambda m: find_fixed_points(m, 0, seed=1), ValueError, "starts = 0"),
        (lambda m: find_fixed_points(m, method="down", seed=1), ValueError, "method = 'down'"),
        (lambda m: find_fixed_points(m, separation=0, seed=1), ValueError, "separation = 0"),
        (lambda m: find_fixed_points(m, tol=0, seed=1), ValueError, "tol = 0"),
        (lambda m: find_fixed_points(m, max_iter=0, seed=1), ValueError, "max_iter = 0"),
        (lambda m: random_probabilities(m.layout, 1, None), TypeError, "rng = None"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call(curie_weiss(1.0))
