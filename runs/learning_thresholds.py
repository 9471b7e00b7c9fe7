"""Learning an archetype it never saw: magnetisation against the number of examples, with and without a teacher.

Dense networks with P = 2 and 4, and a multitasking network of 3 patterns, at several qualities r of the examples. With
a teacher, who says which examples belong together, the number of examples M must exceed the order of (1 - r^2)/r^2;
without one, in a dense network, that of r^(-2P). At low load, as in the multitasking network, the teacher makes no
difference (arXiv:2203.01304, 2211.14067, 2212.00606, 2308.04106).
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from hebbian import DenseHebbian, HebbianNetwork, MultitaskingHebbian
from runs import command_line, comparison, figures
from runs.script import Run, Script
from sim import store
from theory import replica_symmetric, signal_to_noise
from theory.replica_symmetric import multitasking

# Overlap that counts as learned; of what is stored, in the multitasking network.
LEARNED = 0.8


@dataclass(frozen=True)
class Case:
    """A network at one temperature; its examples are the axes of a panel."""

    title: str
    model: HebbianNetwork
    T: float
    quality: tuple[float, ...]

    def trained(self, training: str) -> HebbianNetwork:
        """Return the network with one of the trainings; its quality and examples are those of the first point."""
        return self.model.replace(training=training, quality=self.quality[0], examples=1)

    @property
    def initial(self) -> str:
        """Initial spins of the simulation."""
        return "hierarchical" if self.model.dilution else "pure"

    def predict(self, training: str, examples: np.ndarray) -> xr.Dataset:
        """Predict the overlap m with the (first) archetype, and whether it is retrieved; (quality, examples, T)."""
        model = self.trained(training)
        axes: dict[str, Any] = {"quality": list(self.quality), "examples": examples, "T": self.T}
        if isinstance(model, DenseHebbian):
            solution = replica_symmetric.solve(model, load=model.load, **axes).squeeze("load", drop=True)
            return solution[["m", "retrieval"]]
        assert isinstance(model, MultitaskingHebbian)
        solution = multitasking.solve(model, **axes).isel(pattern=0, drop=True)
        # Without a teacher a few poor examples are retrieved one by one.
        retrieval = solution["stable"].assign_attrs(long_name="whether the archetype is retrieved", units="1")
        return solution[["m"]].assign(retrieval=retrieval)

    def threshold(self, training: str) -> xr.Dataset:
        """Predict how many examples make m exceed `LEARNED`; multitasking: after one step, of what storing gives."""
        model = self.trained(training)
        if isinstance(model, DenseHebbian):
            line = replica_symmetric.learning_threshold(
                model, load=model.load, T=self.T, quality=list(self.quality), overlap=LEARNED
            )
            needed = line.isel(load=0, T=0).values
        else:
            assert isinstance(model, MultitaskingHebbian)
            points = [model.replace(quality=r) for r in self.quality]
            needed = np.array(
                [signal_to_noise.examples_needed(point, fraction=LEARNED) for point in points], dtype=float
            )
        attributes = {"long_name": f"predicted number of examples for m > {LEARNED}", "units": "1"}
        return xr.Dataset({"M": ("quality", needed, attributes)}, {"quality": list(self.quality)})


def cases(N: dict[str, int]) -> dict[str, Case]:
    """Return the networks of a preset with these sizes."""
    return {
        "P2": Case(
            r"$P = 2$, $\alpha = 0.03$, $T = 0.2$", DenseHebbian(N=N["P2"], P=2, load=0.03), 0.2, (0.3, 0.5, 0.8)
        ),
        "P4": Case(
            r"$P = 4$, $\gamma = 0.02$, $T = 0.3$", DenseHebbian(N=N["P4"], P=4, load=0.02), 0.3, (0.4, 0.6, 0.8)
        ),
        "multitasking": Case(
            "multitasking, $K = 3$, $d = 0.3$, $T = 0.05$",
            MultitaskingHebbian(N=N["multitasking"], K=3, dilution=0.3),
            0.05,
            (0.2, 0.4, 0.8),
        ),
    }


TRAININGS = ("supervised", "unsupervised")
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        "N": {"P2": 1000, "P4": 120, "multitasking": 10_000},
        "examples": {
            "P2": np.array([1, 3, 6, 12, 25, 50, 100, 200]),
            "P4": np.array([1, 3, 6, 12, 25, 50, 100]),
            "multitasking": np.array([1, 3, 6, 12, 25, 50, 100]),
        },
        "samples": 8,
        "sweeps": 40,
    },
    "paper": {
        "N": {"P2": 2000, "P4": 160, "multitasking": 100_000},
        "examples": {
            "P2": np.unique(np.geomspace(1, 800, 16).round().astype(int)),
            "P4": np.unique(np.geomspace(1, 400, 14).round().astype(int)),
            "multitasking": np.unique(np.geomspace(1, 400, 14).round().astype(int)),
        },
        "samples": 32,
        "sweeps": 100,
    },
}
FINE = 60


def compute(run: Run) -> None:
    """Predict, simulate and compare every network and training."""
    for name, case in cases(run.preset["N"]).items():
        examples = run.preset["examples"][name]
        for training in TRAININGS:
            group = f"{name}-{training}"
            theory = run.keep(f"theory/{group}", partial(case.predict, training, examples))
            run.keep(f"theory_lines/{group}", partial(case.predict, training, between(examples)))
            run.keep(f"theory_thresholds/{group}", partial(case.threshold, training))
            simulation = run.sweep(
                case.trained(training),
                f"simulation/{group}",
                quality=case.quality,
                examples=examples,
                T=case.T,
                initial=case.initial,
            )
            run.conclude(
                f"comparison/{group}",
                partial(comparison.compare, simulation, theory, names=("m",), where=theory["retrieval"]),
            )


def between(examples: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return numbers of examples, as many as a curve needs, from the least to the largest of some."""
    return np.unique(np.geomspace(examples.min(), examples.max(), FINE).round().astype(int))


