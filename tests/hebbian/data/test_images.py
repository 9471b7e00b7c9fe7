"""Images: loading from files as published, binarisation, archetypes and examples of classes."""

import gzip
import os
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from hebbian import DenseHebbian, patterns
from hebbian.data import (
    Images,
    binarise,
    class_archetypes,
    class_examples,
    empirical_quality,
    load_images,
)
from hebbian.data.images import SOURCES

RNG = np.random.default_rng(1)


def write_idx(path, array, compressed=False):
    content = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if compressed else content)


def write_part(folder, prefix, count, seed, compressed=False):
    """Write a small data set under the published names; return its images and labels."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    pixels, labels = rng.integers(0, 256, size=(count, 4, 3)), rng.integers(0, 10, size=count)
    suffix = ".gz" if compressed else ""
    write_idx(folder / f"{prefix}-images-idx3-ubyte{suffix}", pixels, compressed)
    write_idx(folder / f"{prefix}-labels-idx1-ubyte{suffix}", labels, compressed)
    return pixels, labels


@pytest.fixture(autouse=True)
def no_folder(monkeypatch):
    folder = os.environ.get("HEBBIAN_DATA")
    monkeypatch.delenv("HEBBIAN_DATA", raising=False)
    return folder


# Sources


def test_digits_are_the_default():
    from sklearn.datasets import load_digits

    images, bundled = load_images(), load_digits()
    assert images.name == "digits"
    assert images.pixels.shape == (1797, 8, 8)
    assert images.pixels.dtype == np.uint8
    assert images.white == images.pixels.max() == 16
    assert np.array_equal(images.pixels, bundled.images)
    assert np.array_equal(images.labels, bundled.target)


@pytest.mark.parametrize("source", ["mnist", "fashion-mnist"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("where", ["folder", "variable"])
@pytest.mark.parametrize("subfolder", [False, True])
def test_idx_files_are_found(tmp_path, monkeypatch, source, compressed, where, subfolder):
    folder = tmp_path / source if subfolder else tmp_path
    train = write_part(folder, "train", 7, 1, compressed)
    test = write_part(folder, "t10k", 5, 2, compressed)
    if where == "variable":
        monkeypatch.setenv("HEBBIAN_DATA", str(tmp_path))
        options = {}
    else:
        monkeypatch.setenv("HEBBIAN_DATA", "/nowhere")
        options = {"folder": tmp_path}
    for split, (pixels, labels) in (("train", train), ("test", test)):
        images = load_images(source, split=split, **options)
        assert images.name == f"{source} ({split})"
        assert images.white == 255
        assert images.pixels.dtype == np.uint8
        assert np.array_equal(images.pixels, pixels)
        assert np.array_equal(images.labels, labels)
    images = load_images(source, **options)
    assert images.name == source
    assert np.array_equal(images.pixels, np.concatenate([train[0], test[0]]))
    assert np.array_equal(images.labels, np.concatenate([train[1], test[1]]))


@pytest.mark.parametrize("source", [source for source in SOURCES if source.startswith("emnist")])
def test_emnist_stands_upright(tmp_path, source):
    stored = {part: write_part(tmp_path / source, f"{source}-{part}", 4, 3) for part in ("train", "test")}
    for part, (pixels, labels) in stored.items():
        images = load_images(source, split=part, folder=str(tmp_path))
        assert images.pixels.shape == (4, 3, 4)
        assert all(np.array_equal(image, raw.T) for image, raw in zip(images.pixels, pixels, strict=True))
        assert np.array_equal(images.labels, labels)


def test_the_folder_of_the_source_comes_first(tmp_path):
    write_part(tmp_path, "t10k", 3, 1)
    own = write_part(tmp_path / "mnist", "t10k", 3, 2)
    assert np.array_equal(load_images("mnist", split="test", folder=tmp_path).pixels, own[0])


def test_images_and_labels_come_from_one_folder(tmp_path):
    whole = write_part(tmp_path, "t10k", 3, 1)
    write_part(tmp_path / "mnist", "t10k", 3, 2)
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte").unlink()
    assert np.array_equal(load_images("mnist", split="test", folder=tmp_path).pixels, whole[0])


def test_published_mnist(no_folder):
    if not no_folder:
        pytest.skip("HEBBIAN_DATA is not set")
    try:
        images = load_images("mnist", split="test", folder=no_folder)
    except FileNotFoundError as error:
        pytest.skip(f"HEBBIAN_DATA has no MNIST test images: {error}")
    assert images.pixels.shape == (10000, 28, 28)
    # Counts and first labels of the published test set.
    assert np.bincount(images.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert images.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert images.pixels.max() == 255
    # Upright: a one is a vertical stroke, so its rows vary less than its columns.
    one = images.pixels[images.labels == 1].mean(axis=0)
    assert one.sum(axis=1).std() < one.sum(axis=0).std()
    spins = binarise(images)
    selected = spins[:, abs(spins.mean(axis=0)) < 0.5]
    xi = class_archetypes(selected, images.labels)[1].astype(int)
    # Chance is 0.1; 0.755 as stated in the documentation of binarise.
    assert ((selected @ xi.T).argmax(axis=1) == images.labels).mean() == pytest.approx(0.755, abs=0.002)


# Refusals


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"source": "cifar"}, ValueError, "source = 'cifar' is unknown; allowed: 'digits', 'mnist', 'fashion-mnist'"),
        ({"source": "emnist"}, ValueError, "source = 'emnist' is unknown; .* 'emnist-balanced', 'emnist-byclass'"),
        ({"source": "mnist", "split": "valid"}, ValueError, "split = 'valid' is unknown; allowed: 'all', 'train'"),
        ({"split": "test"}, ValueError, "split = 'test' has no meaning for source='digits'; allowed: 'all'"),
        ({"folder": "here"}, ValueError, "folder = 'here' has no meaning for source='digits'"),
        ({"source": "mnist", "folder": 3}, TypeError, "folder = 3 is not a path; allowed: str or os.PathLike"),
        ({"source": "mnist"}, FileNotFoundError, "no folder is known; allowed: give folder=, or set .* HEBBIAN_DATA"),
    ],
)
def test_load_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        load_images(**arguments)


def test_an_empty_variable_is_no_folder(monkeypatch):
    monkeypatch.setenv("HEBBIAN_DATA", "")
    with pytest.raises(FileNotFoundError, match="no folder is known"):
        load_images("mnist")


def test_missing_files_are_listed(tmp_path):
    write_part(tmp_path, "train", 3, 1)
    with pytest.raises(FileNotFoundError, match="'mnist': no test images with labels") as caught:
        load_images("mnist", folder=tmp_path)
    for folder in (tmp_path / "mnist", tmp_path):
        assert f"{folder / 't10k-images-idx3-ubyte'} and t10k-labels-idx1-ubyte" in str(caught.value)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((3, 2, 2)), np.zeros(2), "t10k-images-idx3-ubyte holds 3 images, .*t10k-labels-idx1-ubyte 2 labels"),
        (np.zeros(3), np.zeros(3), "t10k-images-idx3-ubyte: 1 dimensions of uint8; allowed: 3 of uint8, as images"),
        (np.zeros((3, 2, 2)), np.zeros((3, 2, 2)), "t10k-labels-idx1-ubyte: 3 dimensions .* 1 of uint8, as labels"),
        (np.zeros((0, 2, 2)), np.zeros(0), r"t10k-images-idx3-ubyte: no images, shape \(0, 2, 2\)"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(tmp_path, images, labels, message):
    write_idx(tmp_path / "t10k-images-idx3-ubyte", images)
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", labels)
    with pytest.raises(ValueError, match=message):
        load_images("mnist", split="test", folder=tmp_path)


def test_other_types_than_bytes_are_refused(tmp_path):
    write_part(tmp_path, "t10k", 3, 1)
    path = tmp_path / "t10k-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes().replace(b"\0\0\x08", b"\0\0\x09"))
    with pytest.raises(ValueError, match="1 dimensions of int8; allowed: 1 of uint8, as labels"):
        load_images("mnist", split="test", folder=tmp_path)


def test_splits_of_different_sizes_are_refused(tmp_path):
    write_part(tmp_path, "train", 3, 1)
    write_part(tmp_path, "t10k", 3, 2)
    write_idx(tmp_path / "t10k-images-idx3-ubyte", np.zeros((3, 5, 5)))
    with pytest.raises(ValueError, match=r"the splits of 'mnist' have images of different sizes: .*\(3, 5, 5\)"):
        load_images("mnist", folder=tmp_path)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"pixels": np.zeros((2, 4))},
            ValueError,
            r"pixels of 'x' has shape \(2, 4\); allowed: \(count, height, width",
        ),
        ({"pixels": np.zeros((0, 4, 4))}, ValueError, r"pixels of 'x' has shape \(0, 4, 4\)"),
        ({"pixels": np.zeros((2, 4, 4), complex)}, TypeError, "pixels of 'x' has dtype complex128; allowed: real"),
        ({"pixels": np.full((2, 4, 4), -1)}, ValueError, "entries -1 to -1; allowed: 0 to white = 255.0"),
        ({"pixels": np.full((2, 4, 4), 17), "white": 16}, ValueError, "entries 17 to 17; allowed: 0 to white = 16.0"),
        ({"pixels": np.full((2, 4, 4), np.nan)}, ValueError, "entries nan to nan"),
        ({"white": 0}, ValueError, r"white = 0 is out of range; allowed: finite numbers in \(0.0, inf\)"),
        ({"labels": [1, 2, 3]}, ValueError, r"labels of 'x' has shape \(3,\); allowed: \(2,\), one an image"),
        ({"labels": [1.0, 2.0]}, TypeError, "labels of 'x' has dtype float64; allowed: integers"),
    ],
)
def test_images_are_checked(changes, error, message):
    with pytest.raises(error, match=message):
        Images(**({"pixels": np.zeros((2, 4, 4)), "labels": [1, 2], "name": "x"} | changes))


# Binarisation

grey_levels = arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.just(2), st.just(2)), elements=st.integers(0, 6))


def wrapped(pixels, white=6.0):
    return Images(pixels, np.zeros(len(pixels), dtype=int), "drawn", white=white)


@given(grey_levels)
def test_median_is_the_most_even_of_all_cuts(pixels):
    spins = binarise(wrapped(pixels))
    assert spins.dtype == np.int8
    assert spins.shape == (len(pixels), 4)
    for site, levels in zip(spins.T, pixels.reshape(len(pixels), 4).T, strict=True):
        cuts = [np.where(levels > cut, 1, -1) for cut in (-1, *np.unique(levels))]
        assert any(np.array_equal(site, cut) for cut in cuts)
        assert abs(site.sum()) == min(abs(cut.sum()) for cut in cuts)


def test_median_keeps_the_information_of_mostly_white_pixels():
    pixels = np.array([6, 6, 6, 1, 0, 6]).reshape(6, 1, 1)
    assert binarise(wrapped(pixels)).ravel().tolist() == [1, 1, 1, -1, -1, 1]


@pytest.mark.parametrize("level", [0, 3, 6])
def test_median_of_a_constant_pixel_is_minus_one(level):
    assert binarise(wrapped(np.full((4, 1, 1), level))).ravel().tolist() == [-1] * 4


@given(grey_levels, st.floats(0, 1, exclude_max=True))
def test_threshold_is_a_fraction_of_white(pixels, threshold):
    spins = binarise(wrapped(pixels), "threshold", threshold)
    flat = pixels.reshape(len(pixels), 4)
    assert spins.dtype == np.int8
    assert np.array_equal(spins, np.where(flat > 6.0 * threshold, 1, -1))


def test_the_threshold_is_one_half_if_left_out():
    images = load_images()
    assert np.array_equal(binarise(images, "threshold"), np.where(images.pixels.reshape(1797, 64) > 8, 1, -1))


def mean_overlap(spins):
    """Mean of s.s'/N over pairs of different images."""
    total = spins.sum(axis=0, dtype=float)
    count, N = spins.shape
    return (total @ total - count * N) / (count * (count - 1) * N)


