"""Phases of a multitasking network over (dilution, T) and (dilution, data-set entropy).

A network of a few patterns starts from the hierarchical state. Depending on the dilution it ends with one pattern
retrieved, with several in a hierarchy, in partial order, with all of them in parallel, or with none.
"""

import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from hebbian import MultitaskingHebbian, validation
from runs import command_line, comparison, figures, script
from runs.multitasking_hierarchy import RESOLVED, predict_given
from runs.script import Run, Script
from sim import store
from theory import replica_symmetric
from theory.replica_symmetric import multitasking

# Number of examples, and temperature, of the diagram over (d, rho).
EXAMPLES, COLD = 20, 0.05
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        "N": 10_000,
        "dilution": np.linspace(0.1, 0.9, 9),
        "T": np.linspace(0.04, 0.76, 7),
        "rho": np.linspace(0.05, 1.25, 6),
        "samples": 4,
        "sweeps": 50,
    },
    "paper": {
        "N": 100_000,
        "dilution": np.linspace(0.05, 0.95, 19),
        "T": np.linspace(0.02, 0.98, 17),
        "rho": np.linspace(0.02, 1.25, 13),
        "samples": 8,
        "sweeps": 100,
    },
}
FINE = 64


def compute(run: Run) -> None:
    """Predict, simulate and compare both diagrams."""
    N, d, T = (run.preset[name] for name in ("N", "dilution", "T"))
    K = validation.integer("patterns", run.settings.options["patterns"], minimum=2)
    rho = validation.axis("rho", run.preset["rho"], minimum=0.0)
    storing = MultitaskingHebbian(N=N, K=K)
    learning = storing.replace(training="supervised", quality=0.5, examples=EXAMPLES)
    options: dict[str, Any] = {"initial": "hierarchical", "overlaps": "all"}
    fine = np.linspace(0.005, 0.995, FINE)
    dense = np.linspace(0.01, max(1.1 * rho.max(), 0.1), FINE)

    def over_temperature(dilution: NDArray[np.float64], T: NDArray[np.float64]) -> xr.Dataset:
        return multitasking.solve(storing, dilution=dilution, T=T)

    def over_entropy(dilution: NDArray[np.float64], rho: NDArray[np.float64]) -> xr.Dataset:
        theory = multitasking.solve(learning, dilution=dilution, quality=quality(rho), T=COLD)
        return theory.assign_coords(rho=("quality", rho))

    theory = run.keep("theory/temperature", lambda: over_temperature(d, T))
    poor = run.keep("theory/entropy", lambda: over_entropy(d, rho))
    run.keep("theory_map/temperature", lambda: over_temperature(fine, fine)[["m", "phase"]])
    run.keep("theory_map/entropy", lambda: over_entropy(fine, dense)[["m", "phase"]])
    run.keep("theory_cuts", lambda: over_temperature(cut_dilutions(d), fine)[["m"]])
    run.keep("theory_lines", lambda: lines(storing, fine))

    simulation = run.sweep(storing, "simulation/temperature", dilution=d, T=T, **options)
    given = predict_given(run, "theory_given/temperature", storing, d, T)
    run.conclude("comparison/temperature", partial(compare_average, simulation, theory, N))
    run.conclude("comparison/temperature-given", partial(compare, simulation, given, N))
    simulation = run.sweep(learning, "simulation/entropy", dilution=d, quality=quality(rho), T=COLD, **options)
    run.conclude("comparison/entropy", lambda: compare_average(simulation, poor, N).assign_coords(rho=("quality", rho)))


