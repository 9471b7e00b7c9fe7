r"""Random-feature attention against kernel ridge regression of infinitely many heads, and against other models.

Test errors of ridge fits with frozen random query-key matrices (arXiv:2307.11353), without (rfa) and with a mean along
the identity (brfa), and of random features of all tokens in one vector (rfmlp), over the number of training inputs: for
targets of keys or query alone and for targets weighted by their correlation. All are fitted with as many parameters,
and one attention layer is trained in full. Predicted are the curves of infinitely many heads for the same inputs, the
order of models by the norms of a target in their spaces, and the scaling of the excess risk.
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
from matplotlib.ticker import LogLocator

from hebbian.attention_targets import Target, correlation_weighted, key_power, partly_aligned, query_power
from hebbian.nn import attention_features as layers
from runs import command_line, comparison, figures
from runs.script import Run, Script
from sim import random, store
from sim.attention_features import (
    Layer,
    draw_inputs,
    fit_ridge,
    learning_curve,
    normalised_error,
    scaled_features,
    train_attention,
)
from theory import attention_features as theory

NAMES = {"rfa": "attention, zero mean (RFA)", "brfa": "attention, biased (BRFA)", "rfmlp": "perceptron (RFMLP)"}
NAMES["trained"] = "attention, all trained"
STYLES = dict(zip(NAMES, zip(figures.COLOURS, "osDv", strict=False), strict=True))
PENALTIES = 10.0 ** np.arange(-6, 2)
# Penalty at which finitely many heads are compared with infinitely many.
FIXED = 1e-3
# Ratios of errors that are drawn at their place.
GAINS = (1 / 32, 8.0)
# Largest bound that is drawn.
LARGEST_NORM = 1e3
# Part of a target that its norm may miss, and orders that share it.
MISSING, ORDERS = 0.1, 6
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        "keys": {"d": 8, "N": 8, "heads": 200, "n": (64, 128, 256, 512)},
        "correlation": {"d": 12, "N": 12, "heads": 128, "n": (256, 512)},
        "width": {"d": 8, "N": 8, "heads": (16, 64, 256, 1024), "n": 256},
        "inputs": 512,
        "trained_heads": 32,
        "epochs": 40,
        "samples": 3,
    },
    "paper": {
        "keys": {"d": 8, "N": 8, "heads": 300, "n": (128, 256, 512, 1024)},
        "correlation": {"d": 16, "N": 16, "heads": 256, "n": (768, 1536, 3072)},
        "width": {"d": 8, "N": 8, "heads": (8, 16, 32, 64, 128, 256, 512, 1024), "n": 512},
        "inputs": 1024,
        "trained_heads": 32,
        "epochs": 100,
        "samples": 5,
    },
}


@dataclass(frozen=True)
class Task:
    """One model, and the layer and inputs of one sample; models of a sample have the same inputs and random numbers."""

    setting: str
    d: int
    N: int
    n: tuple[int, ...]
    inputs: int
    trained_heads: int
    epochs: int
    seed: int
    model: str
    sample: int
    heads: int

    @property
    def word(self) -> int:
        """Seed of layer and inputs."""
        return int(random.stream(self.seed, (self.sample,), "initial").integers(2**63))

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Numbers of inputs: training, validation, test."""
        return max(self.n), self.inputs // 2, self.inputs

    def targets(self) -> dict[str, Target]:
        """Return the functions to learn; the laws of inputs and weights leave beta free."""
        beta = np.eye(self.d)[0]
        if self.setting == "width":
            return {"keys, $p = 2$": key_power(beta, 2)}
        if self.setting == "keys":
            return {
                "keys, $p = 2$": key_power(beta, 2),
                "keys, $p = 4$": key_power(beta, 4),
                "query, $p = 2$": query_power(beta, 2),
                r"$q = 1$, $\gamma = 1$": correlation_weighted(beta, 1),
            }
        # One Z for all gamma.
        S = {
            gamma: partly_aligned(gamma, self.d, random.stream(self.seed, (self.sample,), "patterns"))
            for gamma in (0.0, 0.5, 1.0)
        }
        one = {rf"$q = 1$, $\gamma = {gamma:g}$": correlation_weighted(beta, 1, matrix) for gamma, matrix in S.items()}
        return one | {r"$q = 3$, $\gamma = 1$": correlation_weighted(beta, 3)}


