import math

import numpy as np
import pytest
from scipy.stats import norm

from hebbian.permutations import PermutationTask
from sim.permutations import REGIMES, accuracy_curve, output_moments, required_members, train_members

TASK = PermutationTask(4, [2, 0, 3, 1])
RNG = np.random.default_rng(0)
# One word of three bits; single networks have each bit right with probability Phi(1/4).
RIGHT = np.array([[1.0, 0.0, 1.0]])
PULL = 0.25


def drawn(M, words=1, seed=0):
    noise = np.random.default_rng(seed).normal(size=(M, words, 3))
    return noise + PULL * (2 * RIGHT - 1), np.repeat(RIGHT, words, 0)


@pytest.mark.parametrize("regime", REGIMES)
def test_training_points_are_learned_where_the_permutation_says(regime):
    X, Y = TASK.train()
    F = train_members(TASK, X, 64, 5, regime=regime, tol=1e-3, seed=1)
    assert F.shape == (5, 4, 4)
    assert abs(F - Y).max() <= 1e-3 * (1 + 1e-5)


def test_regimes_train_what_they_say():
    A = TASK.inputs((2, 3))
    outputs = {regime: train_members(TASK, A, 256, 4, regime=regime, seed=1, tol=1e-4) for regime in REGIMES}
    # The networks are the same at first: in the standard parametrisation the readout alone moves, nearly.
    distance = {regime: np.sqrt(((outputs[regime] - outputs["readout"]) ** 2).mean()) for regime in REGIMES}
    assert 0 < distance["standard"] < 0.1 * distance["ntk"]


def test_networks_do_not_depend_on_their_number():
    A = TASK.inputs(2)
    few, many = (train_members(TASK, A, 64, M, seed=1, address=(7,)) for M in (2, 4))
    np.testing.assert_allclose(few, many[:2], rtol=1e-4, atol=1e-5)


def test_outputs_scale_with_the_weights():
    # Not the mean: it is that of the targets.
    A = TASK.inputs(2)
    spread = [train_members(TASK, A, 128, 100, sigma_w=sigma_w, seed=1).std(0).mean() for sigma_w in (1.0, 1.5)]
    assert spread[1] / spread[0] == pytest.approx(1.5**2, rel=0.05)


def test_training_that_does_not_end_is_an_error():
    with pytest.raises(RuntimeError, match=r"are left after max_steps = 3; allowed: at most tol = 0\.001"):
        train_members(TASK, TASK.inputs(2), 64, 2, max_steps=3, seed=1)


def test_moments():
    F, right = drawn(4000, 5)
    F = F * 2 + 0.1 * right
    moments = output_moments(F, right)
    # Five standard errors: false alarms of 6e-7 each.
    for (value, error), expected in (
        (moments.mean_on, 2 * PULL + 0.1),
        (moments.mean_off, -2 * PULL),
        (moments.var, 4.0),
    ):
        assert abs(value - expected) < 5 * error
    assert moments.mean_off[1] == pytest.approx(2 / math.sqrt(4000 * 5), rel=0.1)
    assert moments.mean_on[1] == pytest.approx(2 / math.sqrt(4000 * 10), rel=0.1)
    assert moments.var[1] == pytest.approx(4 * math.sqrt(2 / (4000 * 15)), rel=0.1)
    assert math.isnan(output_moments(F[..., :1], right[:, :1]).mean_off[0])


@pytest.mark.parametrize("together", [False, True])
def test_accuracy_is_that_of_the_law(together):
    sizes, words = np.array([1, 10, 60]), 4
    expected = norm.cdf(PULL * np.sqrt(sizes)) ** (3 * (words if together else 1))
    measured = np.array([accuracy_curve(*drawn(400, words, seed), sizes, together=together) for seed in range(40)])
    mean, spread = measured[:, 0].mean(0), measured[:, 0].std(0, ddof=1)
    # Unbiased, even where subsets share many networks; 4.5 standard errors in six places, false alarms of 4e-5.
    assert (abs(mean - expected) < 4.5 * spread / math.sqrt(40)).all()
    # The jackknife errs upwards, on average.
    errors = np.sqrt((measured[:, 1] ** 2).mean(0))
    assert ((errors > 0.8 * spread) & (errors < 2 * spread)).all()


def test_required_members_are_where_the_accuracy_is():
    F, right = drawn(1000, 20)
    # Phi(x)^3 = 0.9 at x = 1.818.
    N, error = required_members(F, right, 0.9)
    expected = (norm.ppf(0.9 ** (1 / 3)) / PULL) ** 2
    assert 0 < error < 0.15 * expected
    assert abs(N - expected) < 4 * error + 1
    assert accuracy_curve(F, right, int(N))[0] >= 0.9 > accuracy_curve(F, right, int(N) - 1)[0]
    every, _ = required_members(F, right, 0.9, together=True)
    assert every == pytest.approx((norm.ppf(0.9 ** (1 / 60)) / PULL) ** 2, rel=0.15)


def test_more_than_there_are_is_not_a_number():
    F, right = drawn(40)
    assert math.isnan(required_members(F, right, 0.999)[0])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: train_members("none", TASK.inputs(), 8, 2, seed=0), TypeError, "task = 'none'"),
        (lambda: train_members(TASK, [[0, 0, 0, 0]], 8, 2, seed=0), ValueError, "A has no one in row 0"),
        (lambda: train_members(TASK, TASK.inputs(), 0, 2, seed=0), ValueError, "width = 0"),
        (lambda: train_members(TASK, TASK.inputs(), 8, 0, seed=0), ValueError, "n_members = 0"),
        (lambda: train_members(TASK, TASK.inputs(), 8, 2, regime="lazy", seed=0), ValueError, "regime = 'lazy'"),
        (lambda: train_members(TASK, TASK.inputs(), 8, 2, sigma_w=0.0, seed=0), ValueError, r"sigma_w = 0\.0"),
        (lambda: train_members(TASK, TASK.inputs(), 8, 2, tol=1e-6, seed=0), ValueError, "tol = 1e-06"),
        (lambda: accuracy_curve(*drawn(10), 1), ValueError, "10 networks; allowed: at least 20"),
        (lambda: accuracy_curve(*drawn(40), 37), ValueError, "size = 37 .* from 1 to 36"),
        (lambda: accuracy_curve(drawn(40)[0], RIGHT[:, :2], 1), ValueError, r"targets has shape \(1, 2\)"),
        (lambda: accuracy_curve(drawn(40)[0], RIGHT / 2, 1), ValueError, "neither 0 nor 1"),
        (lambda: accuracy_curve(*drawn(40), 1, n_subsets=0), ValueError, "n_subsets = 0"),
        (lambda: required_members(*drawn(40), 1.0), ValueError, r"p = 1\.0"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
