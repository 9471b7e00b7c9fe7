import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
import time

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from sim import cost, store, tabulate
from tests.sim import interrupted

READERS = {
    "attributes_of": store.attributes_of,
    "read": lambda path: store.read(path, "simulation"),
    "groups": store.groups,
    "rooms": store.rooms,
    "resume": lambda path: store.ResultsFile(path, resume=True),
}


@pytest.fixture
def dataset():
    values = np.arange(6.0).reshape(2, 3)
    return xr.Dataset(
        {
            "m": (("load", "T"), values, {"long_name": "magnetisation", "units": "1"}),
            "flag": ("load", [True, False]),
            "seconds": ("T", [1.0, 2.0, 3.0], {"units": "s"}),
        },
        coords={"load": ("load", [0.1, 0.2], {"units": "1"}), "T": [0.1, 0.2, 0.3], "pair": ["0-1"]},
        attrs={"P": 4, "parameters": '{"N": 3}'},
    )


@pytest.fixture
def path(tmp_path, dataset):
    path = tmp_path / "results.h5"
    with store.ResultsFile(path, {"seed": 3}) as file:
        file.create({"simulation": dataset})
    return path


PLACES = ("load", "sample")


def template(loads=(0.1, 0.2), samples=3):
    """A table like that of a sweep: a scattered variable, one in a stretch, whole numbers, truth, nothing at all."""
    shape = (len(loads), 2, samples)
    return xr.Dataset(
        {
            "m": (("load", "T", "sample", "replica"), np.full((*shape, 2), np.nan)),
            "energy": (("load", "sample"), np.full(shape[::2], np.nan, np.float32)),
            "count": (("load", "sample", "T"), np.zeros((len(loads), samples, 2), np.int64)),
            "won": (("load", "sample"), np.zeros(shape[::2], np.int8)),
            "q": (("load", "T", "sample", "pair"), np.zeros((*shape, 0))),
            "K": ("load", np.arange(len(loads))),
        },
        coords={"load": list(loads), "T": [0.1, 0.5], "sample": range(samples)},
        attrs={"parameters": '{"N": 3}'},
    )


def task(place):
    """What a task measured: numbers that tell its place."""
    i, j = place
    return {
        "m": 100 * i + 10 * j + np.array([[1.0, 2.0], [3.0, 4.0]]),
        "energy": np.float32(-i - j / 8),
        "count": np.array([i, j]),
        "won": np.int8(i == j),
        "q": np.zeros((2, 0)),
    }


ALL = list(itertools.product(range(2), range(3)))


@pytest.fixture
def tasked(tmp_path):
    """A file with a table of which every task but the last is there."""
    path = tmp_path / "tasks.h5"
    with store.ResultsFile(path, {"seed": 3}) as file:
        table = file.table("simulation", template(), PLACES)
        for place in ALL[:-1]:
            table.write(place, task(place))
    return path


def check_tasks(data, places):
    np.testing.assert_array_equal(np.argwhere(data["completed"].values == 1).tolist(), sorted(map(list, places)))
    for i, j in places:
        for name, values in task((i, j)).items():
            np.testing.assert_array_equal(data[name].isel(load=i, sample=j).values, values, err_msg=name)


# Layout


def test_round_trip_by_our_reader_by_xarray_and_by_h5py(path, dataset):
    xr.testing.assert_identical(store.read(path, "simulation"), dataset)
    with xr.open_datatree(path) as tree:
        assert tree["simulation"]["m"].attrs["units"] == "1"
        assert tree["simulation"].attrs["P"] == 4
        assert tree.attrs["seed"] == 3
        assert tree["simulation"]["flag"].dtype == bool
    with h5py.File(path) as file:
        assert file["simulation/m"].dims[0][0].name == "/simulation/load"
        np.testing.assert_array_equal(file["simulation/m"][...], dataset.m)


def test_provenance_is_kept(path):
    attributes = store.attributes_of(path)
    for name in store.provenance():
        assert attributes[name].strip(), name
    assert attributes["finished"] >= attributes["started"]
    assert attributes["schema"] == store.SCHEMA
    assert attributes["seed"] == 3


