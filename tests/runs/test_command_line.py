import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from runs import command_line
from sim import store
from tests.runs import example as toy

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(capsys, *arguments):
    """Return exit code, output and errors of the example with a command line."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        command_line.main(toy.SCRIPT, [*arguments, "--executor", "local:1"])
    captured = capsys.readouterr()
    return ended.value.code, captured.out, captured.err


def datasets(path):
    """Return the bytes of all datasets of a file."""
    found = {}

    def collect(name, node):
        if isinstance(node, h5py.Dataset):
            found[name] = node[()].tobytes() if node.dtype.kind != "O" else str(node[()].tolist())

    with h5py.File(path) as file:
        file.visititems(collect)
    return found


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.runs.example", *arguments, "--out", str(Path.cwd() / "a.h5")],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for_tasks(process, count=3):
    """Wait until a started program has stored some tasks."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        there = Path("a.h5").exists() and "simulation" in store.rooms("a.h5")
        if there and store.read("a.h5", "simulation").completed.sum() >= count:
            return
        time.sleep(0.05)
    raise AssertionError(f"no task was stored: {process.communicate()}")


def test_a_run_writes_file_figure_and_report(capsys):
    code, out, _ = call(capsys, "--out", "new/a.h5", "--log", "new/a.log")
    assert code == 0
    assert re.search(r"m: \d of \d points within 3 standard errors", out)
    assert sorted(path.suffix for path in Path("new").iterdir()) == [".h5", ".log", ".pdf", ".png"]
    attributes = store.attributes_of("new/a.h5")
    assert attributes["script"] == "example"
    assert json.loads(attributes["configuration"])["grid"]["load"] == [0.05, 0.1]
    log = Path("new/a.log").read_text()
    assert "6 tasks" in log
    assert log.count("stored load") == 6


def test_no_plot_draws_nothing(capsys):
    assert call(capsys, "--out", "a.h5", "--no-plot")[0] == 0
    assert [path.name for path in Path().iterdir()] == ["a.h5"]


def test_a_file_repeats_its_run_exactly(capsys):
    assert call(capsys, "--out", "a.h5", "--grid", "load=0.05:0.11:3", "--seed", "5", "--sweeps", "3")[0] == 0
    assert call(capsys, "--out", "b.h5", "--from-file", "a.h5")[0] == 0
    assert datasets("a.h5") == datasets("b.h5")
    assert call(capsys, "--out", "c.h5", "--from-file", "a.h5", "--seed", "6")[0] == 0
    assert datasets("a.h5") != datasets("c.h5")


def test_a_finished_file_is_reported_again_and_not_changed(capsys):
    first = call(capsys, "--out", "a.h5")
    before = datasets("a.h5")
    again = call(capsys, "--out", "a.h5", "--resume")
    assert (again[0], again[1]) == (0, first[1])
    assert datasets("a.h5") == before


def test_shards_and_a_resumption_end_as_one_run(capsys):
    assert call(capsys, "--out", "whole.h5")[0] == 0
    code, out, _ = call(capsys, "--out", "parts.h5", "--shard", "0/2")
    assert code == 0
    assert "shard 0/2 is in parts.h5" in out
    assert store.read("parts.h5", "simulation").completed.sum() == 3
    assert "comparison" not in store.rooms("parts.h5")
    assert call(capsys, "--out", "parts.h5", "--shard", "1/2", "--resume")[0] == 0
    assert call(capsys, "--out", "parts.h5", "--resume")[0] == 0
    assert datasets("parts.h5") == datasets("whole.h5")


def test_another_run_is_refused_with_the_difference(capsys):
    assert call(capsys, "--out", "a.h5")[0] == 0
    before = Path("a.h5").read_bytes()
    code, _, errors = call(capsys, "--out", "a.h5", "--resume", "--sweeps", "9")
    assert code == 2
    assert "configuration.grid.sweeps = 4, asked for is 9" in errors
    assert Path("a.h5").read_bytes() == before


def test_help_names_words_presets_and_grids(capsys):
    code, out, _ = call(capsys, "--help")
    assert code == 0
    words = ("--grid", "--samples", "--sweeps", "--seed", "--out", "--resume", "--overwrite", "--executor", "--backend")
    for word in (
        *words,
        "--preset",
        "--plot",
        "--log",
        "--config",
        "--from-file",
        "--budget",
        "--data",
        "long: N = 60",
    ):
        assert word in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "precious.h5"], "out = precious.h5 exists"),
        (["--out", "."], "is a directory"),
        (["--out", "precious.h5/a.h5"], "out = precious.h5/a.h5 cannot be written"),
        (["--out", "precious.h5", "--resume"], "precious.h5 is not an HDF5 file"),
        (["--resume", "--overwrite"], "overwrite and resume are both set"),
        (["--preset", "huge"], "preset = 'huge'"),
        (["--seed", "-1"], "seed = -1 is out of range"),
        (["--seed", "one"], "--seed"),
        (["--executor", "local:0"], "executor = 'local:0' is unknown"),
        (["--backend", "gpu", "--executor", "local:2"], "backend = 'gpu' with an executor"),
        (["--temperature", "1"], "--temperature"),
        (["extra"], "extra"),
        (["--grid"], "--grid"),
        (["--grid", "T=-1"], "T = -1.0 is out of range"),
        (["--grid", "load=0.1", "--grid", "T=1:2"], "is no grid"),
        (["--grid", "N=1e12"], "GiB"),
        (["--budget", "3"], "budget of adaptive = 3"),
        (["--log", "precious.h5"], "log = precious.h5 exists"),
        (["--log", "results/example.h5"], "is the results file too"),
        (["--config", "precious.h5"], "unknown kind"),
        (["--from-file", "precious.h5"], "precious.h5 is not an HDF5 file"),
    ],
)
def test_bad_command_lines_end_in_one_line_and_code_2(arguments, message, capsys):
    Path("precious.h5").write_text("precious")
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        command_line.main(toy.SCRIPT, ["--executor", "local:1", *arguments])
    errors = capsys.readouterr().err
    assert ended.value.code == 2
    assert message in errors
    assert errors.count("\n") == 1
    assert Path("precious.h5").read_text() == "precious"
    assert [path.name for path in Path().iterdir() if path.name != "precious.h5"] in ([], ["results"])


