r"""Completion and classification of images with hidden pixels: monotone deep Boltzmann machines beside others.

Grey levels in four bins. A monotone deep Boltzmann machine (arXiv:2307.04990) with margin 0.1, one with -0.8, which
mean field still has a unique solution for, and one whose coupling is made of convolutions; undamped mean field of any
coupling, and of layers, ten steps of which are differentiated one by one; a perceptron from masked pixels; all these
trained alike, with 60 % of the pixels and the label hidden. A restricted Boltzmann machine, trained by persistent
contrastive divergence on whole images and used by mean field. The five nearest images, and the most frequent values.
Each sample has a split of the images of its own and new first parameters; all models share splits and masks. The
monotone ones are promised one solution for every image, whatever is hidden.
"""

import copy
import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from hebbian import validation
from hebbian.data import load_images
from hebbian.nn import CompletionClassificationLoss, MonotoneConvDBM, MonotoneDBM
from hebbian.potts import GroupLayout
from runs import command_line, comparison, figures
from runs.script import Run, Script
from sim import monotone_dbm_baselines as baselines
from sim import monotone_dbm_training as training
from sim import random, store
from sim.training import one_thread, seeded
from theory.monotone_dbm import critical_coupling

LEVELS, HIDDEN, RANK = 4, 60, 300
# Hidden groups of each pixel of half the resolution.
CHANNELS = 5
MARGINS = {"monotone": 0.1, "relaxed": -0.8, "convolutional": 0.1}
# Learning rates: the best of up to five on a split of the training images.
RATES = {
    "monotone": 1e-3,
    "relaxed": 1e-3,
    "convolutional": 1e-2,
    "unconstrained": 5e-3,
    "layered": 5e-3,
    "perceptron": 2e-3,
    "rbm": 2e-3,
}
# Epochs for each epoch of the others: sampling asks for more, products of convolutions take longer.
EPOCHS = {"rbm": 2.0, "convolutional": 0.5}
BATCH = 128
# Of the distance from the solution: in single precision, far above rounding for both margins.
TOL, STEPS = 1e-3, 500
HIDDEN_IN_TRAINING = 0.6
LABELS = {
    "monotone": "monotone DBM, $m = 0.1$",
    "relaxed": "monotone DBM, $m = -0.8$",
    "unconstrained": "any coupling, unrolled",
    "layered": "layered coupling, unrolled",
    "rbm": "RBM, contrastive divergence",
    "perceptron": "perceptron",
    "nearest": "5 nearest images",
    "mode": "most frequent value",
    "convolutional": "convolutional monotone DBM, $m = 0.1$",
}
# Images whose completion is kept and drawn.
DRAWN = 3
MODELS = tuple(LABELS)
SCORES = {
    "label_accuracy": "accuracy of the label",
    "pixel_accuracy": "accuracy of hidden pixels",
    "pixel_cross_entropy": "cross-entropy of hidden pixels",
}
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        "missing": np.array([0.2, 0.4, 0.6, 0.8]),
        "samples": 2,
        "epochs": 5,
        "train": 1437,
        "test": 360,
        "checked": 20,
        "starts": 3,
    },
    "paper": {
        "missing": np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
        "samples": 5,
        "epochs": 60,
        "train": 1437,
        "test": 360,
        "checked": 100,
        "starts": 5,
    },
}


