import numpy as np

from theory.replica_symmetric.elementary import decays, log_one_plus


def test_exponentials_are_those_of_numpy():
    x = np.concatenate([[0.0], np.geomspace(1e-20, 690.0, 5001), np.linspace(0.0, 690.0, 5001)])
    np.testing.assert_allclose(decays(x), np.exp(-x), rtol=1e-15)


def test_large_arguments_decay_to_nothing():
    assert decays(np.array([700.0, 1e5, 1e300, np.inf])).max() < 1e-300


def test_logarithms_are_those_of_numpy():
    x = np.concatenate([[0.0, 1.0], np.geomspace(1e-300, 1.0, 5001), np.linspace(0.0, 1.0, 5001)])
    np.testing.assert_allclose(log_one_plus(x), np.log1p(x), rtol=1e-15)
