"""Data: real images and synthetic generators."""

from hebbian.data.idx import read_idx
from hebbian.data.images import (
    Images,
    binarise,
    class_archetypes,
    class_examples,
    empirical_quality,
    load_images,
)

__all__ = [
    "Images",
    "binarise",
    "class_archetypes",
    "class_examples",
    "empirical_quality",
    "load_images",
    "read_idx",
]
