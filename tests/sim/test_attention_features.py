import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from hebbian.attention_targets import correlation_weighted, key_power
from hebbian.nn.attention_features import (
    BiasedRandomFeatureAttention,
    RandomFeatureAttention,
    RandomFeatureMLP,
    ReluAttentionLayer,
)
from sim import attention_features as learning
from theory.attention_features import kernel_ridge, rfa_kernel

D, N = 4, 3
BETA = np.eye(D)[0]


def rfa(seed, heads=40):
    return RandomFeatureAttention(D, heads, seed=seed)


def test_inputs_of_a_set_do_not_depend_on_the_others():
    first = learning.draw_inputs((5, 7), N, D, 1)
    assert [x.shape for x in first] == [(5, 4, D), (7, 4, D)]
    np.testing.assert_array_equal(first[1], learning.draw_inputs((9, 7), N, D, 1)[1])
    np.testing.assert_array_equal(first[0], learning.draw_inputs((9,), N, D, 1)[0][:5])
    assert not np.isclose(first[0], learning.draw_inputs((5,), N, D, 2)[0]).any()


@pytest.mark.parametrize("layer", [rfa(1), RandomFeatureMLP(D, N, 30, seed=1, dtype=torch.float64)])
def test_features_are_scaled_and_do_not_depend_on_chunks(layer, monkeypatch):
    (x,) = learning.draw_inputs((23,), N, D, 1)
    phi = learning.scaled_features(layer, x)
    number = layer.n_units if isinstance(layer, RandomFeatureMLP) else layer.n_heads
    expected = layer.features(torch.tensor(x, dtype=next(layer.buffers()).dtype)).detach().numpy() / np.sqrt(number)
    np.testing.assert_allclose(phi, expected, atol=1e-6)
    monkeypatch.setattr(learning, "_CHUNK", 2000)
    np.testing.assert_allclose(learning.scaled_features(layer, x), phi, atol=1e-6)


@pytest.mark.parametrize("n", [20, 60])
def test_ridge_is_that_of_scikit_learn(n):
    rng = np.random.default_rng(0)
    phi, y = rng.normal(size=(n, 40)), rng.normal(size=(n, 2))
    for labels in (y, y[:, 0]):
        expected = Ridge(alpha=0.7, fit_intercept=False).fit(phi, labels).coef_.T
        np.testing.assert_allclose(learning.fit_ridge(phi, labels, 0.7), expected, atol=1e-9)


@pytest.mark.parametrize("n", [20, 60])
def test_constrained_fit_meets_the_conditions_of_a_minimum(n):
    rng = np.random.default_rng(1)
    phi, y = rng.normal(size=(n, 40)), rng.normal(size=n)
    free = np.linalg.lstsq(phi, y, rcond=None)[0]
    for norm2 in (0.01 * free @ free, 0.5 * free @ free):
        u = learning.fit_constrained(phi, y, norm2)
        assert u @ u == pytest.approx(norm2, rel=1e-9)
        # The gradient is minus a positive multiple of u.
        gradient = phi.T @ (phi @ u - y)
        lam = -(gradient @ u) / (u @ u)
        assert lam > 0
        np.testing.assert_allclose(gradient, -lam * u, atol=1e-8)
    np.testing.assert_allclose(learning.fit_constrained(phi, y, 1.1 * free @ free), free, atol=1e-9)
    assert not learning.fit_constrained(np.zeros((n, 3)), y, 1.0).any()


def test_many_heads_predict_as_the_kernel():
    """Root mean square distance of predictions over independent blocks of heads: 16 times the heads, a quarter."""
    x, x_test = learning.draw_inputs((60, 50), N, D, 3)
    y = key_power(BETA, 2)(x)
    expected = kernel_ridge(rfa_kernel(x), rfa_kernel(x_test, x), y, 0.1)
    errors = []
    for heads in (200, 3200):
        squares = []
        for seed in range(5):
            layer = rfa(seed, heads)
            u = learning.fit_ridge(learning.scaled_features(layer, x), y, 0.1)
            squares.append((learning.scaled_features(layer, x_test) @ u - expected) ** 2)
        errors.append(np.sqrt(np.mean(squares)))
    # Over sets of seeds the exponent scatters by 0.03.
    assert np.log(errors[1] / errors[0]) / np.log(16) == pytest.approx(-0.5, abs=0.12)
    assert errors[1] < 0.1 * np.std(expected)


def test_learning_curve_is_made_of_validated_ridge_fits():
    targets, lam_grid = [key_power(BETA, 2), correlation_weighted(BETA, 1)], [1e-3, 0.1, 10.0]
    curve = learning.learning_curve(rfa, targets, [30, 80], lam_grid, 50, 70, [5, 6], N=N)
    assert dict(curve.error.sizes) == {"sample": 2, "target": 2, "n": 2}
    x, x_val, x_test = learning.draw_inputs((80, 50, 70), N, D, 6)
    phi, phi_val, phi_test = (learning.scaled_features(rfa(6), inputs) for inputs in (x, x_val, x_test))
    for row, target in enumerate(targets):
        y, y_val, y_test = target(x), target(x_val), target(x_test)
        fits = [learning.fit_ridge(phi[:30], y[:30], lam) for lam in lam_grid]
        best = int(np.argmin([np.mean((phi_val @ u - y_val) ** 2) for u in fits]))
        at = curve.isel(sample=1, target=row, n=0)
        assert at.lam == lam_grid[best]
        rest = phi_test @ fits[best] - y_test
        assert at.error.item() == pytest.approx(np.mean(rest**2) / y_test.var(), rel=1e-6)
        assert at.absolute.item() == pytest.approx(np.abs(rest).mean() / y_test.std(), rel=1e-6)
        assert at.norm2.item() == pytest.approx(fits[best] @ fits[best], rel=1e-6)
    single = learning.learning_curve(rfa, targets[0], [30, 80], lam_grid, 50, 70, [6], N=N)
    np.testing.assert_allclose(single.error.isel(sample=0), curve.error.isel(sample=1)[:1], rtol=1e-6)


