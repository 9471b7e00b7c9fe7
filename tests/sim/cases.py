"""The shared list of networks that every engine must serve."""

import numpy as np

from hebbian import DenseHebbian, HebbianNetwork, MultitaskingHebbian, QuenchedSample
from sim import random

TRAININGS = {
    "storing": {},
    "supervised": {"quality": 0.7, "examples": 3},
    "unsupervised": {"quality": 0.7, "examples": 3},
}
KINDS = (
    [("distinct", P) for P in (2, 3, 4, 5)] + [("all", P) for P in (2, 3, 4)] + [("exponential", None), ("diluted", 2)]
)
DILUTION = 0.4
NETWORKS = [(training, interaction, P) for training in TRAININGS for interaction, P in KINDS]


def network(training: str, interaction: str, P: int | None, N: int, K: int, seed: int = 0) -> QuenchedSample:
    learning = {"N": N, "K": K, "training": training, **TRAININGS[training]}
    model: HebbianNetwork
    if interaction == "diluted":
        model = MultitaskingHebbian(dilution=DILUTION, **learning)
    else:
        model = DenseHebbian(P=P, interaction=interaction, **learning)
    return model.quench(rng=random.stream(seed, (N, K), "patterns"))


def random_spins(N: int, seed: int) -> np.ndarray:
    return 2 * np.random.default_rng(seed).integers(0, 2, N, dtype=np.int8) - 1
