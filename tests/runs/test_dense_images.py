import gzip
import struct

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from runs import dense_images, figures
from sim import TaskError, store
from tests.runs import running

TINY = {"samples": 4, "K": np.array([4, 32]), "M": np.array([10, 100]), "r": np.array([0.2, 1.0])}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    path = tmp_path_factory.mktemp("dense_images") / "results.h5"
    return running.compute(dense_images.SCRIPT, TINY, path, seed=3)


def final(out, experiment, **point):
    return store.read(out, f"comparison/{experiment}").final_mean.sel(**point)


def test_every_experiment_is_in_the_file_and_in_the_figure(out):
    experiments = ["classes", "examples", "quality", "storing"]
    assert store.groups(out, "simulation") == sorted([*experiments, "pictures"])
    assert store.groups(out, "comparison") == experiments
    m = store.read(out, "simulation/examples").m
    assert m.dims == ("archetypes", "P", "training", "M", "sample", "stage", "probe")
    assert m.shape == (2, 3, 3, 2, 4, 3, 4)
    paths = figures.save(dense_images.draw(out), out)
    assert all(path.stat().st_size > 10_000 for path in paths)


def test_a_higher_order_stores_more_images(out):
    images = final(out, "storing", archetypes="images")
    assert (images.sel(K=4) > 0.9).all()
    assert images.sel(P=2, K=32) < 0.7
    assert (images.sel(P=[4, 6], K=32) > 0.9).all()


def test_a_higher_order_needs_fewer_examples_with_a_teacher_and_more_without(out):
    images = final(out, "examples", archetypes="images", M=100)
    assert images.sel(P=6, training="supervised") > images.sel(P=2, training="supervised") + 0.05
    assert images.sel(P=6, training="unsupervised") < images.sel(P=2, training="unsupervised") - 0.1


def test_perfect_examples_are_archetypes(out):
    perfect = final(out, "quality", r=1.0)
    assert np.allclose(perfect.sel(training="supervised"), perfect.sel(training="storing"), atol=0.1)
    assert np.allclose(perfect.sel(training="unsupervised"), perfect.sel(training="storing"), atol=0.1)


def test_all_orders_see_the_same_cues(out):
    shown = store.read(out, "simulation/pictures")
    cue = store.read(out, "simulation/examples").m.sel(stage="cue")
    assert shown.spins.shape == (6, 8, 8)
    assert np.ptp(cue.values) < 1e-12
    assert cue.values.flat[0] == pytest.approx(1 - 2 * 4 / 44)


def test_first_step_is_as_predicted_for_random_archetypes(out):
    # Measured by the dynamics of finite networks, predicted by formulas that never see a pattern.
    residual = store.read(out, "comparison/examples").step_residual.sel(training=["storing", "supervised"])
    assert abs(residual).max() < 0.1
    unsupervised = store.read(out, "comparison/examples").step_residual.sel(training="unsupervised", M=100)
    assert abs(unsupervised).max() < 0.1


def test_threshold_interpolates_in_the_logarithm():
    axis = np.array([1.0, 100.0, 1000.0])
    assert dense_images.threshold(np.array([0.8, 1.0, 1.0]), axis) == pytest.approx(10)
    assert dense_images.threshold(np.array([1.0, 0.8, 1.0]), axis) == pytest.approx(10)
    assert np.isnan(dense_images.threshold(np.array([0.1, 0.2, 0.3]), axis))


def test_published_files_are_read_from_a_folder(tmp_path):
    rng = np.random.default_rng(1)
    pixels, labels = rng.integers(0, 256, (20, 28, 28), dtype=np.uint8), np.arange(20, dtype=np.uint8) % 10
    for name, array in (("images-idx3", pixels), ("labels-idx1", labels)):
        header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        (tmp_path / f"t10k-{name}-ubyte.gz").write_bytes(gzip.compress(header + array.tobytes()))
    data = dense_images.Data("mnist", tmp_path, 1)
    assert data.patterns.shape == (20, 784)
    assert data.class_archetypes.shape == (10, 784)
    axes = data.experiments(dense_images.PRESETS["quick"])
    assert list(axes["storing"]["K"]) == [4, 8, 16]
    assert list(axes["classes"]["M"]) == [1]


# Grids in no order.
SHUFFLED = {"samples": 2, "K": np.array([16, 4]), "M": np.array([100, 10]), "r": np.array([1.0, 0.5])}


