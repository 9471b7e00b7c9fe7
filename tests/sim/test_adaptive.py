import itertools
import signal

import numpy as np
import pytest
import xarray as xr

from hebbian import DenseHebbian
from sim import Adaptive, Interrupted, sweep
from tests.sim.interrupted import contents

MODEL = DenseHebbian(N=30, P=2)
RUN = {"load": [0.02, 0.1, 0.3], "T": [0.2, 0.6], "samples": 3, "sweeps": 10, "seed": 3}
PLAN = Adaptive(budget=30, largest=16)


def results(values, counts=None):
    """A table along (x, T, sample, replica) of given values along (x, sample)."""
    values = np.asarray(values, float)[:, None, :, None]
    return xr.Dataset({"m": (("x", "T", "sample", "replica"), values)}, coords={"sample": range(values.shape[2])})


def spread(deviations, samples=2):
    """Values with given standard deviations and means zero."""
    signs = np.resize([1.0, -1.0], samples)
    return np.asarray(deviations)[:, None] * signs * np.sqrt((samples - 1) / samples)


def allocate(plan, data, counts, outer=("x",)):
    """Rounds until the end, with the same results at all counts."""
    counts = np.asarray(counts)
    while True:
        after = plan.next_counts(data, counts, outer)
        if (after == counts).all():
            return counts
        assert (after >= counts).all()
        counts = after


@pytest.mark.parametrize("deviations", [[1.0, 2.0, 4.0], [0.1, 1.0, 1.0], [3.0, 0.5, 1.0], [1.0, 3.7, 0.0]])
def test_neymans_rule_is_the_best_of_all(deviations, monkeypatch):
    budget, least = 13, 2
    data = results(spread(deviations))
    known = Adaptive(budget, budget, steepness=0.0)._spread_and_weight(data, np.full(3, least), ("x",))
    # The spread stays that of the first samples, as if it were the true one.
    monkeypatch.setattr(Adaptive, "_spread_and_weight", lambda *_: known)
    counts = allocate(Adaptive(budget, budget, steepness=0.0), data, np.full(3, least))
    error = {
        n: sum(d**2 / k for d, k in zip(deviations, n, strict=True))
        for n in itertools.product(range(least, budget), repeat=3)
        if sum(n) == budget
    }
    assert error[tuple(counts.tolist())] == pytest.approx(min(error.values()))


def test_samples_go_where_the_spread_is():
    data = results(spread([1.0, 0.0, 3.0], 40))
    counts = allocate(Adaptive(budget=44, largest=40, steepness=0.0), data, [2, 2, 2])
    assert counts[1] == 2
    # n is proportional to the spread.
    assert counts.tolist() == [10, 2, 32] or abs(counts[2] / counts[0] - 3) < 0.5
    assert counts.sum() == 44


def test_samples_go_where_the_variable_is_steep():
    means = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])[:, None]
    data = results(spread(np.ones(6), 60) + means)
    flat = allocate(Adaptive(budget=120, largest=60, steepness=0.0), data, np.full(6, 2))
    steep = allocate(Adaptive(budget=120, largest=60, steepness=4.0), data, np.full(6, 2))
    assert flat.tolist() == [20] * 6
    # The weight is 5 at both sides of the jump, about 1 elsewhere.
    assert (steep[2:4] > 3 * steep[[0, 1, 4, 5]].max()).all()
    assert steep.sum() == 120
    # The points of a list have no neighbours.
    listed = allocate(Adaptive(budget=120, largest=60), data.rename(x="point"), np.full(6, 2), ("point",))
    assert listed.tolist() == flat.tolist()


def test_the_worst_temperature_counts():
    values = np.zeros((2, 2, 30, 1))
    values[0, 0], values[1, 1] = spread([1.0], 30)[0, :, None], 2 * spread([1.0], 30)[0, :, None]
    data = xr.Dataset({"m": (("x", "T", "sample", "replica"), values)}, coords={"sample": range(30)})
    counts = allocate(Adaptive(budget=30, largest=30, steepness=0.0), data, [2, 2])
    assert counts.tolist() == [10, 20]