def label(long_name: str) -> dict[str, str]:
    """Return the attributes of a dimensionless variable."""
    return {"long_name": long_name, "units": "1"}


def make_layer(task: Task, seed: int) -> Layer:
    """Return the layer of a task; the perceptron has as many trained parameters as the attention layers."""
    if task.model == "rfmlp":
        return layers.RandomFeatureMLP(task.d, task.N, task.heads * (task.d + 1), seed=seed)
    kind = {"rfa": layers.RandomFeatureAttention, "brfa": layers.BiasedRandomFeatureAttention}[task.model]
    return kind(task.d, task.heads, seed=seed)


def measure(task: Task) -> xr.Dataset:
    """Fit one model to all targets and numbers of training inputs."""
    targets = task.targets()
    if task.model == "trained":
        return train(task, targets)
    _, n_val, n_test = task.sizes
    functions = list(targets.values())
    curve = learning_curve(
        partial(make_layer, task), functions, task.n, PENALTIES, n_val, n_test, [task.word], N=task.N
    )
    return curve.isel(sample=0, drop=True).assign_coords(target=list(targets))


def train(task: Task, targets: dict[str, Target]) -> xr.Dataset:
    """Train the layer in full on all targets and numbers of training inputs."""
    x, x_val, x_test = draw_inputs(task.sizes, task.N, task.d, task.word)
    error, absolute = np.empty((2, len(targets), len(task.n)))
    for row, target in enumerate(targets.values()):
        for at, n in enumerate(task.n):
            layer = layers.ReluAttentionLayer(task.d, task.trained_heads, seed=task.word)
            labels = target(x[:n]), target(x_val)
            train_attention(layer, x[:n], labels[0], x_val, labels[1], epochs=task.epochs, seed=task.word)
            with torch.no_grad():
                predicted = layer(torch.tensor(x_test, dtype=layer.V.dtype)).numpy()
            y = target(x_test)
            error[row, at] = normalised_error(predicted, y)
            absolute[row, at] = np.abs(predicted - y).mean() / y.std()
    return curves(targets, task.n, error, absolute, np.full(error.shape, np.nan), np.full(error.shape, np.nan))


def curves(targets: dict[str, Target], n: tuple[int, ...], *arrays: np.ndarray) -> xr.Dataset:
    """Return learning curves as `sim.attention_features.learning_curve` does."""
    words = {
        "error": "mean square error over the variance of the labels",
        "absolute": "mean absolute error over the standard deviation of the labels",
        "lam": "validated ridge penalty",
        "norm2": "squared norm of the coefficients",
    }
    dims = ("target", "n")
    variables = {name: (dims, array, label(text)) for (name, text), array in zip(words.items(), arrays, strict=True)}
    return xr.Dataset(variables, {"target": list(targets), "n": list(n)})