@dataclass(frozen=True)
class Task:
    """One model, trained and tested on one split of the images."""

    source: str
    folder: str | None
    seed: int
    missing: tuple[float, ...]
    epochs: int
    train: int
    test: int
    checked: int
    starts: int
    model: str
    sample: int

    def images(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return grey levels and labels of the images, those for training first."""
        levels, labels = load(self.source, self.folder)
        if self.train + self.test > len(levels):
            raise ValueError(f"train + test = {self.train + self.test}; allowed: up to {len(levels)}, all the images")
        order = random.stream(self.seed, (self.sample,), "patterns").permutation(len(levels))[: self.train + self.test]
        return levels[order], labels[order]

    def hidden(self, missing: float, pixels: int) -> NDArray[np.bool_]:
        """Return which pixels of the test images are hidden."""
        rng = random.stream(self.seed, (self.sample, random.float_bits(missing)), "noise")
        return rng.random((self.test, pixels)) < missing


@lru_cache(maxsize=1)
def load(source: str, folder: str | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return grey levels (n, pixels) in bins, and labels."""
    images = load_images(source, folder=folder)
    levels = np.floor(images.pixels * (LEVELS / (images.white + 1))).astype(np.int64)
    return levels.reshape(len(levels), -1), images.labels.astype(np.int64)


def measure(task: Task) -> xr.Dataset:
    """Train and test one model, and look for the solutions of its mean field."""
    levels, labels = task.images()
    (shown, tested), (known, wanted) = (np.split(array, [task.train]) for array in (levels, labels))
    classes = int(load(task.source, task.folder)[1].max()) + 1
    found: dict[str, Any] = {"unconverged": np.nan, "ambiguous": np.nan, "undamped_failures": np.nan}
    found |= {"lambda_min": np.nan, "lambda_max": np.nan}
    hidden = [task.hidden(missing, levels.shape[1]) for missing in task.missing]
    if task.model == "mode":
        log_p = baselines.mode_log_probabilities(shown, known, LEVELS, classes)
        predicted: list[Any] = [tuple(np.tile(part, (task.test, *[1] * part.ndim)) for part in log_p)] * len(hidden)
    elif task.model == "nearest":
        ask = partial(baselines.nearest_log_probabilities, (shown, known), tested, k=LEVELS, labels=classes)
        predicted = [ask(observed=~where) for where in hidden]
    else:
        with one_thread():
            model, loss, found["unconverged"] = fit(task, shown, known, classes)
            predicted = [training.completion(model, loss, tested, ~where) for where in hidden]
            if task.model != "perceptron":
                found |= solutions(task, model, tested)
    results = [
        training.scores(pixel, of_label, tested, where, wanted)
        for (pixel, of_label), where in zip(predicted, hidden, strict=True)
    ]
    chosen = int(np.argmin(np.abs(np.array(task.missing) - HIDDEN_IN_TRAINING)))
    grey = (np.exp(predicted[chosen][0][:DRAWN]) * np.arange(LEVELS)).sum(-1)
    images = {
        "level": (tested[:DRAWN], "grey level of some test images"),
        "hidden": (hidden[chosen][:DRAWN], f"whether a pixel is hidden, {task.missing[chosen]} of all"),
        "completion": (grey, "mean grey level that is predicted for these pixels"),
    }
    words = SCORES | {"label_cross_entropy": "cross-entropy of the label"}
    data: dict[str, Any] = {
        name: ("missing", [one[name] for one in results], label(text)) for name, text in words.items()
    }
    drawn = {name: (("image", "pixel"), values, label(text)) for name, (values, text) in images.items()}
    return xr.Dataset(
        data | drawn | {name: ((), float(value), label(DETAILS[name])) for name, value in found.items()}
    ).assign_coords(missing=("missing", list(task.missing), label("fraction of missing pixels")))


DETAILS = {
    "unconverged": "minibatches whose solution was not found in time",
    "ambiguous": f"fraction of images with several solutions, {HIDDEN_IN_TRAINING} of the pixels hidden",
    "undamped_failures": "fraction of images on which undamped iteration does not converge",
    "lambda_min": "smallest eigenvalue of the coupling",
    "lambda_max": "largest eigenvalue of the coupling",
}


def fit(task: Task, levels: NDArray[np.int64], labels: NDArray[np.int64], classes: int) -> tuple[Any, Any, float]:
    """Return a trained model, its loss and the number of minibatches that did not converge."""
    name, pixels = task.model, levels.shape[1]
    layers = [(pixels, LEVELS), (HIDDEN, LEVELS), (1, classes)]
    with seeded(task.seed, (MODELS.index(name), task.sample)):
        if name == "convolutional":
            model: Any = convolutional(pixels, classes)
        elif name in MARGINS:
            model = MonotoneDBM(layers, (0, 0, RANK), MARGINS[name], tol=TOL, max_iter=STEPS)
        elif name == "perceptron":
            model = baselines.MaskedPerceptron(pixels, LEVELS, classes)
        elif name == "rbm":
            model = baselines.RestrictedBoltzmann(pixels, LEVELS, classes, 2 * HIDDEN)
        else:
            model = baselines.UnrolledMeanField(GroupLayout(layers), layered=name == "layered")
        tau = 1.0 if name == "rbm" else 10**0.5
        loss = CompletionClassificationLoss(LEVELS, (pixels,), tau, focal_gamma=0.0, balance=0.0)
    options: dict[str, Any] = {"lr": RATES[name], "batch_size": BATCH, "seed": task.seed, "task": (task.sample,)}
    options["epochs"] = max(1, round(task.epochs * EPOCHS.get(name, 1.0)))
    if name == "rbm":
        training.train_by_contrastive_divergence(model, levels, labels, **options)
        return model, loss, np.nan
    records = training.train_monotone_dbm(model, loss, levels, labels, obs_level=1 - HIDDEN_IN_TRAINING, **options)
    return model, loss, records["unconverged"].sum() if name in MARGINS else np.nan


def convolutional(pixels: int, classes: int) -> MonotoneConvDBM:
    """Return a machine of pixels, hidden pixels of half the resolution, and the label, which reads both."""
    side = math.isqrt(pixels)
    if side**2 != pixels or side % 2:
        raise ValueError(f"images have {pixels} pixels; allowed for convolutions: the square of an even number")
    sizes = [(LEVELS, side, side, 1), (CHANNELS * LEVELS, side // 2, side // 2, CHANNELS), (classes, 1)]
    kernels = [[3, 0, 0], [3, 3, 0], [1, 1, 1]]
    return MonotoneConvDBM(sizes, kernels, MARGINS["convolutional"], tol=TOL, max_iter=STEPS)


def solutions(task: Task, model: Any, levels: NDArray[np.int64]) -> dict[str, float]:
    """Look for several solutions of the mean field of some test images."""
    count, pixels = min(task.checked, len(levels)), levels.shape[1]
    x, mask = np.zeros((count, model.layout.size)), np.zeros((count, model.layout.n_groups), dtype=bool)
    x[:, : pixels * LEVELS] = np.eye(LEVELS)[levels[:count]].reshape(count, -1)
    mask[:, :pixels] = ~task.hidden(HIDDEN_IN_TRAINING, pixels)[:count]
    # In double precision, where products of convolutions are symmetric within the tolerance of a coupling.
    precise = copy.deepcopy(model).double()
    coupling, bias = (tensor.detach().numpy() for tensor in (precise.coupling(), precise.bias()))
    found = training.solve_from_starts(
        coupling, bias, model.layout, (mask, x), starts=task.starts, seed=task.seed, task=(task.sample,)
    )
    return {name: found[name] for name in ("ambiguous", "undamped_failures", "lambda_min", "lambda_max")}


def predict(samples: list[int]) -> xr.Dataset:
    """Return the bound on the largest eigenvalue, and whether images can have several solutions where it says so."""
    bound = np.array([1 - MARGINS.get(model, -np.inf) for model in MODELS])
    largest = np.tile(np.where(np.isfinite(bound), bound, np.nan)[:, None], (1, len(samples)))
    return xr.Dataset(
        {
            "lambda_max": (("model", "sample"), largest, label("bound on the largest eigenvalue of the coupling")),
            "ambiguous": (
                ("model", "sample"),
                np.where(largest < critical_coupling(), 0.0, np.nan),
                label("fraction of images with several solutions, where it is known"),
            ),
        },
        {"model": list(MODELS), "sample": samples},
    )


def label(long_name: str) -> dict[str, str]:
    """Return the attributes of a dimensionless variable."""
    return {"long_name": long_name, "units": "1"}


def compute(run: Run) -> None:
    """Predict what is promised, train and test all models, and compare."""
    preset, options = run.preset, run.settings.options
    missing = validation.axis("grid missing", preset["missing"], minimum=0.0, maximum=1.0)
    numbers: dict[str, Any] = {name: int(preset[name]) for name in ("epochs", "train", "test", "checked", "starts")}
    task = partial(Task, options["data"], options["folder"], run.seed, tuple(missing.tolist()), **numbers)
    task(model="mode", sample=0).images()
    samples = list(range(preset["samples"]))
    theory = run.keep("theory", partial(predict, samples))
    simulation = run.tabulate(measure, {"model": MODELS, "sample": samples}, "simulation", argument=task)
    run.conclude("comparison", partial(compare, simulation, theory))


def compare(simulation: xr.Dataset, theory: xr.Dataset) -> xr.Dataset:
    """Average over samples, take differences from the monotone machine on the same samples, and check promises."""
    compared = xr.Dataset()
    for name in (*SCORES, "label_cross_entropy", *DETAILS):
        less = simulation[name] - simulation[name].sel(model="monotone", drop=True)
        text = simulation[name].attrs["long_name"]
        for of, values, words in (
            (name, simulation[name], text),
            (f"{name}_difference", less, f"{text}, less that of the monotone machine"),
        ):
            mean, error = comparison.sample_statistics(
                values.rename(of).to_dataset().assign(completed=simulation["completed"]), of
            )
            compared[f"{of}_mean"] = mean.assign_attrs(label(f"{words}, mean over samples"))
            compared[f"{of}_error"] = error.assign_attrs(label(f"standard error of {of}"))
    promised = theory["ambiguous"].notnull()
    broken = (simulation["ambiguous"] > theory["ambiguous"]) | (simulation["lambda_max"] > theory["lambda_max"] + 1e-6)
    compared["promised"] = promised.sum("sample").assign_attrs(label("samples promised one solution for every image"))
    compared["broken"] = (
        (promised & broken).sum("sample").assign_attrs(label("samples of which that or the bound does not hold"))
    )
    return compared


def report(out: Path) -> Iterator[str]:
    """Yield the scores with the pixels hidden that were hidden in training, and how many solutions there were."""
    compared = store.read(out, "comparison")
    at = compared.sel(missing=HIDDEN_IN_TRAINING, method="nearest")
    yield f"{float(at['missing']):.0%} of the pixels hidden: mean(standard error) over samples"
    names = {**SCORES, "label_cross_entropy": "", "ambiguous": "", "undamped_failures": "", "lambda_min": ""}
    yield " | ".join(["model", *names])
    for model in compared["model"].values:
        of = at.sel(model=model)
        cells = [f"{float(of[f'{name}_mean']):.3f}({float(of[f'{name}_error']):.3f})" for name in names]
        yield " | ".join([str(model), *cells])
    yield (
        f"{int(compared['promised'].sum())} trained machines are promised one solution for every image; "
        f"of {int(compared['broken'].sum())} that does not hold"
    )


def draw(out: Path) -> Figure:
    """Draw the scores against the fraction of missing pixels, and some completions."""
    figure = plt.figure(figsize=(13, 8.6))
    parts: Any = figure.subfigures(2, 1, height_ratios=(5.2, 3.4))
    draw_scores(parts[0], store.read(out, "comparison").sortby("missing"))
    draw_completions(parts[1], store.read(out, "simulation").isel(sample=0))
    return figure


def draw_scores(figure: SubFigure, compared: xr.Dataset) -> None:
    """Draw a panel for each score."""
    axes = figure.subplots(1, 3)
    colours = (*figures.COLOURS, "grey", "#999933")
    for name, panel, title in zip(SCORES, axes, "abc", strict=True):
        for model, colour, marker in zip(LABELS, colours, "osDv^P*xh", strict=True):
            at = compared.sel(model=model)
            style = figures.POINTS | {"color": colour, "marker": marker, "label": LABELS[model]}
            panel.errorbar(
                at["missing"],
                at[f"{name}_mean"],
                at[f"{name}_error"],
                fillstyle="full" if model in MARGINS else "none",
                **style | {"linestyle": ":"},
                linewidth=0.8,
            )
        panel.axvline(HIDDEN_IN_TRAINING, color="grey", linewidth=0.8, linestyle="--")
        panel.set(xlabel="fraction $f$ of missing pixels", ylabel=SCORES[name])
        panel.set_title(f"({title}) {SCORES[name]}", fontsize="medium")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize="small")


def draw_completions(figure: SubFigure, measured: xr.Dataset) -> None:
    """Draw some test images, what is shown of them, and what the models make of that."""
    side = math.isqrt(measured.sizes["pixel"])
    axes = figure.subplots(measured.sizes["image"], 2 + len(LABELS), squeeze=False)
    first = measured.isel(model=0)
    whole, hidden = first["level"].values, first["hidden"].values.astype(bool)
    columns = {"image": whole, "shown": np.where(hidden, np.nan, whole)}
    for model, text in LABELS.items():
        completion = measured["completion"].sel(model=model).values
        columns[text] = np.where(hidden, completion, whole)
    colours = plt.get_cmap("gray_r").with_extremes(bad="#56B4E9")
    for column, (text, images) in zip(axes.T, columns.items(), strict=True):
        column[0].set_title(textwrap.fill(text, 14), fontsize="x-small")
        for panel, image in zip(column, images, strict=True):
            panel.imshow(image.reshape(side, side), cmap=colours, vmin=0, vmax=LEVELS - 1)
            panel.set(xticks=[], yticks=[])
    figure.suptitle(
        f"(d) test images, {HIDDEN_IN_TRAINING:.0%} of the pixels hidden (blue), completed", fontsize="medium"
    )


SCRIPT = Script(
    name="monotone_dbm_digits",
    summary="Complete and classify images with hidden pixels: monotone deep Boltzmann machines beside others.",
    presets=PRESETS,
    compute=compute,
    draw=draw,
    report=report,
    options={
        "data": ("digits", "Data set: digits, mnist, fashion-mnist, ..."),
        "folder": (None, "Folder of its files; left out: HEBBIAN_DATA."),
    },
)

if __name__ == "__main__":
    command_line.main(SCRIPT)
