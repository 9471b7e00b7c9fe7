"""The Hopfield network (P = 2) in full: phases, mixture states, glass, learning diagrams.

Measured magnetisations under the transition lines over (alpha, T), storing, and over (rho, alpha) and (M, r), learning
with and without a teacher; mixtures of 1, 3 and 5 patterns against T; the entropy of the glass, which is negative at
low T as long as replica symmetry is not broken.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.integrate import cumulative_simpson

from hebbian import DenseHebbian, validation
from runs import command_line, comparison, dense_phase_diagram, figures
from runs.dense_phase_diagram import around
from runs.script import Run, Script
from sim import store
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
BAR = "Mattis magnetisation $m$, measured"
# A load beyond retrieval, and the inverse temperatures over which the measured energy is integrated.
GLASSY, COLDEST, STEPS = 0.3, 8.0, 80


def compute(run: Run) -> None:
    """Predict, simulate and compare every panel."""
    validation.axis("rho", run.preset["rho"], minimum=0)
    phases(run)
    for components in COMPONENTS:
        mixtures(run, components)
    for training in TRAININGS:
        learn_at_fixed_examples(run, training)
        learn_at_fixed_load(run, training)
    glass(run)


def phases(run: Run) -> None:
    """Add the groups of the (alpha, T) diagram of stored patterns."""
    load, T = run.preset["load"], run.preset["T"]

    def compare() -> xr.Dataset:
        stable = theory["retrieval"] & (theory["T"] <= replica_symmetric.critical_temperature(MODEL, load=load))
        return comparison.compare(simulation, theory, where=stable)

    theory = run.keep("theory/phases", lambda: replica_symmetric.solve(MODEL, load=load, T=T))
    run.keep("theory_cuts", lambda: cuts(load, T))
    run.keep("theory_lines", lambda: transition_lines(load, T))
    simulation = run.sweep(MODEL.replace(N=run.preset["N"]), "simulation/phases", load=load, T=T)
    run.conclude("comparison/phases", compare)


def cuts(load: NDArray[np.float64], T: NDArray[np.float64]) -> xr.Dataset:
    """Return the prediction along T at a few of the loads, and where each of them changes from stable to metastable."""
    chosen = load[np.unique(np.linspace(0, len(load) - 1, CUTS).astype(int))]
    predicted = replica_symmetric.solve(MODEL, load=chosen, T=around(FINE, T))
    predicted["T_c"] = replica_symmetric.critical_temperature(MODEL, load=chosen)
    return predicted


def transition_lines(load: NDArray[np.float64], T: NDArray[np.float64]) -> xr.Dataset:
    """Return the transition lines over the range of some loads and temperatures."""
    fine = np.linspace(load.min() / 4, 1.05 * around(FINE, load)[-1], FINE)
    lines = dense_phase_diagram.transition_lines(MODEL, fine, np.linspace(0, around(FINE, T)[-1], FINE))
    lines["T_3"] = replica_symmetric.mixture_temperatures(MODEL, components=3, load=fine)["stability"]
    return lines


def mixtures(run: Run, components: int) -> None:
    """Add the groups of the mixtures of so many patterns at a small load."""
    name, T = f"mixture-{components}", run.preset["T_mixture"]
    predict = partial(replica_symmetric.mixture, MODEL, components=components, load=FEW)
    theory = run.keep(f"theory/{name}", lambda: predict(T=T))
    run.keep(f"theory_mixture_lines/{name}", lambda: predict(T=np.linspace(0.0, 1.0, FINE)))
    network = MODEL.replace(N=3 * run.preset["N"], load=FEW)
    simulation = run.sweep(network, f"simulation/{name}", load=FEW, T=T, initial="mixture", components=components)
    run.conclude(
        f"comparison/{name}",
        lambda: comparison.compare(simulation, theory, names=("m", "q"), where=theory["stable"]),
    )


def learner(run: Run, training: str) -> DenseHebbian:
    """Return the network of the learning diagrams; those have axes for its quality, and for its examples or load."""
    return MODEL.replace(N=run.preset["N"], training=training, quality=0.5, examples=SHOWN)


def quality(rho: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the quality of `SHOWN` examples of this data-set entropy."""
    return 1 / np.sqrt(1 + SHOWN * rho)


