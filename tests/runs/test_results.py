import contextlib
import importlib.machinery
import io
import json
import re
import sys
import types
from pathlib import Path

import h5py
import matplotlib.pyplot as plt
import numpy as np
import pandas
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hebbian import DenseHebbian
from runs import comparison, explorer, results
from sim import store, sweep

MODEL = DenseHebbian(N=12, P=2)
GRID = {"load": [0.1, 0.3], "T": [0.1, 0.5, 0.9], "samples": 3, "sweeps": 3, "seed": 5}
FUZZ = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def run(*words):
    """Run the command; return its exit code, what it printed and what it complained about."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = results.main([str(word) for word in words])
    return code, out.getvalue(), err.getvalue()


def refused(*words):
    """Run the command; return its only line of complaint."""
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


@pytest.fixture(scope="module", autouse=True)
def no_subprocess():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_git_commit", lambda: "commit")
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A file with theory and comparison, a shard of it, both finished; tests only read them."""
    folder = tmp_path_factory.mktemp("results")
    attributes = {"seed": np.uint64(5), "engine": "sim.glauber, numba, cpu", "script": "no_such_script"}
    attributes["configuration"] = store.to_json({"preset": "quick", "grid": {"load": [0.1, 0.3], "N": 12}})
    with store.ResultsFile(folder / "whole.h5", attributes) as file:
        simulation = sweep(MODEL, **GRID, out=file, progress=False)
        fine = np.linspace(0, 1, 9)
        theory = xr.Dataset({"m": (("load", "T"), np.full((2, 3), 0.9))}, {"load": GRID["load"], "T": GRID["T"]})
        lines = xr.Dataset({"T_c": ("load", [0.4, 0.6]), "gamma_c": ("T", fine / 2)}, {"load": GRID["load"], "T": fine})
        compared = comparison.compare(simulation, theory, ["m"])
        file.create({"theory": theory, "theory_lines": lines, "comparison": compared})
    sweep(MODEL, **GRID, out=folder / "shard.h5", shard=(1, 2), progress=False)
    sweep(MODEL, **GRID, out=folder / "other.h5", shard=(0, 2), progress=False)
    sweep(MODEL, **GRID | {"load": [0.1]}, out=folder / "line.h5", progress=False)
    (folder / "text.h5").write_text("no results\n")
    with h5py.File(folder / "foreign.h5", "w") as file:
        file["x"] = 1
    (folder / "empty.h5").touch()
    return folder


@pytest.fixture
def whole(folder):
    return folder / "whole.h5"


def changed(source, target, at, bits=1):
    """A copy with some bits of the byte at an address flipped."""
    data = bytearray(Path(source).read_bytes())
    data[at] ^= bits
    target.write_bytes(data)
    return target


def address(path, name, place):
    """Where in a file the entry of a variable of /simulation lies."""
    with h5py.File(path) as file:
        variable = file["simulation"][name]
        return variable.id.get_offset() + variable.dtype.itemsize * int(np.ravel_multi_index(place, variable.shape))


def test_info_says_what_is_there_and_what_is_missing(folder, whole):
    code, out, err = run("info", whole)
    assert (code, err) == (0, "")
    for text in (
        "seed          5",
        "script        no_such_script",
        "preset        quick",
        "load        2 values, 0.1 to 0.3",
        "/simulation: 6 of 6 tasks",
        "T             3 values, 0.1 to 0.9",
        "/theory_lines: ",
        "all tasks are stored",
    ):
        assert text in out, text
    out = run("info", folder / "shard.h5")[1]
    assert "/simulation: 3 of 6 tasks" in out
    assert re.search("3 tasks are missing: about .* at the rate of those stored", out)


def test_info_says_what_changed_when_a_run_was_resumed(tmp_path, monkeypatch):
    path = tmp_path / "a.h5"
    sweep(MODEL, **GRID, out=path, shard=(0, 2), progress=False)
    monkeypatch.setattr(store, "_git_commit", lambda: "another commit")
    sweep(MODEL, **GRID, out=path, shard=(0, 6), resume=True, progress=False)
    out = run("info", path)[1]
    assert "Z: now git_commit another commit" in out
    assert "3 tasks are missing; how long they take, the file does not tell" in out


