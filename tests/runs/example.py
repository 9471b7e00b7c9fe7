"""A script that takes a fraction of a second, for the tests of what all scripts share; also run as a program."""

import matplotlib.pyplot as plt
import numpy as np

from hebbian import DenseHebbian
from runs import command_line, comparison
from runs.script import Script
from sim import store
from theory import replica_symmetric

PRESETS = {
    "quick": {"N": 30, "load": np.array([0.05, 0.1]), "T": np.array([0.2, 0.4]), "samples": 3, "sweeps": 4},
    "long": {"N": 60, "load": np.array([0.05, 0.1]), "T": np.array([0.2, 0.4]), "samples": 500, "sweeps": 2000},
}


def compute(run):
    model = DenseHebbian(N=run.preset["N"], P=2)
    grid = {name: run.preset[name] for name in ("load", "T")}
    theory = run.keep("theory", lambda: replica_symmetric.solve(model, **grid))
    simulation = run.sweep(model, "simulation", **grid)
    run.conclude("comparison", lambda: comparison.compare(simulation, theory, names=("m",)))


def draw(out):
    figure, axes = plt.subplots()
    axes.plot(store.read(out, "comparison")["m_mean"].isel(T=0))
    return figure


SCRIPT = Script(
    name="example",
    summary="Measure the magnetisation of a small network.",
    presets=PRESETS,
    compute=compute,
    draw=draw,
    options={"data": ("digits", "A word of its own.")},
    adaptive=True,
)

if __name__ == "__main__":
    command_line.main(SCRIPT)
