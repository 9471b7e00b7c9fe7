import logging
import os
import signal
import subprocess
import sys
import threading
import time
import types
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from sim import Interrupted, TaskError, executors, store, tabulate, tasks
from sim.tasks import Task, execute
from tests.sim import interrupted

POINTS = {"i": list(range(20))}


def numbered(count, prepare=int):
    return [Task(partial(prepare, i), ((i,),), f"i = {i}") for i in range(count)]


def square(i):
    return [i * i]


def square_but_five(i):
    if i == 5:
        raise ArithmeticError("five")
    return [i * i]


def slow_square(i):
    time.sleep(0.02)
    return [i * i]


@pytest.fixture(params=["here", "threads", "pool"])
def executor(request):
    if request.param == "here":
        yield None
    elif request.param == "threads":
        with ThreadPoolExecutor(2) as threads:
            yield threads
    else:
        with executors.local(2) as pool:
            yield pool


def run(function, batches, executor=None):
    stored = {}

    def store(task, results):
        assert task.label not in stored, "stored twice"
        stored[task.label] = results[0]

    try:
        execute(function, batches, store, executor=executor, total=sum(map(len, batches)), progress=False)
    except TaskError as error:
        stored["error"] = str(error)
    return stored


def squares(count):
    return {f"i = {i}": i * i for i in range(count)}


# Every task once


def test_every_task_is_stored_once(executor):
    assert run(square, [numbered(150)], executor) == squares(150)
    assert run(square, [], executor) == {}


def test_a_batch_is_asked_for_when_the_one_before_is_stored():
    stored = []

    def batches():
        for count in (3, 4):
            before = len(stored)
            yield numbered(count)
            assert len(stored) == before + count

    with ThreadPoolExecutor(2) as pool:
        execute(square, batches(), lambda task, _: stored.append(task), executor=pool, total=7, progress=False)
    assert len(stored) == 7


def test_chunks_grow_with_short_tasks_and_stay_single_with_long_ones(monkeypatch):
    sizes = []

    class Recording(ThreadPoolExecutor):
        def submit(self, function, *arguments):
            sizes.append(len(arguments[1]))
            return super().submit(function, *arguments)

    monkeypatch.setattr(tasks, "_CHUNK_SECONDS", 1e6)
    with Recording(1) as pool:
        run(square, [numbered(6000)], pool)
    assert max(sizes) == tasks._LARGEST_CHUNK
    assert sum(sizes) == 6000
    # At the end each of those in flight gets its share.
    assert sizes[-1] < tasks._LARGEST_CHUNK
    sizes.clear()
    monkeypatch.setattr(tasks, "_CHUNK_SECONDS", 1e-9)
    with Recording(1) as pool:
        run(slow_square, [numbered(70)], pool)
    assert set(sizes) == {1}


# Tasks that fail


def test_a_task_that_fails_is_named_and_what_is_finished_is_kept(executor, caplog):
    stored = run(square_but_five, [numbered(20)], executor)
    assert stored.pop("error") == "task i = 5 failed: ArithmeticError: five"
    assert set(stored.items()) <= set(squares(20).items())
    if executor is None:
        assert len(stored) == 5
    assert "square_but_five" in caplog.text


def refuse_five(i):
    if i == 5:
        raise ValueError("no model has five")
    return i


def test_an_argument_that_cannot_be_made_is_named(executor):
    stored = run(square, [numbered(20, refuse_five)], executor)
    assert stored["error"] == "task i = 5 failed: ValueError: no model has five"


def wait_long_for_five(i):
    if i == 5:
        raise ArithmeticError("five")
    time.sleep(0.05)
    return [i * i]


def test_what_others_have_finished_when_a_task_fails_is_stored(monkeypatch):
    # All are in flight at once, and done; they are looked at one by one.
    def first(running, **_):
        return types.SimpleNamespace(done={next(iter(running))})

    monkeypatch.setattr(tasks, "wait", first)

    class Finished(ThreadPoolExecutor):
        def submit(self, function, *arguments):
            future = super().submit(function, *arguments)
            future.exception()
            return future

    with Finished(1) as pool:
        stored = run(square_but_five, [numbered(20)], pool)
    assert stored.pop("error") == "task i = 5 failed: ArithmeticError: five"
    assert stored == {label: value for label, value in squares(20).items() if label != "i = 5"}


