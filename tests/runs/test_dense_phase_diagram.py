import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from runs import command_line, dense_phase_diagram, figures
from sim import store

TINY = {"N": 60, "load": np.array([0.03, 0.3]), "T": np.array([0.2, 0.3, 1.1]), "samples": 6, "sweeps": 60}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out = tmp_path_factory.mktemp("results") / "phase_diagram.h5"
    dense_phase_diagram.compute(TINY, seed=1, out=out)
    return out


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "precious.h5"], "out = precious.h5 exists"),
        (["--out", "."], "is a directory"),
        (["--preset", "huge"], "'huge' is not one of"),
        (["--seed", "-1"], "seed = -1 is out of range"),
        (["--workers", "0"], "workers = 0 is out of range"),
        (["--temperature", "1"], "--temperature"),
    ],
)
def test_bad_command_lines_end_in_one_message_and_code_2(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "precious.h5").write_text("precious")
    ended = CliRunner().invoke(command_line.application(dense_phase_diagram.main), arguments)
    assert ended.exit_code == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert (tmp_path / "precious.h5").read_text() == "precious"


def test_command_writes_file_and_figures(tmp_path, monkeypatch):
    monkeypatch.setitem(dense_phase_diagram.PRESETS, "quick", TINY | {"samples": 2, "sweeps": 4})
    out = tmp_path / "new" / "results.h5"
    ended = CliRunner().invoke(
        command_line.application(dense_phase_diagram.main), ["--out", str(out), "--workers", "1"]
    )
    assert ended.exit_code == 0, ended.output
    assert sorted(path.suffix for path in out.parent.iterdir()) == [".h5", ".pdf", ".png"]
