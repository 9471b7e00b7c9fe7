import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.theory.replica_symmetric.cases import normal
from theory.replica_symmetric.block_averages import BEND, block_averages


def brute_force(A, V0, v, mu, T, outer_nodes=601, inner_nodes=2401):
    """The five averages at T > 0, by two trapezoid rules of equal weight everywhere."""
    z, outer = normal(9, outer_nodes)
    y, inner = normal(9 + mu * math.sqrt(v), inner_nodes)
    h = A + math.sqrt(V0) * z + math.sqrt(v) * y[:, None]
    energy = np.abs(h) + T * np.log1p(np.exp(-2 * np.abs(h) / T))
    weight = inner[:, None] * np.exp(mu * (energy - energy.max()))
    partition = weight.sum(axis=0)
    tanh = np.tanh(h / T)

    def mean(values):
        return (values * weight).sum(axis=0) / partition

    tilt = np.log(partition) + mu * energy.max() - mu * mean(energy)
    return [
        outer @ mean(tanh),
        1 - outer @ mean(tanh) ** 2,
        outer @ mean(1 - tanh**2) / T,
        outer @ tilt + mu**2 * v / 2,
        outer @ mean(energy / T - h / T * tanh) / T,
    ]


@settings(max_examples=15, deadline=None)
@given(
    A=st.floats(0.0, 1.5),
    V=st.floats(0.1, 1.0),
    w=st.floats(0.05, 0.95),
    T=st.floats(0.05, 1.5),
    x=st.floats(0.05, 1.0),
)
def test_the_averages_are_those_of_brute_force(A, V, w, T, x):
    V0, v = (1 - w) * V, w * V
    values = block_averages(A, V0, v, x / T, T, BEND)
    assert values == pytest.approx(brute_force(A, V0, v, x / T, T), rel=1e-11, abs=1e-11)


@pytest.mark.parametrize(
    ("A", "sigma", "s", "mu", "T"),
    [
        (0.0, 0.5, 0.01, 1.0, 1.0),  # s << T, sigma
        (0.7, 0.01, 0.3, 0.6, 1.0),  # sigma << s < T
        (0.0, 0.02, 1.0, 4.0, 0.2),  # 1/mu << s
        (0.3, 1.0, 0.12, 10.0, 0.1),  # 1/mu = T
        (0.0, 1.0, 0.1, 10.0, 0.1),  # s = T = 1/mu << sigma
        (0.0, 1.0, 1.0, 0.01, 0.1),  # mu << 1/s
        (0.0, 1.0, 0.5, 12.0, 0.05),  # 1/mu << s << sigma
        (0.0, 0.18, 1.0, 1.05, 0.36),  # sigma << s = 1/mu
        (2.0, 0.3, 0.7, 1.0, 0.4),  # retrieval
        (0.0, 0.0, 0.6, 1.5, 0.5),  # no clusters
    ],
)
def test_every_order_of_the_widths_is_served(A, sigma, s, mu, T):
    expected = brute_force(A, sigma**2, s**2, mu, T, outer_nodes=1801 if sigma else 3)
    assert block_averages(A, sigma**2, s**2, mu, T, BEND) == pytest.approx(expected, rel=2e-13, abs=2e-13)