def kernels(task: Task) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Return the inputs of a task, the kernel of the training inputs, and that of the others with them."""
    kernel = {"rfa": theory.rfa_kernel, "brfa": theory.brfa_kernel, "rfmlp": theory.rfmlp_kernel}[task.model]
    x, x_val, x_test = draw_inputs(task.sizes, task.N, task.d, task.word)
    return [x, x_val, x_test], kernel(x), kernel(np.concatenate([x_val, x_test]), x)


def predict(task: Task) -> xr.Dataset:
    """Predict the learning curves of infinitely many heads, and bound the norms of the targets."""
    targets = task.targets()
    inputs, K, Ks = kernels(task)
    y, y_val, y_test = (np.stack([target(x) for target in targets.values()], 1) for x in inputs)
    shape = (len(targets), len(task.n))
    error, absolute, lam, norm2 = (np.empty(shape) for _ in range(4))
    for at, n in enumerate(task.n):
        least = np.full(len(targets), np.inf)
        for penalty in PENALTIES.tolist():
            predicted = theory.kernel_ridge(K[:n, :n], Ks[:, :n], y[:n], penalty)
            of_val, of_test = np.split(predicted, [len(y_val)])
            errors = ((of_val - y_val) ** 2).mean(0)
            better = errors < least
            least[better], lam[better, at] = errors[better], penalty
            error[better, at] = (((of_test - y_test) ** 2).mean(0) / y_test.var(0))[better]
            absolute[better, at] = (np.abs(of_test - y_test).mean(0) / y_test.std(0))[better]
        norm2[:, at] = theory.interpolation_norm(K[:n, :n], y[:n])
    of = {"d": task.d, "N": task.N, "orders": ORDERS}
    bound = [theory.rkhs_norm_bound(target, task.model, error=MISSING, **of) for target in targets.values()]
    # The whole target is in the spaces of the kernels without bias.
    whole = [np.nan if task.model == "brfa" else theory.rkhs_norm_bound(t, task.model, **of) for t in targets.values()]
    diagonal, variance = float(np.diag(K).mean()), y_test.var(0)
    risk = [
        [theory.excess_risk_bound(bound, diagonal, n) for n in task.n]
        for bound in np.where(np.isnan(whole), bound, whole)
    ]
    result = curves(targets, task.n, error, absolute, lam, norm2)
    result["norm2"].attrs = label("squared norm of the least interpolating function")
    return result.assign(
        bound=("target", bound, label(f"bound of the squared norm of a target but for {MISSING} of its mean square")),
        whole=("target", whole, label("bound of the squared norm of a target")),
        risk=(
            ("target", "n"),
            risk / np.sqrt(variance)[:, None],
            label("bound of the mean absolute error, as absolute"),
        ),
    )


def measure_width(task: Task) -> xr.Dataset:
    """Fit a model of some heads at a fixed penalty."""
    (target,) = task.targets().values()
    x, _, x_test = draw_inputs(task.sizes, task.N, task.d, task.word)
    layer = make_layer(task, task.word)
    u = fit_ridge(scaled_features(layer, x), target(x), FIXED)
    return at_test(scaled_features(layer, x_test) @ u, target(x_test))


def predict_width(task: Task) -> xr.Dataset:
    """Predict what infinitely many heads give at the same penalty."""
    (target,) = task.targets().values()
    (x, _, x_test), K, Ks = kernels(task)
    return at_test(theory.kernel_ridge(K, Ks, target(x), FIXED)[-len(x_test) :], target(x_test))


def at_test(predicted: np.ndarray, y: np.ndarray) -> xr.Dataset:
    """Return predictions on the test inputs and their error, in units of the labels' standard deviation."""
    return xr.Dataset(
        {
            "output": ("input", predicted / y.std(), label("output over the standard deviation of the labels")),
            "error": ((), ((predicted - y) ** 2).mean() / y.var(), label("mean square error over the variance")),
        }
    )


def compute(run: Run) -> None:
    """Predict, measure and compare, in all three settings."""
    preset = run.preset
    samples = list(range(int(preset["samples"])))
    common: dict[str, Any] = {"seed": run.seed} | {
        name: int(preset[name]) for name in ("inputs", "trained_heads", "epochs")
    }
    for setting in ("correlation", "keys", "width"):
        of: dict[str, Any] = {name: int(preset[setting][name]) for name in ("d", "N")}
        n, heads = (tuple(int(value) for value in np.atleast_1d(preset[setting][name])) for name in ("n", "heads"))
        task: partial[Task] = partial(Task, setting=setting, n=n, **of, **common)
        models = {"keys": list(NAMES), "correlation": list(theory.MODELS), "width": ["rfa", "brfa"]}[setting]
        axes: dict[str, Any] = {"model": models, "sample": samples}
        infinite = axes | {"model": [model for model in models if model in theory.MODELS]}
        if setting == "width":
            options = {"argument": partial(task, heads=0)}
            predicted = run.tabulate(predict_width, infinite, "theory/width", **options)
            measured = run.tabulate(measure_width, axes | {"heads": heads}, "simulation/width", argument=task)
            run.conclude("comparison/width", partial(compare_width, measured, predicted))
        else:
            options = {"argument": partial(task, heads=heads[0])}
            predicted = run.tabulate(predict, infinite, f"theory/{setting}", **options)
            measured = run.tabulate(measure, axes, f"simulation/{setting}", **options)
            run.conclude(f"comparison/{setting}", partial(compare, measured, predicted))


