r"""Kernels of infinite width against networks of finite width: the law of outputs in training, and tangent kernels.

Networks of erf units in the NTK parametrisation learn a function on a circle by gradient descent on half the sum of
squared errors. Mean and variance of the outputs of many are compared with those of gradient flow at infinite width, at
five times (Lee et al. 2019). The tangent kernel of random networks departs from its limit as the root of one over the
width.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hebbian.nn import NTKMLP
from runs import command_line, comparison, figures
from runs.script import Run, Script
from sim import random, store
from sim.empirical_kernel import empirical_ntk
from sim.ensembles import train_ensemble
from sim.training import one_thread
from theory.kernels import flow, mlp_kernel

Array = NDArray[np.float64]

NETWORK: dict[str, Any] = {"act": "erf", "cw": 2.0, "cb": 0.1}
# Angles of the training inputs on the circle, and of the others.
TRAINED_ANGLES, ANGLES = np.array([-2.4, -1.2, -0.2, 0.9, 2.0]), np.linspace(-np.pi, np.pi, 41)
# The time of gradient flow is the rate times steps; steps this small follow it to 0.01.
RATE, STEPS = 0.01, (0, 10, 50, 250, 1000)
DRAWN = (0, 2, 4)
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        "law": {"width": np.array([64, 256, 1024]), "members": 20, "samples": 10},
        "kernel": {"width": np.array([64, 128, 256, 512, 1024]), "depth": (1, 3), "samples": 20},
    },
    "paper": {
        "law": {"width": np.array([64, 256, 1024]), "members": 50, "samples": 20},
        "kernel": {"width": np.array([64, 128, 256, 512, 1024, 2048]), "depth": (1, 3), "samples": 50},
    },
}


@dataclass(frozen=True)
class Circle:
    """Some networks that learn a function on a circle."""

    seed: int
    members: int
    width: int
    sample: int


@dataclass(frozen=True)
class Tangent:
    """A random network, whose tangent kernel is measured on the circle."""

    seed: int
    depth: int
    width: int
    sample: int


def on_circle(angles: Array) -> Array:
    """Return inputs (n, 2)."""
    return np.stack([np.cos(angles), np.sin(angles)], 1)


def target(angles: Array) -> Array:
    """Return the function that is learned on the circle, (n, 1)."""
    return (np.sin(angles) + 0.5 * np.cos(2 * angles))[:, None]


def specification(d: int, depth: int) -> dict[str, Any]:
    """Return what `mlp_kernel` takes for the infinite width of the networks."""
    return NTKMLP(d, [1] * depth, **NETWORK).kernel_spec()


def label(long_name: str, units: str = "1") -> dict[str, str]:
    """Return the attributes of a variable."""
    return {"long_name": long_name, "units": units}


def measure_law(task: Circle) -> xr.Dataset:
    """Train networks on the circle and keep their outputs."""
    spec = NETWORK | {"d_in": 2, "widths": [task.width], "d_out": 1}
    inputs = on_circle(TRAINED_ANGLES), target(TRAINED_ANGLES), on_circle(ANGLES)
    options: dict[str, Any] = {"steps": STEPS[-1], "record_at": STEPS, "lr": RATE}
    with one_thread():
        made = train_ensemble(spec, *inputs, task.members, seed=task.seed, address=(task.width, task.sample), **options)
    return xr.Dataset(
        {
            "output": (("member", "time", "angle"), made.outputs[..., 0], label("output of a network")),
            "drift": (("member", "time"), made.drift, label("relative change of the tangent kernel")),
        }
    ).assign_coords(circle_axes())


def circle_axes() -> dict[str, Any]:
    """Return the coordinates of outputs on the circle."""
    return {
        "time": ("time", RATE * np.array(STEPS), label("time of gradient flow")),
        "angle": ("angle", ANGLES, label("angle of the input", "radian")),
    }


def measure_kernel(task: Tangent) -> xr.Dataset:
    """Measure the tangent kernel of a random network."""
    X = on_circle(ANGLES[1:])
    model = NTKMLP(2, [task.width] * task.depth, **NETWORK, dtype=torch.float64)
    model.reset_parameters([random.stream(task.seed, (task.depth, task.width, task.sample), "initial")])
    with one_thread():
        kernel = empirical_ntk(model, torch.tensor(X)).numpy()
    return xr.Dataset({"kernel": (("angle", "other"), kernel, label("tangent kernel of a network"))})


def predict_law() -> xr.Dataset:
    """Return mean and variance of outputs on the circle under gradient flow."""
    X, tests, spec = on_circle(TRAINED_ANGLES), on_circle(ANGLES), specification(2, 1)
    own, across = mlp_kernel(X, **spec), mlp_kernel(tests, X, **spec)
    variance = mlp_kernel(tests, **spec, diag_only=True).nngp
    y, times = target(TRAINED_ANGLES)[:, 0], RATE * np.array(STEPS)
    law = flow(own.ntk, across.ntk, own.nngp, across.nngp, variance, y, times)
    return xr.Dataset(
        {
            "mean": (("time", "angle"), law.mean, label("mean output at infinite width")),
            "variance": (("time", "angle"), law.cov, label("variance of an output at infinite width")),
        },
        circle_axes(),
    )


def predict_kernel(depths: list[int]) -> xr.Dataset:
    """Return the tangent kernels of infinite width on the circle."""
    kernels = [mlp_kernel(on_circle(ANGLES[1:]), **specification(2, depth)).ntk for depth in depths]
    return xr.Dataset(
        {"kernel": (("depth", "angle", "other"), np.array(kernels), label("tangent kernel at infinite width"))},
        {"depth": depths},
    )


def compute(run: Run) -> None:
    """Predict, measure and compare."""
    preset, depths = run.preset, [int(depth) for depth in run.preset["kernel"]["depth"]]
    law = run.keep("theory/law", predict_law)
    kernel = run.keep("theory/kernel", partial(predict_kernel, depths))
    circle = partial(Circle, run.seed, int(preset["law"]["members"]))
    outputs = run.tabulate(measure_law, axes_of(preset["law"]), "simulation/law", argument=circle)
    run.conclude("comparison/law", partial(compare_law, outputs, law))
    axes = {"depth": depths} | axes_of(preset["kernel"])
    kernels = run.tabulate(measure_kernel, axes, "simulation/kernel", argument=partial(Tangent, run.seed))
    run.conclude("comparison/kernel", partial(compare_kernel, kernels, kernel))


def axes_of(preset: dict[str, Any]) -> dict[str, Any]:
    """Return the axes of widths and samples."""
    return {"width": [int(width) for width in preset["width"]], "sample": np.arange(preset["samples"])}


def compare_law(simulation: xr.Dataset, theory: xr.Dataset) -> xr.Dataset:
    """Compare mean and variance over networks with those of infinite width."""
    output = simulation["output"].astype(np.float64)
    moments = {
        "mean": output.mean("member").assign_attrs(label("mean of the output over networks")),
        "variance": output.var("member", ddof=1).assign_attrs(label("variance of the output over networks")),
    }
    compared = comparison.compare(xr.Dataset(moments).assign(completed=simulation["completed"]), theory, moments)
    ratio = moments["variance"].sum("angle") / theory["variance"].sum("angle")
    averages = xr.Dataset({"ratio": ratio, "drift": simulation["drift"].mean("member")})
    words = {"ratio": "variance over that at infinite width", "drift": "relative change of the tangent kernel"}
    for name, text in words.items():
        mean, error = comparison.sample_statistics(averages.assign(completed=simulation["completed"]), name)
        compared[f"{name}_mean"] = mean.assign_attrs(label(f"{text}, mean over samples"))
        compared[f"{name}_error"] = error.assign_attrs(label(f"standard error of {name}"))
    pulls = (compared["mean_pull"] ** 2).mean("angle") ** 0.5
    return compared.assign(mean_pull_rms=pulls.assign_attrs(label("root mean square of mean_pull over angles")))


def compare_kernel(simulation: xr.Dataset, theory: xr.Dataset) -> xr.Dataset:
    """Return the relative distance of kernels from their limit, and its power of the width."""
    squares = ((simulation["kernel"] - theory["kernel"]) ** 2).sum(("angle", "other"))
    distance = (squares / (theory["kernel"] ** 2).sum(("angle", "other"))) ** 0.5
    table = distance.rename("distance").to_dataset().assign(completed=simulation["completed"])
    mean, error = comparison.sample_statistics(table, "distance")
    slopes = []
    for depth in mean["depth"]:
        y = mean.sel(depth=depth)
        # Relative errors of a mean are errors of its logarithm.
        fit, cov = np.polyfit(np.log(y["width"]), np.log(y), 1, w=y / error.sel(depth=depth), cov="unscaled")
        slopes.append((fit[0], cov[0, 0] ** 0.5))
    compared = xr.Dataset(
        {
            "distance_mean": mean.assign_attrs(label("relative distance of tangent kernels from infinite width")),
            "distance_error": error.assign_attrs(label("standard error of distance")),
            "slope_mean": ("depth", [slope for slope, _ in slopes], label("power of the width")),
            "slope_error": ("depth", [spread for _, spread in slopes], label("standard error of slope")),
        }
    )
    compared["slope_pull"] = ((compared["slope_mean"] + 0.5) / compared["slope_error"]).assign_attrs(
        label("slope + 1/2 over its error")
    )
    return compared.merge(comparison.agreement("slope", compared["slope_pull"]))


def report(out: Path) -> Iterator[str]:
    """Yield the agreement with the law at each width, and the powers of the width."""
    law, kernel = (store.read(out, f"comparison/{group}") for group in ("law", "kernel"))
    for width in law["width"].values:
        row = law.sel(width=width)
        pulls = ", ".join(f"{value:.2f}" for value in row["mean_pull_rms"].values)
        pairs = zip(row["ratio_mean"].values, row["ratio_error"].values, strict=True)
        ratios = ", ".join(f"{value:.3f}({error:.3f})" for value, error in pairs)
        yield f"width {width}: root mean square pull of the mean {pulls}; variance over theory {ratios}"
    for depth in kernel["depth"].values:
        slope, error = (float(kernel[f"slope_{word}"].sel(depth=depth)) for word in ("mean", "error"))
        yield f"depth {depth}: distance of kernels falls as width^{slope:.3f}({error:.3f})"


def draw(out: Path) -> Figure:
    """Draw the law at three times, variances and distances of kernels against the width."""
    figure, axes = plt.subplots(1, 3, figsize=(14, 4.6))
    draw_law(axes[0], store.read(out, "simulation/law"), store.read(out, "theory/law"))
    draw_variance(axes[1], store.read(out, "comparison/law"))
    draw_kernel(axes[2], store.read(out, "comparison/kernel"))
    return figure


def draw_law(axes: plt.Axes, simulation: xr.Dataset, theory: xr.Dataset) -> None:
    """Draw the mean output on the circle with two standard deviations, at three times and a middle width."""
    width = int(simulation["width"].sortby("width")[simulation.sizes["width"] // 2])
    output = simulation["output"].sel(width=width).stack(network=("sample", "member"))
    for at, colour, marker in zip(DRAWN, figures.COLOURS, "osD", strict=False):
        mean, sd = theory["mean"].isel(time=at), theory["variance"].isel(time=at) ** 0.5
        axes.plot(ANGLES, mean, color=colour, linewidth=1.2, label=f"$t = {float(theory['time'][at]):g}$")
        axes.fill_between(ANGLES, mean - 2 * sd, mean + 2 * sd, color=colour, alpha=0.15, linewidth=0)
        # Every other angle, apart for each time.
        some = output.isel(time=at, angle=slice(at // 2, None, 3))
        style = figures.POINTS | {"color": colour, "marker": marker, "markersize": 3, "elinewidth": 0.8}
        axes.errorbar(some["angle"], some.mean("network"), 2 * some.std("network", ddof=1), **style)
    axes.plot([], [], "o", color="grey", markersize=3, label="networks")
    axes.plot(TRAINED_ANGLES, target(TRAINED_ANGLES)[:, 0], "kx", markersize=7, label="training data", zorder=5)
    axes.set(xlabel=r"angle $\phi$ of the input", ylabel=r"output $f$, mean $\pm$ 2 standard deviations")
    axes.set_ylim(-3.1, 2.4)
    axes.legend(fontsize="x-small", loc="lower center", ncols=5, columnspacing=1, handlelength=1.5)
    axes.set_title(f"(a) training on a circle, width {width}", fontsize="medium")


def draw_variance(axes: plt.Axes, compared: xr.Dataset) -> None:
    """Draw the variance of outputs over that at infinite width."""
    for index, (time, marker) in enumerate(zip(compared["time"].values, "os^Dv", strict=True)):
        row, shift = compared.isel(time=index), 1.04 ** (index - 2)
        style = figures.POINTS | {"color": figures.COLOURS[index], "marker": marker}
        axes.errorbar(row["width"] * shift, row["ratio_mean"], row["ratio_error"], label=f"$t = {time:g}$", **style)
    axes.axhline(1, color="grey", linewidth=1.2, label="theory, infinite width")
    axes.margins(y=0.35)
    finish(axes, compared, "variance of outputs over theory")
    axes.set_title("(b) spread of trained networks on the circle", fontsize="medium")


def draw_kernel(axes: plt.Axes, compared: xr.Dataset) -> None:
    """Draw the distance of tangent kernels from their limit."""
    for depth, colour, marker in zip(compared["depth"].values, figures.COLOURS, "os^D", strict=False):
        row = compared.sel(depth=depth).sortby("width")
        text = rf"depth {depth}: power {float(row['slope_mean']):.3f} $\pm$ {float(row['slope_error']):.3f}"
        style = figures.POINTS | {"color": colour, "marker": marker, "label": text}
        axes.errorbar(row["width"], row["distance_mean"], row["distance_error"], **style)
        height = np.exp(np.log(row["distance_mean"] * row["width"] ** 0.5).mean())
        axes.plot(row["width"], height * row["width"] ** -0.5, color=colour, linewidth=1.2)
    axes.plot([], [], color="grey", label=r"theory, $\propto n^{-1/2}$")
    axes.set_yscale("log")
    finish(axes, compared, r"distance $\Vert\hat\Theta - \Theta\Vert_F / \Vert\Theta\Vert_F$")
    axes.set_title("(c) tangent kernel of random networks", fontsize="medium")


def finish(axes: plt.Axes, compared: xr.Dataset, text: str) -> None:
    """Set scale and labels of a panel over widths."""
    axes.set(xlabel="width $n$", ylabel=text)
    axes.set_xscale("log", base=2)
    axes.set_xticks(compared["width"].values, [str(width) for width in compared["width"].values])
    axes.legend(fontsize="x-small")


SCRIPT = Script(
    name="kernels",
    summary="Compare trained networks of finite width, and their tangent kernels, with infinite width.",
    presets=PRESETS,
    compute=compute,
    draw=draw,
    report=report,
)

if __name__ == "__main__":
    command_line.main(SCRIPT)