def test_symmetry_beats_the_perceptron_and_bias_helps_correlations():
    """Effects that are many times their scatter over seeds: a factor 5 of about 20, and of 0.8 of about 0.6."""
    d = n_keys = 8
    beta = np.eye(d)[0]
    models = {
        "rfa": lambda seed: RandomFeatureAttention(d, 200, seed=seed),
        "rfmlp": lambda seed: RandomFeatureMLP(d, n_keys, 1800, seed=seed),
        "brfa": lambda seed: BiasedRandomFeatureAttention(d, 200, seed=seed),
    }
    error = {
        name: learning.learning_curve(
            model,
            [key_power(beta, 2), correlation_weighted(beta, 1)],
            [256, 512],
            [1e-5, 1e-3, 0.1],
            200,
            400,
            [1],
            N=8,
        ).error[0]
        for name, model in models.items()
    }
    assert error["rfmlp"][0, 1] > 5 * error["rfa"][0, 1]
    assert error["rfmlp"][0, 1] > 0.9
    assert error["brfa"][1, 0] < 0.9 * error["rfa"][1, 0]
    assert error["brfa"][0, 1] > error["rfa"][0, 1]


def test_training_in_full_learns_and_keeps_the_best_epoch():
    x, x_val, x_test = learning.draw_inputs((320, 100, 200), N, D, 2)
    target = key_power(BETA, 2)
    layers, threads = [ReluAttentionLayer(D, 8, seed=1) for _ in range(2)], torch.get_num_threads()
    before = layers[0].W.detach().clone()
    errors = [learning.train_attention(layer, x, target(x), x_val, target(x_val), epochs=60) for layer in layers]
    np.testing.assert_array_equal(*errors)
    assert torch.get_num_threads() == threads
    assert (layers[0].W != before).any()
    with torch.no_grad():
        predicted, at_test = (layers[0](torch.tensor(x, dtype=torch.float32)).numpy() for x in (x_val, x_test))
    assert learning.normalised_error(predicted, target(x_val)) == pytest.approx(errors[0].min(), rel=1e-4)
    assert learning.normalised_error(at_test, target(x_test)) < 0.3
    assert errors[0][0] > 0.8


def test_bad_input_is_refused():
    x, x_val = learning.draw_inputs((6, 5), N, D, 1)
    y, phi, layer = np.arange(6.0), np.eye(6), ReluAttentionLayer(D, 2)
    for call, words in (
        (lambda: learning.fit_ridge(phi, y, -1.0), r"lam = -1\.0 is out of range"),
        (lambda: learning.fit_ridge(np.ones((6, 6)), y, 0.0), r"lam = 0\.0 leaves a singular system"),
        (lambda: learning.fit_ridge(phi * np.nan, y, 1.0), "features has an entry nan"),
        (lambda: learning.fit_ridge(phi, y[:5], 1.0), r"y has shape \(5,\); allowed: \(6,\)"),
        (lambda: learning.fit_constrained(phi, y, 0.0), r"norm2 = 0\.0 is out of range"),
        (lambda: learning.fit_constrained(phi, phi, 1.0), r"y has shape \(6, 6\); allowed: \(6,\)"),
        (lambda: learning.scaled_features(layer, x[0]), r"x has shape \(4, 4\)"),
        (lambda: learning.scaled_features(layer, x[..., :2]), r"x has shape \(6, 4, 2\)"),
        (lambda: learning.train_attention(layer, x, y[:5], x_val, y[:5]), r"y has shape \(5,\)"),
        (lambda: learning.train_attention(layer, x, 0 * y, x_val, y[:5]), "y is zero"),
        (lambda: learning.train_attention(layer, x, y, x_val, y[:5], epochs=0), "epochs = 0 is out of range"),
        (lambda: learning.train_attention(layer, x, y, x_val, y[:5], rate=0.0), r"rate = 0\.0 is out of range"),
        (lambda: curve(n_list=[0]), "n = 0 is out of range"),
        (lambda: curve(lam_grid=[-1.0]), r"lam_grid = -1\.0 is out of range"),
        (lambda: curve(n_val=1), "n_val = 1 is out of range"),
        (lambda: curve(target=[]), r"target = \[\]; allowed: one Target"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
    with pytest.raises(TypeError, match=r"layer = .* is a RandomFeatureAttention; allowed: ReluAttentionLayer"):
        learning.train_attention(rfa(1), x, y, x_val, y[:5])


def curve(**changes):
    options = {"model": rfa, "target": key_power(BETA, 2), "n_list": [5], "lam_grid": [0.1], "n_val": 5, "n_test": 5}
    return learning.learning_curve(**options | {"seeds": [1], "N": N} | changes)
