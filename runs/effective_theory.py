r"""Random deep networks of finite width against the effective theory of depth over width (arXiv:2106.10165).

Kernels K of preactivations from layer to layer at, below and above criticality; the growth of their fluctuations,
V/(n K^2), without and with a residual path; and the change of the tangent kernel as training begins, which no network
of infinite width has. First-order theory is a straight line in depth over width: of homogeneous activations the exact
law is known too, (1 + nu/n)^(l-1) - 1, which averages over random networks resolve only where few of them do not
dominate. Needs PyTorch.
"""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from runs import command_line, comparison, figures
from runs.script import Run, Script
from sim import random, store
from sim.effective_theory import sample_statistics
from theory.effective_theory import (
    find_critical,
    finite_width_flow,
    homogeneous_exact,
    ntk_drift,
    nu,
)

ACTIVATIONS = ("relu", "tanh", "linear", "gelu")
OF_SECTION = {
    "kernels": ("tanh", "relu"),
    "vertex": ("relu", "linear", "tanh"),
    "residual": ("relu", "linear"),
    "drift": ("relu", "tanh", "gelu"),
}
critical = functools.cache(find_critical)
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        "samples": 6,
        "kernels": {"tanh": (0.8, 1.0, 1.2), "relu": (1.5, 2.0, 2.5), "layers": 50, "n": 256, "nets": 30},
        "vertex": {"n": np.array([32, 64, 128]), "layers": 20, "nets": 6000},
        "residual": {"gamma": np.array([0.0, 0.5, 0.9]), "layers": 12, "n": 128, "nets": 6000},
        "drift": {"n": np.array([32, 64]), "layers": np.array([2, 4, 6, 8]), "nets": 250},
    },
    "paper": {
        "samples": 16,
        "kernels": {"tanh": (0.8, 1.0, 1.2), "relu": (1.5, 2.0, 2.5), "layers": 50, "n": 256, "nets": 100},
        "vertex": {"n": np.array([32, 64, 128]), "layers": 30, "nets": 60_000},
        "residual": {"gamma": np.array([0.0, 0.5, 0.9]), "layers": 16, "n": 128, "nets": 30_000},
        "drift": {"n": np.array([32, 64, 128]), "layers": np.array([2, 4, 6, 8, 12]), "nets": 500},
    },
}


@dataclass(frozen=True)
class Task:
    """Some networks of one law, or one that is trained."""

    section: str
    act: str
    layers: int
    n: int
    nets: int
    seed: int
    sample: int
    C_W: float | None = None
    gamma: float = 0.0

    def law(self) -> dict[str, Any]:
        """Return variances and first kernel: the critical ones unless C_W is given."""
        if self.C_W is not None:
            return {"C_W": float(self.C_W), "C_b": 0.0, "K1": 1.0}
        point, scale = critical(self.act), 1 - self.gamma**2
        K1 = point.K_star if point.kind == "half_stable" else 1.0
        return {"C_W": scale * point.C_W, "C_b": scale * point.C_b, "K1": K1}

    def streams(self) -> dict[str, Any]:
        """Return seed and address of the random streams."""
        section, act = list(OF_SECTION).index(self.section), ACTIVATIONS.index(self.act)
        point = random.float_bits(self.law()["C_W"]), random.float_bits(float(self.gamma))
        return {"seed": self.seed, "address": (section, act, int(self.n), int(self.layers), *point, self.sample)}


def measure_layers(task: Task) -> xr.Dataset:
    """Measure kernel and vertex of all layers."""
    options: dict[str, Any] = task.law() | task.streams() | {"gamma": float(task.gamma)}
    measured = sample_statistics(task.act, task.layers, int(task.n), n_nets=task.nets, ntk=False, dntk=False, **options)
    K, V = measured["K"][0], measured["V"][0]
    return by_layer(K=K, vertex=V / (task.n * K**2))


def measure_drift(task: Task) -> xr.Dataset:
    """Measure the first change of the tangent kernel, in units of the square of its mean at infinite width."""
    from sim.effective_theory.gradients import ntk_step_change
    from sim.training import one_thread

    options: dict[str, Any] = task.law() | task.streams()
    with one_thread():
        change, _ = ntk_step_change(task.act, int(task.layers), int(task.n), n_nets=task.nets, **options)
    return xr.Dataset({"drift": ((), change, DRIFT)})


def by_layer(**values: Any) -> xr.Dataset:
    """Return variables along layers, numbered from 1."""
    words = {"K": "kernel K", "vertex": "V/(n K^2)", "first_order": "V/(n K^2) to first order"}
    layers = len(next(iter(values.values())))
    variables = {name: ("layer", value, label(words[name])) for name, value in values.items()}
    return xr.Dataset(variables, {"layer": np.arange(1, layers + 1)})


