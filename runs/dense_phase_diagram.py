"""Phase diagram of a dense Hebbian network: measured magnetisation over (load, T) under replica-symmetric lines."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from hebbian import DenseHebbian
from runs import command_line, comparison, figures
from sim import store, sweep
from theory import replica_symmetric

PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        "N": 100,
        "load": np.linspace(0.06, 0.48, 8),
        "T": np.linspace(0.1, 1.0, 10),
        "samples": 8,
        "sweeps": 200,
    },
    "paper": {
        "N": 200,
        "load": np.linspace(0.03, 0.54, 18),
        "T": np.linspace(0.05, 1.1, 22),
        "samples": 24,
        "sweeps": 1000,
    },
}
CUTS = 4


def compute(preset: dict[str, Any], *, seed: int, out: Path, overwrite: bool = False, workers: int = 1) -> None:
    """Simulate the grid of a preset, solve the theory on it, and write both and their comparison to `out`."""
    store.check_output(out, overwrite=overwrite)
    model = DenseHebbian(N=preset["N"], P=4)
    grid = {"load": preset["load"], "T": preset["T"]}
    theory = replica_symmetric.solve(model, **grid)
    simulation = sweep(
        model,
        **grid,
        samples=preset["samples"],
        sweeps=preset["sweeps"],
        seed=seed,
        out=out,
        overwrite=overwrite,
        workers=workers,
    )
    store.append(out, "theory", theory)
    store.append(out, "comparison", comparison.compare(simulation, theory))


def draw(out: Path) -> Figure:
    """Draw the figure of a results file: the measured map, and cuts at fixed load."""
    theory, compared = store.read(out, "theory"), store.read(out, "comparison")
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2))
    draw_map(left, compared)
    draw_cuts(right, theory, compared)
    return figure


def draw_map(axes: plt.Axes, compared: xr.Dataset) -> None:
    """Draw the measured magnetisation over (load, T)."""
    image = axes.pcolormesh(
        compared["load"], compared["T"], compared.m_mean.transpose("T", "load"), cmap=figures.COLOUR_MAP, vmin=0, vmax=1
    )
    plt.colorbar(image, ax=axes, label="Mattis magnetisation $m$, measured")
    axes.set(xlabel=r"load $\gamma$", ylabel="temperature $T$")


def draw_cuts(axes: plt.Axes, theory: xr.Dataset, compared: xr.Dataset) -> None:
    """Draw m against T at a few loads: measured points over predicted lines."""
    chosen = np.linspace(0, compared.sizes["load"] - 1, CUTS).round().astype(int)
    for colour, i in zip(figures.COLOURS, chosen, strict=False):
        predicted, cut = theory.isel(load=i), compared.isel(load=i)
        axes.plot(predicted["T"], predicted.m, color=colour)
        axes.errorbar(
            cut["T"],
            cut.m_mean,
            cut.m_error,
            color=colour,
            label=rf"$\gamma = {float(cut['load']):.2f}$",
            **figures.POINTS,
        )
    axes.set(xlabel="temperature $T$", ylabel="Mattis magnetisation $m$", ylim=(-0.05, 1.05))
    axes.legend()


def main(
    preset: command_line.PresetOption = command_line.Preset.quick,
    seed: command_line.SeedOption = 1,
    out: command_line.OutOption = Path("results/dense_phase_diagram.h5"),
    overwrite: command_line.OverwriteOption = False,
    workers: command_line.WorkersOption = command_line.CORES,
) -> None:
    """Measure and predict the phase diagram of the P = 4 network, storing, from the pattern."""
    compute(PRESETS[preset], seed=seed, out=out, overwrite=overwrite, workers=workers)
    print(*figures.save(draw(out), out), sep="\n")


if __name__ == "__main__":
    command_line.run(main)
