import atexit
import gc
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import types
import weakref
from concurrent.futures import CancelledError, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from sim import processes
from sim.processes import Processes
from tests.sim import interrupted

# Far more than a pipe holds: whoever sends it waits for who receives it.
LARGE = 20_000_000


@pytest.fixture(scope="module")
def pair():
    """Two workers."""
    with Processes(2) as executor:
        yield executor


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def dies(pid, seconds=20.0):
    """Return whether a process ends within some seconds."""
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not alive(pid)


def sleep(seconds, mark=None):
    if mark is not None:
        Path(mark).touch()
    time.sleep(seconds)
    return os.getpid()


def fail():
    raise ArithmeticError("no such luck")


def fail_locally():
    class LocalError(Exception):
        pass

    raise LocalError("no such luck")


def unpicklable():
    return lambda: None


class Refusing:
    """Can be pickled and cannot be made again."""

    def __reduce__(self):
        return fail, ()


class RefusingError(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def fail_refusing():
    raise RefusingError("one", "two")


def die_in_mid_message():
    """Send the beginning of an answer and be killed."""
    pipe = sys._getframe(1).f_locals["pipe"]
    os.write(pipe.fileno(), struct.pack("!i", LARGE) + bytes(1000))
    os.kill(os.getpid(), signal.SIGKILL)


def run_script(folder, text):
    """Run a program in an interpreter of its own; return what it prints."""
    (folder / "script.py").write_text(text)
    command = [sys.executable, folder / "script.py"]
    ended = subprocess.run(command, env=interrupted.environment(), capture_output=True, text=True, check=False)
    assert ended.stderr == ""
    assert ended.returncode == 0
    return ended.stdout


def wait_for(path):
    for _ in range(600):
        if path.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} was not made")


def test_calls_return_or_raise_what_they_do_here(pair):
    assert pair.submit(divmod, 7, 3).result() == (2, 1)
    assert pair.submit(int, "11", base=2).result() == 3
    assert len(pair.submit(bytes, LARGE).result()) == LARGE
    assert pair.submit(len, bytes(LARGE)).result() == LARGE
    assert list(pair.map(abs, range(-300, 0))) == list(range(300, 0, -1))
    with pytest.raises(ArithmeticError, match="no such luck") as error:
        pair.submit(fail).result()
    assert any("test_processes.py" in note for note in error.value.__notes__)
    with pytest.raises(SystemExit):
        pair.submit(sys.exit, 3).result()


def test_what_cannot_be_pickled_fails_its_own_call_and_costs_no_worker(pair):
    # Each worker has one of them at least.
    before = set(pair.map(sleep, [0.05] * 8))
    for call, kind, words in (
        (unpicklable, Exception, "pickle"),
        (fail_locally, RuntimeError, "LocalError: no such luck"),
        (fail_refusing, RuntimeError, "RefusingError: one and two"),
    ):
        with pytest.raises(kind, match=words):
            pair.submit(call).result()
    with pytest.raises(ArithmeticError, match="no such luck"):
        pair.submit(id, Refusing()).result()
    with pytest.raises(Exception, match="pickle"):
        pair.submit(id, unpicklable()).result()
    assert set(pair.map(sleep, [0.05] * 8)) == before


def test_calls_run_side_by_side(pair, tmp_path):
    first = pair.submit(sleep, 60, tmp_path / "first")
    wait_for(tmp_path / "first")
    # The other one is free.
    pids = {pair.submit(os.getpid).result() for _ in range(10)}
    assert len(pids) == 1
    assert not first.done()
    pids = {worker._process.pid for worker in pair._workers} - pids
    os.kill(pids.pop(), signal.SIGKILL)
    with pytest.raises(BrokenProcessPool):
        first.result()


def test_a_worker_that_dies_in_mid_message_fails_its_own_call_alone(pair, tmp_path):
    other = pair.submit(sleep, 0.5, tmp_path / "other")
    wait_for(tmp_path / "other")
    with pytest.raises(BrokenProcessPool, match="a worker process ended abruptly"):
        pair.submit(die_in_mid_message).result(60)
    other.result(60)
    assert list(pair.map(abs, [-1] * 20)) == [1] * 20


def test_a_worker_that_dies_in_idleness_is_replaced_before_the_next_call(pair):
    assert pair.submit(abs, -1).result() == 1
    for worker in pair._workers:
        if worker._process is not None:
            os.kill(worker._process.pid, signal.SIGKILL)
            worker._process.join()
    assert list(pair.map(abs, [-1] * 20)) == [1] * 20


