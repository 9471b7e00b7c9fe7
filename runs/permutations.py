r"""How many networks must be averaged to permute bits exactly: trained ensembles against the law of infinite width.

Two-layer relu networks learn a permutation of k bits from the k words of a single one (arXiv:2502.16763). Single ones
are wrong on nearly all other words; the mean output of enough of them is right. Measured are the fraction of words of
two ones on which N networks are right, the N that this takes, and the N at which all words are right at once; with both
layers trained in the NTK parametrisation, with the readout alone, and in the standard parametrisation, which is what
the published code trains and which at large width is the readout alone. The theorem gives k ln k networks for one
word and k^2 for all.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hebbian.permutations import PermutationTask
from runs import command_line, comparison, figures
from runs.script import Run, Script
from sim import random, store
from sim.permutations import REGIMES, accuracy_curve, output_moments, required_members, train_members
from theory.permutations import output_law
from theory.permutations_ensembles import ensemble_size, ensemble_size_all, ensemble_size_bound, success_probability

P = 0.9
TOL = 1e-4
# Numbers of words of two ones that are looked at.
WORDS = 50
# The regime of infinite width of what is trained.
LIMITS = {"ntk": "ntk", "readout": "readout", "standard": "readout"}
TOGETHER = ("ntk", "readout")
# Networks that the published code of arXiv:2502.16763 took to be right on 90 % of words of two ones, for each k.
PUBLISHED = {5: 43, 7: 29, 10: 69, 15: 103, 20: 117, 25: 157, 30: 175}
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        "pairs": {"k": np.array([5, 10]), "samples": 10, "members": 60},
        "all": {"k": np.array([3, 4, 5]), "samples": 10, "members": 60},
        "width": 512,
        "draws": 1000,
    },
    "paper": {
        "pairs": {"k": np.array([5, 10, 15, 20]), "samples": 10, "members": 150},
        "all": {"k": np.array([3, 4, 5, 6, 8]), "samples": 10, "members": 200},
        "width": 2048,
        "draws": 4000,
    },
}
LABELS = {"ntk": "both layers, NTK", "readout": "readout alone", "standard": "both layers, standard"}
MARKERS = {"ntk": "o", "readout": "s", "standard": "^"}


@dataclass(frozen=True)
class Task:
    """Some networks; those of all samples learn one permutation and are tested on the same words."""

    k: int
    together: bool
    width: int
    members: int
    seed: int
    regime: str
    sample: int

    def words(self) -> tuple[PermutationTask, NDArray[np.int8]]:
        """Return the permutation and the words."""
        rng = random.stream(self.seed, (self.k,), "patterns")
        task = PermutationTask(self.k, rng=rng)
        if self.together:
            # Not those of a single one: where their target is 0 a trained output is 0 up to a remainder of any sign.
            return task, task.inputs(range(2, self.k + 1))
        A = task.inputs(2)
        return task, A[np.sort(rng.choice(len(A), min(len(A), WORDS), replace=False))]


def measure(task: Task) -> xr.Dataset:
    """Train networks and keep their outputs."""
    permutation, A = task.words()
    address = (task.k, int(task.together), REGIMES.index(task.regime), task.sample)
    outputs = train_members(
        permutation, A, task.width, task.members, regime=task.regime, tol=TOL, seed=task.seed, address=address
    )
    return xr.Dataset({"output": (("member", "word", "bit"), outputs, label("output of a single network"))})


def label(long_name: str) -> dict[str, str]:
    """Return the attributes of a dimensionless variable."""
    return {"long_name": long_name, "units": "1"}


def predict(pairs: list[int], every: list[int], largest: int, draws: int, seed: int) -> xr.Dataset:
    """Compute the sizes of ensembles, and the law of single networks."""
    k = list(range(2, max(30, *pairs) + 1))
    sizes = np.unique(np.geomspace(1, largest, 60).round().astype(int))
    limits = list(TOGETHER)
    laws = [[output_law(n, 2, regime=regime) for regime in limits] for n in pairs]
    bounds = {
        tails: [[ensemble_size_bound(n, 1 - P, "all", regime=regime, tails=tails) for regime in limits] for n in k]
        for tails in ("exponential", "gaussian")
    }
    together = np.array(
        [
            [
                ensemble_size_all(n, P, draws, random.stream(seed, (n, index), "dynamics"), regime=regime)
                for index, regime in enumerate(limits)
            ]
            for n in every
        ]
    )
    success = [[success_probability(sizes, n, 2, regime=regime) for regime in limits] for n in pairs]
    needed = [[ensemble_size(n, 2, P, regime=regime) for regime in limits] for n in k]
    words = "networks needed to be right on {} with probability 0.9"
    variables = {
        f"law_{name}": (("pairs", "regime"), [[getattr(law, name) for law in row] for row in laws], label(text))
        for name, text in (
            ("mean_on", "mean output where the target is 1"),
            ("mean_off", "mean output where the target is 0"),
            ("var", "variance of an output"),
        )
    }
    return xr.Dataset(
        variables
        | {
            "success": (("pairs", "regime", "N"), success, label("probability that N networks are right on a word")),
            "needed": (("k", "regime"), needed, label(words.format("a word of two ones"))),
            "bound": (("k", "regime"), bounds["exponential"], label("bound of the theorem for all words")),
            "union": (("k", "regime"), bounds["gaussian"], label("sum of the probabilities of all wrong bits")),
            "together": (("every", "regime"), together[..., 0], label(words.format("all words, by Monte Carlo"))),
            "together_error": (("every", "regime"), together[..., 1], label("standard error of together")),
        },
        {"k": k, "regime": limits, "N": sizes, "pairs": pairs, "every": every},
    )


def compute(run: Run) -> None:
    """Predict, measure and compare."""
    preset, ks = run.preset, {}
    for group in ("pairs", "all"):
        ks[group] = [int(number) for number in preset[group]["k"]]
    largest = int(0.9 * preset["pairs"]["samples"] * preset["pairs"]["members"])
    theory = run.keep("theory", partial(predict, ks["pairs"], ks["all"], largest, preset["draws"], run.seed))
    measured: dict[str, dict[int, xr.Dataset]] = {"pairs": {}, "all": {}}
    for group, regimes in (("pairs", REGIMES), ("all", TOGETHER)):
        sizes = preset[group]
        for k in ks[group]:
            task = partial(Task, k, group == "all", preset["width"], sizes["members"], run.seed)
            axes: dict[str, Any] = {"regime": regimes, "sample": np.arange(sizes["samples"])}
            measured[group][k] = run.tabulate(measure, axes, f"simulation/{group}_{k}", argument=task)
    run.conclude(
        "comparison", partial(compare, partial(Task, seed=run.seed), measured["pairs"], measured["all"], theory)
    )


def outputs_of(
    task: partial[Task], k: int, simulation: xr.Dataset, regime: str, together: bool
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return the outputs of all networks of a regime, (M, m, k), and their targets, (m, k)."""
    permutation, A = task(k=k, together=together, width=1, members=1, regime=regime, sample=0).words()
    values = simulation["output"].sel(regime=regime).transpose("sample", "member", "word", "bit").values
    return values.reshape(-1, *values.shape[2:]), permutation.target(A)


