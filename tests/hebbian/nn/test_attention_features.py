import subprocess
import sys

import numpy as np
import pytest
import torch

from hebbian.attention_targets import sample_tokens
from hebbian.nn.attention_features import (
    ACTIVATIONS,
    BiasedRandomFeatureAttention,
    RandomFeatureAttention,
    RandomFeatureMLP,
    ReluAttentionLayer,
)
from tests.hebbian.nn.layer_checks import check_compiled, check_gradients, check_threads

D, N, M = 4, 3, 6
DOUBLE = {"dtype": torch.float64}
LAYERS = {
    **{name: (lambda name=name, **o: RandomFeatureAttention(D, M, activation=name, **o)) for name in ACTIVATIONS},
    "biased": lambda **o: BiasedRandomFeatureAttention(D, M, scale=1.3, **o),
    "trained": lambda **o: ReluAttentionLayer(D, M, **o),
    "perceptron": lambda **o: RandomFeatureMLP(D, N, 20, **o),
}
ATTENTION = [name for name in LAYERS if name != "perceptron"]


def values(layer):
    return layer.v if isinstance(layer, RandomFeatureMLP) else layer.V


def made(name, seed=1, **options):
    """A layer with value vectors that are not zero."""
    layer = LAYERS[name](seed=seed, **options)
    with torch.no_grad():
        values(layer).copy_(torch.randn(values(layer).shape, generator=torch.Generator().manual_seed(0)))
    return layer


def tokens(n=5, seed=0, dtype=torch.float64, keys=N):
    return torch.tensor(sample_tokens(n, keys, D, np.random.default_rng(seed)), dtype=dtype)


@pytest.mark.parametrize("name", ATTENTION)
def test_output_is_the_sum_of_the_definition(name):
    layer, x = made(name, **DOUBLE), tokens()
    W, V = layer.W.detach().numpy(), layer.V.detach().numpy()
    for row, found in zip(x.numpy(), layer(x).tolist(), strict=True):
        xt = np.append(row, np.ones((N + 1, 1)), axis=1)
        expected = 0.0
        for m in range(M):
            scores = np.array([xt[0] @ W[m] @ xt[i] for i in range(1, N + 1)])
            weights = {"exp": np.exp(scores) / N, "softmax": np.exp(scores) / np.exp(scores).sum()}
            weight = weights.get(layer.activation, np.maximum(scores, 0) / N)
            expected += sum(weight[i] * V[m] @ xt[i + 1] for i in range(N))
        assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ATTENTION)
def test_keys_are_a_set_and_the_query_is_apart(name):
    layer, x = made(name, **DOUBLE), tokens()
    permuted = x[:, [0, 3, 1, 2]]
    torch.testing.assert_close(layer(permuted), layer(x), rtol=0, atol=1e-12)
    assert (layer(x[:, [1, 0, 2, 3]]) - layer(x)).abs().min() > 1e-4
    # The average over keys, not their sum.
    doubled = torch.cat([x, x[:, 1:]], 1)
    torch.testing.assert_close(layer(doubled), layer(x), rtol=0, atol=1e-12)


def test_the_perceptron_is_not_invariant():
    layer, x = made("perceptron", **DOUBLE), tokens()
    assert (layer(x[:, [0, 3, 1, 2]]) - layer(x)).abs().min() > 1e-4


