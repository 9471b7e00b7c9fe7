import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import erf

from hebbian import DenseHebbian, MultitaskingHebbian
from theory.replica_symmetric import multitasking
from theory.replica_symmetric.multitasking import PHASES, VARIABLES, solutions, solve


def network(K, d=0.0, **training):
    return MultitaskingHebbian(N=9, K=K, dilution=d, **training)


def learning(K, d=0.0, training="supervised", r=0.6, M=5):
    return network(K, d, training=training, quality=r, examples=M)


@pytest.mark.parametrize("K", [1, 2, 3, 5, 8])
def test_the_hierarchical_state_at_zero_temperature(K):
    # A fixed point as long as 1 - 2d + d^K > 0: m = (1-d) d^(mu-1), energy -(1-d)^2 (1-d^2K)/(1-d^2)/2.
    for d in (0.01, 0.3, 0.5):
        state = solve(network(K, d), T=0.0).squeeze("T")
        # Up to the rounding of a sum of 3^K terms.
        np.testing.assert_allclose(state.m, (1 - d) * d ** np.arange(K), rtol=0, atol=3**K * 1e-16 / 6 + 1e-15)
        assert state.free_energy.item() == pytest.approx(-0.5 * (1 - d) ** 2 * (1 - d ** (2 * K)) / (1 - d**2))
        assert state.entropy.item() == pytest.approx(d**K * math.log(2))
        assert state.stable.item()
        assert PHASES[state.phase.item()] == ("retrieval" if K == 1 else "hierarchical")


@pytest.mark.parametrize("d", [0.62, 0.65, 0.7, 0.8])
def test_three_patterns_beyond_the_critical_dilution(d):
    state = solve(network(3, d), T=0.0).squeeze("T")
    shared = (1 - d) ** 3 / 2
    expected = [(1 - d) * (1 - (1 - d) ** 2 / 2), d * (1 - d) + shared, d**2 * (1 - d) + shared]
    np.testing.assert_allclose(state.m, expected, rtol=0, atol=1e-15)
    assert PHASES[state.phase.item()] == "partially_ordered"


@pytest.mark.parametrize(
    ("K", "d", "T", "expected"),
    # Solved by another program: enumeration of 3^K entries, damped iteration.
    [
        (3, 0.7, 0.1, [0.231, 0.231, 0.196]),
        (5, 0.7, 0.02, [0.252, 0.216, 0.183, 0.148, 0.115]),
        (3, 0.8, 0.02, [0.1945, 0.1640, 0.1335]),
        (3, 0.9, 0.02, [0.0905] * 3),
        (4, 0.9, 0.02, [0.0864] * 4),
        (5, 0.9, 0.02, [0.0827] * 5),
    ],
)
def test_reference_amplitudes(K, d, T, expected):
    m = solve(network(K, d), T=T).m.values.ravel()
    digits = 3 if expected[0] > 0.2 else 4
    assert m == pytest.approx(expected, abs=6 * 10.0 ** -(digits + 1))


def test_without_blanks_it_is_the_hopfield_network_at_low_load():
    T = [0.0, 0.2, 0.459, 0.461, 0.9, 1.1]
    pure = solve(network(3), T=T)
    for temperature, m in zip(T[1:5], pure.m.values[1:5, 0], strict=True):
        assert m == pytest.approx(brentq(lambda m, T=temperature: m - math.tanh(m / T), 0.1, 1), abs=1e-10)
    assert not pure.m.values[:, 1:].any()
    assert [PHASES[code] for code in pure.phase.values] == ["retrieval"] * 5 + ["paramagnetic"]
    # Amit, Gutfreund, Sompolinsky 1985: the mixture of three has m = 1/2 at T = 0 and is stable below T = 0.4598.
    mixture = solve(network(3), T=T, start="parallel")
    np.testing.assert_allclose(mixture.m[0], 0.5, atol=1e-15)
    assert mixture.stable.values.tolist() == [True, True, True, False, False, True]
    assert [PHASES[code] for code in mixture.phase.values] == ["parallel"] * 5 + ["paramagnetic"]


@pytest.mark.parametrize("training", ["supervised", "unsupervised"])
def test_one_learned_pattern(training):
    # K = 1, T = 0, Gaussian data noise: m = (1-d) erf(1/sqrt(2 rho)), n by Stein's lemma.
    r, M, d = 0.3, 12, 0.4
    rho = (1 - r**2) / (M * r**2)
    model = learning(1, d, training, r, M)
    state = solve(model, T=0.0, data_noise="gaussian").squeeze()
    m = (1 - d) * erf(1 / math.sqrt(2 * rho))
    n = (m + (1 - d) * math.sqrt(2 * rho / math.pi) * math.exp(-1 / (2 * rho))) / math.sqrt(1 + rho)
    assert (state.m.item(), state.n.item()) == (pytest.approx(m, abs=1e-13), pytest.approx(n, abs=1e-13))
    # The binomial law, T > 0, by its sum.
    B = np.arange(M + 1)
    weight = np.array([math.comb(M, b) * ((1 + r) / 2) ** b * ((1 - r) / 2) ** (M - b) for b in B])
    x = (2 * B - M) / (M * r * math.sqrt(1 + rho))
    state = solve(model, T=0.2).squeeze()
    n = state.n.item()
    assert n == pytest.approx((1 - d) * weight @ (x * np.tanh(x * n / 0.2)), abs=1e-12)
    assert state.m.item() == pytest.approx((1 - d) * weight @ np.tanh(x * n / 0.2), abs=1e-12)


