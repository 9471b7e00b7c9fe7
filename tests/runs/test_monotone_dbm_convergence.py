import numpy as np
import pytest
import xarray as xr

from hebbian.potts import coupling_bounds
from runs import figures
from runs import monotone_dbm_convergence as convergence
from sim import store
from tests.runs import running

TINY = {
    "groups": (7, 5, 1),
    "categories": (3, 2, 4),
    "margin": np.array([0.5, -0.8, 0.1]),
    "samples": 2,
    "steps": 400,
}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return running.compute(convergence.SCRIPT, TINY, tmp_path_factory.mktemp("results") / "convergence.h5")


def test_solvers_are_followed_predicted_and_compared(out):
    with xr.open_datatree(out) as tree:
        assert {"simulation", "theory", "comparison"} == set(tree.children)
    simulation, theory, compared = (store.read(out, group) for group in ("simulation", "theory", "comparison"))
    assert (simulation.completed == 1).all()
    assert dict(simulation.steps.sizes) == {"margin": 3, "sample": 2, "solver": 9}
    for axis in ("margin", "sample", "solver"):
        np.testing.assert_array_equal(theory[axis], simulation[axis])
    np.testing.assert_array_equal(compared.margin, TINY["margin"])
    assert list(compared.solver.values) == list(convergence.SOLVERS)


def test_errors_stay_below_the_bound_which_is_not_idle(out):
    simulation, theory, compared = (store.read(out, group) for group in ("simulation", "theory", "comparison"))
    assert (compared.exceeded == 0).all()
    ratio = simulation.steps / theory.bound
    assert ratio.max() <= 1
    assert (ratio.max(["margin", "sample"]).sel(solver=list(convergence.SPLITTING)) > 0.3).all()


def test_rates_in_the_end_are_those_of_the_derivative(out):
    simulation, theory = store.read(out, "simulation"), store.read(out, "theory")
    for name in ("forward-backward", f"forward-backward, $a = {convergence.STEP}$", "mirror", "damped"):
        measured, predicted = (data.rate.sel(solver=name) for data in (simulation, theory))
        np.testing.assert_allclose(measured, predicted, rtol=0.1)


def test_solvers_without_a_step_or_a_bound_have_no_numbers(out):
    simulation, theory = store.read(out, "simulation"), store.read(out, "theory")
    rachford = ["Peaceman-Rachford", "Douglas-Rachford"]
    assert simulation.steps.sel(solver=rachford, margin=-0.8).isnull().all()
    assert simulation.steps.sel(solver=rachford, margin=[0.1, 0.5]).notnull().all()
    assert theory.rate.sel(solver="mirror, Anderson").isnull().all()
    undamped, repelled = simulation.steps.sel(solver="undamped"), theory.rate.sel(solver="undamped") > 1
    np.testing.assert_array_equal(undamped.isnull(), repelled)
    assert repelled.any()
    assert not repelled.all()
    fewest = simulation.steps.idxmin("solver")
    assert (fewest == "softmax-only Peaceman-Rachford").all()


def test_models_of_a_sample_differ_in_margin_alone():
    weak, strong = (convergence.Task((7, 5, 1), (3, 2, 4), 400, 1, margin, 0).model() for margin in (0.5, -0.8))
    np.testing.assert_array_equal(weak.bias, strong.bias)
    # In proportion to 1 - m between groups at the bound, and to its root where one of them is below it.
    ratio = strong.coupling[weak.coupling != 0] / weak.coupling[weak.coupling != 0]
    assert ratio.min() >= 1
    assert np.median(ratio) == pytest.approx(1.8 / 0.5, rel=1e-12)
    assert ratio.max() == pytest.approx(1.8 / 0.5, rel=1e-9)
    assert 1.0 < coupling_bounds(strong.coupling, strong.layout)[1] <= 1.8
    other = convergence.Task((7, 5, 1), (3, 2, 4), 400, 1, 0.5, 1).model()
    assert (other.bias != weak.bias).all()


def test_report_and_figure(out):
    lines = list(convergence.report(out))
    assert lines[0] == "margin 0.1, steps to an error of 1e-08, mean over samples:"
    assert "by the bound, rate" in lines[1]
    assert lines[-1] == "models with errors above the bound: 0"
    figure = convergence.draw(out)
    assert len(figure.axes) == 4
    for line in figure.axes[0].get_lines():
        if line.get_linestyle() != "None" and len(line.get_xdata()):
            assert (np.diff(line.get_xdata()) > 0).all()
    paths = figures.save(figure, out)
    assert [path.suffix for path in paths] == [".png", ".pdf"]
    assert all(path.stat().st_size > 10_000 for path in paths)


def test_a_killed_run_resumes_to_the_same_file(out, tmp_path):
    running.assert_resumes(convergence.SCRIPT, TINY, tmp_path / "killed.h5", out, tasks=3)
