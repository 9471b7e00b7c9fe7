import numpy as np
import pytest

from hebbian.potts import GroupLayout, PairwiseModel
from sim.potts_exact import enumerate_model
from sim.potts_gibbs import GibbsSampler, sort_into_blocks
from tests.sim import potts_cases

CASES = {
    "layers": potts_cases.model([(3, 2), (2, 3), (2, 2)], strength=0.6, within=False),
    "tiers": potts_cases.model([(1, 1), (2, 4), (2, 2)], strength=0.7),
    "reference": potts_cases.reference(),
}


def pulls(measured, exact, error):
    """Differences in standard errors of all that is not held."""
    assert (abs(measured - exact)[error == 0] < 1e-12).all()
    return ((measured - exact) / np.where(error > 0, error, np.inf))[error > 0]


@pytest.mark.parametrize("name", CASES)
def test_marginals_are_those_of_the_enumeration(name):
    # Five standard errors for 54 marginals: a false-alarm rate of 3e-5 over the three cases, with a fixed seed.
    model = CASES[name]
    found, exact = GibbsSampler(model, n_chains=20, seed=3).run(sweeps=4000, burn_in=100), enumerate_model(model)
    pull = pulls(found.marginals, exact.marginals, found.standard_error)
    assert abs(pull).max() < 5
    # The errors are small enough for the test to be one, and not too large: the pulls scatter.
    assert found.standard_error.max() < 0.005
    assert np.sqrt(np.mean(pull**2)) > 0.3


@pytest.mark.parametrize("name", CASES)
def test_pairs_are_those_of_the_enumeration(name):
    # Student with 39 degrees of freedom beyond six standard errors: 5e-7 for each of at most 400 pairs, 6e-4 for
    # the three cases, with fixed seeds.
    model = CASES[name]
    found = GibbsSampler(model, n_chains=40, seed=4).run(sweeps=1000, burn_in=100, pairs=True)
    exact = enumerate_model(model).pair_marginals
    pull = pulls(found.pair_marginals, exact, found.pair_standard_error)
    assert abs(pull).max() < 6
    assert found.pair_standard_error.max() < 0.01
    np.testing.assert_array_equal(found.pair_marginals, found.pair_marginals.T)
    np.testing.assert_array_equal(np.diag(found.pair_marginals), found.marginals)
    np.testing.assert_array_equal(np.diag(found.pair_standard_error), found.standard_error)


@pytest.mark.slow
def test_errors_are_the_spread_of_runs():
    # Strongly coupled spins that change together rarely. 200 runs: their spread has a relative error of 5 %; 20 % are
    # four of these, a false-alarm rate of 6e-5.
    layout = GroupLayout([(4, 2)])
    model = PairwiseModel(1.4 * np.kron(1 - np.eye(4), np.eye(2)), np.zeros(8), layout)
    runs = [GibbsSampler(model, n_chains=2, seed=seed).run(4000, 200, pairs=True) for seed in range(200)]
    marginals, errors = (np.array([getattr(run, name) for run in runs]) for name in ("marginals", "standard_error"))
    assert marginals[:, 0].std() == pytest.approx(np.sqrt(np.mean(errors[:, 0] ** 2)), rel=0.2)
    assert np.mean([run.autocorrelation_time[0] for run in runs]) > 5
    # Two chains: variances with one degree of freedom, sqrt(2/200) = 10 % on their mean, 5 % on its root.
    pairs, pair_errors = (
        np.array([getattr(run, name)[0, 2] for run in runs]) for name in ("pair_marginals", "pair_standard_error")
    )
    assert pairs.std() == pytest.approx(np.sqrt(np.mean(pair_errors**2)), rel=0.3)


