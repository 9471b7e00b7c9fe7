import itertools
import math

import pytest

from hebbian import DenseHebbian
from theory.signal_to_noise import first_step


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
