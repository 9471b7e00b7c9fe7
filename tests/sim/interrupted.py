"""Programs that the tests start, kill and start again: `python tests/sim/interrupted.py PROGRAM [options]`.

`sweep` writes the short tasks of a sweep to a file, with any executor. `kill` runs `sweep` in a child, which is killed
at random times (or one of its workers is) and resumed until it ends, and compares its file with one never interrupted:
`python tests/sim/interrupted.py kill --kills 40`.
"""

import argparse
import contextlib
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import xarray as xr

from hebbian import DenseHebbian
from sim import Interrupted, TaskError, open_executor, store, sweep, tabulate

LOADS = (0.05, 0.1, 0.15, 0.2)
TEMPERATURES = (0.2, 0.5, 0.8)


def contents(path):
    """Return everything in a file that is a result: {(group/variable, attribute): bytes}."""
    found = {}

    def visit(name, node):
        if isinstance(node, h5py.Dataset):
            values = node[...]
            raw = repr(values.tolist()).encode() if values.dtype.kind == "O" else values.tobytes()
            found[name] = (node.dtype.str, node.shape, raw)
        for key, value in node.attrs.items():
            # References hold addresses in the file.
            if key not in ("REFERENCE_LIST", "DIMENSION_LIST"):
                found[name, key] = repr(value)

    with h5py.File(path, "r") as file:
        file.visititems(visit)
        found |= {key: repr(value) for key, value in file.attrs.items() if key not in store.VOLATILE}
    return found


def children(pid):
    """Return the ids of the child processes of a process that compute: its pool's, not the resource tracker."""
    found = []
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        for child in (thread / "children").read_text().split():
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(int(child))
    return found


def run_sweep(options):
    """Sweep; the end is told by the exit status."""
    # A resumed run may be the one that finds nothing there yet.
    grid = {"load": LOADS, "T": TEMPERATURES, "samples": options.samples, "sweeps": options.sweeps, "seed": 7}
    with open_executor(options.executor) as executor:
        sweep(
            DenseHebbian(N=40, P=2),
            **grid,
            out=options.out,
            resume=options.resume,
            overwrite=options.overwrite,
            executor=executor,
        )


def spin(point):
    """Work for a while."""
    end = time.perf_counter() + point["seconds"]
    while time.perf_counter() < end:
        pass
    return xr.Dataset({"x": point["i"]})


def fail(point):
    """Raise an error that cannot be pickled, at one point."""
    if point["i"] == 5:

        class LocalError(Exception):
            pass

        raise LocalError("no such luck")
    return xr.Dataset({"x": point["i"]})


def die(point):
    """Kill the process, at one point."""
    if point["i"] == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return xr.Dataset({"x": point["i"]})


def die_once(point):
    """Kill the process, at one point, at the first attempt."""
    if point["i"] == 5 and not Path(point["mark"]).exists():
        Path(point["mark"]).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return xr.Dataset({"x": float(point["i"])})


def leave(point):
    """Leave the interpreter, at one point."""
    if point["i"] == 5:
        sys.exit(3)
    return xr.Dataset({"x": point["i"]})


def threads(_):
    """Return how many threads the libraries of this process would use."""
    import numba
    import scipy.linalg  # noqa: F401  its BLAS is a library of its own
    import threadpoolctl

    # Of a library that is loaded later.
    later = int(os.environ["OMP_NUM_THREADS"])
    pools = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]
    return xr.Dataset(
        {
            "numba": numba.get_num_threads(),
            "others": max(pools),
            "pools": len(pools),
            "later": later,
        }
    )


def grab(point):
    """Hold the interpreter's lock for a long time, as a compiled kernel does."""
    import ctypes

    Path(point["mark"]).touch()
    # PyDLL, unlike CDLL, keeps the lock.
    ctypes.PyDLL(None).usleep(int(1e6 * point["seconds"]))
    return xr.Dataset({"x": point["i"]})


def run_tabulate(options):
    """Call one of the functions above at 20 points."""
    function = {"spin": spin, "fail": fail, "die": die, "grab": grab}[options.function]
    with open_executor(options.executor) as executor:
        tabulate(
            function,
            {"i": list(range(options.points))},
            argument=lambda i: {"i": i, "seconds": options.seconds, "mark": f"{options.out}.{i}"},
            out=options.out,
            resume=options.resume,
            executor=executor,
        )


def command(*arguments):
    """Return the command line of one of these programs."""
    return [sys.executable, __file__, *map(str, arguments)]


