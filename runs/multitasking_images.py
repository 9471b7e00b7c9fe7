r"""Real images retrieved several at once by one state of a multitasking network.

Four images lie in the windows of a canvas twice as high and twice as wide as they are, and each is blank outside of its
window: patterns of dilution d = 3/4. Neighbouring windows have a fraction f of their sites in common, from f = 0 (the
images tile the canvas) to f = 1 (all of them in its middle). Overlaps are those of an image on its own window, m/(1-d),
and temperatures are in units of the critical one of disjoint images, 1 - d. All runs start from the hierarchical state,
in which each site follows the first image that is not blank there: at f = 0, from all images at once.

``temperature``: disjoint images, stored or learned. ``fraction``: windows slide over each other at low temperature, and
the images compete for the common sites; overlaps are level at first, then two images that face each other across the
middle lead, then one does. ``examples``: examples that supervised and unsupervised training need; both are given the
same ones, and need as many, but from four poor ones a network without a teacher retrieves some rather than their mean.
``pictures``: cues, and the states that the network makes of them. Shown one image, it finds the others too:
disjoint ones by themselves, so that each can as well be its negative.

Each point is compared with the mean-field equations of the very same archetypes and examples, sample by sample. They
are for many spins: each pixel is a block of spins, and beyond `RESOLVED`, close to the critical temperature, no
comparison is made. Where several states are near, a sample now and then ends in another one than the equations.

Disjoint images do not interact: whatever their correlations and however much of them is white, a change of variables
makes them random patterns. Where windows meet, both matter: images that agree on common sites share them, those that
do not push each other to negative overlaps. Each pixel is cut at its median over the data set, and the border that
hardly changes is cropped. Two of the default digits then have an overlap of 0.04 on average but of 0.23 in rms, and
46 % of an image is white, give or take 8 %. Random images, without all this, are in the file and in the figure too.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from matplotlib.ticker import StrMethodFormatter
from numpy.typing import NDArray

from hebbian import MultitaskingHebbian, QuenchedSample, patterns, validation
from hebbian.data import binarise, load_images
from runs import command_line, comparison, figures, script
from runs.dense_images import RETRIEVED, threshold
from runs.script import Run, Script
from sim import random, simulate, store
from sim.glauber.front import initial_spins
from theory.replica_symmetric.given_patterns import solve_given

GRID = (2, 2)
K = GRID[0] * GRID[1]
DILUTION = 1 - 1 / K
TRAININGS = ("storing", "supervised", "unsupervised")
# In units of the critical temperature.
COLD, RESOLVED = 0.2, 0.85
QUALITY, EXAMPLES = 0.5, 10
# Lines are drawn through these temperatures too, where the predicted overlap bends.
BEND = np.array([0.94, 0.975, 1.03])
TEMPERATURES = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.1, 1.2])
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        "spins": 3000,
        "samples": 10,
        "sweeps": 20,
        "T": TEMPERATURES,
        "f": np.array([0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16]) / 16,
        "M": np.array([1, 3, 4, 8, 16, 32, 64]),
        "r": np.array([0.3, 0.5, 0.8]),
    },
    "paper": {
        "spins": 12_000,
        "samples": 64,
        "sweeps": 100,
        "T": TEMPERATURES,
        "f": np.linspace(0, 1, 17),
        "M": np.array([1, 3, 4, 5, 6, 8, 11, 16, 23, 32, 45, 64]),
        "r": np.array([0.3, 0.5, 0.8]),
    },
}
Points = Mapping[str, Sequence[Any]]


def windows(size: tuple[int, int], f: float) -> NDArray[np.int64]:
    """Return the first row and column of each window of a canvas of windows of a size, shape (K, 2)."""
    step = np.rint((1 - f) * np.array(size)).astype(int)
    corner = (np.array(GRID) - 1) * (np.array(size) - step) // 2
    return corner + np.array(list(np.ndindex(GRID))) * step


def place(images: NDArray[np.int8], f: float) -> NDArray[np.int8]:
    """Return each image in its window and blank elsewhere, shape (K, height, width) of the canvas."""
    height, width = images.shape[1:]
    canvas = np.zeros((K, GRID[0] * height, GRID[1] * width), dtype=np.int8)
    for layer, image, (top, left) in zip(canvas, images, windows((height, width), f), strict=True):
        layer[top : top + height, left : left + width] = image
    return canvas


@dataclass(frozen=True)
class Task:
    """One quenched sample of images in windows with a fraction f in common, at temperatures in units of 1 - d."""

    model: MultitaskingHebbian
    images: NDArray[np.int8]
    f: float
    T: NDArray[np.float64]
    bend: NDArray[np.float64]
    sweeps: int
    seed: int
    sample: int

    @property
    def address(self) -> tuple[int, ...]:
        """Address of its random streams: not a word of the training, both see the same examples and free sites."""
        learning = (random.float_bits(self.model.quality or 0.0), self.model.examples or 0)
        return (random.float_bits(self.f), *learning, self.sample)

    @property
    def streams(self) -> dict[str, Any]:
        """Arguments that lead a simulation to its random streams."""
        return {"seed": self.seed, "task": self.address, "replicas": 1}

    def quench(self) -> tuple[QuenchedSample, NDArray[np.int8]]:
        """Draw the sample and its initial spins."""
        xi = place(self.images, self.f).reshape(K, -1)
        rng = random.stream(self.seed, self.address, "patterns")
        examples = None
        if self.model.training != "storing":
            examples = patterns.examples(xi, self.model.quality or 1.0, self.model.examples or 1, rng=rng)
        sample = self.model.quench(rng=rng, archetypes=xi, examples=examples)
        return sample, initial_spins(sample, "hierarchical", **self.streams)[0]


def retrieve(task: Task) -> xr.Dataset:
    """Measure the overlaps m/(1-d) along (T, pattern)."""
    sample, start = task.quench()
    measured = simulate(
        sample,
        T=task.T * (1 - DILUTION),
        sweeps=task.sweeps,
        equilibration=2 * task.sweeps,
        initial=start,
        overlaps="all",
        scan="random",
        **task.streams,
    )
    return dataset(task.T, measured["m_all"].values[:, 0] / (1 - DILUTION))


def predict_given(task: Task) -> xr.Dataset:
    """Predict the overlaps m/(1-d) along (T, pattern) from the very sample and initial spins that are measured."""
    sample, start = task.quench()
    T = lines(task.T, task.bend)
    return dataset(T, predict(sample, T * (1 - DILUTION), start, apart=task.f == 0))


def dataset(T: NDArray[np.float64], m: NDArray[np.float64]) -> xr.Dataset:
    """Return overlaps (T, pattern) as a dataset."""
    attributes = {"long_name": "overlap with an image on its own window, m/(1-d)", "units": "1"}
    axis = ("T", T, {"long_name": "temperature", "units": "1 - d"})
    return xr.Dataset({"m": (("T", "pattern"), m, attributes)}, {"T": axis})


def predict(
    sample: QuenchedSample, T: NDArray[np.float64], start: NDArray[np.int8], *, apart: bool
) -> NDArray[np.float64]:
    """Return the overlaps m/(1-d) that the mean-field equations lead to from `start`, shape (T, K).

    Images that are `apart`, without common sites, are networks of their own. Unsupervised examples count as patterns,
    each with its weight: their mean alone does not know that a network may prefer some of them to others.
    """
    xi, rows = sample.xi, sample.rows * (sample.scale * np.sqrt(sample.weight))
    N, copies = xi.shape[1], len(rows) // K
    overlaps = []
    for members in np.split(np.arange(K), K if apart else 1):
        sites = np.flatnonzero(xi[members].any(axis=0))
        archetypes = xi[np.ix_(members, sites)].repeat(copies, axis=0)
        learned = rows.reshape(K, copies, N)[members][:, :, sites].reshape(archetypes.shape)
        # Overlaps per site of these only: fields are that much greater.
        part = solve_given(archetypes, T=T * N / len(sites), initial=start[sites], learned=learned)
        m = part["m"].where(part["converged"]).values[:, ::copies]
        overlaps.append(m * len(sites) / N / (1 - DILUTION))
    return np.concatenate(overlaps, axis=1)


def lines(T: NDArray[np.float64], bend: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the temperatures of a prediction: those measured, and those where it bends."""
    return np.union1d(T, bend)


