"""Runs of scripts on small presets, as the command line would make them."""

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