def test_groups_and_rooms(path, dataset):
    with store.ResultsFile(path, resume=True) as file:
        file.create({"theory/lines/one": dataset, "theory/points": dataset})
    assert store.groups(path) == ["simulation", "theory"]
    assert store.groups(path, "theory") == ["lines", "points"]
    assert store.rooms(path) == ["simulation", "theory/lines/one", "theory/points"]
    with pytest.raises(ValueError, match="has no group /nothing; allowed: simulation, theory"):
        store.groups(path, "nothing")
    with pytest.raises(ValueError, match="no readable group /comparison"):
        store.read(path, "comparison")


def test_layout_of_a_table(tasked):
    data = store.read(tasked, "simulation")
    check_tasks(data, ALL[:-1])
    assert np.isnan(data["m"].isel(load=1, sample=2)).all()
    assert data.attrs["places"] == "load sample"
    assert data["completed"].dims == data["checksum"].dims == PLACES
    assert data["completed"].attrs["long_name"]
    assert store.damaged(data, PLACES) == []
    with h5py.File(tasked) as file:
        assert file["simulation/completed"].dtype == np.int8
        assert file["simulation/checksum"].dtype == np.uint32
        np.testing.assert_array_equal(file["simulation/m"][1, :, 0, :], task((1, 0))["m"])
        assert file["simulation/K"][...].tolist() == [0, 1]


def test_a_task_is_on_disk_when_it_was_written(tmp_path):
    file = store.ResultsFile(tmp_path / "tasks.h5")
    table = file.table("simulation", template(), PLACES)
    table.write((1, 1), task((1, 1)))
    copy = shutil.copy(tmp_path / "tasks.h5", tmp_path / "copy.h5")
    check_tasks(store.read(copy, "simulation"), [(1, 1)])
    check_tasks(table.data, [(1, 1)])
    assert "finished" not in store.attributes_of(copy)
    file.close()
    assert "finished" in store.attributes_of(tmp_path / "tasks.h5")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"m": np.zeros((2, 3))}, r"measured m of shape \(2, 3\) .* allowed: .* shape \(2, 2\)"),
        ({"count": np.array([0.5, 1])}, "measured count .* float64; allowed: .* int64"),
        ({"extra": 1.0}, "measured .*extra"),
        ({"energy": None}, r"measured \['count', 'm', 'q', 'won'\]"),
    ],
)
def test_what_does_not_fit_into_a_table_is_refused_and_nothing_written(tasked, changed, message):
    values = {name: value for name, value in {**task((1, 2)), **changed}.items() if value is not None}
    with store.ResultsFile(tasked, resume=True) as file:
        table = file.table("simulation", template(), PLACES)
        with pytest.raises(ValueError, match=message):
            table.write((1, 2), values)
    check_tasks(store.read(tasked, "simulation"), ALL[:-1])
    assert np.isnan(store.read(tasked, "simulation")["m"].isel(load=1, sample=2)).all()


def test_texts_cannot_be_in_a_table(tmp_path):
    with store.ResultsFile(tmp_path / "tasks.h5") as file:
        with pytest.raises(ValueError, match=r"name of /simulation has dtype .*; allowed: numbers"):
            file.table("simulation", xr.Dataset({"name": ("load", ["a", "b"])}), ("load",))
        assert "simulation" not in file


def test_a_group_is_computed_once(path, dataset):
    calls = []

    def compute():
        calls.append(1)
        return dataset

    with store.ResultsFile(path, resume=True) as file:
        for _ in range(2):
            xr.testing.assert_identical(file.keep("theory", compute), dataset)
    assert calls == [1]


# All or nothing


def test_groups_are_added_once_and_all_or_none(path, dataset):
    with store.ResultsFile(path, resume=True) as file:
        file.create({"theory": dataset})
        before = path.read_bytes()
        with pytest.raises(ValueError, match="has a group /theory already"):
            file.create({"other": dataset, "theory": dataset})
        with pytest.raises(TypeError):
            file.create({"other": dataset, "more": dataset.assign(x=((), 1.0, {"bad": object()}))})
        assert path.read_bytes() == before
        assert "other" not in file
    assert sorted(os.listdir(path.parent)) == ["results.h5"]


