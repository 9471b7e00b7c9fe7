import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binom

from hebbian import DenseHebbian, MultitaskingHebbian
from theory.replica_symmetric.multitasking import PHASES, solve
from theory.replica_symmetric.multitasking_lines import (
    condensation_temperatures,
    critical_dilution,
    parallel_dilution,
)


def network(K, **training):
    return MultitaskingHebbian(N=9, K=K, **training)


@pytest.mark.parametrize("K", [3, 4, 5, 6, 7])
def test_the_critical_dilution_at_zero_temperature(K):
    # 1 - 2d + d^K = 0 below 1: .618034, .543689, .518790, .508660, .504138.
    expected = brentq(lambda d: 1 - 2 * d + d**K, 0.5, 0.9)
    assert critical_dilution(network(K), 0.0).item() == pytest.approx(expected, abs=1e-9)


def test_one_or_two_patterns_never_lose_the_order_at_zero_temperature():
    for K in (1, 2):
        assert math.isnan(critical_dilution(network(K), 0.0).item())


@pytest.mark.parametrize("K", [2, 3, 5])
def test_phases_change_at_the_critical_and_the_parallel_dilution(K):
    T = [0.05, 0.2]
    first, last = critical_dilution(network(K), T), parallel_dilution(network(K), T)
    assert first.dims == last.dims == ("T",)
    assert np.all(first <= last + 1e-9)
    for i, temperature in enumerate(T):
        around = np.array([first[i] - 1e-5, first[i] + 1e-5, last[i] - 1e-5, last[i] + 1e-5])
        phases = [PHASES[solve(network(K), T=temperature, dilution=d).phase.item()] for d in around]
        assert phases[0] == "hierarchical"
        assert phases[1] in ("partially_ordered", "parallel")
        assert phases[2] != "parallel"
        assert phases[3] == "parallel"


def test_the_parallel_state_at_the_end_of_the_paramagnet():
    # Expansion of f in small amplitudes: all patterns at once if 1 - d = T < E[x^4]/3, storing T < 1/3.
    assert parallel_dilution(network(3), [0.32, 0.34]).isnull().values.tolist() == [False, True]
    r, M = 0.6, 4
    B = np.arange(M + 1)
    x = (2 * B - M) / (M * math.sqrt(r**2 + (1 - r**2) / M))
    kurtosis = binom.pmf(B, M, (1 + r) / 2) @ x**4
    model = network(3, training="supervised", quality=r, examples=M)
    below = parallel_dilution(model, [kurtosis / 3 - 0.01, kurtosis / 3 + 0.01])
    assert below.isnull().values.tolist() == [False, True]


@pytest.mark.parametrize("d", [0.2, 0.5, 0.6])
def test_the_second_pattern_condenses_where_the_pure_state_is_unstable(d):
    # m = (1-d) tanh(m/T), T = (1-d) [d + (1-d) (1 - tanh^2(m/T))].
    def curvature(T):
        m = brentq(lambda m: m - (1 - d) * math.tanh(m / T), 1e-6, 1)
        return T - (1 - d) * (1 - (1 - d) * math.tanh(m / T) ** 2)

    expected = brentq(curvature, 0.05, (1 - d) * 0.999)
    line = condensation_temperatures(network(2), d)
    assert line.dims == ("dilution", "pattern")
    assert line.values[0] == pytest.approx([1 - d, expected], abs=1e-7)


def test_condensation_temperatures_of_more_patterns():
    line = condensation_temperatures(network(4), [0.0, 0.3, 0.8])
    assert line.values[0].tolist() == [1, 0, 0, 0]  # without blanks the others never condense
    assert np.all(np.diff(line.values[1]) < -0.01)
    assert line.values[2] == pytest.approx([0.2] * 4, abs=1e-7)  # beyond d = 2/3 all at once
    for k, T in enumerate(line.values[1].tolist()):
        counts = np.count_nonzero(solve(network(4), dilution=0.3, T=[T - 1e-6, T + 1e-6]).n.values[0], axis=1)
        assert counts.tolist() == [k + 1, k]
    np.testing.assert_array_equal(
        condensation_temperatures(MultitaskingHebbian(N=9, K=4, dilution=0.3)).values[0], line.values[1]
    )


@pytest.mark.parametrize("function", [critical_dilution, parallel_dilution])
def test_there_is_no_line_in_the_paramagnet(function):
    assert np.isnan(function(network(3), [1.0, 1.5]).values).all()


@pytest.mark.parametrize("function", [critical_dilution, parallel_dilution])
def test_bad_input_is_named(function):
    with pytest.raises(ValueError, match=r"every value of T: T = -0\.1"):
        function(network(3), -0.1)
    with pytest.raises(ValueError, match="data_noise = 'uniform' is unknown"):
        function(network(3), 0.1, data_noise="uniform")
    with pytest.raises(ValueError, match=r"T = 0\.0 with K = 20"):
        function(network(20), 0.0)
    with pytest.raises(TypeError, match="is not a MultitaskingHebbian"):
        function(DenseHebbian(N=9, P=2, K=3), 0.1)


def test_bad_dilutions_are_named():
    with pytest.raises(ValueError, match=r"dilution = 1\.0"):
        condensation_temperatures(network(3), [0.2, 1.0])
    with pytest.raises(ValueError, match="neither load nor K"):
        condensation_temperatures(MultitaskingHebbian(N=9), 0.2)