def test_digits_have_the_overlaps_stated_in_the_documentation():
    images = load_images()
    spins = binarise(images)
    selected = spins[:, abs(spins.mean(axis=0)) < 0.5]
    assert mean_overlap(spins) == pytest.approx(0.27, abs=0.005)
    assert mean_overlap(binarise(images, "threshold")) == pytest.approx(0.48, abs=0.005)
    assert selected.shape == (1797, 44)
    assert mean_overlap(selected) == pytest.approx(0.01, abs=0.005)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.zeros((2, 4, 4)),), TypeError, "images = ndarray object; allowed: Images, as from load_images"),
        ((wrapped(np.zeros((2, 4, 4))), "mean"), ValueError, "method = 'mean' is unknown; allowed: 'median', 'thresh"),
        ((wrapped(np.zeros((2, 4, 4))), "median", 0.5), ValueError, "threshold = 0.5 has no meaning for method='medi"),
        ((wrapped(np.zeros((2, 4, 4))), "threshold", 1.0), ValueError, r"threshold = 1.0 .* \[0.0, 1.0\)"),
        ((wrapped(np.zeros((2, 4, 4))), "threshold", -0.1), ValueError, r"threshold = -0.1 .* \[0.0, 1.0\)"),
        ((wrapped(np.zeros((2, 4, 4))), "threshold", "0"), TypeError, "threshold = '0' is not a real number"),
    ],
)
def test_binarise_refuses(arguments, error, message):
    with pytest.raises(error, match=message):
        binarise(*arguments)


