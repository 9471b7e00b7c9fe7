"""Small pairwise categorical models, and the literal sums over their states."""

import itertools

import numpy as np

from hebbian.potts import GroupLayout, PairwiseModel, monotone_coupling


def model(layers, *, strength=1.0, seed=0, within=True):
    """A model with Gaussian couplings and biases; without coupling `within` layers that of a deep Boltzmann machine."""
    layout, rng = GroupLayout(layers), np.random.default_rng(seed)
    coupling = rng.normal(scale=strength, size=(layout.size, layout.size))
    coupling = (coupling + coupling.T) * ~layout.block_mask()
    if not within:
        layer = np.repeat(np.arange(len(layers)), [G * k for G, k in layers])
        coupling *= abs(layer[:, None] - layer) == 1
    return PairwiseModel(coupling, rng.normal(size=layout.size), layout)


def reference():
    """The model of six groups of three categories to which the published figures of the tests belong."""
    layout = GroupLayout([(6, 3)])
    r, c = np.arange(10)[:, None], np.arange(18)
    factor, bias = np.cos(1 + 0.7 * r + 1.3 * c + 0.05 * r * c), 0.5 * np.sin(2 + c)
    return PairwiseModel(monotone_coupling(factor, layout, margin=0.1), bias, layout)


def states(layout):
    """All one-hot vectors, (states, N)."""
    return layout.one_hot(list(itertools.product(*(range(k) for k in layout.categories))))


def literal(model, clamp=None):
    """log Z, marginals, pair marginals and entropy by the sum over all states that agree with a clamp."""
    x = states(model.layout)
    if clamp is not None:
        held = np.repeat(clamp[0], model.layout.categories)
        x = x[(x[:, held] == clamp[1][held]).all(axis=1)]
    log_weight = np.einsum("si,ij,sj->s", x, model.coupling, x) / 2 + x @ model.bias
    p = np.exp(log_weight - log_weight.max())
    log_z = log_weight.max() + np.log(p.sum())
    p /= p.sum()
    return log_z, p @ x, (x * p[:, None]).T @ x, p @ (log_z - log_weight)