def test_an_error_that_cannot_be_pickled_is_told():
    with executors.local(2) as pool, pytest.raises(TaskError, match="task i = 5 failed: LocalError: no such luck"):
        tabulate(interrupted.fail, POINTS, executor=pool)


def test_a_task_that_leaves_the_interpreter_does_not_take_this_one_along():
    with executors.local(2) as pool, pytest.raises(TaskError, match="task i = 5 failed: SystemExit: 3"):
        tabulate(interrupted.leave, POINTS, executor=pool)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_first_point_fails_as_any_other(workers):
    with executors.local(2) as pool, pytest.raises(TaskError, match="task i = 5 failed: LocalError"):
        tabulate(interrupted.fail, {"i": [5, 6]}, executor=pool if workers else None)


# Workers that die


def test_a_killed_worker_is_replaced_and_each_task_stored_once(tmp_path, caplog):
    axes = {"i": list(range(30)), "mark": [str(tmp_path / "mark")]}
    with executors.local(2) as pool:
        result = tabulate(interrupted.die_once, axes, out=tmp_path / "results.h5", executor=pool)
        # And goes on to be of use.
        assert run(square, [numbered(5)], pool) == squares(5)
    assert result["x"].values[:, 0].tolist() == axes["i"]
    assert (result["completed"] == 1).all()
    assert "a worker process ended abruptly" in caplog.text


def test_a_task_that_always_kills_its_worker_is_given_up(monkeypatch):
    monkeypatch.setattr(tasks, "_ATTEMPTS", 3)
    message = r"worker processes ended abruptly \d time\(s\) while task i = \d+ was under way: out of memory, killed"
    with executors.local(2) as pool, pytest.raises(TaskError, match=message):
        tabulate(interrupted.die, POINTS, executor=pool)


@pytest.mark.parametrize("wrap", [lambda executor: executor, lambda executor: executors.Pool(executor, 1)])
def test_a_broken_executor_of_another_kind_is_not_tried_again(wrap):
    with ProcessPoolExecutor(1) as pool, pytest.raises(TaskError, match=r"ended abruptly 1 time\(s\)"):
        execute(interrupted.die, [numbered_points(6)], lambda *_: None, executor=wrap(pool), total=6, progress=False)


def test_an_executor_that_is_broken_already_is_asked_once():
    class Broken(ThreadPoolExecutor):
        def submit(self, *_):
            raise BrokenExecutor("worn out")

    prepared = []
    with Broken() as pool:
        stored = run(square, [numbered(20, prepared.append)], pool)
    assert "ended abruptly 1 time(s) while task i = 0 was under way" in stored["error"]
    assert prepared == [0]


def point(i):
    return {"i": i}


def numbered_points(count):
    return numbered(count, point)


