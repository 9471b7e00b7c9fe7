"""The shared list of networks that the equations must serve."""

import itertools

import numpy as np

from hebbian import DenseHebbian
from theory.replica_symmetric.disorder import network

CASES = [
    (P, interaction, training)
    for P, interaction, training in itertools.product(
        (2, 3, 4, 7), ("distinct", "all"), ("storing", "supervised", "unsupervised")
    )
]


def build(P, interaction, training, load, T, data_noise="auto", r=0.7, M=20):
    data = {} if training == "storing" else {"quality": r, "examples": M}
    model = DenseHebbian(N=9, P=P, interaction=interaction, training=training, **data)
    return network(model, load=load, T=T, data_noise=data_noise)


def normal(reach, count):
    """Equidistant nodes and weights for a standard normal."""
    z = np.linspace(-reach, reach, count)
    weight = np.exp(-(z**2) / 2)
    return z, weight / weight.sum()
