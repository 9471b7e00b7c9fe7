import numpy as np
import pytest
import xarray as xr

from hebbian.permutations import exact_match
from runs import figures, permutations, script
from sim import store
from tests.runs import running

TINY = {
    "pairs": {"k": np.array([4, 3]), "samples": 4, "members": 20},
    "all": {"k": np.array([3]), "samples": 4, "members": 20},
    "width": 64,
    "draws": 200,
}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return running.compute(permutations.SCRIPT, TINY, tmp_path_factory.mktemp("results") / "permutations.h5")


def test_what_is_measured_is_kept(out):
    with xr.open_datatree(out) as tree:
        assert {"simulation", "theory", "comparison"} == set(tree.children)
    measured = store.read(out, "simulation/pairs_4")
    assert dict(measured.output.sizes) == {"regime": 3, "sample": 4, "member": 20, "word": 6, "bit": 4}
    assert (measured.completed == 1).all()
    assert store.read(out, "simulation/all_3").output.sizes["word"] == 4
    assert len(np.unique(measured.output.sel(regime="ntk")[..., 0, 0])) == 80


def test_accuracy_of_single_networks_is_that_of_their_outputs(out):
    compared = store.read(out, "comparison")
    task, A = permutations.Task(4, False, 64, 20, 1, "ntk", 0).words()
    for regime in permutations.REGIMES:
        F = store.read(out, "simulation/pairs_4").output.sel(regime=regime).transpose(..., "word", "bit").values
        right = exact_match(F, task.target(A)).mean()
        single = compared.sel(k=4, trained=regime, N=1)
        # Subsets of one network are drawn from the same 80.
        assert abs(single.accuracy_mean - right) < 5 * single.accuracy_error
        assert 0 < right < 0.6


def test_numbers_needed_fall_from_regime_to_regime(out):
    compared, theory = (store.read(out, group) for group in ("comparison", "theory"))
    needed = theory.needed.sel(k=[3, 4])
    assert (needed.sel(regime="readout") < 0.3 * needed.sel(regime="ntk")).all()
    measured = compared.needed_mean.sel(k=4)
    assert measured.sel(trained="readout") < measured.sel(trained="ntk").fillna(np.inf)
    np.testing.assert_array_equal(
        compared.needed_law.sel(k=4), [needed.sel(k=4, regime=limit) for limit in permutations.LIMITS.values()]
    )
    np.testing.assert_allclose(compared.var_law.sel(k=3, trained="ntk"), theory.law_var.sel(pairs=3, regime="ntk"))


def test_words_are_the_same_in_all_samples_and_of_two_ones():
    tasks = [permutations.Task(20, False, 64, 20, 1, "ntk", sample).words() for sample in (0, 3)]
    np.testing.assert_array_equal(tasks[0][1], tasks[1][1])
    assert tasks[0][0] == tasks[1][0]
    assert (tasks[0][1].sum(1) == 2).all()
    assert len(np.unique(tasks[0][1], axis=0)) == permutations.WORDS


def test_figure_and_report(out):
    lines = list(script.report(out))
    assert [line.split(":")[0] for line in lines] == ["mean_off", "mean_on", "needed", "together", "var"]
    figure = permutations.draw(out)
    assert len(figure.axes) == 3
    assert all(path.stat().st_size > 10_000 for path in figures.save(figure, out))


def test_a_killed_run_resumes_to_the_same_file(out, tmp_path):
    running.assert_resumes(permutations.SCRIPT, TINY, tmp_path / "killed.h5", out, tasks=15)
