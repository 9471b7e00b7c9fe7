r"""Mean field of monotone deep Boltzmann machines against the distribution that it approximates, as couplings grow.

Models small enough to enumerate, with couplings in tiers (arXiv:2307.04990) multiplied by a number that gives their
largest eigenvalue lambda_max on the tangent space of the simplices: up to 2 mean field has one solution. Its marginals
are compared with those of the enumeration and of Gibbs sampling, and its bound on log Z with the enumeration and
annealed importance sampling; the two samplers are compared with the enumeration. To lowest order the error of
a marginal and the gap of log Z, the Kullback-Leibler divergence of mean field from the distribution, grow
as lambda_max squared.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from hebbian.fixed_point import solve_mean_field
from hebbian.potts import GroupLayout, PairwiseModel, coupling_bounds, monotone_coupling
from runs import command_line, comparison, figures
from runs.script import Run, Script
from sim import random, store
from sim.annealed_importance import ais_log_partition
from sim.potts_exact import enumerate_model
from sim.potts_gibbs import GibbsSampler
from theory.monotone_dbm import free_energy

BIAS = 0.5
CHAINS = 20
BETAS = np.linspace(0.0, 1.0, 101)
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        "groups": (4, 4),
        "categories": (3, 2),
        "strength": np.geomspace(1 / 16, 1.9, 9),
        "samples": 10,
        "sweeps": 2000,
    },
    "paper": {
        "groups": (6, 6, 2),
        "categories": (3, 2, 4),
        "strength": np.geomspace(1 / 16, 1.9, 17),
        "samples": 50,
        "sweeps": 20_000,
    },
}


@dataclass(frozen=True)
class Task:
    """One model; those of a sample differ in strength, which is lambda_max, alone."""

    groups: tuple[int, ...]
    categories: tuple[int, ...]
    sweeps: int
    seed: int
    strength: float
    sample: int

    def model(self) -> PairwiseModel:
        """Draw the model."""
        layout = GroupLayout(zip(self.groups, self.categories, strict=True))
        rng = random.stream(self.seed, (self.sample,), "patterns")
        mask = layout.tier_mask([G * k for G, k in layout.layers])
        coupling = monotone_coupling(rng.normal(size=mask.shape) * mask, layout)
        largest = coupling_bounds(coupling, layout)[1]
        return PairwiseModel(coupling * (self.strength / largest), rng.normal(scale=BIAS, size=layout.size), layout)


def measure(task: Task) -> xr.Dataset:
    """Enumerate and sample one model."""
    model, address = task.model(), (task.sample, random.float_bits(task.strength))
    exact = enumerate_model(model)
    gibbs = GibbsSampler(model, CHAINS, task.seed, address).run(task.sweeps, task.sweeps // 10)
    annealed = ais_log_partition(model, BETAS, 10 * CHAINS, task.seed, address)
    return xr.Dataset(
        {
            "exact": ("entry", exact.marginals, label("marginal by enumeration")),
            "gibbs": ("entry", gibbs.marginals, label("marginal by Gibbs sampling")),
            "gibbs_error": ("entry", gibbs.standard_error, label("standard error of gibbs")),
            "log_z": ((), exact.log_z, label("log Z by enumeration")),
            "annealed": ((), annealed.log_z, label("log Z by annealed importance sampling")),
            "annealed_error": ((), annealed.standard_error, label("standard error of annealed")),
        }
    )


def predict(task: partial[Task], strengths: list[float], samples: list[int]) -> xr.Dataset:
    """Solve mean field for all models."""
    models = [[task(strength=strength, sample=sample).model() for sample in samples] for strength in strengths]
    q = [[solve_mean_field(model.coupling, model.bias, model.layout).q for model in row] for row in models]
    bound = [[-free_energy(q, model) for q, model in zip(*rows, strict=True)] for rows in zip(q, models, strict=True)]
    return xr.Dataset(
        {
            "q": (("strength", "sample", "entry"), np.array(q), label("marginal of mean field")),
            "log_z": (("strength", "sample"), np.array(bound, dtype=float), label("bound of mean field on log Z")),
        },
        {"strength": strengths, "sample": samples},
    )


def label(long_name: str) -> dict[str, str]:
    """Return the attributes of a dimensionless variable."""
    return {"long_name": long_name, "units": "1"}


def compute(run: Run) -> None:
    """Predict, measure and compare."""
    preset = run.preset
    strengths, samples = preset["strength"].tolist(), list(range(preset["samples"]))
    groups, categories = (tuple(int(number) for number in preset[name]) for name in ("groups", "categories"))
    task = partial(Task, groups, categories, preset["sweeps"], run.seed)
    theory = run.keep("theory", partial(predict, task, strengths, samples))
    axes: dict[str, Any] = {"strength": preset["strength"], "sample": np.array(samples)}
    simulation = run.tabulate(measure, axes, "simulation", argument=task)
    run.conclude("comparison", partial(compare, simulation, theory))


def compare(simulation: xr.Dataset, theory: xr.Dataset) -> xr.Dataset:
    """Average deviations over samples, and take the pulls of the samplers from the enumeration."""
    measured, predicted = comparison.align(simulation, theory)
    deviations = xr.Dataset(
        {
            "mean_field": rms(predicted["q"] - measured["exact"]),
            "mean_field_from_gibbs": rms(predicted["q"] - measured["gibbs"]),
            "gibbs": rms(measured["gibbs"] - measured["exact"]),
            "gap": measured["log_z"] - predicted["log_z"],
            "gap_annealed": measured["annealed"] - predicted["log_z"],
        }
    ).assign(completed=measured["completed"])
    words = {
        "mean_field": "root mean square of mean-field marginals less exact ones",
        "mean_field_from_gibbs": "root mean square of mean-field marginals less sampled ones",
        "gibbs": "root mean square of sampled marginals less exact ones",
        "gap": "log Z less its bound of mean field",
        "gap_annealed": "sampled log Z less its bound of mean field",
    }
    compared = xr.Dataset()
    for name, text in words.items():
        mean, error = comparison.sample_statistics(deviations, name)
        compared[f"{name}_mean"] = mean.assign_attrs(label(f"{text}, mean over samples"))
        compared[f"{name}_error"] = error.assign_attrs(label(f"standard error of {name}"))
    # One entry a model: those of one run depend on each other.
    first = measured.isel(entry=0)
    pulls = {
        "gibbs": (first["gibbs"] - first["exact"]) / first["gibbs_error"],
        "annealed": (measured["annealed"] - measured["log_z"]) / measured["annealed_error"],
    }
    for name, pull in pulls.items():
        compared[f"{name}_pull"] = pull.assign_attrs(label(f"{name} less enumeration over its error"))
        compared = compared.merge(comparison.agreement(name, pull))
    return compared


def rms(difference: xr.DataArray) -> xr.DataArray:
    """Return the root mean square over entries."""
    return (difference**2).mean("entry") ** 0.5


def draw(out: Path) -> Figure:
    """Draw marginals of three strengths, their deviations and the gap of log Z."""
    figure, axes = plt.subplots(1, 3, figsize=(13, 4.2))
    simulation, theory, compared = (
        store.read(out, group).sortby("strength") for group in ("simulation", "theory", "comparison")
    )
    draw_marginals(axes[0], simulation, theory)
    strength = compared["strength"]
    deviations = {
        "mean_field": "mean field, enumeration",
        "mean_field_from_gibbs": "mean field, Gibbs sampling",
        "gibbs": "Gibbs sampling, enumeration",
    }
    gaps = {"gap": "enumeration", "gap_annealed": "annealed importance sampling"}
    for panel, words in ((axes[1], deviations), (axes[2], gaps)):
        for (name, text), colour, marker in zip(words.items(), figures.COLOURS, "oxs", strict=False):
            style = figures.POINTS | {"color": colour, "marker": marker, "label": text}
            panel.errorbar(strength, compared[f"{name}_mean"], compared[f"{name}_error"], **style)
        lowest = compared[f"{next(iter(words))}_mean"].isel(strength=0)
        line = lowest * (strength / strength[0]) ** 2
        panel.plot(strength, line, color="grey", linewidth=1, label=r"$\propto \lambda_{\max}^2$")
        panel.set(xlabel=r"largest eigenvalue $\lambda_{\max}$ of the coupling", yscale="log")
        panel.set_xscale("log", base=2)
        panel.legend(fontsize="small")
    axes[1].set(ylabel="root mean square difference of marginals")
    axes[1].set_title("(b) marginals", fontsize="medium")
    axes[2].set(ylabel=r"gap $\ln Z + F(q)$")
    axes[2].set_title("(c) Kullback-Leibler divergence", fontsize="medium")
    return figure


def draw_marginals(axes: plt.Axes, simulation: xr.Dataset, theory: xr.Dataset) -> None:
    """Draw the marginals of mean field over the exact ones, at the weakest, the middle and the strongest coupling."""
    number = simulation.sizes["strength"]
    exact, q = (array.transpose("strength", "sample", "entry") for array in (simulation["exact"], theory["q"]))
    for at, colour, marker in zip(sorted({0, number // 2, number - 1}), figures.COLOURS, "osD", strict=False):
        style = figures.POINTS | {"color": colour, "marker": marker, "markersize": 2.5, "alpha": 0.6}
        text = rf"$\lambda_{{\max}} = {float(simulation['strength'][at]):.3g}$"
        axes.plot(exact[at].values.ravel(), q[at].values.ravel(), label=text, **style)
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    axes.set(xlabel="exact marginal", ylabel="marginal $q$ of mean field")
    axes.set_title("(a) every entry of every sample", fontsize="medium")
    axes.legend(fontsize="small")


SCRIPT = Script(
    name="monotone_dbm_accuracy",
    summary="Compare mean field of monotone deep Boltzmann machines with enumeration and sampling, as couplings grow.",
    presets=PRESETS,
    compute=compute,
    draw=draw,
)

if __name__ == "__main__":
    command_line.main(SCRIPT)
