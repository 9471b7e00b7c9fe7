"""Amplitudes of the patterns that a multitasking network retrieves at once, against the dilution.

Networks of 3 and 5 diluted patterns start from the hierarchical state, in which each spin follows the first pattern
that is not blank at its site. They store the patterns, or learn them from noisy examples with and without a teacher: at
low load both trainings follow the same equations (arXiv:2308.04106), and the file compares them with each other too.

Random patterns overlap by 1/sqrt(N), which acts like a field: it turns the sign of an amplitude that is not larger, and
decides the order of amplitudes that are close. The average over patterns leaves this out; the equations of the very
patterns of each sample (``given``) do not, and are compared with the same simulation.
"""

from concurrent.futures import Executor, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
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
from sim import quench, store, sweep
from sim.glauber.front import initial_spins
from theory.replica_symmetric import multitasking, solve_given

PATTERNS = (3, 5)
EXAMPLES: dict[str, Any] = {"quality": 0.5, "examples": 20}
TRAININGS: dict[str, dict[str, Any]] = {"storing": {}, "supervised": EXAMPLES, "unsupervised": EXAMPLES}
T = 0.03
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {"N": 10_000, "dilution": np.linspace(0.1, 0.9, 9), "samples": 4, "equilibration": 160, "sweeps": 40},
    "paper": {"N": 50_000, "dilution": np.linspace(0.05, 0.95, 19), "samples": 8, "equilibration": 300, "sweeps": 100},
}
FINE = np.linspace(0.02, 0.97, 96)
# Amplitudes that the average over patterns can describe, in units of 1/sqrt(N).
RESOLVED = 5.0


def compute(
    preset: dict[str, Any],
    *,
    seed: int,
    out: Path,
    overwrite: bool = False,
    workers: int = 1,
    patterns: tuple[int, ...] = PATTERNS,
) -> None:
    """Simulate, predict and compare every network, and write it to `out` as it is finished."""
    with (
        ProcessPoolExecutor(workers, get_context("spawn")) as executor,
        store.ResultsFile(out, {"seed": np.uint64(seed)}, overwrite=overwrite) as file,
    ):
        for K in patterns:
            simulations = {}
            for training, learning in TRAININGS.items():
                model = MultitaskingHebbian(N=preset["N"], K=K, training=training, **learning)
                grid = {"dilution": preset["dilution"], "T": T}
                simulation = sweep(
                    model,
                    **grid,
                    samples=preset["samples"],
                    equilibration=preset["equilibration"],
                    sweeps=preset["sweeps"],
                    seed=seed,
                    initial="hierarchical",
                    overlaps="all",
                    executor=executor,
                )
                theory = multitasking.solve(model, **grid)
                given = predict_given(model, preset["dilution"], np.array([T]), preset["samples"], seed, executor)
                simulations[training] = simulation[["m_all"]]
                resolved = theory["m"] > RESOLVED / np.sqrt(model.N)
                name = f"K{K}-{training}"
                file.create(f"simulation/{name}", simulation)
                file.create(f"theory/{name}", theory)
                file.create(f"theory_lines/{name}", multitasking.solve(model, T=T, dilution=FINE))
                file.create(f"theory_given/{name}", given)
                file.create(f"comparison/{name}", compare(simulation, theory.rename(m="m_all"), where=resolved))
                file.create(f"comparison/{name}-given", compare(simulation, given))
            # Samples of the same number share their archetypes.
            teacher, alone = simulations["supervised"], simulations["unsupervised"].mean("replica")
            file.create(f"comparison/K{K}-trainings", compare(teacher, alone))


def compare(simulation: xr.Dataset, theory: xr.Dataset, where: xr.DataArray | bool = True) -> xr.Dataset:
    """Take the pulls of all overlaps."""
    return comparison.compare(simulation, theory, names=("m_all",), where=where)


def predict_given(
    model: MultitaskingHebbian,
    dilution: NDArray[np.float64],
    T: NDArray[np.float64],
    samples: int,
    seed: int,
    executor: Executor,
) -> xr.Dataset:
    """Predict every sample of a sweep over dilutions from its own patterns."""
    points = [(model.replace(dilution=d), sample) for d in dilution.tolist() for sample in range(samples)]
    predicted = executor.map(partial(overlaps_given, T=T, seed=seed), points)
    m = np.reshape(list(predicted), (len(dilution), samples, len(T), -1))
    attributes = {"long_name": "overlap with the archetype, given patterns", "units": "1"}
    coordinates = {"dilution": dilution, "sample": np.arange(samples), "T": T, "pattern": np.arange(m.shape[-1])}
    return xr.Dataset({"m_all": (tuple(coordinates), m, attributes)}, coordinates)


def overlaps_given(point: tuple[MultitaskingHebbian, int], T: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Return the predicted overlaps of one sample, (T, pattern)."""
    model, number = point
    sample = quench(model, seed=seed, sample=number)
    start = initial_spins(sample, "hierarchical", replicas=1, seed=seed)[0]
    learned = np.array([sample.learned(mu) for mu in range(len(sample.xi))])
    return solve_given(sample.xi, T=T, initial=start, learned=learned)["m"].values


STYLES: dict[str, dict[str, Any]] = {
    "storing": {"marker": "o"},
    "supervised": {"marker": "o"},
    "unsupervised": {"marker": "s", "fillstyle": "none"},
}


def draw(out: Path) -> Figure:
    """Draw every network of a results file: measured amplitudes over the predicted ones."""
    names = [name for name in store.groups(out, "theory") if name.endswith("storing")]
    figure, axes = plt.subplots(len(names), 2, figsize=(10, 0.6 + 3.6 * len(names)), sharex=True, squeeze=False)
    for row, name in zip(axes, names, strict=True):
        K = int(name[1 : name.index("-")])
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
    for mu, colour in zip(range(K), figures.COLOURS, strict=False):
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


def main(
    preset: command_line.PresetOption = command_line.Preset.quick,
    seed: command_line.SeedOption = 1,
    out: command_line.OutOption = Path("results/multitasking_hierarchy.h5"),
    overwrite: command_line.OverwriteOption = False,
    workers: command_line.WorkersOption = command_line.CORES,
) -> None:
    """Measure and predict the amplitudes of 3 and 5 patterns retrieved at once, against their dilution."""
    compute(PRESETS[preset], seed=seed, out=out, overwrite=overwrite, workers=workers)
    for name in store.groups(out, "comparison"):
        compared = store.read(out, f"comparison/{name}")
        within, points = int((abs(compared["m_all_pull"]) < 3).sum()), int(compared["m_all_points"])
        chi2 = float(compared["m_all_chi2"])
        print(f"{name}: {within} of {points} within 3 standard errors, chi-square {chi2:.1f}")
    print(*figures.save(draw(out), out), sep="\n")


if __name__ == "__main__":
    command_line.application(main)()
