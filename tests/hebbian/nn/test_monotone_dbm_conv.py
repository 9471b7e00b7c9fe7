import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hebbian.fixed_point import solve_mean_field  # noqa: E402
from hebbian.nn import MonotoneConvDBM  # noqa: E402
from hebbian.potts import monotone_coupling  # noqa: E402

SIZES = [(2, 8, 4, 1), (6, 4, 2, 3), (4, 2, 1, 1), (5, 1)]
KERNELS = [[3, 0, 0, 0], [3, 3, 0, 0], [3, 3, 3, 0], [0, 1, 1, 1]]


def machine(sizes=SIZES, kernels=KERNELS, scale=2.0, **options):
    torch.manual_seed(0)
    layer = MonotoneConvDBM(sizes, kernels, **{"dtype": torch.float64, "tol": 1e-10} | options)
    with torch.no_grad():
        for weight in layer.weights.values():
            weight *= scale * (0.2 + 3 * torch.rand(weight.shape[1], 1, 1, dtype=weight.dtype))
    return layer


def unscaled(layer):
    """Return the factor before it is scaled, by convolutions of unit vectors with padding put in by hand."""
    eye = torch.eye(layer.layout.size, dtype=torch.float64)
    rows = {}
    images = [
        part.reshape(-1, shape.height, shape.width, shape.channels).movedim(-1, 1)
        for part, shape in zip(layer.layers_of(eye), layer.shapes, strict=True)
    ]
    for one in layer.connections:
        padded = torch.nn.functional.pad(images[one.layer], [one.padding] * 4)
        image = torch.nn.functional.conv2d(padded, layer.weights[one.name].detach(), stride=one.stride)
        rows[one.tier] = rows.get(one.tier, 0) + image
    return torch.cat([image.flatten(1) for image in rows.values()], 1).T.numpy()


@pytest.mark.parametrize(
    ("sizes", "kernels"),
    [
        (SIZES, KERNELS),
        ([(4, 6, 6, 2), (3, 2, 2, 1)], [[5, 0], [3, 3]]),
        ([(2, 6, 6, 1), (4, 3, 3, 2)], [[1, 0], [1, 1]]),
        ([(2, 4, 4, 1), (3, 4, 4, 1)], [[0, 0], [4, 4]]),
        ([(6, 2), (4, 1)], [[1, 0], [1, 1]]),
    ],
)
def test_assembled_coupling_is_that_of_its_factor(sizes, kernels):
    layer = machine(sizes, kernels, margin=0.05)
    coupling = layer.coupling().detach().numpy()
    np.testing.assert_allclose(coupling, monotone_coupling(unscaled(layer), layer.layout, 0.05), atol=1e-13)
    np.testing.assert_allclose(coupling, coupling.T, atol=1e-14)
    scaled = layer.factor().detach().numpy()
    np.testing.assert_allclose(scaled * layer.layout.block_mask().any(0), scaled)
    np.testing.assert_allclose(-(scaled.T @ scaled)[~layer.layout.block_mask()], coupling[~layer.layout.block_mask()])
    assert np.linalg.eigvalsh(coupling)[-1] <= 0.95 + 1e-12
    assert abs(coupling).max() > 0.01


def test_images_of_a_tier_are_wider_than_its_layer_by_the_kernel():
    layer = MonotoneConvDBM([(2, 28, 28, 1), (4, 14, 14, 1), (4, 7, 7, 1)], [[3, 0, 0], [3, 3, 0], [3, 3, 3]])
    tiers = layer._products().factor(torch.zeros(1, layer.layout.size))
    assert [tuple(image.shape[2:]) for image in tiers.values()] == [(30, 30), (16, 16), (9, 9)]


def test_solution_is_that_of_the_dense_coupling():
    layer = machine()
    rng = np.random.default_rng(0)
    states = rng.integers(0, layer.layout.categories, (2, layer.layout.n_groups))
    x, mask = layer.layout.one_hot(states), rng.random(states.shape) < 0.3
    output = layer(torch.as_tensor(x), torch.as_tensor(mask))
    assert output.info.converged
    coupling, bias = layer.coupling().detach().numpy(), layer.bias().detach().numpy()
    dense = solve_mean_field(coupling, np.tile(bias, (2, 1)), layer.layout, clamp=(mask, x), tol=1e-11)
    np.testing.assert_allclose(output.q.detach(), dense.q, atol=2e-10)
    np.testing.assert_allclose(output.logits.detach(), dense.q @ coupling + bias, atol=1e-9)


