import subprocess
import sys

import numpy as np
import pytest

from theory.effective_theory import finite_width_flow, kernel_flow, ntk_drift, susceptibilities

torch = pytest.importorskip("torch")

from sim.effective_theory.gradients import ntk_step_change, train_classifier  # noqa: E402

CASES = {
    "relu": {"C_W": 2.0, "C_b": 0.0, "K1": 1.0},
    "gelu": {"C_W": 1.98305826, "C_b": 0.17292239, "K1": 2.0, "lambda_b": 0.3},
    "tanh": {"C_W": 1.2, "C_b": 0.1, "K1": 1.1, "lambda_b": 0.3},
}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.parametrize(("n_out", "nets"), [(1, 900), (3, 300)])
@pytest.mark.parametrize("act", list(CASES))
def test_drift_of_the_tangent_kernel(act, n_out, nets):
    n = 96
    expected = n * ntk_drift(finite_width_flow(act, 4, **CASES[act]), n, n_out)
    value, error = ntk_step_change(act, 4, n, **CASES[act], n_nets=nets, n_out=n_out, seed=2)
    # Four standard errors, of false-alarm rate 6e-5 each, and 3 % for what is left in 1/n.
    assert abs(n * value - expected) < 4 * n * error + 0.03 * abs(expected)
    assert abs(value) > 4 * error


def test_drift_does_not_depend_on_the_target():
    runs = [ntk_step_change("relu", 4, 32, **CASES["relu"], n_nets=1500, y=y, seed=3) for y in (0.0, 1.0)]
    (value, error), (shifted, noise) = runs
    assert value != shifted
    assert abs(value - shifted) < 4 * np.hypot(error, noise)
    assert shifted < -4 * noise


def test_drift_is_the_change_of_the_kernel_by_a_small_step():
    # One network of one hidden layer by hand: H = lambda_W (f^2 sums + W^2 f'^2 x^2).
    of = {"C_W": 1.0, "C_b": 0.0, "K1": 1.0}
    value, _ = ntk_step_change("tanh", 2, 5, **of, n_nets=2, y=0.3, seed=9)
    from sim import random

    rng, rates = random.stream(9, (0,), "patterns"), []
    U = rng.standard_normal((2, 5, 1))
    rng.standard_normal((2, 5))
    W = rng.standard_normal((2, 1, 5)) / np.sqrt(5)
    for u, w in zip(U[..., 0], W[:, 0], strict=True):

        def tangent(u, w):
            return (np.tanh(u) ** 2).sum() / 5 + (w**2 / np.cosh(u) ** 4).sum()

        error = w @ np.tanh(u) - 0.3
        du, dw = -error * w / np.cosh(u) ** 2, -error * np.tanh(u) / 5
        h = 1e-5
        rates.append((tangent(u + h * du, w + h * dw) - tangent(u - h * du, w - h * dw)) / (2 * h))
    assert value == pytest.approx(np.mean(rates), rel=1e-7)


def inputs(count, d, rng):
    X = rng.standard_normal((count, d))
    X *= np.sqrt(d) / np.linalg.norm(X, axis=1, keepdims=True)
    return X, (X[:, 0] > 0).astype(int)


@pytest.mark.parametrize(("C_W", "C_b"), [(0.5, 0.1), (4.0, 0.0)])
def test_gradients_grow_by_the_susceptibility(C_W, C_b):
    rng, L, n = np.random.default_rng(1), 6, 256
    X, labels = inputs(40, 16, rng)
    norms = [
        train_classifier(X, labels, X, labels, L=L, n=n, C_W=C_W, C_b=C_b, rate=0.1, epochs=0, seed=seed).gradient
        for seed in range(12)
    ]
    # Logarithms over networks; four standard errors for 5 layers, and 2/n for each layer behind.
    ratios = np.log(np.array(norms) / np.array(norms)[:, -1:])
    chi = susceptibilities("tanh", kernel_flow("tanh", L, C_W, C_b, C_W + C_b)[:-1], C_W)[1]
    expected = np.append(np.cumsum(np.log(chi)[::-1])[::-1], 0.0)
    error = ratios.std(0, ddof=1) / np.sqrt(len(norms))
    assert (abs(ratios.mean(0) - expected) <= 4 * error + 2 * (L - np.arange(1, L + 1)) / n).all()
    assert abs(expected[0]) > 0.5


def test_training_learns_and_repeats():
    X, labels = inputs(200, 8, np.random.default_rng(2))
    options = {"L": 3, "n": 32, "C_W": 1.0, "C_b": 0.0, "rate": 0.1, "epochs": 20, "seed": 1}
    one, two = (train_classifier(X[:150], labels[:150], X[150:], labels[150:], **options) for _ in range(2))
    assert one.steps.tolist() == list(range(0, 61, 3))
    assert len(one.loss) == len(one.accuracy) == 21
    assert one.loss[-1] < 0.5 * one.loss[0]
    assert one.accuracy[-1] > 0.8
    np.testing.assert_array_equal(one.loss, two.loss)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"X": np.ones(3)}, r"X has shape \(3,\); allowed: \(any, any\)"),
        ({"X_test": np.ones((3, 9))}, r"X_test has shape \(3, 9\); allowed: \(any, 8\)"),
        ({"labels": [0, 1]}, r"labels has shape \(2,\), dtype int64; allowed: \(3,\), integers >= 0"),
        ({"labels_test": [0, 1, -1]}, "labels_test has shape"),
        ({"rate": 0.0}, "rate = 0.0 is out of range"),
        ({"epochs": -1}, "epochs = -1 is out of range"),
        ({"C_W": -1.0}, "C_W = -1.0 is out of range"),
    ],
)
def test_bad_input_is_refused(change, words):
    given = {"X": np.ones((3, 8)), "labels": [0, 1, 1], "X_test": np.ones((3, 8)), "labels_test": [0, 1, 1]}
    given |= {"L": 2, "n": 4, "C_W": 1.0, "C_b": 0.0, "rate": 0.1, "epochs": 1, "seed": 1}
    with pytest.raises(ValueError, match=words):
        train_classifier(**given | change)
    with pytest.raises(ValueError, match="act = 'step' jumps"):
        ntk_step_change("step", 3, 8, 1.0, 0.0, 1.0, n_nets=2, seed=1)
    with pytest.raises(ValueError, match="n_out = 0 is out of range"):
        ntk_step_change("relu", 3, 8, 1.0, 0.0, 1.0, n_nets=2, n_out=0, seed=1)


def test_a_missing_torch_is_named():
    code = "import sys; sys.modules['torch'] = None; import sim.effective_theory as s; print(1); import {}.gradients"
    code = code.format("sim.effective_theory")
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 'torch is not installed; allowed: pip install "hebbian[nn]"' in ran.stderr
    assert ran.stdout == "1\n"
