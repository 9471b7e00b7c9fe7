import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from hebbian import DenseHebbian
from runs import dense_finite_size, figures
from sim import TaskError, store, sweep
from sim.glauber import front
from tests.runs import running
from theory import replica_symmetric

SMALL = {"N": {"P2": (200, 400, 600), "P3": (120, 160, 240), "P4": (100, 120, 140)}, "samples": 16, "sweeps": 60}
# Of the cases of P = 2 and 3 that store.
TINY = {"N": {"P2": (40, 50, 60), "P3": (20, 24, 30)}, "samples": 2, "sweeps": 4}
CASES = dense_finite_size.CASES
SCRIPT = dense_finite_size.SCRIPT


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out = tmp_path_factory.mktemp("results") / "finite_size.h5"
    return running.compute(SCRIPT, SMALL, out, seed=3)


@pytest.fixture
def two_cases(monkeypatch):
    monkeypatch.setattr(dense_finite_size, "CASES", (CASES[0], CASES[3]))


def assert_same(one, other):
    assert store.rooms(one) == store.rooms(other)
    for room in store.rooms(one):
        xr.testing.assert_identical(store.read(one, room), store.read(other, room))


@pytest.mark.slow
@pytest.mark.parametrize("quantity", dense_finite_size.QUANTITIES)
def test_extrapolated_values_agree_with_the_theory(results, quantity):
    # 27 points in nine independent cases, temperatures of one case being correlated. If the theory holds, a case
    # has a pull beyond 3 (Student, 45 degrees of freedom) with a probability below 7e-3: a fresh seed would
    # put more than one point outside at most once in 15 times.
    pulls = dense_finite_size.points(results, quantity).pull
    assert pulls.size == 27
    assert np.count_nonzero(abs(pulls) < 3) >= 0.95 * pulls.size


@pytest.mark.slow
def test_the_comparison_has_the_power_to_refute(results):
    # The all-tuples equations are another theory of P = 3 and 4, 30 to 150 % off in the noise.
    refuted = 0
    for case in CASES:
        if case.P == 2 or case.training != "storing":
            continue
        model = DenseHebbian(N=100, P=case.P, interaction="all")
        wrong = replica_symmetric.solve(model, load=case.load, T=case.T)
        simulation = store.read(results, f"simulation/{case.name}")
        pull = dense_finite_size.compare(simulation, wrong)["pull"].sel(quantity="m")
        refuted += int((abs(pull) > 3).sum())
    assert refuted >= 2


@pytest.mark.slow
def test_report_counts_all_points_with_the_wide_tails_of_few_samples(results):
    lines = list(dense_finite_size.report(results))
    assert [line.partition(":")[0] for line in lines] == list(dense_finite_size.QUANTITIES)
    # Student's t of 3 * 15 degrees of freedom: 27 * 0.99561.
    assert all("of 27 points within 3 standard errors (expected 26.9)" in line for line in lines)
    assert (dense_finite_size.points(results, "m").freedom == 45).all()


@pytest.mark.slow
def test_figure_has_a_panel_a_case(results):
    figure = dense_finite_size.draw(results)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:2] == ["$P = 2$, storing", "$P = 2$, supervised"]
    assert figures.save(figure, results)[0].stat().st_size > 10_000


@pytest.mark.slow
def test_all_tuples_lose_the_pattern_that_distinct_tuples_keep():
    # P = 4, K = 0.02 N^3, T = 0.6, N = 200: RS says m = 0.96750 (distinct) and no retrieval (all).
    run = {"T": 0.6, "samples": 4, "sweeps": 60, "equilibration": 60, "seed": 1, "replicas": 1}
    model = DenseHebbian(N=200, P=4, K=160_000)
    theory = replica_symmetric.solve(model, load=model.load, T=0.6)
    assert float(theory.m.squeeze()) == pytest.approx(0.96750, abs=1e-5)
    distinct = sweep(model, **run).m.squeeze()
    lost = sweep(model.replace(interaction="all"), **run).m.squeeze()
    # Between samples m varies by about 0.02 at this size; 0.03 are three standard errors of four.
    assert abs(float(distinct.mean()) - 0.96750) < 0.03
    assert (abs(lost) < 0.3).all()
    assert not replica_symmetric.solve(model.replace(interaction="all"), load=model.load, T=0.6).retrieval.any()


@pytest.mark.usefixtures("two_cases")
def test_a_run_in_parts_that_was_stopped_ends_as_one(tmp_path, monkeypatch):
    whole = running.compute(SCRIPT, TINY, tmp_path / "whole.h5")
    assert len(store.groups(whole, "comparison")) == 2
    parts, measure, calls = tmp_path / "parts.h5", front.measure, []

    def failing(sample, options, *, seed, task, **plan):
        # The calibration, of seed 0, is no task.
        calls.extend([task] * (seed and sample.model.P == 3))
        if len(calls) == 2:
            raise FloatingPointError("too hot")
        return measure(sample, options, seed=seed, task=task, **plan)

    monkeypatch.setattr(front, "measure", failing)
    with pytest.raises(TaskError, match="too hot"):
        running.compute(SCRIPT, TINY, parts, shard="0/2")
    monkeypatch.setattr(front, "measure", measure)
    # Half of three sizes with two samples; one of them.
    assert store.read(parts, "simulation/P2-storing").completed.sum() == 3
    assert store.read(parts, "simulation/P3-storing").completed.sum() == 1
    assert not [room for room in store.rooms(parts) if room.startswith("comparison")]
    for shard in ("0/2", "1/2", "0/1"):
        running.compute(SCRIPT, TINY, parts, shard=shard, resume=True)
    assert_same(parts, whole)


@pytest.mark.usefixtures("two_cases")
def test_three_sizes_in_any_order_give_a_limit_and_fewer_are_drawn_without(tmp_path):
    paths = []
    for sizes in ((40, 50, 60), (60, 40, 50), (60, 40), (40,)):
        preset = TINY | {"N": {"P2": sizes, "P3": (20,)}}
        paths.append(running.compute(SCRIPT, preset, tmp_path / f"{len(paths)}.h5"))
        compared = store.read(paths[-1], "comparison/P2-storing").sel(quantity="m")
        assert compared.N.values.tolist() == list(sizes)
        assert compared["mean"].notnull().all()
        # At lower temperatures the few samples agree, and have no error.
        assert compared.limit.sel(T=0.3).notnull() == (len(sizes) >= 3)
        assert len(list(dense_finite_size.report(paths[-1]))) == 2
    for name in ("limit", "slope"):
        one, other = (store.read(path, "comparison/P2-storing")[name] for path in paths[:2])
        np.testing.assert_allclose(one, other, rtol=1e-9)
    for path in paths[1:]:
        figure = dense_finite_size.draw(path)
        figure.canvas.draw()
        plt.close(figure)