@pytest.mark.parametrize("name", LAYERS)
def test_features_are_the_gradient_of_the_values(name):
    layer, x = made(name, dtype=torch.float32), tokens(dtype=torch.float32)
    for row in range(len(x)):
        (gradient,) = torch.autograd.grad(layer(x[row : row + 1]).sum(), values(layer))
        torch.testing.assert_close(gradient.flatten(), layer.features(x)[row].detach(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_gradients(name):
    check_gradients(made(name, **DOUBLE), tokens(2))


def test_frozen_matrices_are_a_buffer_that_training_leaves():
    for layer, frozen in ((made("relu"), "W"), (made("biased"), "W"), (made("perceptron"), "w")):
        (parameter,) = layer.parameters()
        assert parameter is values(layer)
        before, first = getattr(layer, frozen).clone(), parameter.detach().clone()
        optimiser = torch.optim.SGD(layer.parameters(), lr=0.1)
        layer(tokens(dtype=torch.float32)).square().sum().backward()
        optimiser.step()
        torch.testing.assert_close(getattr(layer, frozen), before, rtol=0, atol=0)
        assert (parameter != first).any()
        assert frozen in layer.state_dict()
    assert {name for name, _ in made("trained").named_parameters()} == {"V", "W"}


@pytest.mark.parametrize("name", LAYERS)
def test_state_travels_and_seeds_reproduce(name):
    layer, other, x = made(name), LAYERS[name](seed=2), tokens(dtype=torch.float32)
    other.load_state_dict(layer.state_dict())
    torch.testing.assert_close(other(x), layer(x), rtol=0, atol=0)
    layer.reset_parameters()
    assert not layer(x).any()
    fresh = LAYERS[name](seed=1)
    torch.testing.assert_close(fresh.features(x), layer.features(x), rtol=0, atol=0)
    assert (LAYERS[name](seed=2).features(x) - layer.features(x)).abs().max() > 1e-3
    # The same numbers in either precision.
    double = LAYERS[name](seed=1, **DOUBLE)
    torch.testing.assert_close(double.features(x.double()).float(), fresh.features(x), rtol=1e-5, atol=1e-6)
    assert double(x.double()).dtype == torch.float64
    assert LAYERS[name](seed=2**64 - 1).features(x).isfinite().all()


def test_weights_have_the_stated_law():
    biased, plain = (
        kind(D, 20_000, seed=3, **DOUBLE) for kind in (BiasedRandomFeatureAttention, RandomFeatureAttention)
    )
    bias = torch.diag(torch.tensor([1.0] * D + [0.0], **DOUBLE))
    torch.testing.assert_close(biased.W - plain.W, bias.expand_as(plain.W), rtol=0, atol=1e-12)
    # 500,000 entries of variance 1/4, and scores of variance 1: five standard errors.
    assert plain.W.var().item() == pytest.approx(0.25, rel=5 * np.sqrt(2 / plain.W.numel()))
    x = torch.cat([tokens(1, keys=1), torch.ones(1, 2, 1, **DOUBLE)], -1)[0]
    assert (x[0] @ plain.W @ x[1]).var().item() == pytest.approx(1.0, rel=5 * np.sqrt(2 / 20_000))
    units = RandomFeatureMLP(D, N, 20_000, seed=3, **DOUBLE)
    flat = torch.cat([tokens(1).flatten(), torch.ones(1, **DOUBLE)])
    assert (units.w @ flat).var().item() == pytest.approx(1.0, rel=5 * np.sqrt(2 / 20_000))
    assert RandomFeatureAttention(D, 3, weight_var=0.0, seed=1).W.abs().max() == 0


@pytest.mark.parametrize("name", ["relu", "perceptron"])
def test_compiled_layers_give_the_same(name):
    check_compiled(made(name, **DOUBLE), tokens())


def test_threads_change_nothing():
    layer = BiasedRandomFeatureAttention(16, 64, seed=1, **DOUBLE)
    check_threads(layer, torch.randn(200, 9, 16, **DOUBLE))


def test_nothing_of_the_size_of_all_pairs_is_kept():
    """Heads x keys x dimension numbers an input would be 40 times what is needed."""
    layer, x = RandomFeatureAttention(40, 50, seed=1), torch.randn(20, 201, 40)
    largest = 0

    class Sizes(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            nonlocal largest
            result = function(*arguments, **(keywords or {}))
            if isinstance(result, torch.Tensor):
                largest = max(largest, result.numel())
            return result

    with Sizes(), torch.no_grad():
        layer.features(x)
    assert largest <= 20 * 200 * 50


def test_bad_input_is_refused():
    layer = made("relu")
    for x, words in (
        (torch.ones(3, D), r"x has shape \(3, 4\)"),
        (torch.ones(3, 1, D), "at least 2 tokens"),
        (torch.ones(3, 2, D + 1), r"x has shape \(3, 2, 5\); allowed: .* d = 4"),
        (torch.full((3, 2, D), torch.nan), r"x has an entry nan at \(0, 0, 0\)"),
    ):
        with pytest.raises(ValueError, match=words):
            layer(x)
    with pytest.raises(TypeError, match=r"x is a ndarray; allowed: torch\.Tensor"):
        layer(np.ones((3, 2, D)))
    with pytest.raises(ValueError, match="x has 3 tokens; allowed: 4"):
        made("perceptron")(torch.ones(2, 3, D))
    for call, words in (
        (lambda: RandomFeatureAttention(D, 0), "n_heads = 0 is out of range"),
        (lambda: RandomFeatureAttention(0, 1), "d = 0 is out of range"),
        (lambda: RandomFeatureAttention(D, 1, np.eye(D)), r"bias_matrix has shape \(4, 4\); allowed: \(5, 5\)"),
        (lambda: RandomFeatureAttention(1, 1, [[np.nan, 0], [0, 0]]), "bias_matrix has an entry nan"),
        (lambda: RandomFeatureAttention(D, 1, weight_var=-1), "weight_var = -1"),
        (lambda: RandomFeatureAttention(D, 1, activation="tanh"), "activation = 'tanh' is unknown"),
        (lambda: RandomFeatureAttention(D, 1, seed=-1), "seed = -1 is out of range"),
        (lambda: BiasedRandomFeatureAttention(D, 1, scale=np.inf), "scale = inf"),
        (lambda: RandomFeatureMLP(D, 0, 1), "N = 0 is out of range"),
        (lambda: RandomFeatureMLP(D, 1, 0), "n_units = 0 is out of range"),
    ):
        with pytest.raises(ValueError, match=words):
            call()


WITHOUT_TORCH = """
import importlib, sys

class Nowhere:
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Nowhere)
import hebbian, sim, theory, theory.attention_features
for module in ("hebbian.nn.attention_features", "sim.attention_features"):
    try:
        importlib.import_module(module)
    except ImportError as error:
        print(error)
"""


def test_a_missing_torch_is_named_with_its_extra():
    run = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ['torch is not installed; allowed: pip install "hebbian[nn]"'] * 2