def test_a_worker_that_does_not_begin_is_given_up(monkeypatch):
    monkeypatch.setattr(processes, "_LONGEST_BEGIN", 0.0)
    with Processes(1) as executor:
        with pytest.raises(BrokenProcessPool, match="it did not begin within 0 s"):
            executor.submit(abs, -1).result()
        monkeypatch.setattr(processes, "_LONGEST_BEGIN", 300.0)
        assert executor.submit(abs, -1).result() == 1


def stay():
    """Leave a thread that the interpreter waits for."""
    threading.Thread(target=time.sleep, args=(600,)).start()
    return os.getpid()


def test_a_worker_that_does_not_end_is_killed(monkeypatch):
    monkeypatch.setattr(processes, "_LONGEST_END", 0.5)
    with Processes(1) as executor:
        pid = executor.submit(stay).result()
    assert not alive(pid)


def touch_at_exit(path):
    atexit.register(Path(path).touch)


def test_a_worker_ends_as_programs_do(tmp_path):
    with Processes(1) as executor:
        executor.submit(touch_at_exit, tmp_path / "ended").result()
    assert (tmp_path / "ended").exists()


SIGNALS = """
import os, signal, time
from sim.processes import Processes
if __name__ == "__main__":
    with Processes(1) as executor:
        call = executor.submit(os.getpid)
        while executor._workers[0]._process is None:
            time.sleep(0.001)
        pid = executor._workers[0]._process.pid
        for _ in range(100):
            os.kill(pid, signal.SIGINT)
            os.kill(pid, signal.SIGTERM)
            time.sleep(0.01)
        assert call.result() == pid
"""


def test_a_worker_ignores_signals_from_its_birth_on(tmp_path):
    # The first worker of an interpreter.
    assert run_script(tmp_path, SIGNALS) == ""


def test_results_are_let_go(pair):
    future = weakref.ref(pair.submit(bytes, LARGE))
    for _ in range(600):
        if future() is None:
            return
        time.sleep(0.05)
    pytest.fail("the future is held")


def test_a_worker_that_was_about_to_begin_at_the_end_does_not(monkeypatch):
    executor, context = Processes(1), processes._CONTEXT

    def pipe():
        executor.kill()
        return context.Pipe()

    monkeypatch.setattr(processes, "_CONTEXT", types.SimpleNamespace(Pipe=pipe, Process=context.Process))
    call = executor.submit(abs, -1)
    with pytest.raises(BrokenProcessPool, match="the executor was shut down"):
        call.result(20)
    assert executor._workers[0]._process is None


def test_all_is_done_before_the_workers_end():
    with Processes(1) as executor:
        pid = executor.submit(os.getpid).result()
        calls = [executor.submit(sleep, 0.01) for _ in range(10)]
    assert all(call.done() and call.result() == pid for call in calls)
    assert not alive(pid)
    executor.shutdown()
    with pytest.raises(RuntimeError, match="the executor was shut down"):
        executor.submit(abs, -1)


def test_what_nobody_has_begun_is_cancelled_if_one_likes(tmp_path):
    executor = Processes(1)
    begun = executor.submit(sleep, 0.5, tmp_path / "begun")
    others = [executor.submit(sleep, 60) for _ in range(3)]
    wait_for(tmp_path / "begun")
    executor.shutdown(cancel_futures=True)
    begun.result(0)
    for other in others:
        with pytest.raises(CancelledError):
            other.result(0)


def test_workers_are_killed_in_the_middle_of_what_they_do(tmp_path):
    executor = Processes(2)
    calls = [executor.submit(sleep, 600, tmp_path / str(i)) for i in range(2)]
    waiting = executor.submit(sleep, 600)
    for i in range(2):
        wait_for(tmp_path / str(i))
    pids = [worker._process.pid for worker in executor._workers]
    executor.kill()
    assert all(map(dies, pids))
    wait([*calls, waiting], timeout=20)
    for call in calls:
        with pytest.raises(BrokenProcessPool):
            call.result(0)
    with pytest.raises(CancelledError):
        waiting.result(0)
    executor.shutdown()


def test_an_executor_that_nobody_has_ends_its_workers():
    executor = Processes(1)
    pid = executor.submit(os.getpid).result()
    thread = executor._threads[0]
    del executor
    gc.collect()
    assert dies(pid)
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.parametrize("busy", [False, True])
def test_an_interpreter_that_ends_ends_its_workers(tmp_path, busy):
    text = (
        "import os, time\nfrom sim.processes import Processes\n"
        "if __name__ == '__main__':\n"
        "    executor = Processes(1)\n"
        "    print(executor.submit(os.getpid).result())\n" + "    executor.submit(time.sleep, 600)\n" * busy
    )
    assert dies(int(run_script(tmp_path, text)))
