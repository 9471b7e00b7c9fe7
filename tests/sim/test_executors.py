import contextlib
import os
import subprocess
import sys
import warnings
from concurrent.futures import Executor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hebbian import DenseHebbian
from sim import executors, open_executor, sweep, tabulate
from tests.sim import interrupted

GRID = {"load": interrupted.LOADS, "T": interrupted.TEMPERATURES, "samples": 3, "sweeps": 20, "seed": 7}
SIZE = ("--samples", 3, "--sweeps", 20)
# Of the libraries themselves, when clusters begin and end.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


# Names


@pytest.mark.parametrize(
    "name",
    ["local", "local:1", "local:16", "dask", "dask:2", "dask://host:8786", "dask://10.0.0.1:1", "mpi"]
    + [f"dask-{system}:3" for system in executors.BATCH_SYSTEMS],
)
def test_names_that_are_known(name):
    assert executors.check_name(name) == name


UNKNOWN = ["", "process", "local:", "local:0", "local:-1", "local:1.5", "local:two", "local-slurm:2", "LOCAL", "mpi:2"]
UNKNOWN += ["dask:", "dask:0", "dask://", "dask://:8786", "dask://host", "dask://host:port", "dask-slurm"]
UNKNOWN += ["dask-cray:3", 2]


@pytest.mark.parametrize("name", UNKNOWN)
def test_names_that_are_not(name):
    with (
        pytest.raises(ValueError, match=r"executor = .* is unknown; allowed: local, local:PROCESSES, dask"),
        open_executor(name),
    ):
        pytest.fail("opened")


@given(st.text(max_size=12) | st.from_regex(r"\A(local|dask|dask-slurm|mpi):?/*\w*:?\d*\Z"))
def test_a_name_is_known_or_refused(name):
    with contextlib.suppress(ValueError):
        executors.check_name(name)
        kind, _, rest = name.partition(":")
        count = rest.rpartition(":")[2]
        assert kind in ("local", "dask", "mpi") or kind.removeprefix("dask-") in executors.BATCH_SYSTEMS
        assert not rest or 1 <= int(count) <= 65535


def test_one_process_is_this_one():
    with open_executor("local:1") as executor:
        assert executor is None


def test_as_many_processes_as_cores(monkeypatch):
    monkeypatch.setattr(executors, "cores", lambda: 3)
    with open_executor("local") as executor:
        assert executor.workers == 3
        assert executor.here
    assert executors.cores() >= 1


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", None)
    for name in ("dask:2", "mpi"):
        message = r'cannot be imported .*; allowed: pip install "hebbian\[cluster\]"'
        with pytest.raises(ImportError, match=message), open_executor(name):
            pytest.fail("opened")


def test_a_name_is_no_executor():
    for call in (
        lambda: tabulate(interrupted.spin, {"i": [1]}, executor="local:2"),
        lambda: sweep(DenseHebbian(N=20, P=2, K=1), T=0.1, samples=1, sweeps=1, seed=1, executor="local:2"),
    ):
        with pytest.raises(TypeError, match=r"executor = 'local:2' is no executor; allowed: .*`sim.open_executor`"):
            call()


class Foreign(Executor):
    """An executor of the user that remembers how it was shut down."""

    def shutdown(self, wait=True, *, cancel_futures=False):
        self.ended = wait, cancel_futures


def test_what_is_not_of_this_machine_is_asked_to_end():
    pool = executors.Pool(Foreign(), 3, here=False)
    assert (pool.workers, pool.here, pool.replaces) == (3, False, False)
    pool.end()
    assert pool._executor.ended == (False, True)
    pool.shutdown()
    assert pool._executor.ended == (True, False)


# Threads


def test_workers_have_one_thread_each(monkeypatch):
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    with executors.local(1) as pool:
        counted = tabulate(interrupted.threads, {"i": [0]}, executor=pool)
    assert counted["numba"] == 1
    assert counted["others"] == 1
    assert counted["later"] == 1
    assert counted["pools"] >= 2


