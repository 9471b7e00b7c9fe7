"""Runs of scripts on small presets, as the command line would make them."""

import importlib
import itertools
import multiprocessing
import os
import signal

import xarray as xr

from runs import script, settings
from sim import store
from tests.sim import interrupted


def compute(of, preset, out, *, seed=1, executor="local:1", **options):
    """Compute a script with a preset of its own into a results file; return its path."""
    own = {word: default for word, (default, _) in of.options.items()}
    asked = settings.resolve(
        {"seed": seed, "out": str(out), "executor": executor, **options}, of.name, {"tiny": preset}, own
    )
    with script.open_executor(asked.executor) as pool, script.open_run(of, asked, pool) as run:
        of.compute(run)
    return out


def assert_same(first, second):
    """Raise unless two results files hold the same groups with the same values."""
    with xr.open_datatree(first) as one, xr.open_datatree(second) as other:
        xr.testing.assert_equal(one, other)


def assert_resumes(of, preset, out, whole, tasks):
    """Raise unless a run that is killed when it has stored some tasks, and resumed, leaves the file of a whole one."""
    process = multiprocessing.get_context("spawn").Process(target=_kill, args=(of.name, preset, out, tasks))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    # Theory may be a table of tasks too.
    groups = [store.read(out, room) for room in store.rooms(out)]
    assert sum(int(group.completed.sum()) for group in groups if "completed" in group) == tasks
    assert set(store.rooms(out)) < set(store.rooms(whole))
    compute(of, preset, out, resume=True)
    assert interrupted.contents(out) == interrupted.contents(whole)


def _kill(name, preset, out, tasks):
    """Compute a script; the process ends as by kill -9 after some tasks."""
    write, count = store.Table.write, itertools.count(1)

    def counted(table, place, values):
        write(table, place, values)
        if next(count) == tasks:
            os.kill(os.getpid(), signal.SIGKILL)

    store.Table.write = counted
    compute(importlib.import_module(f"runs.{name}").SCRIPT, preset, out)