def compare(
    task: partial[Task], pairs: dict[int, xr.Dataset], every: dict[int, xr.Dataset], theory: xr.Dataset
) -> xr.Dataset:
    """Average random subsets of networks, and take pulls from the law of infinite width."""
    largest = int(theory["N"][-1])
    sizes = np.unique(np.geomspace(1, largest, 12).round().astype(int))
    shape = (len(pairs), len(REGIMES))
    accuracy, accuracy_error = np.empty((2, *shape, len(sizes)))
    names = ("mean_on", "mean_off", "var", "needed")
    found = {name: np.empty((2, *shape)) for name in names}
    expected = {name: np.empty(shape) for name in names}
    for i, (k, simulation) in enumerate(pairs.items()):
        for j, regime in enumerate(REGIMES):
            F, targets = outputs_of(task, k, simulation, regime, False)
            accuracy[i, j], accuracy_error[i, j] = accuracy_curve(F, targets, sizes)
            moments, law = output_moments(F, targets), theory.sel(pairs=k, regime=LIMITS[regime])
            for name in names[:3]:
                found[name][:, i, j] = getattr(moments, name)
                expected[name][i, j] = law[f"law_{name}"]
            found["needed"][:, i, j] = required_members(F, targets, P)
            expected["needed"][i, j] = law["needed"].sel(k=k)
    together = np.empty((2, len(every), len(TOGETHER)))
    for i, (k, simulation) in enumerate(every.items()):
        for j, regime in enumerate(TOGETHER):
            together[:, i, j] = required_members(*outputs_of(task, k, simulation, regime, True), P, together=True)
    compared = xr.Dataset(
        {
            "accuracy_mean": (("k", "trained", "N"), accuracy, label("fraction of words that N networks have right")),
            "accuracy_error": (("k", "trained", "N"), accuracy_error, label("standard error of accuracy")),
        },
        {"k": list(pairs), "trained": list(REGIMES), "N": sizes, "every": list(every), "regime": list(TOGETHER)},
    )
    results = [(name, ("k", "trained"), found[name], expected[name]) for name in names]
    predicted = theory["together"].sel(every=list(every)).transpose("every", "regime").values
    results.append(("together", ("every", "regime"), together, predicted))
    for name, dims, (values, errors), limit in results:
        compared[f"{name}_mean"] = dims, values, label(f"{name}, measured")
        compared[f"{name}_error"] = dims, errors, label(f"standard error of {name}")
        compared[f"{name}_law"] = dims, limit, label(f"{name} at infinite width")
        pull = xr.DataArray((values - limit) / errors, dims=dims, coords={dim: compared[dim] for dim in dims})
        compared[f"{name}_pull"] = pull.assign_attrs(label(f"{name} less {name}_law over its error"))
        compared = compared.merge(comparison.agreement(name, pull))
    return compared