def environment():
    """Return an environment in which this package is found."""
    root = str(Path(__file__).parents[2])
    return os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}


def start(*arguments, **options):
    """Start one of these programs."""
    return subprocess.Popen(
        command(*arguments), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def check_whole(path):
    """Raise unless every reader opens the file; return how many tasks are stored."""
    with xr.open_datatree(path) as tree:
        tree.load()
    with h5py.File(path, "r") as file:
        file.visititems(lambda _, node: node[...] if isinstance(node, h5py.Dataset) else None)
    store.attributes_of(path)
    if "simulation" not in store.groups(path):
        return 0
    data = store.read(path, "simulation")
    done = data["completed"].values == 1
    assert not store.damaged(data, tuple(data.attrs["places"].split()))
    assert (
        data["m"].transpose("load", "sample", ...).values[done].size == 0
        or not np.isnan(data["m"].transpose("load", "sample", ...).values[done]).any()
    )
    return int(done.sum())


def kill_and_resume(folder, *, kills, seed, sweeps, samples, longest):
    """Kill a sweep and resume it until it was killed often enough; return how often what was killed.

    Three of ten kills hit the driver after a random time of up to `longest` seconds. The others come soon after a
    random number of stored tasks, and every fourth of them hits a worker.
    """
    folder, chance = Path(folder), random.Random(seed)
    size = ("--sweeps", sweeps, "--samples", samples)
    whole, path = folder / "whole.h5", folder / "killed.h5"
    subprocess.run(command("sweep", "--out", whole, *size), env=environment(), check=True, capture_output=True)
    total, counts = len(LOADS) * samples, {"driver": 0, "worker": 0, "half-way": 0, "files": 0}
    while counts["driver"] + counts["worker"] < kills:
        path.unlink(missing_ok=True)
        counts["files"] += 1
        done = status = -1
        while status != 0:
            arguments = ("sweep", "--out", path, "--resume", "--executor", "local:2", *size)
            with start(*arguments) as process:
                said = _kill_now_and_then(process, counts, kills, chance, longest)
            status = process.returncode
            assert status in (0, -signal.SIGKILL), said
            if path.exists():
                before, done = done, check_whole(path)
                assert done >= before, "finished tasks were lost"
                counts["half-way"] += 0 < done < total
        assert done == total
        assert contents(path) == contents(whole)
    return counts


def _kill_now_and_then(process, counts, kills, chance, longest):
    """Kill a process or its workers until it ends; return what it said."""

    def next_target():
        return chance.randrange(1, 60) if counts["driver"] + counts["worker"] < kills else None

    said, stored, target, timer = [], 0, next_target(), None
    if target is not None and chance.random() < 0.3:
        target, timer = None, threading.Timer(chance.uniform(0, longest), process.kill)
        timer.start()
    # To the end of what its workers say, too: they do not outlive it.
    for line in process.stderr:
        said.append(line)
        stored += "stored" in line
        if target is None or stored < target:
            continue
        time.sleep(chance.uniform(0, 0.02))
        workers = children(process.pid)
        if workers and chance.random() < 0.25:
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(workers), signal.SIGKILL)
            counts["worker"] += 1
            stored, target = 0, next_target()
        else:
            process.kill()
            counts["driver"] += 1
            target = None
    process.wait()
    if timer is not None:
        timer.cancel()
        counts["driver"] += process.returncode == -signal.SIGKILL
    return "".join(said)


def main():
    """Run one of the programs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("program", choices=("sweep", "tabulate", "kill"))
    parser.add_argument("--out")
    parser.add_argument("--function", default="spin")
    parser.add_argument("--points", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--executor", default="local:1")
    parser.add_argument("--samples", type=int, default=50)
    parser.add_argument("--sweeps", type=int, default=3000)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--overwrite", action="store_true")
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longest", type=float, default=3.0)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    logging.getLogger("hebbian").setLevel(logging.DEBUG)
    if options.program == "kill":
        with tempfile.TemporaryDirectory() as folder:
            size = {"sweeps": options.sweeps, "samples": options.samples}
            print(kill_and_resume(folder, kills=options.kills, seed=options.seed, longest=options.longest, **size))
        return
    try:
        run_sweep(options) if options.program == "sweep" else run_tabulate(options)
    except Interrupted as error:
        print(error, file=sys.stderr)
        sys.exit(128 + error.signal)
    except TaskError as error:
        print(error, file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
