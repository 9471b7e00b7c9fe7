"""Amplitudes of the patterns that a multitasking network retrieves at once, against the dilution.

Networks of 3 and 5 diluted patterns, or of other numbers, start from the hierarchical state, in which each spin follows
the first pattern that is not blank at its site. They store the patterns, or learn them from noisy examples with and
without a teacher: at low load both trainings follow the same equations (arXiv:2308.04106), and the file compares them
with each other too.

Random patterns overlap by 1/sqrt(N), which acts like a field: it turns the sign of an amplitude that is not larger, and
decides the order of amplitudes that are close. The average over patterns leaves this out; the equations of the very
patterns of each sample (``given``) do not, and are compared with the same simulation.
"""

from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from hebbian import MultitaskingHebbian
from runs import command_line, comparison, figures
from runs.script import Run, Script
from sim import quench, store
from sim.glauber.front import initial_spins
from theory.replica_symmetric import multitasking, solve_given

EXAMPLES: dict[str, Any] = {"quality": 0.5, "examples": 20}
TRAININGS: dict[str, dict[str, Any]] = {"storing": {}, "supervised": EXAMPLES, "unsupervised": EXAMPLES}
T = 0.03
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        "N": 10_000,
        "K": (3, 5),
        "dilution": np.linspace(0.1, 0.9, 9),
        "samples": 4,
        "equilibration": 160,
        "sweeps": 40,
    },
    "paper": {
        "N": 50_000,
        "K": (3, 5),
        "dilution": np.linspace(0.05, 0.95, 19),
        "samples": 8,
        "equilibration": 300,
        "sweeps": 100,
    },
}
FINE = np.linspace(0.02, 0.97, 96)
# Amplitudes that the average over patterns can describe, in units of 1/sqrt(N).
RESOLVED = 5.0


def compute(run: Run) -> None:
    """Predict, simulate and compare every network."""
    networks = [
        (f"K{K}-{training}", MultitaskingHebbian(N=run.preset["N"], K=K, training=training, **learning))
        for K in run.preset["K"]
        for training, learning in TRAININGS.items()
    ]
    dilution, grid = run.preset["dilution"], {"dilution": run.preset["dilution"], "T": T}
    theory = {name: run.keep(f"theory/{name}", partial(multitasking.solve, model, **grid)) for name, model in networks}
    overlaps = {}
    for name, model in networks:
        run.keep(f"theory_lines/{name}", partial(multitasking.solve, model, T=T, dilution=FINE))
        simulation = run.sweep(
            model,
            f"simulation/{name}",
            **grid,
            equilibration=run.preset["equilibration"],
            initial="hierarchical",
            overlaps="all",
        )
        given = predict_given(run, f"theory_given/{name}", model, dilution, np.array([T]))
        resolved = theory[name]["m"] > RESOLVED / np.sqrt(model.N)
        averaged = theory[name].rename(m="m_all")
        run.conclude(f"comparison/{name}", partial(compare, simulation, averaged, where=resolved))
        run.conclude(f"comparison/{name}-given", partial(compare, simulation, given))
        overlaps[name] = simulation[["m_all"]]
    for K in run.preset["K"]:
        # Samples of the same number share their archetypes.
        teacher, alone = overlaps[f"K{K}-supervised"], overlaps[f"K{K}-unsupervised"].mean("replica")
        run.conclude(f"comparison/K{K}-trainings", partial(compare, teacher, alone))


def compare(simulation: xr.Dataset, theory: xr.Dataset, where: xr.DataArray | bool = True) -> xr.Dataset:
    """Take the pulls of all overlaps."""
    return comparison.compare(simulation, theory, names=("m_all",), where=where)


def predict_given(
    run: Run, group: str, model: MultitaskingHebbian, dilution: NDArray[np.float64], T: NDArray[np.float64]
) -> xr.Dataset:
    """Predict every sample of a sweep over dilutions from its own patterns, into a group of the file.

    Parameters
    ----------
    run : Run
        Its seed and samples are those of the sweep.
    group : str
        Group of the file.
    model : MultitaskingHebbian
        Network of the sweep.
    dilution : ndarray of float, shape (dilutions,)
        Dilutions of the sweep, in [0, 1).
    T : ndarray of float, shape (temperatures,)
        Temperatures, at least 0.

    Returns
    -------
    xarray.Dataset
        ``m_all`` along (dilution, sample, T, pattern).
    """

    def point(dilution: float, sample: int) -> tuple[MultitaskingHebbian, int]:
        return model.replace(dilution=dilution), sample

    axes: dict[str, Any] = {"dilution": dilution, "sample": np.arange(run.preset["samples"])}
    return run.tabulate(partial(overlaps_given, T=T, seed=run.seed), axes, group, argument=point)


