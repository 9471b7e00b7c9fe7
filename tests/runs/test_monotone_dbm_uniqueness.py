import numpy as np
import pytest
import xarray as xr

from hebbian.potts import coupling_bounds
from runs import figures
from runs import monotone_dbm_uniqueness as uniqueness
from sim import store
from tests.runs import running

TINY = {"groups": (8, 6), "strength": np.array([1.9, 0.5, 16.0]), "samples": 3, "starts": 30}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return running.compute(uniqueness.SCRIPT, TINY, tmp_path_factory.mktemp("results") / "uniqueness.h5")


def test_every_kind_is_measured_predicted_and_compared(out):
    with xr.open_datatree(out) as tree:
        assert {"simulation", "theory", "comparison"} == set(tree.children)
        for group in tree.children:
            assert set(tree[group].children) == set(uniqueness.KINDS)
    for kind in uniqueness.KINDS:
        simulation = store.read(out, f"simulation/{kind}")
        assert (simulation.completed == 1).all()
        assert dict(simulation.fixed_points.sizes) == {"strength": 3, "sample": 3}
        assert (simulation.unconverged == 0).all()
        np.testing.assert_array_equal(store.read(out, f"theory/{kind}").strength, TINY["strength"])


def test_no_model_below_the_critical_coupling_has_several_fixed_points(out):
    for kind in uniqueness.KINDS:
        measured, theory = store.read(out, f"simulation/{kind}"), store.read(out, f"theory/{kind}")
        np.testing.assert_array_equal(theory.fixed_points == 1, theory.lambda_max < 2)
        assert (measured.fixed_points.where(theory.lambda_max < 2, 1) == 1).all()
        assert store.read(out, f"comparison/{kind}").refuted.sum() == 0


def test_strong_couplings_have_several_unless_they_are_monotone(out):
    at = {kind: store.read(out, f"simulation/{kind}").sel(strength=16.0).fixed_points for kind in uniqueness.KINDS}
    assert (at["monotone"] == 1).all()
    assert (at["ferromagnetic"] == 2).all()
    assert at["layered"].mean() > 1
    assert at["unconstrained"].mean() > 1
    assert (store.read(out, "comparison/ferromagnetic").several == [0, 0, 3]).all()


def test_models_are_what_their_kind_says():
    models = {kind: uniqueness.Task(kind, (8, 6), 30, 1, 1.9, 0).model() for kind in uniqueness.KINDS}
    assert not models["layered"].coupling[:16, :16].any()
    assert not models["layered"].coupling[16:, 16:].any()
    assert models["layered"].coupling[:16, 16:].all()
    assert models["unconstrained"].coupling[:2, 2:].all()
    bounds = {kind: coupling_bounds(model.coupling, model.layout) for kind, model in models.items()}
    assert bounds["monotone"][1] <= 0.9
    assert bounds["ferromagnetic"][1] == pytest.approx(1.9)
    # Gaussian couplings grow in proportion; samples differ.
    twice = uniqueness.Task("layered", (8, 6), 30, 1, 3.8, 0).model()
    np.testing.assert_allclose(twice.coupling, 2 * models["layered"].coupling, rtol=1e-14)
    assert (uniqueness.Task("layered", (8, 6), 30, 1, 1.9, 1).model().bias != models["layered"].bias).all()


def test_report_counts_models(out):
    lines = list(uniqueness.report(out))
    assert lines[0] == (
        "monotone: 0 of 9 models have several fixed points; 9 are proven to have one, of which 0 have several"
    )
    assert lines[3].startswith("ferromagnetic: 3 of 9 models have several fixed points; 6 are proven")


def test_figure_is_written_as_png_and_pdf(out):
    figure = uniqueness.draw(out)
    assert len(figure.axes) == 3
    paths = figures.save(figure, out)
    assert [path.suffix for path in paths] == [".png", ".pdf"]
    assert all(path.stat().st_size > 10_000 for path in paths)


def test_a_killed_run_resumes_to_the_same_file(out, tmp_path):
    running.assert_resumes(uniqueness.SCRIPT, TINY, tmp_path / "killed.h5", out, tasks=14)