# The same bits


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """What this process writes."""
    path = tmp_path_factory.mktemp("reference") / "here.h5"
    sweep(DenseHebbian(N=40, P=2), **GRID, out=path)
    return interrupted.contents(path)


@pytest.fixture(scope="module")
def dask():
    """An executor of a Dask cluster of two processes."""
    pytest.importorskip("distributed", reason="distributed is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with open_executor("dask:2") as executor:
            yield executor


@pytest.mark.parametrize("workers", [1, 2])
def test_processes_of_this_machine_give_the_same_bits(workers, reference, tmp_path):
    with executors.local(workers) as pool:
        sweep(DenseHebbian(N=40, P=2), **GRID, out=tmp_path / "results.h5", executor=pool)
    assert interrupted.contents(tmp_path / "results.h5") == reference


def test_dask_gives_the_same_bits(dask, reference, tmp_path):
    sweep(DenseHebbian(N=40, P=2), **GRID, out=tmp_path / "results.h5", executor=dask)
    assert interrupted.contents(tmp_path / "results.h5") == reference
    assert dask.workers == 2
    assert dask.here


def test_a_dask_scheduler_by_address_gives_the_same_bits(dask, reference, tmp_path):
    address = dask._executor._client.scheduler.address.removeprefix("tcp:")
    with open_executor(f"dask:{address}") as executor:
        assert executor.workers == 2
        assert not executor.here
        sweep(DenseHebbian(N=40, P=2), **GRID, out=tmp_path / "results.h5", executor=executor)
    assert interrupted.contents(tmp_path / "results.h5") == reference


def test_threads_of_dask_workers(dask):
    counted = tabulate(interrupted.threads, {"i": [0, 1, 2]}, executor=dask)
    assert (counted["others"] == 1).all()


def test_a_dask_worker_that_is_killed_in_mid_task_is_replaced(dask, tmp_path):
    axes = {"i": list(range(30)), "mark": [str(tmp_path / "mark")]}
    result = tabulate(interrupted.die_once, axes, out=tmp_path / "results.h5", executor=dask)
    assert Path(axes["mark"][0]).exists()
    assert result["x"].values[:, 0].tolist() == axes["i"]
    assert (result["completed"] == 1).all()


def test_jobs_of_dask_give_the_same_bits(reference, tmp_path):
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    path = tmp_path / "results.h5"
    settings = {"CORES": "1", "PROCESSES": "1", "MEMORY": "1GB", "INTERFACE": "null", "WORKER_EXTRA_ARGS": "[]"}
    environment = interrupted.environment() | {
        f"DASK_JOBQUEUE__LOCAL__{key}": value for key, value in settings.items() if value != "null"
    }
    command = interrupted.command("sweep", "--out", path, "--executor", "dask-local:2", *SIZE)
    ended = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert interrupted.contents(path) == reference


@pytest.fixture
def mpiexec():
    pytest.importorskip("mpi4py", reason="mpi4py is not installed")
    path = Path(sys.executable).parent / "mpiexec"
    if not path.exists():
        pytest.skip("mpiexec is not installed beside this Python")
    return path


def test_ranks_of_mpi_give_the_same_bits(mpiexec, reference, tmp_path):
    path = tmp_path / "results.h5"
    command = [mpiexec, "-n", "2", *interrupted.command("sweep", "--out", path, "--executor", "mpi", *SIZE)]
    ended = subprocess.run(command, env=interrupted.environment(), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert interrupted.contents(path) == reference
    # What the first rank refuses ends all of them.
    ended = subprocess.run(command, env=interrupted.environment(), capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "FileExistsError" in ended.stderr


def test_one_rank_of_mpi_is_too_few():
    pytest.importorskip("mpi4py", reason="mpi4py is not installed")
    command = interrupted.command("sweep", "--out", os.devnull, "--executor", "mpi")
    ended = subprocess.run(command, env=interrupted.environment(), capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "executor = 'mpi' with one rank; allowed: two or more" in ended.stderr
