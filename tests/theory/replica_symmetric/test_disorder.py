import itertools
import math

import numpy as np
import pytest

from hebbian import DenseHebbian
from theory.replica_symmetric.disorder import network, noise_powers


def moment(degree, q, variance=1.0):
    """E[(uv)^degree] for Gaussians of this variance and covariance q, by Gauss-Hermite quadrature in two dimensions."""
    z, w = np.polynomial.hermite_e.hermegauss(24)
    w = w / w.sum()
    u = math.sqrt(variance) * z[:, None]
    v = q / math.sqrt(variance) * z[:, None] + math.sqrt(variance - q**2 / variance) * z[None, :]
    return float(w @ ((u * v) ** degree) @ w)


@pytest.mark.parametrize(
    ("P", "expected"),
    # 1 + 2q^2; 9q + 6q^3; 9 + 72q^2 + 24q^4, times a (P/2)^2, a = 2/P!.
    [(3, [1, 0, 2]), (4, [0, 9, 0, 6]), (5, [9, 0, 72, 0, 24])],
)
def test_noise_of_all_tuples(P, expected):
    assert noise_powers(P, "all") == pytest.approx(2 / math.factorial(P) * (P / 2) ** 2 * np.array(expected))


@pytest.mark.parametrize("P", range(3, 10))
def test_noise_of_all_tuples_exceeds_that_of_distinct_sites_by_the_ratio_of_moments(P):
    # (2P-3)!! against (P-1)! at q = 1.
    double_factorial = math.prod(range(2 * P - 3, 0, -2))
    ratio = noise_powers(P, "all").sum() / noise_powers(P, "distinct").sum()
    assert ratio == pytest.approx(double_factorial / math.factorial(P - 1))


@pytest.mark.parametrize(("P", "interaction"), list(itertools.product((3, 4, 6), ("distinct", "all"))))
def test_unsupervised_noise_is_the_covariance_of_the_energies(P, interaction):
    r, M, q = 0.6, 3, 0.7
    model = DenseHebbian(N=9, P=P, training="unsupervised", quality=r, examples=M, interaction=interaction)
    V = np.polynomial.Polynomial(network(model, load=1.0, T=0.0).powers)(q)
    # Two examples of one archetype have correlation r^2; each is scaled by 1/sqrt(R), the sum by 1/M.
    R = r**2 + (1 - r**2) / M

    def field(correlation):
        if interaction == "distinct":
            return math.factorial(P - 1) * correlation ** (P - 1)
        return moment(P - 1, correlation, 1 / R)

    same, other = 1 / R * field(q / R), r**2 / R * field(r**2 * q / R)
    expected = 2 / math.factorial(P) * (P / 2) ** 2 * (same / M + (1 - 1 / M) * other)
    assert pytest.approx(expected) == V


def test_unsupervised_modes_are_the_spectrum_of_the_correlations_of_examples():
    r, M = 0.45, 7
    model = DenseHebbian(N=9, P=2, training="unsupervised", quality=r, examples=M)
    correlation = (r**2 + (1 - r**2) * np.eye(M)) / (M * model.R)
    degeneracy, modes = network(model, load=1.0, T=0.0).modes
    expected = np.linalg.eigvalsh(correlation)
    assert np.sort(np.repeat(modes, degeneracy.astype(int))) == pytest.approx(expected)


@pytest.mark.parametrize(("r", "M"), [(0.3, 1), (0.6, 17), (0.05, 400), (0.999, 50), (1 - 2**-53, 4), (0.02, 100_000)])
def test_the_law_of_the_example_mean(r, M):
    model = DenseHebbian(N=9, training="supervised", quality=r, examples=M)
    net = network(model, load=1.0, T=0.0)
    assert net.weight.sum() == pytest.approx(1, abs=1e-13)
    # E[x] = r/sqrt(R), E[x^2] = 1.
    assert net.weight @ net.x == pytest.approx(r / math.sqrt(model.R), abs=1e-12)
    assert net.weight @ net.x**2 == pytest.approx(1, abs=1e-12)


def test_an_exponential_interaction_is_refused():
    with pytest.raises(ValueError, match=r"interaction = 'exponential'"):
        network(DenseHebbian(N=9, P=None, interaction="exponential"), load=1.0, T=0.1)
