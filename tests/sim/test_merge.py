import importlib
import json
import zlib

import filelock
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from hebbian import DenseHebbian
from sim import Adaptive, store, sweep
from sim.merge import merge

MODEL = DenseHebbian(N=12, P=2, training="supervised", quality=0.8, examples=3)
GRID = {"load": [0.3, 0.1, 0.2], "T": [0.1, 0.5], "samples": 2, "sweeps": 3, "seed": 2**63 + 1}


def measure(path, **changes):
    sweep(MODEL, **GRID | changes, out=path, progress=False)
    return path


def rewritten(source, target, change=lambda groups, attributes: None):
    """A sound copy of a file whose groups or attributes were changed."""
    attributes = store.attributes_of(source)
    groups = {name: store.read(source, name) for name in store.rooms(source)}
    change(groups, attributes)
    for data in groups.values():
        if "checksum" in data:
            places = data.attrs["places"].split()
            names = sorted(n for n, v in data.data_vars.items() if set(places) <= set(v.dims))
            parts = [data[n].transpose(*places, ...).values for n in names if n not in ("completed", "checksum")]
            for place in map(tuple, np.argwhere(data["completed"].values)):
                data["checksum"].values[place] = zlib.crc32(b"".join(part[place].tobytes() for part in parts))
    attributes["seed"] = np.uint64(attributes["seed"])
    with store.ResultsFile(target, attributes, overwrite=True) as file:
        file.create(groups)
    return target