def test_trainings_from_examples_differ_by_their_stability_only():
    grid = {"T": [0.0, 0.1, 0.3], "dilution": [0.2, 0.6]}
    supervised, unsupervised = (solve(learning(3, training=word), **grid) for word in ("supervised", "unsupervised"))
    for name in ("m", "n", "free_energy", "phase"):
        np.testing.assert_array_equal(supervised[name], unsupervised[name])
    assert (unsupervised.eigenvalue <= supervised.eigenvalue).all()
    # A pair of poor examples is retrieved one by one.
    one, other = (solve(learning(1, 0.3, word, r=0.1, M=2), T=0.2) for word in ("supervised", "unsupervised"))
    assert one.stable.item()
    assert not other.stable.item()


def test_many_examples_are_the_pattern():
    stored = solve(network(4, 0.3), T=[0.05, 0.3])
    for r, M in ((1.0, 3), (0.5, 10**9)):
        learned = solve(learning(4, 0.3, r=r, M=M), T=[0.05, 0.3])
        np.testing.assert_allclose(learned.m, stored.m, atol=1e-8)
    # And the law of many is Gaussian.
    two = [solve(learning(3, 0.3, r=0.3, M=4000), T=0.2, data_noise=law).m.values for law in ("auto", "gaussian")]
    assert two[0] == pytest.approx(two[1], abs=1e-5)
    assert np.abs(two[0] - solve(network(3, 0.3), T=0.2).m.values).max() > 1e-4


def test_the_temperature_axis_reaches_zero_continuously():
    for model in (network(4, 0.4), network(4, 0.7), learning(2, 0.4)):
        limit = solve(model, T=[0.0, 1e-4]).n.values
        np.testing.assert_allclose(limit[0], limit[1], atol=1e-6)


def test_the_state_of_lowest_free_energy_is_that_of_the_solutions():
    for d, T in ((0.0, 0.3), (0.6, 0.0), (0.7, 0.1), (0.85, 0.02), (0.5, 0.6)):
        model = network(4, d)
        found = solutions(model, T=T)
        lowest = solve(model, T=T, start="lowest")
        followed = solve(model, T=T)
        np.testing.assert_array_equal(lowest.n[0], found.n[0])
        assert lowest.stable.item()
        assert lowest.free_energy.item() <= followed.free_energy.item() + 1e-14
        # What the starts lead to is among the solutions.
        for start in ("hierarchical", "pure", "parallel"):
            n = solve(model, T=T, start=start).n.values
            assert np.abs(found.n.values - n).max(axis=1).min() < 1e-7


def test_the_pure_state_is_no_equilibrium_of_diluted_patterns():
    found = solutions(network(3, 0.65), T=0.0)
    # Energies from the amplitudes: partially ordered below the symmetric mixture below the pure state.
    d = 0.65
    shared = (1 - d) ** 3 / 2
    ordered = [(1 - d) * (1 - (1 - d) ** 2 / 2), d * (1 - d) + shared, d**2 * (1 - d) + shared]
    symmetric = [(1 - d) * (d + (1 - d) ** 2 / 2) - (1 - d) ** 3 / 4 + shared / 2] * 3
    assert found.energy[0].item() == pytest.approx(-0.5 * np.sum(np.square(ordered)))
    energies = dict(zip(np.count_nonzero(found.n.values, axis=1).tolist(), found.energy.values.tolist(), strict=True))
    assert energies[1] == pytest.approx(-((1 - d) ** 2) / 2)
    parallel = found.isel(solution=found.phase.values == PHASES.index("parallel"))
    np.testing.assert_allclose(parallel.n.squeeze(), symmetric, atol=1e-14)
    assert found.stable.values.tolist() == [True] + [False] * (found.sizes["solution"] - 1)


@pytest.mark.parametrize(("d", "first"), [(0.3, "hierarchical"), (0.6, "partially_ordered")])
def test_two_stable_states_below_the_critical_dilution(d, first):
    # T = 0, K = 3: no start leads to the state found beyond d_c, but unstable states do; its energy may be the lower.
    shared = (1 - d) ** 3 / 2
    ordered = [(1 - d) * (1 - (1 - d) ** 2 / 2), d * (1 - d) + shared, d**2 * (1 - d) + shared]
    expected = {"partially_ordered": ordered, "hierarchical": [(1 - d) * d**mu for mu in range(3)]}
    found = solutions(network(3, d), T=0.0)
    stable = found.isel(solution=found.stable.values)
    assert [PHASES[code] for code in stable.phase.values] == sorted(expected, key=lambda name: name != first)
    for code, n in zip(stable.phase.values, stable.n.values, strict=True):
        np.testing.assert_allclose(n, expected[PHASES[code]], atol=1e-14)