def compare(measured: xr.Dataset, predicted: xr.Dataset) -> xr.Dataset:
    """Average errors over samples; take ratios of models sample by sample."""
    compared = xr.Dataset()
    for name, dataset in (("error", measured), ("absolute", measured), ("predicted", predicted)):
        of = "error" if name == "predicted" else name
        mean, error = comparison.sample_statistics(dataset, of)
        words = "predicted error" if name == "predicted" else dataset[of].attrs["long_name"]
        compared[f"{name}_mean"] = mean.assign_attrs(label(f"{words}, mean over samples"))
        compared[f"{name}_error"] = error.assign_attrs(label(f"standard error of {name}"))
    for name in ("norm2", "bound", "whole", "risk"):
        mean, error = comparison.sample_statistics(predicted, name)
        compared[f"{name}_mean"] = mean.assign_attrs(predicted[name].attrs)
        compared[f"{name}_error"] = error.assign_attrs(label(f"standard error of {name}"))
    for name, dataset in (("gain", measured), ("predicted_gain", predicted)):
        logs = dataset[["error"]].map(np.log)["error"]
        ratio = xr.Dataset({"log": logs.sel(model="rfa", drop=True) - logs.sel(model=["brfa", "rfmlp"])})
        mean, error = comparison.sample_statistics(ratio, "log")
        gain = mean.copy(data=np.exp(mean.values))
        compared[f"{name}_mean"] = gain.assign_attrs(label("error of rfa over that of a model, geometric mean"))
        compared[f"{name}_error"] = (gain * error).assign_attrs(label(f"standard error of {name}"))
    return compared


def compare_width(measured: xr.Dataset, predicted: xr.Dataset) -> xr.Dataset:
    """Average the distance of finitely many heads from infinitely many over samples."""
    measured, predicted = comparison.align(measured, predicted)
    distance = ((measured["output"] - predicted["output"]) ** 2).mean("input") ** 0.5
    sources = {
        "error": measured,
        "predicted": predicted.assign(predicted=predicted["error"]),
        "distance": xr.Dataset({"distance": distance}),
    }
    compared = xr.Dataset()
    for name, dataset in sources.items():
        mean, error = comparison.sample_statistics(dataset, name)
        compared[f"{name}_mean"] = mean.assign_attrs(label(f"{name}, mean over samples"))
        compared[f"{name}_error"] = error.assign_attrs(label(f"standard error of {name}"))
    of_models = np.log(compared["distance_mean"].transpose("heads", "model").values)
    slope = np.polyfit(np.log(compared["heads"].values), of_models, 1)[0]
    compared["slope"] = ("model", slope, label("exponent of the distance in the number of heads"))
    return compared


def report(out: Path) -> Iterator[str]:
    """Yield errors at the largest number of training inputs, with the predicted ones and the norms, and the slopes."""
    for setting in ("keys", "correlation"):
        compared = store.read(out, f"comparison/{setting}").isel(n=-1)
        for target in compared["target"].values:
            for model in compared["model"].values:
                at = compared.sel(target=target, model=model)
                line = f"{target}, n = {int(at['n'])}, {model}: error {at['error_mean']:.3g}({at['error_error']:.1g})"
                if model in theory.MODELS:
                    line += f", infinitely many heads {at['predicted_mean']:.3g}, norm^2 {at['bound_mean']:.3g}"
                yield line
    compared = store.read(out, "comparison/width")
    for model in compared["model"].values:
        yield f"{model}: distance from infinitely many heads ~ M^{compared['slope'].sel(model=model):.2f}"