def test_a_run_in_parts_that_was_stopped_ends_as_one(tmp_path, monkeypatch):
    whole = running.compute(dense_images.SCRIPT, SHUFFLED, tmp_path / "whole.h5")
    parts, retrieve, calls = tmp_path / "parts.h5", dense_images.retrieve, []

    def failing(task):
        calls.append(task)
        # Three pictures, half of 24 tasks of storing, some of learning.
        if len(calls) == 3 + 12 + 6:
            raise FloatingPointError("too hot")
        return retrieve(task)

    monkeypatch.setattr(dense_images, "retrieve", failing)
    with pytest.raises(TaskError, match="too hot"):
        running.compute(dense_images.SCRIPT, SHUFFLED, parts, shard="0/2")
    monkeypatch.setattr(dense_images, "retrieve", retrieve)
    assert store.read(parts, "simulation/storing").completed.sum() == 12
    assert 1 <= store.read(parts, "simulation/examples").completed.sum() < 6
    assert not [room for room in store.rooms(parts) if room.startswith("comparison")]
    for shard in ("0/2", "1/2", "0/1"):
        running.compute(dense_images.SCRIPT, SHUFFLED, parts, shard=shard, resume=True)
    assert store.rooms(parts) == store.rooms(whole)
    for room in store.rooms(whole):
        xr.testing.assert_identical(store.read(parts, room), store.read(whole, room))


def test_grids_in_any_order_give_the_same(tmp_path):
    shuffled = running.compute(dense_images.SCRIPT, SHUFFLED, tmp_path / "shuffled.h5")
    grids = {name: np.sort(values) if np.ndim(values) else values for name, values in SHUFFLED.items()}
    ordered = running.compute(dense_images.SCRIPT, grids, tmp_path / "ordered.h5")
    assert store.read(shuffled, "simulation/storing").K.values.tolist() == [16, 4]
    for name in store.groups(ordered, "comparison"):
        xr.testing.assert_identical(
            store.read(shuffled, f"comparison/{name}"), store.read(ordered, f"comparison/{name}")
        )
    assert list(dense_images.report(shuffled)) == list(dense_images.report(ordered))
    lines = [
        [line for axes in dense_images.draw(path).axes for line in axes.get_lines()] for path in (shuffled, ordered)
    ]
    plt.close("all")
    assert len(lines[0]) == len(lines[1])
    for one, other in zip(*lines, strict=True):
        np.testing.assert_array_equal(one.get_xdata(), other.get_xdata())
        np.testing.assert_array_equal(one.get_ydata(), other.get_ydata())


def test_grids_of_one_value_are_computed_and_drawn(tmp_path):
    # More examples than a class has images: the classes are learned from as many as there are.
    one = {"samples": 1, "K": np.array([8]), "M": np.array([1000]), "r": np.array([0.5])}
    out = running.compute(dense_images.SCRIPT, one, tmp_path / "one.h5")
    assert store.read(out, "simulation/examples").M.values.tolist() == [1000]
    assert store.read(out, "simulation/classes").M.values.tolist() == [174]
    for name in store.groups(out, "comparison"):
        compared = store.read(out, f"comparison/{name}")
        assert compared.threshold.isnull().all()
        # One sample has no error.
        assert compared.final_error.isnull().all()
        assert compared.final_mean.notnull().all()
    figures.save(dense_images.draw(out), out)


def test_report_has_the_agreement_and_the_thresholds(out):
    lines = list(dense_images.report(out))
    assert sum("points within 3 standard errors" in line for line in lines) == 3
    thresholds = store.read(out, "comparison/storing").threshold.sel(archetypes="random", P=2).item()
    assert any(f"{thresholds:.3g}" in line for line in lines)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"K": np.array([2, 8])}, "grid K = 2.0 is out of range"),
        ({"K": np.array([2000])}, r"grid K = \[2000\] has no value up to 1797"),
        ({"M": np.array([0, 8])}, "grid M = 0.0 is out of range"),
        ({"r": np.array([0.5, 1.1])}, "grid r = 1.1 is out of range"),
        ({"r": np.array([0.0])}, "grid r = 0.0 is out of range"),
        ({"samples": 0}, "samples = 0 is out of range"),
    ],
)
def test_grids_out_of_range_are_refused_before_any_work(change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        running.compute(dense_images.SCRIPT, TINY | change, tmp_path / "a.h5")
    assert not written(tmp_path / "a.h5")


def written(path):
    """Return the groups that hold something, if there is a file."""
    return store.rooms(path) if path.exists() else []


def test_bad_input_is_named_before_any_work(tmp_path, monkeypatch):
    monkeypatch.delenv("HEBBIAN_DATA", raising=False)
    for i, (source, folder, error, message) in enumerate(
        (
            ("mnist", None, FileNotFoundError, "HEBBIAN_DATA"),
            ("mnist", str(tmp_path / "absent"), FileNotFoundError, "absent"),
            ("faces", None, ValueError, "source = 'faces'"),
        )
    ):
        path = tmp_path / f"{i}.h5"
        with pytest.raises(error, match=message):
            running.compute(dense_images.SCRIPT, TINY, path, data=source, folder=folder)
        assert not written(path)
    path = tmp_path / "precious.h5"
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="exists"):
        running.compute(dense_images.SCRIPT, TINY, path)
    with pytest.raises(ValueError, match="is not an HDF5 file"):
        dense_images.draw(path)
    assert path.read_text() == "precious"
