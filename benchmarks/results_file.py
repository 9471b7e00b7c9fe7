"""Results of a million points: what the commands for their files take: `python -m benchmarks.results_file`."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import xarray as xr

from benchmarks import timing
from sim import store

SIDE, SAMPLES = 1000, 2
# Seconds and bytes that opening and plotting a map may take.
ALLOWED_SECONDS, ALLOWED_BYTES = 5.0, 1e9
COMMANDS = {
    "open_datatree": "import sys, xarray; xarray.open_datatree(sys.argv[1]).load()",
    "info": "import sys; from runs import results; results.main(['info', sys.argv[1]])",
    "verify": "import sys; from runs import results; results.main(['verify', sys.argv[1]])",
    "plot": "import sys; from runs import results; results.main(['plot', sys.argv[1]])",
    "view, first page": "import pathlib, sys; from runs import explorer; path = pathlib.Path(sys.argv[1]); "
    "explorer.application(path); view = explorer.look(explorer.Reader(path), 'simulation'); "
    "explorer.map_figure(view), explorer.cut_figure(view, 'T', samples=True), explorer.point_rows(view)",
}


def measurement(places: tuple[str, ...], sizes: dict[str, int]) -> xr.Dataset:
    """Return magnetisations along two axes and samples, NaN still."""
    coordinates = {"load": np.linspace(0, 0.2, sizes["load"]), "T": np.linspace(0, 1, sizes["T"])}
    sizes = {name: sizes[name] for name in ("load", "T", "sample")}
    m = np.full(tuple(sizes.values()), np.nan)
    template = xr.Dataset({"m": (tuple(sizes), m)}, coordinates | {"sample": range(sizes["sample"])})
    return template.assign_attrs(parameters=store.to_json({"places": places}))


def write(path: Path, places: tuple[str, ...], sizes: dict[str, int]) -> None:
    """Write a finished sweep over a map, with its theory."""
    template = measurement(places, sizes)
    predicted = 1 - template["T"] ** 2 - template["load"]
    noise = np.random.default_rng(1).normal(0, 0.01, template["m"].shape)
    values = (predicted.transpose("load", "T").values[:, :, None] + noise).transpose(
        [template["m"].dims.index(name) for name in (*places, *(d for d in template["m"].dims if d not in places))]
    )
    with store.ResultsFile(path, {"seed": np.uint64(1)}) as file:
        table = file.table("simulation", template, places)
        for place in np.ndindex(*values.shape[: len(places)]):
            table.write(place, {"m": values[place]})
        file.create({"theory": xr.Dataset({"m": predicted.transpose("load", "T")})})


def run(code: str, path: Path) -> tuple[float, float]:
    """Run a program in a new interpreter; return its seconds and the bytes that it used at its peak."""
    start = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"exit status {process.returncode}")
    return time.perf_counter() - start, 1024.0 * used.ru_maxrss


def main() -> None:
    """Print what each command takes, imports included."""
    timing.header()
    base = run("import runs.results, runs.explorer", Path())
    print(f"importing everything, which every line below includes: {base[0]:.1f} s, {base[1] / 1e6:.0f} MB")
    for words, places, sizes in (
        ("2000 tasks of 1000 temperatures", ("load", "sample"), {"load": SIDE, "T": SIDE, "sample": SAMPLES}),
        ("a million tasks", ("load", "T", "sample"), {"load": SIDE, "T": SIDE, "sample": 1}),
    ):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "results.h5"
            write(path, places, sizes)
            size = path.stat().st_size
            print(f"map of {SIDE} x {SIDE} points, {words}, {size / 1e6:.0f} MB; bound: {ALLOWED_SECONDS:g} s and 1 GB")
            for name, code in COMMANDS.items():
                seconds, memory = run(code, path)
                shares = f"{seconds / ALLOWED_SECONDS:4.2f} and {memory / ALLOWED_BYTES:4.2f} of the bound"
                print(f"  {name:18} {seconds:5.1f} s  {memory / 1e6:6.0f} MB   {shares}")


if __name__ == "__main__":
    main()
