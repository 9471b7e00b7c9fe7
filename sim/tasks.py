"""Tasks on an executor: chunks, lost workers, progress, interruption; each result is stored as it comes."""

import logging
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass
from types import FrameType
from typing import Any, Self

import threadpoolctl
from tqdm import tqdm

from sim.executors import Pool

log = logging.getLogger("hebbian")

# From the arguments of tasks, one after the other, to the results of each.
Together = Callable[[Iterator[Any]], Iterator[Sequence[Any]]]

# Tasks of one worker are handed over together, as many as take about this long: what is lost with a worker.
_CHUNK_SECONDS = 0.1
_LARGEST_CHUNK = 64
# How often the workers may die under a task before it is held responsible.
_ATTEMPTS = 5
_FIRST_ATTEMPTS = 3
# Chunks in flight where the number of workers is unknown.
_IN_FLIGHT = 64


@dataclass(frozen=True, eq=False)
class Task:
    """A call that returns one result for each of some places.

    Parameters
    ----------
    prepare : callable
        Makes what the function is called with, when the task's turn has come.
    places : tuple of tuple of int
        Where its results go.
    label : str
        Its point, in words.
    """

    prepare: Callable[[], Any]
    places: tuple[tuple[int, ...], ...]
    label: str


class TaskError(RuntimeError):
    """A task failed, or took its workers with it; what was finished before is stored.

    Parameters
    ----------
    message : str
        Which task, and why.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)


class Interrupted(KeyboardInterrupt):
    """A signal ended the run; what was finished is stored.

    Parameters
    ----------
    signal_number : int
        SIGINT or SIGTERM.
    """

    def __init__(self, signal_number: int) -> None:
        self.signal = signal.Signals(signal_number)
        super().__init__(f"stopped by {self.signal.name}")


def execute(
    function: Callable[[Any], Sequence[Any]],
    batches: Iterable[Sequence[Task]],
    store: Callable[[Task, Sequence[Any]], None],
    *,
    executor: Executor | None,
    total: int,
    done: int = 0,
    progress: bool = True,
    together: Together | None = None,
) -> None:
    """Call a function with the arguments of all tasks and store the results.

    Parameters
    ----------
    function : callable
        Returns one result for each place of the task; it can be pickled if there is an executor.
    batches : iterable of sequences of Task
        Each is asked for when the one before is stored: it can depend on the results.
    store : callable
        Called in this process with each task and its results, in any order.
    executor : Executor, optional
        Where tasks run; None is this process.
    total, done : int
        Tasks in all, and those that were done before.
    progress : bool
        Whether to show a bar, on a terminal.
    together : callable, optional
        Takes the place of the function where there is no executor: is given the arguments of all tasks of a batch, to
        take as many at a time as it likes, and yields the results of each, in their order.

    Raises
    ------
    Interrupted
        On SIGINT or SIGTERM: what was finished has been stored, the workers are stopped.
    TaskError
        If a task fails, with its point.
    """
    with _Signals(at_once=executor is None) as signals, _bar(total, done, progress) as bar:
        try:
            for batch in batches:
                for task, results in _results(function, batch, executor, signals, together):
                    store(task, results)
                    log.debug("stored %s", task.label)
                    bar.set_postfix_str(task.label, refresh=False)
                    bar.update()
        except BaseException:
            if isinstance(executor, Pool):
                executor.end()
            raise


def announce(message: str, progress: bool) -> None:
    """Say something before the work starts: to the log, or to a terminal where nobody listens to the log."""
    log.info(message)
    if progress and not log.hasHandlers() and sys.stderr.isatty():
        tqdm.write(message, file=sys.stderr)


def _bar(total: int, done: int, progress: bool) -> Any:
    return tqdm(total=total, initial=done, disable=None if progress else True, unit="task", dynamic_ncols=True)


class _Signals:
    """SIGINT and SIGTERM, seen between tasks, or at once where the tasks run in this process."""

    def __init__(self, at_once: bool) -> None:
        self._at_once, self._seen = at_once, 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        # Python delivers signals to the main thread, and lets no other set a handler.
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self._at_once or self._seen:
            raise Interrupted(number)
        self._seen = number

    def check(self) -> None:
        """Raise Interrupted if a signal came."""
        if self._seen:
            raise Interrupted(self._seen)

    @property
    def seen(self) -> bool:
        """Whether a signal came."""
        return bool(self._seen)


def _results(
    function: Callable[[Any], Sequence[Any]],
    tasks: Sequence[Task],
    executor: Executor | None,
    signals: _Signals,
    together: Together | None,
) -> Iterator[tuple[Task, Sequence[Any]]]:
    """Yield tasks with their results as they finish."""
    if executor is None:
        return _here(function, tasks) if together is None else _side_by_side(together, tasks)
    return _Flight(function, tasks, executor, signals).land()


def _here(function: Callable[[Any], Sequence[Any]], tasks: Sequence[Task]) -> Iterator[tuple[Task, Sequence[Any]]]:
    # As in workers: sums over several threads round otherwise.
    with threadpoolctl.threadpool_limits(1):
        for task in tasks:
            argument = _prepared(task)
            try:
                results = function(argument)
            except Exception as error:
                raise _failed(task, f"{type(error).__name__}: {error}", traceback.format_exc()) from error
            yield task, results


def _side_by_side(together: Together, tasks: Sequence[Task]) -> Iterator[tuple[Task, Sequence[Any]]]:
    results = together(map(_prepared, tasks))
    for task in tasks:
        try:
            found = next(results)
        except TaskError:
            raise
        except Exception as error:
            what = f"with those beside it: {type(error).__name__}: {error}"
            raise _failed(task, what, traceback.format_exc()) from error
        yield task, found


@dataclass(frozen=True)
class _Failure:
    """What is left of an exception in a worker: exceptions themselves cannot always be pickled."""

    what: str
    trace: str


def _run_chunk(function: Callable[[Any], Sequence[Any]], arguments: list[Any]) -> tuple[list[Any], float]:
    """Call a function with some arguments, up to the first that fails; return the results and the seconds."""
    start = time.perf_counter()
    results: list[Any] = []
    for argument in arguments:
        try:
            results.append(function(argument))
        except (Exception, SystemExit) as error:
            results.append(_Failure(f"{type(error).__name__}: {error}", traceback.format_exc()))
            break
    return results, time.perf_counter() - start


def _prepared(task: Task) -> Any:
    try:
        return task.prepare()
    except Exception as error:
        raise _failed(task, f"{type(error).__name__}: {error}", traceback.format_exc()) from error


def _failed(task: Task, what: str, trace: str) -> TaskError:
    log.error("task %s failed\n%s", task.label, trace)
    return TaskError(f"task {task.label} failed: {what}")


class _Flight:
    """Tasks on their way through an executor."""

    def __init__(
        self, function: Callable[[Any], Sequence[Any]], tasks: Sequence[Task], executor: Executor, signals: _Signals
    ) -> None:
        self._function, self._executor, self._signals = function, executor, signals
        self._waiting = deque(tasks)
        self._running: dict[Future[Any], list[Task]] = {}
        self._attempts: dict[Task, int] = {}
        self._seconds = 0.0
        self._landed = 0
        self._failure: TaskError | None = None
        self._width = 2 * executor.workers if isinstance(executor, Pool) else _IN_FLIGHT

    def land(self) -> Iterator[tuple[Task, Sequence[Any]]]:
        """Yield tasks with their results as they finish."""
        try:
            while self._waiting or self._running:
                self._submit()
                # A signal handler cannot end the wait.
                for future in wait(self._running, timeout=0.1, return_when=FIRST_COMPLETED).done:
                    yield from self._take(future)
                if self._failure or self._signals.seen:
                    yield from self._rescue()
                    if self._failure:
                        raise self._failure
                    self._signals.check()
        finally:
            for future in self._running:
                future.cancel()

    def _submit(self) -> None:
        while self._waiting and len(self._running) < self._width and not self._failure:
            chunk = [self._waiting.popleft() for _ in range(self._chunk_size())]
            arguments = [_prepared(task) for task in chunk]
            try:
                self._running[self._executor.submit(_run_chunk, self._function, arguments)] = chunk
            except BrokenExecutor as error:
                self._lose(chunk, error)

    def _chunk_size(self) -> int:
        if not self._landed or self._waiting[0] in self._attempts:
            return 1
        wanted = _CHUNK_SECONDS * self._landed / max(self._seconds, 1e-9)
        # At the end all workers have something to do.
        share = -(-len(self._waiting) // self._width)
        return max(1, min(int(wanted), _LARGEST_CHUNK, share))

    def _take(self, future: Future[Any]) -> Iterator[tuple[Task, Sequence[Any]]]:
        chunk = self._running.pop(future)
        try:
            results, seconds = future.result()
        except BrokenExecutor as error:
            self._lose(chunk, error)
            return
        except Exception as error:
            results, seconds = [_Failure(f"{type(error).__name__}: {error}", traceback.format_exc())], 0.0
        self._seconds, self._landed = self._seconds + seconds, self._landed + len(results)
        for task, result in zip(chunk, results, strict=False):
            if isinstance(result, _Failure):
                self._failure = self._failure or _failed(task, result.what, result.trace)
            else:
                yield task, result

    def _rescue(self) -> Iterator[tuple[Task, Sequence[Any]]]:
        """Yield what is finished already."""
        for future in [future for future in self._running if future.done() and not future.cancelled()]:
            yield from self._take(future)

    def _lose(self, chunk: list[Task], error: BrokenExecutor) -> None:
        """After the loss of a worker: what it was doing runs again, if there are others and it was not so too often."""
        for task in chunk:
            self._attempts[task] = self._attempts.get(task, 0) + 1
        worst = max(chunk, key=lambda task: self._attempts[task])
        # Workers that never did anything will not do so at a fifth attempt.
        allowed = _ATTEMPTS if self._landed else _FIRST_ATTEMPTS
        if isinstance(self._executor, Pool) and self._executor.replaces and self._attempts[worst] < allowed:
            log.warning("%s; %d task(s) run again", error, len(chunk))
            self._waiting.extendleft(reversed(chunk))
        else:
            self._failure = self._failure or TaskError(
                f"worker processes ended abruptly {self._attempts[worst]} time(s) while task {worst.label} was under "
                "way: out of memory, killed, or started by a script that does not guard its own work by "
                "`if __name__ == '__main__':`"
            )
