"""The Hopfield network (P = 2) in full: phases, mixture states, glass, learning diagrams.

Measured magnetisations under the transition lines over (alpha, T), storing, and over (rho, alpha) and (M, r), learning
with and without a teacher; mixtures of 1, 3 and 5 patterns against T; the entropy of the glass, which is negative at
low T as long as replica symmetry is not broken.
"""

from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib import patheffects
from matplotlib.figure import Figure
from scipy.integrate import cumulative_simpson

from hebbian import DenseHebbian
from runs import command_line, comparison, dense_phase_diagram, figures
from sim import store, sweep
from theory import replica_symmetric

PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        "N": 1000,
        "load": np.linspace(0.01, 0.15, 8),
        "T": np.linspace(0.1, 1.1, 11),
        "T_mixture": np.linspace(0.05, 0.95, 10),
        "rho": np.linspace(0.02, 0.5, 7),
        "learning_load": np.linspace(0.01, 0.15, 7),
        "quality": np.linspace(0.2, 0.9, 8),
        "examples": np.array([2, 4, 8, 16, 32, 64, 128]),
        "samples": 4,
        "sweeps": 60,
    },
    "paper": {
        "N": 3000,
        "load": np.linspace(0.005, 0.15, 16),
        "T": np.linspace(0.05, 1.1, 22),
        "T_mixture": np.linspace(0.05, 1.0, 20),
        "rho": np.linspace(0.01, 0.5, 15),
        "learning_load": np.linspace(0.01, 0.15, 15),
        "quality": np.linspace(0.2, 0.95, 16),
        "examples": np.unique(np.geomspace(2, 256, 15).round().astype(int)),
        "samples": 12,
        "sweeps": 200,
    },
}
TRAININGS = ("supervised", "unsupervised")
# Temperature of the learning diagrams, load of those over (M, r), examples of those over (rho, alpha); load of
# the mixtures.
COLD, LOADED, SHOWN, FEW = 0.1, 0.05, 20, 0.01
COMPONENTS = (1, 3, 5)
CUTS, FINE = 4, 80
MODEL = DenseHebbian(N=2, P=2)
# A load beyond retrieval, and the inverse temperatures over which the measured energy is integrated.
GLASSY, COLDEST, STEPS = 0.3, 8.0, 80


def compute(preset: dict[str, Any], *, seed: int, out: Path, overwrite: bool = False, workers: int = 1) -> None:
    """Simulate, predict and compare every panel, and write it to `out` as it is finished."""
    with (
        ProcessPoolExecutor(workers, get_context("spawn")) as executor,
        store.ResultsFile(out, {"seed": np.uint64(seed)}, overwrite=overwrite) as file,
    ):
        run = {"samples": preset["samples"], "sweeps": preset["sweeps"], "seed": seed, "executor": executor}
        panels = phases(preset, run) | mixtures(preset, run) | learning(preset, run) | glass(preset, run)
        for group, dataset in panels.items():
            file.create(group, dataset)


def phases(preset: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, xr.Dataset]:
    """Return the groups of the (alpha, T) diagram of stored patterns."""
    load, T = preset["load"], preset["T"]
    theory = replica_symmetric.solve(MODEL, load=load, T=T)
    # On the cuts' own axis: where each of them changes from stable to metastable.
    chosen = load[np.unique(np.linspace(0, len(load) - 1, CUTS).astype(int))]
    cuts = replica_symmetric.solve(MODEL, load=chosen, T=np.linspace(T[0], T[-1], FINE))
    cuts["T_c"] = replica_symmetric.critical_temperature(MODEL, load=chosen)
    fine = np.linspace(load[0] / 4, 1.05 * load[-1], FINE)
    lines = dense_phase_diagram.transition_lines(MODEL, fine, np.linspace(0, T[-1], FINE))
    lines["T_3"] = replica_symmetric.mixture_temperatures(MODEL, components=3, load=fine)["stability"]
    simulation = sweep(MODEL.replace(N=preset["N"]), load=load, T=T, **run)
    stable = theory["retrieval"] & (theory["T"] <= replica_symmetric.critical_temperature(MODEL, load=load))
    return {
        "simulation/phases": simulation,
        "theory/phases": theory,
        "theory_cuts": cuts,
        "theory_lines": lines,
        "comparison/phases": comparison.compare(simulation, theory, where=stable),
    }


