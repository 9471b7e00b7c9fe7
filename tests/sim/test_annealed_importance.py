import numpy as np
import pytest

from hebbian.potts import GroupLayout, PairwiseModel
from sim.annealed_importance import ais_log_partition
from sim.potts_exact import enumerate_model
from tests.sim import potts_cases

CASES = {
    "layers": potts_cases.model([(3, 2), (2, 3), (2, 2)], strength=0.6, within=False),
    "tiers": potts_cases.model([(1, 1), (2, 4), (3, 2)], strength=1.5),
    "reference": potts_cases.reference(),
}
BETAS = np.linspace(0, 1, 101)


@pytest.mark.parametrize("name", CASES)
def test_log_z_is_that_of_the_enumeration(name):
    # Five standard errors: a false-alarm rate of 6e-7 a case, with a fixed seed; the bias is a thousandth of them.
    model = CASES[name]
    found, exact = ais_log_partition(model, BETAS, n_chains=1000, seed=2), enumerate_model(model)
    assert abs(found.log_z - exact.log_z) < 5 * found.standard_error
    assert 1e-4 < found.standard_error < 0.05
    assert 1 < found.effective_sample_size <= 1000
    np.testing.assert_allclose(np.logaddexp.reduce(found.log_weights) - np.log(1000), found.log_z, rtol=1e-13)


def test_importance_weights_are_unbiased_at_every_schedule():
    # Two steps only: weights scatter, their mean does not lie. Five standard errors, with a fixed seed.
    model = CASES["reference"]
    found, exact = ais_log_partition(model, [0, 0.5, 1], n_chains=20_000, seed=3), enumerate_model(model)
    assert abs(found.log_z - exact.log_z) < 5 * found.standard_error
    # One step is plain importance sampling from independent groups.
    found = ais_log_partition(model, [0, 1], n_chains=20_000, seed=3)
    assert abs(found.log_z - exact.log_z) < 5 * found.standard_error < 0.05


def test_slower_schedules_are_better():
    model = CASES["tiers"]
    sizes = [
        ais_log_partition(model, np.linspace(0, 1, steps), n_chains=500, seed=1).effective_sample_size
        for steps in (2, 10, 200)
    ]
    assert sizes[0] < sizes[1] < sizes[2]


def test_errors_are_the_spread_of_runs():
    # 200 runs: their spread has a relative error of 5 %; 20 % are four of these.
    model = CASES["layers"]
    runs = [ais_log_partition(model, np.linspace(0, 1, 5), n_chains=300, seed=seed) for seed in range(200)]
    spread = np.std([run.log_z for run in runs])
    assert spread == pytest.approx(np.sqrt(np.mean([run.standard_error**2 for run in runs])), rel=0.2)


@pytest.mark.parametrize("strength", [0.0, 5.0])
def test_independent_groups_and_pairs_that_the_gauge_removes_are_exact(strength):
    # Couplings that depend on one category only are biases: every weight is Z.
    layout, field = GroupLayout([(2, 3)]), np.array([1.0, -2.0, 0.5])
    block = np.outer(field, np.ones(3))
    coupling = strength * np.block([[np.zeros((3, 3)), block], [block.T, np.zeros((3, 3))]])
    model = PairwiseModel(coupling, np.arange(6) / 3, layout)
    found = ais_log_partition(model, [0, 1], n_chains=10, seed=1)
    assert found.log_z == pytest.approx(enumerate_model(model).log_z, rel=1e-13)
    assert found.standard_error < 1e-12
    assert found.effective_sample_size == pytest.approx(10)


@pytest.mark.parametrize("held", [(0,), (1, 3, 5), range(7)])
def test_clamping_is_restricting(held):
    # Five standard errors, with a fixed seed.
    model = CASES["layers"]
    clamp = (np.isin(np.arange(7), held), model.layout.one_hot([1, 0, 1, 2, 0, 1, 0]))
    found = ais_log_partition(model, BETAS, n_chains=300, seed=2, clamp=clamp)
    assert abs(found.log_z - enumerate_model(model, clamp).log_z) <= 5 * found.standard_error + 1e-12
    assert found.standard_error < 0.05


def test_one_chain_that_decides_is_seen():
    # Two wells e^400 deep that chains find at random: no number overflows, and the error is not small.
    layout = GroupLayout([(4, 2)])
    model = PairwiseModel(60 * np.kron(1 - np.eye(4), np.eye(2)), np.linspace(0, 50, 8), layout)
    found = ais_log_partition(model, [0, 0.01, 1], n_chains=5, seed=1)
    assert np.isfinite([found.log_z, found.standard_error]).all()
    assert 1 <= found.effective_sample_size <= 5


def test_a_chain_depends_on_its_address_alone():
    model = CASES["layers"]
    many, few = (ais_log_partition(model, BETAS, n_chains=n, seed=1).log_weights for n in (5, 3))
    np.testing.assert_array_equal(many[:3], few)
    for other in ({"seed": 2}, {"seed": 1, "task": (1,)}):
        assert (ais_log_partition(model, BETAS, n_chains=3, **other).log_weights != few).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model": np.eye(4)}, TypeError, "model is of type ndarray"),
        ({"betas": [0, 0.7, 0.5, 1]}, ValueError, r"betas = \[0.0, 0.7, 0.5, 1.0\]; allowed: increasing"),
        ({"betas": [0.1, 1]}, ValueError, "betas = "),
        ({"betas": [0, 0.9]}, ValueError, "betas = "),
        ({"betas": [0.0]}, ValueError, "betas = "),
        ({"betas": [0, 2.0]}, ValueError, "betas = 2.0"),
        ({"n_chains": 1}, ValueError, "n_chains = 1"),
        ({"seed": -1}, ValueError, "seed = -1"),
        ({"clamp": 1}, TypeError, "clamp = 1"),
    ],
)
def test_bad_input_is_named(change, error, message):
    arguments = {"model": CASES["layers"], "betas": [0, 1], "n_chains": 2, "seed": 1}
    with pytest.raises(error, match=message):
        ais_log_partition(**arguments | change)
