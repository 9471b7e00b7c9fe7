"""The look of all figures: sizes, colours, theory as lines, simulation as points."""

from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
from cycler import cycler
from matplotlib.figure import Figure

matplotlib.use("Agg")

# Okabe and Ito's palette, told apart by colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
COLOUR_MAP = "cividis"

plt.rcParams.update(
    {
        "figure.constrained_layout.use": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": cycler(color=COLOURS),
        "errorbar.capsize": 2,
        "legend.frameon": False,
        "savefig.dpi": 160,
    }
)

POINTS: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 4}


def save(figure: Figure, out: Path) -> list[Path]:
    """Write a figure beside a results file, as PNG and PDF; return the paths."""
    paths = [out.with_suffix(suffix) for suffix in (".png", ".pdf")]
    for path in paths:
        figure.savefig(path)
    plt.close(figure)
    return paths
