import struct

import numpy as np
import pytest
from typer.testing import CliRunner

from hebbian import MultitaskingHebbian
from runs import command_line, figures
from runs import multitasking_images as images
from sim import random, store

TINY = {
    "spins": 700,
    "samples": 4,
    "sweeps": 15,
    "T": np.array([0.2, 0.6]),
    "f": np.array([0.0, 0.5]),
    "M": np.array([1, 3, 16]),
    "r": np.array([0.5]),
}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    path = tmp_path_factory.mktemp("multitasking_images") / "results.h5"
    images.compute(TINY, seed=3, out=path)
    return path


def test_every_experiment_is_in_the_file_and_in_the_figure(out):
    experiments = ["examples", "fraction", "temperature"]
    assert store.groups(out, "simulation") == sorted([*experiments, "pictures"])
    assert store.groups(out, "theory") == experiments
    assert store.groups(out, "comparison") == sorted([*experiments, "trainings"])
    m = store.read(out, "simulation/temperature").m
    assert m.dims == ("training", "sample", "T", "pattern")
    assert m.shape == (3, 4, 2, 4)
    assert store.read(out, "simulation/fraction").m.shape == (2, 2, 4, 1, 4)
    assert store.read(out, "simulation/examples").m.shape == (2, 1, 3, 4, 1, 4)
    assert set(TINY["T"]) < set(store.read(out, "theory/temperature").T.values)
    paths = figures.save(images.draw(out), out)
    assert all(path.stat().st_size > 10_000 for path in paths)


def test_one_state_holds_all_disjoint_images(out):
    m = store.read(out, "simulation/temperature").m.sel(training="storing")
    # m = tanh(m/T) for each of the windows: 0.99991 and 0.9073.
    assert m.sel(T=0.2).min() > 0.99
    assert np.allclose(m.sel(T=0.6).mean("sample"), 0.9073, atol=0.03)


def test_images_with_common_sites_are_ranked(out):
    ranked = store.read(out, "comparison/fraction").m_mean.squeeze("T").sel(archetypes="images")
    assert np.ptp(ranked.sel(f=0.0).values) < 0.01
    assert ranked.sel(f=0.5, rank=1) > 0.8
    assert ranked.sel(f=0.5, rank=4) < 0.6
    assert (ranked.sel(f=0.5).diff("rank") < 0).all()


def test_measured_overlaps_are_the_predicted_ones(out):
    # Windows of 768 spins: thermal fluctuations of 0.01 to 0.02 a sample, and corrections of a few times 1/768.
    assert abs(store.read(out, "comparison/temperature").m_residual).max() < 0.03
    assert abs(store.read(out, "comparison/examples").m_residual).max() < 0.03
    residual = store.read(out, "simulation/fraction").m - store.read(out, "theory/fraction").m
    assert abs(residual).median() < 0.01


def test_more_examples_are_better_and_both_trainings_need_as_many(out):
    compared = store.read(out, "comparison/examples").squeeze(["T", "r"])
    assert (compared.m_mean.diff("M") > 0.05).all()
    # One example leaves the network with r; those of the two trainings are the same.
    assert np.allclose(compared.m_mean.sel(M=1), 0.5, atol=0.05)
    assert store.read(out, "comparison/trainings").m_residual.sel(M=1).item() == 0
    assert np.allclose(compared.threshold_residual, 0, atol=1)


def test_pictures_show_cues_and_states(out):
    shown = store.read(out, "simulation/pictures")
    cue, state, one, found, _, crowded = shown.m.values
    assert np.allclose(cue, 0.4, atol=0.1)
    assert (state > 0.99).all()
    assert one[0] == 1
    assert abs(one[1:]).max() < 0.2
    # Free sites find the other images or their negatives.
    assert (abs(found) > 0.99).all()
    assert 0.8 < crowded.max()
    assert crowded.min() < 0.7
    assert shown.spins.shape[1:] == (64, 48)
    assert (shown.spins[0] != 0).all()
    # A canvas of 2 x 2 windows, of which the images take 1.5 x 1.5.
    assert np.isclose((shown.spins[4] == 0).mean(), 1 - 1.5**2 / 4)