# Classes


@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 2**32))
def test_archetypes_are_signs_of_class_sums(count, N, seed):
    rng = np.random.default_rng(seed)
    spins, labels = rng.choice(np.array([-1, 1], dtype=np.int8), size=(count, N)), rng.choice([-3, 0, 4, 9], size=count)
    classes, xi = class_archetypes(spins, labels)
    assert classes.tolist() == sorted(set(labels.tolist()))
    assert xi.dtype == np.int8
    assert xi.shape == (len(classes), N)
    for label, row in zip(classes, xi, strict=True):
        for i in range(N):
            total = sum(int(spins[a, i]) for a in range(count) if labels[a] == label)
            assert row[i] == (1 if total >= 0 else -1)


def test_archetypes_of_large_classes_do_not_overflow():
    spins = np.repeat(np.array([[1], [-1]], dtype=np.int8), [400, 300], axis=0)
    assert class_archetypes(spins, np.zeros(700, dtype=np.uint8))[1].tolist() == [[1]]


def numbered(count):
    """Patterns that spell their own number in binary."""
    return 2 * ((np.arange(count)[:, None] >> np.arange(10)) & 1) - 1


def spelled(spins):
    return ((spins + 1) // 2) @ (1 << np.arange(10))


def test_examples_are_drawn_uniformly_without_replacement():
    labels = np.array([5, 2, 5, 5, 2, 5, 2, 5])
    members = {0: {1, 4, 6}, 1: {0, 2, 3, 5, 7}}
    rng = np.random.default_rng(4)
    counts = np.zeros(8)
    for _ in range(600):
        drawn = spelled(class_examples(numbered(8), labels, 2, rng=rng))
        assert drawn.shape == (2, 2)
        for k in range(2):
            assert len(set(drawn[k].tolist())) == 2
            assert set(drawn[k].tolist()) <= members[k]
        counts[drawn] += 1
    # Without replacement counts vary less than multinomial ones: the false-alarm rate is below 1e-3.
    assert stats.chisquare(counts[[1, 4, 6]]).pvalue > 1e-3
    assert stats.chisquare(counts[[0, 2, 3, 5, 7]]).pvalue > 1e-3


def test_examples_can_be_the_whole_of_a_class():
    drawn = class_examples(numbered(6), [0, 1, 0, 1, 0, 1], 3, rng=np.random.default_rng(1))
    assert drawn.dtype == np.int8
    assert np.sort(spelled(drawn), axis=1).tolist() == [[0, 2, 4], [1, 3, 5]]


def test_the_generator_alone_decides():
    draws = [
        class_examples(numbered(300), np.arange(300) % 3, 20, rng=np.random.default_rng(seed)) for seed in (1, 1, 2)
    ]
    assert np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s, c: class_archetypes(s[0], c), ValueError, r"patterns has shape \(10,\); allowed: \(count, N\)"),
        (lambda s, c: class_archetypes(s[:0], c[:0]), ValueError, r"patterns has shape \(0, 10\); allowed"),
        (
            lambda s, c: class_archetypes(s, c[:3]),
            ValueError,
            r"labels has shape \(3,\); allowed: \(4,\), one a pattern",
        ),
        (lambda s, c: class_archetypes(s, c / 2), TypeError, "labels has dtype float64; allowed: integers"),
        (lambda s, c: class_archetypes(s * 0, c), ValueError, "patterns has an entry 0; allowed: -1 and"),
        (lambda s, c: class_examples(s, c[:3], 1, rng=RNG), ValueError, r"labels has shape \(3,\)"),
        (lambda s, c: class_examples(s, c, 0, rng=RNG), ValueError, "M = 0 is out of range; allowed: integers >= 1"),
        (lambda s, c: class_examples(s, c, 1.0, rng=RNG), TypeError, "M = 1.0 is not an integer"),
        (lambda s, c: class_examples(s, c, 1, rng=1), TypeError, "rng = 1 is not a random generator"),
        (lambda s, c: class_examples(s, c, 2, rng=RNG), ValueError, "M = 2 .* class 7 has 1 patterns; allowed: 1 <= M"),
    ],
)
def test_classes_refuse(call, error, message):
    with pytest.raises(error, match=message):
        call(numbered(4), np.array([3, 3, 7, 3]))


