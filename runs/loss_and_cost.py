r"""Cost of statistical mechanics against loss of machine learning, on multitasking networks at T = 0.

The cost is the energy H of what the network learned; the loss is the sum of squared errors on the archetypes, blind
to the sign, :math:`L = \sum_\mu L_\mu^+ L_\mu^-`, :math:`L_\mu^\pm = \|\xi^\mu \mp \sigma\|^2/2N`. The paper
(arXiv:2308.04106) claims that both have the same minima. Three questions: how L falls while the dynamics lowers H; how
far from a minimum of L a minimum of H is, if H is made of M examples; and where the plain sum
:math:`\sum_\mu L_\mu^+`, which is not blind to the sign, has its minimum.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hebbian import MultitaskingHebbian, QuenchedSample
from runs import command_line, comparison, figures
from runs.script import Run, Script
from sim import random, simulate, store
from sim.glauber.front import initial_spins
from theory.replica_symmetric import multitasking

K, QUALITY, DILUTION = 3, 0.4, 0.3
FEW = 4
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        "N": 10_000,
        "samples": 12,
        "examples": np.array([1, 2, 4, 8, 16, 32, 64, 128]),
        "dilution": np.linspace(0.05, 0.95, 10),
    },
    "paper": {
        "N": 100_000,
        "samples": 32,
        "examples": 2 ** np.arange(9),
        "dilution": np.linspace(0.05, 0.95, 19),
    },
}
TRAININGS = ("storing", "supervised", "unsupervised")
SWEEPS = 40
# One sweep each: slow enough to see the way down.
COOLING = np.linspace(0.9, 0.0, 31)
Data = Mapping[str, QuenchedSample]


@dataclass(frozen=True)
class Task:
    """Networks of the three trainings that share their archetypes."""

    N: int
    dilution: float
    examples: int
    seed: int
    sample: int

    @property
    def address(self) -> tuple[int, ...]:
        """Address of the random streams of the task."""
        return (self.N, random.float_bits(self.dilution), self.examples, self.sample)

    def quench(self) -> Data:
        """Draw the networks."""
        rng = random.stream(self.seed, self.address, "patterns")
        networks: dict[str, QuenchedSample] = {}
        for training in TRAININGS:
            xi = networks["storing"].xi if networks else None
            networks[training] = model(training, self.examples, self.dilution, self.N).quench(rng=rng, archetypes=xi)
        return networks

    def run(self, network: QuenchedSample, initial: Any, T: Any, **options: Any) -> NDArray[np.int8]:
        """Return the spins at the end of each temperature, shape (T, N)."""
        streams: dict[str, Any] = {"seed": self.seed, "task": self.address, "replicas": 1}
        ran = simulate(network, T=T, initial=initial, sweeps=1, configurations=True, **options, **streams)
        return ran["spins"].values[:, -1, 0]

    def minimum(self, network: QuenchedSample, initial: Any) -> NDArray[np.int8]:
        """Return where the dynamics at T = 0 ends; spins without a field are drawn, so that they forget the start."""
        return self.run(network, initial, 0.0, equilibration=SWEEPS)[0]


def model(training: str, examples: int, dilution: float, N: int) -> MultitaskingHebbian:
    """Return the network of one training."""
    learning: dict[str, Any] = {} if training == "storing" else {"quality": QUALITY, "examples": examples}
    return MultitaskingHebbian(N=N, K=K, dilution=dilution, training=training, **learning)


def trajectories(task: Task) -> xr.Dataset:
    """Return 2H/N and L along a descent from random spins, of each training."""
    falling = np.array(
        [
            [
                (2 * network.energy(sigma) / task.N, network.loss(sigma))
                for sigma in task.run(network, "random", COOLING, anneal=True)
            ]
            for network in task.quench().values()
        ]
    )
    variables = {
        "cost": (("training", "T"), falling[..., 0], label("2H/N of the learned network")),
        "loss": (("training", "T"), falling[..., 1], label("loss L on the archetypes")),
    }
    return xr.Dataset(variables, {"training": list(TRAININGS), "T": COOLING})


def minima(task: Task) -> xr.Dataset:
    """Return L at the minimum of H below the hierarchical state and at the minimum of L below that, by training."""
    networks = task.quench()
    # On the archetypes L is the energy of the network that stores them.
    archetypes = networks["storing"]
    found = []
    for network in networks.values():
        of_cost = task.minimum(network, "hierarchical")
        of_loss = task.minimum(archetypes, of_cost)
        found.append((archetypes.loss(of_cost), archetypes.loss(of_loss)))
    ended = np.array(found)
    variables = {
        "loss_of_cost": ("training", ended[:, 0], label("L at the minimum of H")),
        "loss_of_loss": ("training", ended[:, 1], label("L at the minimum of L below it")),
    }
    return xr.Dataset(variables, {"training": list(TRAININGS)})


def plain_sums(task: Task) -> xr.Dataset:
    """Return the plain sum of squared errors at the minimum of H below the hierarchical state, and its own minimum."""
    archetypes = task.quench()["storing"]
    # Each spin decides its own term of the plain sum: the majority is the minimum.
    own = initial_spins(archetypes, "parallel", replicas=1, seed=task.seed, task=task.address)[0]
    states = (task.minimum(archetypes, "hierarchical"), own)
    of_cost, of_plain = (archetypes.squared_errors(sigma)[0].sum() for sigma in states)
    return xr.Dataset(
        {
            "plain_of_cost": ((), of_cost, label("plain sum of errors at the minimum of H")),
            "plain_of_plain": ((), of_plain, label("minimum of the plain sum of errors")),
        }
    )


def label(long_name: str) -> dict[str, str]:
    """Return the attributes of a dimensionless variable."""
    return {"long_name": long_name, "units": "1"}


def loss_of(m: NDArray[np.float64], dilution: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Return L of a state with these overlaps (pattern, ...) in the limit of many spins."""
    return K * (1 - np.asarray(dilution) / 2) ** 2 - np.sum(m**2, axis=0)


