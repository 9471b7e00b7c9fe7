"""Images as patterns: digit data sets, their binarisation, class archetypes and examples."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hebbian import validation
from hebbian.data.idx import read_idx

_EMNIST = ("balanced", "byclass", "bymerge", "digits", "letters", "mnist")
SOURCES = ("digits", "mnist", "fashion-mnist", *(f"emnist-{name}" for name in _EMNIST))
SPLITS = ("all", "train", "test")
METHODS = ("median", "threshold")
FOLDER_VARIABLE = "HEBBIAN_DATA"


@dataclass(frozen=True, eq=False)
class Images:
    """Grey-level images with the class of each.

    Parameters
    ----------
    pixels : ndarray of real numbers, shape (count, height, width)
        Grey levels in [0, white], 0 being the background; count >= 1.
    labels : ndarray of integers, shape (count,)
        Class of each image.
    name : str
        What they are, for figures and files.
    white : float
        Greatest grey level that a pixel can take: 255 for a byte.

    Raises
    ------
    TypeError, ValueError
        If the shapes do not match, or an entry is of another type or out of range.
    """

    pixels: NDArray[Any]
    labels: NDArray[np.integer]
    name: str
    white: float = 255.0

    def __post_init__(self) -> None:
        """Validate."""
        pixels, labels = np.asarray(self.pixels), np.asarray(self.labels)
        if pixels.ndim != 3 or pixels.size == 0:
            raise ValueError(
                f"pixels of {self.name!r} has shape {pixels.shape}; allowed: (count, height, width), all >= 1"
            )
        if pixels.dtype.kind not in "uif":
            raise TypeError(f"pixels of {self.name!r} has dtype {pixels.dtype}; allowed: real numbers")
        white = validation.real("white", self.white, above=0.0)
        lowest, highest = pixels.min(), pixels.max()
        if not 0 <= lowest <= highest <= white:  # false for nan, too
            raise ValueError(
                f"pixels of {self.name!r} has entries {lowest} to {highest}; allowed: 0 to white = {white}"
            )
        if labels.shape != pixels.shape[:1]:
            raise ValueError(
                f"labels of {self.name!r} has shape {labels.shape}; allowed: {pixels.shape[:1]}, one an image"
            )
        if labels.dtype.kind not in "ui":
            raise TypeError(f"labels of {self.name!r} has dtype {labels.dtype}; allowed: integers")
        for field, value in (("pixels", pixels), ("labels", labels), ("white", white)):
            object.__setattr__(self, field, value)


def load_images(source: str = "digits", *, split: str = "all", folder: str | os.PathLike[str] | None = None) -> Images:
    """Load a data set of images.

    Parameters
    ----------
    source : str
        ``digits``: the 1,797 handwritten digits of 8 x 8 pixels (grey levels 0 to 16) that come
        with scikit-learn. ``mnist``, ``fashion-mnist`` and ``emnist-`` followed by ``balanced``,
        ``byclass``, ``bymerge``, ``digits``, ``letters`` or ``mnist``: the IDX files as published,
        gzip-compressed or not, 28 x 28 pixels (0 to 255). EMNIST stores its images transposed;
        they are returned upright.
    split : {"all", "train", "test"}
        Part of the data set; ``all`` is the training images followed by the test images, and
        the only one of ``digits``.
    folder : path-like, optional
        Where the files are: in ``folder/<source>``, or else in `folder` itself. Left out: the
        environment variable ``HEBBIAN_DATA``.

    Returns
    -------
    Images

    Raises
    ------
    FileNotFoundError
        If the files are in neither place, with the list of those looked for.
    ValueError, TypeError
        If an argument is out of range, or a file is damaged or holds something else.

    References
    ----------
    LeCun et al., Proc. IEEE 86, 2278 (1998); Xiao, Rasul and Vollgraf, arXiv:1708.07747;
    Cohen et al., arXiv:1702.05373; Alpaydin and Kaynak, UCI Machine Learning Repository (1998).

    Examples
    --------
    >>> load_images().pixels.shape
    (1797, 8, 8)
    """
    validation.choice("source", source, SOURCES)
    validation.choice("split", split, SPLITS)
    if source == "digits":
        if split != "all":
            raise ValueError(f"split = {split!r} has no meaning for source='digits'; allowed: 'all'")
        if folder is not None:
            raise ValueError(f"folder = {folder!r} has no meaning for source='digits'; allowed: leave it out")
        return _bundled_digits()
    folders = _folders(source, folder)
    parts = [_load_part(source, part, folders) for part in (("train", "test") if split == "all" else (split,))]
    if len({pixels.shape[1:] for pixels, _ in parts}) > 1:
        raise ValueError(f"the splits of {source!r} have images of different sizes: {[p.shape for p, _ in parts]}")
    pixels, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Images(pixels, labels, source if split == "all" else f"{source} ({split})")


def _bundled_digits() -> Images:
    # Imported here: scikit-learn takes seconds to import, and only this needs it.
    from sklearn.datasets import load_digits

    bundled = load_digits()
    return Images(bundled.images.astype(np.uint8), bundled.target.astype(np.int64), "digits", white=16.0)


def _folders(source: str, folder: str | os.PathLike[str] | None) -> list[Path]:
    if folder is None:
        folder = os.environ.get(FOLDER_VARIABLE) or None
        if folder is None:
            example = f"{source}/{_stems(source, 'train')[0]}"
            raise FileNotFoundError(
                f"source = {source!r} is read from files and no folder is known; allowed: give folder=, or set "
                f"the environment variable {FOLDER_VARIABLE}, to a folder with {example} and so on"
            )
    elif not isinstance(folder, str | os.PathLike):
        raise TypeError(f"folder = {folder!r} is not a path; allowed: str or os.PathLike")
    return [Path(folder) / source, Path(folder)]


def _stems(source: str, part: str) -> tuple[str, str]:
    if source.startswith("emnist"):
        return f"{source}-{part}-images-idx3-ubyte", f"{source}-{part}-labels-idx1-ubyte"
    prefix = {"train": "train", "test": "t10k"}[part]
    return f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"


def _load_part(source: str, part: str, folders: list[Path]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    images_path, labels_path = _find(source, part, folders)
    pixels, labels = read_idx(images_path), read_idx(labels_path)
    for path, array, axes, what in ((images_path, pixels, 3, "images"), (labels_path, labels, 1, "labels")):
        if array.ndim != axes or array.dtype != np.uint8:
            raise ValueError(
                f"{path}: {array.ndim} dimensions of {array.dtype}; allowed: {axes} of uint8, as {what} have"
            )
    if len(pixels) != len(labels):
        raise ValueError(f"{images_path} holds {len(pixels)} images, {labels_path} {len(labels)} labels")
    if pixels.size == 0:
        raise ValueError(f"{images_path}: no images, shape {pixels.shape}")
    if source.startswith("emnist"):
        pixels = np.ascontiguousarray(pixels.transpose(0, 2, 1))
    return pixels, labels.astype(np.int64)


def _find(source: str, part: str, folders: list[Path]) -> tuple[Path, Path]:
    """Return images and labels of one folder: those of different folders need not belong together."""
    wanted = [[folder / stem for stem in _stems(source, part)] for folder in folders]
    for pair in wanted:
        present = [[path for path in (stem, Path(f"{stem}.gz")) if path.is_file()] for stem in pair]
        if all(present):
            return present[0][0], present[1][0]
    listed = "\n  ".join(f"{images} and {labels.name}" for images, labels in wanted)
    raise FileNotFoundError(f"{source!r}: no {part} images with labels; looked, with and without .gz, for\n  {listed}")


def binarise(images: Images, method: str = "median", threshold: float | None = None) -> NDArray[np.int8]:
    r"""Turn grey levels into spins, one image a pattern and one pixel a site.

    The Hebbian rule wants :math:`\sum_\mu \xi_i^\mu \approx 0` at each site: what the patterns
    have in common (ink in the middle, none at the border) adds up to one more pattern, stored
    with the weight of all of them. A cut of its own for each pixel removes most of it; a common
    one removes none. Mean overlap of two images, with ``median`` and with ``threshold`` 0.5: 0.27
    and 0.48 in ``digits``, 0.59 and 0.66 in the test images of MNIST, where most pixels are blank
    in most images. Without the sites that remain one-sided,
    ``patterns[:, abs(patterns.mean(axis=0)) < 0.5]``, it is 0.01 (44 sites) and 0.04 (262 sites)
    with ``median``, and images are as often nearest to the archetype of their own class.

    Parameters
    ----------
    images : Images
        Grey-level images.
    method : {"median", "threshold"}
        ``median``: +1 where the pixel is above its median over the set of images given, or where
        it is at or above it if that divides the images more evenly, as for a pixel that is
        mostly white. ``threshold``: +1 where the pixel is above `threshold`.
    threshold : float, optional
        In units of the pixel range, in [0, 1): the cut is at `threshold` times ``images.white``.
        0.5 if left out; only with ``method="threshold"``.

    Returns
    -------
    ndarray of int8, shape (count, N)
        Entries -1 and +1, N = height x width, rows of pixels one after another. A pixel that
        never changes carries no information: ``median`` makes it -1 in all patterns.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, is out of range, or contradicts another.

    Examples
    --------
    >>> binarise(load_images()).shape
    (1797, 64)
    """
    if not isinstance(images, Images):
        raise TypeError(f"images = {type(images).__name__} object; allowed: Images, as from load_images")
    validation.choice("method", method, METHODS)
    pixels = images.pixels.reshape(len(images.pixels), -1)
    if method == "threshold":
        cut = validation.real("threshold", 0.5 if threshold is None else threshold, minimum=0.0, below=1.0)
        return _signs(pixels > cut * images.white)
    if threshold is not None:
        raise ValueError(f"threshold = {threshold!r} has no meaning for method='median'; allowed: leave it out")
    median = np.median(pixels, axis=0)
    above, reached = pixels > median, pixels >= median
    half = len(pixels) / 2
    return _signs(np.where(abs(above.sum(axis=0) - half) <= abs(reached.sum(axis=0) - half), above, reached))


def _signs(positive: NDArray[np.bool_]) -> NDArray[np.int8]:
    return 2 * positive.astype(np.int8) - 1


def class_archetypes(patterns: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.integer], NDArray[np.int8]]:
    r"""Archetype of each class: :math:`\xi_i^\mu = \mathrm{sign} \sum_{a \in \mu} \eta_i^a`.

    Parameters
    ----------
    patterns : array_like, shape (count, N)
        Patterns of -1 and +1; count >= 1.
    labels : array_like of integers, shape (count,)
        Class of each pattern.

    Returns
    -------
    classes : ndarray of integers, shape (K,)
        The labels that occur, in ascending order.
    xi : ndarray of int8, shape (K, N)
        Archetypes in the order of `classes`; +1 at a site where a class is divided evenly.

    Raises
    ------
    TypeError, ValueError
        If an array has another shape or other entries.

    Examples
    --------
    >>> classes, xi = class_archetypes([[1, 1, -1], [1, -1, -1], [-1, -1, 1]], [7, 7, 3])
    >>> classes.tolist(), xi.tolist()
    ([3, 7], [[-1, -1, 1], [1, 1, -1]])
    """
    patterns, labels = _labelled(patterns, labels)
    classes = np.unique(labels)
    sums = np.stack([patterns[labels == label].sum(axis=0, dtype=np.int64) for label in classes])
    return classes, _signs(sums >= 0)


def class_examples(patterns: ArrayLike, labels: ArrayLike, M: int, *, rng: np.random.Generator) -> NDArray[np.int8]:
    """Draw M examples of each class without replacement.

    Parameters
    ----------
    patterns : array_like, shape (count, N)
        Patterns of -1 and +1; count >= 1.
    labels : array_like of integers, shape (count,)
        Class of each pattern.
    M : int
        Examples a class, from 1 to the size of the smallest class.
    rng : numpy.random.Generator
        Source of random numbers.

    Returns
    -------
    ndarray of int8, shape (K, M, N)
        Classes in ascending order of their labels, as in `class_archetypes`.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or entries, or a class has fewer than M patterns.
    """
    patterns, labels = _labelled(patterns, labels)
    M = validation.integer("M", M, minimum=1)
    validation.generator("rng", rng)
    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < M:
        raise ValueError(
            f"M = {M} is out of range: class {classes[counts.argmin()]} has {counts.min()} patterns; "
            f"allowed: 1 <= M <= {counts.min()}"
        )
    members = [rng.choice(np.flatnonzero(labels == label), size=M, replace=False) for label in classes]
    return patterns[np.stack(members)]


def empirical_quality(xi: ArrayLike, examples: ArrayLike) -> float:
    r"""Quality r of given examples: the mean of :math:`\xi_i^\mu \eta_i^{\mu,a}` over all entries.

    For independent noise it estimates the r of :math:`P(\eta = \pm\xi) = (1 \pm r)/2`. Flips of
    real examples are correlated and more frequent at some sites, so that this r does not make
    the second moment of the learned pattern exactly 1: temperatures are comparable between
    data sets only roughly, and nothing else depends on it.

    Parameters
    ----------
    xi : array_like, shape (K, N)
        Archetypes of -1 and +1.
    examples : array_like, shape (K, M, N)
        Examples of -1 and +1.

    Returns
    -------
    float
        In (0, 1], a valid ``quality`` of `hebbian.DenseHebbian`.

    Raises
    ------
    TypeError, ValueError
        If an array has another shape or other entries, or the mean is not positive: the
        examples then say nothing of these archetypes.

    Examples
    --------
    >>> empirical_quality([[1, -1]], [[[1, -1], [1, 1]]])
    0.5
    """
    xi, examples = np.asarray(xi), np.asarray(examples)
    for name, array, axes in (("xi", xi, "(K, N)"), ("examples", examples, "(K, M, N)")):
        if array.ndim != axes.count(",") + 1 or array.size == 0:
            raise ValueError(f"{name} has shape {array.shape}; allowed: {axes}, all >= 1")
    K, N = xi.shape
    xi = validation.signs("xi", xi, (K, N))
    examples = validation.signs("examples", examples, (K, examples.shape[1], N))
    quality = int(np.sum(xi * examples.sum(axis=1, dtype=np.int64))) / examples.size
    if quality <= 0:
        raise ValueError(f"the mean of xi * examples is {quality:.3g}; allowed: above 0, archetypes of these examples")
    return quality


def _labelled(patterns: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.int8], NDArray[np.integer]]:
    array, classes = np.asarray(patterns), np.asarray(labels)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"patterns has shape {array.shape}; allowed: (count, N), both >= 1")
    if classes.shape != array.shape[:1]:
        raise ValueError(f"labels has shape {classes.shape}; allowed: {array.shape[:1]}, one a pattern")
    if classes.dtype.kind not in "ui":
        raise TypeError(f"labels has dtype {classes.dtype}; allowed: integers")
    return validation.signs("patterns", array, array.shape), classes