def test_one_rank_of_mpi_is_refused_as_all_bad_input():
    pytest.importorskip("mpi4py", reason="mpi4py is not installed")
    process = start("--executor", "mpi")
    _, errors = process.communicate()
    assert process.returncode == 2
    assert "executor = 'mpi' with one rank" in errors
    assert errors.count("\n") == 1
    assert not any(Path().iterdir())


WORDS = ["--grid", "--samples", "--sweeps", "--seed", "--out", "--resume", "--overwrite", "--executor", "--backend"]
WORDS += ["--preset", "--plot", "--log", "--config", "--from-file", "--shard", "--budget", "--data", "--patterns", "-x"]
VALUES = ["load=0.1:0.4:16", "load=", "=1", "T=a", "T=1:2:3:4", "nan", "-1", "1e400", "0", "", "\0", "a.h5", "b.toml"]
VALUES += ["gpu", "dask://", "dask://:1", "local:", "1/1", "2/1", "precious.h5", ".", "/", "N=1:1000000:1000000", "é"]


@settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.sampled_from(WORDS) | st.sampled_from(VALUES) | st.text(max_size=8), min_size=1, max_size=6))
@example(["--log", "a\ud800"])
def test_any_command_line_ends_well_and_leaves_other_files_alone(capsys, arguments):
    Path("precious.h5").write_bytes(b"\x89HDF\r\n\x1a\n precious")
    Path("b.toml").write_text("samples = [")
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        # One word is wrong in any case: no example begins to work.
        command_line.main(toy.SCRIPT, [*arguments, "--from-file", "precious.h5"])
    errors = capsys.readouterr().err
    assert ended.value.code in (0, 2)
    assert ended.value.code == 0 or errors.count("\n") == 1
    assert Path("precious.h5").read_bytes() == b"\x89HDF\r\n\x1a\n precious"
    assert sorted(path.name for path in Path().iterdir()) == ["b.toml", "precious.h5"]


TEXTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.dictionaries(st.sampled_from([word.lstrip("-") for word in WORDS]), TEXTS, max_size=3)
    | st.binary(max_size=40)
    | st.text(max_size=60)
)
def test_any_configuration_file_ends_well(capsys, content):
    if isinstance(content, dict):
        # A word of nobody's: no example begins to work.
        Path("c.yaml").write_text(json.dumps(content | {"nobody": 1}))
    else:
        Path("c.yaml").write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    arguments = ["--config", "c.yaml", "--from-file", "none.h5"]
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        command_line.main(toy.SCRIPT, arguments)
    errors = capsys.readouterr().err
    assert ended.value.code == 2
    assert errors.count("\n") == 1
    assert [path.name for path in Path().iterdir()] == ["c.yaml"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "executor"), [(signal.SIGTERM, "local:2"), (signal.SIGINT, "local:2"), (signal.SIGTERM, "local:1")]
)
def test_a_signal_stops_a_run_that_says_how_to_go_on(number, executor, capsys):
    words = ["--preset", "long", "--samples", "40", "--no-plot"]
    process = start(*words, "--executor", executor)
    wait_for_tasks(process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    last = errors.strip().splitlines()[-1]
    stored = int(re.search(rf"stopped by {number.name}: (\d+) of 80 tasks are stored; go on: python -m ", last)[1])
    assert stored == store.read("a.h5", "simulation").completed.sum()
    assert "finished" not in store.attributes_of("a.h5")
    assert "Traceback" not in errors
    # The words it says, but for the program.
    assert call(capsys, *last.partition("tests.runs.example ")[2].split())[0] == 0
    assert call(capsys, *words, "--out", "b.h5")[0] == 0
    assert datasets("a.h5") == datasets("b.h5")


def test_a_failing_task_is_named_and_what_was_finished_is_kept(capsys, monkeypatch):
    from sim.glauber import front

    measure, calls = front.measure, []

    def failing(sample, options, *, seed, task, **plan):
        calls.append(task)
        # The calibration comes first, and is no task.
        if seed and len([one for one in calls if one != (0,)]) == 4:
            raise FloatingPointError("too hot")
        return measure(sample, options, seed=seed, task=task, **plan)

    monkeypatch.setattr(front, "measure", failing)
    code, _, errors = call(capsys, "--out", "a.h5")
    assert code == 1
    last = errors.strip().splitlines()[-1]
    assert last.startswith("error: task load = 0.1, sample 0 failed: FloatingPointError: too hot; go on: ")
    assert last.endswith("--resume")
    assert store.read("a.h5", "simulation").completed.sum() == 3
    monkeypatch.undo()
