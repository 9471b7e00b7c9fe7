import itertools

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from runs import figures, loss_and_cost, script
from sim import TaskError, store
from tests.runs import running

TINY = {"N": 2000, "samples": 8, "examples": np.array([4, 64]), "dilution": np.array([0.05, 0.5, 0.95])}
SMALL = {"N": 200, "samples": 2, "examples": np.array([64, 4]), "dilution": np.array([0.5, 0.95, 0.05])}
SINGLE = {"N": 200, "samples": 1, "examples": np.array([8]), "dilution": np.array([0.5])}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return running.compute(loss_and_cost.SCRIPT, TINY, tmp_path_factory.mktemp("results") / "loss_and_cost.h5")


def bound(points):
    """Return the pull that one of so many true ones exceeds with a probability below 1e-3."""
    return stats.t.isf(0.5e-3 / points, df=TINY["samples"] - 1)


def test_measurement_and_theory_share_their_grid(out):
    assert store.groups(out, "simulation") == ["descent", "minima", "plain"]
    for name, axes in (("minima", ("examples", "training")), ("plain", ("dilution",))):
        for axis in axes:
            expected = store.read(out, f"simulation/{name}")[axis]
            np.testing.assert_array_equal(store.read(out, f"theory/{name}")[axis], expected)
            np.testing.assert_array_equal(store.read(out, f"comparison/{name}")[axis], expected)
    with xr.open_datatree(out) as tree:
        assert {"simulation", "theory", "comparison"} == set(tree.children)
        assert all(np.isfinite(node[name]).all() for node in tree["simulation"].leaves for name in node.data_vars)
        assert all((node["completed"] == 1).all() for node in tree["simulation"].leaves)


def test_loss_and_cost_of_stored_patterns_differ_by_a_constant_along_a_trajectory(out):
    descent = store.read(out, "simulation/descent")
    difference = descent.loss - descent.cost
    stored = difference.sel(training="storing")
    assert np.ptp(stored.values, axis=stored.get_axis_num("T")).max() < 1e-12
    # The constants of 8 samples and the predicted one, which knows the number of blank entries on average.
    error = stored.isel(T=0).std("sample", ddof=1) / np.sqrt(8)
    assert abs(stored.isel(T=0).mean("sample") - store.read(out, "theory/descent").constant) < bound(1) * error
    # K (1 - d/2)^2 - K (1 - d)/N with K = 3, d = 0.3.
    assert store.read(out, "theory/descent").constant == pytest.approx(3 * 0.7225 - 2.1 / 2000, abs=1e-12)
    # Of learned networks it is none.
    assert (np.ptp(difference.sel(training=["supervised", "unsupervised"]).values, axis=-1) > 0.05).all()


def test_cooling_lowers_cost_and_loss(out):
    descent = store.read(out, "simulation/descent")
    for name, fall in (("cost", 0.3), ("loss", 0.1)):
        assert (descent[name].isel(T=-1) < descent[name].isel(T=0) - fall).all()


def test_loss_at_the_minimum_of_the_cost_is_the_predicted_one(out):
    compared = store.read(out, "comparison/minima")
    assert compared.loss_of_cost_points == 6
    # Many examples: three correlated values of the same archetypes and three of others.
    many = compared.sel(examples=64)
    assert (abs(many.loss_of_cost_pull) < bound(6)).all()
    assert (abs(many.loss_of_cost_residual) < 0.02).all()
    # A few: rho = 1.3, where K/N corrections come to a few per cent of the loss.
    assert (abs(compared.loss_of_cost_pull.sel(examples=4)) < bound(6)).all()
    means = compared.loss_of_cost_mean
    assert (means.sel(examples=4, training=["supervised", "unsupervised"]) > means.sel(examples=64) + 0.2).all()


def test_lowest_loss_is_that_of_the_hierarchy(out):
    # m = (1-d) d^(mu-1) at d = 0.3.
    lowest = 3 * 0.85**2 - 0.7**2 * (1 + 0.3**2 + 0.3**4)
    theory = store.read(out, "theory/minima")
    np.testing.assert_allclose(theory.loss_of_loss, lowest, atol=1e-12)
    np.testing.assert_allclose(theory.loss_of_cost.sel(training="storing"), lowest, atol=1e-12)
    xr.testing.assert_equal(
        theory.loss_of_cost.sel(training="supervised", drop=True),
        theory.loss_of_cost.sel(training="unsupervised", drop=True),
    )


def test_the_minimum_of_the_loss_lies_below_that_of_the_cost(out):
    minima = store.read(out, "simulation/minima")
    fall = minima.loss_of_cost - minima.loss_of_loss
    assert (fall > -1e-12).all()
    # Stored patterns: a minimum of one is a minimum of the other; spins without a field cost order 1/N.
    assert (fall.sel(training="storing") < 10 / TINY["N"]).all()
    assert (fall.sel(examples=4, training=["supervised", "unsupervised"]) > 0.05).all()
    assert (fall.sel(examples=64) < 0.05).all()