def predict_descent(N: int) -> xr.Dataset:
    """Return the constant L - 2H/N of stored patterns, which it is on average over them."""
    constant = K * ((1 - DILUTION / 2) ** 2 - (1 - DILUTION) / N)
    return xr.Dataset({"constant": ((), constant, label("L - 2H/N of stored patterns"))})


def predict_minima(N: int, M: NDArray[np.int64]) -> xr.Dataset:
    """Predict L at the minimum of H for each number of examples, and the lowest L, in the limit of many spins."""
    best = loss_of(overlaps(multitasking.solve(model("storing", 1, DILUTION, N), T=0.0)), DILUTION)
    learned = loss_of(overlaps(multitasking.solve(model("supervised", 1, DILUTION, N), examples=M, T=0.0)), DILUTION)
    # Both trainings follow one equation at low load.
    of_cost = np.stack([np.full(len(M), best), learned, learned], axis=-1)
    return xr.Dataset(
        {
            "loss_of_cost": (("examples", "training"), of_cost, label("L at the minimum of H")),
            "loss_of_loss": (("examples", "training"), np.full_like(of_cost, best), label("minimum of L")),
        },
        {"examples": M, "training": list(TRAININGS)},
    )


def predict_plain(N: int, dilution: NDArray[np.float64]) -> xr.Dataset:
    """Predict the plain sum of squared errors at the minimum of H, and its minimum, in the limit of many spins."""
    stored = multitasking.solve(model("storing", 1, DILUTION, N), dilution=dilution, T=0.0)
    lengths = K * (1 - dilution / 2)
    of_cost, of_plain = lengths - overlaps(stored).sum(axis=0), lengths - majority(dilution)
    return xr.Dataset(
        {
            "plain_of_cost": ("dilution", of_cost, label("plain sum at the minimum of H")),
            "plain_of_plain": ("dilution", of_plain, label("minimum of the plain sum")),
        },
        {"dilution": dilution},
    )


def overlaps(solution: xr.Dataset) -> NDArray[np.float64]:
    """Return the overlaps of a solution at one temperature, (pattern, ...)."""
    return solution["m"].isel(T=0).transpose("pattern", ...).values


def majority(dilution: NDArray[np.float64]) -> NDArray[np.float64]:
    r"""Return :math:`E|\sum_\mu \xi^\mu|`, the sum of overlaps of the majority of the K archetypes."""
    sums = []
    for d in dilution.tolist():
        law = np.ones(1)
        for _ in range(K):
            law = np.convolve(law, [(1 - d) / 2, d, (1 - d) / 2])
        sums.append(law @ abs(np.arange(-K, K + 1)))
    return np.array(sums)


def compute(run: Run) -> None:
    """Predict and run the three experiments, and compare."""
    N, M, dilution = (run.preset[name] for name in ("N", "examples", "dilution"))
    theory = {
        "descent": run.keep("theory/descent", lambda: predict_descent(N)),
        "minima": run.keep("theory/minima", lambda: predict_minima(N, M)),
        "plain": run.keep("theory/plain", lambda: predict_plain(N, dilution)),
    }
    sample: Any = np.arange(run.preset["samples"])
    task = partial(Task, N=N, dilution=DILUTION, examples=FEW, seed=run.seed)
    stored = partial(task, examples=1)
    run.tabulate(trajectories, {"sample": sample}, "simulation/descent", argument=task)
    simulation = {
        name: run.tabulate(function, axes | {"sample": sample}, f"simulation/{name}", argument=argument)
        for name, function, axes, argument in (
            ("minima", minima, {"examples": M}, task),
            ("plain", plain_sums, {"dilution": dilution}, stored),
        )
    }
    for name, measured in simulation.items():
        run.conclude(f"comparison/{name}", partial(compare, measured.drop_vars("completed"), theory[name]))


