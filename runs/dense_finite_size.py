"""Finite systems against the thermodynamic limit: m and energy at fixed (load, T), extrapolated in 1/N."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hebbian import DenseHebbian
from runs import command_line, comparison, figures
from runs.script import Run, Script
from sim import store
from theory import replica_symmetric


@dataclass(frozen=True)
class Case:
    """A point of the retrieval phase for one order and one training, at a few temperatures."""

    P: int
    training: str
    load: float
    T: tuple[float, ...]
    quality: float | None = None
    examples: int | None = None

    @property
    def name(self) -> str:
        """Name of the case's groups in the results file."""
        return f"P{self.P}-{self.training}"


# Deep enough in the retrieval phase that no sample of these sizes loses the pattern within the
# window: what remains are corrections in 1/N.
CASES = (
    Case(2, "storing", 0.05, (0.1, 0.2, 0.3)),
    Case(2, "supervised", 0.03, (0.1, 0.2, 0.3), quality=0.4, examples=80),
    Case(2, "unsupervised", 0.03, (0.1, 0.2, 0.3), quality=0.4, examples=80),
    Case(3, "storing", 0.1, (0.2, 0.3, 0.4)),
    Case(3, "supervised", 0.05, (0.2, 0.3, 0.4), quality=0.7, examples=20),
    Case(3, "unsupervised", 0.02, (0.2, 0.3, 0.4), quality=0.7, examples=10),
    Case(4, "storing", 0.1, (0.3, 0.4, 0.5)),
    Case(4, "supervised", 0.04, (0.2, 0.3, 0.4), quality=0.7, examples=20),
    Case(4, "unsupervised", 0.012, (0.2, 0.3, 0.4), quality=0.7, examples=10),
)
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        "N": {"P2": (200, 400, 800), "P3": (120, 160, 240), "P4": (100, 120, 160)},
        "samples": 16,
        "sweeps": 100,
    },
    "paper": {
        "N": {"P2": (200, 400, 800, 1600), "P3": (160, 240, 320, 480), "P4": (100, 120, 160, 200)},
        "samples": 32,
        "sweeps": 200,
    },
}
QUANTITIES = ("m", "energy")


def compute(run: Run) -> None:
    """Predict, simulate and extrapolate every case."""
    for case in CASES:
        sizes = run.preset["N"][f"P{case.P}"]
        model = DenseHebbian(N=sizes[0], P=case.P, training=case.training, quality=case.quality, examples=case.examples)
        point: dict[str, Any] = {"load": case.load, "T": case.T}
        theory = run.keep(f"theory/{case.name}", partial(replica_symmetric.solve, model, **point))
        simulation = run.sweep(model, f"simulation/{case.name}", N=sizes, **point)
        run.conclude(f"comparison/{case.name}", partial(compare, simulation, theory))


def compare(simulation: xr.Dataset, theory: xr.Dataset) -> xr.Dataset:
    """Extrapolate measured magnetisation and energy in 1/N and take their pulls from the prediction.

    Parameters
    ----------
    simulation : xarray.Dataset
        Measured at several sizes N. From fewer than three nothing is extrapolated: limits and pulls are NaN.
    theory : xarray.Dataset
        Prediction for infinite size.

    Returns
    -------
    xarray.Dataset
        Along quantity (and N): ``mean`` and ``error`` of each size, the fit of `runs.comparison.extrapolate`, ``pull``
        (Student-t if the theory holds) and ``freedom``, its degrees of freedom.
    """
    fits = []
    for name in QUANTITIES:
        mean, _ = comparison.sample_statistics(simulation, name)
        error = comparison.pooled_error(simulation, name)
        freedom = comparison.pooled_freedom(simulation, name)
        sizes = mean["N"].values
        # A size without value takes no part in the fit.
        enough = {"N": [*sizes, *(sizes.max() + np.arange(1, 4 - len(sizes)))]}
        fit = comparison.extrapolate(mean.reindex(enough), error.reindex(enough), freedom)
        fit["pull"] = (fit["limit"] - theory[name]) / fit["limit_error"]
        fits.append(fit.assign(mean=mean, error=error, freedom=freedom))
    compared = xr.concat(fits, dim=xr.DataArray(list(QUANTITIES), dims="quantity", name="quantity"))
    compared["pull"].attrs.update(long_name="extrapolated minus predicted value, over its error", units="1")
    compared["freedom"].attrs.update(long_name="degrees of freedom of the pull", units="1")
    return compared