def draw(out: Path) -> Figure:
    """Draw accuracies against the number of networks, and the numbers needed for one word and for all."""
    figure, axes = plt.subplots(1, 3, figsize=(13.5, 4.6))
    theory, compared = store.read(out, "theory"), store.read(out, "comparison")
    draw_accuracy(axes[0], theory, compared)
    draw_needed(axes[1], theory, compared)
    draw_together(axes[2], theory, compared)
    axes[0].legend(fontsize="x-small", loc="upper left")
    for panel in axes[1:]:
        low, high = panel.get_ylim()
        # Room for the legend.
        panel.set_ylim(low, high * (high / low) ** 0.3)
        panel.legend(fontsize="x-small", loc="upper left", ncols=2)
    return figure


def colour_of(regime: str) -> Any:
    """Return the colour of a regime."""
    return figures.COLOURS[REGIMES.index(regime)]


def draw_accuracy(axes: plt.Axes, theory: xr.Dataset, compared: xr.Dataset) -> None:
    """Draw the fraction of words that N networks have right, for the least and the largest k."""
    ks = sorted({int(compared["k"].min()), int(compared["k"].max())})
    for k, line, fill in zip(ks, ("--", "-"), ("none", "full"), strict=False):
        for regime in TOGETHER:
            curve = theory["success"].sel(pairs=k, regime=regime)
            axes.plot(curve["N"], curve, line, color=colour_of(regime), linewidth=1)
        for regime in REGIMES:
            row = compared.sel(k=k, trained=regime)
            style = figures.POINTS | {"color": colour_of(regime), "marker": MARKERS[regime], "fillstyle": fill}
            axes.errorbar(row["N"], row["accuracy_mean"], row["accuracy_error"], **style)
        axes.plot([], [], line, color="grey", marker="o", markersize=4, fillstyle=fill, label=f"$k = {k}$")
    for regime in REGIMES:
        style = {"color": colour_of(regime), "marker": MARKERS[regime], "markersize": 4, "linestyle": "none"}
        axes.plot([], [], label=LABELS[regime], **style)
    axes.plot([], [], color="grey", linewidth=1, label="theory, infinite width")
    axes.set(xscale="log", xlabel="number $N$ of networks averaged", ylabel="fraction of words with two ones right")
    axes.set_title("(a) exact on one word", fontsize="medium")