def test_phases_of_amplitudes():
    named = {
        "paramagnetic": [0, 0, 0],
        "retrieval": [0.5, 0, 0],
        "hierarchical": [0.5, 0.3, 0],
        "partially_ordered": [0.5, 0.3, 0.2],
        "parallel": [0.3, 0.3 - 1e-8, 0.3 - 1e-8],
    }
    for name, n in named.items():
        assert PHASES[multitasking.phase(np.array(n, dtype=float))] == name
    assert PHASES[multitasking.phase(np.array([0.3, 0.3 - 1e-16]))] == "parallel"


def test_the_phases_along_a_path():
    # d = 0.8, from high T: paramagnet, all patterns at once (d > 2/3), then they part.
    codes = solve(network(3, 0.8), T=[0.25, 0.19, 0.1, 0.02, 0.0]).phase.values
    assert [PHASES[code] for code in codes] == [
        "paramagnetic",
        "parallel",
        "parallel",
        "partially_ordered",
        "partially_ordered",
    ]
    codes = solve(network(3, 0.3), T=[0.75, 0.6, 0.1, 0.0]).phase.values
    assert [PHASES[code] for code in codes] == ["paramagnetic", "retrieval", "hierarchical", "hierarchical"]


def test_hundreds_of_patterns():
    # The hierarchy d^(mu-1) falls below T: what is not condensed does not matter.
    many, few = solve(network(300, 0.3), T=0.1), solve(network(6, 0.3), T=0.1)
    np.testing.assert_allclose(many.m[0, :6], few.m[0], atol=1e-12)
    assert not many.m[0, 6:].any()
    assert many.stable.item()


def test_the_dataset():
    grid = {"quality": [0.5, 0.9], "examples": [4, 8, 16], "dilution": [0.1, 0.6], "T": [0.1, 0.2]}
    result = solve(learning(3), **grid)
    for name in VARIABLES:
        dims = (*grid, "pattern") if name in ("m", "n") else tuple(grid)
        assert result[name].dims == dims
        assert set(result[name].attrs) >= {"long_name", "units"}
    assert result["dilution"].attrs["units"] == "1"
    assert result["phase"].attrs["flag_meanings"].split() == list(PHASES)
    assert result["phase"].attrs["flag_values"].tolist() == list(range(5))
    # Each point is that of a network of its own.
    point = solve(learning(3, 0.6, r=0.9, M=8), T=0.2)
    assert point.m.dims == ("T", "pattern")
    chosen = result.isel(quality=1, examples=1, dilution=1, T=[1])
    for name in VARIABLES:
        np.testing.assert_array_equal(chosen[name], point[name])


@pytest.mark.parametrize(
    ("model", "arguments", "error", "message"),
    [
        (network(3), {"T": -0.1}, ValueError, "every value of T: T = -0.1"),
        (network(3), {"T": []}, ValueError, "T is empty"),
        (network(3), {"T": 0.1, "dilution": 1.0}, ValueError, "dilution = 1.0"),
        (network(3), {"T": 0.1, "dilution": [0.1, -0.2]}, ValueError, "every value of dilution: dilution = -0.2"),
        (network(3), {"T": 0.1, "start": "cold"}, ValueError, "start = 'cold' is unknown; allowed: 'hierarchical'"),
        (network(3), {"T": 0.1, "data_noise": "uniform"}, ValueError, "data_noise = 'uniform' is unknown"),
        (network(3), {"T": 0.1, "quality": 0.5}, ValueError, "quality = 0.5 has no meaning"),
        (learning(3), {"T": 0.1, "examples": 2.5}, TypeError, "examples = 2.5 is not an array of integers"),
        (learning(3), {"T": 0.1, "examples": 2**63}, ValueError, r"examples = 9\.2.*e\+18"),
        (learning(3), {"T": 0.1, "quality": 1.5}, ValueError, r"quality = 1.5 .* \(0.0, 1.0\]"),
        (network(20), {"T": [0.1, 0.0]}, ValueError, "T = 0.0 with K = 20 .* allowed: T >= 0.0001"),
        (network(20), {"T": 5e-5}, ValueError, "T = 5e-05 with K = 20"),
        (learning(5, M=100), {"T": 0.0}, ValueError, "examples = 100 needs .* or data_noise='gaussian'"),
        (MultitaskingHebbian(N=9), {"T": 0.1}, ValueError, "neither load nor K of the model is set"),
        (DenseHebbian(N=9, P=2, K=3), {"T": 0.1}, TypeError, "is not a MultitaskingHebbian"),
    ],
)
def test_bad_input_is_named(model, arguments, error, message):
    with pytest.raises(error, match=message):
        solve(model, **arguments)


def test_bad_input_of_solutions_is_named():
    with pytest.raises(ValueError, match="T = -1"):
        solutions(network(3), T=-1)
    with pytest.raises(TypeError, match="is not a MultitaskingHebbian"):
        solutions(DenseHebbian(N=9, P=2, K=3), T=0.1)
