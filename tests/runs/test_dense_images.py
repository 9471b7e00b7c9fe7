import gzip
import struct

import numpy as np
import pytest

from runs import dense_images, figures
from sim import store

TINY = {"samples": 4, "K": np.array([4, 32]), "M": np.array([10, 100]), "r": np.array([0.2, 1.0])}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    path = tmp_path_factory.mktemp("dense_images") / "results.h5"
    dense_images.compute(TINY, seed=3, out=path)
    return path


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


def test_bad_input_is_named_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.delenv("HEBBIAN_DATA", raising=False)
    path = tmp_path / "results.h5"
    for source, folder, error, message in (
        ("mnist", None, FileNotFoundError, "HEBBIAN_DATA"),
        ("mnist", tmp_path / "absent", FileNotFoundError, "absent"),
        ("faces", None, ValueError, "source = 'faces'"),
    ):
        with pytest.raises(error, match=message):
            dense_images.compute(TINY, seed=1, out=path, source=source, folder=folder)
    assert list(tmp_path.iterdir()) == []
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="exists"):
        dense_images.compute(TINY, seed=1, out=path)
    with pytest.raises(ValueError, match="not a readable HDF5 file"):
        dense_images.draw(path)
    assert path.read_text() == "precious"