@pytest.fixture(scope="module", autouse=True)
def no_subprocess():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_git_commit", lambda: "commit")
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Shards and parts of a sweep; tests only read them."""
    folder = tmp_path_factory.mktemp("parts")
    for i in range(3):
        measure(folder / f"shard{i}.h5", shard=(i, 3))
    measure(folder / "low.h5", load=[0.1, 0.2])
    measure(folder / "high.h5", load=[0.3])
    return folder


def shards(folder):
    return [folder / f"shard{i}.h5" for i in range(3)]


def parts(folder):
    return [folder / "low.h5", folder / "high.h5"]


def with_groups(folder, tmp_path, of, attributes=None):
    """Copies of the parts, low and high, with further groups and root attributes."""
    found = []
    for path in parts(folder):

        def change(groups, found, name=path.stem):
            groups.update(of(name, groups["simulation"]["load"].values))
            found.update((attributes or (lambda _: {}))(name))

        found.append(rewritten(path, tmp_path / path.name, change))
    return found


def no_work(_):
    raise AssertionError("a task ran again")


def test_shards_give_what_the_undivided_sweep_returns_bit_for_bit(folder, tmp_path, monkeypatch):
    out = tmp_path / "out.h5"
    merge(out, shards(folder)[::-1])
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5"]
    whole = sweep(MODEL, **GRID, progress=False)
    monkeypatch.setattr(importlib.import_module("sim.sweep"), "run", no_work)
    merged = sweep(MODEL, **GRID, out=out, resume=True, progress=False)
    xr.testing.assert_identical(merged, whole)
    for name, variable in whole.variables.items():
        assert merged[name].values.tobytes() == variable.values.tobytes(), name


def test_parts_along_two_axes_are_joined_in_ascending_order(tmp_path, monkeypatch):
    found = []
    for i, load in enumerate(([0.3, 0.1], [0.2])):
        for j, quality in enumerate(([0.9], [0.7])):
            found.append(measure(tmp_path / f"{i}{j}.h5", load=load, quality=quality))
    merge(tmp_path / "out.h5", found)
    asked = GRID | {"load": [0.1, 0.2, 0.3], "quality": [0.7, 0.9], "progress": False}
    whole = sweep(MODEL, **asked)
    monkeypatch.setattr(importlib.import_module("sim.sweep"), "run", no_work)
    xr.testing.assert_identical(sweep(MODEL, **asked, out=tmp_path / "out.h5", resume=True), whole)
    with pytest.raises(ValueError, match=r"no file has K of /simulation at quality = 0.7, load = 0.1; allowed"):
        merge(tmp_path / "corners.h5", [found[0], found[3]])


def test_what_no_file_has_is_run_by_the_sweep(folder, tmp_path):
    merge(tmp_path / "out.h5", shards(folder)[:2])
    assert int(store.read(tmp_path / "out.h5", "simulation")["completed"].sum()) == 4
    merged = sweep(MODEL, **GRID, out=tmp_path / "out.h5", resume=True, progress=False)
    xr.testing.assert_identical(merged, sweep(MODEL, **GRID, progress=False))


def test_copies_of_the_same_tasks_are_one(folder, tmp_path):
    whole = measure(tmp_path / "whole.h5")
    merge(tmp_path / "out.h5", [shards(folder)[1], whole, shards(folder)[1]])
    xr.testing.assert_identical(store.read(tmp_path / "out.h5", "simulation"), store.read(whole, "simulation"))


def test_a_list_of_points(tmp_path):
    grid = {name: value for name, value in GRID.items() if name not in ("load", "T")}
    grid |= {"points": {"load": [0.3, 0.1, 0.1], "T": [0.1, 0.2, 0.5]}, "progress": False}
    for i in range(2):
        sweep(MODEL, **grid, out=tmp_path / f"{i}.h5", shard=(i, 2))
    sweep(MODEL, **grid, out=tmp_path / "whole.h5")
    merge(tmp_path / "out.h5", [tmp_path / "0.h5", tmp_path / "1.h5"])
    found, wanted = (store.read(tmp_path / name, "simulation") for name in ("out.h5", "whole.h5"))
    xr.testing.assert_identical(found, wanted)
    grid["points"] = {"load": [0.2, 0.1, 0.1], "T": [0.1, 0.2, 0.5]}
    sweep(MODEL, **grid, out=tmp_path / "2.h5")
    with pytest.raises(ValueError, match=r"different (K|load) in /simulation"):
        merge(tmp_path / "out2.h5", [tmp_path / "0.h5", tmp_path / "2.h5"])


@settings(max_examples=6, deadline=None)
@given(st.data())
def test_any_division_of_a_table_gives_the_table(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("division")
    x, y = (data.draw(st.lists(st.integers(-5, 5), min_size=1, max_size=4, unique=True)) for _ in range(2))
    shape = (len(x), len(y))
    whole = xr.Dataset(
        {"m": (("x", "k", "y"), np.random.default_rng(0).normal(size=(len(x), 3, len(y))))},
        coords={"x": sorted(x), "y": sorted(y)},
        attrs={"parameters": "{}", "places": "x y"},
    )
    owners = np.array(data.draw(st.lists(st.sets(st.integers(0, 2)), min_size=x and len(x) * len(y), max_size=50)))
    owners = owners[: shape[0] * shape[1]].reshape(shape)
    paths = []
    for i in range(3):
        done = np.array([[i in owners[a, b] for b in range(shape[1])] for a in range(shape[0])])
        part = whole.copy(deep=True)
        part["m"] = part["m"].where(xr.DataArray(done, dims=("x", "y"))).transpose("x", "k", "y")
        part["completed"] = (("x", "y"), done.astype(np.int8))
        part["checksum"] = (("x", "y"), np.zeros(shape, np.uint32))
        # A file of some of the rows, if it has nothing in the others.
        part = part.isel(x=done.any(axis=1) if done.any() and data.draw(st.booleans()) else slice(None))
        with store.ResultsFile(folder / "raw.h5", {"seed": 1}, overwrite=True) as file:
            file.create({"simulation": part})
        paths.append(rewritten(folder / "raw.h5", folder / f"{i}.h5"))
    merge(folder / "out.h5", paths)
    merged = store.read(folder / "out.h5", "simulation")
    done = np.array([[bool(owners[a, b]) for b in range(shape[1])] for a in range(shape[0])])
    wanted = whole["m"].where(xr.DataArray(done, dims=("x", "y"))).transpose("x", "k", "y")
    kept = [i for i in range(shape[0]) if whole["x"].values[i] in merged["x"].values]
    assert done[kept].sum() == done.sum()
    np.testing.assert_array_equal(merged["m"], wanted.isel(x=kept))
    np.testing.assert_array_equal(merged["completed"] == 1, done[kept])
    assert not store.damaged(merged, ("x", "y"))


def refused(tmp_path, paths, match):
    out = tmp_path / "refused.h5"
    with pytest.raises(ValueError, match=match):
        merge(out, paths)
    assert not out.exists()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"seed": 3}, r"b.h5 has seed = 3 where .*shard0.h5 has 9223372036854775809; allowed: files of one sweep"),
        ({"sweeps": 2}, r"b.h5, /simulation has parameters.options.sweeps = 2 where .* has 3"),
        ({"samples": 3}, r"parameters.samples = 3 where .* has 2"),
        ({"T": [0.1, 0.4]}, "different T; allowed: the same T, other values only along load, sample"),
        ({"quality": [0.8]}, r"dimensions of K = \[.quality., .load.\] where"),
    ],
)
def test_other_sweeps_are_refused_with_the_difference(folder, tmp_path, changes, match):
    refused(tmp_path, [folder / "shard0.h5", measure(tmp_path / "b.h5", **changes)], match)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"engine": "other"}, 'engine = "other"'),
        ({"script": "dense_images"}, 'script = "dense_images" where .* has nothing'),
        ({"hebbian_version": "0.0.9"}, 'hebbian_version = "0.0.9"'),
        ({"configuration": '{"preset": "paper"}'}, 'configuration.preset = "paper"'),
    ],
)
def test_other_origins_are_refused(folder, tmp_path, changes, match):
    other = rewritten(folder / "shard1.h5", tmp_path / "b.h5", lambda _, attributes: attributes.update(changes))
    refused(tmp_path, [folder / "shard0.h5", other], match)


def test_two_values_of_one_task_are_refused(folder, tmp_path):
    def change(groups, _):
        # Minus zero is another number, bit for bit.
        values = groups["simulation"]["acceptance"].values
        values[0] = -0.0 if values[0].any() else 1.0

    other = rewritten(folder / "shard0.h5", tmp_path / "b.h5", change)
    refused(
        tmp_path,
        [folder / "shard0.h5", folder / "shard1.h5", other],
        "b.h5 and .*shard0.h5 have different acceptance in /simulation at load = 0.3, sample = 0; allowed: the same",
    )


def test_adaptive_sweeps_are_not_divided(tmp_path):
    for i, load in enumerate(([0.1], [0.2])):
        measure(tmp_path / f"{i}.h5", load=load, adaptive=Adaptive(budget=3, largest=3))
    refused(tmp_path, [tmp_path / "0.h5", tmp_path / "1.h5"], "adaptive sweep.* different load; allowed: files of the")
    merge(tmp_path / "out.h5", [tmp_path / "0.h5", tmp_path / "0.h5"])


def test_damaged_tasks_are_refused(folder, tmp_path):
    data = (folder / "shard0.h5").read_bytes()
    m = store.read(folder / "shard0.h5", "simulation")["m"].values.tobytes()
    at = data.index(m)
    (tmp_path / "b.h5").write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    refused(tmp_path, [folder / "shard1.h5", tmp_path / "b.h5"], "b.h5, /simulation has 1 damaged .* load = 0.3, sam")


def test_predictions_are_kept_or_joined(folder, tmp_path):
    def of(name, load):
        line = xr.Dataset({"T_c": ("load", load + 1), "c": ("T", [1.0, 2.0])}, {"load": load, "T": [0.0, 1.0]})
        same = xr.Dataset({"m": ("T", [0.5, np.nan])}, {"T": [0.0, 1.0]}, {"P": 4})
        return {"theory_lines": line, "theory/same": same}

    merge(tmp_path / "out.h5", with_groups(folder, tmp_path, of)[::-1])
    assert store.rooms(tmp_path / "out.h5") == ["simulation", "theory/same", "theory_lines"]
    lines = store.read(tmp_path / "out.h5", "theory_lines")
    assert lines["load"].values.tolist() == [0.1, 0.2, 0.3]
    assert lines["T_c"].values.tolist() == [1.1, 1.2, 1.3]
    assert lines["c"].values.tolist() == [1, 2]
    np.testing.assert_array_equal(store.read(tmp_path / "out.h5", "theory/same")["m"], [0.5, np.nan])


@pytest.mark.parametrize(
    ("of", "match"),
    [
        (lambda n, x: {"theory": xr.Dataset({"m": ("T", [len(n) / 4])}, {"T": [1.0]})}, "different m in /theory"),
        (lambda n, x: {"theory": xr.Dataset({"m": ("T", [1.0])}, {"T": [len(n)]})}, "/theory of .* different T"),
        (lambda n, x: {"theory": xr.Dataset({"m": 1.0})} if n == "low" else {}, "no group"),
        (lambda n, x: {"theory": xr.Dataset({"m": 1.0}, attrs={"P": len(n)})}, "/theory has P = 4 where .* has 3"),
    ],
)
def test_predictions_that_differ_are_refused(folder, tmp_path, of, match):
    refused(tmp_path, with_groups(folder, tmp_path, of), match)


def test_comparisons_are_kept_only_of_the_file_that_has_all_tasks(folder, tmp_path):
    compared = xr.Dataset({"chi2": 1.0})
    one, two = with_groups(folder, tmp_path, lambda n, x: {"comparison/a": compared})
    merge(tmp_path / "out.h5", [one, two])
    assert store.rooms(tmp_path / "out.h5") == ["simulation"]

    def empty(groups, _):
        groups["simulation"]["completed"][:] = 0
        groups["comparison/a"] = compared + 1

    without = rewritten(one, tmp_path / "empty.h5", empty)
    merge(tmp_path / "out.h5", [without, one], overwrite=True)
    assert float(store.read(tmp_path / "out.h5", "comparison/a")["chi2"]) == 1


def test_the_configuration_has_the_joined_grid_and_the_origins_are_listed(folder, tmp_path):
    def attributes(name):
        grid = {"load": [0.2, 0.1] if name == "low" else [0.3], "N": 12}
        return {
            "configuration": json.dumps({"preset": "quick", "grid": grid}),
            "started": f"2026-01-0{len(name)}",
            "finished": f"2026-02-0{len(name)}",
            "machine": name,
        }

    merge(tmp_path / "out.h5", with_groups(folder, tmp_path, lambda n, x: {}, attributes)[::-1])
    found = store.attributes_of(tmp_path / "out.h5")
    assert json.loads(found["configuration"]) == {"preset": "quick", "grid": {"load": [0.1, 0.2, 0.3], "N": 12}}
    assert (found["started"], found["finished"], found["machine"]) == ("2026-01-03", "2026-02-04", "high")
    assert found["seed"] == 2**63 + 1
    origins = json.loads(found["merged"])
    assert [(origin["file"], origin["machine"]) for origin in origins] == [("high.h5", "high"), ("low.h5", "low")]
    merge(tmp_path / "again.h5", [tmp_path / "out.h5", tmp_path / "low.h5"])
    assert [o["file"] for o in json.loads(store.attributes_of(tmp_path / "again.h5")["merged"])][-1] == "low.h5"


def test_outputs(folder, tmp_path):
    out = tmp_path / "out.h5"
    with pytest.raises(ValueError, match="1 file"):
        merge(out, [folder / "low.h5"])
    with pytest.raises(FileNotFoundError, match="does not exist"):
        merge(out, [folder / "low.h5", folder / "none.h5"])
    out.write_text("precious")
    with pytest.raises(FileExistsError, match="--overwrite"):
        merge(out, parts(folder))
    with filelock.FileLock(f"{out}.lock"), pytest.raises(BlockingIOError, match="another process"):
        merge(out, parts(folder), overwrite=True)
    assert out.read_text() == "precious"
    merge(out, parts(folder), overwrite=True)
    assert store.rooms(out) == ["simulation"]
