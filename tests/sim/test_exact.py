import numpy as np
import pytest

from sim import exact
from tests.sim.cases import network


def test_configurations_and_indices_are_inverse():
    spins = exact.configurations(5)
    np.testing.assert_array_equal(exact.state_index(spins), np.arange(32))


def test_two_spins_by_hand():
    # H = -J s1 s2 with J = (1/N) sum_mu xi_1 xi_2: e^{J/T} against e^{-J/T}.
    sample = network("storing", "distinct", 2, N=2, K=3)
    J = float(sample.xi[:, 0] @ sample.xi[:, 1]) / 2
    expected = np.exp(np.array([J, -J, -J, J]) / 0.7)
    np.testing.assert_allclose(exact.boltzmann(sample, 0.7), expected / expected.sum(), rtol=1e-12)


def test_little_measure_is_stationary_under_synchronous_updates():
    sample, T = network("storing", "distinct", 2, N=5, K=3), 0.8
    spins = exact.configurations(5).astype(float)
    J = sample.xi.T.astype(float) @ sample.xi / 5
    np.fill_diagonal(J, 0)
    up = 1 / (1 + np.exp(-2 * spins @ J / T))
    transition = np.prod(np.where(spins[None] > 0, up[:, None], 1 - up[:, None]), axis=2)
    p = exact.little(sample, T)
    np.testing.assert_allclose(p @ transition, p, rtol=1e-12)


def test_bad_arguments():
    with pytest.raises(ValueError, match="N = 21"):
        exact.configurations(21)
    sample = network("storing", "distinct", 3, N=4, K=2)
    with pytest.raises(ValueError, match="T = 0"):
        exact.boltzmann(sample, 0)
    with pytest.raises(ValueError, match="P = 3"):
        exact.little(sample, 1.0)
