import numpy as np
import pytest
import xarray as xr

from runs import figures
from runs import monotone_dbm_baselines as baselines
from sim import store
from tests.runs import running

TINY = {
    "groups": (7, 5, 1),
    "categories": (3, 2, 4),
    "margin": -0.8,
    "binary_groups": (8, 6),
    "strength": 12.0,
    "samples": 3,
    "starts": 8,
    "steps": 400,
}
MONOTONE = [name for name in baselines.BASELINES if name.startswith("monotone")]
OTHERS = [name for name in baselines.BASELINES if name not in MONOTONE]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return running.compute(baselines.SCRIPT, TINY, tmp_path_factory.mktemp("results") / "baselines.h5")


def test_baselines_are_followed_predicted_and_compared(out):
    with xr.open_datatree(out) as tree:
        assert {"simulation", "theory", "comparison"} == set(tree.children)
    simulation, theory = store.read(out, "simulation"), store.read(out, "theory")
    assert (simulation.completed == 1).all()
    assert dict(simulation.spread.sizes) == {"sample": 3, "baseline": 7, "step": 401}
    np.testing.assert_array_equal(theory.rate.notnull(), theory.lambda_max < 2)
    assert (theory.lambda_max.sel(baseline=MONOTONE) < 1.8).all()
    assert (theory.lambda_max.sel(baseline=OTHERS) > 2).all()


def test_monotone_couplings_have_one_end_that_undamped_iteration_leaves(out):
    last, compared = store.read(out, "simulation").isel(step=-1), store.read(out, "comparison")
    for name in MONOTONE[:2]:
        assert last.residual.sel(baseline=name).max() < 1e-12
        assert last.spread.sel(baseline=name).max() < 1e-12
    undamped, repelled = last.sel(baseline=MONOTONE[2]), store.read(out, "theory").rate.sel(baseline=MONOTONE[2]) > 1
    assert repelled.values.tolist() == [True, True, False]
    assert (undamped.residual.where(repelled, 1) > 0.1).all()
    assert (undamped.residual.where(~repelled, 0) < 1e-9).all()
    assert compared.converged.sel(baseline=MONOTONE).values.tolist() == [3, 3, 1]
    assert compared.repelled.sel(baseline=MONOTONE).values.tolist() == [0, 0, 2]
    assert (compared.refuted == 0).all()


def test_other_couplings_have_ends_that_depend_on_the_start(out):
    last, compared = store.read(out, "simulation").isel(step=-1), store.read(out, "comparison")
    for name in OTHERS:
        assert last.spread.sel(baseline=name).max() > 0.1
    assert (compared.several.sel(baseline=["layered, damped", "unconstrained, damped"]) > 0).all()
    assert (last.residual.sel(baseline="unconstrained, undamped") > 0.01).any()


def test_averages_are_fractions_of_models(out):
    simulation, compared = store.read(out, "simulation"), store.read(out, "comparison")
    np.testing.assert_allclose(compared.moving_mean, (simulation.residual > 1e-8).mean("sample"))
    np.testing.assert_allclose(compared.apart_mean, (simulation.spread > 1e-6).mean("sample"))
    expected = compared.moving_expected
    assert (expected.sel(baseline=MONOTONE).isel(step=0) == 1).all()
    assert expected.sel(baseline=MONOTONE).isel(step=-1).values.tolist() == [0, 0, 2 / 3]
    assert expected.sel(baseline=OTHERS).isnull().all()
    # The rate of the derivative tells when all starts have arrived, up to a quarter.
    at = (expected.sel(baseline=MONOTONE[1]) == 1).sum()
    measured = (compared.moving_mean.sel(baseline=MONOTONE[1]) == 1).sum()
    assert measured == pytest.approx(at, rel=0.25)


def test_report_and_figure(out):
    lines = list(baselines.report(out))
    assert lines[0].startswith("monotone, softmax-only Peaceman-Rachford: all starts converge in 3 of 3 models")
    assert "2 have a single point that repels; 0 end otherwise" in lines[2]
    figure = baselines.draw(out)
    assert len(figure.axes) == 2
    paths = figures.save(figure, out)
    assert [path.suffix for path in paths] == [".png", ".pdf"]
    assert all(path.stat().st_size > 10_000 for path in paths)


def test_a_killed_run_resumes_to_the_same_file(out, tmp_path):
    running.assert_resumes(baselines.SCRIPT, TINY, tmp_path / "killed.h5", out, tasks=2)