def draw(out: Path) -> Figure:
    """Draw learning curves, gains, the approach to infinitely many heads, the scaled risk and the norms."""
    figure, axes = plt.subplots(2, 3, figsize=(14, 8.4))
    keys, correlation = (store.read(out, f"comparison/{name}") for name in ("keys", "correlation"))
    draw_curves(axes[0, 0], keys, "keys, $p = 2$")
    axes[0, 0].set_title(r"(a) $f = \frac{1}{N} \sum_i \langle \beta, x_i \rangle^2$", fontsize="medium")
    draw_curves(axes[0, 1], correlation, r"$q = 1$, $\gamma = 1$")
    axes[0, 1].set_title(
        r"(b) $f = \frac{1}{N} \sum_i \langle x_0, x_i \rangle \langle \beta, x_i \rangle$", fontsize="medium"
    )
    draw_gains(axes[0, 2], keys, correlation)
    draw_width(axes[1, 0], store.read(out, "comparison/width"))
    draw_risk(axes[1, 1], keys, correlation)
    draw_norms(axes[1, 2], keys)
    return figure


def draw_curves(axes: plt.Axes, compared: xr.Dataset, target: str) -> None:
    """Draw measured errors, and predicted ones as lines."""
    for model in compared["model"].values.tolist():
        at, (colour, marker) = compared.sel(target=target, model=model), STYLES[model]
        style = figures.POINTS | {"color": colour, "marker": marker, "label": NAMES[model]}
        axes.errorbar(at["n"], at["error_mean"], at["error_error"], **style)
        axes.plot(at["n"], at["predicted_mean"], color=colour, linewidth=1.2)
    axes.plot([], [], color="grey", label="kernel, infinitely many heads")
    axes.set(xscale="log", yscale="log", xlabel="training inputs $n$", ylabel="test error over variance")
    number_axis(axes, compared["n"].values)
    axes.legend(fontsize="small", loc="lower left")


def number_axis(axes: plt.Axes, values: np.ndarray) -> None:
    """Write the values themselves on a logarithmic horizontal axis, and plain numbers on the vertical one."""
    axes.set_xticks(values, [str(int(value)) for value in values])
    plain_numbers(axes)


def plain_numbers(axes: plt.Axes) -> None:
    """Write 1, 2 and 5 times powers of ten on a logarithmic vertical axis, or the powers alone where they are many."""
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 300 * low else (1.0,)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()


def draw_gains(axes: plt.Axes, keys: xr.Dataset, correlation: xr.Dataset) -> None:
    """Draw by what factor the mean of the matrices lowers the error of each target at the largest n."""
    rows = [(name, keys.isel(n=-1)) for name in keys["target"].values[:3]]
    rows += [(name, correlation.isel(n=-1)) for name in correlation["target"].values]
    colour, marker = STYLES["brfa"]
    for place, (name, compared) in enumerate(rows):
        at = compared.sel(target=name, model="brfa")
        words = ["measured", "kernel, infinitely many heads", "ratio of squared norms"] if place == 0 else [None] * 3
        style = figures.POINTS | {"color": colour, "marker": marker, "label": words[0]}
        axes.errorbar(at["gain_mean"], place, xerr=at["gain_error"], **style)
        gain = float(at["predicted_gain_mean"])
        axes.plot([gain, gain], [place - 0.3, place + 0.3], color=colour, linewidth=1.5, label=words[1])
        norms = compared["bound_mean"].sel(target=name)
        ratio = np.clip(float(norms.sel(model="rfa") / norms.sel(model="brfa")), *GAINS)
        axes.plot(ratio, place, color="black", marker="x", linestyle="none", clip_on=False, label=words[2])
    axes.axvline(1.0, color="grey", linewidth=1, linestyle=figures.DASHES)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.invert_yaxis()
    axes.set(xlabel="error of RFA over error of BRFA", xscale="log", xlim=GAINS)
    axes.set_xticks([1 / 32, 1 / 8, 1 / 2, 2, 8], ["1/32", "1/8", "1/2", "2", r"$\geq 8$"])
    axes.minorticks_off()
    text = f"(c) $n$ = {int(keys['n'][-1])}, with correlation {int(correlation['n'][-1])}"
    axes.set_title(text, fontsize="medium")
    axes.legend(fontsize="small", loc="lower left")