@pytest.mark.parametrize(("f", "common"), [(0.0, 0), (0.5, 16), (1.0, 32)])
def test_neighbouring_windows_share_a_fraction_of_their_sites(f, common):
    rng = np.random.default_rng(1)
    shown = rng.choice(np.array([-1, 1], dtype=np.int8), size=(4, 8, 4))
    canvas = images.place(shown, f)
    assert canvas.shape == (4, 16, 8)
    for image, layer in zip(shown, canvas, strict=True):
        assert np.array_equal(layer[layer != 0], image.ravel())
    full = canvas != 0
    assert [(full[a] & full[b]).sum() for a, b in ((0, 1), (0, 2), (1, 3), (2, 3))] == [common] * 4
    # The canvas is the same from its other end.
    assert np.array_equal(full, full[::-1, ::-1, ::-1])


@pytest.mark.parametrize("training", ["storing", "supervised", "unsupervised"])
def test_disjoint_images_are_networks_of_their_own(training):
    learning = {} if training == "storing" else {"quality": 0.5, "examples": 3}
    rng = np.random.default_rng(2)
    xi = images.place(rng.choice(np.array([-1, 1], dtype=np.int8), size=(4, 16, 12)), 0.0).reshape(4, -1)
    model = MultitaskingHebbian(N=768, K=4, dilution=0.75, training=training, **learning)
    sample = model.quench(rng=random.stream(1, (0,), "patterns"), archetypes=xi)
    start, T = xi.sum(axis=0, dtype=np.int8), np.array([0.05, 0.15])
    apart, together = (images.predict(sample, T, start, apart=apart) for apart in (True, False))
    assert apart.shape == (2, 4)
    np.testing.assert_allclose(apart, together, atol=1e-9)
    assert (apart > 0.3).all()


def published(folder, pixels):
    """Write images as the test files of MNIST."""
    labels = np.zeros(len(pixels), dtype=np.uint8)
    for name, array in (("images-idx3", pixels), ("labels-idx1", labels)):
        header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        (folder / f"t10k-{name}-ubyte").write_bytes(header + array.tobytes())


def test_published_files_are_cropped_to_pixels_that_vary_and_magnified(tmp_path):
    pixels = np.zeros((20, 28, 28), dtype=np.uint8)
    pixels[:, 4:24, 5:23] = np.random.default_rng(1).integers(0, 256, (20, 20, 18))
    published(tmp_path, pixels)
    data = images.Data("mnist", tmp_path, 1, TINY)
    assert data.pixels.shape == (20, 20, 18)
    # The smallest block with 20 x 18 x block^2 >= 700 spins.
    assert data.block == 2
    assert data.size == (40, 36)
    assert data.task(0).model.N == 4 * 40 * 36


@pytest.mark.parametrize("pixels", [np.zeros((9, 4, 4), dtype=np.uint8), np.eye(3, dtype=np.uint8)[:, None] * 255])
def test_images_too_few_or_alike_are_refused(tmp_path, pixels):
    published(tmp_path, pixels)
    with pytest.raises(ValueError, match=rf"has {len(pixels)} images .* at least 4 images"):
        images.Data("mnist", tmp_path, 1, TINY)


def run(*arguments):
    return CliRunner().invoke(command_line.application(images.main), list(arguments))


def test_bad_command_lines_end_in_one_message(tmp_path, monkeypatch):
    monkeypatch.delenv("HEBBIAN_DATA", raising=False)
    path = tmp_path / "results.h5"
    for arguments, message in (
        (("--data", "faces"), "source = 'faces'"),
        (("--data", "mnist"), "HEBBIAN_DATA"),
        (("--data", "mnist", "--folder", str(tmp_path / "absent")), "absent"),
        (("--seed", "-1"), "seed = -1"),
    ):
        result = run("--out", str(path), *arguments)
        assert result.exit_code == 2
        assert result.output.startswith("error: ")
        assert message in result.output
    assert list(tmp_path.iterdir()) == []
    path.write_text("precious")
    result = run("--out", str(path))
    assert result.exit_code == 2
    assert "exists" in result.output
    assert path.read_text() == "precious"
