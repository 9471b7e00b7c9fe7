"""What must hold for every layer: gradients, state, threads, compilation."""

import io
from collections.abc import Callable
from typing import Any

import torch

Inputs = tuple[torch.Tensor, ...]


def tensors(output: Any) -> list[torch.Tensor]:
    """Return the tensors of an output that may be nested in tuples."""
    if isinstance(output, torch.Tensor):
        return [output]
    return [tensor for part in output or () for tensor in tensors(part)]


def check_gradients(layer: torch.nn.Module, *inputs: torch.Tensor, **options: Any) -> None:
    """Compare the gradients in all parameters, and in the inputs of floating point, with differences."""
    names, values = zip(*layer.named_parameters(), strict=True) if any(True for _ in layer.parameters()) else ((), ())
    count = len(inputs)

    def output(*arguments: torch.Tensor) -> Inputs:
        state = dict(zip(names, arguments[count:], strict=True))
        return tuple(tensors(torch.func.functional_call(layer, state, arguments[:count])))

    assert all(value.dtype.to_complex() == torch.complex128 for value in values if value.is_floating_point())
    moved = [x.detach().clone().requires_grad_(x.is_floating_point()) for x in inputs]
    parameters = [value.detach().clone().requires_grad_(value.requires_grad) for value in values]
    assert torch.autograd.gradcheck(output, (*moved, *parameters), **options)


def check_state(make: Callable[[torch.dtype], torch.nn.Module], *inputs: torch.Tensor) -> None:
    """Save a layer, load it into one that was made otherwise, in both precisions, and draw parameters again."""
    layer, other = make(torch.float64), make(torch.float64)
    # Every parameter and buffer of numbers has to travel, not only those that new layers draw.
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    expected = tensors(layer(*inputs))
    assert any((one != two).any() for one, two in zip(tensors(other(*inputs)), expected, strict=True))
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    saved = torch.load(buffer)
    other.load_state_dict(saved)
    for one, two in zip(tensors(other(*inputs)), expected, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)
    single = make(torch.float32)
    single.load_state_dict(saved)
    of_single = tensors(single(*(x.float() if x.is_floating_point() else x for x in inputs)))
    for one, two in zip(of_single, expected, strict=True):
        assert not one.is_floating_point() or one.dtype == torch.float32
        torch.testing.assert_close(one.to(two.dtype), two, rtol=1e-3, atol=1e-4)
    for one, two in zip(tensors(single.double()(*inputs)), expected, strict=True):
        assert one.dtype == two.dtype
    torch.manual_seed(1)
    other.reset_parameters()  # type: ignore[operator]
    torch.manual_seed(1)
    fresh = make(torch.float64)
    for one, two in zip(tensors(other(*inputs)), tensors(fresh(*inputs)), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)


def _with_gradients(layer: torch.nn.Module, call: Callable[..., Any], inputs: Inputs) -> list[torch.Tensor]:
    layer.zero_grad()
    found = tensors(call(*inputs))
    # Weights that differ: a sum can be a constant.
    sum((torch.cos(torch.arange(x.numel())).view(x.shape) * x).sum() for x in found if x.requires_grad).backward()
    gradients = [parameter.grad for parameter in layer.parameters() if parameter.grad is not None]
    return [x.detach().clone() for x in [*found, *gradients]]


def check_threads(layer: torch.nn.Module, *inputs: torch.Tensor, tol: float = 1e-10) -> None:
    """Compare outputs and gradients with one thread and with two; inputs are to be large enough to be shared."""
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(_with_gradients(layer, layer, inputs))
    finally:
        torch.set_num_threads(before)
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=tol, atol=tol)


def check_compiled(layer: torch.nn.Module, *inputs: torch.Tensor, fullgraph: bool = True) -> None:
    """Compare outputs and gradients of the compiled layer with those of the layer."""
    # Captured and differentiated ahead of time; a compiler of C++ is not needed.
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=fullgraph)
    of_compiled, expected = (_with_gradients(layer, call, inputs) for call in (compiled, layer))
    for one, two in zip(of_compiled, expected, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-12)
