from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from runs import figures, learning_thresholds
from sim import TaskError, store
from sim.glauber import front
from tests.runs import running

TINY = {
    "N": {"P2": 600, "P4": 100, "multitasking": 5000},
    "examples": {"P2": np.array([6, 100]), "P4": np.array([6, 50]), "multitasking": np.array([6, 50])},
    "samples": 5,
    "sweeps": 30,
}
TRAININGS = ("supervised", "unsupervised")
GROUPS = [f"{name}-{training}" for name in ("P2", "P4", "multitasking") for training in TRAININGS]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    path = tmp_path_factory.mktemp("results") / "learning_thresholds.h5"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning_thresholds, "FINE", 6)
        return running.compute(learning_thresholds.SCRIPT, TINY, path)


def read(out, kind, group):
    return store.read(out, f"{kind}/{group}").isel(T=0)


@pytest.mark.parametrize("group", GROUPS)
def test_measurement_and_theory_share_their_grid(out, group):
    simulation = store.read(out, f"simulation/{group}")
    assert (simulation.completed == 1).all()
    for kind in ("theory", "comparison"):
        for axis in ("quality", "examples", "T"):
            np.testing.assert_array_equal(store.read(out, f"{kind}/{group}")[axis], simulation[axis])
    fine = store.read(out, f"theory_lines/{group}")
    assert [fine.examples.values[i] for i in (0, -1)] == [simulation.examples.values[i] for i in (0, -1)]


def test_every_group_is_in_the_file(out):
    assert store.groups(out, "comparison") == sorted(GROUPS)
    with xr.open_datatree(out) as tree:
        assert {"simulation", "theory", "theory_lines", "theory_thresholds", "comparison"} == set(tree.children)


@pytest.mark.parametrize("group", GROUPS)
def test_measurement_follows_the_theory_far_from_the_thresholds(out, group):
    # Pulls of 4 degrees of freedom: of 30 points in all groups one exceeds the bound with a probability below 1e-3. The
    # rest is for N = 100, whose corrections are of order 1/N at m near 1, much less.
    compared, theory = read(out, "comparison", group), read(out, "theory", group)
    clear = theory.retrieval & (theory.m > 0.9 * theory.m.max())
    assert clear.sum() >= 3
    allowed = stats.t.isf(0.5e-3 / 30, df=4) * compared.m_error + 1e-3
    assert (abs(compared.m_residual).where(clear, 0) < allowed).all()
    assert (abs(compared.m_residual).where(clear, 0) < 0.03).all()


@pytest.mark.parametrize("group", GROUPS)
def test_more_examples_are_better(out, group):
    mean = read(out, "comparison", group).m_mean
    assert (mean.isel(examples=-1) > mean.isel(examples=0)).all()
    assert (mean.isel(examples=-1).diff("quality") > 0).all()


@pytest.mark.parametrize("training", TRAININGS)
def test_too_few_examples_retrieve_nothing(out, training):
    # P = 2: (1 - r^2)/(6 r^2) = 1.7 and 0.5 at r = 0.3 and 0.5, a noise that ends retrieval; what is left is the
    # remanence of the start. At r = 0.8, 0.1.
    theory, compared = read(out, "theory", f"P2-{training}"), read(out, "comparison", f"P2-{training}")
    assert theory.retrieval.sel(examples=6).values.tolist() == [False, False, True]
    assert (compared.m_mean.sel(examples=6, quality=[0.3, 0.5]) < 0.6).all()
    assert compared.m_pull.sel(examples=6, quality=[0.3, 0.5]).isnull().all()


def test_a_dense_network_needs_more_examples_without_a_teacher(out):
    # P = 4, gamma = 0.02: r = 0.4, M = 50 has critical loads 0.2624 with and 0.0124 without a teacher (T = 0.02).
    point = {"quality": 0.4, "examples": 50}
    supervised, unsupervised = (read(out, "comparison", f"P4-{training}").sel(point) for training in TRAININGS)
    assert read(out, "theory", "P4-supervised").retrieval.sel(point)
    assert not read(out, "theory", "P4-unsupervised").retrieval.sel(point)
    error = np.hypot(supervised.m_error, unsupervised.m_error)
    assert supervised.m_mean - unsupervised.m_mean > stats.t.isf(1e-2, df=4) * error
    assert supervised.m_mean > 0.95
    assert unsupervised.m_mean < 0.85


