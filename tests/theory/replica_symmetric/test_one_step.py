import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_ndtr

from theory.replica_symmetric import one_step
from theory.replica_symmetric.disorder import noise_powers


def powers(P):
    return tuple(noise_powers(P, "distinct"))


@pytest.mark.parametrize(
    ("P", "energy"),
    # Reference solution, Gardner 1987: e_SG/sqrt(gamma), one step.
    [(3, -0.81353), (4, -0.82547), (5, -0.82963), (6, -0.83128), (8, -0.83229)],
)
def test_ground_state_energies(P, energy):
    value = one_step.free_energy(powers(P), 0.0)
    assert value == pytest.approx(energy, abs=6e-6)

    # T -> 0 with y = x/T finite, V(1) = P/2, theta(1) = (P-1)/2; E exp(y |h|) = 2 exp(y^2 V/2) Phi(y sqrt V).
    def limit(y):
        k = y * math.sqrt(P / 2)
        return y * (P - 1) / 4 - (math.log(2) + k**2 / 2 + log_ndtr(k)) / y

    best = minimize_scalar(lambda y: -limit(y), bounds=(0.1, 20), method="bounded", options={"xatol": 1e-9})
    assert value == pytest.approx(-best.fun, abs=1e-11)


def test_the_random_energy_model_is_the_limit_of_large_order():
    # Derrida 1981, J^2 = gamma: T_K = 1/(2 sqrt(ln 2)), energy -sqrt(ln 2) in the frozen phase.
    assert one_step.transition_temperatures(powers(60))[0] == pytest.approx(0.5 / math.sqrt(math.log(2)), abs=1e-12)
    assert one_step.transition_temperatures(powers(20))[0] == pytest.approx(1 / (2 * math.sqrt(math.log(2))), abs=1e-5)
    for T in (0.0, 0.3, 0.6):
        assert one_step.free_energy(powers(20), T) == pytest.approx(-math.sqrt(math.log(2)), abs=1e-5)


@pytest.mark.parametrize("P", [3, 4, 6])
def test_the_free_energy_joins_the_paramagnet_smoothly(P):
    T, step = one_step.transition_temperatures(powers(P))[0], 1e-4
    below, at, above = (one_step.free_energy(powers(P), T + d) for d in (-step, 0.0, step))
    annealed = -T * math.log(2) - 1 / (4 * T)
    assert at == pytest.approx(annealed, abs=1e-12)
    slope = -math.log(2) + 1 / (4 * T**2)
    assert (at - below) / step == pytest.approx(slope, abs=1e-3)
    assert (above - at) / step == pytest.approx(slope, abs=1e-3)
    # The glass is above the continued annealed free energy: entropy is missing.
    cold = 0.7 * T
    assert one_step.free_energy(powers(P), cold) > -cold * math.log(2) - 1 / (4 * cold) + 1e-3


@pytest.mark.parametrize("P", [3, 4, 8])
def test_the_interpolant_is_exact_to_rounding(P):
    static = one_step.transition_temperatures(powers(P))[0]
    for T in static * np.array([0.003, 0.13, 0.46, 0.81, 0.995]):
        assert one_step.free_energy(powers(P), T) == pytest.approx(one_step.glass_free_energy(powers(P), T), abs=2e-12)


def test_the_dynamic_temperature_is_where_the_solution_appears():
    # q = E tanh(b^2 + b z), b^2 = V(q)/T^2, iterated from q = 1.
    z = np.linspace(-9, 9, 2001)
    weight = np.exp(-(z**2) / 2)
    weight /= weight.sum()

    def overlap(T):
        q = 1.0
        for _ in range(3000):
            b = math.sqrt(2.0 * q**3) / T
            q = float(weight @ np.tanh(b * b + b * z))
        return q

    dynamic = one_step.transition_temperatures(powers(4))[1]
    assert overlap(dynamic * (1 - 1e-4)) > 0.5
    assert overlap(dynamic * (1 + 1e-3)) < 1e-6


def test_a_continuous_transition_is_that_of_the_pair_couplings():
    # Sherrington-Kirkpatrick: V = q, T_c = 1.
    assert one_step.transition_temperatures((0.0, 1.0)) == (1.0, 1.0)
