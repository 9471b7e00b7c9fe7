import numpy as np
import pytest

from theory.kernels import (
    Activation,
    Conv2d,
    Dense,
    Flatten,
    GlobalAvgPool,
    LayerNorm,
    Network,
    Residual,
    mlp_kernel,
)
from theory.kernels import networks as module

RNG = np.random.default_rng(0)
IMAGES, OTHERS = RNG.normal(size=(2, 5, 4, 3)), RNG.normal(size=(3, 5, 4, 3))
RELU, ERF, READOUT = Activation("relu"), Activation("erf"), Dense(2.0, 0.1)


def conv(size, padding="SAME", stride=1):
    return Conv2d(size, padding, stride, 1.5, 0.1)


POOLED = [conv(3, "CIRCULAR"), RELU, conv((3, 2), "CIRCULAR"), RELU, GlobalAvgPool(), READOUT]
FLAT = [conv(3), RELU, conv((3, 2)), Activation("tanh"), Flatten(), READOUT]


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("name", ["relu", "erf", "gelu", "tanh", "sin", "linear"])
def test_dense_stacks_are_the_fully_connected_kernels(name, compiled):
    X, Y = RNG.normal(size=(9, 6)), RNG.normal(size=(7, 6))
    act, numbers = Activation(name), {"act": name, "depth": 3, "cw": 1.3, "cb": 0.1}
    block = [act, Dense(1.3, 0.1)]
    for layers, options in (
        ([Dense(1.3, 0.1), *block, *block, *block], {}),
        ([Dense(1.3, 0.1), Residual(block, 0.7), Residual(block, 0.7), *block], {"residual": 0.7}),
        ([Dense(1.3, 0.1), *([LayerNorm(), *block] * 3)], {"layer_norm": True}),
    ):
        network = Network(layers, compiled)
        for other in (Y, None):
            expected, found = mlp_kernel(X, other, **numbers, **options), network.kernel(X, other)
            np.testing.assert_allclose(found.nngp, expected.nngp, rtol=1e-11, atol=1e-12)
            np.testing.assert_allclose(found.ntk, expected.ntk, rtol=1e-11, atol=1e-12)
        own = network.diag(X)
        np.testing.assert_allclose(own.ntk, np.diag(found.ntk), rtol=1e-12)
        np.testing.assert_allclose(own.nngp, np.diag(found.nngp), rtol=1e-12)


def test_values_of_another_program():
    # neural-tangents 0.6.5
    for layers, nngp, ntk in (
        ([conv(3), RELU, conv((3, 2)), RELU, Flatten(), READOUT], 0.4990783624354269, 0.6779475983009992),
        (
            [conv((2, 3), "VALID"), ERF, conv((3, 2), "VALID"), ERF, Flatten(), READOUT],
            0.12385722436265262,
            0.07873378310022039,
        ),
        (
            [conv(3, stride=2), RELU, conv(2, stride=2), RELU, Flatten(), READOUT],
            0.4703973408952652,
            0.6356593602878925,
        ),
        ([conv(3), RELU, conv(3), RELU, GlobalAvgPool(), READOUT], 0.4709392228314615, 0.6501909491371141),
        (POOLED, 0.7429237958628461, 1.073920936383432),
        ([conv(3), Residual([RELU, conv(3)]), RELU, GlobalAvgPool(), READOUT], 0.8517236196844725, 1.0737128099027247),
    ):
        rng = np.random.default_rng(0)
        A, B = rng.normal(size=(2, 5, 4, 3)), rng.normal(size=(3, 5, 4, 3))
        found = Network(layers).kernel(A, B)
        np.testing.assert_allclose([found.nngp[0, 0], found.ntk[0, 0]], [nngp, ntk], rtol=1e-12)


def test_a_wide_convolutional_network_has_the_kernel():
    # The covariance of outputs is the kernel at any width: 4 standard errors, false alarm 2e-4 for all three.
    rng, n, M = np.random.default_rng(5), 30, 4000
    X = rng.normal(size=(2, 3, 3, 2))
    padded = np.pad(X, ((0, 0), (1, 1), (1, 1), (0, 0)))
    patches = np.stack([padded[:, i : i + 3, j : j + 3] for i in range(3) for j in range(3)], axis=3)
    patches = patches.reshape(2, 9, 18)
    total = np.zeros((M, 2))
    for m in range(M):
        hidden = np.maximum(patches @ rng.normal(size=(18, n)) * (1.7 / 18) ** 0.5 + 0.3 * rng.normal(size=n), 0)
        total[m] = hidden.mean(1) @ rng.normal(size=n) * (1.2 / n) ** 0.5
    kernel = Network([Conv2d(3, cw=1.7, cb=0.09), RELU, GlobalAvgPool(), Dense(1.2)]).kernel(X).nngp
    for i, j in ((0, 0), (0, 1), (1, 1)):
        products = total[:, i] * total[:, j]
        assert abs(products.mean() - kernel[i, j]) < 4 * products.std() / M**0.5


def test_averages_over_positions_do_not_see_shifts():
    circular = [conv(3, "CIRCULAR"), RELU, conv((3, 2), "CIRCULAR"), RELU]
    pooled, flat = Network([*circular, GlobalAvgPool(), READOUT]), Network([*circular, Flatten(), READOUT])
    shifted, both = np.roll(IMAGES, (2, 1), (1, 2)), np.roll(OTHERS, (2, 1), (1, 2))
    for name in ("nngp", "ntk"):
        before, after = (getattr(pooled.kernel(images, OTHERS), name) for images in (IMAGES, shifted))
        np.testing.assert_allclose(after, before, rtol=1e-12)
        before, one, joint = (
            getattr(flat.kernel(*pair), name) for pair in ((IMAGES, OTHERS), (shifted, OTHERS), (shifted, both))
        )
        np.testing.assert_allclose(joint, before, rtol=1e-12)
        assert np.abs(one - before).max() > 1e-3