@pytest.mark.parametrize("held", [(0,), (1, 3, 5)])
def test_clamping_is_restricting(held):
    # Five standard errors for at most 14 marginals, six (Student, 19 degrees) for their 90 pairs: below 2e-3 in all.
    model = CASES["layers"]
    clamp = (np.isin(np.arange(7), held), model.layout.one_hot([1, 0, 1, 2, 0, 1, 0]))
    found = GibbsSampler(model, n_chains=20, seed=5).run(2000, 50, clamp, pairs=True)
    exact = enumerate_model(model, clamp)
    assert abs(pulls(found.marginals, exact.marginals, found.standard_error)).max() < 5
    assert abs(pulls(found.pair_marginals, exact.pair_marginals, found.pair_standard_error)).max() < 6
    held_entries = np.repeat(clamp[0], model.layout.categories)
    np.testing.assert_array_equal(found.marginals[held_entries], clamp[1][held_entries])
    assert (found.standard_error[held_entries] == 0).all()
    assert (found.standard_error[~held_entries] > 0).all()
    assert (found.autocorrelation_time[held_entries] == 1).all()


def test_nothing_free_is_nothing_to_sample():
    model = CASES["layers"]
    values = model.layout.one_hot([1, 0, 1, 2, 0, 1, 0])
    found = GibbsSampler(model, n_chains=2, seed=5).run(2, clamp=(np.ones(7, dtype=bool), values), pairs=True)
    np.testing.assert_array_equal(found.marginals, values)
    np.testing.assert_array_equal(found.pair_marginals, np.outer(values, values))
    assert not found.pair_standard_error.any()


def test_layers_make_two_blocks_and_dense_couplings_one_a_group():
    layers = CASES["layers"]
    blocks = sort_into_blocks(layers.coupling, layers.bias, layers.layout.offsets)
    # The first and the third layer, then the second.
    np.testing.assert_array_equal(blocks.first, [0, 5, 7])
    np.testing.assert_array_equal(blocks.order, [0, 1, 2, 3, 4, 5, 12, 13, 14, 15, *range(6, 12)])
    np.testing.assert_array_equal(blocks.neighbours, [5, 6, 0, 1, 2, 3, 4])
    np.testing.assert_array_equal(blocks.coupling, layers.coupling[np.ix_(blocks.order, blocks.order)])
    dense = CASES["reference"]
    np.testing.assert_array_equal(
        sort_into_blocks(dense.coupling, dense.bias, dense.layout.offsets).first, np.arange(7)
    )


def test_a_run_depends_on_its_address_alone():
    model = CASES["tiers"]
    first = GibbsSampler(model, n_chains=3, seed=1).run(20, 5, pairs=True)
    again = GibbsSampler(model, n_chains=3, seed=1).run(20, 5, pairs=True)
    for name in ("marginals", "standard_error", "pair_marginals"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    # Burn-in and measurement are one chain: the sweeps 5 to 24 are those of a run without burn-in.
    whole = GibbsSampler(model, n_chains=3, seed=1).run(25)
    begin = GibbsSampler(model, n_chains=3, seed=1).run(5)
    np.testing.assert_allclose(20 * first.marginals + 5 * begin.marginals, 25 * whole.marginals, rtol=1e-12)
    for other in ({"seed": 2}, {"seed": 1, "task": (1,)}):
        assert (GibbsSampler(model, n_chains=3, **other).run(20, 5).marginals != first.marginals).any()


def test_one_chain_has_no_errors_of_pairs():
    found = GibbsSampler(CASES["layers"], n_chains=1, seed=1).run(100, pairs=True)
    assert np.isfinite(found.standard_error).all()
    assert np.isnan(found.pair_standard_error[0, 6])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda model: GibbsSampler(model.coupling, 1, 1), TypeError, "model is of type ndarray"),
        (lambda model: GibbsSampler(model, 0, 1), ValueError, "n_chains = 0"),
        (lambda model: GibbsSampler(model, 1, -1), ValueError, "seed = -1"),
        (lambda model: GibbsSampler(model, 1, 1).run(1), ValueError, "sweeps = 1"),
        (lambda model: GibbsSampler(model, 1, 1).run(2, -1), ValueError, "burn_in = -1"),
        (lambda model: GibbsSampler(model, 1, 1).run(2, 0, (np.ones(2), 0)), ValueError, "mask of clamp"),
        (lambda model: GibbsSampler(model, 1, 1).run(10**13), MemoryError, "the record of 10000000000000 sweeps"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call(CASES["layers"])
