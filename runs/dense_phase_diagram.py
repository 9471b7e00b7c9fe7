"""Phase diagram of a dense Hebbian network: measured magnetisation over (load, T) under replica-symmetric lines."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib import patheffects
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hebbian import DenseHebbian
from runs import command_line, comparison, figures
from runs.script import Run, Script
from sim import store
from theory import replica_symmetric

PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        "N": 100,
        "load": np.linspace(0.06, 0.48, 8),
        "T": np.linspace(0.1, 1.0, 10),
        "samples": 8,
        "sweeps": 150,
    },
    "paper": {
        "N": 160,
        "load": np.linspace(0.04, 0.52, 13),
        "T": np.linspace(0.05, 1.1, 22),
        "samples": 12,
        "sweeps": 400,
    },
}
P = 4
CUTS = 4
FINE = 120


def compute(run: Run) -> None:
    """Predict and simulate the grid of a run, and compare."""
    model = DenseHebbian(N=run.preset["N"], P=P)
    load, T = run.preset["load"], run.preset["T"]
    theory = run.keep("theory", lambda: replica_symmetric.solve(model, load=load, T=T))
    run.keep("theory_cuts", lambda: cuts(model, load, T))
    # From zero: a single temperature, or T = 0 alone, has lines as well.
    fine = np.linspace(load.min() / 4, 1.05 * load.max(), FINE), np.linspace(0, T.max() or 0.1, FINE)
    run.keep("theory_lines", lambda: transition_lines(model, *fine))
    simulation = run.sweep(model, "simulation", load=load, T=T)
    # A metastable state of a finite network decays, and beyond the critical load the dynamics does not equilibrate.
    stable = theory["retrieval"] & (theory["T"] <= replica_symmetric.critical_temperature(model, load=load))
    run.conclude("comparison", lambda: comparison.compare(simulation, theory, where=stable))


def cuts(model: DenseHebbian, load: np.ndarray, T: np.ndarray) -> xr.Dataset:
    """Return the prediction along T at a few of the loads, and where each of them changes from stable to metastable."""
    chosen = load[np.unique(np.linspace(0, len(load) - 1, CUTS).astype(int))]
    predicted = replica_symmetric.solve(model, load=chosen, T=around(FINE, T))
    predicted["T_c"] = replica_symmetric.critical_temperature(model, load=chosen)
    return predicted


def around(count: int, values: np.ndarray, most: float = np.inf) -> np.ndarray:
    """Return the axis of a curve over the range of some values; a single one gets some room on both sides."""
    first, last = values.min(), values.max()
    if first == last:
        first, last = 0.75 * first, min(1.25 * last or 0.1, most)
    return np.linspace(first, last, count)


def transition_lines(model: DenseHebbian, load: np.ndarray, T: np.ndarray) -> xr.Dataset:
    """Return the critical load along T and transition temperatures along the load; NaN where a line does not exist."""
    return xr.Dataset(
        {
            # As a function of T: it is reentrant, and T_M would be its upper branch alone.
            "gamma_c": replica_symmetric.critical_load(model, T=T),
            "T_c": replica_symmetric.critical_temperature(model, load=load),
            "T_g": replica_symmetric.glass_temperature(model, load=load),
            "T_AT": replica_symmetric.almeida_thouless_temperature(model, load=load),
        }
    )


LINES = {
    "gamma_c": ("-", r"$\gamma_c$, $T_M$: retrieval disappears"),
    "T_c": ("--", "$T_c$: retrieval stops being stable"),
    "T_g": (":", "$T_g$: spin glass"),
    "T_AT": ("-.", "$T_{AT}$: replica symmetry unstable below"),
}


def draw(out: Path) -> Figure:
    """Draw the figure of a results file: the measured map under the lines, and cuts at fixed load."""
    compared = store.read(out, "comparison")
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.8))
    draw_map(left, compared, store.read(out, "theory_lines"))
    draw_cuts(right, compared, store.read(out, "theory_cuts"))
    return figure


def draw_map(axes: plt.Axes, compared: xr.Dataset, lines: xr.Dataset) -> None:
    """Draw the measured magnetisation over (load, T) and the predicted transition lines."""
    words = "Mattis magnetisation $m$, measured"
    figures.heat_map(axes, compared["m_mean"], "load", "T", limits=(0, 1), bar=words)
    limits = axes.get_xlim(), axes.get_ylim()
    outline = [patheffects.withStroke(linewidth=3.2, foreground="black")]
    for name, (style, label) in LINES.items():
        curve = (lines[name], lines["T"]) if "T" in lines[name].dims else (lines["load"], lines[name])
        axes.plot(*curve, style, color="white", path_effects=outline, label=label)
    axes.set(xlabel=r"load $\gamma = K\,P!\,/\,(2N^{P-1})$", ylabel="temperature $T$", xlim=limits[0], ylim=limits[1])
    axes.legend(loc="upper right", fontsize="small", labelcolor="white")


def draw_cuts(axes: plt.Axes, compared: xr.Dataset, cuts: xr.Dataset, symbol: str = r"\gamma") -> None:
    """Draw m against T at a few loads: measured points over the prediction, dashed where retrieval is metastable."""
    for colour, load in zip(figures.COLOURS, cuts["load"].values, strict=False):
        predicted, cut = cuts.sel(load=load), compared.sel(load=load)
        stable = (predicted["T"] <= predicted["T_c"]) | ~predicted["retrieval"]
        axes.plot(predicted["T"], predicted["m"].where(stable), color=colour)
        axes.plot(predicted["T"], predicted["m"].where(~stable), color=colour, linestyle=(0, (4, 2)), linewidth=1)
        axes.errorbar(cut["T"], cut["m_mean"], cut["m_error"], color=colour, **figures.POINTS)
    axes.set(xlabel="temperature $T$", ylabel="Mattis magnetisation $m$", ylim=(-0.05, 1.05))
    keys = [
        Line2D([], [], color=colour, marker="o", markersize=4, label=rf"${symbol} = {load:.2f}$")
        for colour, load in zip(figures.COLOURS, cuts["load"].values, strict=False)
    ]
    keys.append(Line2D([], [], color="grey", label="theory, stable"))
    keys.append(Line2D([], [], color="grey", linestyle=(0, (4, 2)), label="theory, metastable retrieval"))
    axes.legend(handles=keys, fontsize="small", loc="lower left", bbox_to_anchor=(0, 0.05))


SCRIPT = Script(
    name="dense_phase_diagram",
    summary="Measure and predict the phase diagram of the P = 4 network, storing, started from a pattern.",
    presets=PRESETS,
    compute=compute,
    draw=draw,
    adaptive=True,
)

if __name__ == "__main__":
    command_line.main(SCRIPT)