def mixtures(preset: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, xr.Dataset]:
    """Return the groups of the mixtures of one, three and five patterns at a small load."""
    groups: dict[str, xr.Dataset] = {}
    T = preset["T_mixture"]
    network = MODEL.replace(N=3 * preset["N"], load=FEW)
    for components in COMPONENTS:
        theory = replica_symmetric.mixture(MODEL, components=components, load=FEW, T=T)
        simulation = sweep(network, load=FEW, T=T, initial="mixture", components=components, **run)
        fine = np.linspace(0.0, 1.0, FINE)
        groups |= {
            f"simulation/mixture-{components}": simulation,
            f"theory/mixture-{components}": theory,
            f"theory_mixture_lines/mixture-{components}": replica_symmetric.mixture(
                MODEL, components=components, load=FEW, T=fine
            ),
            f"comparison/mixture-{components}": comparison.compare(
                simulation, theory, names=("m", "q"), where=theory["stable"]
            ),
        }
    return groups


def learning(preset: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, xr.Dataset]:
    """Return the groups of the learning diagrams over (rho, alpha) at fixed M and over (M, r) at fixed alpha."""
    groups: dict[str, xr.Dataset] = {}
    for training in TRAININGS:
        model = MODEL.replace(N=preset["N"], training=training, quality=0.5, examples=SHOWN)
        quality, load = 1 / np.sqrt(1 + SHOWN * preset["rho"]), preset["learning_load"]
        simulation = sweep(model, quality=quality, load=load, T=COLD, **run)
        theory = replica_symmetric.solve(model, quality=quality, load=load, T=COLD)
        rho = np.linspace(preset["rho"][0] / 4, 1.1 * preset["rho"][-1], FINE)
        line = replica_symmetric.critical_load(model, COLD, quality=1 / np.sqrt(1 + SHOWN * rho))
        name = f"entropy-{training}"
        groups |= {
            f"simulation/{name}": simulation.assign_coords(rho=("quality", preset["rho"])),
            f"theory/{name}": theory.assign_coords(rho=("quality", preset["rho"])),
            f"theory_learning/{name}": xr.Dataset({"alpha_c": line.squeeze("T", drop=True)}).assign_coords(
                rho=("quality", rho)
            ),
            f"comparison/{name}": comparison.compare(simulation, theory, where=theory["retrieval"]),
        }
        quality, M = preset["quality"], preset["examples"]
        simulation = sweep(model, quality=quality, examples=M, load=LOADED, T=COLD, **run)
        theory = replica_symmetric.solve(model, quality=quality, examples=M, load=LOADED, T=COLD)
        fine = np.linspace(quality[0], quality[-1], FINE)
        threshold = replica_symmetric.learning_threshold(model, load=LOADED, T=COLD, quality=fine)
        name = f"examples-{training}"
        groups |= {
            f"simulation/{name}": simulation,
            f"theory/{name}": theory,
            f"theory_learning/{name}": xr.Dataset({"M_c": threshold.isel(T=0, load=0, drop=True)}),
            f"comparison/{name}": comparison.compare(simulation, theory, where=theory["retrieval"]),
        }
    return groups


def glass(preset: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, xr.Dataset]:
    """Return the groups of the glass beyond retrieval: its energy, annealed, and its entropy."""
    beta = np.linspace(0, COLDEST, STEPS + 1)[1:]
    simulation = sweep(
        MODEL.replace(N=preset["N"]), load=GLASSY, T=1 / beta, anneal=True, initial="random", **run
    ).isel(load=0)
    simulation["entropy"] = entropy(simulation["energy"])
    theory = replica_symmetric.solve(MODEL, load=GLASSY, T=1 / beta, branch="glass").isel(load=0)
    broken = replica_symmetric.one_step_solve(MODEL, load=GLASSY, T=1 / beta, branch="glass").isel(load=0)
    names = ("energy", "entropy")
    return {
        "simulation/glass": simulation,
        "theory/glass": theory,
        "theory_one_step": broken,
        "comparison/glass": comparison.compare(simulation, theory, names=names),
        "comparison/glass-one-step": comparison.compare(simulation, broken, names=names),
    }


