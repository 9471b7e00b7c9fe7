r"""Kernels of infinite width against trained networks on images of digits: learning curves.

Networks with one hidden layer of erf units in the NTK parametrisation are trained by gradient descent on half the sum
of squared errors. Single ones, and the mean output of several, are compared with the law of infinite width after as
many steps. In the end its mean is ridgeless regression, with all layers trained by the tangent kernel (Jacot et al.
2018), with the readout alone by the NNGP kernel (Lee et al. 2018); to its variance single networks owe most of their
errors. Regression is also done by the kernels of other activations and depths.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hebbian.data import load_images
from runs import command_line, comparison, figures
from runs.kernels import NETWORK, label, specification
from runs.script import Run, Script
from sim import random, store
from sim.ensembles import TRAINED, train_ensemble
from sim.training import one_thread
from theory.kernels import descent, mlp_kernel

Array = NDArray[np.float64]

# Random outputs of single networks that theory draws for an image.
DRAWS = 400
ACTIVATIONS, DEPTHS = ("relu", "erf", "gelu"), (1, 3, 10)
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {"images": np.array([10, 32, 100]), "test": 797, "width": 512, "members": 4, "steps": 300, "samples": 4},
    "paper": {
        "images": np.array([10, 32, 100, 316, 1000]),
        "test": 797,
        "width": 1024,
        "members": 4,
        "steps": 500,
        "samples": 5,
    },
}
KERNELS = {"all": "ntk", "readout": "nngp"}
LABELS = {"all": "all layers trained, tangent kernel", "readout": "readout alone trained, NNGP kernel"}
CURVES = {
    "single": "single network, infinite width",
    "together": "mean of networks, infinite width",
    "regression": "mean of all networks: ridgeless regression",
}
LINES = (figures.DASHES, (0, (1, 1)), "-")
TICKS = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)


@dataclass(frozen=True)
class Digits:
    """Some networks that learn the first of the images of a sample."""

    source: str
    folder: str | None
    seed: int
    most: int
    test: int
    width: int
    members: int
    steps: int
    images: int
    trained: str
    sample: int

    def data(self) -> tuple[Array, Array, Array, NDArray[np.int64]]:
        """Return inputs and targets for training, and inputs and labels for the test."""
        pixels, labels = load(self.source, self.folder)
        if self.most + self.test > len(labels):
            raise ValueError(f"images + test = {self.most + self.test}; allowed: up to {len(labels)}, all the images")
        order = random.stream(self.seed, (self.sample,), "patterns").permutation(len(labels))
        shown, tested = order[: self.images], order[self.most : self.most + self.test]
        X = normalised(pixels, pixels[shown])
        return X[shown], np.eye(labels.max() + 1)[labels[shown]] - 0.1, X[tested], labels[tested]


@lru_cache(maxsize=1)
def load(source: str, folder: str | None) -> tuple[Array, NDArray[np.int64]]:
    """Return grey levels (n, pixels) and labels."""
    # The test images of a published data set are enough.
    images = load_images(source, split="all" if source == "digits" else "test", folder=folder)
    return images.pixels.reshape(len(images.labels), -1).astype(np.float64), images.labels.astype(np.int64)


def normalised(pixels: Array, shown: Array) -> Array:
    """Return images less the mean of those that are shown, with a mean square of 1."""
    centred = pixels - shown.mean(0)
    return centred / np.sqrt((centred**2).mean(1, keepdims=True))


def wrong(outputs: NDArray[Any], labels: NDArray[np.int64]) -> Any:
    """Return the fraction of images whose largest output is not that of their label."""
    return (outputs.argmax(-1) != labels).mean(-1)


def largest(kernel: Array) -> float:
    """Return the largest eigenvalue of a kernel of infinite width, one over which is the rate of training."""
    return float(np.linalg.eigvalsh(kernel)[-1])


def measure(task: Digits) -> xr.Dataset:
    """Train networks on images and test them, one by one and together."""
    X, Y, tests, labels = task.data()
    spec = NETWORK | {"d_in": X.shape[1], "widths": [task.width], "d_out": Y.shape[1]}
    address = (task.images, TRAINED.index(task.trained), task.sample)
    kernel = KERNELS[task.trained]
    rate = 1 / largest(getattr(mlp_kernel(X, **specification(X.shape[1], 1), get=kernel), kernel))
    options: dict[str, Any] = {"steps": task.steps, "lr": rate, "drift": False, "trained": task.trained}
    with one_thread():
        made = train_ensemble(spec, X, Y, tests, task.members, seed=task.seed, address=address, **options)
    outputs = made.outputs[:, -1].astype(np.float64)
    return xr.Dataset(
        {
            "single": ((), wrong(outputs, labels).mean(), label("fraction of images that single networks have wrong")),
            "together": ((), wrong(outputs.mean(0), labels), label("the same of the mean output of the networks")),
            "residual": ((), float(made.residual.max()), label("largest error of a training output at the end")),
            "loss": ((), float(made.loss[:, -1].mean()), label("half the sum of squared errors at the end")),
        }
    )


def predict(task: partial[Digits], images: list[int], samples: list[int]) -> xr.Dataset:
    """Return the fractions of images that regression, single networks and several together have wrong."""
    found = np.empty((3, len(images), len(TRAINED), len(samples)))
    for i, n in enumerate(images):
        for s, sample in enumerate(samples):
            some = task(images=n, trained="all", sample=sample)
            X, Y, tests, labels = some.data()
            spec = specification(X.shape[1], 1)
            own, across = mlp_kernel(X, **spec), mlp_kernel(tests, X, **spec)
            variance = mlp_kernel(tests, **spec, diag_only=True).nngp
            rng = random.stream(some.seed, (n, sample), "noise")
            normal = rng.normal(size=(DRAWS, len(tests), Y.shape[1]))
            for j, name in enumerate(KERNELS.values()):
                kernels = getattr(own, name), getattr(across, name), own.nngp, across.nngp, variance
                law = descent(*kernels, Y, step=1 / largest(kernels[0]), n_steps=some.steps)
                noise = np.sqrt(np.maximum(law.cov, 0))[:, None] * normal
                found[0, i, j, s] = wrong(regression(kernels[0], kernels[1], Y), labels)
                found[1, i, j, s] = wrong(law.mean + noise, labels).mean()
                found[2, i, j, s] = wrong(law.mean + noise / some.members**0.5, labels).mean()
    words = {
        "regression": "fraction of images that ridgeless regression has wrong",
        "single": "fraction of images that single networks of infinite width have wrong",
        "together": "the same of the mean output of as many networks as were trained",
    }
    dims = ("images", "trained", "sample")
    variables = {name: (dims, values, label(text)) for (name, text), values in zip(words.items(), found, strict=True)}
    return xr.Dataset(variables, {"images": images, "trained": list(TRAINED), "sample": samples})


def regression(own: Array, across: Array, Y: Array) -> Array:
    """Return the outputs of ridgeless regression by a kernel."""
    return across @ np.linalg.solve(own, Y)


def predict_regression(task: partial[Digits], images: int, samples: list[int]) -> xr.Dataset:
    """Return the fractions of images that regression by kernels of other activations and depths has wrong."""
    found = np.empty((len(ACTIVATIONS), len(DEPTHS), len(TRAINED), len(samples)))
    for s, sample in enumerate(samples):
        X, Y, tests, labels = task(images=images, trained="all", sample=sample).data()
        for i, act in enumerate(ACTIVATIONS):
            for j, depth in enumerate(DEPTHS):
                spec = NETWORK | {"act": act, "depth": depth}
                own, across = mlp_kernel(X, **spec), mlp_kernel(tests, X, **spec)
                for k, name in enumerate(KERNELS.values()):
                    found[i, j, k, s] = wrong(regression(getattr(own, name), getattr(across, name), Y), labels)
    words = label("fraction of images that ridgeless regression has wrong")
    axes = {"act": list(ACTIVATIONS), "depth": list(DEPTHS), "trained": list(TRAINED), "sample": samples}
    return xr.Dataset({"regression": (tuple(axes), found, words)}, axes)


def compute(run: Run) -> None:
    """Predict, measure and compare."""
    preset, options = run.preset, run.settings.options
    images, samples = [int(n) for n in preset["images"]], list(range(preset["samples"]))
    test, width, members, steps = (int(preset[name]) for name in ("test", "width", "members", "steps"))
    task = partial(Digits, options["data"], options["folder"], run.seed, max(images), test, width, members, steps)
    theory = run.keep("theory/curves", partial(predict, task, images, samples))
    run.keep("theory/regression", partial(predict_regression, task, max(images), samples))
    axes: dict[str, Any] = {"images": images, "trained": TRAINED, "sample": samples}
    simulation = run.tabulate(measure, axes, "simulation/curves", argument=task)
    run.conclude("comparison/curves", partial(compare, simulation, theory))


def compare(simulation: xr.Dataset, theory: xr.Dataset) -> xr.Dataset:
    """Average over samples, and take differences from infinite width sample by sample."""
    compared = comparison.compare(simulation, theory, ["single", "together"])
    for name in ("regression", "single", "together"):
        compared[f"{name}_law"] = theory[name].mean("sample").assign_attrs(theory[name].attrs)
    return compared


def report(out: Path) -> Iterator[str]:
    """Yield the fractions of images that are wrong, at the largest number of training images."""
    compared = store.read(out, "comparison/curves").sortby("images").isel(images=-1)
    for trained in TRAINED:
        row = compared.sel(trained=trained)
        parts = [
            f"{name} {float(row[f'{name}_mean']):.4f}({float(row[f'{name}_error']):.4f}), infinite width "
            f"{float(row[f'{name}_law']):.4f}"
            for name in ("single", "together")
        ]
        parts.append(f"regression {float(row['regression_law']):.4f}")
        yield f"{trained}, {int(row['images'])} images: {'; '.join(parts)}"
    mean, error = comparison.sample_statistics(store.read(out, "theory/regression"), "regression")
    for act in mean["act"].values:
        for trained, kernel in KERNELS.items():
            pairs = [(depth, mean.sel(act=act, depth=depth, trained=trained)) for depth in mean["depth"].values]
            texts = [f"{float(value):.4f}({float(error.sel(value.coords)):.4f}) at depth {d}" for d, value in pairs]
            yield f"regression, {act}, {kernel}: {', '.join(texts)}"


def draw(out: Path) -> Figure:
    """Draw learning curves, with all layers trained and with the readout alone, and regression by other kernels."""
    figure, axes = plt.subplots(1, 3, figsize=(14.5, 4.6), width_ratios=(1, 1, 0.8))
    axes[1].sharey(axes[0])
    compared = store.read(out, "comparison/curves").sortby("images")
    draw_regression(axes[2], store.read(out, "theory/regression"), int(compared["images"][-1]))
    for panel, letter, trained in zip(axes[:2], "ab", TRAINED, strict=True):
        row = compared.sel(trained=trained)
        for (name, text), colour, line, marker in zip(CURVES.items(), figures.COLOURS, LINES, "os^", strict=False):
            panel.plot(row["images"], row[f"{name}_law"], linestyle=line, color=colour, linewidth=1.2, label=text)
            if name != "regression":
                style = figures.POINTS | {"color": colour, "marker": marker, "label": f"trained, {text.split(',')[0]}"}
                panel.errorbar(row["images"], row[f"{name}_mean"], row[f"{name}_error"], **style)
        ticks = row["images"].values
        panel.set(xscale="log", yscale="log", xlabel="number $N$ of training images")
        panel.set_xticks(ticks, [str(n) for n in ticks])
        panel.set_xticks([], minor=True)
        panel.set_title(f"({letter}) {LABELS[trained]}", fontsize="medium")
        panel.legend(fontsize="x-small", loc="lower left")
    shown = [fraction for fraction in TICKS if axes[0].get_ylim()[0] <= fraction <= axes[0].get_ylim()[1]]
    axes[0].set_yticks(shown, [f"{fraction:g}" for fraction in shown])
    axes[0].set_yticks([], minor=True)
    axes[0].set_ylabel("fraction of test images wrong")
    return figure


def draw_regression(panel: plt.Axes, theory: xr.Dataset, images: int) -> None:
    """Draw the errors of regression by the kernels of several activations against their depth."""
    mean, error = comparison.sample_statistics(theory, "regression")
    for place, (act, colour, marker) in enumerate(zip(ACTIVATIONS, figures.COLOURS, "os^", strict=False)):
        for shift, (trained, kernel), line in zip((-1, 1), KERNELS.items(), ("-", figures.DASHES), strict=True):
            at = mean.sel(act=act, trained=trained), error.sel(act=act, trained=trained)
            places = np.arange(len(DEPTHS)) + 0.08 * (place - 1) + 0.03 * shift
            style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 4, "linewidth": 1, "capsize": 2}
            panel.errorbar(places, *at, linestyle=line, label=f"{act}, {kernel.upper()}", **style)
    panel.set(xlabel="hidden layers", ylabel="fraction of test images wrong")
    panel.set_xticks(range(len(DEPTHS)), [str(depth) for depth in DEPTHS])
    low, high = panel.get_ylim()
    panel.set_ylim(low, high + 0.4 * (high - low))
    panel.set_title(f"(c) ridgeless regression, $N = {images}$", fontsize="medium")
    panel.legend(fontsize="x-small", loc="upper left", ncols=2)


SCRIPT = Script(
    name="kernels_digits",
    summary="Compare networks trained on images of digits with regression by kernels of infinite width.",
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
