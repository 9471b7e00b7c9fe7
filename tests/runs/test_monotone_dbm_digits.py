import numpy as np
import pytest
import xarray as xr

pytest.importorskip("torch")

from runs import figures
from runs import monotone_dbm_digits as digits
from sim import store
from tests.runs import running

TINY = {
    "missing": np.array([0.6, 0.3]),
    "samples": 2,
    "epochs": 1,
    "train": 128,
    "test": 20,
    "checked": 3,
    "starts": 2,
}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return running.compute(digits.SCRIPT, TINY, tmp_path_factory.mktemp("results") / "digits.h5")


def test_all_models_are_measured_and_compared(out):
    with xr.open_datatree(out) as tree:
        assert {"simulation", "theory", "comparison"} == set(tree.children)
    simulation, theory, compared = (store.read(out, group) for group in ("simulation", "theory", "comparison"))
    assert (simulation.completed == 1).all()
    assert dict(simulation.label_accuracy.sizes) == {"model": 9, "sample": 2, "missing": 2}
    assert np.isfinite(simulation.pixel_cross_entropy).all()
    guaranteed = list(digits.MARGINS)
    monotone = simulation.sel(model=guaranteed)
    assert (monotone.ambiguous == 0).all()
    assert (monotone.lambda_max <= theory.lambda_max.sel(model=guaranteed) + 1e-6).all()
    assert int(compared.promised.sum()) == 6
    assert int(compared.broken.sum()) == 0
    np.testing.assert_allclose(compared.label_accuracy_mean, simulation.label_accuracy.mean("sample"))
    less = simulation.label_accuracy - simulation.label_accuracy.sel(model="monotone")
    np.testing.assert_allclose(compared.label_accuracy_difference_mean, less.mean("sample"))
    assert (compared.label_accuracy_difference_error.sel(model="monotone") == 0).all()


def test_broken_promises_are_counted(out):
    simulation, theory = (store.read(out, group) for group in ("simulation", "theory"))
    simulation["ambiguous"].loc[{"model": "monotone", "sample": 1}] = 0.1
    assert int(digits.compare(simulation, theory)["broken"].sum()) == 1


def test_report_and_figure(out):
    lines = list(digits.report(out))
    assert len(lines) == 12
    assert lines[-1].startswith("6 trained machines")
    figure = digits.draw(out)
    # Three scores; three images, whole, shown, and completed by each model.
    assert len(figure.axes) == 3 + 3 * (2 + len(digits.MODELS))
    assert all(path.stat().st_size > 10_000 for path in figures.save(figure, out))


def test_splits_and_masks_are_shared_by_models_and_differ_between_samples():
    def task(model, sample):
        return digits.Task("digits", None, 1, (0.5,), 1, 100, 50, 1, 2, model, sample)

    (one, _), (two, _), (other, _) = task("rbm", 0).images(), task("mode", 0).images(), task("mode", 1).images()
    assert one.shape == (150, 64)
    assert set(np.unique(one)) == {0, 1, 2, 3}
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()
    hidden = task("rbm", 0).hidden(0.5, 64)
    np.testing.assert_array_equal(hidden, task("mode", 0).hidden(0.5, 64))
    assert hidden.mean() == pytest.approx(0.5, abs=0.05)
    assert (hidden != task("mode", 1).hidden(0.5, 64)).any()


def test_completions_agree_with_the_scores(out):
    simulation = store.read(out, "simulation").sel(model="mode", sample=0)
    levels, _ = digits.Task("digits", None, 1, (0.6,), 1, 128, 20, 1, 2, "mode", 0).images()
    np.testing.assert_array_equal(simulation.level, levels[128:131])
    assert simulation.hidden.mean() == pytest.approx(0.6, abs=0.15)
    # Each level is counted once more than it was seen.
    np.testing.assert_allclose(simulation.completion, [(levels[:128].sum(0) + 6) / 132] * 3)


def test_images_without_halves_have_no_convolution():
    with pytest.raises(ValueError, match=r"images have 81 pixels; allowed for convolutions"):
        digits.convolutional(81, 10)


def test_more_images_than_there_are_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"train \+ test = 1818; allowed: up to 1797"):
        running.compute(digits.SCRIPT, TINY | {"train": 1798}, tmp_path / "results.h5")


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_file(out, tmp_path):
    running.assert_resumes(digits.SCRIPT, TINY, tmp_path / "killed.h5", out, tasks=5)
