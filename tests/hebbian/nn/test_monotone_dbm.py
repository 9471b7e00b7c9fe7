import copy
import io
import subprocess
import sys
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hebbian.fixed_point import solve_mean_field  # noqa: E402
from hebbian.nn import MonotoneDBM, SoftmaxProx, monotone_dbm  # noqa: E402
from hebbian.potts import GroupLayout, monotone_coupling  # noqa: E402
from hebbian.softmax_prox import softmax_prox  # noqa: E402

LAYERS = [(3, 2), (2, 3), (1, 4)]
TIERS = (2, 5, 4)
DOUBLE = {"dtype": torch.float64}


def machine(seed=0, scale=3.0, **options):
    """A small machine, some groups of which are scaled down to the bound."""
    torch.manual_seed(seed)
    layer = MonotoneDBM(LAYERS, TIERS, **{"tol": 1e-12} | DOUBLE | options)
    with torch.no_grad():
        layer.factor *= scale * torch.linspace(0.2, 2, layer.layout.size)
        layer.shift.normal_()
    return layer


def observation(layer, batch=3, seed=1, probability=0.4, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    states = rng.integers(0, layer.layout.categories, (batch, layer.layout.n_groups))
    mask = rng.random((batch, layer.layout.n_groups)) < probability
    return torch.as_tensor(layer.layout.one_hot(states), dtype=dtype), torch.as_tensor(mask)


def call(layer, *arguments):
    """Return q and logits as a function of the parameters."""
    names = [name for name, _ in layer.named_parameters()]

    def function(*parameters):
        output = torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), arguments)
        return output.q, output.logits

    return function, tuple(parameter.detach().requires_grad_() for parameter in layer.parameters())


@pytest.mark.parametrize("alpha", [0.125, 1.0, 2.5])
def test_proximal_step_and_its_gradient(alpha):
    y = torch.tensor([[1, 0.5, -0.3, -2], [0, 3, 0.1, 0.2]], **DOUBLE, requires_grad=True)
    np.testing.assert_allclose(SoftmaxProx.apply(y, alpha, 1).detach(), softmax_prox(y.detach().numpy(), alpha))
    assert torch.autograd.gradcheck(lambda y: SoftmaxProx.apply(y, alpha, 1), (y,), rtol=1e-6)
    assert torch.autograd.gradcheck(lambda y: SoftmaxProx.apply(y, alpha, 0), (y,), rtol=1e-6)


def test_coupling_is_that_of_the_masked_factor():
    layer = machine()
    factor = layer.factor.detach().numpy() * layer.layout.tier_mask(TIERS)
    np.testing.assert_allclose(layer.coupling().detach(), monotone_coupling(factor, layer.layout), atol=1e-15)
    norms = [
        np.linalg.norm(factor[:, a:b], 2) for a, b in zip(layer.layout.offsets, layer.layout.offsets[1:], strict=False)
    ]
    # Both branches of the scale are tested by what follows.
    assert min(norms) < 0.9**0.5 < max(norms)


def test_output_is_the_mean_field_given_what_is_observed():
    layer = machine()
    x, mask = observation(layer)
    output = layer(x, mask)
    assert output.info.converged
    expected = solve_mean_field(
        layer.coupling().detach().numpy(),
        np.tile(layer.shift.detach().numpy(), (3, 1)),
        layer.layout,
        clamp=(mask.numpy(), x.numpy()),
        tol=1e-12,
        method="newton",
    )
    np.testing.assert_allclose(output.q.detach(), expected.q, atol=1e-11)
    np.testing.assert_allclose(
        output.logits.detach(),
        expected.q @ layer.coupling().detach().numpy() + layer.shift.detach().numpy(),
        atol=1e-10,
    )
    single = layer()
    assert single.q.shape == (1, layer.layout.size)


def test_layers_can_be_given_one_by_one():
    layer = machine()
    x, mask = observation(layer)
    mask[:, 3:5] = False
    parts, marks = layer.split(x), mask.split([3, 2, 1], 1)
    assert [tuple(part.shape) for part in parts] == [(3, 3, 2), (3, 2, 3), (3, 1, 4)]
    q = layer(x, mask).q
    torch.testing.assert_close(layer((parts[0], None, parts[2].flatten(1)), (marks[0], None, marks[2])).q, q)
    whole = mask.clone()
    whole[:] = torch.tensor([True] * 3 + [False] * 3)
    torch.testing.assert_close(layer((parts[0], None, None)).q, layer(x, whole).q)


