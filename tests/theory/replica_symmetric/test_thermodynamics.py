"""Thermodynamics against the variational free energies, written out here independently of the package."""

import itertools
import math

import numpy as np
import pytest

from hebbian import DenseHebbian
from theory import replica_symmetric

CASES = [
    pytest.param(P, interaction, training, id=f"P={P}-{interaction}-{training}")
    for P, interaction, training in itertools.product(
        (2, 3, 4, 5), ("distinct", "all"), ("storing", "supervised", "unsupervised")
    )
]
QUALITY, EXAMPLES = 0.8, 6


def template(P, interaction, training, N=9):
    data = {} if training == "storing" else {"quality": QUALITY, "examples": EXAMPLES}
    return DenseHebbian(N=N, P=P, interaction=interaction, training=training, **data)


def example_mean(model):
    if model.training == "storing":
        return np.ones(1), np.ones(1)
    M = model.examples
    B = np.arange(M + 1)
    p = (1 + model.quality) / 2
    weight = np.array([math.comb(M, b) * p**b * (1 - p) ** (M - b) for b in B])
    return (2 * B - M) / (M * math.sqrt(model.R)), weight


def gauss_moment(degree, correlation):
    """E[(uv)^degree] of standard normals, by the matchings of u and v: k pairs across, the rest within."""
    total = 0.0
    for k in range(degree % 2, degree + 1, 2):
        within = math.prod(range(degree - k - 1, 0, -2))
        total += (math.comb(degree, k) * within) ** 2 * math.factorial(k) * correlation**k
    return total


def covariance(model, load, q):
    """F(q): covariance of the energies of two configurations of overlap q, over N, P >= 3."""
    P = model.P

    def single(c):
        distinct = load * c**P / 2
        every = load * (2 / math.factorial(P)) / 4 * gauss_moment(P, c)
        return distinct if model.interaction == "distinct" else every

    if model.training != "unsupervised":
        return single(q)
    r, M = model.quality, model.examples
    R = r**2 + (1 - r**2) / M
    return (single(q) / M + (1 - 1 / M) * single(r**2 * q)) / R**P


def free_energy(model, load, T, n, q, V):
    """Variational free energy per spin; for P >= 3 the conjugate of q, V, is a third parameter as well."""
    P, beta = model.P, 1 / T
    z = np.linspace(-9, 9, 4001)
    w = np.exp(-(z**2) / 2)
    w /= w.sum()
    x, weight = example_mean(model)
    h = (P / 2) * n ** (P - 1) * x[:, None] + math.sqrt(V) * z
    spin = weight @ np.logaddexp(beta * h, -beta * h) @ w
    minus_beta_f = spin - beta * (P - 1) / 2 * n**P - beta**2 / 2 * V * (1 - q)
    if P > 2:
        return -T * (minus_beta_f + beta**2 / 2 * (covariance(model, load, 1) - covariance(model, load, q)))
    C = beta * (1 - q)
    modes = [(1, 1)]
    if model.training == "unsupervised":
        modes.append((model.examples - 1, (1 - model.quality**2) / (model.examples * model.R)))
    for g, mode in modes:
        minus_beta_f -= load / 2 * g * (math.log(1 - mode * C) - beta * q * mode / (1 - mode * C))
    f = -T * minus_beta_f
    if model.interaction == "distinct":
        # The diagonal of the couplings, -(1/2) K/N E[eta^2], is not in the zero-diagonal model.
        f += load / 2 * (1 / model.R if model.training == "unsupervised" else 1)
    return f


def noise(model, load, T, q):
    if model.P > 2:
        step = 1e-4
        high, low = covariance(model, load, q + step), covariance(model, load, q - step)
        return (high - low) / (2 * step)
    C = (1 - q) / T
    V = load * q / (1 - C) ** 2
    if model.training == "unsupervised":
        mode = (1 - model.quality**2) / (model.examples * model.R)
        V += load * q * (model.examples - 1) * mode**2 / (1 - mode * C) ** 2
    return V