def test_verify_tells_sound_damaged_and_foreign_files_apart(folder, whole, tmp_path):
    code, out, err = run("verify", whole, folder / "shard.h5")
    assert (code, err) == (0, "")
    assert out == f"{whole}: sound, 6 of 6 tasks\n{folder / 'shard.h5'}: sound, 3 of 6 tasks\n"
    task = changed(whole, tmp_path / "task.h5", address(whole, "m", (1, 2, 0, 1)))
    code, out, err = run("verify", task, whole)
    assert (code, err) == (1, "")
    damaged = "/simulation, 1 task(s) damaged, to run again with --resume: load = 0.3, sample = 0"
    assert out.splitlines() == [f"{task}: {damaged}", f"{whole}: sound, 6 of 6 tasks"]
    code, out, err = run("verify", changed(whole, tmp_path / "head.h5", whole.read_bytes().index(b"no_such_script")))
    assert code == 1
    assert "its checksum is wrong" in out
    code, out, err = run("verify", folder / "text.h5", whole, tmp_path / "none.h5")
    assert code == 2
    assert out == f"{whole}: sound, 6 of 6 tasks\n"
    assert [line.split(":")[0] for line in err.splitlines()] == ["error", "error"]


@pytest.mark.parametrize(
    ("name", "place", "words"),
    [
        ("completed", (0, 1), "1 task(s) damaged, to run again with --resume: load = 0.1, sample = 1"),
        ("completed", (0, 0), "1 task(s) not marked as stored but written to, to run again with --resume: load = 0.1"),
        ("checksum", (0, 0), "not marked as stored but written to"),
        ("energy", (1, 0, 1, 0), "not marked as stored but written to, to run again with --resume: load = 0.3, sampl"),
    ],
)
def test_verify_looks_at_flags_and_at_what_is_not_stored(folder, tmp_path, name, place, words):
    # Of the shard, tasks 1, 3 and 5 are stored: samples 1; 0 and 2.
    source = folder / "shard.h5"
    if name == "completed" and place == (0, 0):
        path = changed(source, tmp_path / "a.h5", address(source, "m", (0, 0, 0, 0)), 255)
    else:
        path = changed(source, tmp_path / "a.h5", address(source, name, place), 2)
    code, out, _ = run("verify", path)
    assert code == 1
    assert words in out
    sweep(MODEL, **GRID, out=path, resume=True, progress=False)
    assert run("verify", path)[:2] == (0, f"{path}: sound, 6 of 6 tasks\n")


def test_verify_looks_at_axes_and_attributes(tmp_path):
    data = xr.Dataset({"m": ("T", [1.0])}, {"T": [0.5]}, {"parameters": "{no JSON"})
    data["completed"], data["checksum"] = ("T", np.zeros(1, np.int8)), ("T", np.zeros(1, np.uint32))
    data.attrs["places"] = "T"
    path = tmp_path / "a.h5"
    with store.ResultsFile(path, {"configuration": "{"}) as file:
        file.create({"simulation": data, "theory": xr.Dataset({"m": ("T", [1.0])}, {"T": [0.4]})})
    code, out, _ = run("verify", path)
    assert code == 1
    for words in (
        "attribute configuration: no JSON",
        "/simulation, attribute parameters: no JSON",
        "/theory and /simulation do not agree: T has no value in common",
    ):
        assert words in out, words


def test_merge_joins_and_says_what_was_left_out(folder, whole, tmp_path):
    out = tmp_path / "out.h5"
    code, text, err = run("merge", out, folder / "shard.h5", folder / "other.h5")
    assert (code, err) == (0, "")
    assert text == "/simulation: 6 of 6 tasks\n"
    xr.testing.assert_identical(
        store.read(out, "simulation").drop_attrs(), store.read(whole, "simulation").drop_attrs()
    )
    assert "exists; allowed: a new path, or overwrite (--overwrite)" in refused("merge", out, out, out)
    assert 'script = "no_such_script"' in refused("merge", out, out, whole, "--overwrite")
    code, text, _ = run("merge", out, whole, whole, "--overwrite")
    assert code == 0
    assert "comparisons are of the parts and left out: the script with --out" in text