@pytest.mark.parametrize("masked", [False, True])
def test_gradients_of_all_parameters(masked):
    layer = machine()
    function, parameters = call(layer, *(observation(layer, batch=2) if masked else ()))
    assert torch.autograd.gradcheck(function, parameters, rtol=1e-6, fast_mode=True)


def test_gradient_of_a_group_without_factor_is_finite():
    layer = machine()
    with torch.no_grad():
        layer.factor[:, :2] = 0
        layer.factor[:, 2:4] = 1e-160
    layer().q.square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in layer.parameters())


def test_gradients_reach_every_parameter_and_repeat():
    layer = machine(dtype=torch.float32, tol=None)
    x, mask = observation(layer, dtype=torch.float32)
    gradients = []
    for _ in range(2):
        layer.zero_grad()
        output = layer(x, mask)
        (output.q.square().sum() + output.logits.square().sum()).backward()
        gradients.append([parameter.grad.clone() for parameter in layer.parameters()])
    for name, (first, second) in zip(("factor", "shift"), zip(*gradients, strict=True), strict=True):
        assert first.abs().sum() > 0, name
        torch.testing.assert_close(first, second, rtol=0, atol=0)
    free = layer.layout.tier_mask(TIERS)
    assert (gradients[0][0].numpy()[~free] == 0).all()
    assert (gradients[0][0].numpy()[free] != 0).mean() > 0.9


def peak(layer, x, mask):
    """Return the most bytes that tensors took at once in a step, beyond those before it."""
    layer.zero_grad(set_to_none=True)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        layer(x, mask).q.square().sum().backward()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    return int(np.max(np.cumsum([event.nbytes() for event in events])))


@pytest.mark.filterwarnings("ignore:mean field by:RuntimeWarning")
def test_memory_does_not_grow_with_iterations():
    memory = []
    for steps in (20, 500):
        # A tolerance that rounding never meets.
        layer = machine(tol=1e-30, max_iter=steps)
        x, mask = observation(layer, batch=32)
        layer(x, mask)
        memory.append(peak(layer, x, mask))
        assert layer(x, mask).info.iterations == steps
    assert memory[1] <= 1.05 * memory[0]


def test_spectrum_is_found_once_for_each_update(monkeypatch):
    counted = []
    found = monotone_dbm.smallest_eigenvalue
    monkeypatch.setattr(monotone_dbm, "smallest_eigenvalue", lambda *a: counted.append(1) or found(*a))
    layer = machine()
    x, mask = observation(layer)
    first = layer(x, mask).q
    for _ in range(3):
        layer(x, mask).q.square().sum().backward()
    assert len(counted) == 1
    optimiser = torch.optim.SGD(layer.parameters(), lr=1.0)
    optimiser.step()
    second = layer(x, mask).q
    assert len(counted) == 2
    assert (first - second).abs().max() > 1e-3
    # Past the records of autograd too.
    layer.factor.data.mul_(0.1)
    assert (layer(x, mask).q - second).abs().max() > 1e-3
    assert len(counted) == 3
    largest = np.linalg.eigvalsh(layer.coupling().detach())
    tangent = layer.layout.tangent(layer.layout.tangent(layer.coupling().detach()).T)
    assert layer.prepared().lambda_min == pytest.approx(float(np.linalg.eigvalsh(tangent)[0]), rel=2e-3)
    assert largest[-1] <= layer.prepared().lambda_max == 0.9


def test_state_survives_saving_copying_and_resetting():
    layer = machine()
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    other = MonotoneDBM(LAYERS, TIERS, tol=1e-12, **DOUBLE)
    before = other().q
    other.load_state_dict(torch.load(buffer))
    torch.testing.assert_close(other().q, layer().q, rtol=0, atol=0)
    assert (before - layer().q).abs().max() > 1e-3
    torch.testing.assert_close(copy.deepcopy(layer)().q, layer().q, rtol=0, atol=0)
    torch.manual_seed(5)
    other.reset_parameters()
    torch.manual_seed(5)
    fresh = MonotoneDBM(LAYERS, TIERS, **DOUBLE)
    torch.testing.assert_close(other.factor, fresh.factor, rtol=0, atol=0)
    assert float(fresh.factor.detach().std()) == pytest.approx(0.5 / len(fresh.factor) ** 0.5, rel=0.2)


