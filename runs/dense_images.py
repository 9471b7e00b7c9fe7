r"""Archetypes retrieved from noisy real images: P = 2, 4, 6; storing, supervised and unsupervised training.

A network is shown a cue, an archetype with a tenth of its sites reversed, and follows its dynamics at T = 0.
All orders see the same archetypes, examples and cues. Four experiments:

``storing``: K images are stored as they are. ``examples``, ``quality``: 4 images, as many as every order
can store, are learned from M examples of quality r. ``classes``: the archetypes are those of the
classes, the examples real images. The points of the figure are where the dynamics ends; the lines predict its
first step for *random* archetypes (`theory.signal_to_noise`). The file compares them with that step as measured.

The papers (arXiv:2111.12997, 2211.14067, 2212.00606) claim that a higher order stores more and detects weaker
signals, and needs more data to get there. `docs/validation.md` says how much of that was found.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hebbian import DenseHebbian, validation
from hebbian.data import binarise, class_archetypes, class_examples, empirical_quality, load_images
from runs import command_line, comparison, figures, script
from runs.script import Run, Script
from sim import random, simulate, store
from sim.glauber.front import initial_spins
from theory import signal_to_noise

ORDERS = (2, 4, 6)
TRAININGS = ("storing", "supervised", "unsupervised")
LEARNED, QUALITY, EXAMPLES = 4, 0.3, 100
REVERSED = 0.1
SWEEPS = 30
RETRIEVED = 0.9
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        "samples": 16,
        "K": 4 * 2 ** np.arange(9),
        "M": np.array([1, 3, 10, 30, 100, 300, 1000, 3000]),
        "r": np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0]),
    },
    "paper": {
        "samples": 100,
        "K": np.geomspace(4, 1448, 18).round().astype(int),
        "M": np.geomspace(1, 5500, 18).round().astype(int),
        "r": np.linspace(0.05, 1.0, 20),
    },
}
Points = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Task:
    """One quenched sample, probed by cues of its first few archetypes."""

    model: DenseHebbian
    seed: int
    sample: int
    probes: int
    archetypes: NDArray[np.int8] | None
    examples: NDArray[np.int8] | None


def retrieve(task: Task) -> NDArray[np.int8]:
    """Return cue, first synchronous step and end of the dynamics, times the archetype: (stage, probe, site)."""
    model = task.model
    # Not a word of the order P: all orders see the same data and cues.
    address = (model.K or 0, model.examples or 0, random.float_bits(model.quality or 0.0), task.sample)
    rng = random.stream(task.seed, address, "patterns")
    sample = model.quench(rng=rng, archetypes=task.archetypes, examples=task.examples)
    xi = sample.xi[: task.probes]
    streams: dict[str, Any] = {"replicas": len(xi), "seed": task.seed, "task": address}
    cue = initial_spins(sample, xi, corruption=REVERSED, pattern=0, **streams)
    run = partial(simulate, sample, T=0.0, initial=cue, sweeps=1, configurations=True, **streams)
    step, final = run(scan="synchronous"), run(equilibration=SWEEPS)
    return xi * np.stack([cue, step["spins"].values[0, 0], final["spins"].values[0, 0]])


def measure(task: Task) -> xr.Dataset:
    """Return the magnetisation m of cue, first step and end for each cue: (stage, probe)."""
    attributes = {"long_name": "Mattis magnetisation of the archetype of the cue", "units": "1"}
    m = (("stage", "probe"), retrieve(task).mean(axis=-1), attributes)
    return xr.Dataset({"m": m}, {"stage": ["cue", "step", "final"]})


class Data:
    """Binarised images without the sites that most of them share, and the tasks made of them."""

    def __init__(self, source: str, folder: Path | None, seed: int) -> None:
        # The test images of a published data set are enough.
        images = load_images(source, split="all" if source == "digits" else "test", folder=folder)
        patterns = binarise(images)
        self.sites = abs(patterns.mean(axis=0)) < 0.5
        self.patterns, self.labels = patterns[:, self.sites], images.labels
        self.shape, self.seed = images.pixels.shape[1:], seed
        self.class_archetypes = class_archetypes(self.patterns, self.labels)[1]

    def experiments(self, preset: Mapping[str, Any]) -> dict[str, Points]:
        """Return the axes of each experiment, within what the images allow.

        Raises
        ------
        ValueError
            If a value is out of range, or more images are to be stored than there are.
        """
        samples = validation.integer("samples", preset["samples"], minimum=1)
        validation.axis("grid K", preset["K"], minimum=LEARNED)
        validation.axis("grid M", preset["M"], minimum=1)
        validation.axis("grid r", preset["r"], above=0, maximum=1)
        stored = preset["K"][preset["K"] <= len(self.patterns)]
        if not stored.size:
            raise ValueError(f"grid K = {preset['K'].tolist()} has no value up to {len(self.patterns)}, all the images")
        # Of the smallest class; if that is too small for all numbers asked for, as many as it has.
        largest = np.unique(self.labels, return_counts=True)[1].min()
        shown = preset["M"][preset["M"] <= largest]
        kinds, sample = ("images", "random"), list(range(samples))
        learning: Points = {"P": ORDERS, "training": TRAININGS}
        return {
            "storing": {"archetypes": kinds, "P": ORDERS, "K": stored, "sample": sample},
            "examples": {"archetypes": kinds, **learning, "M": preset["M"], "sample": sample},
            "quality": {"archetypes": kinds, **learning, "r": preset["r"], "sample": sample},
            "classes": {
                "archetypes": ("classes",),
                **learning,
                "M": shown.tolist() or [int(largest)],
                "sample": sample,
            },
        }

    def task(
        self,
        archetypes: str,
        P: int,
        sample: int = 0,
        training: str = "storing",
        K: int = LEARNED,
        M: int = EXAMPLES,
        r: float = QUALITY,
    ) -> Task:
        """Return the task of one point of an experiment."""
        xi, examples = None, None
        rng = random.stream(self.seed, (K, M, sample), "patterns")
        if archetypes == "images":
            # Not of M: the same images for any number of examples.
            xi = self.patterns[random.stream(self.seed, (K, sample), "patterns").permutation(len(self.patterns))[:K]]
        elif archetypes == "classes":
            xi, K = self.class_archetypes, len(self.class_archetypes)
            if training != "storing":
                examples = class_examples(self.patterns, self.labels, M, rng=rng)
                # A normaliser: at T = 0 it changes nothing.
                r = empirical_quality(xi, examples)
        learned: dict[str, Any] = {} if training == "storing" else {"quality": float(r), "examples": int(M)}
        model = DenseHebbian(N=self.patterns.shape[1], P=P, K=int(K), training=training, **learned)
        return Task(model, self.seed, sample, K if archetypes == "classes" else LEARNED, xi, examples)


def predict(data: Data, axes: Points) -> xr.Dataset:
    """Predict the first step on the axes that a random network depends on."""
    axes = {name: list(axis) for name, axis in axes.items() if name not in ("archetypes", "sample")}
    N = data.patterns.shape[1]
    cue = 1 - 2 * round(REVERSED * N) / N
    points = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    m = [signal_to_noise.first_step(data.task("random", **point).model, m=cue) for point in points]
    attributes = {"long_name": "magnetisation after one step, random archetypes", "units": "1"}
    return xr.Dataset({"m": (tuple(axes), np.reshape(m, [len(axis) for axis in axes.values()]), attributes)}, axes)


def threshold(m: NDArray[np.float64], axis: NDArray[np.float64]) -> float:
    """Return where m crosses `RETRIEVED`, for good if it rises, at first if it falls; NaN if it does not."""
    above = m >= RETRIEVED
    crossings = np.flatnonzero(above[1:] != above[:-1])
    if not crossings.size:
        return np.nan
    i = crossings[0 if above[0] else -1]
    return float(axis[i] * (axis[i + 1] / axis[i]) ** ((RETRIEVED - m[i]) / (m[i + 1] - m[i])))


def compare(simulation: xr.Dataset, theory: xr.Dataset | None) -> xr.Dataset:
    """Average over samples; find the thresholds with jackknife errors; compare the first step with its prediction."""
    (axis,) = {"K", "M", "r"} & set(simulation.dims)
    averaged = simulation[["m"]].mean("probe").sortby(axis)
    mean, error = (values.sel(stage="final", drop=True) for values in comparison.sample_statistics(averaged, "m"))
    m, count = averaged["m"].sel(stage="final", drop=True), averaged.sizes["sample"]
    find = partial(xr.apply_ufunc, threshold, input_core_dims=[[axis], [axis]], vectorize=True)
    without = find((m.sum("sample") - m) / (count - 1), m[axis])
    variables = {
        "final_mean": (mean, "magnetisation at the end, mean over samples"),
        "final_error": (error, "standard error of final_mean"),
        "threshold": (find(mean, m[axis]), f"{axis} where final_mean crosses {RETRIEVED}"),
        "threshold_error": (without.std("sample", skipna=False) * np.sqrt(count - 1), "jackknife error of threshold"),
        "cue": (averaged["m"].sel(stage="cue", drop=True).mean(), "magnetisation of the cue"),
    }
    compared = xr.Dataset(
        {name: variable.assign_attrs(long_name=words) for name, (variable, words) in variables.items()}
    )
    if theory is None:
        return compared
    step = comparison.compare(averaged.sel(stage="step", archetypes="random", drop=True), theory, names=("m",))
    return compared.merge(step.rename({name: str(name).replace("m_", "step_", 1) for name in step.data_vars}))


def compute(run: Run) -> None:
    """Run every experiment on a data set, and predict the first steps of those with random archetypes."""
    source, folder = run.settings.options["data"], run.settings.options["folder"]
    data = Data(source, None if folder is None else Path(folder), run.seed)
    experiments = data.experiments(run.preset)
    run.keep("simulation/pictures", lambda: pictures(data, M=max(experiments["classes"]["M"])))
    for name, axes in experiments.items():
        theory = None if name == "classes" else run.keep(f"theory/{name}", partial(predict, data, axes))
        simulation = run.tabulate(measure, axes, f"simulation/{name}", argument=data.task)
        run.conclude(f"comparison/{name}", partial(compare, simulation, theory))


def pictures(data: Data, M: int) -> xr.Dataset:
    """Return the first class of sample 0 as images: archetype, example, cue, and what each order makes of it."""
    tasks = [data.task("classes", P, training="supervised", M=M) for P in ORDERS]
    xi = data.class_archetypes[0]
    spins = [xi * retrieve(task)[:, 0] for task in tasks]
    rows = [xi, np.asarray(tasks[0].examples)[0, 0], spins[0][0], *(of_order[2] for of_order in spins)]
    # 0 at the sites left out.
    images = np.zeros((len(rows), data.sites.size), dtype=np.int8)
    images[:, data.sites] = rows
    titles = ["class archetype", f"one of {M} examples", "cue", *(f"$P = {P}$" for P in ORDERS)]
    m = [row @ xi.astype(float) / len(xi) for row in rows]
    dims = ("picture", "row", "column")
    return xr.Dataset(
        {"spins": (dims, images.reshape(-1, *data.shape)), "m": ("picture", m)}, coords={"picture": titles}
    )


FILLS = {"supervised": "full", "unsupervised": "none", "images": "full", "random": "none"}
LINES = {"supervised": "-", "unsupervised": "--", "random": "-"}
# The orders often coincide: lower ones are larger and lie below.
MARKERS = {2: ("o", 7.0, 2.4), 4: ("s", 5.5, 1.6), 6: ("^", 4.5, 0.9)}
LABELS = {"K": "number of stored patterns $K$", "M": "examples per archetype $M$", "r": "quality of the examples $r$"}
TITLES = {
    "storing": "(a) storing $K$ patterns",
    "examples": f"(b) learning {LEARNED} images, $r = {QUALITY}$",
    "quality": f"(c) learning {LEARNED} images, $M = {EXAMPLES}$",
    "classes": "(d) learning the classes from real images",
}


def draw(out: Path) -> Figure:
    """Draw the four experiments of a results file over the predicted first steps, and the images of one class."""
    figure = plt.figure(figsize=(10, 9.6))
    upper, lower = figure.subfigures(2, 1, height_ratios=(5, 1), squeeze=False)[:, 0]
    for panel, (name, title) in zip(upper.subplots(2, 2, sharey=True).flat, TITLES.items(), strict=True):
        theory = None if name == "classes" else store.read(out, f"theory/{name}")
        draw_experiment(panel, store.read(out, f"comparison/{name}"), theory)
        panel.set_title(title, fontsize="medium")
    shown = store.read(out, "simulation/pictures")
    for panel, name in zip(lower.subplots(1, shown.sizes["picture"]), shown["picture"].values, strict=True):
        picture = shown.sel(picture=name)
        panel.imshow(picture["spins"], cmap="gray", vmin=-1, vmax=1)
        panel.set_title(f"{name}\n$m = {picture['m'].item():.2f}$", fontsize="small")
        panel.set_axis_off()
    lower.suptitle(
        "(e) the first class, the first sample: what each order, supervised, makes of the cue", fontsize="medium"
    )
    return figure


def draw_experiment(axes: plt.Axes, compared: xr.Dataset, theory: xr.Dataset | None) -> None:
    """Draw measured ends of the dynamics as points and predicted first steps as lines."""
    (axis,) = {"K", "M", "r"} & set(compared.dims)
    theory = None if theory is None else theory.sortby(axis)
    kinds = "training" if "training" in compared.dims else "archetypes"
    compared = compared.isel(archetypes=0) if kinds == "training" else compared
    drawn = [str(kind) for kind in compared[kinds].values if kind != "storing"]
    for colour, P in zip(figures.COLOURS, ORDERS, strict=False):
        marker, size, width = MARKERS[P]
        style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": size, "linestyle": "none"}
        for kind in drawn:
            at = compared.sel({"P": P, kinds: kind})
            axes.errorbar(at[axis], at["final_mean"], at["final_error"], fillstyle=FILLS[kind], **style)
            if theory is not None and kind in LINES:
                predicted = theory.sel({"P": P, "training": kind} if kinds == "training" else {"P": P})
                axes.plot(predicted[axis], predicted["m"], LINES[kind], color=colour, linewidth=width)
        axes.plot([], [], label=f"$P = {P}$", **style)
        if axis == "M":
            # Stored once and for all: beside the numbers of examples.
            at = compared.sel(P=P, training="storing").isel(M=-1)
            axes.errorbar(
                3 * at["M"], at["final_mean"], at["final_error"], **style | {"marker": "*", "markersize": 2 * size}
            )
    for kind in drawn:
        line = LINES.get(kind, "") if theory is not None else ""
        label = f"{kind} (line: first step, theory)" if line else kind
        axes.plot([], [], "o" + line, color="black", fillstyle=FILLS[kind], markersize=4, linewidth=1, label=label)
    if axis == "M":
        axes.plot([], [], "*", color="black", label="storing (no examples)")
    axes.axhline(compared["cue"].item(), color="grey", linestyle=":", linewidth=1, label="cue")
    axes.set(xlabel=LABELS[axis], ylabel="magnetisation $m$", ylim=(-0.05, 1.05))
    axes.set_xscale("linear" if axis == "r" else "log")
    if theory is None:
        axes.legend(fontsize="x-small", loc="lower left", ncols=2)
    else:
        axes.legend(fontsize="x-small")


def report(out: Path) -> Iterator[str]:
    """Yield how first steps agree with the theory, and the thresholds that lie on the axis of their experiment."""
    yield from script.report(out)
    for name in store.groups(out, "comparison"):
        compared = store.read(out, f"comparison/{name}")
        table = compared[["threshold", "threshold_error"]].to_dataframe().dropna()
        if not table.empty:
            yield f"{name}: {compared['threshold'].long_name}"
            yield table.to_string(float_format="{:.3g}".format)


SCRIPT = Script(
    name="dense_images",
    summary="Retrieve archetypes from noisy real images: P = 2, 4, 6; storing, supervised, unsupervised.",
    presets=PRESETS,
    compute=compute,
    draw=draw,
    report=report,
    options={
        "data": ("digits", "Data set: digits, mnist, fashion-mnist, emnist-letters, ..."),
        "folder": (None, "Folder of its files; left out: HEBBIAN_DATA."),
    },
)

if __name__ == "__main__":
    command_line.main(SCRIPT)