class Data:
    """Binarised images, cropped and magnified to windows of some number of spins, and the tasks made of them."""

    def __init__(self, source: str, folder: Path | None, seed: int, preset: Mapping[str, Any]) -> None:
        # The test images of a published data set are enough.
        images = load_images(source, split="all" if source == "digits" else "test", folder=folder)
        pixels = binarise(images).reshape(images.pixels.shape)
        varied = np.nonzero(abs(pixels.mean(axis=0)) < 0.5)
        if len(pixels) < K or not varied[0].size:
            raise ValueError(
                f"data = {source!r} has {len(pixels)} images with {varied[0].size} pixels that differ between them; "
                f"allowed: at least {K} images that are not all alike"
            )
        rows, columns = (slice(sites.min(), sites.max() + 1) for sites in varied)
        self.pixels, self.seed, self.preset = pixels[:, rows, columns], seed, preset
        self.block = int(np.ceil(np.sqrt(preset["spins"] / self.pixels[0].size)))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a window."""
        height, width = self.pixels.shape[1:]
        return height * self.block, width * self.block

    def correlations(self) -> tuple[float, float]:
        """Return mean and root-mean-square of the overlap of two different images."""
        flat = self.pixels.reshape(len(self.pixels), -1).astype(np.float64)
        overlaps = (flat @ flat.T / flat.shape[1])[np.triu_indices(len(flat), 1)]
        return float(overlaps.mean()), float(np.sqrt(np.mean(overlaps**2)))

    def summary(self) -> xr.Dataset:
        """Return what there is to know about the images."""
        mean, rms = self.correlations()
        values = {
            "N": (K * self.size[0] * self.size[1], "number of spins"),
            "spins_per_pixel": (self.block**2, "spins in the block of a pixel"),
            "mean_overlap_of_images": (mean, "overlap of two images, mean over pairs"),
            "rms_overlap_of_images": (rms, "overlap of two images, root mean square over pairs"),
        }
        return xr.Dataset(
            {name: ((), value, {"long_name": words, "units": "1"}) for name, (value, words) in values.items()}
        )

    def experiments(self) -> dict[str, Points]:
        """Return the axes of each experiment."""
        preset = self.preset
        sample: Any = np.arange(preset["samples"])
        return {
            "temperature": {"training": TRAININGS, "sample": sample},
            "fraction": {"archetypes": ("images", "random"), "f": preset["f"], "sample": sample},
            "examples": {"training": TRAININGS[1:], "r": preset["r"], "M": preset["M"], "sample": sample},
        }

    def images(self, sample: int, archetypes: str = "images") -> NDArray[np.int8]:
        """Return the images of a sample, or random ones of the same size: shape (K, height, width)."""
        rng = random.stream(self.seed, (sample,), "patterns")
        if archetypes == "random":
            return patterns.archetypes(K, self.size[0] * self.size[1], rng=rng).reshape(K, *self.size)
        return self.magnify(self.pixels[rng.permutation(len(self.pixels))[:K]])

    def magnify(self, pixels: NDArray[np.int8]) -> NDArray[np.int8]:
        """Return images whose pixels are blocks of spins."""
        return pixels.repeat(self.block, axis=1).repeat(self.block, axis=2)

    def task(
        self,
        sample: int,
        archetypes: str = "images",
        training: str = "storing",
        f: float = 0.0,
        r: float = QUALITY,
        M: int = EXAMPLES,
        sweep_T: bool = False,
    ) -> Task:
        """Return the task of one point of an experiment."""
        learning: dict[str, Any] = {} if training == "storing" else {"quality": float(r), "examples": int(M)}
        N = K * self.size[0] * self.size[1]
        model = MultitaskingHebbian(N=N, K=K, dilution=DILUTION, training=training, **learning)
        T, bend = (self.preset["T"], BEND) if sweep_T else (np.array([COLD]), np.empty(0))
        images = self.images(sample, archetypes)
        return Task(model, images, float(f), T, bend, self.preset["sweeps"], self.seed, sample)


def compare(name: str, simulation: xr.Dataset, theory: xr.Dataset) -> xr.Dataset:
    """Compare an experiment with its prediction.

    ``temperature``: each image, up to `RESOLVED`. ``fraction``: the images of each sample in the order of their
    predicted overlaps and times the predicted sign, since which image leads depends on the sample. ``examples``: the
    mean of the images, and M where it crosses `RETRIEVED`.
    """
    if name == "temperature":
        return comparison.compare(simulation, theory, names=("m",), where=simulation["T"] <= RESOLVED)
    if name == "fraction":
        rank = xr.DataArray(np.arange(1, K + 1), dims="rank", name="rank")
        order = (-abs(theory["m"])).argsort(axis=theory["m"].get_axis_num("pattern")).rename(pattern="rank")
        sign = np.sign(theory["m"])
        measured, predicted = (
            (values * sign).isel(pattern=order).assign_coords(rank=rank) for values in (simulation, theory)
        )
        return comparison.compare(measured, predicted, names=("m",))
    measured, predicted = (with_threshold(values.mean("pattern")) for values in (simulation, theory))
    return comparison.compare(measured, predicted, names=("m", "threshold"))


def with_threshold(m: xr.Dataset) -> xr.Dataset:
    """Add the number of examples at which each sample is retrieved."""
    find = partial(xr.apply_ufunc, threshold, input_core_dims=[["M"], ["M"]], vectorize=True)
    ascending = m["m"].sortby("M")
    words = {"long_name": f"examples that an overlap of {RETRIEVED} takes", "units": "1"}
    return m.assign(threshold=find(ascending, ascending["M"]).assign_attrs(words))


def difference(measured: xr.Dataset) -> xr.Dataset:
    """Compare supervised with unsupervised training on the same examples, as if one predicted the other."""
    means = with_threshold(measured.mean("pattern"))
    supervised, unsupervised = (means.sel(training=training, drop=True) for training in TRAININGS[1:])
    return comparison.compare(supervised, unsupervised, names=("m", "threshold"))


def compute(run: Run) -> None:
    """Run, predict and compare every experiment on a data set."""
    check(run.preset)
    folder = run.settings.options["folder"]
    data = Data(run.settings.options["data"], None if folder is None else Path(folder), run.seed, run.preset)
    run.keep("images", data.summary)
    for name, axes in data.experiments().items():
        task = partial(data.task, sweep_T=name == "temperature")
        # All tasks are needed: whether they are completed does not matter any more.
        simulation, theory = (
            run.tabulate(function, axes, f"{group}/{name}", argument=task).drop_vars("completed")
            for group, function in (("simulation", retrieve), ("theory", predict_given))
        )
        run.conclude(f"comparison/{name}", partial(compare, name, simulation, theory))
        if name == "examples":
            run.conclude("comparison/trainings", partial(difference, simulation))
    run.keep("simulation/pictures", lambda: pictures(data))


def check(preset: Mapping[str, Any]) -> None:
    """Raise TypeError or ValueError unless a preset describes networks."""
    validation.integer("spins", preset["spins"], minimum=1)
    validation.axis("T", preset["T"], minimum=0.0)
    validation.axis("f", preset["f"], minimum=0.0, maximum=1.0)
    validation.axis("r", preset["r"], above=0.0, maximum=1.0)
    validation.axis("M", preset["M"], minimum=1)


# Title: fraction in common, initial spins, part of them reversed.
CUES = {
    "cue, $f = 0$: all images,\n30 % of the sites reversed": (0.0, "parallel", 0.3),
    "cue, $f = 0$: one image,\nother sites at random": (0.0, "pure", 0.0),
    "cue, $f = 0.5$: first in front,\n30 % of the sites reversed": (0.5, "hierarchical", 0.3),
}


def pictures(data: Data) -> xr.Dataset:
    """Return each cue of the first images of the data set and the state it ends in, with their overlaps."""
    rows = []
    for title, (f, initial, corruption) in CUES.items():
        task = data.task(0, f=f)
        archetypes = place(data.magnify(data.pixels[:K]), f)
        xi = archetypes.reshape(K, -1)
        sample = task.model.quench(rng=random.stream(task.seed, task.address, "patterns"), archetypes=xi)
        cue = initial_spins(sample, initial, corruption=corruption, **task.streams)[0]
        run = simulate(
            sample, T=COLD * (1 - DILUTION), sweeps=2 * task.sweeps, initial=cue, configurations=True, **task.streams
        )
        for name, spins in ((title, cue), ("where it ends:\none state of the network", run["spins"].values[0, -1, 0])):
            # 0 where no image is: those spins are free.
            shown = np.where((xi != 0).any(axis=0), spins, 0).reshape(archetypes.shape[1:])
            m = sample.archetype_overlap(spins) / (1 - DILUTION)
            rows.append({"title": name, "f": f, "spins": shown, "m": m})
    dims = {"title": (), "f": (), "spins": ("row", "column"), "m": ("pattern",)}
    return xr.Dataset({name: (("picture", *dims[name]), np.array([row[name] for row in rows])) for name in dims})


FILLS = {"storing": "full", "supervised": "full", "unsupervised": "none"}
LINES = {"storing": "-", "supervised": "-", "unsupervised": "--"}
POINTS = figures.POINTS | {"markersize": 3.5, "elinewidth": 0.8, "markeredgewidth": 0.8}
# Points that would hide each other stand side by side: in T, and in powers of M.
DODGE = 0.014


def draw(out: Path) -> Figure:
    """Draw measured overlaps as points over predicted lines, and under them the pictures."""
    figure = plt.figure(figsize=(12, 8.3))
    upper, lower = figure.subfigures(2, 1, height_ratios=(4.4, 3.8), squeeze=False)[:, 0]
    panels = upper.subplots(1, 3, sharey=True)
    for panel, draw_experiment in zip(panels, (draw_temperature, draw_fraction, draw_examples), strict=True):
        draw_experiment(panel, out)
        panel.set_ylim(-0.05, 1.05)
    panels[0].set_ylabel(r"overlap on its own window $m_\mu/(1-d)$")
    draw_pictures(lower, store.read(out, "simulation/pictures"))
    return figure


def draw_temperature(axes: plt.Axes, out: Path) -> None:
    """Draw the overlaps of all images, side by side, against temperature."""
    compared = store.read(out, "comparison/temperature")
    theory = store.read(out, "theory/temperature").mean(["sample", "pattern"])
    for colour, training in zip(figures.COLOURS, TRAININGS, strict=False):
        style: dict[str, Any] = {"color": colour, "fillstyle": FILLS[training]}
        line = theory.sel(training=training)
        axes.plot(line["T"], line["m"], LINES[training], color=colour, linewidth=1)
        for mu in range(K):
            at = compared.sel(training=training).isel(pattern=mu)
            shift = DODGE * (mu - (K - 1) / 2)
            axes.errorbar(at["T"] + shift, at["m_mean"], at["m_error"], **POINTS | style)
        axes.plot([], [], f"o{LINES[training]}", markersize=4, linewidth=1, label=training, **style)
    axes.axvline(RESOLVED, color="grey", linestyle=":", linewidth=1)
    axes.annotate("finite size", (RESOLVED, 1), (4, 0), textcoords="offset points", color="grey", fontsize="small")
    axes.set_xlabel("temperature $T/(1-d)$")
    axes.set_title(f"(a) {K} disjoint images, retrieved at once", fontsize="medium")
    legend = axes.legend(fontsize="small", loc="lower left", title=f"learning: $r = {QUALITY}$, $M = {EXAMPLES}$")
    legend.get_title().set_fontsize("small")


def draw_fraction(axes: plt.Axes, out: Path) -> None:
    """Draw the overlaps of images, the largest first, against the fraction of sites in common."""
    compared = store.read(out, "comparison/fraction").squeeze("T").sortby("f")
    predicted = compared["m_mean"] - compared["m_residual"]
    at = compared.sel(archetypes="images")
    for colour, rank in zip(figures.COLOURS, compared["rank"].values, strict=False):
        for archetypes, line in (("images", "-"), ("random", ":")):
            axes.plot(at["f"], predicted.sel(archetypes=archetypes, rank=rank), line, color=colour, linewidth=1)
        ranked = at.sel(rank=rank)
        label = {1: "largest overlap", K: "smallest"}.get(int(rank), f"rank {rank}")
        axes.errorbar(at["f"], ranked["m_mean"], ranked["m_error"], color=colour, label=label, **POINTS)
    axes.plot([], [], ":", color="black", linewidth=1, label="random images")
    axes.set_xlabel("fraction of common sites $f$")
    axes.set_title(f"(b) windows in common, stored, $T = {COLD}(1-d)$", fontsize="medium")
    axes.legend(fontsize="small", loc="lower left")


def draw_examples(axes: plt.Axes, out: Path) -> None:
    """Draw the mean overlap of disjoint images against the number of examples."""
    compared = store.read(out, "comparison/examples").squeeze("T")
    theory = store.read(out, "theory/examples").mean(["sample", "pattern"]).squeeze("T").sortby("M")
    qualities = np.sort(compared["r"].values)
    for colour, r in zip(figures.colours(len(qualities)), qualities, strict=True):
        for training in TRAININGS[1:]:
            at, predicted = compared.sel(training=training, r=r), theory.sel(training=training, r=r)
            shift = 1 + DODGE * (4 if training == "unsupervised" else -4)
            axes.plot(predicted["M"], predicted["m"], LINES[training], color=colour, linewidth=1)
            style: dict[str, Any] = {"color": colour, "fillstyle": FILLS[training]}
            axes.errorbar(at["M"] * shift, at["m_mean"], at["m_error"], **POINTS | style)
        axes.plot([], [], "o-", color=colour, markersize=4, linewidth=1, label=f"$r = {r:g}$")
    for training in TRAININGS[1:]:
        style = {"color": "black", "fillstyle": FILLS[training]}
        axes.plot([], [], f"o{LINES[training]}", markersize=4, linewidth=1, label=training, **style)
    axes.axhline(RETRIEVED, color="grey", linestyle=":", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_xlabel("examples per image $M$")
    axes.set_title(f"(c) {K} disjoint images learned, $T = {COLD}(1-d)$", fontsize="medium")
    axes.legend(fontsize="small", loc="lower right")


def draw_pictures(figure: SubFigure, shown: xr.Dataset) -> None:
    """Draw cues and final states in their windows, each window in a colour, with the overlaps of its image."""
    figure.suptitle(
        "(d) cues, and what a network that stores the images makes of them; grey: free spins, numbers: overlaps",
        fontsize="medium",
    )
    height, width = shown.sizes["row"] // GRID[0], shown.sizes["column"] // GRID[1]
    panels = figure.subplots(2, shown.sizes["picture"], height_ratios=(6, 1))
    for i, (panel, numbers) in enumerate(panels.T):
        picture = shown.isel(picture=i)
        panel.imshow(picture["spins"], cmap="gray", vmin=-1, vmax=1)
        corners = windows((height, width), picture["f"].item())
        for mu, (row, column) in enumerate(np.ndindex(GRID)):
            colour, (top, left) = figures.COLOURS[mu], corners[mu]
            frame = Rectangle((left - 0.5, top - 0.5), width, height, fill=False, color=colour, linewidth=2)
            panel.add_patch(frame).set_clip_on(False)
            at, m = ((column + 0.5) / GRID[1], 1 - (row + 0.5) / GRID[0]), picture["m"].values[mu]
            # Adding zero takes the sign from one that is rounded to zero.
            numbers.text(*at, f"{round(m, 2) + 0.0:.2f}", color=colour, ha="center", va="center")
        panel.set_title(picture["title"].item(), fontsize="small")
        panel.set_axis_off()
        numbers.set_axis_off()


def report(out: Path) -> Iterator[str]:
    """Yield how the measured overlaps agree with the predicted ones and with each other, and the thresholds."""
    yield from script.report(out)
    examples = store.read(out, "comparison/examples").squeeze("T")
    for r in np.sort(examples["r"].values):
        at = examples.sel(r=r)
        found = ", ".join(
            f"{training} {at['threshold_mean'].sel(training=training).item():.2f}"
            f" +- {at['threshold_error'].sel(training=training).item():.2f}"
            for training in TRAININGS[1:]
        )
        yield f"examples that an overlap of {RETRIEVED} takes at r = {r:g}: {found}"


SCRIPT = Script(
    name="multitasking_images",
    summary="Retrieve four real images at once, disjoint or with sites in common, stored or learned.",
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