def test_one_pixel_is_a_vector():
    X = RNG.normal(size=(6, 4))
    layers = [Conv2d(1, cw=1.5, cb=0.1), ERF, Conv2d(1, cw=1.5, cb=0.1), ERF]
    expected = mlp_kernel(X, act="erf", depth=2, cw=1.5, cb=0.1)
    for end in (Flatten(), GlobalAvgPool()):
        found = Network([*layers, end, Dense(1.5, 0.1)]).kernel(X[:, None, None])
        np.testing.assert_allclose(found.nngp, expected.nngp, rtol=1e-12)
        np.testing.assert_allclose(found.ntk, expected.ntk, rtol=1e-12)


@pytest.mark.parametrize("layers", [POOLED, FLAT], ids=["pooled", "flat"])
def test_images_with_themselves(layers, monkeypatch):
    network = Network(layers)
    images = np.concatenate([IMAGES, OTHERS])
    found, own = network.kernel(images), network.diag(images)
    for name in ("nngp", "ntk"):
        values = getattr(found, name)
        np.testing.assert_allclose(np.diag(values), getattr(own, name), rtol=1e-12)
        np.testing.assert_array_equal(values, values.T)
        assert np.linalg.eigvalsh(values).min() > -1e-12
        copies = getattr(network.kernel(images, images.copy()), name)
        np.testing.assert_allclose(values, copies, rtol=1e-7)
    # The same in blocks of one pair.
    monkeypatch.setattr(module, "_ENTRIES", 1)
    np.testing.assert_allclose(network.kernel(images).ntk, found.ntk, rtol=1e-13)
    assert network.kernel(images, get="nngp").ntk is None


@pytest.mark.parametrize("layers", [POOLED, FLAT], ids=["pooled", "flat"])
def test_other_arrays_give_the_same(layers):
    torch = pytest.importorskip("torch")
    expected = Network(layers).kernel(IMAGES)
    for given in (IMAGES, torch.as_tensor(IMAGES)):
        found = Network(layers, compiled=False).kernel(given)
        assert type(found.ntk) is type(given)
        np.testing.assert_allclose(np.asarray(found.ntk), expected.ntk, rtol=1e-12)
        np.testing.assert_allclose(np.asarray(found.nngp), expected.nngp, rtol=1e-12)


@pytest.mark.parametrize(
    ("layers", "error", "words"),
    [
        ([], ValueError, "layers is empty"),
        (
            [RELU, Dense()],
            ValueError,
            "layer 0, Activation, of what is not Gaussian; allowed: after a layer with weights",
        ),
        ([Dense(), RELU, ERF, Dense()], ValueError, "layer 2, Activation, of what is not Gaussian"),
        ([conv(3), RELU, Dense()], ValueError, "layer 2, Dense, of images; allowed: after Flatten"),
        ([conv(3), RELU], ValueError, "the last layer leaves images"),
        ([Dense(), Flatten()], ValueError, "layer 0, Dense, of images"),
        ([conv(3), Flatten(), conv(3)], ValueError, "layer 2, Conv2d, of vectors"),
        ([Dense(), "relu"], TypeError, "layer 1, str: allowed: Dense, Conv2d, Activation"),
        ([Dense(), Residual([Dense(), RELU])], ValueError, "layer 1, Residual: its inner layers end otherwise"),
    ],
)
def test_layers_that_do_not_fit_are_refused(layers, error, words):
    with pytest.raises(error, match=words):
        Network(layers)


def test_bad_input_is_refused():
    for call, words in (
        (lambda: Dense(-1.0), r"cw = -1\.0 is out of range"),
        (lambda: Conv2d(0), "filter = 0 is out of range"),
        (lambda: Conv2d(3, "REFLECT"), "padding = 'REFLECT' is unknown; allowed: 'SAME', 'CIRCULAR', 'VALID'"),
        (lambda: Conv2d(3, stride=0), "stride = 0 is out of range"),
        (lambda: Activation("mish"), "activation = 'mish' is unknown"),
        (lambda: Network(FLAT).kernel(IMAGES[0]), r"X1 has shape \(5, 4, 3\); allowed: \(any, any, any, any\)"),
        (
            lambda: Network(FLAT).kernel(IMAGES, OTHERS[:, :3]),
            r"X2 has inputs of shape \(3, 4, 3\); allowed: \(5, 4, 3\)",
        ),
        (lambda: Network(FLAT).kernel(IMAGES[:0]), r"X1 has shape \(0, 5, 4, 3\); allowed: at least one input"),
        (lambda: Network(FLAT).kernel(IMAGES * np.nan), "X1 has an entry nan"),
        (lambda: Network([conv(9, "VALID"), Flatten(), READOUT]).kernel(IMAGES), "filter = 9 exceeds images of size 5"),
        (
            lambda: Network([Dense(), LayerNorm(), RELU, Dense()]).kernel(np.zeros((2, 3))),
            "variance 0 before LayerNorm",
        ),
        (
            lambda: Network([conv(3), Residual([RELU, conv(3, stride=2)]), Flatten()]).kernel(IMAGES),
            "inner layers of Residual change the size",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            call()