def test_tables_go_on_after_a_group_was_added_or_was_not(tasked, dataset, monkeypatch):
    with store.ResultsFile(tasked, resume=True) as file:
        table = file.table("simulation", None, PLACES)
        file.create({"theory": dataset})
        with pytest.raises(TypeError):
            file.create({"more": dataset.assign(x=((), 1.0, {"bad": object()}))})
        table.write(ALL[-1], task(ALL[-1]))
    check_tasks(store.read(tasked, "simulation"), ALL)
    xr.testing.assert_identical(store.read(tasked, "theory"), dataset)


def test_an_existing_file_is_kept_unless_told_otherwise(path):
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match=r"allowed: a new path, overwrite .* or resume"):
        store.ResultsFile(path)
    with pytest.raises(ValueError, match="overwrite and resume are both set"):
        store.ResultsFile(path, overwrite=True, resume=True)
    assert path.read_bytes() == before
    store.ResultsFile(path, overwrite=True).close()
    assert store.rooms(path) == []


@pytest.mark.parametrize("group", ["", "/", "a//b", "a/", "/a", ".", "a/..", 3])
def test_names_of_groups(tmp_path, dataset, group):
    with store.ResultsFile(tmp_path / "a.h5") as file:
        for create in (lambda: file.create({group: dataset}), lambda: file.table(group, template(), PLACES)):
            with pytest.raises(ValueError, match="is no name of a group"):
                create()


def test_unwritable_outputs(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a directory"):
        store.check_output(tmp_path, overwrite=True)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="cannot be written: File exists"):
        store.check_output(tmp_path / "file" / "results.h5")
    with pytest.raises(OSError, match="cannot be written: File name too long"):
        store.ResultsFile(tmp_path / ("x" * 252))
    assert os.listdir(tmp_path) == ["file"]


# Going on


def test_a_resumed_file_says_so_once_it_changes(tasked, dataset, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["another", "command"])
    before = tasked.read_bytes()
    with pytest.raises(ValueError, match="seed"):
        store.ResultsFile(tasked, {"seed": 4}, resume=True)
    store.ResultsFile(tasked, {"seed": 3}, resume=True).close()
    assert tasked.read_bytes() == before
    with store.ResultsFile(tasked, {"seed": 3}, resume=True) as file:
        file.create({"theory": dataset})
        file.create({"comparison": dataset})
    (note,) = json.loads(store.attributes_of(tasked)["resumed"])
    assert note["command_line"] == "another command"
    assert "numpy" not in note
    with store.ResultsFile(tasked, resume=True) as file:
        table = file.table("simulation", None, PLACES)
        assert not table.completed.all()
        table.write(ALL[-1], task(ALL[-1]))
    assert len(json.loads(store.attributes_of(tasked)["resumed"])) == 2
    check_tasks(store.read(tasked, "simulation"), ALL)


def test_without_a_file_to_resume_one_is_begun(tmp_path):
    store.ResultsFile(tmp_path / "new.h5", {"seed": 1}, resume=True).close()
    assert store.attributes_of(tmp_path / "new.h5")["seed"] == 1


@pytest.mark.parametrize(
    ("attributes", "changed", "message"),
    [
        ({"seed": 4}, template(), "has seed = 3, asked for is 4"),
        ({"engine": "x"}, template(), "has engine = None, asked for is 'x'"),
        ({}, template().assign_attrs(parameters='{"N": 4}'), r"/simulation has parameters.N = 3, asked for is 4"),
        ({}, template((0.1, 0.3)), r"/simulation has load = \[0.1, 0.2\], asked for is \[0.1, 0.3\]"),
        ({}, template(samples=4), "/simulation has count = "),
        ({}, template().drop_vars("energy"), "/simulation has energy = .*, asked for is None"),
        ({}, template().assign(energy=template()["count"].sum("T")), "/simulation has energy = .*, asked for"),
    ],
)
def test_another_sweep_is_refused_with_the_difference(tasked, attributes, changed, message):
    before = store.read(tasked, "simulation")
    with (
        pytest.raises(ValueError, match=message),
        store.ResultsFile(tasked, attributes, resume=True) as file,
    ):
        file.table("simulation", changed, PLACES)
    xr.testing.assert_identical(store.read(tasked, "simulation"), before)


