r"""Number of fixed points of mean field against the strength of the coupling, with and without monotonicity.

Two layers of binary groups. *Monotone*: the coupling of a Gaussian factor of strength s, with no eigenvalue above 0.9
however strong it is (arXiv:2307.04990). *Layered*: Gaussian couplings between the layers alone, as of a restricted
Boltzmann machine. *Unconstrained*: Gaussian couplings between all groups. *Ferromagnetic*: the same coupling between
equal states of all groups, without bias, for which lambda_max = s. Mean field has one fixed point wherever lambda_max,
the largest eigenvalue of the coupling on the tangent space of the simplices, is below 2, and the ferromagnet shows that
the bound is tight. What is measured is how many distinct ones random starts find by damped iteration, and how many
starts undamped iteration leads to none.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from hebbian.potts import GroupLayout, PairwiseModel, coupling_bounds, monotone_coupling
from runs import command_line, comparison, figures
from runs.script import Run, Script
from sim import random, store
from sim.monotone_dbm import find_fixed_points
from theory.monotone_dbm import critical_coupling

KINDS = ("monotone", "layered", "unconstrained", "ferromagnetic")
MARGIN = 0.1
BIAS = 0.1
PRESETS: dict[str, dict[str, Any]] = {
    # No strength is 2, where the ferromagnet converges like a power of time.
    "quick": {"groups": (18, 12), "strength": np.geomspace(0.45, 14.4, 11), "samples": 10, "starts": 100},
    "paper": {"groups": (36, 24), "strength": np.geomspace(0.45, 14.4, 21), "samples": 50, "starts": 100},
}
UNDAMPED_STEPS = 1000


@dataclass(frozen=True)
class Task:
    """One model; those of a sample differ in strength alone."""

    kind: str
    groups: tuple[int, ...]
    starts: int
    seed: int
    strength: float
    sample: int

    def model(self) -> PairwiseModel:
        """Draw the model."""
        layout = GroupLayout([(G, 2) for G in self.groups])
        N = layout.size
        rng = random.stream(self.seed, (KINDS.index(self.kind), self.sample), "patterns")
        gaussian, bias = rng.normal(scale=self.strength / np.sqrt(N), size=(N, N)), rng.normal(scale=BIAS, size=N)
        if self.kind == "monotone":
            return PairwiseModel(monotone_coupling(gaussian, layout, MARGIN), bias, layout)
        if self.kind == "ferromagnetic":
            G = layout.n_groups
            return PairwiseModel(np.kron(1 - np.eye(G), np.eye(2)) * self.strength / (G - 1), np.zeros(N), layout)
        upper = np.triu(gaussian) * ~layout.block_mask()
        if self.kind == "layered":
            layer = np.repeat(np.arange(len(self.groups)), 2 * np.array(self.groups))
            upper = upper * (layer[:, None] != layer)
        return PairwiseModel(upper + upper.T, bias, layout)


def measure(task: Task) -> xr.Dataset:
    """Count the fixed points of one model."""
    model = task.model()
    found = find_fixed_points(model, task.starts, seed=task.seed)
    undamped = find_fixed_points(model, task.starts, method="parallel", max_iter=UNDAMPED_STEPS, seed=task.seed)
    return xr.Dataset(
        {
            "fixed_points": ((), float(len(found.q)), label("distinct fixed points that starts end at")),
            "unconverged": ((), found.unconverged / task.starts, label("fraction of starts that end at none")),
            "undamped_unconverged": (
                (),
                undamped.unconverged / task.starts,
                label("fraction of starts that undamped iteration leads to none"),
            ),
        }
    )


def predict(kind: str, preset: dict[str, Any], seed: int) -> xr.Dataset:
    """Return the largest eigenvalue of each coupling, and the number of fixed points where it proves that to be one."""
    strength, samples = preset["strength"], np.arange(preset["samples"])
    task = partial(Task, kind, preset["groups"], preset["starts"], seed)
    models = [[task(s, sample).model() for sample in samples.tolist()] for s in strength.tolist()]
    largest = np.array([[coupling_bounds(model.coupling, model.layout)[1] for model in row] for row in models])
    proven = np.where(largest < critical_coupling(), 1.0, np.nan)
    return xr.Dataset(
        {
            "lambda_max": (("strength", "sample"), largest, label("largest eigenvalue of the coupling")),
            "fixed_points": (("strength", "sample"), proven, label("number of fixed points, where it is known")),
        },
        {"strength": strength, "sample": samples},
    )


def label(long_name: str) -> dict[str, str]:
    """Return the attributes of a dimensionless variable."""
    return {"long_name": long_name, "units": "1"}


def compute(run: Run) -> None:
    """Predict, count and compare for every kind of model."""
    preset = run.preset
    groups = tuple(int(G) for G in preset["groups"])
    axes: dict[str, Any] = {"strength": preset["strength"], "sample": np.arange(preset["samples"])}
    for kind in KINDS:
        theory = run.keep(f"theory/{kind}", partial(predict, kind, preset | {"groups": groups}, run.seed))
        task = partial(Task, kind, groups, preset["starts"], run.seed)
        simulation = run.tabulate(measure, axes, f"simulation/{kind}", argument=task)
        run.conclude(f"comparison/{kind}", partial(compare, simulation, theory))


def compare(simulation: xr.Dataset, theory: xr.Dataset) -> xr.Dataset:
    """Average over samples, and count the models with one fixed point that are proven to have it."""
    measured, predicted = comparison.align(simulation, theory)
    compared = xr.Dataset()
    for name in ("fixed_points", "undamped_unconverged"):
        words = measured[name].attrs["long_name"]
        mean, error = comparison.sample_statistics(measured, name)
        compared[f"{name}_mean"] = mean.assign_attrs(label(f"{words}, mean over samples"))
        compared[f"{name}_error"] = error.assign_attrs(label(f"standard error of {name}"))
    proven = predicted["fixed_points"].notnull()
    several = measured["fixed_points"] > 1
    compared["several"] = several.sum("sample").assign_attrs(label("samples with several fixed points"))
    compared["proven"] = proven.sum("sample").assign_attrs(label("samples proven to have one"))
    compared["refuted"] = (
        (proven & several).sum("sample").assign_attrs(label("samples with several, proven to have one"))
    )
    return compared


def report(out: Path) -> Iterator[str]:
    """Yield how many models of each kind have several fixed points."""
    for kind in KINDS:
        compared = store.read(out, f"comparison/{kind}")
        models = store.read(out, f"simulation/{kind}")["fixed_points"].size
        several, proven, refuted = (int(compared[name].sum()) for name in ("several", "proven", "refuted"))
        yield (
            f"{kind}: {several} of {models} models have several fixed points; {proven} are proven to have one, "
            f"of which {refuted} have several"
        )


def draw(out: Path) -> Figure:
    """Draw the number of fixed points against strength and largest eigenvalue, and where undamped iteration fails."""
    figure, axes = plt.subplots(1, 3, figsize=(13, 4.2))
    for kind, colour, marker in zip(KINDS, figures.COLOURS, "osDv", strict=False):
        compared = store.read(out, f"comparison/{kind}").sortby("strength")
        style = figures.POINTS | {"color": colour, "marker": marker, "label": kind}
        for panel, name in ((axes[0], "fixed_points"), (axes[2], "undamped_unconverged")):
            panel.errorbar(compared["strength"], compared[f"{name}_mean"], compared[f"{name}_error"], **style)
        theory = store.read(out, f"theory/{kind}")["lambda_max"]
        number = store.read(out, f"simulation/{kind}")["fixed_points"].transpose(*theory.dims)
        axes[1].plot(theory.values.ravel(), number.values.ravel(), **style | {"alpha": 0.6})
    axes[1].axvline(critical_coupling(), color="black", linewidth=1, linestyle="--")
    axes[1].annotate(
        r"$\lambda_{\max} = 2$", (critical_coupling(), 1), (4, 120), textcoords="offset points", fontsize="small"
    )
    for panel in axes:
        panel.set_xscale("log", base=2)
    for panel in axes[:2]:
        panel.set_yscale("log", base=2)
        panel.set_ylabel("distinct fixed points")
    for panel in (axes[0], axes[2]):
        panel.set_xlabel("strength $s$ of the coupling")
    axes[0].set_title("(a) mean over samples", fontsize="medium")
    axes[1].set_xlabel(r"largest eigenvalue $\lambda_{\max}$")
    axes[1].set_title("(b) every model; below 2 there is one", fontsize="medium")
    axes[2].set(ylabel="fraction of starts without fixed point")
    axes[2].set_title(f"(c) {UNDAMPED_STEPS} steps without damping", fontsize="medium")
    axes[0].legend(fontsize="small")
    return figure


SCRIPT = Script(
    name="monotone_dbm_uniqueness",
    summary="Count the fixed points of mean field with and without monotone couplings, against their strength.",
    presets=PRESETS,
    compute=compute,
    draw=draw,
    report=report,
)

if __name__ == "__main__":
    command_line.main(SCRIPT)
