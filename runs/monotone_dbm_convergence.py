r"""Steps that the solvers of mean field need against the margin of monotone couplings.

Monotone deep Boltzmann machines (arXiv:2307.04990) in tiers, each sample one factor at all margins. Every solver
starts at the mean field of the uniform state; its Euclidean distance from the solution, which Newton's method finds, is
followed step by step. Predicted are the bound on that distance, by the contraction of a step, and the rate at which it
falls in the end, by the derivative of a step at the solution. `monotone_dbm_baselines` has many starts.
"""

import math
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

from hebbian.fixed_point import MeanFieldHistory, group_softmax, solve_mean_field
from hebbian.potts import GroupLayout, PairwiseModel, coupling_bounds, monotone_coupling
from runs import command_line, comparison, figures
from runs.script import Run, Script
from sim import random, store
from theory.monotone_dbm import asymptotic_rate, contraction_factor, start_bound

BIAS = 0.5
# Rows of the factor for each entry of a layer: fewer make a stronger coupling of more frustrated directions.
RANK = 0.25
# Step of forward-backward in the paper.
STEP = 0.125
# Margin of the trajectories.
MARGIN = 0.1
SPLITTING: dict[str, tuple[str, dict[str, Any]]] = {
    "softmax-only Peaceman-Rachford": ("softmax_pr", {}),
    "Peaceman-Rachford": ("peaceman_rachford", {}),
    "Douglas-Rachford": ("douglas_rachford", {}),
    "forward-backward": ("forward_backward", {}),
    f"forward-backward, $a = {STEP}$": ("forward_backward", {"step": STEP}),
}
DAMPING: dict[str, tuple[str, dict[str, Any]]] = {
    "mirror, Anderson": ("mirror", {"accelerate": "anderson"}),
    "mirror": ("mirror", {}),
    "damped": ("damped", {}),
    "undamped": ("parallel", {}),
}
SOLVERS = SPLITTING | DAMPING
# Errors: asked for, between which a rate is measured, and at which a solver stops.
ERROR, RATE, LAST = 1e-8, (1e-6, 1e-11), 1e-12
SHOWN = 40
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        "groups": (36, 24, 1),
        "categories": (3, 3, 10),
        "margin": np.array([-0.9, -0.6, -0.3, 0.1, 0.3, 0.6, 0.9]),
        "samples": 4,
        "steps": 1000,
    },
    "paper": {
        "groups": (64, 60, 1),
        "categories": (4, 4, 10),
        "margin": np.linspace(-0.9, 0.9, 19),
        "samples": 10,
        "steps": 1000,
    },
}


@dataclass(frozen=True)
class Task:
    """One model; those of a sample differ in margin alone."""

    groups: tuple[int, ...]
    categories: tuple[int, ...]
    steps: int
    seed: int
    margin: float
    sample: int

    def model(self) -> PairwiseModel:
        """Draw the model."""
        layout = GroupLayout(zip(self.groups, self.categories, strict=True))
        rng = random.stream(self.seed, (self.sample,), "patterns")
        mask = layout.tier_mask([math.ceil(RANK * G * k) for G, k in layout.layers])
        coupling = monotone_coupling(rng.normal(size=mask.shape) * mask, layout, self.margin)
        return PairwiseModel(coupling, rng.normal(scale=BIAS, size=layout.size), layout)


def solves(method: str, options: dict[str, Any], bounds: tuple[float, float]) -> bool:
    """Return whether a solver has a step for a coupling: of Peaceman-Rachford none is known at lambda_max >= 1."""
    return "rachford" not in method or "step" in options or bounds[1] < 1


def follow(model: PairwiseModel, method: str, steps: int, **options: Any) -> MeanFieldHistory:
    """Return what a solver passes through, which need not end at a solution, in so many steps at most."""
    with warnings.catch_warnings():
        # Some are here because they do not converge.
        warnings.simplefilter("ignore", RuntimeWarning)
        solution = solve_mean_field(
            model.coupling, model.bias, model.layout, method=method, tol=LAST, max_iter=steps, record=True, **options
        )
    assert solution.history is not None
    return solution.history


def measure(task: Task) -> xr.Dataset:
    """Follow all solvers on one model."""
    model = task.model()
    bounds = coupling_bounds(model.coupling, model.layout)
    q = solve_mean_field(model.coupling, model.bias, model.layout, method="newton", tol=1e-13).q
    steps, rates, errors = ([] for _ in range(3))
    for method, options in SOLVERS.values():
        error = np.full(1, np.nan)
        if solves(method, options, bounds):
            history = follow(model, method, task.steps, **options)
            error = np.linalg.norm(np.concatenate(history.q) - q, axis=1)
        steps.append(first(error, ERROR))
        start, end = (first(error, level) for level in RATE)
        # Few steps of several directions at once have no rate.
        known = end - start >= 5
        rates.append((error[int(end)] / error[int(start)]) ** (1 / (end - start)) if known else np.nan)
        errors.append(np.pad(error[: SHOWN + 1], (0, max(0, SHOWN + 1 - len(error))), constant_values=np.nan))
    return xr.Dataset(
        {
            "steps": ("solver", np.array(steps), label(f"steps to an error of {ERROR:g}")),
            "rate": ("solver", np.array(rates), label("factor by which the error falls in a step, in the end")),
            "error": (("solver", "step"), np.array(errors), label("distance from the solution")),
        },
        {"solver": list(SOLVERS), "step": np.arange(SHOWN + 1)},
    )