def test_precision_is_that_of_the_parameters():
    double = machine(tol=1e-9)
    single = MonotoneDBM(LAYERS, TIERS, device="cpu", dtype=torch.float32)
    single.load_state_dict(double.state_dict())
    x, mask = observation(double)
    found = single(x.float(), mask)
    assert found.q.dtype == found.logits.dtype == torch.float32
    assert found.info.converged
    np.testing.assert_allclose(found.q.detach(), double(x, mask).q.detach(), atol=1e-4)
    assert single.double()(x, mask).q.dtype == torch.float64


def test_compiled_layers_give_the_same():
    layer = machine()
    x, mask = observation(layer)
    compiled = torch.compile(layer, backend="eager")
    with warnings.catch_warnings():
        # Of PyTorch's own code.
        warnings.simplefilter("ignore")
        found = compiled(x, mask)
        found.q.square().sum().backward()
    gradient = layer.factor.grad.clone()
    layer.zero_grad()
    expected = layer(x, mask)
    expected.q.square().sum().backward()
    torch.testing.assert_close(found.q, expected.q, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.logits, expected.logits, rtol=0, atol=1e-12)
    torch.testing.assert_close(gradient, layer.factor.grad, rtol=1e-9, atol=1e-12)


def test_result_does_not_depend_on_threads():
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            layer = machine()
            x, mask = observation(layer, batch=200)
            output = layer(x, mask)
            output.q.square().sum().backward()
            found.append((output.q.detach(), layer.factor.grad))
    finally:
        torch.set_num_threads(before)
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-12)


def test_one_sided_scaling_breaks_symmetry_and_the_guarantee():
    # As public code has it: the square of the scale, on the output side alone. Two groups of norms .95 and 10.
    layout = GroupLayout([(2, 2)])
    factor = np.hstack([0.95 * np.eye(2), 10 * np.eye(2)])
    scale = np.repeat([1.0, 0.95 / 10**2], 2)
    broken = -scale[:, None] * np.where(layout.block_mask(), 0, factor.T @ factor)
    sound = monotone_coupling(factor, layout, margin=0.05)
    np.testing.assert_allclose(sound, np.sqrt(scale)[:, None] * broken / scale[:, None] * np.sqrt(scale), atol=1e-15)
    np.testing.assert_allclose(sound, sound.T, atol=1e-15)
    assert np.linalg.eigvalsh(np.eye(4) - sound)[0] >= 0.05
    # The two entries of a pair are -9.5 and -.09.
    assert abs(broken - broken.T).max() == pytest.approx(9.5 * (1 - 0.0095))
    assert np.linalg.eigvalsh(np.eye(4) - (broken + broken.T) / 2)[0] == pytest.approx(-3.795125)
    with pytest.raises(ValueError, match="coupling is not symmetric"):
        solve_mean_field(broken, np.zeros(4), layout)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"margin": 1.0}, "margin = 1.0"),
        ({"tol": 0.0}, "tol = 0.0"),
        ({"max_iter": 0}, "max_iter = 0"),
        ({"method": "guess"}, "method = 'guess'"),
        ({"tiers": (1, 2)}, "2 tiers"),
        ({"layers": [(0, 2)]}, "groups of layer 0 = 0"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        MonotoneDBM(**{"layers": LAYERS, "tiers": TIERS} | arguments)


def test_wrong_inputs_are_named():
    layer = machine()
    x, mask = observation(layer)
    with pytest.raises(ValueError, match="mask is given without x"):
        layer(None, mask)
    with pytest.raises(TypeError, match="mask is NoneType"):
        layer(x)
    with pytest.raises(ValueError, match=r"mask of clamp has shape \(3, 5\)"):
        layer(x, mask[:, :5])
    with pytest.raises(TypeError, match="mask of clamp has dtype"):
        layer(x, mask.int())
    with pytest.raises(ValueError, match="allowed: one-hot"):
        layer(0.5 * x, torch.ones_like(mask))
    with pytest.raises(ValueError, match="layers; allowed: 3"):
        layer((x, None))
    with pytest.raises(ValueError, match="no layer that is observed"):
        layer((None, None, None))
    with pytest.raises(ValueError, match=r"layer 1 of x and mask has shapes \(3, 5\)"):
        layer((None, x[:, :5], None))
    with torch.no_grad():
        layer.shift[0] = np.nan
    with pytest.raises(ValueError, match="bias has an entry"):
        layer(x, mask)


def test_without_pytorch_the_error_names_the_extra():
    code = "import sys; sys.modules['torch'] = None\nimport hebbian, sim, theory\nimport hebbian.nn"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stderr.splitlines()[-1] == 'ImportError: torch is not installed; allowed: pip install "hebbian[nn]"'
