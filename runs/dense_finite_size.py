"""Finite systems against the thermodynamic limit: m and energy at fixed (load, T), extrapolated in 1/N."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from hebbian import DenseHebbian
from runs import command_line, comparison, figures
from sim import store, sweep
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
        "N": {2: (200, 400, 800), 3: (120, 160, 240), 4: (100, 120, 160)},
        "samples": 16,
        "sweeps": 100,
    },
    "paper": {
        "N": {2: (200, 400, 800, 1600), 3: (160, 240, 320, 480), 4: (100, 120, 160, 200)},
        "samples": 32,
        "sweeps": 200,
    },
}
QUANTITIES = ("m", "energy")


def compute(
    preset: dict[str, Any],
    *,
    seed: int,
    out: Path,
    overwrite: bool = False,
    workers: int = 1,
    cases: tuple[Case, ...] = CASES,
) -> None:
    """Simulate, predict and extrapolate every case, and write it to `out` as it is finished."""
    with (
        ProcessPoolExecutor(workers, get_context("spawn")) as executor,
        store.ResultsFile(out, {"seed": np.uint64(seed)}, overwrite=overwrite) as file,
    ):
        for case in cases:
            sizes = preset["N"][case.P]
            model = DenseHebbian(
                N=sizes[0], P=case.P, training=case.training, quality=case.quality, examples=case.examples
            )
            simulation = sweep(
                model,
                N=sizes,
                load=case.load,
                T=case.T,
                samples=preset["samples"],
                sweeps=preset["sweeps"],
                seed=seed,
                executor=executor,
            )
            theory = replica_symmetric.solve(model, load=case.load, T=case.T)
            file.create(f"simulation/{case.name}", simulation)
            file.create(f"theory/{case.name}", theory)
            file.create(f"comparison/{case.name}", compare(simulation, theory))


def compare(simulation: xr.Dataset, theory: xr.Dataset) -> xr.Dataset:
    """Extrapolate measured magnetisation and energy in 1/N and take their pulls from the prediction."""
    fits = []
    for name in QUANTITIES:
        mean, _ = comparison.sample_statistics(simulation, name)
        error = comparison.pooled_error(simulation, name)
        fit = comparison.extrapolate(mean, error)
        fit["pull"] = (fit["limit"] - theory[name]) / fit["limit_error"]
        fits.append(fit.assign(mean=mean, error=error))
    compared = xr.concat(fits, dim=xr.DataArray(list(QUANTITIES), dims="quantity", name="quantity"))
    compared["pull"].attrs.update(long_name="extrapolated minus predicted value, over its error", units="1")
    return compared


def pulls(out: Path, quantity: str) -> NDArray[np.float64]:
    """Return the pulls of all points of a results file, for one quantity."""
    cases = [store.read(out, f"comparison/{name}") for name in store.groups(out, "comparison")]
    return np.concatenate([case["pull"].sel(quantity=quantity).values.ravel() for case in cases])


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
        label = rf"$T = {cut['T'].item():g}$: {cut['pull'].item():+.1f}$\sigma$"
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


def main(
    preset: command_line.PresetOption = command_line.Preset.quick,
    seed: command_line.SeedOption = 1,
    out: command_line.OutOption = Path("results/dense_finite_size.h5"),
    overwrite: command_line.OverwriteOption = False,
    workers: command_line.WorkersOption = command_line.CORES,
) -> None:
    """Extrapolate magnetisation and energy to infinite size; P = 2, 3, 4, three trainings, three temperatures each."""
    compute(PRESETS[preset], seed=seed, out=out, overwrite=overwrite, workers=workers)
    for quantity in QUANTITIES:
        values = pulls(out, quantity)
        within = np.count_nonzero(abs(values) < 3)
        print(f"{quantity}: {within} of {values.size} points within 3 sigma, chi-square {np.sum(values**2):.1f}")
    print(*figures.save(draw(out), out), sep="\n")


if __name__ == "__main__":
    command_line.application(main)()