def test_thresholds_lie_where_the_theory_exceeds_the_overlap(out):
    for training in TRAININGS:
        needed = store.read(out, f"theory_thresholds/P4-{training}").M
        predicted = read(out, "theory", f"P4-{training}").m
        for r in needed.quality:
            for M in predicted.examples:
                enough = bool(predicted.sel(quality=r, examples=M) > learning_thresholds.LEARNED)
                assert enough == bool(M >= needed.sel(quality=r))


def test_the_teacher_makes_no_difference_to_a_multitasking_network(out):
    supervised, unsupervised = (read(out, "theory", f"multitasking-{training}").m for training in TRAININGS)
    np.testing.assert_allclose(supervised, unsupervised, atol=1e-9)
    # T = 0, good examples: 1 - d.
    assert supervised.sel(quality=0.8, examples=50) == pytest.approx(0.7, abs=1e-3)
    with_teacher, without = (read(out, "comparison", f"multitasking-{training}") for training in TRAININGS)
    gap, error = with_teacher.m_mean - without.m_mean, np.hypot(with_teacher.m_error, without.m_error)
    good = {"quality": [0.4, 0.8], "examples": 50}
    # Two differences with 4 degrees of freedom at least.
    assert (abs(gap.sel(good)) < stats.t.isf(0.5e-3 / 2, df=4) * error.sel(good)).all()


def test_figure_has_a_panel_a_network(out):
    figure = learning_thresholds.draw(out)
    assert [axes.get_title()[:5] for axes in figure.axes] == ["$P = ", "$P = ", "multi"]
    paths = figures.save(figure, out)
    assert [path.suffix for path in paths] == [".png", ".pdf"]
    assert all(path.stat().st_size > 10_000 for path in paths)


# Numbers of examples in no order, and a single one.
FEW = {
    "N": {"P2": 40, "P4": 20, "multitasking": 50},
    "examples": {"P2": np.array([9, 2, 5]), "P4": np.array([4, 3]), "multitasking": np.array([5])},
    "samples": 2,
    "sweeps": 3,
}


@pytest.fixture
def good_examples_with_a_teacher(monkeypatch):
    cases = learning_thresholds.cases

    def of_one_quality(N):
        return {name: replace(case, quality=(0.8,)) for name, case in cases(N).items()}

    monkeypatch.setattr(learning_thresholds, "cases", of_one_quality)
    monkeypatch.setattr(learning_thresholds, "TRAININGS", ("supervised",))
    monkeypatch.setattr(learning_thresholds, "STYLES", {"supervised": learning_thresholds.STYLES["supervised"]})
    monkeypatch.setattr(learning_thresholds, "FINE", 5)


@pytest.mark.slow
@pytest.mark.usefixtures("good_examples_with_a_teacher")
def test_a_run_in_parts_that_was_stopped_ends_as_one_and_is_drawn(tmp_path, monkeypatch):
    script = learning_thresholds.SCRIPT
    whole = running.compute(script, FEW, tmp_path / "whole.h5")
    parts, measure, calls = tmp_path / "parts.h5", front.measure, []

    def failing(sample, options, *, seed, task, **plan):
        # The calibration, of seed 0, is no task.
        calls.extend([task] * (seed and sample.model.P == 4))
        if len(calls) == 2:
            raise FloatingPointError("too hot")
        return measure(sample, options, seed=seed, task=task, **plan)

    monkeypatch.setattr(front, "measure", failing)
    with pytest.raises(TaskError, match="too hot"):
        running.compute(script, FEW, parts, shard="0/2")
    monkeypatch.setattr(front, "measure", measure)
    # Half of two samples at three numbers of examples; one of two.
    assert store.read(parts, "simulation/P2-supervised").completed.sum() == 3
    assert store.read(parts, "simulation/P4-supervised").completed.sum() == 1
    assert not [room for room in store.rooms(parts) if room.startswith("comparison")]
    for shard in ("0/2", "1/2", "0/1"):
        running.compute(script, FEW, parts, shard=shard, resume=True)
    assert store.rooms(parts) == store.rooms(whole)
    for room in store.rooms(whole):
        xr.testing.assert_identical(store.read(parts, room), store.read(whole, room))
    fine = store.read(whole, "theory_lines/P2-supervised").examples.values.tolist()
    assert (fine, fine[0], fine[-1]) == (sorted(fine), 2, 9)
    assert figures.save(learning_thresholds.draw(whole), whole)[0].stat().st_size > 10_000