def test_a_script_without_a_guard_is_told_so(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from hebbian import DenseHebbian\nfrom sim import sweep\n"
        "sweep(DenseHebbian(N=10, P=2, K=1), T=0.1, samples=2, sweeps=1, seed=1, workers=2)\n"
    )
    command = [sys.executable, script]
    ended = subprocess.run(command, env=interrupted.environment(), capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "does not guard its own work by `if __name__ == '__main__':`" in ended.stderr


# Signals


def after_some_tasks(path, count=2):
    """Wait until a program has stored some tasks in its file."""
    for _ in range(600):
        time.sleep(0.05)
        if not path.exists() or "simulation" not in store.groups(path):
            continue
        if (store.read(path, "simulation")["completed"] == 1).sum() >= count:
            return
    raise AssertionError("nothing was stored")


@pytest.mark.parametrize("executor", ["local:1", "local:2"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_cleanly(tmp_path, executor, number):
    path = tmp_path / "results.h5"
    options = ("tabulate", "--out", path, "--executor", executor, "--points", 60, "--seconds", 0.1)
    with interrupted.start(*options, start_new_session=True) as process:
        after_some_tasks(path)
        workers = interrupted.children(process.pid)
        # As a terminal does: all processes get it.
        os.killpg(process.pid, number)
        said = process.stderr.read()
    assert process.returncode == 128 + number
    stored = int((store.read(path, "simulation")["completed"] == 1).sum())
    assert f"stopped by {number.name}: {stored} of 60 tasks are stored" in said
    assert 2 <= stored < 60
    assert "Traceback" not in said
    assert not any(alive(worker) for worker in workers)
    assert len(workers) == (0 if executor == "local:1" else 2)
    axes = {"i": list(range(60))}
    resumed = tabulate(interrupted.spin, axes, argument=quick, out=path, resume=True)
    assert resumed["x"].values.tolist() == axes["i"]
    assert (resumed["completed"] == 1).all()


def quick(i):
    return {"i": i, "seconds": 0.0}


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def signal_after(count, number=signal.SIGINT):
    stored = []

    def store(task, _):
        stored.append(task)
        if len(stored) == count:
            os.kill(os.getpid(), number)

    return store, stored


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_finished_when_a_signal_comes_is_stored(number):
    before = signal.getsignal(number)
    store, stored = signal_after(3, number)
    with ThreadPoolExecutor(2) as pool, pytest.raises(Interrupted, match=f"stopped by {number.name}") as error:
        execute(slow_square, [numbered(500)], store, executor=pool, total=500, progress=False)
    assert error.value.signal == number
    assert 3 <= len(stored) < 500
    assert len({task.label for task in stored}) == len(stored)
    assert signal.getsignal(number) is before


def test_a_second_signal_does_not_wait():
    store, _ = signal_after(1)

    def twice(task, results):
        store(task, results)
        os.kill(os.getpid(), signal.SIGTERM)
        pytest.fail("the second signal was ignored")

    with ThreadPoolExecutor(1) as pool, pytest.raises(Interrupted, match="SIGTERM"):
        execute(square, [numbered(5)], twice, executor=pool, total=5, progress=False)


def test_in_another_thread_signals_are_left_alone():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    found = []
    thread = threading.Thread(target=lambda: found.append(run(square, [numbered(5)])))
    thread.start()
    thread.join()
    assert found == [squares(5)]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize("function", ["spin", "grab"])
def test_no_worker_outlives_the_driver(tmp_path, function):
    # `grab` holds the interpreter's lock for a minute, as a compiled kernel does: no thread of the worker has its turn.
    path = tmp_path / "results.h5"
    seconds = 60 if function == "grab" else 0.2
    options = ("tabulate", "--out", path, "--executor", "local:2", "--function", function, "--seconds", seconds)
    with interrupted.start(*options) as process:
        if function == "spin":
            after_some_tasks(path)
        for _ in range(600):
            if function == "spin" or Path(f"{path}.0").exists():
                break
            time.sleep(0.05)
        workers = interrupted.children(process.pid)
        assert workers
        process.kill()
        process.wait()
        for _ in range(100):
            if not any(map(alive, workers)):
                break
            time.sleep(0.05)
        left = [worker for worker in workers if alive(worker)]
        for worker in left:
            os.kill(worker, signal.SIGKILL)
    assert not left


# Words


def test_progress_is_silent_when_nobody_looks(capfd):
    execute(square, [numbered(5)], lambda *_: None, executor=None, total=5)
    tasks.announce("5 tasks", progress=True)
    assert capfd.readouterr() == ("", "")


def test_a_bar_on_a_terminal_counts_what_was_done_before(monkeypatch, capfd):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    execute(square, [numbered(5)], lambda *_: None, executor=None, total=8, done=3)
    assert "8/8" in capfd.readouterr().err
    execute(square, [numbered(5)], lambda *_: None, executor=None, total=8, done=3, progress=False)
    assert capfd.readouterr().err == ""


def test_every_task_has_a_line_in_the_log(caplog):
    caplog.set_level(logging.DEBUG, "hebbian")
    run(square, [numbered(2)])
    tasks.announce("2 tasks, up to 3 bytes each", progress=False)
    assert [record.getMessage() for record in caplog.records] == [
        "stored i = 0",
        "stored i = 1",
        "2 tasks, up to 3 bytes each",
    ]