def learn_at_fixed_examples(run: Run, training: str) -> None:
    """Add the groups of the diagram over (rho, alpha); theory and comparison have rho beside the quality."""
    name, model, rho = f"entropy-{training}", learner(run, training), run.preset["rho"]
    axes = {"quality": quality(rho), "load": run.preset["learning_load"], "T": COLD}

    def predict() -> xr.Dataset:
        return replica_symmetric.solve(model, **axes).assign_coords(rho=("quality", rho))

    def compare() -> xr.Dataset:
        compared = comparison.compare(simulation, theory, where=theory["retrieval"])
        return compared.assign_coords(rho=("quality", rho))

    def line() -> xr.Dataset:
        fine = np.linspace(rho.min() / 4, 1.1 * around(FINE, rho)[-1], FINE)
        critical = replica_symmetric.critical_load(model, COLD, quality=quality(fine)).squeeze("T", drop=True)
        return xr.Dataset({"alpha_c": critical}).assign_coords(rho=("quality", fine))

    theory = run.keep(f"theory/{name}", predict)
    run.keep(f"theory_learning/{name}", line)
    simulation = run.sweep(model, f"simulation/{name}", **axes)
    run.conclude(f"comparison/{name}", compare)


def learn_at_fixed_load(run: Run, training: str) -> None:
    """Add the groups of the diagram over (M, r)."""
    name, model, r = f"examples-{training}", learner(run, training), run.preset["quality"]
    axes = {"quality": r, "examples": run.preset["examples"], "load": LOADED, "T": COLD}

    def line() -> xr.Dataset:
        needed = replica_symmetric.learning_threshold(model, load=LOADED, T=COLD, quality=around(FINE, r, most=1.0))
        return xr.Dataset({"M_c": needed.isel(T=0, load=0, drop=True)})

    theory = run.keep(f"theory/{name}", lambda: replica_symmetric.solve(model, **axes))
    run.keep(f"theory_learning/{name}", line)
    simulation = run.sweep(model, f"simulation/{name}", **axes)
    run.conclude(f"comparison/{name}", lambda: comparison.compare(simulation, theory, where=theory["retrieval"]))


def glass(run: Run) -> None:
    """Add the groups of the glass beyond retrieval: its energy, annealed, and its entropy."""
    axes = {"load": GLASSY, "T": 1 / np.linspace(0, COLDEST, STEPS + 1)[1:]}

    def predict(solve: Callable[..., xr.Dataset]) -> xr.Dataset:
        return solve(MODEL, **axes, branch="glass").isel(load=0)

    def compare(theory: xr.Dataset) -> xr.Dataset:
        measured = simulation.isel(load=0)
        measured["entropy"] = entropy(measured["energy"])
        return comparison.compare(measured, theory, names=("energy", "entropy"))

    unbroken = run.keep("theory/glass", lambda: predict(replica_symmetric.solve))
    broken = run.keep("theory_one_step", lambda: predict(replica_symmetric.one_step_solve))
    network = MODEL.replace(N=run.preset["N"])
    simulation = run.sweep(network, "simulation/glass", **axes, anneal=True, initial="random")
    run.conclude("comparison/glass", lambda: compare(unbroken))
    run.conclude("comparison/glass-one-step", lambda: compare(broken))


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
    labelled = {label: lines[name] for name, (_, label) in dense_phase_diagram.LINES.items()}
    figures.heat_map(axes, compared["m_mean"], "load", "T", lines=labelled, limits=(0, 1), bar=BAR)
    style: dict[str, Any] = {"color": figures.COLOURS[4], "path_effects": figures.OUTLINE, "linewidth": 1}
    axes.plot(lines["load"], lines["T_3"], label="$T_3$: mixtures of three stable below", **style)
    axes.set_xlabel(r"load $\alpha = K/N$")
    figures.map_legend(axes, loc="upper right", fontsize="x-small")


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
    compared = store.read(out, f"comparison/{kind}-{training}")
    lines = store.read(out, f"theory_learning/{kind}-{training}")
    style: dict[str, Any] = {"limits": (0, 1), "bar": BAR}
    if kind == "entropy":
        compared, lines = compared.set_coords("rho"), lines.set_coords("rho")
        line = {"theory: retrieval ends": lines["alpha_c"]}
        figures.heat_map(axes, compared["m_mean"], "rho", "load", lines=line, **style)
        axes.set_ylabel(r"load $\alpha$")
    else:
        axes.set_xscale("log")
        line = {"theory: retrieval ends": lines["M_c"]}
        figures.heat_map(axes, compared["m_mean"], "examples", "quality", lines=line, **style)
    figures.map_legend(axes)


SCRIPT = Script(
    name="hopfield_phase_diagram",
    summary="Measure and predict the phases, mixtures, glass and learning diagrams of the Hopfield network.",
    presets=PRESETS,
    compute=compute,
    draw=draw,
)

if __name__ == "__main__":
    command_line.main(SCRIPT)
