import numpy as np
import pytest
import xarray as xr

from runs import dense_phase_diagram, figures
from sim import store
from tests.runs import running

TINY = {"N": 60, "load": np.array([0.03, 0.3]), "T": np.array([0.2, 0.3, 1.1]), "samples": 6, "sweeps": 60}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out = tmp_path_factory.mktemp("results") / "phase_diagram.h5"
    return running.compute(dense_phase_diagram.SCRIPT, TINY, out)


def test_measurement_and_theory_share_their_grid(results):
    theory, simulation = store.read(results, "theory"), store.read(results, "simulation")
    for axis in ("load", "T"):
        np.testing.assert_array_equal(theory[axis], simulation[axis])
    assert (simulation.completed == 1).all()
    with xr.open_datatree(results) as tree:
        assert {"simulation", "theory", "comparison"} <= set(tree.children)


def test_measured_magnetisation_follows_the_theory(results):
    # At load 0.03 and T <= 0.3 the theory says 1 - m < 1e-3; above T_M both are without retrieval.
    compared, theory = store.read(results, "comparison"), store.read(results, "theory")
    assert theory.m.sel(load=0.03, T=0.3) > 0.99
    assert (abs(compared.m_residual.sel(load=0.03, T=[0.2, 0.3])) < 0.02).all()
    assert (theory.m.sel(T=1.1) == 0).all()
    assert (abs(compared.m_residual.sel(T=1.1)) < 5 * compared.m_error.sel(T=1.1)).all()
    # Two loads, two temperatures in the stable phase; T = 1.1 is outside it.
    assert compared.m_pull.sel(T=1.1).isnull().all()
    assert 2 <= compared.m_points <= 4


def test_figure_is_written_as_png_and_pdf(results):
    paths = figures.save(dense_phase_diagram.draw(results), results)
    assert [path.suffix for path in paths] == [".png", ".pdf"]
    assert all(path.stat().st_size > 10_000 for path in paths)


def test_a_budget_adds_samples_and_the_comparison_counts_them(tmp_path):
    out = running.compute(dense_phase_diagram.SCRIPT, TINY | {"samples": 3}, tmp_path / "adaptive.h5", budget=16)
    completed = store.read(out, "simulation").completed.sum("sample")
    assert completed.sum() == 16
    assert completed.min() >= 3
    assert np.isfinite(store.read(out, "comparison").m_mean).all()


@pytest.mark.parametrize("grid", [["load=0.05"], ["T=0.3"], ["load=0.3,0.03", "T=0.4,0.2"]])
def test_any_grid_is_computed_and_drawn(grid, tmp_path):
    preset = TINY | {"samples": 2, "sweeps": 4}
    out = running.compute(dense_phase_diagram.SCRIPT, preset, tmp_path / "a.h5", grid=grid)
    assert all(path.exists() for path in figures.save(dense_phase_diagram.draw(out), out))
