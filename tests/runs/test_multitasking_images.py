import struct

import numpy as np
import pytest
import xarray as xr

from hebbian import MultitaskingHebbian
from runs import figures
from runs import multitasking_images as images
from sim import TaskError, random, store
from tests.runs import running

TINY = {
    "spins": 700,
    "samples": 4,
    "sweeps": 15,
    "T": np.array([0.2, 0.6]),
    "f": np.array([0.0, 0.5]),
    "M": np.array([1, 3, 16]),
    "r": np.array([0.5]),
}
SMALL = {
    "spins": 48,
    "samples": 2,
    "sweeps": 2,
    "T": np.array([1.1, 0.2]),
    "f": np.array([0.5, 0.0]),
    "M": np.array([3, 16, 1]),
    "r": np.array([0.8, 0.5]),
}
SINGLE = {"spins": 1, "samples": 1, "sweeps": 1} | {name: np.full(1, 0.975) for name in "Tfr"} | {"M": np.full(1, 3)}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return running.compute(images.SCRIPT, TINY, tmp_path_factory.mktemp("images") / "results.h5", seed=3)


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


def test_what_is_known_about_the_images_is_in_the_file(out):
    known = store.read(out, "images")
    # 12 x 8 pixels of 3 x 3 spins, four times.
    assert known.N == 4 * 32 * 24
    assert known.N == 4 * known.spins_per_pixel * np.prod(images.Data("digits", None, 3, TINY).pixels.shape[1:])
    assert abs(known.mean_overlap_of_images - 0.04) < 0.01
    assert abs(known.rms_overlap_of_images - 0.23) < 0.01


def counted(patch, *, fail_at=None):
    """Count the calls of some functions, and let that of the predictions fail at one; return the names as they come."""
    calls = []

    def count(name, function):
        def call(argument):
            if name == "predict_given" and calls.count(name) == fail_at:
                raise OSError("the disk is on fire")
            calls.append(name)
            return function(argument)

        return call

    for name in ("retrieve", "predict_given", "pictures"):
        patch.setattr(images, name, count(name, getattr(images, name)))
    return calls


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return running.compute(images.SCRIPT, SMALL, tmp_path_factory.mktemp("small") / "images.h5")


def test_stopped_and_divided_runs_end_like_undivided_ones(small, tmp_path, monkeypatch):
    out = tmp_path / "divided.h5"
    # Six tasks over T, 8 over the fraction, 24 over the examples: half of them are 3, 4, 12.
    with monkeypatch.context() as patch:
        counted(patch, fail_at=5)
        with pytest.raises(TaskError, match="the disk is on fire"):
            running.compute(images.SCRIPT, SMALL, out, shard="0/2")
    for shard, measured, predicted, shown in (("0/2", 12, 14, 1), ("1/2", 19, 19, 0), ("0/1", 0, 0, 0)):
        with monkeypatch.context() as patch:
            calls = counted(patch)
            running.compute(images.SCRIPT, SMALL, out, shard=shard, resume=True)
        names = ("retrieve", "predict_given", "pictures")
        assert tuple(map(calls.count, names)) == (measured, predicted, shown)
        assert ("comparison/fraction" in store.rooms(out)) == (shard == "0/1")
    running.assert_same(small, out)


def test_thresholds_do_not_depend_on_the_order_of_the_examples(out):
    m = store.read(out, "simulation/examples")[["m"]].mean("pattern")
    found = images.with_threshold(m)["threshold"]
    assert found.notnull().all()
    xr.testing.assert_equal(found, images.with_threshold(m.isel(M=[2, 0, 1]))["threshold"])


def check_report_and_figure(out, preset):
    assert len(list(images.report(out))) == 6 + len(preset["r"])
    figure = images.draw(out)
    figure.canvas.draw()
    for panel in figure.axes[:3]:
        for line in panel.get_lines():
            if line.get_linestyle() != "None" and len(set(line.get_xdata())) > 1:
                assert (np.diff(line.get_xdata()) > 0).all()


def test_axes_in_any_order_are_reported_and_drawn(small):
    check_report_and_figure(small, SMALL)


def test_axes_of_one_value_are_measured_reported_and_drawn(tmp_path):
    check_report_and_figure(running.compute(images.SCRIPT, SINGLE, tmp_path / "single.h5"), SINGLE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spins": 0}, "spins = 0"),
        ({"T": np.array([0.5, -0.1])}, "T = -0.1"),
        ({"f": np.array([0.5, 1.1])}, "f = 1.1"),
        ({"r": np.array([0.5, 0.0])}, "r = 0.0"),
        ({"M": np.array([1, 0])}, "M = 0"),
    ],
)
def test_presets_that_describe_no_network_are_refused_before_any_work(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        running.compute(images.SCRIPT, SMALL | change, tmp_path / "results.h5")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "faces"}, "source = 'faces'"),
        ({"data": "mnist"}, "HEBBIAN_DATA"),
        ({"data": "mnist", "folder": "absent"}, "absent"),
    ],
)
def test_images_that_cannot_be_had_are_refused(tmp_path, monkeypatch, options, message):
    monkeypatch.delenv("HEBBIAN_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, OSError), match=message):
        running.compute(images.SCRIPT, SMALL, tmp_path / "results.h5", **options)