def test_other_places_are_refused(tasked):
    message = "has places = 'load sample', asked for is 'load'"
    with store.ResultsFile(tasked, resume=True) as file, pytest.raises(ValueError, match=message):
        file.table("simulation", None, ("load",))


def test_another_version_is_refused(tasked, monkeypatch):
    known = store.provenance()
    monkeypatch.setattr(store, "provenance", lambda: known | {"hebbian_version": "9.9"})
    with pytest.raises(ValueError, match=r"begun with hebbian 0.1.0, this is 9.9; allowed: the same version"):
        store.ResultsFile(tasked, resume=True)
    store.ResultsFile(tasked, overwrite=True).close()
    assert store.attributes_of(tasked)["hebbian_version"] == "9.9"


def test_damaged_tasks_are_taken_back_when_the_file_is_gone_on_with(tasked):
    flip(tasked, position_of(tasked, "m", (0, 1, 2, 0)) * 8 + 3)
    with store.ResultsFile(tasked, resume=True) as file:
        table = file.table("simulation", template(), PLACES)
        assert np.argwhere(~table.completed).tolist() == [[0, 2], [1, 2]]
        # The file itself says so too, whatever happens next.
        assert np.argwhere(store.read(tasked, "simulation")["completed"].values == 0).tolist() == [[0, 2], [1, 2]]
        for place in ((0, 2), (1, 2)):
            table.write(place, task(place))
    check_tasks(store.read(tasked, "simulation"), ALL)


# One writer


WRITER = """
import sys, time
from sim import store
file = store.ResultsFile(sys.argv[1], resume=True)
print("open", flush=True)
time.sleep(60)
"""