def overlaps_given(point: tuple[MultitaskingHebbian, int], T: NDArray[np.float64], seed: int) -> xr.Dataset:
    """Return the overlaps ``m_all`` along (T, pattern) that the patterns of one sample (model, number) lead to."""
    model, number = point
    sample = quench(model, seed=seed, sample=number)
    start = initial_spins(sample, "hierarchical", replicas=1, seed=seed)[0]
    learned = np.array([sample.learned(mu) for mu in range(len(sample.xi))])
    m = solve_given(sample.xi, T=T, initial=start, learned=learned)["m"].values
    attributes = {"long_name": "overlap with the archetype, given patterns", "units": "1"}
    return xr.Dataset({"m_all": (("T", "pattern"), m, attributes)}, {"T": T, "pattern": np.arange(m.shape[-1])})


STYLES: dict[str, dict[str, Any]] = {
    "storing": {"marker": "o"},
    "supervised": {"marker": "o"},
    "unsupervised": {"marker": "s", "fillstyle": "none"},
}


def draw(out: Path) -> Figure:
    """Draw every network of a results file: measured amplitudes over the predicted ones."""
    numbers = sorted(int(name[1:].partition("-")[0]) for name in store.groups(out, "theory") if "-storing" in name)
    figure, axes = plt.subplots(len(numbers), 2, figsize=(10, 0.6 + 3.6 * len(numbers)), sharex=True, squeeze=False)
    for row, K in zip(axes, numbers, strict=True):
        draw_network(row[0], out, K, ("storing",))
        draw_network(row[1], out, K, ("supervised", "unsupervised"))
        row[0].set_ylabel(r"amplitudes $m_\mu$")
        row[0].set_title(f"$K = {K}$, storing", fontsize="medium")
        row[1].set_title(f"$K = {K}$, learning: ${learned_from()}$", fontsize="medium")
    for panel in axes[-1]:
        panel.set_xlabel("dilution $d$")
    return figure


def learned_from() -> str:
    """Return what the networks learn from, as a formula."""
    return f"r = {EXAMPLES['quality']}, M = {EXAMPLES['examples']}"


def draw_network(axes: plt.Axes, out: Path, K: int, trainings: tuple[str, ...]) -> None:
    """Draw the trainings of one network as points over the predicted lines, a colour a pattern."""
    curves = store.read(out, f"theory_lines/K{K}-{trainings[0]}")
    keys = []
    for mu, colour in enumerate(figures.colours(K)):
        (line,) = axes.plot(curves["dilution"], curves["m"].isel(pattern=mu, T=0), color=colour, linewidth=1)
        line.set_label(rf"$\mu = {mu + 1}$")
        keys.append(line)
        for training in trainings:
            points = store.read(out, f"comparison/K{K}-{training}").isel(pattern=mu, T=0)
            style = figures.POINTS | STYLES[training] | {"color": colour}
            axes.errorbar(points["dilution"], points["m_all_mean"], points["m_all_error"], **style)
        given = store.read(out, f"theory_given/K{K}-{trainings[0]}")["m_all"].isel(pattern=mu, T=0)
        axes.plot(given["dilution"], given.mean("sample"), linestyle="none", marker="_", markersize=11, color=colour)
    for training in trainings:
        keys.append(Line2D([], [], linestyle="", color="grey", label=training, **STYLES[training]))
    keys.append(Line2D([], [], linestyle="", marker="_", markersize=11, color="grey", label="theory, given patterns"))
    axes.legend(handles=keys, fontsize="small")
    axes.set_ylim(bottom=-0.02)


SCRIPT = Script(
    name="multitasking_hierarchy",
    summary="Measure and predict the amplitudes of several patterns retrieved at once, against their dilution.",
    presets=PRESETS,
    compute=compute,
    draw=draw,
)

if __name__ == "__main__":
    command_line.main(SCRIPT)
