r"""Where iterations of mean field end without a monotone coupling, or without a step that respects it.

Many random starts, damped and undamped, on three couplings: the monotone one of `monotone_dbm_convergence`
(arXiv:2307.04990), one between layers alone, as of a restricted Boltzmann machine, and one without any constraint (both
of `monotone_dbm_uniqueness`, which counts their fixed points). The residual tells whether an iteration ends at a fixed
point or oscillates; the spread of the starts, whether that depends on the start. Predicted are the couplings that have
one fixed point, and there the rate at which an iteration approaches it, or leaves it.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from hebbian.fixed_point import group_softmax, solve_mean_field
from hebbian.potts import PairwiseModel, coupling_bounds
from runs import command_line, comparison, figures, monotone_dbm_convergence, monotone_dbm_uniqueness
from runs.script import Run, Script
from sim import random, store
from sim.monotone_dbm import random_probabilities
from theory.monotone_dbm import asymptotic_rate, critical_coupling

BASELINES = {
    "monotone, softmax-only Peaceman-Rachford": ("monotone", "softmax_pr"),
    "monotone, damped": ("monotone", "damped"),
    "monotone, undamped": ("monotone", "parallel"),
    "layered, damped": ("layered", "damped"),
    "layered, undamped": ("layered", "parallel"),
    "unconstrained, damped": ("unconstrained", "damped"),
    "unconstrained, undamped": ("unconstrained", "parallel"),
}
# Residual of a fixed point, difference of two starts that end at the same, and where solvers stop.
FIXED, SAME, LAST = 1e-8, 1e-6, 1e-15
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        "groups": (36, 24, 1),
        "categories": (3, 3, 10),
        "margin": 0.1,
        "binary_groups": (18, 12),
        "strength": 10.0,
        "samples": 8,
        "starts": 20,
        "steps": 1000,
    },
    "paper": {
        "groups": (64, 60, 1),
        "categories": (4, 4, 10),
        "margin": 0.1,
        "binary_groups": (36, 24),
        "strength": 10.0,
        "samples": 20,
        "starts": 100,
        "steps": 1000,
    },
}


@dataclass(frozen=True)
class Task:
    """The models of one sample."""

    monotone: tuple[tuple[int, ...], tuple[int, ...], float]
    binary_groups: tuple[int, ...]
    strength: float
    starts: int
    steps: int
    seed: int
    sample: int

    def model(self, kind: str) -> PairwiseModel:
        """Draw the model of a kind."""
        if kind == "monotone":
            groups, categories, margin = self.monotone
            task = monotone_dbm_convergence.Task(groups, categories, self.steps, self.seed, margin, self.sample)
            return task.model()
        return monotone_dbm_uniqueness.Task(
            kind, self.binary_groups, self.starts, self.seed, self.strength, self.sample
        ).model()


def measure(task: Task) -> xr.Dataset:
    """Follow the starts of all baselines on the models of one sample."""
    residuals: list[np.ndarray] = []
    spreads: list[np.ndarray] = []
    for kind, method in BASELINES.values():
        model = task.model(kind)
        rng = random.stream(task.seed, (task.sample,), "initial")
        with warnings.catch_warnings():
            # Some are here because they do not converge.
            warnings.simplefilter("ignore", RuntimeWarning)
            history = solve_mean_field(
                model.coupling,
                np.tile(model.bias, (task.starts, 1)),
                model.layout,
                method=method,
                init=random_probabilities(model.layout, task.starts, rng),
                tol=LAST,
                max_iter=task.steps,
                record=True,
            ).history
        assert history is not None
        q = np.array(history.q)
        residual = np.abs(group_softmax(model.local_field(q), model.layout) - q).max((1, 2))
        for values, found in ((residuals, residual), (spreads, np.ptp(q, axis=1).max(-1))):
            values.append(np.pad(found, (0, task.steps + 1 - len(q)), mode="edge"))
    dims = ("baseline", "step")
    return xr.Dataset(
        {
            "residual": (dims, np.array(residuals), label("largest change of a probability by mean field")),
            "spread": (dims, np.array(spreads), label("largest difference of a probability between starts")),
        },
        {"baseline": list(BASELINES), "step": np.arange(task.steps + 1)},
    )


def predict(task: partial[Task], samples: list[int]) -> xr.Dataset:
    """Return the largest eigenvalue of each coupling, and where it is below 2 the rate at the only fixed point."""
    largest, rates = (np.full((len(samples), len(BASELINES)), np.nan) for _ in range(2))
    for i, sample in enumerate(samples):
        for j, (kind, method) in enumerate(BASELINES.values()):
            model = task(sample=sample).model(kind)
            largest[i, j] = coupling_bounds(model.coupling, model.layout)[1]
            if largest[i, j] < critical_coupling():
                q = solve_mean_field(model.coupling, model.bias, model.layout, tol=1e-12).q
                rates[i, j] = asymptotic_rate(q, model, method)
    dims = ("sample", "baseline")
    return xr.Dataset(
        {
            "lambda_max": (dims, largest, label("largest eigenvalue of the coupling")),
            "rate": (dims, rates, label("factor of a step near the only fixed point")),
        },
        {"sample": samples, "baseline": list(BASELINES)},
    )


def label(long_name: str) -> dict[str, str]:
    """Return the attributes of a dimensionless variable."""
    return {"long_name": long_name, "units": "1"}


def compute(run: Run) -> None:
    """Predict, follow and compare."""
    preset, samples = run.preset, list(range(run.preset["samples"]))
    groups, categories, binary = (
        tuple(int(number) for number in preset[name]) for name in ("groups", "categories", "binary_groups")
    )
    numbers = (preset["strength"], preset["starts"], preset["steps"], run.seed)
    task = partial(Task, (groups, categories, preset["margin"]), binary, *numbers)
    theory = run.keep("theory", partial(predict, task, samples))
    simulation = run.tabulate(measure, {"sample": samples}, "simulation", argument=task)
    run.conclude("comparison", partial(compare, simulation, theory))


def compare(simulation: xr.Dataset, theory: xr.Dataset) -> xr.Dataset:
    """Average over samples, and count the models that end otherwise than predicted."""
    measured, predicted = comparison.align(simulation, theory)
    moving, apart = measured["residual"] > FIXED, measured["spread"] > SAME
    rate, compared = predicted["rate"], xr.Dataset()
    for name, found, words in (
        ("moving", moving, "whether a start is not at a fixed point"),
        ("apart", apart, "whether starts are apart"),
    ):
        mean, error = comparison.sample_statistics(measured.assign({name: found.astype(float)}), name)
        compared[f"{name}_mean"] = mean.assign_attrs(label(f"{words}, mean over samples"))
        compared[f"{name}_error"] = error.assign_attrs(label(f"standard error of {name}"))
        # Errors are of the order of one at the start.
        expected = (rate ** measured["step"] > (FIXED if name == "moving" else SAME)).where(rate.notnull())
        compared[f"{name}_expected"] = expected.mean("sample", skipna=False).assign_attrs(label(f"{name} by the rate"))
    moving, apart = moving.isel(step=-1), apart.isel(step=-1)
    counts = {
        "converged": (~moving, "samples of which all starts end at fixed points"),
        "several": (~moving & apart, "samples of which starts end at different fixed points"),
        "repelled": (rate > 1, "samples whose only fixed point is predicted to repel"),
        "refuted": (
            (~moving & apart & rate.notnull()) | ((rate < 1) & moving) | ((rate > 1) & ~moving),
            "samples that end otherwise than predicted",
        ),
    }
    for name, (where, text) in counts.items():
        compared[name] = where.sum("sample").assign_attrs(label(text))
    return compared


def report(out: Path) -> Iterator[str]:
    """Yield how each baseline ends."""
    compared, samples = store.read(out, "comparison"), store.read(out, "simulation").sizes["sample"]
    for name in compared["baseline"].values:
        at = compared.sel(baseline=name)
        converged, several, repelled, refuted = (
            int(at[word]) for word in ("converged", "several", "repelled", "refuted")
        )
        yield (
            f"{name}: all starts converge in {converged} of {samples} models, to different points in {several}; "
            f"{repelled} have a single point that repels; {refuted} end otherwise than predicted"
        )


def draw(out: Path) -> Figure:
    """Draw in how many models starts are not at a fixed point yet, and in how many they are apart."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 5.2))
    compared = store.read(out, "comparison")
    steps = np.unique(np.geomspace(1, float(compared["step"][-1]), 16).astype(int))
    for at, (name, colour, marker) in enumerate(zip(BASELINES, figures.COLOURS, "osD^vPX", strict=True)):
        data = compared.sel(baseline=name)
        # Beside each other where they would hide each other.
        shown = data.isel(step=steps)
        x = shown["step"] * 1.03 ** (at - 3)
        for panel, word in zip(axes, ("moving", "apart"), strict=True):
            style = figures.POINTS | {"color": colour, "marker": marker, "label": name}
            panel.errorbar(x, shown[f"{word}_mean"], shown[f"{word}_error"], **style)
            panel.plot(data["step"][1:], data[f"{word}_expected"][1:], color=colour, linewidth=1)
    axes[0].plot([], [], color="grey", linewidth=1, label="by the rate at the only fixed point")
    for panel in axes:
        panel.set(xlabel="step", xscale="log", ylim=(-0.03, 1.05))
    axes[0].set(ylabel=f"fraction of models with a residual $> 10^{{{np.log10(FIXED):.0f}}}$")
    axes[1].set(ylabel=f"fraction of models with starts $> 10^{{{np.log10(SAME):.0f}}}$ apart")
    axes[0].set_title("(a) worst start not at a fixed point", fontsize="medium")
    axes[1].set_title("(b) the probabilities depend on the start", fontsize="medium")
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize="small", loc="outside lower center", ncols=4)
    return figure


SCRIPT = Script(
    name="monotone_dbm_baselines",
    summary="Follow many starts of damped and undamped mean field on couplings with and without monotonicity.",
    presets=PRESETS,
    compute=compute,
    draw=draw,
    report=report,
)

if __name__ == "__main__":
    command_line.main(SCRIPT)