def entropy(energy: xr.DataArray) -> xr.DataArray:
    r"""Integrate measured energies from infinite temperature, :math:`s = \ln 2 + \beta u - \int_0^\beta u\,d\beta'`."""
    beta = 1 / energy["T"]
    # The mean energy of free spins is zero: no site is coupled to itself.
    ends = xr.concat([xr.zeros_like(energy.isel(T=0)), energy], dim="T")
    integral = xr.apply_ufunc(
        lambda u: cumulative_simpson(u, dx=float(beta[0]), axis=-1),
        ends,
        input_core_dims=[["T"]],
        output_core_dims=[["T"]],
        exclude_dims={"T"},
    ).assign_coords(T=energy["T"])
    result = np.log(2) + beta * energy - integral
    return result.transpose(*energy.dims).assign_attrs(
        long_name="entropy per spin, integrated from T infinite", units="k_B"
    )


def draw(out: Path) -> Figure:
    """Draw all panels of a results file."""
    figure, axes = plt.subplots(2, 4, figsize=(19, 9))
    compared = store.read(out, "comparison/phases")
    draw_phases(axes[0, 0], compared, store.read(out, "theory_lines"))
    dense_phase_diagram.draw_cuts(axes[0, 1], compared, store.read(out, "theory_cuts"), symbol=r"\alpha")
    # The lower left corner, free in the dense networks' figure, has points here.
    axes[0, 1].set_ylim(top=1.5)
    axes[0, 1].legend(handles=axes[0, 1].get_legend().legend_handles, fontsize="small", loc="upper right", ncols=2)
    draw_mixtures(axes[0, 2], out)
    draw_glass(axes[0, 3], out)
    for i, training in enumerate(TRAININGS):
        draw_learning(axes[1, i], out, "entropy", training)
        draw_learning(axes[1, 2 + i], out, "examples", training)
    titles = {
        axes[0, 0]: "(a) storing, from the pattern",
        axes[0, 1]: "(b) cuts of (a)",
        axes[0, 2]: rf"(c) symmetric mixtures, $\alpha = {FEW}$",
        axes[0, 3]: rf"(d) glass, annealed, $\alpha = {GLASSY}$",
        axes[1, 0]: f"(e) supervised, $M = {SHOWN}$, $T = {COLD}$",
        axes[1, 1]: f"(f) unsupervised, $M = {SHOWN}$, $T = {COLD}$",
        axes[1, 2]: rf"(g) supervised, $\alpha = {LOADED}$, $T = {COLD}$",
        axes[1, 3]: rf"(h) unsupervised, $\alpha = {LOADED}$, $T = {COLD}$",
    }
    for panel, title in titles.items():
        panel.set_title(title, fontsize="medium")
    return figure


def draw_phases(axes: plt.Axes, compared: xr.Dataset, lines: xr.Dataset) -> None:
    """Draw the measured map over (alpha, T) under the transition lines and that of the mixtures of three."""
    dense_phase_diagram.draw_map(axes, compared, lines)
    outline = [patheffects.withStroke(linewidth=3.2, foreground="black")]
    label = "$T_3$: mixtures of three stable below"
    axes.plot(lines["load"], lines["T_3"], color=figures.COLOURS[4], path_effects=outline, linewidth=1, label=label)
    axes.set_xlabel(r"load $\alpha = K/N$")
    axes.legend(loc="upper right", fontsize="x-small", labelcolor="white")


def draw_mixtures(axes: plt.Axes, out: Path) -> None:
    """Draw the overlap of each component against T, dashed where the mixture is unstable."""
    for components, colour, marker in zip(COMPONENTS, figures.COLOURS, "os^", strict=False):
        curve = store.read(out, f"theory_mixture_lines/mixture-{components}").isel(load=0)
        points = store.read(out, f"comparison/mixture-{components}").isel(load=0)
        axes.plot(curve["T"], curve["m"].where(curve["stable"]), color=colour)
        axes.plot(curve["T"], curve["m"].where(~curve["stable"]), color=colour, linestyle="--", linewidth=1)
        name = "pattern" if components == 1 else f"mixture of {components}"
        style = figures.POINTS | {"marker": marker, "color": colour, "label": name}
        axes.errorbar(points["T"], points["m_mean"], points["m_error"], **style)
    axes.plot([], [], color="grey", label="theory, stable")
    axes.plot([], [], color="grey", linestyle="--", linewidth=1, label="theory, unstable")
    axes.set(xlabel="temperature $T$", ylabel="overlap with each component $m$", ylim=(-0.05, 1.4))
    axes.legend(fontsize="small", loc="upper right", ncols=2)


