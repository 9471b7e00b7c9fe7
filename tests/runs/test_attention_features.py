import numpy as np
import pytest
import xarray as xr

from hebbian.attention_targets import sample_tokens
from runs import attention_features as run
from runs import figures
from sim import store
from sim.attention_features import draw_inputs
from tests.runs import running

TINY = {
    "keys": {"d": 4, "N": 3, "heads": 20, "n": (20, 40)},
    "correlation": {"d": 5, "N": 3, "heads": 20, "n": (20, 40)},
    "width": {"d": 4, "N": 3, "heads": (8, 2048), "n": 40},
    "inputs": 60,
    "trained_heads": 4,
    "epochs": 2,
    "samples": 2,
}
SINGLE = TINY | {"samples": 1, "correlation": TINY["correlation"] | {"n": (20,)}}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return running.compute(run.SCRIPT, TINY, tmp_path_factory.mktemp("results") / "attention.h5")


def test_groups_share_their_grid(out):
    with xr.open_datatree(out) as tree:
        assert {"simulation", "theory", "comparison"} == set(tree.children)
    for setting, models in (("keys", 4), ("correlation", 3)):
        simulation, theory = store.read(out, f"simulation/{setting}"), store.read(out, f"theory/{setting}")
        assert dict(simulation.error.sizes) == {"model": models, "sample": 2, "target": 4, "n": 2}
        assert dict(theory.error.sizes) == {"model": 3, "sample": 2, "target": 4, "n": 2}
        assert (simulation.completed == 1).all()
        for axis in ("sample", "target", "n"):
            np.testing.assert_array_equal(theory[axis], simulation[axis])
        assert simulation.error.notnull().all()
        assert theory.risk.notnull().all()


def test_models_of_a_sample_share_inputs_and_random_numbers():
    tasks = [run.Task("keys", 4, 3, (20,), 60, 4, 2, 1, model, 0, 20) for model in ("rfa", "brfa")]
    assert tasks[0].word == tasks[1].word != run.Task("keys", 4, 3, (20,), 60, 4, 2, 1, "rfa", 1, 20).word
    rfa, brfa = (run.make_layer(task, task.word) for task in tasks)
    np.testing.assert_allclose((brfa.W - rfa.W)[0], np.diag([1.0] * 4 + [0.0]), atol=1e-6)
    perceptron = run.make_layer(run.Task("keys", 4, 3, (20,), 60, 4, 2, 1, "rfmlp", 0, 20), 0)
    assert perceptron.v.numel() == rfa.V.numel()


def test_measurement_and_theory_learn_from_the_same_inputs():
    """Of a wide layer the measured error is that of the kernel, which another draw of the inputs would change."""
    task = run.Task("keys", 4, 3, (30,), 60, 4, 2, 1, "rfa", 0, 4000)
    measured, predicted = run.measure(task), run.predict(task)
    np.testing.assert_allclose(measured.error, predicted.error, rtol=0.1)
    other = run.predict(run.Task("keys", 4, 3, (30,), 60, 4, 2, 1, "rfa", 1, 4000))
    assert (np.abs(other.error / predicted.error - 1) > 0.1).any()
    assert len(draw_inputs(task.sizes, 3, 4, task.word)) == 3


def test_targets_of_one_sample_share_their_random_matrix():
    task = run.Task("correlation", 5, 3, (20,), 60, 4, 2, 1, "rfa", 0, 20)
    none, half, whole, cube = task.targets().values()
    np.testing.assert_allclose(half.S, 0.5 * np.eye(5) + np.sqrt(0.75) * none.S, atol=1e-12)
    np.testing.assert_array_equal(whole.S, np.eye(5))
    assert cube.pairs == 3
    x = sample_tokens(3, 2, 5, np.random.default_rng(0))
    assert not np.isclose(none(x), whole(x)).any()


def test_comparison_averages_and_takes_ratios_by_sample(out):
    simulation, theory, compared = (store.read(out, f"{room}/keys") for room in ("simulation", "theory", "comparison"))
    np.testing.assert_allclose(compared.error_mean, simulation.error.mean("sample"), rtol=1e-12)
    np.testing.assert_allclose(compared.predicted_mean.sel(model=theory.model), theory.error.mean("sample"), rtol=1e-12)
    ratio = simulation.error.sel(model="rfa") / simulation.error.sel(model="brfa")
    np.testing.assert_allclose(compared.gain_mean.sel(model="brfa"), np.exp(np.log(ratio).mean("sample")), rtol=1e-12)
    width = store.read(out, "comparison/width")
    assert (width.distance_mean.sel(heads=2048) < 0.3 * width.distance_mean.sel(heads=8)).all()
    slope = np.log(width.distance_mean.sel(heads=2048) / width.distance_mean.sel(heads=8)) / np.log(256)
    np.testing.assert_allclose(width.slope, slope, rtol=1e-9)


def test_figure_and_report(out, tmp_path):
    figure = run.draw(out)
    assert len(figure.axes) == 6
    paths = figures.save(figure, tmp_path / "figure.h5")
    assert all(path.stat().st_size > 10_000 for path in paths)
    lines = list(run.report(out))
    assert len(lines) == 4 * 4 + 4 * 3 + 2
    assert "infinitely many heads" in lines[0]


def test_one_sample_is_the_same_again_and_is_reported_and_drawn(tmp_path):
    first, again = (running.compute(run.SCRIPT, SINGLE, tmp_path / name) for name in ("first.h5", "again.h5"))
    running.assert_same(first, again)
    assert list(run.report(first))
    run.draw(first).canvas.draw()


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_file(out, tmp_path):
    running.assert_resumes(run.SCRIPT, TINY, tmp_path / "killed.h5", out, tasks=16)