def first(error: np.ndarray, level: float) -> float:
    """Return the first step with an error of at most a level, NaN if there is none."""
    below = np.flatnonzero(error <= level)
    return float(below[0]) if below.size else np.nan


def predict(task: partial[Task], margins: list[float], samples: list[int]) -> xr.Dataset:
    """Return bounds and rates of all solvers on all models."""
    words = {"bound": f"bound on the steps to an error of {ERROR:g}", "rate": "factor of a step near the solution"}
    words |= {"contraction": "bound on the factor of a step", "start": "bound on the error at the start"}
    values = {name: np.full((len(margins), len(samples), len(SOLVERS)), np.nan) for name in words}
    for i, margin in enumerate(margins):
        for j, sample in enumerate(samples):
            model = task(margin=margin, sample=sample).model()
            layout, bounds = model.layout, coupling_bounds(model.coupling, model.layout)
            q = solve_mean_field(model.coupling, model.bias, layout, tol=1e-12).q
            start = group_softmax(model.local_field(layout.uniform), layout)
            for at, (method, options) in enumerate(SOLVERS.values()):
                if not solves(method, options, bounds) or "accelerate" in options:
                    continue
                step = options.get("step")
                factor = contraction_factor(method, *bounds, step)
                most = start_bound(q, start, model, method, step)
                values["rate"][i, j, at] = asymptotic_rate(q, model, method, step)
                values["contraction"][i, j, at], values["start"][i, j, at] = factor, most
                if factor < 1:
                    values["bound"][i, j, at] = max(0.0, math.log(most / ERROR) / -math.log(factor))
    dims = ("margin", "sample", "solver")
    variables = {name: (dims, values[name], label(text)) for name, text in words.items()}
    return xr.Dataset(variables, {"margin": margins, "sample": samples, "solver": list(SOLVERS)})


def label(long_name: str) -> dict[str, str]:
    """Return the attributes of a dimensionless variable."""
    return {"long_name": long_name, "units": "1"}


def compute(run: Run) -> None:
    """Predict, follow and compare."""
    preset = run.preset
    margins, samples = preset["margin"].tolist(), list(range(preset["samples"]))
    groups, categories = (tuple(int(number) for number in preset[name]) for name in ("groups", "categories"))
    task = partial(Task, groups, categories, preset["steps"], run.seed)
    theory = run.keep("theory", partial(predict, task, margins, samples))
    axes: dict[str, Any] = {"margin": preset["margin"], "sample": np.array(samples)}
    simulation = run.tabulate(measure, axes, "simulation", argument=task)
    run.conclude("comparison", partial(compare, simulation, theory))


def compare(simulation: xr.Dataset, theory: xr.Dataset) -> xr.Dataset:
    """Average over samples, and count the models with errors above the bound."""
    measured, predicted = comparison.align(simulation, theory)
    ratio = (measured["rate"] / predicted["rate"]).assign_attrs(label("measured rate over the predicted one"))
    measured = measured.assign(ratio=ratio, bound=predicted["bound"])
    compared = xr.Dataset()
    for name in ("steps", "bound", "error", "ratio"):
        mean, error = comparison.sample_statistics(measured, name)
        words = measured[name].attrs["long_name"]
        compared[f"{name}_mean"] = mean.assign_attrs(label(f"{words}, mean over samples"))
        compared[f"{name}_error"] = error.assign_attrs(label(f"standard error of {name}"))
    limit = predicted["start"] * predicted["contraction"] ** measured["step"]
    # Beyond rounding of the solution that distances are taken from.
    exceeded = measured["error"] > limit * (1 + 1e-9) + LAST
    compared["exceeded"] = exceeded.any("step").sum("sample").assign_attrs(label("samples with errors above the bound"))
    return compared


def report(out: Path) -> Iterator[str]:
    """Yield steps, bounds and rates at the margin nearest to that of the trajectories."""
    compared = store.read(out, "comparison").sortby("margin")
    near = compared.sel(margin=MARGIN, method="nearest")
    yield f"margin {float(near['margin']):.3g}, steps to an error of {ERROR:g}, mean over samples:"
    for name in compared["solver"].values:
        words = {"steps_mean": "{:.1f}", "steps_error": " +- {:.1f}"}
        words |= {"bound_mean": ", at most {:.1f} by the bound", "ratio_mean": ", rate {:.3f} of the predicted one"}
        said = [
            words[word].format(number) for word in words if not np.isnan(number := near[word].sel(solver=name).item())
        ]
        yield f"  {name}: {''.join(said) or 'not reached by all'}"
    yield f"models with errors above the bound: {int(compared['exceeded'].sum())}"


