import itertools

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from typer.testing import CliRunner

from runs import command_line, figures, loss_and_cost
from sim import store

TINY = {"N": 2000, "samples": 8, "examples": np.array([4, 64]), "dilution": np.array([0.05, 0.5, 0.95])}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    path = tmp_path_factory.mktemp("results") / "loss_and_cost.h5"
    loss_and_cost.compute(TINY, seed=1, out=path)
    return path


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


@pytest.mark.parametrize(
    ("arguments", "message"), [(["--out", "precious.h5"], "out = precious.h5 exists"), (["--seed", "-1"], "seed = -1")]
)
def test_bad_command_lines_end_in_one_message_and_code_2(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "precious.h5").write_text("precious")
    ended = CliRunner().invoke(command_line.application(loss_and_cost.main), arguments)
    assert ended.exit_code == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert (tmp_path / "precious.h5").read_text() == "precious"
