import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.theory.replica_symmetric.cases import normal
from theory.replica_symmetric.block_averages import BEND, LEGENDRE, block_averages
from theory.replica_symmetric.quadrature import NORMAL


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
    mu = x / T
    z, outer = normal(9, 601)
    y, inner = normal(9 + mu * math.sqrt(v), 2401)
    h = A + math.sqrt(V0) * z + math.sqrt(v) * y[:, None]
    energy = np.abs(h) + T * np.log1p(np.exp(-2 * np.abs(h) / T))
    weight = inner[:, None] * np.exp(mu * (energy - energy.max()))
    partition = weight.sum(axis=0)
    tanh = np.tanh(h / T)

    def mean(values):
        return (values * weight).sum(axis=0) / partition

    tilt = np.log(partition) + mu * energy.max() - mu * mean(energy)
    expected = [
        outer @ mean(tanh),
        1 - outer @ mean(tanh) ** 2,
        outer @ mean(1 - tanh**2) / T,
        outer @ tilt + mu**2 * v / 2,
        outer @ mean(energy / T - h / T * tanh) / T,
    ]
    values = block_averages(A, V0, v, mu, T, BEND, LEGENDRE, NORMAL)
    assert values == pytest.approx(expected, rel=1e-11, abs=1e-11)