def draw_width(axes: plt.Axes, compared: xr.Dataset) -> None:
    """Draw errors against the number of heads, with those of infinitely many, and the distance of the outputs."""
    heads = compared["heads"]
    for model in compared["model"].values.tolist():
        at, (colour, marker) = compared.sel(model=model), STYLES[model]
        style = figures.POINTS | {"color": colour, "marker": marker}
        axes.errorbar(heads, at["error_mean"], at["error_error"], label=f"error, {model.upper()}", **style)
        axes.axhline(float(at["predicted_mean"]), color=colour, linewidth=1.2)
        hollow = style | {"markerfacecolor": "white", "label": f"distance, {model.upper()}"}
        axes.errorbar(heads, at["distance_mean"], at["distance_error"], **hollow)
    distance = compared["distance_mean"].mean("model")
    line = [float(distance[-1]) * theory.head_error(int(M)) / theory.head_error(int(heads[-1])) for M in heads]
    axes.plot(heads, line, color="grey", linewidth=1, label=r"$\propto M^{-1/2}$")
    axes.plot([], [], color="black", linewidth=1.2, label="error, kernel")
    axes.set(xscale="log", yscale="log", xlabel="heads $M$", ylabel="error over variance; distance over std. dev.")
    axes.set_ylim(None, 8 * float(compared["error_mean"].max()))
    number_axis(axes, heads.values)
    axes.set_title(r"(d) function (a), fixed $\lambda$", fontsize="medium")
    axes.legend(fontsize="small", ncols=2, loc="upper right")


def draw_risk(axes: plt.Axes, keys: xr.Dataset, correlation: xr.Dataset) -> None:
    """Draw absolute errors of all targets against the bound of each."""
    for compared, fill in ((keys, "full"), (correlation, "none")):
        for model in theory.MODELS:
            at, (colour, marker) = compared.sel(model=model), STYLES[model]
            for target in compared["target"].values:
                line = at.sel(target=target)
                first = target == keys["target"].values[0]
                style: dict[str, Any] = {"color": colour, "marker": marker, "fillstyle": fill, "linewidth": 0.6}
                words = NAMES[model] if first else None
                axes.plot(line["risk_mean"], line["absolute_mean"], markersize=4, label=words, **style)
    axes.plot([0.5, 2.0], [0.5, 2.0], color="black", linewidth=1.2, label="the bound itself")
    axes.set(xscale="log", yscale="log", ylim=(None, 2.0), ylabel="mean absolute error over std. dev.")
    axes.set_xlabel(r"bound $2 (\Vert f \Vert^2 K / n)^{1/2}$ over std. dev.")
    plain_numbers(axes)
    axes.set_title("(e) all targets; hollow: with correlation", fontsize="medium")
    axes.legend(fontsize="small", loc="lower right")


def draw_norms(axes: plt.Axes, keys: xr.Dataset) -> None:
    """Draw norms of interpolating functions, which grow with n, and the bounds of the targets; all with d of (a)."""
    cases = (("keys, $p = 2$", "-", ":", "(a)"), (r"$q = 1$, $\gamma = 1$", figures.DASHES, "-.", "(b)"))
    for target, dashes, dots, words in cases:
        for model in theory.MODELS:
            at, (colour, marker) = keys.sel(target=target, model=model), STYLES[model]
            style: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 4, "linestyle": dashes}
            axes.plot(at["n"], at["norm2_mean"], linewidth=1, label=f"{model.upper()}, {words}", **style)
            if float(at["whole_mean"]) < LARGEST_NORM:
                axes.axhline(float(at["whole_mean"]), color=colour, linewidth=1, linestyle=dots)
        axes.plot([], [], color="grey", linewidth=1, linestyle=dots, label=f"bounds, {words}")
    axes.set(xscale="log", yscale="log", xlabel="training inputs $n$", ylabel=r"$y^T K^{-1} y$")
    axes.set_ylim(None, 3e4)
    number_axis(axes, keys["n"].values)
    axes.set_title("(f) norm of the least interpolating function", fontsize="medium")
    axes.legend(fontsize="small", ncols=2, loc="upper left")


SCRIPT = Script(
    name="attention_features",
    summary="Compare random-feature attention with its kernel, a perceptron and a layer trained in full.",
    presets=PRESETS,
    compute=compute,
    draw=draw,
    report=report,
)

if __name__ == "__main__":
    command_line.main(SCRIPT)
