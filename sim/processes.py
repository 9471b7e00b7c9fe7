"""Processes of this machine as an executor, each at the end of a pipe of its own.

The pool of the standard library shares one pipe and its lock among all workers: one that is killed in the middle of a
message leaves all others, and whoever waits for them, waiting for ever. Here the end of a worker closes its pipe, which
fails the call that was under way and no other, and a new worker takes its place.
"""

import multiprocessing
import os
import queue
import signal
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, reduction, resource_tracker, util
from typing import Any

import numba
import threadpoolctl

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

# Fresh interpreters: a fork would copy the locks that the threads of whoever calls us hold.
_CONTEXT = multiprocessing.get_context("spawn")
_STOPS = (signal.SIGINT, signal.SIGTERM)
# Seconds after which a worker that does not begin, or does not end when it is asked to, is given up.
_LONGEST_BEGIN = 300.0
_LONGEST_END = 10.0


class Processes(Executor):
    """Worker processes, begun when there is something to do, each with one thread.

    Parameters
    ----------
    workers : int
        Calls that run at once, at least 1.
    """

    def __init__(self, workers: int) -> None:
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._workers = [_Worker() for _ in range(workers)]
        self._lock, self._closed = threading.Lock(), False
        # They hold no reference to the executor: one that nobody has any more ends its workers.
        self._threads = [
            threading.Thread(target=_serve, args=(self._calls, worker), daemon=True) for worker in self._workers
        ]
        for thread in self._threads:
            thread.start()
        # At the end of the interpreter too, before it waits for its processes.
        self._kill = util.Finalize(self, _kill, (self._calls, self._workers), exitpriority=10)

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Future[Any]:
        """Submit a call, which fails with BrokenProcessPool if its worker dies; see `concurrent.futures.Executor`."""
        call = _Call(function, arguments, keywords)
        with self._lock:
            if self._closed:
                raise RuntimeError("the executor was shut down; allowed: one that is open")
            self._calls.put(call)
        return call.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers when all is done; see `concurrent.futures.Executor.shutdown`."""
        with self._lock:
            first, self._closed = not self._closed, True
        if cancel_futures:
            self._cancel()
        if first or cancel_futures:
            for _ in self._threads:
                self._calls.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def kill(self) -> None:
        """End the workers at once, whatever they are doing."""
        self.shutdown(wait=False, cancel_futures=True)
        self._kill()

    def _cancel(self) -> None:
        """Cancel what no worker has begun."""
        while True:
            try:
                call = self._calls.get_nowait()
            except queue.Empty:
                return
            if call is not None:
                call.future.cancel()
                call.future.set_running_or_notify_cancel()


class _Call:
    """A call and the future of its result."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        self.future: Future[Any] = Future()
        self.what = function, arguments, keywords


class _Worker:
    """A process and this end of its pipe; a dead one is replaced at the next call."""

    def __init__(self) -> None:
        self._process: Any = None
        self._pipe: Any = None
        self._lock, self._given_up = threading.Lock(), False

    def call(self, message: memoryview) -> tuple[bool, Any]:
        """Return whether a call returned, and what it returned or raised; BrokenProcessPool: the worker died."""
        try:
            self._begin()
            self._pipe.send_bytes(message)
            return self._pipe.recv()
        except BaseException as error:
            self._lose()
            if isinstance(error, EOFError | OSError):
                raise BrokenProcessPool(f"a worker process ended abruptly ({error!r})") from error
            raise

    def _begin(self) -> None:
        if self._process is not None and self._process.is_alive():
            return
        self._lose()
        here, there = _CONTEXT.Pipe()
        with there, self._lock:
            if self._given_up:
                raise EOFError("the executor was shut down")
            process = _CONTEXT.Process(target=_work, args=(there,))
            _start(process)
            self._process, self._pipe = process, here
        if not here.poll(_LONGEST_BEGIN):
            raise TimeoutError(f"it did not begin within {_LONGEST_BEGIN:g} s")
        here.recv()

    def _lose(self) -> None:
        """Kill the process, if there is one, and forget it."""
        self.kill()
        if self._process is not None:
            self._pipe.close()
            self._process.join()
            self._process = None

    def end(self) -> None:
        """Let the process end; kill it if it does not."""
        if self._process is not None:
            self._pipe.close()
            self._process.join(_LONGEST_END)
            self._lose()

    def kill(self, *, for_good: bool = False) -> None:
        """Kill the process, from any thread; for good: none takes its place."""
        with self._lock:
            self._given_up |= for_good
            process = self._process
        if process is not None:
            process.kill()


def _kill(calls: "queue.SimpleQueue[_Call | None]", workers: list[_Worker]) -> None:
    for worker in workers:
        worker.kill(for_good=True)
        calls.put(None)


def _serve(calls: "queue.SimpleQueue[_Call | None]", worker: _Worker) -> None:
    """Give calls to a worker, one after the other, until there is None."""
    while (call := calls.get()) is not None:
        future = call.future
        if not future.set_running_or_notify_cancel():
            continue
        try:
            returned, value = worker.call(reduction.ForkingPickler.dumps(call.what))
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(value) if returned else future.set_exception(value)
        # What was returned can be large, and the next call a long time away.
        del call, future
    worker.end()


def _start(process: Any) -> None:
    """Start a process that has the signals blocked which it will ignore: it imports for a second or more."""
    if not hasattr(signal, "pthread_sigmask"):
        process.start()
        return
    # It would be started along with the first process, and unblock the signals.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Any) -> None:
    """Answer calls until the pipe is closed: what a worker does."""
    pin_threads()
    ignore_stops()
    parent = multiprocessing.parent_process()
    if parent is not None:
        _end_with(parent.sentinel)
    pipe.send(None)
    while True:
        try:
            message = pipe.recv_bytes()
        except EOFError:
            return
        try:
            function, arguments, keywords = reduction.ForkingPickler.loads(message)
            answer = reduction.ForkingPickler.dumps((True, function(*arguments, **keywords)))
        except BaseException as error:
            answer = _pickled(error)
        pipe.send_bytes(answer)


def _pickled(error: BaseException) -> memoryview:
    """Return the answer that a call raised an error, or one in its place that can be pickled."""
    error.add_note("in a worker process:\n" + traceback.format_exc())
    try:
        answer = reduction.ForkingPickler.dumps((False, error))
        reduction.ForkingPickler.loads(answer)
    except Exception:
        return reduction.ForkingPickler.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
    return answer


def pin_threads() -> None:
    """Give BLAS, OpenMP and Numba one thread each: side by side, workers have one core each."""
    # What is loaded later asks the environment; Numba loads a library of threads here.
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    numba.set_num_threads(1)
    threadpoolctl.threadpool_limits(1)


def ignore_stops() -> None:
    """Ignore SIGINT and SIGTERM: terminals and batch systems signal all processes, and the one that writes decides."""
    for stop in _STOPS:
        signal.signal(stop, signal.SIG_IGN)


def _end_with(sentinel: int) -> None:
    """End this process when the one that holds the other end of a pipe is dead: no orphan goes on computing."""

    def watch() -> None:
        connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    if fcntl is not None and hasattr(fcntl, "F_SETOWN"):
        # A compiled kernel leaves no thread its turn; then the signal of the pipe, SIGIO, ends the process.
        fcntl.fcntl(sentinel, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(sentinel, fcntl.F_SETFL, fcntl.fcntl(sentinel, fcntl.F_GETFL) | os.O_ASYNC)
