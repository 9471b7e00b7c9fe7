import numpy as np
import pytest
import xarray as xr

from hebbian.potts import coupling_bounds
from runs import figures, script
from runs import monotone_dbm_accuracy as accuracy
from sim import store
from tests.runs import running

TINY = {
    "groups": (3, 2),
    "categories": (3, 2),
    "strength": np.array([1.9, 0.02, 0.04]),
    "samples": 6,
    "sweeps": 500,
}
SINGLE = TINY | {"groups": (2,), "categories": (2,), "strength": np.array([0.5]), "samples": 1, "sweeps": 10}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return running.compute(accuracy.SCRIPT, TINY, tmp_path_factory.mktemp("results") / "accuracy.h5")


def test_measurement_and_theory_share_their_grid(out):
    with xr.open_datatree(out) as tree:
        assert {"simulation", "theory", "comparison"} == set(tree.children)
    simulation, theory, compared = (store.read(out, group) for group in ("simulation", "theory", "comparison"))
    assert (simulation.completed == 1).all()
    assert dict(simulation.exact.sizes) == {"strength": 3, "sample": 6, "entry": 13}
    assert dict(theory.q.sizes) == {"strength": 3, "sample": 6, "entry": 13}
    for axis in ("strength", "sample"):
        np.testing.assert_array_equal(theory[axis], simulation[axis])
    np.testing.assert_array_equal(compared.strength, TINY["strength"])


def test_strength_is_the_largest_eigenvalue_and_all_that_differs():
    strong, weak = (accuracy.Task((3, 2), (3, 2), 500, 1, strength, 2).model() for strength in (1.9, 0.19))
    assert coupling_bounds(strong.coupling, strong.layout)[1] == pytest.approx(1.9)
    np.testing.assert_allclose(strong.coupling, 10 * weak.coupling, rtol=1e-12)
    np.testing.assert_array_equal(strong.bias, weak.bias)
    other = accuracy.Task((3, 2), (3, 2), 500, 1, 1.9, 3).model()
    assert (other.bias != strong.bias).all()


def test_mean_field_bounds_log_z_and_approaches_it_quadratically(out):
    simulation, theory, compared = (store.read(out, group) for group in ("simulation", "theory", "comparison"))
    gap = simulation.log_z - theory.log_z
    assert (gap > 0).all()
    # Twice the coupling, four times the error, up to a correction of the order of the coupling.
    ratio = gap.sel(strength=0.04) / gap.sel(strength=0.02)
    np.testing.assert_allclose(ratio, 4, rtol=0.1)
    np.testing.assert_allclose(compared.mean_field_mean.sel(strength=0.04) / compared.mean_field_mean[1], 4, rtol=0.1)
    np.testing.assert_allclose(compared.gap_mean, gap.mean("sample"), rtol=1e-12)


def test_sampling_agrees_with_enumeration_where_mean_field_does_not(out):
    compared = store.read(out, "comparison")
    # Five standard errors for 36 pulls: a false-alarm rate of 2e-5, with fixed seeds.
    assert compared.gibbs_points == compared.annealed_points == 18
    assert (abs(compared.gibbs_pull) < 5).all()
    assert (abs(compared.annealed_pull) < 5).all()
    strong = compared.sel(strength=1.9)
    assert strong.mean_field_mean > 5 * strong.gibbs_mean
    assert strong.mean_field_from_gibbs_mean == pytest.approx(strong.mean_field_mean.item(), rel=0.1)
    assert strong.gap_annealed_mean == pytest.approx(strong.gap_mean.item(), rel=0.1)


def test_figure_is_written_as_png_and_pdf(out):
    figure = accuracy.draw(out)
    assert len(figure.axes) == 3
    paths = figures.save(figure, out)
    assert [path.suffix for path in paths] == [".png", ".pdf"]
    assert all(path.stat().st_size > 10_000 for path in paths)


def test_axes_of_one_value_are_measured_reported_and_drawn(tmp_path):
    out = running.compute(accuracy.SCRIPT, SINGLE, tmp_path / "single.h5")
    assert len(list(script.report(out))) == 2
    accuracy.draw(out).canvas.draw()


def test_couplings_without_unique_solution_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"lambda_max = 2\.1"):
        running.compute(accuracy.SCRIPT, TINY | {"strength": np.array([2.1])}, tmp_path / "results.h5")


def test_a_killed_run_resumes_to_the_same_file(out, tmp_path):
    running.assert_resumes(accuracy.SCRIPT, TINY, tmp_path / "killed.h5", out, tasks=7)
