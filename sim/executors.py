"""Where tasks run: processes on this machine, Dask or MPI, all by the interface of `concurrent.futures`."""

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from typing import Any

from sim.processes import Processes, ignore_stops, pin_threads

ALLOWED = "local, local:PROCESSES, dask, dask:PROCESSES, dask://HOST:PORT, dask-slurm:JOBS (-pbs, -sge, ...), mpi"
BATCH_SYSTEMS = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "lsf": "LSFCluster",
    "oar": "OARCluster",
    "htcondor": "HTCondorCluster",
    "moab": "MoabCluster",
    "local": "local.LocalCluster",
}


class Pool(Executor):
    """An executor that knows how many tasks it runs at once, and can be ended in the middle of them.

    Parameters
    ----------
    executor : Executor
        Where tasks run.
    workers : int
        Number of tasks that it runs at once.
    here : bool
        Whether they run on this machine and use its memory.
    """

    def __init__(self, executor: Executor, workers: int, *, here: bool = True) -> None:
        self.workers, self.here = workers, here
        self._executor = executor

    @property
    def replaces(self) -> bool:
        """Whether a worker that dies is replaced: what it was doing can be submitted again."""
        return isinstance(self._executor, Processes)

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Future[Any]:
        """Submit a call; see `concurrent.futures.Executor.submit`."""
        return self._executor.submit(function, *arguments, **keywords)

    def end(self) -> None:
        """End at once; what processes of this machine are doing is given up."""
        if isinstance(self._executor, Processes):
            self._executor.kill()
        else:
            self.shutdown(wait=False, cancel_futures=True)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End when all is done; see `concurrent.futures.Executor.shutdown`."""
        self._executor.shutdown(wait=wait, cancel_futures=cancel_futures)


def local(workers: int) -> Pool:
    """Return a pool of processes on this machine, each with one thread; a process that dies is replaced."""
    return Pool(Processes(workers), workers)


@contextlib.contextmanager
def open_executor(name: str) -> Iterator[Pool | None]:
    """Open the executor of a name, and close it at the end.

    Parameters
    ----------
    name : str
        ``local`` (as many processes as cores), ``local:8``; ``dask`` (a Dask cluster of processes on this machine),
        ``dask:8``; ``dask://HOST:PORT`` (a running scheduler); ``dask-slurm:8`` (8 jobs, laid out by the configuration
        of dask-jobqueue; also pbs, sge, lsf, oar, htcondor, moab); ``mpi`` (all ranks but the first work, in a program
        started by mpiexec).

    Yields
    ------
    Pool or None
        None for one process, this one.

    Raises
    ------
    ValueError
        If the name is unknown.
    ImportError
        If a package is missing, with the extra that brings it.
    OSError
        If the scheduler does not answer.
    """
    kind, _, rest = check_name(name).partition(":")
    if kind == "local":
        workers = int(rest) if rest else cores()
        if workers == 1:
            yield None
            return
        with local(workers) as pool:
            yield pool
    elif kind == "mpi":
        yield from _mpi()
    else:
        yield from _dask(kind, rest)


def check_name(name: str) -> str:
    """Return the name of an executor, or raise ValueError."""
    kind, separator, rest = str(name).partition(":")
    system = kind.removeprefix("dask-")
    known = (
        (kind in ("local", "dask") and (not separator or _is_count(rest)))
        or (kind == "dask" and rest.startswith("//") and _is_address(rest[2:]))
        or (kind != system and system in BATCH_SYSTEMS and _is_count(rest))
        or name == "mpi"
    )
    if not known:
        raise ValueError(f"executor = {name!r} is unknown; allowed: {ALLOWED}")
    return name


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _is_count(text: str) -> bool:
    return text.isdecimal() and 1 <= int(text) <= 65535


def _is_address(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and _is_count(port)


def _dask(kind: str, rest: str) -> Iterator[Pool]:
    distributed = _import("distributed", "cluster")
    batch = kind.removeprefix("dask-") if kind != "dask" else None
    with contextlib.ExitStack() as stack:
        cluster: Any
        if batch is not None:
            path = f"dask_jobqueue.{BATCH_SYSTEMS[batch]}"
            module, _, cls = path.rpartition(".")
            cluster = stack.enter_context(getattr(_import(module, "cluster"), cls)())
            cluster.scale(jobs=int(rest))
        elif rest.startswith("//"):
            cluster = f"tcp:{rest}"
        else:
            cluster = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=int(rest) if rest else cores(),
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=None,
                )
            )
        client = stack.enter_context(distributed.Client(cluster, set_as_default=False))
        # Workers of a batch system come when their jobs start.
        client.wait_for_workers(1)
        # Those that come later, too.
        client.register_worker_callbacks(pin_threads)
        here = kind == "dask" and not rest.startswith("//")
        # A function of equal arguments is called again, not looked up.
        workers = max(sum(client.nthreads().values()), int(rest) if batch else 1)
        yield Pool(client.get_executor(pure=False), workers, here=here)


def _mpi() -> Iterator[Pool]:
    MPI = _import("mpi4py.MPI", "cluster")
    futures = _import("mpi4py.futures", "cluster")
    world = MPI.COMM_WORLD
    if world.size < 2:
        raise ValueError(
            "executor = 'mpi' with one rank; allowed: two or more, the first of which writes the file: "
            f"mpiexec -n 4 python {' '.join(sys.argv[:1])} --executor mpi ..."
        )
    node = world.Split_type(MPI.COMM_TYPE_SHARED)
    here = node.size == world.size
    with futures.MPICommExecutor(world, root=0, initializer=_begin_rank) as executor:
        if executor is not None:
            yield Pool(executor, world.size - 1, here=here)
    if world.rank:
        raise SystemExit(0)


def _begin_rank() -> None:
    pin_threads()
    ignore_stops()


def _import(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f'{module} cannot be imported ({error}); allowed: pip install "hebbian[{extra}]"') from error