STYLES: dict[str, tuple[Any, str, Any]] = {"supervised": ("-", "o", "full"), "unsupervised": ("--", "s", "none")}


def draw(out: Path) -> Figure:
    """Draw the networks of a results file, a panel each: measured points over predicted lines."""
    names = cases(PRESETS["quick"]["N"])
    figure, axes = plt.subplots(1, len(names), figsize=(12, 4), sharey=True)
    for panel, (name, case) in zip(axes, names.items(), strict=True):
        for training, (line, marker, fill) in STYLES.items():
            curves = store.read(out, f"theory_lines/{name}-{training}").isel(T=0)
            points = store.read(out, f"comparison/{name}-{training}").isel(T=0)
            needed = store.read(out, f"theory_thresholds/{name}-{training}")["M"]
            for r, colour in zip(case.quality, figures.COLOURS, strict=False):
                curve = curves.sel(quality=r)
                panel.plot(curve["examples"], curve["m"].where(curve["retrieval"]), line, color=colour, linewidth=1.2)
                at = points.sel(quality=r)
                style = figures.POINTS | {"marker": marker, "color": colour, "fillstyle": fill}
                panel.errorbar(at["examples"], at["m_mean"], at["m_error"], **style)
                panel.plot(needed.sel(quality=r), -0.03, "^", color=colour, fillstyle=fill, clip_on=False)
        for r, colour in zip(case.quality, figures.COLOURS, strict=False):
            panel.plot([], [], color=colour, label=f"$r = {r}$")
        panel.legend(fontsize="small", loc="lower right")
        panel.set(xlabel="examples per archetype $M$", xscale="log", xlim=(0.8, 1.3 * float(points["examples"].max())))
        panel.set_title(case.title, fontsize="medium")
    axes[0].set_ylabel("magnetisation of the archetype $m$")
    axes[0].set_ylim(-0.05, 1.05)
    keys = [
        Line2D(
            [], [], linestyle=line, marker=marker, color="grey", fillstyle=fill, label=f"{training}: theory, measured"
        )
        for training, (line, marker, fill) in STYLES.items()
    ]
    keys.append(Line2D([], [], linestyle="", marker="^", color="grey", label=f"predicted threshold, $m > {LEARNED}$"))
    figure.legend(handles=keys, loc="outside lower center", ncols=3, fontsize="small")
    return figure


SCRIPT = Script(
    name="learning_thresholds",
    summary="Measure and predict the magnetisation against the number of examples, with and without a teacher.",
    presets=PRESETS,
    compute=compute,
    draw=draw,
)

if __name__ == "__main__":
    command_line.main(SCRIPT)
