"""The authors' program of monotone deep Boltzmann machines (locuslab/MonotoneDBM), of a checkout that a user has.

Two things are put in place of what it lacks: `torch.solve`, which PyTorch has no longer, and its module `util`, which
loads data. Its coupling is given a scaled factor, and scales no further: it would scale one side alone.
"""

import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hebbian.potts import GroupLayout

VARIABLE = "HEBBIAN_MONOTONE_DBM"
FILES = ("deq_model.py", "multitier_conv.py", "proxsoftmax.py")


def missing() -> str:
    """Return why the program cannot be run, nothing if it can."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return f"{VARIABLE} names no checkout of locuslab/MonotoneDBM"
    lacks = [name for name in FILES if not (Path(folder) / name).is_file()]
    return f"{VARIABLE} = {folder} lacks {', '.join(lacks)}" if lacks else ""


def load() -> types.SimpleNamespace:
    """Return the modules of the program."""
    import torch

    torch.set_num_threads(1)
    torch.solve = lambda right, matrix: (torch.linalg.solve(matrix, right), None)
    util = types.ModuleType("util")
    util.expand_args = lambda defaults, changes: {**defaults, **changes}  # type: ignore[attr-defined]
    sys.modules.setdefault("util", util)
    if (folder := os.environ[VARIABLE]) not in sys.path:
        sys.path.append(folder)
    import deq_model
    import multitier_conv
    import proxsoftmax

    return types.SimpleNamespace(deq_model=deq_model, multitier_conv=multitier_conv, proxsoftmax=proxsoftmax)


def solver(
    factor: NDArray[Any], ranks: list[int], bias: NDArray[Any], layout: GroupLayout, observed: NDArray[Any],
    values: NDArray[Any], *, step: float, tol: float, max_iter: int, accelerate: bool,
) -> Callable[[], tuple[NDArray[np.float32], int]]:  # fmt: skip
    """Return its forward-backward splitting, with Anderson acceleration or without; a call gives q and the steps.

    The first layer is observed; q of its observed groups is not the observed value. `tol` is on the change of q over
    its norm.
    """
    import torch

    program = load()
    sizes = [(G * k, G) for G, k in layout.layers]
    ends = np.cumsum([0, *(size for size, _ in sizes)])
    connected = np.tri(len(sizes), dtype=int)
    coupling = program.multitier_conv.MultiMonotoneHollowConv(sizes, connected, monotone_m=-1)
    first = np.cumsum([0, *ranks])
    for i, rows in enumerate(ranks):
        for j in range(i + 1):
            part = factor[first[i] : first[i] + rows, ends[j] : ends[j + 1]]
            layer = torch.nn.Conv2d(part.shape[1], rows, 1, bias=False)
            layer.weight.data = torch.tensor(part, dtype=torch.float32)[:, :, None, None].contiguous()
            coupling.convs[i][j] = layer
        part = torch.tensor(bias[ends[i] : ends[i + 1]], dtype=torch.float32)
        coupling.biases[i].data, coupling.g.data[i] = part[:, None, None], part.norm()
    prox = program.proxsoftmax.prox_softmax(step, 1)
    options = {} if accelerate else {"solver": _plain}
    splitting = program.deq_model.MONForwardBackwardSplitting(coupling, prox, step, tol, max_iter, **options)
    G, k = layout.layers[0]
    x = torch.tensor(values[:, : G * k], dtype=torch.float32)[:, :, None, None]
    mask = torch.tensor(np.repeat(observed[:, :G], k, axis=1), dtype=torch.float32)[:, :, None, None]

    def solve() -> tuple[NDArray[np.float32], int]:
        with torch.no_grad():
            q = splitting((x,), mask=mask)
        return q.numpy(), splitting.forward_steps

    return solve


def _plain(f: Callable[[Any], Any], q: Any, max_iter: int, tol: float, mask: Any) -> tuple[Any, list[float]]:
    """Iterate a step without acceleration, to the criterion of its own."""
    changes: list[float] = []
    while len(changes) < max_iter and (not changes or changes[-1] >= tol):
        before, q = q, f(q)
        changes.append((q - before).norm().item() / (1e-5 + q.norm().item()))
    return q, changes