def draw(out: Path) -> Figure:
    """Draw steps, rates and errors of the solvers."""
    figure, axes = plt.subplots(2, 2, figsize=(11, 8.5))
    compared, theory, solvers = (
        store.read(out, group).sortby("margin") for group in ("comparison", "theory", "simulation")
    )
    for panel, names, title in (
        (axes[0, 0], SPLITTING, "(a) splitting methods"),
        (axes[0, 1], DAMPING, "(b) damped iterations"),
    ):
        draw_steps(panel, compared, theory, names)
        panel.set_title(title, fontsize="medium")
    draw_rates(axes[1, 1], solvers, theory)
    draw_errors(axes[1, 0], compared, theory)
    return figure


def style_of(name: str) -> dict[str, Any]:
    """Return colour and marker of a solver."""
    at = list(SOLVERS).index(name)
    style = {"color": (*figures.COLOURS, "#7F7F7F", "#882255")[at], "marker": "osD^vPXo>"[at]}
    # Damping of probabilities and that of natural parameters lie on top of each other.
    return style | ({"markersize": 7, "fillstyle": "none"} if name == "damped" else {})


def draw_steps(axes: plt.Axes, compared: xr.Dataset, theory: xr.Dataset, names: dict[str, Any]) -> None:
    """Draw measured steps, those by the predicted rate and the bound."""
    rate, start = theory["rate"], theory["start"]
    expected = xr.DataArray(np.log(start / ERROR) / -np.log(rate)).where(rate < 1).mean("sample", skipna=False)
    for name in names:
        style = style_of(name)
        at = compared.sel(solver=name)
        axes.errorbar(at["margin"], at["steps_mean"], at["steps_error"], label=name, **figures.POINTS | style)
        axes.plot(theory["margin"], expected.sel(solver=name), color=style["color"], linewidth=1.2)
        axes.plot(at["margin"], at["bound_mean"], color=style["color"], linewidth=1, linestyle=":")
    axes.plot([], [], color="grey", linewidth=1.2, label="by the rate at the solution")
    axes.plot([], [], color="grey", linewidth=1, linestyle=":", label="bound")
    axes.set(xlabel="margin $m$", ylabel=f"steps to an error of $10^{{{math.log10(ERROR):.0f}}}$", yscale="log")
    axes.legend(fontsize="x-small")


def draw_rates(axes: plt.Axes, measured: xr.Dataset, theory: xr.Dataset) -> None:
    """Draw measured rates of all models over predicted ones."""
    for name in SOLVERS:
        x, y = (data["rate"].sel(solver=name).transpose("margin", "sample") for data in (theory, measured))
        style = figures.POINTS | {"markersize": 3} | style_of(name) | {"alpha": 0.6}
        axes.plot(x.values.ravel(), y.values.ravel(), **style)
    axes.axline((0, 0), slope=1, color="grey", linewidth=1)
    axes.set(xlabel="predicted rate at the solution", ylabel="measured rate in the end", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.set_title("(d) rates of every model, as in (a) and (b)", fontsize="medium")


def draw_errors(axes: plt.Axes, compared: xr.Dataset, theory: xr.Dataset) -> None:
    """Draw errors against steps under the bounds, at the margin nearest to that of the trajectories."""
    near = compared.sel(margin=MARGIN, method="nearest")
    at = theory.sel(margin=near["margin"])
    for name in SOLVERS:
        style = style_of(name)
        mean, error = (near[f"error_{word}"].sel(solver=name) for word in ("mean", "error"))
        axes.errorbar(near["step"], mean, error, **figures.POINTS | {"markersize": 3} | style)
        factor = at["contraction"].sel(solver=name)
        if (factor < 1).all():
            bound = (at["start"].sel(solver=name) * factor ** near["step"]).mean("sample")
            axes.plot(near["step"], bound, color=style["color"], linewidth=1, linestyle=":")
    axes.set(xlabel="step", ylabel=r"distance from the solution $\Vert q - q^* \Vert_2$", yscale="log")
    axes.set(ylim=(LAST, 10))
    axes.set_title(f"(c) errors and bounds, $m = {float(near['margin']):.2g}$", fontsize="medium")


SCRIPT = Script(
    name="monotone_dbm_convergence",
    summary="Compare how fast solvers of mean field converge on monotone couplings with theory.",
    presets=PRESETS,
    compute=compute,
    draw=draw,
    report=report,
)

if __name__ == "__main__":
    command_line.main(SCRIPT)