def points(out: Path, quantity: str) -> xr.Dataset:
    """Return ``pull`` and ``freedom`` of one quantity at all points of a results file, along ``point``."""
    cases = [store.read(out, f"comparison/{name}") for name in store.groups(out, "comparison")]
    wanted = ["pull", "freedom"]
    chosen = [case[wanted].sel(quantity=quantity).stack(point=("load", "T")).reset_index("point") for case in cases]
    return xr.concat(chosen, dim="point")


def report(out: Path) -> Iterator[str]:
    """Yield how the limits of all cases agree with the theory, a line a quantity."""
    for quantity in QUANTITIES:
        found = points(out, quantity)
        yield comparison.summary(comparison.agreement(quantity, found["pull"], found["freedom"]), quantity)


def draw(out: Path) -> Figure:
    """Draw every case of a results file: m against 1/N, the fit, and the predicted limit."""
    names = store.groups(out, "comparison")
    columns = 3
    rows = -(-len(names) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(10, 0.6 + 2.6 * rows), squeeze=False)
    for panel, name in zip(axes.flat, names, strict=False):
        fit = store.read(out, f"comparison/{name}").sel(quantity="m")
        draw_case(panel, store.read(out, f"theory/{name}"), fit)
        P, training = name[1:].split("-")
        panel.set_title(f"$P = {P}$, {training}", fontsize="medium")
    for panel in axes[-1]:
        panel.set_xlabel("inverse size $1/N$")
    for panel in axes[:, 0]:
        panel.set_ylabel("magnetisation $m$")
    figure.suptitle(
        "points: simulation and its limit; squares: replica-symmetric theory; legends: their distance",
        fontsize="medium",
    )
    return figure


def draw_case(axes: plt.Axes, theory: xr.Dataset, fit: xr.Dataset) -> None:
    """Draw one case: measured points, fitted lines, and the theory as a square at 1/N = 0."""
    for colour, i in zip(figures.COLOURS, range(fit.sizes["T"]), strict=False):
        predicted, cut = theory.isel(load=0, T=i), fit.isel(load=0, T=i)
        inverse = np.append(0.0, 1 / cut["N"])
        distance = "no limit" if cut["pull"].isnull() else rf"{cut['pull'].item():+.1f}$\sigma$"
        label = f"$T = {cut['T'].item():g}$: {distance}"
        axes.plot(
            inverse, cut["limit"].item() + cut["slope"].item() * inverse, color=colour, linewidth=0.8, label=label
        )
        axes.errorbar(1 / cut["N"], cut["mean"], cut["error"], color=colour, **figures.POINTS)
        axes.errorbar(0, cut["limit"], cut["limit_error"], color=colour, **figures.POINTS)
        axes.plot(0, predicted["m"], "s", color=colour, markersize=9, fillstyle="none")
    axes.xaxis.set_major_locator(MaxNLocator(4))
    # Room to the right of the points, where no line runs; the colour of a label is its key.
    axes.set_xlim(right=1.65 / float(cut["N"].min()))
    axes.legend(
        fontsize="small",
        title=rf"$\gamma = {fit['load'].item():g}$",
        title_fontsize="small",
        loc="right",
        labelcolor="linecolor",
        handlelength=0,
        handletextpad=0,
    )


SCRIPT = Script(
    name="dense_finite_size",
    summary="Extrapolate magnetisation and energy to infinite size; P = 2, 3, 4, three trainings, three temperatures.",
    presets=PRESETS,
    compute=compute,
    draw=draw,
    report=report,
)

if __name__ == "__main__":
    command_line.main(SCRIPT)
