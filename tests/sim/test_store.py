import json
import os

import h5py
import numpy as np
import pytest
import xarray as xr

from sim import store


@pytest.fixture
def dataset():
    values = np.arange(6.0).reshape(2, 3)
    return xr.Dataset(
        {"m": (("load", "T"), values, {"long_name": "magnetisation", "units": "1"}), "flag": ("load", [True, False])},
        coords={"load": ("load", [0.1, 0.2], {"units": "1"}), "T": [0.1, 0.2, 0.3], "pair": ["0-1"]},
        attrs={"P": 4},
    )


@pytest.fixture
def path(tmp_path, dataset):
    path = tmp_path / "results.h5"
    with store.ResultsFile(path, {"seed": 3}) as file:
        file.create("simulation", dataset)
    return path


def test_round_trip_by_our_reader_by_xarray_and_by_h5py(path, dataset):
    xr.testing.assert_identical(store.read(path, "simulation").drop_attrs(), dataset.drop_attrs())
    with xr.open_datatree(path) as tree:
        assert tree["simulation"]["m"].attrs["units"] == "1"
        assert tree["simulation"].attrs["P"] == 4
        assert tree.attrs["seed"] == 3
    with h5py.File(path) as file:
        assert file["simulation/m"].dims[0][0].name == "/simulation/load"
        np.testing.assert_array_equal(file["simulation/m"][...], dataset.m)


def test_provenance_is_kept(path):
    with h5py.File(path) as file:
        attributes = dict(file.attrs)
    for name in ("schema", "hebbian_version", "git_commit", "command_line", "started", "finished", "machine", "numba"):
        assert attributes[name].strip(), name


def test_parts_are_on_disk_before_the_file_is_closed(tmp_path, dataset):
    path = tmp_path / "results.h5"
    file = store.ResultsFile(path, {})
    file.create("simulation", dataset)
    file.write("simulation", {"m": ((1, slice(None)), np.array([7.0, 8.0, 9.0]))})
    copy = tmp_path / "copy.h5"
    copy.write_bytes(path.read_bytes())
    np.testing.assert_array_equal(store.read(copy, "simulation").m[1], [7, 8, 9])
    file.close()


def test_groups_are_added_once(path, dataset):
    store.append(path, "theory", dataset)
    xr.testing.assert_equal(store.read(path, "theory"), dataset)
    with pytest.raises(ValueError, match="has a group /theory already"):
        store.append(path, "theory", dataset)


def test_an_existing_file_is_kept_unless_told_otherwise(path):
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="--overwrite"):
        store.ResultsFile(path, {})
    assert path.read_bytes() == before
    store.ResultsFile(path, {}, overwrite=True).close()
    assert path.read_bytes() != before
    assert os.listdir(path.parent) == [path.name]


def test_unwritable_outputs(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a directory"):
        store.check_output(tmp_path, overwrite=True)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="cannot be written"):
        store.check_output(tmp_path / "file" / "results.h5", overwrite=False)


def test_foreign_files_are_refused(tmp_path, path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        store.read(tmp_path / "none.h5", "simulation")
    (tmp_path / "text.h5").write_text("not HDF5")
    with pytest.raises(ValueError, match="not a readable HDF5 file"):
        store.read(tmp_path / "text.h5", "simulation")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(ValueError, match="has schema None"):
        store.read(tmp_path / "other.h5", "simulation")
    with pytest.raises(ValueError, match="no readable group /comparison"):
        store.read(path, "comparison")


def test_parameters_as_json():
    text = store.to_json({"b": np.float64(0.5), "a": np.arange(2)})
    assert text == json.dumps({"a": [0, 1], "b": 0.5})
    with pytest.raises(TypeError, match="cannot be kept"):
        store.to_json({"f": object()})