def test_a_second_writer_is_refused_until_the_first_is_dead(tasked):
    command = [sys.executable, "-c", WRITER, tasked]
    with subprocess.Popen(command, env=interrupted.environment(), stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "open\n"
        for options in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(BlockingIOError, match="is being written by another process; allowed: one writer"):
                store.ResultsFile(tasked, **options)
        check_tasks(store.read(tasked, "simulation"), ALL[:-1])
        other.kill()
    # Nor may this process write it twice.
    with store.ResultsFile(tasked, resume=True), pytest.raises(BlockingIOError, match="one writer"):
        store.ResultsFile(tasked, resume=True)
    store.ResultsFile(tasked, resume=True).close()


def test_who_is_refused_does_not_disturb_the_writer(tasked, dataset):
    with store.ResultsFile(tasked, resume=True) as file:
        with store._replacing(tasked) as replaced:
            with pytest.raises(BlockingIOError):
                store.ResultsFile(tasked, resume=True)
            replaced.attrs["note"] = "kept"
        assert "simulation" in file
    assert store.attributes_of(tasked)["note"] == "kept"


def test_the_lock_is_given_back_after_an_error(tasked, monkeypatch):
    with pytest.raises(ValueError, match="seed"):
        store.ResultsFile(tasked, {"seed": 9}, resume=True)
    file = store.ResultsFile(tasked, resume=True)
    file.table("simulation", None, PLACES)
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        file.close()
    monkeypatch.undo()
    store.ResultsFile(tasked, resume=True).close()


def test_a_file_is_whole_for_readers_while_it_is_replaced(path, dataset):
    # A reader that opened the file twice and took the seal of one for the other would fail about every tenth time.
    stop = threading.Event()

    def replace():
        with store.ResultsFile(path, resume=True) as file:
            for i in itertools.count():
                if stop.is_set():
                    return
                file.create({f"g{i % 7}": dataset} if i < 7 else {})

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        for _ in range(200):
            store.attributes_of(path)
    finally:
        stop.set()
        writer.join()


# Damage


def flip(path, bit):
    with open(path, "r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ (1 << bit % 8)]))


def position_of(path, name, index):
    with h5py.File(path) as file:
        variable = file["simulation"][name]
        return variable.id.get_offset() + int(np.ravel_multi_index(index, variable.shape)) * variable.dtype.itemsize


@pytest.mark.parametrize("reader", READERS)
def test_foreign_files_are_refused_by_every_reader(tmp_path, tasked, reader):
    size = tasked.stat().st_size
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["x"] = 1
    files = {
        "empty": (b"", "is not an HDF5 file"),
        "text": (b"not HDF5" * 100, "is not an HDF5 file"),
        "short": (b"\x89HDF", "is not an HDF5 file"),
        "hdf5": (other.read_bytes(), "is no results file, is cut short, or was changed by another program"),
        "cut": (tasked.read_bytes()[:-1], "is cut short"),
        "half": (tasked.read_bytes()[: size // 2], "is cut short"),
        "damaged": (tasked.read_bytes().replace(b"long_name", b"lang_name"), "is damaged, or was changed"),
        "longer": (tasked.read_bytes() + b"\0", "is no results file"),
    }
    for name, (content, message) in files.items():
        foreign = tmp_path / f"{name}.h5"
        foreign.write_bytes(content)
        with pytest.raises(ValueError, match=message) as error:
            READERS[reader](foreign)
        assert "\n" not in str(error.value)
        assert str(foreign) in str(error.value)
        assert foreign.read_bytes() == content
    with pytest.raises((ValueError, IsADirectoryError), match=r"is not a file|is a directory"):
        READERS[reader](tmp_path)
    if reader != "resume":
        with pytest.raises(FileNotFoundError, match="does not exist; allowed: a results file"):
            READERS[reader](tmp_path / "none.h5")


def test_another_schema_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "SCHEMA", "hebbian-results/99")
    store.ResultsFile(tmp_path / "new.h5").close()
    monkeypatch.undo()
    with pytest.raises(ValueError, match="has schema 'hebbian-results/99'; allowed: 'hebbian-results/2'"):
        store.attributes_of(tmp_path / "new.h5")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """A file with a full table, its bytes and the bytes of its table: {position: variable}."""
    path = tmp_path_factory.mktemp("pristine") / "tasks.h5"
    with store.ResultsFile(path, {"seed": 3}) as file:
        table = file.table("simulation", template(), PLACES)
        for place in ALL:
            table.write(place, task(place))
    inside = {}
    with h5py.File(path) as file:
        for name in ("m", "energy", "count", "won", "completed", "checksum"):
            variable = file["simulation"][name]
            start = variable.id.get_offset()
            inside |= dict.fromkeys(range(start, start + variable.size * variable.dtype.itemsize), name)
    return path, inside


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_flipped_bit_outside_of_tables_is_seen_by_every_reader(pristine, data):
    path, inside = pristine
    size = path.stat().st_size
    # Half of the bits are drawn from the seal, which is small.
    byte = data.draw(st.integers(0, size - 1) | st.integers(size - 300, size - 1))
    bit = 8 * byte + data.draw(st.integers(0, 7))
    if byte in inside:
        return
    flip(path, bit)
    try:
        # All others ask this one first, as the foreign files show.
        with pytest.raises(ValueError, match=r"damaged|is no results file|is not an HDF5 file"):
            store.attributes_of(path)
    finally:
        flip(path, bit)
    store.attributes_of(path)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_flipped_bit_of_a_task_is_seen(pristine, data):
    path, inside = pristine
    byte, bit = data.draw(st.sampled_from(sorted(inside))), data.draw(st.integers(0, 7))
    flip(path, 8 * byte + bit)
    try:
        found = store.read(path, "simulation")
        lost = int((found["completed"].values != 1).sum())
        wrong = len(store.damaged(found.assign(completed=(found["completed"] == 1).astype(np.int8)), PLACES))
        assert (wrong, lost) == ((0, 1) if inside[byte] == "completed" else (1, 0))
    finally:
        flip(path, 8 * byte + bit)


def test_of_tasks_that_are_not_there_nothing_is_asked(tasked):
    flip(tasked, 8 * position_of(tasked, "m", (1, 0, 2, 0)))
    data = store.read(tasked, "simulation")
    assert store.damaged(data, PLACES) == []
    # A flag without a task.
    flip(tasked, 8 * position_of(tasked, "completed", (1, 2)))
    assert store.damaged(store.read(tasked, "simulation"), PLACES) == [(1, 2)]


# A disk that is full, or gone


def no_space(*_, **__):
    raise OSError(28, "No space left on device")


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 8 MiB."""
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(mount)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no small disk can be made: {error}")
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted: {mounted.stderr.strip()}")
    yield mount
    subprocess.run(["umount", "-l", mount], check=True)


def occupy(disk, left):
    """Fill a disk with a file, but for some bytes."""
    with open(disk / "other", "wb") as file:
        file.write(bytes(max(0, shutil.disk_usage(disk).free - left)))


def wide(point):
    return xr.Dataset({"x": ("site", np.full(50_000, float(point["i"])))})


def test_what_does_not_fit_on_the_disk_is_refused_with_the_numbers(small_disk):
    with pytest.raises(OSError, match=r"needs about 16 MiB on the disk \(the file and a copy of it\), 8 MiB are free"):
        cost.Cost(1, 0, 8 * 2**20, 0, 1).check(small_disk / "results.h5")
    cost.Cost(1, 0, 4 * 2**20, 0, 1).check(small_disk / "results.h5")
    # A file that is there already needs its copy alone; one that is added to, more.
    (small_disk / "results.h5").write_bytes(bytes(4 * 2**20))
    cost.Cost(1, 0, 4 * 2**20, 0, 1).check(small_disk / "results.h5")
    with pytest.raises(OSError, match="needs about 12 MiB"):
        cost.Cost(1, 0, 4 * 2**20, 0, 1).check(small_disk / "results.h5", beside=4 * 2**20)


def test_a_full_disk_leaves_the_file_as_it_was(small_disk, dataset):
    path = small_disk / "results.h5"
    big = xr.Dataset({"x": ("site", np.ones(2**19))})
    with store.ResultsFile(path) as file:
        file.create({"simulation": dataset})
        before = path.read_bytes()
        for room in (3 * 2**20, 2**19, 2**14, 0):
            occupy(small_disk, room)
            with pytest.raises(OSError, match="cannot be written: No space left on device; what it held") as error:
                file.create({"big": big})
            assert "\n" not in str(error.value)
            assert path.read_bytes() == before
            assert sorted(os.listdir(small_disk)) == ["other", "results.h5", "results.h5.lock"]
        (small_disk / "other").unlink()
        file.create({"small": dataset})
    xr.testing.assert_identical(store.read(path, "small"), dataset)


def test_a_disk_that_fills_up_costs_nothing_that_was_finished(small_disk, tmp_path):
    axes, done = {"i": list(range(5))}, []

    def measure(point):
        done.append(point["i"])
        if point["i"] == 2:
            # The places of the tasks are on the disk already: they are still written, the copy of the end is not.
            occupy(small_disk, 0)
        return wide(point)

    with pytest.raises(OSError, match="cannot be written: No space left on device"):
        tabulate(measure, axes, out=small_disk / "results.h5")
    assert store.read(small_disk / "results.h5", "simulation")["completed"].values.tolist() == [1] * 5
    with pytest.raises(OSError, match="cannot be written: No space left on device"):
        tabulate(measure, axes, out=small_disk / "results.h5", resume=True)
    (small_disk / "other").unlink()
    resumed = tabulate(measure, axes, out=small_disk / "results.h5", resume=True)
    assert done == axes["i"]
    xr.testing.assert_identical(resumed, tabulate(wide, axes))
    assert "finished" in store.attributes_of(small_disk / "results.h5")


def test_a_write_that_fails_costs_nothing_that_was_finished(tmp_path, monkeypatch):
    axes, done = {"i": list(range(5))}, []
    write = store._write_all

    def measure(point):
        done.append(point["i"])
        if point["i"] == 2:
            # As on disks that write every change to a new place: some bytes arrive, then no more.
            def fail(file, data):
                write(file, data[:1000])
                no_space()

            monkeypatch.setattr(store, "_write_all", fail)
        return wide(point)

    with pytest.raises(OSError, match="No space left on device"):
        tabulate(measure, axes, out=tmp_path / "results.h5")
    kept = store.read(tmp_path / "results.h5", "simulation")
    assert kept["completed"].values.tolist() == [1, 1, 0, 0, 0]
    assert store.damaged(kept, ("i",)) == []
    monkeypatch.undo()
    resumed = tabulate(wide, axes, out=tmp_path / "results.h5", resume=True)
    xr.testing.assert_identical(resumed, tabulate(wide, axes))


@pytest.mark.parametrize("loss", ["deleted", "renamed", "replaced"])
def test_a_file_that_vanishes_is_told(tmp_path, loss, monkeypatch):
    monkeypatch.setattr(store, "_SYNC", 0.0)
    folder, done = tmp_path / "folder", []

    def measure(point):
        done.append(point["i"])
        if point["i"] == 2 and loss == "deleted":
            (folder / "results.h5").unlink()
        elif point["i"] == 2 and loss == "renamed":
            folder.rename(tmp_path / "elsewhere")
        elif point["i"] == 2:
            os.replace(shutil.copy(folder / "results.h5", folder / "copy.h5"), folder / "results.h5")
        return wide(point)

    with pytest.raises(FileNotFoundError, match="was moved, replaced or deleted while it was being written"):
        tabulate(measure, {"i": list(range(5))}, out=folder / "results.h5")
    assert done == [0, 1, 2]


def test_a_file_that_is_replaced_at_the_very_end_is_told(tmp_path):
    path = tmp_path / "results.h5"

    def measure(point):
        if point["i"] == 1:
            os.replace(shutil.copy(path, tmp_path / "copy.h5"), path)
        return wide(point)

    with pytest.raises(FileNotFoundError, match="was moved, replaced or deleted while it was being written"):
        tabulate(measure, {"i": [0, 1]}, out=path)


def test_what_was_written_is_forced_to_the_disk_now_and_then(tmp_path, monkeypatch):
    synced, clock = [], [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with store.ResultsFile(tmp_path / "tasks.h5") as file:
        table = file.table("simulation", template(), PLACES)
        monkeypatch.setattr(os, "fsync", synced.append)
        for seconds, place in zip((0.1, 1.9, 2.1, 4.0, 4.2), ALL, strict=False):
            clock[0] = seconds
            table.write(place, task(place))
        assert len(synced) == 2
        monkeypatch.undo()


# Parameters


def test_parameters_as_json():
    text = store.to_json({"b": np.float64(0.5), "a": np.arange(2)})
    assert text == json.dumps({"a": [0, 1], "b": 0.5})
    with pytest.raises(TypeError, match="cannot be kept"):
        store.to_json({"f": object()})
    large = [json.loads(store.to_json({"a": np.arange(5) + i}, kept=4))["a"] for i in (0, 0, 1)]
    assert large[0] == large[1] != large[2]
    assert large[0]["shape"] == [5]


def test_the_first_difference_is_named():
    store.check_same("file", {"a": [1, 2], "b": '{"c": 1.0}'}, {"a": np.array([1, 2]), "b": {"c": 1}})
    with pytest.raises(ValueError, match=r"^file has b.c = 1, asked for is 2; allowed: the same, another path"):
        store.check_same("file", {"b": '{"c": 1}'}, {"b": {"c": 2}})
    with pytest.raises(ValueError, match=r"file has b.d = 4, asked for is None"):
        store.check_same("file", {"b": {"c": 1, "d": 4}}, {"b": {"c": 1}})


def test_coordinates_that_are_no_dimensions_come_back_as_coordinates(tmp_path, dataset):
    further = dataset.assign_coords(rho=("load", np.arange(dataset.sizes["load"]) / 2))
    with store.ResultsFile(tmp_path / "a.h5") as file:
        file.create({"theory": further})
    xr.testing.assert_equal(store.read(tmp_path / "a.h5", "theory")["rho"], further["rho"])