def cut_dilutions(dilution: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (at most three) dilutions at which amplitudes are drawn against T."""
    return np.sort(dilution)[np.unique(np.linspace(0, len(dilution) - 1, 5).astype(int)[1:4])]


def quality(rho: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the quality of `EXAMPLES` examples of this data-set entropy."""
    return 1 / np.sqrt(1 + EXAMPLES * rho)


def lines(model: MultitaskingHebbian, axis: NDArray[np.float64]) -> xr.Dataset:
    """Return the transition lines along T or along the dilution."""
    return xr.Dataset(
        {
            "d_c": replica_symmetric.critical_dilution(model, axis),
            "d_parallel": replica_symmetric.parallel_dilution(model, axis),
            "T_condensation": replica_symmetric.condensation_temperatures(model, axis),
        }
    )


def compare(simulation: xr.Dataset, theory: xr.Dataset, N: int, where: xr.DataArray | bool = True) -> xr.Dataset:
    """Take the pulls of the overlaps, and add the phase that was measured in networks of N spins."""
    compared = comparison.compare(simulation, theory, names=("m_all",), where=where)
    compared["phase"] = measured_phase(simulation, N)
    if "phase" in theory:
        same = (compared["phase"] == theory["phase"]).mean()
        compared["phase_agreement"] = same.assign_attrs(long_name="fraction of points of the same phase", units="1")
    return compared


def compare_average(simulation: xr.Dataset, theory: xr.Dataset, N: int) -> xr.Dataset:
    """Compare with an average over patterns, which describes the amplitudes that random overlaps do not hide."""
    return compare(simulation, theory.rename(m="m_all"), N, theory["m"] > RESOLVED / np.sqrt(N))


def measured_phase(simulation: xr.Dataset, N: int) -> xr.DataArray:
    """Classify what was measured by the definitions of the theory; amplitudes below the resolution are zero."""
    resolution = RESOLVED / np.sqrt(N)
    # Which pattern leads is a matter of the sample: amplitudes are put in order first.
    ordered = xr.apply_ufunc(
        lambda m: -np.sort(-m),
        abs(simulation["m_all"]).mean("replica"),
        input_core_dims=[["pattern"]],
        output_core_dims=[["pattern"]],
    ).mean("sample")
    n = ordered.where(ordered > resolution, 0.0)
    condensed, first, last = (n > 0).sum("pattern"), n.isel(pattern=0), n.isel(pattern=-1)
    conditions = {
        "paramagnetic": condensed == 0,
        "retrieval": condensed == 1,
        "parallel": first - last < resolution,
        "hierarchical": first > n.sum("pattern") - first,
    }
    phase = xr.full_like(condensed, multitasking.PHASES.index("partially_ordered"), dtype=np.int8)
    for name, holds in reversed(conditions.items()):
        phase = phase.where(~holds, multitasking.PHASES.index(name))
    return phase.assign_attrs(long_name="measured phase, codes as in the theory", units="1")


# A colour a phase, in the order of the codes.
SHADES = ("#FFFFFF", "#F0E442", "#56B4E9", "#CC79A7", "#009E73")
LINES = {"d_c": "-", "d_parallel": "--"}


def draw(out: Path) -> Figure:
    """Draw both diagrams of a results file, and cuts at fixed dilution."""
    figure, axes = plt.subplots(1, 3, figsize=(15, 4.8))
    theory, compared = store.read(out, "theory_map/temperature"), store.read(out, "comparison/temperature")
    draw_phases(axes[0], theory["T"], theory["phase"], compared["T"], compared["phase"])
    lines = store.read(out, "theory_lines")
    for name, style in LINES.items():
        axes[0].plot(lines[name], lines["T"], style, color="black", linewidth=1)
    condensation = lines["T_condensation"].where(lines["T_condensation"] > 0)
    axes[0].plot(lines["dilution"], condensation, ":", color="black", linewidth=1)
    axes[0].set(ylabel="temperature $T$", title=f"(a) storing, $K = {theory.sizes['pattern']}$")
    draw_cuts(axes[1], store.read(out, "theory_cuts"), compared)
    theory, compared = store.read(out, "theory_map/entropy"), store.read(out, "comparison/entropy")
    draw_phases(axes[2], theory["rho"], theory["phase"], compared["rho"], compared["phase"])
    axes[2].set(ylabel=r"data-set entropy $\rho$", title=f"(c) supervised, $M = {EXAMPLES}$, $T = {COLD}$")
    names = [name.replace("_", " ") for name in multitasking.PHASES]
    handles: list[Any] = [
        Patch(facecolor=shade, edgecolor="grey", label=name) for shade, name in zip(SHADES, names, strict=True)
    ]
    handles.append(Line2D([], [], marker="o", linestyle="", markeredgecolor="black", color="white", label="measured"))
    figure.legend(handles=handles, loc="outside lower center", ncols=6, fontsize="small")
    return figure


def draw_phases(
    axes: plt.Axes, y: xr.DataArray, phase: xr.DataArray, y_measured: xr.DataArray, measured: xr.DataArray
) -> None:
    """Draw predicted phases as areas and measured ones as points of the same colours."""
    colours, norm = ListedColormap(SHADES), BoundaryNorm(np.arange(len(SHADES) + 1) - 0.5, len(SHADES))
    (vertical,) = y.dims
    area = phase.squeeze().transpose(vertical, "dilution")
    axes.pcolormesh(phase["dilution"], y, area.where(area >= 0), cmap=colours, norm=norm, alpha=0.55, rasterized=True)
    (vertical,) = y_measured.dims
    # Of the entropy, one temperature; an axis can have one value as well.
    points = measured.squeeze([dim for dim in measured.dims if dim not in (vertical, "dilution")])
    points = points.transpose(vertical, "dilution")
    d, at = np.meshgrid(points["dilution"], y_measured)
    axes.scatter(d, at, c=points.values.ravel(), cmap=colours, norm=norm, edgecolors="black", s=34)
    axes.set(xlabel="dilution $d$", xlim=(0, 1), ylim=(0, None))


def draw_cuts(axes: plt.Axes, theory: xr.Dataset, compared: xr.Dataset) -> None:
    """Draw all amplitudes against T at three dilutions: measured points over predicted lines."""
    markers = list(zip(range(compared.sizes["pattern"]), itertools.cycle("os^Dv"), strict=False))
    for dilution, colour in zip(theory["dilution"].values, figures.COLOURS, strict=False):
        predicted = theory["m"].sel(dilution=dilution)
        points = compared.sel(dilution=dilution)
        for mu, marker in markers:
            axes.plot(predicted["T"], predicted.isel(pattern=mu), color=colour, linewidth=1)
            at = points.isel(pattern=mu)
            style = figures.POINTS | {"marker": marker, "color": colour}
            axes.errorbar(at["T"], at["m_all_mean"], at["m_all_error"], **style)
        axes.plot([], [], color=colour, label=f"$d = {dilution:.2f}$")
    for mu, marker in markers:
        axes.plot([], [], marker, color="grey", label=rf"$\mu = {mu + 1}$")
    axes.set(xlabel="temperature $T$", ylabel=r"amplitudes $m_\mu$", title="(b) cuts of (a)")
    axes.legend(fontsize="small", ncols=2)


def report(out: Path) -> Iterator[str]:
    """Yield how measured overlaps and phases agree with the predicted ones."""
    yield from script.report(out)
    for name in store.groups(out, "comparison"):
        compared = store.read(out, f"comparison/{name}")
        if "phase_agreement" in compared:
            yield f"{name}: {100 * compared['phase_agreement'].item():.0f} % of points in the predicted phase"


SCRIPT = Script(
    name="multitasking_phase_diagram",
    summary="Measure and predict the phases of a multitasking network of a few patterns.",
    presets=PRESETS,
    compute=compute,
    draw=draw,
    report=report,
    options={"patterns": (3, "Number of patterns, at least 2.")},
)

if __name__ == "__main__":
    command_line.main(SCRIPT)
