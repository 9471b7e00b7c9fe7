r"""Gradients and training of deep tanh networks on digits, from weights of different variance.

Before training, the mean squared gradient of the loss by preactivations grows from layer to layer, backwards, by the
susceptibility chi_perp of the effective theory (arXiv:2106.10165): ordered networks forget their input, and gradients
vanish; in chaotic ones they explode; at criticality both go as a power of the layer. All networks are then trained by
stochastic gradient descent at one learning rate. Needs PyTorch.
"""

import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hebbian.data import load_images
from runs import command_line, comparison, figures
from runs.script import Run, Script
from sim import random, store
from theory.effective_theory import kernel_flow, susceptibilities

# Weights of variance C_W over the inputs of a layer; the default of PyTorch has biases of variance 1/(3n) as well.
STARTS = {"ordered": 0.5, "critical": 1.0, "chaotic": 3.0, "pytorch": 1 / 3}
RATE = 0.05
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {"samples": 8, "layers": 20, "n": 64, "epochs": 10, "images": 1200},
    "paper": {"samples": 5, "layers": 20, "n": 64, "epochs": 50, "images": 1200},
}


def measure(preset: Mapping[str, Any], point: Mapping[str, Any]) -> xr.Dataset:
    """Train one network on digits, whose images are scaled to one length."""
    from sim.effective_theory.gradients import train_classifier
    from sim.training import one_thread

    images, count = load_images("digits"), int(preset["images"])
    X = images.pixels.reshape(len(images.pixels), -1).astype(np.float64)
    X *= math.sqrt(X.shape[1]) / np.linalg.norm(X, axis=1, keepdims=True)
    labels = images.labels.astype(int)
    options: dict[str, Any] = {name: int(preset[name]) for name in ("epochs", "n")}
    options |= {"L": int(preset["layers"]), "rate": RATE, "C_W": point["C_W"], "C_b": point["C_b"]}
    address = random.float_bits(point["C_W"]), point["sample"]
    data = X[:count], labels[:count], X[count:], labels[count:]
    with one_thread():
        trained = train_classifier(*data, seed=point["seed"], address=address, **options)
    variables = {
        "loss": ("step", trained.loss, label("cross-entropy of training inputs")),
        "accuracy": ("step", trained.accuracy, label("accuracy on test inputs")),
    }
    return by_layer(trained.gradient / trained.gradient[-1]).assign(variables).assign_coords(step=trained.steps)


def by_layer(gradient: Any) -> xr.Dataset:
    """Return gradients along layers, numbered from 1."""
    words = label("squared gradient by preactivations over that of the last layer")
    return xr.Dataset({"gradient": ("layer", gradient, words)}, {"layer": np.arange(1, len(gradient) + 1)})


def label(long_name: str) -> dict[str, str]:
    """Return the attributes of a dimensionless variable."""
    return {"long_name": long_name, "units": "1"}


def predict(layers: int, C_W: float, C_b: float) -> xr.Dataset:
    """Return the growth of gradients from the last layer to each before it."""
    K = kernel_flow("tanh", layers, C_W, C_b, C_W + C_b)[:-1]
    chi = susceptibilities("tanh", K, C_W)[1]
    return by_layer(np.append(np.cumprod(chi[::-1])[::-1], 1.0))


def compute(run: Run) -> None:
    """Train, predict and compare from all variances."""
    preset, samples = run.preset, range(run.preset["samples"])
    for start, C_W in STARTS.items():
        law = {"C_W": C_W, "C_b": 1 / (3 * int(preset["n"])) if start == "pytorch" else 0.0}
        theory = run.keep(f"theory/{start}", partial(predict, int(preset["layers"]), **law))
        argument: Any = partial(dict, **law, seed=run.seed)
        simulation = run.tabulate(
            partial(measure, preset), {"sample": samples}, f"simulation/{start}", argument=argument
        )
        run.conclude(f"comparison/{start}", partial(compare, simulation, theory))


def compare(simulation: xr.Dataset, theory: xr.Dataset) -> xr.Dataset:
    """Compare gradients with those of infinite width, and average what was learned."""
    compared = comparison.compare(simulation, theory, ["gradient"], where=False)
    for name in ("loss", "accuracy"):
        mean, error = comparison.sample_statistics(simulation, name)
        text = simulation[name].attrs["long_name"]
        compared[f"{name}_mean"] = mean.assign_attrs(label(f"{text}, mean over samples"))
        compared[f"{name}_error"] = error.assign_attrs(label(f"standard error of {name}"))
    return compared


def report(out: Path) -> Iterator[str]:
    """Yield the gradient of the first layer and what the networks learned."""
    for start in STARTS:
        compared, theory = (store.read(out, f"{room}/{start}") for room in ("comparison", "theory"))
        first, last = compared.isel(layer=0), compared.isel(step=-1)
        yield (
            f"{start}: squared gradient of the first layer {float(first['gradient_mean']):.2g} +- "
            f"{float(first['gradient_error']):.1g}, theory {float(theory['gradient'][0]):.2g}; accuracy "
            f"{float(last['accuracy_mean']):.3f} +- {float(last['accuracy_error']):.3f} after {int(last['step'])} steps"
        )


def draw(out: Path) -> Figure:
    """Draw the gradients of all layers before training, and the accuracy during it."""
    figure, (gradients, learned) = plt.subplots(1, 2, figsize=(11, 4.3))
    for (start, C_W), colour, marker in zip(STARTS.items(), figures.COLOURS, "osDv", strict=False):
        compared, theory = (store.read(out, f"{room}/{start}") for room in ("comparison", "theory"))
        style = figures.POINTS | {"color": colour, "marker": marker, "label": f"{start}, $C_W = {C_W:.3g}$"}
        gradients.errorbar(compared["layer"], compared["gradient_mean"], compared["gradient_error"], **style)
        gradients.plot(theory["layer"], theory["gradient"], color=colour, linewidth=1)
        style |= {"linestyle": "-", "linewidth": 0.8, "markersize": 3}
        learned.errorbar(compared["step"], compared["accuracy_mean"], compared["accuracy_error"], **style)
    words = r"$|\partial_{z^{(l)}} \mathcal{L}|^2 / |\partial_{z^{(L)}} \mathcal{L}|^2$"
    gradients.set(xlabel="layer $l$", ylabel=f"squared gradient {words}", yscale="log")
    gradients.set_title(r"(a) before training; lines: $\prod \chi_\perp$", fontsize="medium")
    gradients.xaxis.set_major_locator(MaxNLocator(integer=True))
    gradients.legend(fontsize="small")
    learned.set(xlabel="step of training", ylabel="accuracy on test images", ylim=(0, 1))
    learned.set_title("(b) during training", fontsize="medium")
    return figure


SCRIPT = Script(
    name="effective_theory_training",
    summary="Follow gradients and training of deep networks on digits from ordered, critical and chaotic weights.",
    presets=PRESETS,
    compute=compute,
    draw=draw,
    report=report,
)

if __name__ == "__main__":
    command_line.main(SCRIPT)
