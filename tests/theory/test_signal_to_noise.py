import itertools
import math

import numpy as np
import pytest
from scipy.special import erf

from hebbian import DenseHebbian, MultitaskingHebbian
from theory.signal_to_noise import examples_needed, first_step, multitasking_first_step


@pytest.mark.parametrize(("P", "N", "r", "M"), [(2, 4000, 0.4, 30), (4, 4000, 0.5, 40)])
def test_limit_of_large_networks(P, N, r, M):
    # Signal-to-noise at extensive load, from the archetype, with rho_P of arXiv:2212.00606.
    load, rho = 0.1, (1 - r**2) / (M * r**2)
    rho_P = (1 - r ** (2 * P)) / (M * r ** (2 * P))
    noise = {
        "supervised": rho + 2 * load / P * (1 + rho) ** P,
        "unsupervised": rho + 2 * load / P * (1 + rho_P),
    }
    for training, k in noise.items():
        model = DenseHebbian(N=N, P=P, load=load, training=training, quality=r, examples=M)
        assert first_step(model) == pytest.approx(math.erf(1 / math.sqrt(2 * k)), abs=1e-3)


def test_one_example_is_the_same_with_and_without_a_teacher():
    models = [
        DenseHebbian(N=2000, P=3, K=500, training=training, quality=0.6, examples=1)
        for training in ("supervised", "unsupervised")
    ]
    # One draws the example's own signal, the other its mean: they differ by the fluctuations of e_{P-1}, O(1/N).
    assert first_step(models[0]) == pytest.approx(first_step(models[1]), abs=2e-3)


def test_self_noise_of_one_example_by_enumeration():
    # N - 1 = 5 other sites, P = 4: second moment of e_3 over its squared mean, all 2^5 examples. With one
    # stored pattern and many examples nothing else is left.
    r, M, N, P = 0.7, 10**6, 6, 4
    model = DenseHebbian(N=N, P=P, K=1, training="unsupervised", quality=r, examples=M)
    moments = [0.0, 0.0]
    for chi in itertools.product((-1, 1), repeat=N - 1):
        weight = math.prod((1 + r * spin) / 2 for spin in chi)
        e = sum(math.prod(chosen) for chosen in itertools.combinations(chi, P - 1))
        moments[0] += weight * e
        moments[1] += weight * e**2
    k = model.rho * moments[1] / moments[0] ** 2
    assert first_step(model) == pytest.approx(math.erf(1 / math.sqrt(2 * k)), rel=1e-12)


def test_blank_entries_are_not_those_of_a_dense_network():
    with pytest.raises(TypeError, match=r"MultitaskingHebbian\(.*\) is not a DenseHebbian"):
        first_step(MultitaskingHebbian(N=100, K=3, dilution=0.5))  # type: ignore[arg-type]


def test_a_single_stored_pattern_is_reached_at_once():
    assert first_step(DenseHebbian(N=50, P=4, K=1), m=0.2) == 1


@pytest.mark.parametrize(
    ("options", "m", "message"),
    [
        ({"K": 3}, 0.0, "m = 0.0"),
        ({"K": 3}, 1.5, "m = 1.5"),
        ({}, 1.0, "neither load nor K"),
        ({"K": 3, "interaction": "all"}, 1.0, "interaction = 'all'"),
    ],
)
def test_bad_input_is_named(options, m, message):
    with pytest.raises(ValueError, match=message):
        first_step(DenseHebbian(N=10, P=3, **options), m=m)


def multitasking(K, d, training="supervised", r=0.5, M=7):
    return MultitaskingHebbian(N=9, K=K, dilution=d, training=training, quality=r, examples=M)


def test_one_step_of_the_hierarchical_state():
    # Storing: kept exactly while 1 - 2d + d^K > 0; beyond, K = 3, the spins of (+-1, -+1, -+1) follow the other two.
    assert multitasking_first_step(MultitaskingHebbian(N=9, K=3, dilution=0.6)) == pytest.approx([0.4, 0.24, 0.144])
    d = 0.7
    shared = (1 - d) ** 3 / 2
    expected = [(1 - d) * (1 - (1 - d) ** 2 / 2), d * (1 - d) + shared, d**2 * (1 - d) + shared]
    assert multitasking_first_step(MultitaskingHebbian(N=9, K=3, dilution=d)) == pytest.approx(expected)
    # One pattern: the signal-to-noise ratio of its example mean alone.
    d = 0.2
    model = multitasking(1, d, r=1e-3, M=10**6)
    assert multitasking_first_step(model, data_noise="gaussian") == pytest.approx(
        (1 - d) * erf(1 / math.sqrt(2 * model.rho)), abs=1e-13
    )


