"""Runs of scripts on small presets, as the command line would make them."""

import xarray as xr

from runs import script, settings


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
