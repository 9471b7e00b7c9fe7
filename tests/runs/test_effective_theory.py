from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from runs import effective_theory, figures
from sim import store
from tests.runs import running

pytest.importorskip("torch")

TINY = {
    "samples": 3,
    "kernels": {"tanh": (0.8, 1.2), "relu": (2.0,), "layers": 8, "n": 64, "nets": 20},
    "vertex": {"n": np.array([32, 16]), "layers": 4, "nets": 2000},
    "residual": {"gamma": np.array([0.0, 0.5]), "layers": 5, "n": 64, "nets": 3000},
    "drift": {"n": np.array([16]), "layers": np.array([3, 2]), "nets": 150},
}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return running.compute(effective_theory.SCRIPT, TINY, tmp_path_factory.mktemp("results") / "effective.h5")


def test_measurement_and_theory_share_their_grid(out):
    with xr.open_datatree(out) as tree:
        assert {"simulation", "theory", "comparison"} == set(tree.children)
        assert set(tree["simulation"].children) == set(tree["theory"].children) == set(tree["comparison"].children)
    for room in store.groups(out, "simulation"):
        assert (store.read(out, f"simulation/{room}").completed == 1).all()
    assert dict(store.read(out, "simulation/vertex_relu").vertex.sizes) == {"n": 2, "sample": 3, "layer": 4}
    assert dict(store.read(out, "simulation/drift_gelu").drift.sizes) == {"layers": 2, "n": 1, "sample": 3}


def test_theory_is_that_of_the_critical_point(out):
    vertex = store.read(out, "theory/vertex_relu")
    np.testing.assert_allclose(vertex.K, 1)
    np.testing.assert_allclose(vertex.vertex.sel(n=16, layer=4), (1 + 5 / 16) ** 3 - 1)
    np.testing.assert_allclose(vertex.first_order.sel(n=32, layer=4), 15 / 32)
    drift = store.read(out, "theory/drift_relu")
    np.testing.assert_allclose(drift.theta.sel(layers=3), 1.5)
    # P = 0 and Q = 2 at L = 3.
    np.testing.assert_allclose(drift.drift.sel(layers=3, n=16), -8 / 16)


def test_fluctuations_are_exact_where_the_theory_is(out):
    for name in ("relu", "linear"):
        compared = store.read(out, f"comparison/vertex_{name}")
        # Student's t of two degrees of freedom: 25 has a false-alarm rate of 1.6e-3, for 12 pulls that are kept.
        assert compared.vertex_points >= 5
        assert (abs(compared.vertex_pull).fillna(0) < 25).all()
    tanh = store.read(out, "comparison/vertex_tanh")
    assert tanh.vertex_points == 0


def test_drift_has_the_sign_of_the_theory(out):
    for act in ("relu", "gelu"):
        measured, theory = (store.read(out, f"{room}/drift_{act}") for room in ("comparison", "theory"))
        assert (np.sign(measured.drift_mean) == np.sign(theory.drift.reindex_like(measured.drift_mean))).all()


def test_streams_belong_to_points():
    task = effective_theory.Task("vertex", "tanh", 4, 16, 20, 1, 0)
    one, two = (effective_theory.measure_layers(task) for _ in range(2))
    xr.testing.assert_identical(one, two)
    addresses = [
        replace(task, **change).streams()["address"] for change in ({}, {"sample": 1}, {"n": 17}, {"gamma": 0.1})
    ]
    assert len(set(addresses)) == 4


def test_figure_and_report(out):
    figure = effective_theory.draw(out)
    assert len(figure.axes) == 4
    assert all(path.stat().st_size > 10_000 for path in figures.save(figure, out))
    assert len(list(effective_theory.report(out))) == 3


def test_a_killed_run_resumes_to_the_same_file(out, tmp_path):
    running.assert_resumes(effective_theory.SCRIPT, TINY, tmp_path / "killed.h5", out, tasks=7)