def test_empirical_quality_of_artificial_examples():
    rng = np.random.default_rng(5)
    xi = patterns.archetypes(10, 200, rng=rng)
    eta = patterns.examples(xi, 0.35, 50, rng=rng)
    # Three standard errors of 100,000 independent signs.
    assert empirical_quality(xi, eta) == pytest.approx(0.35, abs=3 * np.sqrt((1 - 0.35**2) / 1e5))
    assert empirical_quality(xi, np.repeat(xi[:, None], 3, axis=1)) == 1.0


@pytest.mark.parametrize(
    ("xi", "eta", "message"),
    [
        ([1, -1], [[[1, -1]]], r"xi has shape \(2,\); allowed: \(K, N\), all >= 1"),
        ([[1, -1]], [[1, -1]], r"examples has shape \(1, 2\); allowed: \(K, M, N\), all >= 1"),
        ([[1, -1]], np.ones((1, 0, 2)), r"examples has shape \(1, 0, 2\); allowed: \(K, M, N\), all >= 1"),
        ([[1, -1]], [[[1, -1, 1]]], r"examples has shape \(1, 1, 3\); allowed: \(1, 1, 2\)"),
        ([[1, 0]], [[[1, -1]]], "xi has an entry 0; allowed: -1 and"),
        ([[1, -1]], [[[0, -1]]], "examples has an entry 0; allowed: -1 and"),
        ([[1, -1]], [[[1, 1]]], r"the mean of xi \* examples is 0; allowed: above 0"),
        ([[1, -1]], [[[-1, 1]]], r"the mean of xi \* examples is -1; allowed: above 0"),
    ],
)
def test_empirical_quality_refuses(xi, eta, message):
    with pytest.raises(ValueError, match=message):
        empirical_quality(xi, eta)


@settings(deadline=None)
@given(st.sampled_from(["supervised", "unsupervised"]), st.integers(1, 100))
def test_digits_feed_a_network(training, M):
    images = load_images()
    spins = binarise(images)
    _, xi = class_archetypes(spins, images.labels)
    eta = class_examples(spins, images.labels, M, rng=np.random.default_rng(M))
    quality = empirical_quality(xi, eta)
    model = DenseHebbian(N=64, P=3, K=10, training=training, quality=quality, examples=M)
    sample = model.quench(rng=np.random.default_rng(1), archetypes=xi, examples=eta)
    # The learned patterns carry r / sqrt(R) of the archetypes, by the definition of the estimate.
    signal = np.mean([(xi[mu] * sample.learned(mu)).mean() for mu in range(10)])
    assert signal == pytest.approx(quality / np.sqrt(model.R), rel=1e-12)