def compare(simulation: xr.Dataset, theory: xr.Dataset) -> xr.Dataset:
    """Take the pulls of all that is predicted."""
    return comparison.compare(simulation, theory, names=map(str, theory.data_vars))


STYLES = {"storing": ("o", "full"), "supervised": ("s", "full"), "unsupervised": ("D", "none")}


def draw(out: Path) -> Figure:
    """Draw the three experiments of a results file."""
    figure, axes = plt.subplots(1, 3, figsize=(13, 4.2))
    draw_descent(axes[0], store.read(out, "simulation/descent"), store.read(out, "theory/descent"))
    draw_minima(axes[1], store.read(out, "comparison/minima"), store.read(out, "theory/minima"))
    draw_plain(axes[2], store.read(out, "comparison/plain"), store.read(out, "theory/plain"))
    return figure


def draw_descent(axes: plt.Axes, simulation: xr.Dataset, theory: xr.Dataset) -> None:
    """Draw loss against cost along the dynamics of the first sample, and the line of stored patterns."""
    first = simulation.isel(sample=0)
    ends = float(first["cost"].min()), 0.0
    axes.plot(ends, np.add(ends, theory["constant"].item()), color="grey", linewidth=1, label="$L = 2H/N + c$, storing")
    for training, colour in zip(TRAININGS, figures.COLOURS, strict=False):
        marker, fill = STYLES[training]
        at = first.sel(training=training)
        suffix = "" if training == "storing" else f", $M = {FEW}$"
        axes.plot(
            at["cost"],
            at["loss"],
            color=colour,
            marker=marker,
            fillstyle=fill,
            linewidth=0.6,
            markersize=4,
            label=training + suffix,
        )
    axes.set(xlabel="cost $2H/N$ of the learned network", ylabel="loss $L$ on the archetypes")
    axes.set_title(f"(a) cooling from random spins, $d = {DILUTION}$", fontsize="medium")
    axes.legend(fontsize="small")


def draw_minima(axes: plt.Axes, compared: xr.Dataset, theory: xr.Dataset) -> None:
    """Draw the loss at the minimum of the cost, and at the minimum of the loss below it."""
    compared, theory = compared.sortby("examples"), theory.sortby("examples")
    M = theory["examples"]
    axes.plot(
        M, theory["loss_of_cost"].sel(training="supervised"), color="black", linewidth=1, label="theory, minimum of $H$"
    )
    lowest = theory["loss_of_loss"].sel(training="storing")
    axes.plot(M, lowest, color="black", linewidth=1, linestyle="--", label="theory, lowest minimum of $L$")
    for training, colour in zip(TRAININGS[1:], figures.COLOURS[1:], strict=False):
        marker, fill = STYLES[training]
        style = figures.POINTS | {"color": colour, "marker": marker, "fillstyle": fill}
        at = compared.sel(training=training)
        axes.errorbar(
            M, at["loss_of_cost_mean"], at["loss_of_cost_error"], label=f"minimum of $H$, {training}", **style
        )
        style |= {"marker": "v" if training == "supervised" else "^"}
        axes.errorbar(
            M, at["loss_of_loss_mean"], at["loss_of_loss_error"], label=f"minimum of $L$ below it, {training}", **style
        )
    axes.set(xlabel="examples per archetype $M$", ylabel="loss $L$ on the archetypes", xscale="log")
    axes.set_title(f"(b) from the hierarchical state, $r = {QUALITY}$, $d = {DILUTION}$", fontsize="medium")
    axes.legend(fontsize="small")


def draw_plain(axes: plt.Axes, compared: xr.Dataset, theory: xr.Dataset) -> None:
    """Draw the plain sum of squared errors at the minimum of the cost, and its own minimum."""
    theory = theory.sortby("dilution")
    words = {"plain_of_cost": "at the minimum of $H$", "plain_of_plain": "its own minimum: the majority"}
    for (name, text), colour, marker in zip(words.items(), figures.COLOURS, "os", strict=False):
        axes.plot(theory["dilution"], theory[name] / K, color=colour, linewidth=1)
        style = figures.POINTS | {"color": colour, "marker": marker}
        axes.errorbar(
            compared["dilution"], compared[f"{name}_mean"] / K, compared[f"{name}_error"] / K, label=text, **style
        )
    axes.set(xlabel="dilution $d$", ylabel=r"plain sum $\sum_\mu L_\mu^+ / K$")
    axes.set_title("(c) errors that are not blind to the sign, storing", fontsize="medium")
    axes.legend(fontsize="small")


SCRIPT = Script(
    name="loss_and_cost",
    summary="Compare the minima of the cost H with those of the sum of squared errors, on multitasking networks.",
    presets=PRESETS,
    compute=compute,
    draw=draw,
)

if __name__ == "__main__":
    command_line.main(SCRIPT)