def test_one_step_of_two_patterns_with_gaussian_data_noise():
    # Given the archetypes the field is Gaussian: an error function for each combination of the entries.
    d, r, M = 0.4, 0.3, 20
    model = multitasking(2, d, r=r, M=M)
    alone, both, against = (
        erf(mean / math.sqrt(2 * model.rho * square)) for mean, square in ((1, 1), (1 + d, 1 + d**2), (1 - d, 1 + d**2))
    )
    expected = [
        (1 - d) * (d * alone + (1 - d) / 2 * (both + against)),
        (1 - d) * (d * alone + (1 - d) / 2 * (both - against)),
    ]
    assert multitasking_first_step(model, data_noise="gaussian") == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("training", ["supervised", "unsupervised"])
def test_one_step_against_nested_loops(training):
    r, M, d = 0.5, 4, 0.3
    p = [math.comb(M, B) * ((1 + r) / 2) ** B * ((1 - r) / 2) ** (M - B) for B in range(M + 1)]
    entry = [(d, 0, 0)] + [((1 - d) / 2 * p[B], xi, xi * (2 * B - M)) for xi in (-1, 1) for B in range(M + 1)]
    expected = np.zeros(2)
    for one, two in itertools.product(entry, repeat=2):
        # In units of the examples; ties are those of d = 0.3: a sum of tenths that floats must not decide.
        field = 10 * one[2] + 3 * two[2]
        expected += one[0] * two[0] * np.sign(field) * np.array([one[1], two[1]])
    assert multitasking_first_step(multitasking(2, d, training, r, M)) == pytest.approx(expected, abs=1e-14)


def test_the_sum_over_many_examples_gives_way_to_the_gaussian_law():
    model = multitasking(5, 0.3, r=0.3, M=1000)
    np.testing.assert_array_equal(multitasking_first_step(model), multitasking_first_step(model, data_noise="gaussian"))
    with pytest.raises(ValueError, match="examples = 1000 needs a sum"):
        multitasking_first_step(model, data_noise="binomial")


@pytest.mark.parametrize("r", [0.01, 0.1])
def test_examples_needed_for_one_pattern(r):
    # erf(1/sqrt(2 rho)) >= erf(1/sqrt 2) means rho <= 1, at any dilution; another fraction another rho.
    for d in (0.0, 0.5):
        assert examples_needed(multitasking(1, d, r=r)) == pytest.approx((1 - r**2) / r**2, abs=1.001)
    rho = 0.25
    needed = examples_needed(multitasking(1, 0.5, r=r), fraction=math.erf(1 / math.sqrt(2 * rho)))
    assert needed == pytest.approx((1 - r**2) / (rho * r**2), abs=1.001)


@pytest.mark.parametrize("d", [0.2, 0.5])
@pytest.mark.parametrize("training", ["supervised", "unsupervised"])
def test_that_many_examples_are_enough_and_no_fewer(d, training):
    r, K = 0.5, 3
    stored = multitasking_first_step(MultitaskingHebbian(N=9, K=K, dilution=d))
    needed = examples_needed(multitasking(K, d, training, r))

    def enough(M):
        return np.all(multitasking_first_step(multitasking(K, d, training, r, M)) >= math.erf(math.sqrt(0.5)) * stored)

    assert not enough(needed - 1)
    assert all(enough(M) for M in range(needed, needed + 20))
    # Poor examples: one rho whatever the quality.
    poor = [examples_needed(multitasking(K, d, training, quality)) * quality**2 for quality in (0.01, 0.001)]
    assert poor[0] == pytest.approx(poor[1], rel=1e-3)


def test_next_to_the_critical_dilution_no_examples_are_enough():
    # The first pattern outweighs the others by less than the noise of any examples.
    d = (math.sqrt(5) - 1) / 2 - 1e-10
    with pytest.raises(ValueError, match=r"fraction = 0\.999 is not reached"):
        examples_needed(multitasking(3, d), fraction=0.999)


def test_copies_need_no_second_example():
    assert examples_needed(multitasking(3, 0.3, r=1.0)) == 1


@pytest.mark.parametrize(
    ("model", "fraction", "message"),
    [
        (multitasking(3, 0.2), 0.0, "fraction = 0.0"),
        (multitasking(3, 0.2), 1e-300, "fraction = 1e-300"),
        (multitasking(3, 0.2), 1.0, "fraction = 1.0"),
        (MultitaskingHebbian(N=9, K=3), 0.5, "training = 'storing' uses no examples"),
        (MultitaskingHebbian(N=9), 0.5, "neither load nor K"),
        (multitasking(20, 0.2), 0.5, "T = 0.0 with K = 20"),
    ],
)
def test_bad_input_of_thresholds_is_named(model, fraction, message):
    with pytest.raises(ValueError, match=message):
        examples_needed(model, fraction=fraction)