def test_exported_tables_hold_every_stored_point(folder, tmp_path):
    source = folder / "shard.h5"
    data = store.read(source, "simulation")
    for suffix, read in (("csv", pandas.read_csv), ("parquet", pandas.read_parquet)):
        out = tmp_path / f"table.{suffix}"
        assert run("export", source, out) == (0, f"{out}\n", "")
        table = read(out)
        assert list(table.columns[:5]) == ["load", "T", "sample", "replica", "pair"]
        assert not {"completed", "checksum"} & set(table.columns)
        assert len(table) == 3 * len(GRID["T"]) * 2
        for row in table.to_dict("records"):
            at = {name: row[name] for name in ("load", "T", "sample", "replica")}
            assert int(data["completed"].sel(load=at["load"], sample=at["sample"])) == 1
            assert row["m"] == float(data["m"].sel(at))
            assert row["K"] == int(data["K"].sel(load=at["load"]))


def test_exported_netcdf_holds_groups_and_origin(whole, tmp_path):
    run("export", whole, tmp_path / "all.nc")
    with xr.open_datatree(tmp_path / "all.nc") as tree:
        assert tree.attrs["seed"] == 5
        assert json.loads(tree.attrs["configuration"])["preset"] == "quick"
        for name in store.rooms(whole):
            wanted = store.read(whole, name).drop_vars("checksum", errors="ignore")
            xr.testing.assert_identical(tree[name].to_dataset(), wanted)
    run("export", whole, tmp_path / "one.nc", "--group", "theory_lines")
    with xr.open_dataset(tmp_path / "one.nc") as data:
        xr.testing.assert_equal(data, store.read(whole, "theory_lines"))
        assert data.attrs["script"] == "no_such_script"