def draw_needed(axes: plt.Axes, theory: xr.Dataset, compared: xr.Dataset) -> None:
    """Draw the number of networks needed for a word."""
    theory = theory.sel(k=slice(3, None))
    for regime in TOGETHER:
        needed = theory["needed"].sel(regime=regime)
        axes.plot(needed["k"], needed, color=colour_of(regime), linewidth=1.2, label=f"theory, {LABELS[regime]}")
    guide(axes, theory["needed"].sel(regime="readout"), 0.6, theory["k"] * np.log(theory["k"]), r"$\propto k \ln k$")
    for shift, regime in zip((1.0, 0.98, 1.02), REGIMES, strict=True):
        row = compared.sel(trained=regime)
        style = figures.POINTS | {"color": colour_of(regime), "marker": MARKERS[regime]}
        axes.errorbar(row["k"] * shift, row["needed_mean"], row["needed_error"], label=LABELS[regime], **style)
    axes.plot(list(PUBLISHED), list(PUBLISHED.values()), "kx", markersize=5, label="published code, one run each")
    finish(axes, "networks $N$ needed for 90 % of words")
    axes.set_title("(b) one word of two ones", fontsize="medium")


def draw_together(axes: plt.Axes, theory: xr.Dataset, compared: xr.Dataset) -> None:
    """Draw the number of networks needed for all words at once."""
    exact, theory = theory[["together", "together_error"]], theory.sel(k=slice(3, None))
    for regime in TOGETHER:
        style: dict[str, Any] = {"color": colour_of(regime), "linewidth": 1.2}
        bound, union = (theory[name].sel(regime=regime) for name in ("bound", "union"))
        axes.plot(bound["k"], bound, linestyle=figures.DASHES, **style)
        axes.plot(union["k"], union, **style)
        row = exact.sel(regime=regime)
        axes.plot(row["every"], row["together"], "+", color="black", markersize=9)
        row = compared.sel(regime=regime)
        points = figures.POINTS | {"color": colour_of(regime), "marker": MARKERS[regime]}
        axes.errorbar(row["every"], row["together_mean"], row["together_error"], label=LABELS[regime], **points)
    axes.plot([], [], "+", color="black", markersize=9, label="theory, Monte Carlo")
    axes.plot([], [], color="grey", label="theory, sum over wrong bits")
    axes.plot([], [], color="grey", linestyle=figures.DASHES, label="bound of the theorem")
    guide(axes, theory["bound"].sel(regime="ntk"), 1.6, theory["k"] ** 2, r"$\propto k^2$")
    finish(axes, "networks $N$ needed for all words, probability 0.9")
    axes.set_title(r"(c) all $2^k - 1$ words at once", fontsize="medium")


def guide(axes: plt.Axes, beside: xr.DataArray, factor: float, line: xr.DataArray, text: str) -> None:
    """Draw a power of k beside the upper end of a curve."""
    line = (line * float(factor * beside[-1] / line[-1])).where(line["k"] >= 10)
    axes.plot(line["k"], line, color="grey", linestyle=":", label=text)


def finish(axes: plt.Axes, text: str) -> None:
    """Set scales and labels of a panel over k."""
    axes.set(xscale="log", yscale="log", xlabel="number $k$ of bits", ylabel=text)
    ticks = [3, 5, 10, 20, 30]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xticks([], minor=True)


SCRIPT = Script(
    name="permutations",
    summary="Count the networks whose mean output permutes bits exactly, trained and at infinite width.",
    presets=PRESETS,
    compute=compute,
    draw=draw,
)

if __name__ == "__main__":
    command_line.main(SCRIPT)