def test_majority_is_the_mean_of_the_sum_over_all_entries():
    d = np.array([0.0, 0.1, 0.5, 0.9, 1.0])
    brute = np.zeros(d.size)
    for entries in itertools.product((-1, 0, 1), repeat=3):
        blanks = entries.count(0)
        brute += abs(sum(entries)) * d**blanks * ((1 - d) / 2) ** (3 - blanks)
    np.testing.assert_allclose(loss_and_cost.majority(d), brute, rtol=1e-14)


def test_minima_of_the_plain_sum_coincide_at_strong_dilution_only(out):
    plain, theory = store.read(out, "simulation/plain"), store.read(out, "theory/plain")
    gap, predicted = plain.plain_of_cost - plain.plain_of_plain, theory.plain_of_cost - theory.plain_of_plain
    assert (gap > -1e-12).all()
    # d = 0.95: sites with two entries or more are 0.7 %, and the majority decides those too.
    assert (gap.sel(dilution=0.95) < 1e-3).all()
    assert predicted.sel(dilution=0.95) < 1e-3
    # d = 0.05: the cost follows one pattern: K (1 - d/2) - (0.95 + 0.0475 + 0.0024), against E|sum| = 1.4335.
    assert (gap.sel(dilution=0.05) > 0.3).all()
    assert predicted.sel(dilution=0.05) == pytest.approx(loss_and_cost.majority(np.array([0.05]))[0] - 0.999875)


@pytest.mark.parametrize("name", ["plain_of_cost", "plain_of_plain"])
def test_plain_sums_are_the_predicted_ones(out, name):
    # At d = 0.05 the weakest amplitude, 0.002, is below 1/sqrt(N) = 0.022: random overlaps replace it.
    compared = store.read(out, "comparison/plain")
    assert (abs(compared[f"{name}_pull"]) < bound(6)).all()
    assert (abs(compared[f"{name}_residual"]) < 0.05).all()
    assert (compared[f"{name}_error"] < 0.03).all()


def test_figure_is_written_as_png_and_pdf(out):
    figure = loss_and_cost.draw(out)
    assert len(figure.axes) == 3
    paths = figures.save(figure, out)
    assert [path.suffix for path in paths] == [".png", ".pdf"]
    assert all(path.stat().st_size > 10_000 for path in paths)


def counted(patch, *, fail_at=None):
    """Count the calls of the task functions, and let that of the minima fail at one; return the names as they come."""
    calls = []

    def count(name, function):
        def call(task):
            if name == "minima" and calls.count(name) == fail_at:
                raise OSError("the disk is on fire")
            calls.append(name)
            return function(task)

        return call

    for name in ("trajectories", "minima", "plain_sums"):
        patch.setattr(loss_and_cost, name, count(name, getattr(loss_and_cost, name)))
    return calls


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return running.compute(loss_and_cost.SCRIPT, SMALL, tmp_path_factory.mktemp("small") / "loss_and_cost.h5")


def test_stopped_and_divided_runs_end_like_undivided_ones(small, tmp_path, monkeypatch):
    out = tmp_path / "divided.h5"
    with monkeypatch.context() as patch:
        counted(patch, fail_at=1)
        with pytest.raises(TaskError, match="the disk is on fire"):
            running.compute(loss_and_cost.SCRIPT, SMALL, out, shard="0/2")
    # The first task of a table shows what is measured, whatever the part.
    for shard, minima, plain_sums in (("0/2", 1, 3), ("1/2", 2, 3), ("0/1", 0, 0), ("0/1", 0, 0)):
        assert "comparison/minima" not in store.rooms(out) or shard == "0/1"
        with monkeypatch.context() as patch:
            calls = counted(patch)
            running.compute(loss_and_cost.SCRIPT, SMALL, out, shard=shard, resume=True)
        assert (calls.count("minima"), calls.count("plain_sums")) == (minima, plain_sums)
        assert calls.count("trajectories") == (shard == "1/2")
    running.assert_same(small, out)


def check_report_and_figure(out):
    assert len(list(script.report(out))) == 4
    figure = loss_and_cost.draw(out)
    figure.canvas.draw()
    for line in (*figure.axes[1].get_lines(), *figure.axes[2].get_lines()):
        if line.get_linestyle() != "None":
            assert (np.diff(line.get_xdata()) > 0).all()


def test_axes_in_any_order_are_reported_and_drawn(small):
    assert store.read(small, "comparison/plain").dilution.values.tolist() == SMALL["dilution"].tolist()
    check_report_and_figure(small)


def test_axes_of_one_value_are_measured_reported_and_drawn(tmp_path):
    check_report_and_figure(running.compute(loss_and_cost.SCRIPT, SINGLE, tmp_path / "single.h5"))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"N": 1}, "N = 1"), ({"examples": np.array([4, 0])}, "examples = 0"), ({"dilution": np.ones(1)}, "dilution = 1")],
)
def test_presets_that_describe_no_network_are_refused_before_any_work(tmp_path, monkeypatch, change, message):
    calls = counted(monkeypatch)
    with pytest.raises(ValueError, match=message):
        running.compute(loss_and_cost.SCRIPT, SMALL | change, tmp_path / "results.h5")
    assert not calls
