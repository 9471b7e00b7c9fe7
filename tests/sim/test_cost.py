import shutil
import types

import numpy as np
import pytest

from hebbian import DenseHebbian, validation
from sim import cost
from sim.cost import Cost


def test_a_cost_in_words():
    text = str(Cost(tasks=120, memory=3 * 2**20, results=2048, seconds=600, workers=2))
    assert text == "120 tasks, up to 3 MiB each; results 2 KiB; about 5 min on 2 worker(s) like this core"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (1023, "1.02e+03 bytes"), (1024, "1 KiB"), (1.5 * 2**20, "1.5 MiB"), (5 * 2**40, "5.12e+03 GiB")],
)
def test_sizes(count, text):
    assert cost.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "a second"),
        (1.4, "1 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7140, "119 min"),
        (7200, "2 h 0 min"),
        (90061, "25 h 1 min"),
    ],
)
def test_durations(seconds, text):
    assert cost.duration(seconds) == text


def test_memory_of_all_tasks_at_once_and_of_the_results(monkeypatch):
    monkeypatch.setattr(validation, "available_memory", lambda: 10 * 2**30)
    Cost(5, 2**30, 2 * 2**30, 0, 8).check(None)
    with pytest.raises(MemoryError, match=r"9 task\(s\) at once, 1 GiB each, and results of 2 GiB needs about 11 GiB"):
        Cost(5, 2**30, 2 * 2**30, 0, 9).check(None)


def test_disk_for_the_file_and_a_copy(monkeypatch, tmp_path):
    asked = []

    def usage(folder):
        asked.append(folder)
        return types.SimpleNamespace(free=1000)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    out = tmp_path / "results.h5"
    Cost(1, 0, 500, 0, 1).check(out)
    assert asked == [tmp_path]
    with pytest.raises(OSError, match=r"needs about 1e\+03 bytes on the disk"):
        Cost(1, 0, 501, 0, 1).check(out)
    # What is there already needs a copy alone; what is added to it, all over again.
    out.write_bytes(bytes(800))
    Cost(1, 0, 800, 0, 1).check(out)
    Cost(
        1,
        0,
        500,
        0,
        1,
    ).check(out, beside=400)
    with pytest.raises(OSError, match="on the disk"):
        Cost(1, 0, 501, 0, 1).check(out, beside=400)


def timings(monkeypatch, *, first, further, draw):
    """Let a simulation of some sweeps take (first + sweeps * further) seconds times the number of patterns."""
    clock = [0.0]
    monkeypatch.setattr(cost.time, "perf_counter", lambda: clock[0])
    seen = []

    def measure(sample, options, *, seed, task, parts):
        seen.append((sample.model.K, options["sweeps"], options["equilibration"], parts[0][0]))
        clock[0] += sample.model.K * (first + options["sweeps"] * further)
        return {"m": (("T",), np.zeros(1))}

    def drawing(model):
        clock[0] += draw
        return model.quench(rng=np.random.default_rng(1))

    monkeypatch.setattr(cost.front, "measure", measure)
    return drawing, seen


OPTIONS = {"T": np.array([0.5]), "sweeps": 60, "equilibration": 30, "replicas": 1}


def test_estimates_of_a_linear_cost_are_exact(monkeypatch):
    draw, seen = timings(monkeypatch, first=0.5, further=0.25, draw=4.0)
    models = [DenseHebbian(N=20, P=2, K=K) for K in (3, 1, 2, 5, 4)]
    seconds, variables = cost.task_seconds(models, [OPTIONS] * 5, draw)
    # Of all sweeps, with those that are discarded; the least, the middle and the most expensive are timed.
    exact = {K: 4.0 + K * (0.5 + 90 * 0.25) for K in (1, 3, 5)}
    assert seconds[[1, 0, 3]] == pytest.approx([exact[1], exact[3], exact[5]])
    assert exact[1] < seconds[2] < exact[3] < seconds[4] < exact[5]
    assert list(variables) == ["m"]
    assert {K for K, *_ in seen} == {1, 3, 5}
    assert all(equilibration == 0 and sweeps <= 2 for _, sweeps, equilibration, _ in seen)


def test_the_faster_a_sweep_the_more_are_timed(monkeypatch):
    draw, seen = timings(monkeypatch, first=0.0, further=1e-3, draw=0.0)
    options = OPTIONS | {"sweeps": 1000}
    seconds, _ = cost.task_seconds([DenseHebbian(N=20, P=2, K=1)], [options], draw)
    assert seconds == pytest.approx([1.03])
    assert max(sweeps for _, sweeps, *_ in seen) in (21, 22)


def test_a_single_sweep_is_timed_as_it_is(monkeypatch):
    draw, _seen = timings(monkeypatch, first=0.5, further=0.25, draw=1.0)
    options = OPTIONS | {"sweeps": 1, "equilibration": 0}
    seconds, _ = cost.task_seconds([DenseHebbian(N=20, P=2, K=2)] * 2, [options] * 2, draw)
    assert seconds == pytest.approx([2.5, 2.5])


def test_the_algorithm_timed_is_that_of_the_whole_task(monkeypatch):
    model = DenseHebbian(N=40, P=2, K=30)
    chosen = {}
    for sweeps in (1, 10**6):
        with monkeypatch.context() as context:
            draw, seen = timings(context, first=0.5, further=0.25, draw=1.0)
            cost.task_seconds([model], [OPTIONS | {"sweeps": sweeps, "equilibration": 0}], draw)
            (chosen[sweeps],) = {algorithm for *_, algorithm in seen}
    assert chosen == {1: "rows", 10**6: "fields"}


def test_memory_of_a_task_counts_replicas():
    model = DenseHebbian(N=200, P=4, K=1000)
    assert cost.task_memory(model, {"replicas": 20}) > cost.task_memory(model, {}) > model.memory()
    assert cost.task_memory(model, {}) == cost.task_memory(model, {"replicas": cost.front.REPLICAS})
