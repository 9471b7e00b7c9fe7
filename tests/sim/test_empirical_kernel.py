import pytest
import torch
from torch import nn

from hebbian.nn import NTKMLP
from sim.empirical_kernel import empirical_nngp, empirical_ntk


def network(d_out=3, **options):
    torch.manual_seed(0)
    return NTKMLP(4, [6, 6], d_out, **{"act": "erf", "cw": 1.5, "cb": 0.3, "dtype": torch.float64} | options)


def inputs(n=7):
    return torch.randn(n, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


OPTIONS = [
    {},
    {"residual": 0.5},
    {"cb": 0.0, "bias": False},
    {"parametrization": "standard"},
    {"parametrization": "standard", "cb": 0.0, "bias": False, "residual": 0.7},
    {"d_out": 1, "act": "relu"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("trace_outputs", [True, False])
def test_structured_products_are_those_of_derivatives(options, trace_outputs):
    model = network(**options)
    both = [empirical_ntk(model, inputs(), trace_outputs=trace_outputs, method=m) for m in ("structured", "jacobian")]
    torch.testing.assert_close(*both, rtol=1e-10, atol=1e-10)
    assert both[0].shape == (7, 7) if trace_outputs else (7, 7, model.d_out, model.d_out)


@pytest.mark.parametrize("method", ["structured", "jacobian"])
def test_kernel_is_the_sum_of_products_of_gradients(method):
    model, x = network(), inputs(3)
    gradients = [
        [torch.cat([g.flatten() for g in torch.autograd.grad(model(x[i : i + 1])[0, o], [*model.parameters()])])
         for o in range(3)]
        for i in range(3)
    ]  # fmt: skip
    J = torch.stack([torch.stack(row) for row in gradients])
    expected = torch.einsum("iop,jqp->ijoq", J, J)
    torch.testing.assert_close(empirical_ntk(model, x, trace_outputs=False, method=method), expected)
    trace = expected.diagonal(dim1=-2, dim2=-1).mean(-1)
    torch.testing.assert_close(empirical_ntk(model, x, method=method), trace)


@pytest.mark.parametrize("method", ["structured", "jacobian"])
@pytest.mark.parametrize("trace_outputs", [True, False])
def test_blocks_do_not_matter(method, trace_outputs):
    model, x = network(), inputs()
    options = {"trace_outputs": trace_outputs, "method": method}
    whole = empirical_ntk(model, x, **options)
    across = empirical_ntk(model, x, x[:4], **options)
    torch.testing.assert_close(across, whole[:, :4], rtol=1e-13, atol=1e-13)
    for memory in (1, 5_000, 20_000):
        torch.testing.assert_close(empirical_ntk(model, x, memory=memory, **options), whole, rtol=1e-13, atol=1e-13)
        part = empirical_ntk(model, x, x[:4], memory=memory, **options)
        torch.testing.assert_close(part, across, rtol=1e-13, atol=1e-13)


def test_blocks_keep_to_the_budget(monkeypatch):
    model, x, rows = network(), inputs(40), []
    forward = model.preactivations
    monkeypatch.setattr(model, "preactivations", lambda X: rows.append(len(X)) or forward(X))
    # An input has 4 (4 + 6 + 6) numbers of 8 bytes; of two blocks.
    empirical_ntk(model, x, memory=2 * 4 * 16 * 8 * 10)
    assert max(rows) == 10


@pytest.mark.parametrize("method", ["structured", "jacobian"])
def test_frozen_parameters_leave_no_trace(method):
    model, x = network(bias=False, cb=0.0), inputs()
    for weight in model.weights[:-1]:
        weight.requires_grad_(False)
    hidden = torch.erf(model.preactivations(x)[-2])
    torch.testing.assert_close(empirical_ntk(model, x, method=method), 1.5 / 6 * hidden @ hidden.T)


def test_other_modules_by_derivatives():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.BatchNorm1d(9), nn.Linear(9, 2)).double()
    model.eval()
    x = torch.randn(4, 1, 5, dtype=torch.float64)
    kernel = empirical_ntk(model, x, trace_outputs=False)
    assert kernel.shape == (4, 4, 2, 2)
    torch.testing.assert_close(empirical_ntk(model, x), kernel.diagonal(dim1=-2, dim2=-1).mean(-1))
    torch.testing.assert_close(kernel, kernel.transpose(0, 1).mT)
    # A step along the gradient of an output changes every output by the kernel.
    before = model(x).detach()
    gradients = torch.autograd.grad(model(x)[2, 1], [*model.parameters()])
    with torch.no_grad():
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter += 1e-7 * gradient
        torch.testing.assert_close((model(x) - before) / 1e-7, kernel[:, 2, :, 1], rtol=1e-4, atol=1e-5)


def test_networks_side_by_side():
    model, x = network(members=2), inputs()
    kernels = empirical_ntk(model, x)
    assert kernels.shape == (2, 7, 7)
    alone = network()
    for member in range(2):
        alone.load_state_dict({name: value[member] for name, value in model.state_dict().items()})
        torch.testing.assert_close(kernels[member], empirical_ntk(alone, x))
    whole = empirical_ntk(model, x, trace_outputs=False)
    torch.testing.assert_close(empirical_ntk(model, x, trace_outputs=False, memory=20_000), whole)


def test_nngp_is_the_mean_product_of_outputs():
    model, x = network(), inputs()
    F = model(x).detach()
    torch.testing.assert_close(empirical_nngp(model, x, x[:2]), sum(F[:, o, None] * F[:2, o] for o in range(3)) / 3)
    assert empirical_nngp(network(members=4), x).shape == (4, 7, 7)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: empirical_ntk(network(), inputs(), method="fast"), ValueError, "method = 'fast'"),
        (lambda: empirical_ntk(nn.Linear(4, 2), inputs(), method="structured"), ValueError, "with a Linear"),
        (lambda: empirical_ntk(network(members=2), inputs(), method="jacobian"), ValueError, "2 networks side by side"),
        (lambda: empirical_ntk(network(), inputs(), memory=0), ValueError, "memory = 0"),
        (lambda: empirical_ntk(network(), [[0.0] * 4]), TypeError, "X1 = .* is a list"),
        (lambda: empirical_ntk(network(), inputs(), inputs(0)), ValueError, r"X2 has shape \(0, 4\)"),
        (lambda: empirical_ntk(nn.Linear(4, 2).requires_grad_(False), inputs()), ValueError, "no parameter"),
        (lambda: empirical_nngp(network(), inputs(0)), ValueError, "X1 has shape"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