def test_an_error_that_is_small_enough_needs_no_more():
    data = results(spread([1.0, 0.2], 200))
    # 1 / sqrt(n) <= 0.1 at n of about 100, 0.2 / sqrt(n) at 4; the spread of few samples is larger, up to sqrt(2).
    counts = allocate(Adaptive(budget=1000, largest=200, error=0.1, steepness=0.0), data, [2, 2])
    assert counts.sum() < 1000
    assert 100 <= counts[0] <= 150
    assert 4 <= counts[1] <= 8


def test_budget_and_largest_are_respected():
    data = results(spread([1.0, 5.0, 1.0], 20))
    counts = allocate(Adaptive(budget=27, largest=12, steepness=0.0), data, [2, 2, 2])
    assert counts.max() == 12
    assert counts.sum() == 27
    assert allocate(Adaptive(budget=1000, largest=12), data, [2, 2, 2]).tolist() == [12] * 3
    assert allocate(Adaptive(budget=6, largest=12), data, [2, 2, 2]).tolist() == [2] * 3


def test_rounds_are_a_quarter_of_what_there_is():
    data = results(spread(np.ones(4), 60))
    plan = Adaptive(budget=1000, largest=60)
    assert plan.next_counts(data, np.full(4, 2), ("x",)).sum() == 10
    assert plan.next_counts(data, np.full(4, 20), ("x",)).sum() == 100


def test_what_lies_beyond_the_counts_is_not_looked_at():
    data = results(spread([1.0, 2.0, 3.0], 20))
    other = data.copy(deep=True)
    other["m"][:, :, 8:] = 77.0
    plan = Adaptive(budget=60, largest=20)
    counts = np.array([8, 4, 6])
    other["m"][1, :, 4:] = np.nan
    other["m"][2, :, 6:] = -5.0
    np.testing.assert_array_equal(plan.next_counts(data, counts, ("x",)), plan.next_counts(other, counts, ("x",)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"budget": 0}, "budget = 0"),
        ({"largest": 1}, "largest = 1"),
        ({"error": -1.0}, "error = -1.0"),
        ({"steepness": -1.0}, "steepness = -1.0"),
        ({"steepness": np.nan}, "steepness = nan"),
    ],
)
def test_bad_plans(arguments, message):
    with pytest.raises(ValueError, match=message):
        Adaptive(**{"budget": 10, "largest": 5} | arguments)


# Sweeps


def test_an_adaptive_sweep_keeps_to_its_budget(tmp_path):
    result = sweep(MODEL, **RUN, adaptive=PLAN, out=tmp_path / "results.h5")
    counts = result["completed"].sum("sample")
    assert result.sizes["sample"] == 16
    assert counts.sum() == 30
    assert counts.min() >= 3
    # The samples of each point are the first ones, and those of a sweep that is not adaptive.
    plain = sweep(MODEL, **RUN | {"samples": 16})
    for i, n in enumerate(counts.values):
        assert result["completed"][i].values.tolist() == [1] * n + [0] * (16 - n)
        np.testing.assert_array_equal(result["m"][i, :, :n], plain["m"][i, :, :n])
        assert result["m"][i, :, n:].isnull().all()
    # At low load all samples agree; nothing is gained there.
    assert counts[0] < counts[1:].max()


def test_an_adaptive_sweep_does_not_depend_on_workers_or_interruptions(tmp_path, monkeypatch):
    sweep(MODEL, **RUN, adaptive=PLAN, out=tmp_path / "one.h5")
    sweep(MODEL, **RUN, adaptive=PLAN, out=tmp_path / "two.h5", workers=2)
    original, calls = sweep.__globals__["run"], []

    def stop_now_and_then(job):
        calls.append(job)
        if len(calls) % 8 == 0:
            signal.raise_signal(signal.SIGTERM)
        return original(job)

    monkeypatch.setitem(sweep.__globals__, "run", stop_now_and_then)
    interruptions = 0
    while len(calls) < 30 + interruptions:
        try:
            sweep(MODEL, **RUN, adaptive=PLAN, out=tmp_path / "many.h5", resume=True)
        except Interrupted:
            interruptions += 1
    assert interruptions == 4
    assert len(calls) == 30 + interruptions
    assert contents(tmp_path / "one.h5") == contents(tmp_path / "two.h5") == contents(tmp_path / "many.h5")