def test_what_cannot_be_exported(whole, tmp_path, monkeypatch):
    assert "ends in '.txt'; allowed: .nc, .csv, .parquet" in refused("export", whole, tmp_path / "a.txt")
    assert "group = 'none' is not in" in refused("export", whole, tmp_path / "a.csv", "--group", "none")
    assert "does not exist" in refused("export", tmp_path / "no.h5", tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("precious")
    assert "exists; allowed: a new path, or --overwrite" in refused("export", whole, tmp_path / "a.csv")
    task = changed(whole, tmp_path / "task.nc", address(whole, "m", (1, 2, 0, 1)))
    words = refused("export", task, tmp_path / "a.csv", "--overwrite")
    assert "1 damaged task(s), first load = 0.3, sample = 0" in words
    assert "is the results file itself" in refused("export", task, task, "--overwrite")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert 'pip install "hebbian[parquet]"' in refused("export", whole, tmp_path / "a.parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "task.nc"]
    assert (tmp_path / "a.csv").read_text() == "precious"


def test_a_map_is_drawn_under_its_lines_beside_its_pulls(whole):
    figure = results.general_figure(whole, "simulation")
    try:
        left, right = [axes for axes in figure.axes if axes.get_xlabel()]
        compared = store.read(whole, "comparison")
        np.testing.assert_allclose(left.images[0].get_array(), compared["m_mean"].transpose("T", "load"))
        np.testing.assert_allclose(right.images[0].get_array(), compared["m_pull"].transpose("T", "load"))
        drawn = {line.get_label(): line.get_xydata().tolist() for line in left.get_lines()}
        assert len(drawn) == 2
        assert [[0.1, 0.4], [0.3, 0.6]] in drawn.values()
        assert [0.5, 1.0] in list(drawn.values())[1]
    finally:
        plt.close(figure)


def test_a_cut_is_drawn_over_the_prediction_and_its_pulls(folder, tmp_path):
    figure = results.general_figure(folder / "line.h5", "simulation", "n")
    try:
        (axes,) = figure.axes
        mean = store.read(folder / "line.h5", "simulation")["n"].mean(["load", "sample", "replica"])
        np.testing.assert_allclose(np.asarray(axes.get_lines()[0].get_ydata(), float), mean.values)
    finally:
        plt.close(figure)
    path = tmp_path / "line.h5"
    path.write_bytes((folder / "line.h5").read_bytes())
    with store.ResultsFile(path, resume=True) as file:
        T = np.linspace(0.1, 0.9, 5)
        file.create({"theory": xr.Dataset({"m": (("load", "T"), [T])}, {"load": [0.1], "T": T})})
    figure = results.general_figure(path, "simulation", "m")
    try:
        upper, lower = figure.axes
        assert any(np.array_equal(line.get_ydata(), T) for line in upper.get_lines())
        assert "pull" in lower.get_ylabel()
    finally:
        plt.close(figure)


def test_plot_draws_the_figure_of_the_script_or_a_general_one(folder, whole, tmp_path, monkeypatch):
    run("plot", folder / "line.h5", "--out", tmp_path / "line.pdf")
    assert (tmp_path / "line.pdf").read_bytes()[:4] == b"%PDF"
    module = types.ModuleType("runs.no_such_script")
    module.__spec__ = importlib.machinery.ModuleSpec("runs.no_such_script", None)
    drawn = []

    def draw(path):
        drawn.append(path)
        return plt.figure()

    module.draw = draw
    monkeypatch.setitem(sys.modules, "runs.no_such_script", module)
    out = tmp_path / "a.png"
    assert run("plot", whole, "--out", out) == (0, f"{out}\n", "")
    assert drawn == [whole]
    assert out.read_bytes()[:4] == b"\x89PNG"
    assert run("plot", whole, "--out", out, "--variable", "q")[0] == 0
    assert drawn == [whole]
    assert "variable = 'z' of /simulation cannot be drawn; allowed: m, " in refused(
        "plot", whole, "--out", out, "--variable", "z"
    )
    module.draw = lambda path: store.read(path, "none")
    assert "the figure of no_such_script needs all of its groups" in refused("plot", whole, "--out", out)
    damaged = changed(whole, tmp_path / "b.h5", address(whole, "m", (1, 2, 0, 1)))
    assert "1 damaged task(s)" in refused("plot", damaged)
    assert "ends in ''" in refused("plot", whole, "--out", tmp_path / "a")
    plt.close("all")


def test_plot_names_the_groups_if_there_are_several(tmp_path):
    data = xr.Dataset({"m": ("T", [1.0, 2.0])}, {"T": [0.5, 1.0]})
    with store.ResultsFile(tmp_path / "a.h5") as file:
        file.create({"simulation/a": data, "simulation/b": data, "theory/c": xr.Dataset({"x": 1.0})})
    words = refused("plot", tmp_path / "a.h5")
    assert "2 groups of measurements; allowed: --group simulation/a, simulation/b, theory/c" in words
    assert run("plot", tmp_path / "a.h5", "--group", "simulation/b")[0] == 0
    assert (tmp_path / "a.png").exists()
    assert "cannot be drawn; allowed: a group with" in refused("plot", tmp_path / "a.h5", "--group", "theory/c")


def test_view_serves_until_interrupted(whole, monkeypatch):
    served = []

    def serve(path, *, port, browser):
        served.append((path, port, browser))
        raise KeyboardInterrupt

    monkeypatch.setattr(explorer, "serve", serve)
    assert run("view", whole, "--port", "8000", "--no-browser") == (0, "", "")
    assert served == [(whole, 8000, False)]
    monkeypatch.undo()
    assert "port = 70000" in refused("view", whole, "--port", "70000", "--no-browser")
    assert "does not exist" in refused("view", whole.with_name("no.h5"), "--no-browser")


def test_help_and_wrong_words(whole):
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    for command in ("info", "verify", "merge", "export", "plot", "view"):
        assert command in out
        assert run(command, "--help")[0] == 0
        assert "allowed: what --help says" in refused(command)
    for words in ([], ["nothing"], ["info", whole, whole], ["info", "--bad"], ["view", whole, "--port", "x"]):
        assert "allowed: what --help says" in refused(*words)
    assert "is not a file" in refused("info", whole.parent)


COMMANDS = st.sampled_from(["info", "verify", "merge", "export", "plot", "view"])
FILES = st.sampled_from(["whole.h5", "shard.h5", "text.h5", "foreign.h5", "empty.h5", "none.h5", ".", "no/new.h5"])
OUTS = st.sampled_from(["new.csv", "new.nc", "new.parquet", "new.txt", "new.h5", "whole.h5"])
OPTIONS = st.sampled_from(
    [
        "--help",
        "--out=new.pdf",
        "--overwrite",
        "--group=simulation",
        "--group=x",
        "--variable=m",
        "--port=80",
        "--",
        "-x",
    ]
)
RUBBISH = st.text(st.characters(exclude_characters="/"), max_size=8)
WORDS = st.one_of(
    st.lists(st.one_of(COMMANDS, FILES, OUTS, OPTIONS, RUBBISH), max_size=5),
    st.tuples(COMMANDS, FILES, OPTIONS | RUBBISH),
    st.tuples(st.just("export"), FILES, OUTS, OPTIONS),
    st.tuples(st.just("merge"), OUTS, FILES, FILES, OPTIONS),
)


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@FUZZ
@given(WORDS)
def test_no_command_line_makes_a_traceback_or_changes_a_file_in_vain(folder, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(explorer, "serve", lambda path, **_: store.attributes_of(path) and None)
    for name in ("whole.h5", "shard.h5", "text.h5", "foreign.h5", "empty.h5"):
        Path(name).write_bytes((folder / name).read_bytes())
    before = contents(tmp_path)
    code, _, err = run(*words)
    assert code in (0, 1, 2)
    lines = err.splitlines()
    assert all(line.startswith("error: ") for line in lines)
    if code == 2:
        assert len(lines) == 1 or words[0] == "verify"
        assert contents(tmp_path) == before
    else:
        assert not lines


def tables(path):
    """Addresses of a file that the checksums of tasks guard."""
    with h5py.File(path) as file:
        found = [file["simulation"][name] for name in ("m", "acceptance", "completed", "checksum")]
        return [v.id.get_offset() + i for v in found for i in range(v.size * v.dtype.itemsize)]


@st.composite
def damages(draw, data, guarded):
    """A way to damage a file: the new bytes, and whether they were a results file once."""
    kind = draw(st.sampled_from(["cut", "flip", "flip a task", "foreign", "empty"]))
    if kind == "cut":
        return data[: draw(st.integers(0, len(data) - 1))]
    if kind in ("foreign", "empty"):
        return draw(st.binary(min_size=1, max_size=2000)) if kind == "foreign" else b""
    where = st.sampled_from(guarded) if kind == "flip a task" else st.integers(0, len(data) - 1)
    flipped = bytearray(data)
    for at, bit in draw(st.sets(st.tuples(where, st.integers(0, 7)), min_size=1, max_size=8)):
        flipped[at] ^= 1 << bit
    return bytes(flipped)


@FUZZ
@given(st.data())
def test_every_damage_is_found_and_leaves_the_file_alone(folder, tmp_path, data):
    source = folder / "shard.h5"
    wrong = data.draw(damages(source.read_bytes(), tables(source)))
    path = tmp_path / "wrong.h5"
    path.write_bytes(wrong)
    code, out, err = run("verify", path)
    assert code in (1, 2)
    assert bool(out) == (code == 1)
    assert (err.count("\n"), err[:7]) == ((1, "error: ") if code == 2 else (0, ""))
    out, table = tmp_path / "x.h5", tmp_path / "x.csv"
    others = [["info", path], ["export", path, table, "--overwrite"], ["merge", out, path, source]]
    code, _, err = run(*data.draw(st.sampled_from(others)))
    assert code in (0, 2)
    assert (err.count("\n"), err[:7]) == ((1, "error: ") if code == 2 else (0, ""))
    assert path.read_bytes() == wrong
    out.unlink(missing_ok=True)
    assert {path, table} >= set(tmp_path.iterdir())