@pytest.mark.parametrize(("P", "interaction", "training"), CASES)
@pytest.mark.parametrize("branch", ["retrieval", "glass"])
def test_the_free_energy_is_stationary_at_the_solution(P, interaction, training, branch):
    model, load, T = template(P, interaction, training), 0.01, 0.25
    if branch == "glass":
        load, T = 0.3, 0.15
    point = replica_symmetric.solve(model, load=load, T=T, branch=branch).squeeze()
    n, q = point.n.item(), point.q.item()
    V = noise(model, load, T, q)
    assert point.converged.item()
    assert point.retrieval.item() == (branch == "retrieval")
    assert point.free_energy.item() == pytest.approx(free_energy(model, load, T, n, q, V), abs=1e-8)
    step = 1e-5
    for shift in np.eye(3) * step:
        up = free_energy(model, load, T, *(np.array([n, q, V]) + shift))
        down = free_energy(model, load, T, *(np.array([n, q, V]) - shift))
        assert abs(up - down) / (2 * step) < 1e-6


@pytest.mark.parametrize(("P", "interaction", "training"), CASES)
@pytest.mark.parametrize("branch", ["retrieval", "glass", "paramagnet"])
def test_energy_and_entropy_are_derivatives_of_the_free_energy(P, interaction, training, branch):
    model, load, T, step = template(P, interaction, training), 0.01, 0.3, 2e-4
    if branch != "retrieval":
        load, T = 0.3, (1.6 if branch == "paramagnet" else 0.15)
    grid = T + step * np.arange(-2, 3)
    line = replica_symmetric.solve(model, load=load, T=grid, branch=branch).squeeze()
    f = line.free_energy.values
    derivative = (f[0] - 8 * f[1] + 8 * f[3] - f[4]) / (12 * step)
    assert line.entropy.values[2] == pytest.approx(-derivative, abs=1e-9)
    assert line.energy.values[2] == pytest.approx(f[2] - T * derivative, abs=1e-9)


@pytest.mark.parametrize(("P", "interaction", "training"), CASES)
def test_zero_temperature_is_the_limit(P, interaction, training):
    model = template(P, interaction, training)
    line = replica_symmetric.solve(model, load=0.01, T=[0.0, 1e-7, 1e-4]).squeeze()
    for name in ("m", "n", "q", "free_energy", "energy", "entropy"):
        values = line[name].values
        assert values[1] == pytest.approx(values[0], abs=1e-6)
        assert values[2] == pytest.approx(values[0], abs=1e-3)
    assert line.energy.values[0] == line.free_energy.values[0]
    assert line.q.values[0] == 1


def test_the_energy_of_the_hopfield_model_at_zero_load_and_with_its_diagonal():
    # alpha -> 0: u = -m^2/2; the diagonal J_ii = alpha adds -alpha/2.
    distinct, every = (
        replica_symmetric.solve(DenseHebbian(N=9, interaction=interaction), load=[1e-6, 0.1], T=0.1)
        for interaction in ("distinct", "all")
    )
    assert distinct.energy.values[0, 0] == pytest.approx(-(distinct.m.values[0, 0] ** 2) / 2, abs=1e-6)
    assert (every.energy - distinct.energy).values[:, 0] == pytest.approx([-5e-7, -0.05], abs=1e-12)
    assert (every.m == distinct.m).all()


def test_the_energy_of_the_zero_diagonal_network_at_high_temperature():
    # First order of the high-temperature expansion: u = -beta Var(H)/N, Var(H)/N = alpha/2 E[...] from the couplings.
    # storing: sum_{i<j} J_ij^2 / N = alpha/2; unsupervised: alpha/2 times sum_l g_l l^2.
    T = 4000.0
    for training, factor in (("storing", 1.0), ("unsupervised", None)):
        model = template(2, "distinct", training)
        if factor is None:
            r2, M = QUALITY**2, EXAMPLES
            factor = ((1 - 1 / M) * r2**2 + 1 / M) / model.R**2
        point = replica_symmetric.solve(model, load=0.4, T=T, branch="paramagnet").squeeze()
        assert point.energy.item() == pytest.approx(-0.2 * factor / T, rel=2e-3)