def draw_glass(axes: plt.Axes, out: Path) -> None:
    """Draw the entropy of the glass: integrated from measured energies, and with none and one step of breaking."""
    points, none = store.read(out, "comparison/glass"), store.read(out, "theory/glass")
    one = store.read(out, "theory_one_step")
    shown = points["T"] < 1.05
    axes.plot(none["T"], none["entropy"], color=figures.COLOURS[1], linestyle="--", label="replica-symmetric")
    axes.plot(one["T"], one["entropy"], color=figures.COLOURS[0], label="one step of breaking")
    points = points.isel(T=np.flatnonzero(shown)[::3])
    style = figures.POINTS | {"color": "black", "label": "measured"}
    axes.errorbar(points["T"], points["entropy_mean"], points["entropy_error"], **style)
    axes.axhline(0, color="grey", linewidth=0.6)
    axes.set(xlabel="temperature $T$", ylabel="entropy per spin $s$", xlim=(0, 1.05), ylim=(-0.08, 0.42))
    axes.legend(fontsize="small", loc="upper left")


def draw_learning(axes: plt.Axes, out: Path, kind: str, training: str) -> None:
    """Draw the measured map of a learning diagram under the line where the theory stops to retrieve."""
    compared = store.read(out, f"comparison/{kind}-{training}").isel(T=0)
    line = store.read(out, f"theory_learning/{kind}-{training}")
    outline = [patheffects.withStroke(linewidth=3.2, foreground="black")]
    if kind == "entropy":
        x, y = store.read(out, f"simulation/{kind}-{training}")["rho"], compared["load"]
        mean = compared["m_mean"].isel(examples=0, missing_dims="ignore").transpose("load", "quality")
        curve = line["rho"], line["alpha_c"]
        axes.set(xlabel=r"data-set entropy $\rho$", ylabel=r"load $\alpha$")
    else:
        x, y = compared["examples"], compared["quality"]
        mean = compared["m_mean"].isel(load=0, missing_dims="ignore").transpose("quality", "examples")
        curve = line["M_c"], line["quality"]
        axes.set(xlabel="examples per archetype $M$", ylabel="quality $r$", xscale="log")
    image = axes.pcolormesh(x, y, mean, cmap=figures.COLOUR_MAP, vmin=0, vmax=1)
    limits = axes.get_xlim(), axes.get_ylim()
    axes.plot(*curve, color="white", path_effects=outline, label="theory: retrieval ends")
    axes.set(xlim=limits[0], ylim=limits[1])
    plt.colorbar(image, ax=axes, label="Mattis magnetisation $m$, measured")
    axes.legend(fontsize="small", labelcolor="white")


def main(
    preset: command_line.PresetOption = command_line.Preset.quick,
    seed: command_line.SeedOption = 1,
    out: command_line.OutOption = Path("results/hopfield_phase_diagram.h5"),
    overwrite: command_line.OverwriteOption = False,
    workers: command_line.WorkersOption = command_line.CORES,
) -> None:
    """Measure and predict the phases, mixtures, glass and learning diagrams of the Hopfield network."""
    compute(PRESETS[preset], seed=seed, out=out, overwrite=overwrite, workers=workers)
    for group in store.groups(out, "comparison"):
        compared = store.read(out, f"comparison/{group}")
        for name in ("m", "entropy"):
            if f"{name}_pull" in compared:
                within, points = int((abs(compared[f"{name}_pull"]) < 3).sum()), int(compared[f"{name}_points"])
                chi2 = float(compared[f"{name}_chi2"])
                print(f"{group}: {name}, {within} of {points} points within 3 standard errors, chi-square {chi2:.1f}")
    print(*figures.save(draw(out), out), sep="\n")


if __name__ == "__main__":
    command_line.application(main)()