def test_gradients_of_all_parameters():
    layer = machine([(2, 2, 2, 1), (4, 1, 1, 2), (2, 1)], [[3, 0, 0], [3, 3, 0], [0, 1, 1]], tol=1e-12, max_iter=1000)
    names, values = zip(*layer.named_parameters(), strict=True)
    x = torch.zeros(1, layer.layout.size, dtype=torch.float64)
    x[:, ::2] = 1
    mask = torch.zeros(1, layer.layout.n_groups, dtype=torch.bool)
    mask[:, 1:3] = True

    def function(*parameters):
        output = torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (x, mask))
        return output.q, output.logits

    assert torch.autograd.gradcheck(
        function, tuple(value.detach().requires_grad_() for value in values), rtol=1e-6, fast_mode=True
    )
    function(*values)[0].square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in layer.parameters())


def test_one_sided_scaling_breaks_symmetry_and_the_guarantee():
    layer = machine([(4, 6, 6, 2), (4, 3, 3, 2)], [[3, 0], [3, 3]])
    factor, block = unscaled(layer), layer.layout.block_mask()
    # As public code has it: the square of the scale, on the output side alone.
    scale = layer._products().scale.detach().numpy()[:, None] ** 2
    broken = np.where(block, 0, -scale * (factor.T @ factor))
    sound = layer.coupling().detach().numpy()
    eye = np.eye(len(sound))
    assert np.linalg.eigvalsh(eye - sound)[0] >= 0.1 - 1e-12
    assert abs(broken - broken.T).max() > 0.5 * abs(broken).max()
    # Less than the margin that is promised.
    assert np.linalg.eigvalsh(eye - (broken + broken.T) / 2)[0] < 0.02


def test_biases_have_the_norm_of_their_gain():
    layer = machine()
    with torch.no_grad():
        layer.gain.copy_(torch.tensor([1.0, 2.0, 0.5, 3.0]))
    norms = [float(part.detach().norm()) for part in layer.layers_of(layer.bias())]
    np.testing.assert_allclose(norms, [1, 2, 0.5, 3])


def test_state_and_updates():
    layer = machine()
    other = MonotoneConvDBM(SIZES, KERNELS, dtype=torch.float64, tol=1e-10)
    before = other().q
    other.load_state_dict(layer.state_dict())
    torch.testing.assert_close(other().q, layer().q, rtol=0, atol=0)
    assert (before - layer().q).abs().max() > 1e-3
    single = MonotoneConvDBM(SIZES, KERNELS)
    single.load_state_dict(layer.state_dict())
    torch.testing.assert_close(single().q.double(), layer().q, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("sizes", "kernels", "message"),
    [
        ([(2, 4, 4)], [[3]], r"sizes\[0\] = \(2, 4, 4\)"),
        ([(3, 4, 4, 2)], [[3]], "3 channels in 2 groups"),
        ([(2, 4, 4, 1)], [[3, 0]], r"kernels has shape \(1, 2\)"),
        ([(2, 4, 4, 1), (2, 3, 3, 1)], [[3, 0], [3, 3]], "4 x 4 pixels, which tier 1 reads"),
        ([(2, 4, 4, 1), (2, 2, 2, 1)], [[3, 3], [3, 3]], r"kernels\[0\]"),
        ([(2, 4, 4, 1), (2, 2, 2, 1)], [[3, 0], [5, 3]], "one width for all layers"),
        ([(2, 1), (2, 2, 2, 1)], [[1, 0], [3, 3]], "1 x 1 pixels, which tier 1 reads"),
        ([(2, 4, 4, 1)], [[0]], "kernels is zero"),
        ([(2, 4, 4, 1)], [[-1]], r"kernels\[0\]\[0\] = -1"),
    ],
)
def test_wrong_arguments_are_named(sizes, kernels, message):
    with pytest.raises(ValueError, match=message):
        MonotoneConvDBM(sizes, kernels)
