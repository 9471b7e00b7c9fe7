import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs import settings
from sim import store

PRESETS = {
    "quick": {
        "N": {"P2": 100, "P4": 20},
        "load": np.array([0.1, 0.2]),
        "examples": np.array([1, 2]),
        "sizes": (10, 20),
        "samples": 2,
        "sweeps": 3,
    },
    "paper": {"N": {"P2": 1000, "P4": 200}, "load": np.array([0.1]), "examples": np.array([5]), "sizes": (10,)}
    | {"samples": 20, "sweeps": 30},
}
OPTIONS = {"data": "digits", "folder": None, "patterns": 3}


def resolve(**words):
    return settings.resolve(words, "example", PRESETS, OPTIONS)


def test_a_preset_alone_is_what_it_says():
    asked = resolve()
    assert asked.preset["N"] == {"P2": 100, "P4": 20}
    np.testing.assert_array_equal(asked.preset["load"], [0.1, 0.2])
    assert (asked.seed, asked.executor, asked.plot, asked.shard) == (1, "local", True, (0, 1))
    assert str(asked.out) == "results/example.h5"
    assert resolve(preset="paper").preset["samples"] == 20


def test_grids_take_the_types_of_the_preset():
    grid = ["load=0.1:0.4:4,0.9", "examples=1:3:3", "sizes=30,40,50", "N.P4=50"]
    asked = resolve(grid=grid, samples=7)
    np.testing.assert_allclose(asked.preset["load"], [0.1, 0.2, 0.3, 0.4, 0.9])
    assert asked.preset["examples"].dtype == np.int64
    assert asked.preset["sizes"] == (30, 40, 50)
    assert asked.preset["N"] == {"P2": 100, "P4": 50}
    assert asked.preset["samples"] == 7
    assert PRESETS["quick"]["N"]["P4"] == 20


def test_logarithmic_ranges():
    np.testing.assert_allclose(settings.parse_values("M", "log:1:100:3"), [1, 10, 100])


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6).filter(lambda value: abs(value) > 1e-3), st.integers(2, 50))
def test_a_range_has_its_ends_and_equal_steps(first, width, count):
    values = settings.parse_values("T", f"{first!r}:{first + width!r}:{count}")
    assert len(values) == count
    np.testing.assert_array_equal(values[[0, -1]], [first, first + width])
    np.testing.assert_allclose(np.diff(values), width / (count - 1), rtol=1e-4, atol=1e-9)


def test_the_command_line_goes_before_a_file_and_the_file_before_the_preset(tmp_path):
    (tmp_path / "run.toml").write_text(
        'samples = 5\nsweeps = 6\nplot = false\n[grid]\nload = "0.3,0.4"\n[grid.N]\nP2 = 30\n'
    )
    asked = resolve(config=str(tmp_path / "run.toml"), samples=9)
    assert (asked.preset["samples"], asked.preset["sweeps"], asked.plot) == (9, 6, False)
    assert asked.preset["N"] == {"P2": 30, "P4": 20}
    np.testing.assert_allclose(asked.preset["load"], [0.3, 0.4])


def test_yaml_and_toml_say_the_same(tmp_path):
    (tmp_path / "run.toml").write_text('preset = "paper"\nseed = 4\n[grid]\nload = [0.3, 0.4]\nexamples = "1:3:3"\n')
    (tmp_path / "run.yaml").write_text("preset: paper\nseed: 4\ngrid:\n  load: [0.3, 0.4]\n  examples: '1:3:3'\n")
    asked = [resolve(config=str(tmp_path / name)) for name in ("run.toml", "run.yaml")]
    assert asked[0].configuration == asked[1].configuration


def test_a_results_file_gives_its_run_again_to_the_last_bit(tmp_path):
    first = resolve(grid=["load=0.1:0.7:7"], seed=2**64 - 1, sweeps=11, patterns=5)
    attributes = {"script": "example", "configuration": store.to_json(first.configuration)}
    store.ResultsFile(tmp_path / "a.h5", attributes).close()
    again = resolve(from_file=str(tmp_path / "a.h5"))
    assert again.configuration == first.configuration
    assert again.preset["load"].tobytes() == first.preset["load"].tobytes()
    assert resolve(from_file=str(tmp_path / "a.h5"), seed=3).configuration == first.configuration | {"seed": 3}
    with pytest.raises(ValueError, match="was written by example"):
        settings.resolve({"from_file": str(tmp_path / "a.h5")}, "other", PRESETS, OPTIONS)