def label(long_name: str) -> dict[str, str]:
    """Return the attributes of a dimensionless variable."""
    return {"long_name": long_name, "units": "1"}


DRIFT = label("change of the tangent kernel by a unit of training time")


def predict_layers(task: Task) -> xr.Dataset:
    """Return kernel and vertex of all layers: to first order, and as they are where that is known."""
    flow = finite_width_flow(task.act, task.layers, **task.law(), gamma=float(task.gamma))
    first = flow.V / flow.K**2 / task.n
    exact = task.act in ("relu", "linear") and task.gamma == 0 and task.C_W is None
    vertex = homogeneous_exact(task.act, task.layers, int(task.n)) - 1 if exact else first
    return by_layer(K=flow.K, vertex=vertex, first_order=first)


def predict_drift(task: Task) -> xr.Dataset:
    """Return the first change of the tangent kernel, and its mean at infinite width."""
    flow = finite_width_flow(task.act, int(task.layers), **task.law())
    theta = ((), flow.Theta[-1], label("tangent kernel at infinite width"))
    return xr.Dataset({"drift": ((), ntk_drift(flow, int(task.n)), DRIFT), "theta": theta})


def sections(run: Run) -> Iterator[tuple[str, partial[Task], dict[str, Any]]]:
    """Yield all groups of random networks: name, task, and axes besides samples."""
    for section, acts in OF_SECTION.items():
        preset = run.preset[section]
        for act in acts:
            task = partial(Task, section, act, nets=int(preset["nets"]), seed=run.seed)
            axes = {name: preset[name] for name in ("layers", "n", "gamma") if np.ndim(preset.get(name, 0))}
            fixed = {name: int(preset[name]) for name in ("layers", "n") if name not in axes}
            if section == "kernels":
                axes = {"C_W": np.array(preset[act])}
            yield f"{section}_{act}", partial(task, **fixed), axes


def compute(run: Run) -> None:
    """Measure, predict and compare every section."""
    samples: Any = np.arange(run.preset["samples"])
    for name, task, axes in sections(run):
        of_drift = name.startswith("drift")
        theory = run.keep(f"theory/{name}", partial(predict, predict_drift if of_drift else predict_layers, task, axes))
        measure = measure_drift if of_drift else measure_layers
        simulation = run.tabulate(measure, axes | {"sample": samples}, f"simulation/{name}", argument=task)
        run.conclude(f"comparison/{name}", partial(compare, name, simulation, theory, task.keywords["nets"]))


def predict(function: Any, task: partial[Task], axes: Mapping[str, Any]) -> xr.Dataset:
    """Return a prediction at all points of the axes."""
    places = np.meshgrid(*axes.values(), indexing="ij")
    points = [dict(zip(axes, values, strict=True)) for values in zip(*(p.ravel() for p in places), strict=True)]
    rows = [function(task(sample=0, **point)).expand_dims({k: [v] for k, v in point.items()}) for point in points]
    return xr.merge(rows, join="outer", compat="no_conflicts", combine_attrs="override")


def compare(name: str, simulation: xr.Dataset, theory: xr.Dataset, nets: int) -> xr.Dataset:
    """Compare with the theory; pulls are given where it is exact and averages are not those of few networks."""
    section, act = name.split("_")
    if section != "vertex":
        variable = {"kernels": "K", "residual": "vertex", "drift": "drift"}[section]
        return comparison.compare(simulation, theory, [variable], where=name == "kernels_relu")
    # Squares of nearly log-normal numbers: where their average has a relative error below a tenth.
    spread = (1 + nu(act) / theory["n"]) ** (4 * (theory["layer"] - 1)) / (nets * simulation.sizes["sample"])
    return comparison.compare(simulation, theory, ["vertex"], where=(spread < 0.01) & (act != "tanh"))


def report(out: Path) -> Iterator[str]:
    """Yield pulls where the theory is exact."""
    for name in ("kernels_relu", "vertex_relu", "vertex_linear"):
        compared = store.read(out, f"comparison/{name}")
        yield f"{name}: {comparison.summary(compared, 'K' if name.startswith('kernels') else 'vertex')}"


def draw(out: Path) -> Figure:
    """Draw all sections."""
    figure, axes = plt.subplots(2, 2, figsize=(11, 8.5))
    panels = axes.ravel()
    draw_kernels(panels[0], out)
    draw_vertex(panels[1], out)
    draw_residual(panels[2], out)
    draw_drift(panels[3], out)
    return figure


