import numpy as np
import pytest

from runs import figures, kernels
from sim import store
from tests.runs import running

TINY = {
    "law": {"width": np.array([128, 16]), "members": 12, "samples": 4},
    "kernel": {"width": np.array([64, 128, 256]), "depth": (1, 2), "samples": 15},
}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return running.compute(kernels.SCRIPT, TINY, tmp_path_factory.mktemp("results") / "kernels.h5")


def test_what_is_measured_is_kept(out):
    law, kernel = (store.read(out, f"simulation/{group}") for group in ("law", "kernel"))
    assert dict(law.output.sizes) == {"width": 2, "sample": 4, "member": 12, "time": 5, "angle": 41}
    assert dict(kernel.kernel.sizes) == {"depth": 2, "width": 3, "sample": 15, "angle": 40, "other": 40}
    assert len(np.unique(law.output[..., 0, 0])) == 96
    assert (law.completed == 1).all()
    assert (kernel.completed == 1).all()


def test_wide_networks_follow_the_law_in_training(out):
    compared = store.read(out, "comparison/law").sel(width=128)
    # Five times of 48 networks, each of few independent angles: a false-alarm rate below 1e-3.
    assert (compared.mean_pull_rms < 4).all()
    assert (abs(compared.ratio_mean - 1) < 5 * compared.ratio_error).all()
    theory = store.read(out, "theory/law")
    assert (theory["mean"].isel(time=0) == 0).all()
    assert theory.variance.isel(time=4).mean() < 0.1 * theory.variance.isel(time=0).mean()


def test_narrow_networks_leave_their_kernels(out):
    drift = store.read(out, "comparison/law").drift_mean.isel(time=-1)
    assert drift.sel(width=16) > 2 * drift.sel(width=128)


def test_kernels_depart_as_the_root_of_the_width(out):
    compared = store.read(out, "comparison/kernel")
    # Four standard errors, twice: a false-alarm rate of 1e-4.
    assert (abs(compared.slope_pull) < 4).all()
    assert (compared.slope_error < 0.15).all()
    kernel, limit = store.read(out, "simulation/kernel").kernel, store.read(out, "theory/kernel").kernel
    first = kernel.sel(depth=2, width=64)
    norms = [np.linalg.norm(values - limit.sel(depth=2)) for values in first]
    expected = np.mean(norms) / np.linalg.norm(limit.sel(depth=2))
    assert float(compared.distance_mean.sel(depth=2, width=64)) == pytest.approx(expected)


def test_figure_and_report(out):
    assert [line.split(":")[0] for line in kernels.report(out)] == ["width 128", "width 16", "depth 1", "depth 2"]
    figure = kernels.draw(out)
    assert len(figure.axes) == 3
    assert all(path.stat().st_size > 10_000 for path in figures.save(figure, out))


def test_a_killed_run_resumes_to_the_same_file(out, tmp_path):
    running.assert_resumes(kernels.SCRIPT, TINY, tmp_path / "killed.h5", out, tasks=9)