def test_the_configuration_can_be_kept():
    configuration = resolve().configuration
    assert json.loads(store.to_json(configuration)) == configuration
    assert configuration["grid"]["N.P2"] == 100
    assert "out" not in configuration


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"preset": "huge"}, "preset = 'huge' is unknown; allowed: 'quick', 'paper'"),
        ({"seed": -1}, "seed = -1"),
        ({"seed": 2**64}, "seed = 18446744073709551616"),
        ({"samples": 0}, "samples = 0"),
        ({"grid": ["load"]}, "'load' is not of the form NAME=VALUES"),
        ({"grid": ["lod=1"]}, "grid lod is unknown here; allowed: N.P2, N.P4, load"),
        ({"grid": ["load=1:2"]}, "load = '1:2' is no grid"),
        ({"grid": ["load=1:2:x"]}, "is no grid"),
        ({"grid": ["load=1:2:0"]}, "0 values"),
        ({"grid": ["load=1:2:1e9"]}, "1e\\+09 values"),
        ({"grid": ["load=0.1,nan"]}, "finite"),
        ({"grid": ["load=0.1,0.1"]}, "repeats a value"),
        ({"grid": ["load=log:0:1:3"]}, "ends > 0"),
        ({"grid": ["examples=1.5"]}, "no integers"),
        ({"grid": ["N.P2=10,20"]}, "2 values; allowed: one value"),
        ({"executor": "cloud"}, "executor = 'cloud' is unknown"),
        ({"backend": "tpu"}, "backend = 'tpu'"),
        ({"shard": "2/2"}, "shard = '2/2'"),
        ({"shard": "a"}, "shard = 'a'"),
        ({"budget": 0}, "budget = 0"),
        ({"out": ""}, "out = ''"),
        ({"patterns": 0}, "patterns = 0"),
        ({"config": "run.json"}, "allowed: .toml, .yaml or .yml"),
        ({"config": "none.toml"}, "config = none.toml cannot be read"),
        ({"from_file": "none.h5"}, "none.h5 does not exist"),
    ],
)
def test_bad_words_are_named(words, message):
    with pytest.raises((ValueError, TypeError, OSError), match=message):
        resolve(**words)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("samples = [", "is no TOML"),
        ("sample = 3", "sample is an unknown word"),
        ("samples = 'many'", "samples"),
        ("plot = 1", "plot = 1 is neither true nor false"),
        ("grid = 3", "grid = 3 is no table"),
        ("out = 3", "out = 3 is no path"),
        ("data = 3", "data = 3 is no text"),
        ("config = 'x.toml'", "config is an unknown word"),
        ("[grid]\nload = []", "grid load is empty"),
        ("[grid]\nload = [[1, 2]]", "grid load has shape"),
        ("[grid]\nload = ['a']", "is not an array of real numbers"),
        ("[grid]\nload = true", "is not an array of real numbers"),
        ("[grid.load]\nx = 1", "grid load.x is unknown"),
    ],
)
def test_bad_files_are_named(text, message, tmp_path):
    (tmp_path / "run.toml").write_text(text)
    with pytest.raises((ValueError, TypeError), match=message):
        resolve(config=str(tmp_path / "run.toml"))


def test_a_file_that_is_no_text_or_no_table_is_named(tmp_path):
    (tmp_path / "run.toml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "run.yaml").write_text("- a\n- b\n")
    (tmp_path / "bad.yaml").write_text("a: [1\nb: {")
    (tmp_path / "empty.yaml").write_text("")
    for name, message in (("run.toml", "is no TOML"), ("run.yaml", "holds no table"), ("bad.yaml", "is no YAML")):
        with pytest.raises(ValueError, match=message):
            resolve(config=str(tmp_path / name))
    assert resolve(config=str(tmp_path / "empty.yaml")).configuration == resolve().configuration