def draw_kernels(panel: plt.Axes, out: Path) -> None:
    """Draw kernels of tanh and the rectifier, ordered, critical and chaotic."""
    for act, marker in zip(OF_SECTION["kernels"], "os", strict=True):
        compared, theory = (store.read(out, f"{room}/kernels_{act}") for room in ("comparison", "theory"))
        for C_W, colour in zip(np.sort(theory["C_W"].values), figures.COLOURS, strict=False):
            curve, at = theory.sel(C_W=C_W), compared.sel(C_W=C_W)
            panel.plot(curve["layer"], curve["K"], color=colour, linewidth=1)
            every = at.isel(layer=slice(None, None, 4))
            style = figures.POINTS | {"color": colour, "marker": marker, "markersize": 3}
            panel.errorbar(every["layer"], every["K_mean"], every["K_error"], label=f"{act}, $C_W = {C_W:g}$", **style)
    panel.set(xlabel="layer $l$", ylabel="kernel $K$ of preactivations", yscale="log")
    panel.set_title("(a) kernels; lines: infinite width", fontsize="medium")
    panel.legend(fontsize="x-small", ncols=2)


def draw_vertex(panel: plt.Axes, out: Path) -> None:
    """Draw vertices against depth over width."""
    for act, colour in zip(OF_SECTION["vertex"], figures.COLOURS, strict=False):
        compared, theory = (store.read(out, f"{room}/vertex_{act}") for room in ("comparison", "theory"))
        for n, marker in zip(np.sort(theory["n"].values), "osDv^", strict=False):
            at, curve = compared.sel(n=n).isel(layer=slice(1, None)), theory.sel(n=n).isel(layer=slice(1, None))
            every = at.isel(layer=slice(None, None, 2))
            ratio = (curve["layer"] - 1) / n
            style = figures.POINTS | {"color": colour, "marker": marker, "markersize": 3}
            panel.errorbar(
                (every["layer"] - 1) / n,
                every["vertex_mean"],
                every["vertex_error"],
                label=f"{act}, $n = {n:g}$",
                **style,
            )
            panel.plot(ratio, curve["first_order"], color=colour, linewidth=1, linestyle=figures.DASHES)
            if act != "tanh":
                panel.plot(ratio, curve["vertex"], color=colour, linewidth=1)
    panel.set(xlabel="depth over width $(l-1)/n$", ylabel=r"vertex $V/(nK^2)$", xscale="log", yscale="log")
    panel.set_title("(b) fluctuations; dashes: first order, lines: exact", fontsize="medium")
    panel.legend(fontsize="x-small", labelspacing=0.25)


def draw_residual(panel: plt.Axes, out: Path) -> None:
    """Draw vertices with residual paths."""
    for act, marker in zip(OF_SECTION["residual"], "os", strict=True):
        compared, theory = (store.read(out, f"{room}/residual_{act}") for room in ("comparison", "theory"))
        for gamma, colour in zip(np.sort(theory["gamma"].values), figures.COLOURS, strict=False):
            at, curve = compared.sel(gamma=gamma), theory.sel(gamma=gamma)
            panel.plot(curve["layer"], curve["first_order"], color=colour, linewidth=1, linestyle=figures.DASHES)
            text = rf"{act}, $\gamma = {gamma:g}$, $\nu = {nu(act, float(gamma)):.2f}$"
            style = figures.POINTS | {"color": colour, "marker": marker, "markersize": 3}
            panel.errorbar(at["layer"], at["vertex_mean"], at["vertex_error"], label=text, **style)
    panel.set(xlabel="layer $l$", ylabel=r"vertex $V/(nK^2)$")
    panel.set_title("(c) residual paths; dashes: first order", fontsize="medium")
    panel.legend(fontsize="x-small")


def draw_drift(panel: plt.Axes, out: Path) -> None:
    """Draw the relative change of the tangent kernel against depth over width."""
    for act, colour in zip(OF_SECTION["drift"], figures.COLOURS, strict=False):
        compared, theory = (store.read(out, f"{room}/drift_{act}") for room in ("comparison", "theory"))
        for n, marker in zip(np.sort(theory["n"].values), "osDv^", strict=False):
            at, curve = (data.sel(n=n).sortby("layers") for data in (compared, theory))
            scale = curve["theta"] ** 2
            style = figures.POINTS | {"color": colour, "marker": marker, "label": f"{act}, $n = {n:g}$"}
            panel.errorbar(at["layers"] / n, at["drift_mean"] / scale, at["drift_error"] / scale, **style)
            panel.plot(curve["layers"] / n, curve["drift"] / scale, color=colour, linewidth=1)
    panel.axhline(0, color="grey", linewidth=0.8)
    panel.set(xlabel="depth over width $L/n$", ylabel=r"$\Theta^{-2}\, dE[H]/d\eta$ of the tangent kernel")
    panel.set_title("(d) first change by training; lines: first order", fontsize="medium")
    panel.legend(fontsize="x-small")


SCRIPT = Script(
    name="effective_theory",
    summary="Compare random deep networks of finite width with the effective theory of depth over width.",
    presets=PRESETS,
    compute=compute,
    draw=draw,
    report=report,
)

if __name__ == "__main__":
    command_line.main(SCRIPT)
