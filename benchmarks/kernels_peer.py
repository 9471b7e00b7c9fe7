"""neural-tangents in an environment of its own, `make .venv-kernels/.installed`: it needs an old JAX and TensorFlow.

This file is both ends of a pipe: `Peer` is the one here, `serve` the one there, which imports nothing of ours.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

PYTHON = Path(".venv-kernels/bin/python")


def inputs(N: int, d: int, kind: str) -> np.ndarray:
    """Return the inputs of both programs."""
    return np.random.default_rng(0).normal(size=(N, d)).astype(kind)


class Peer:
    """Process of neural-tangents that waits for what to compute."""

    def __init__(self) -> None:
        command = [str(PYTHON.absolute()), __file__]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def kernels(self, **problem: Any) -> float:
        """Compute both kernels: N, d, depth, kind, and `path`, where to save them; return seconds of processor."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(problem) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the process of neural-tangents has ended")
        return float(answer)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def serve() -> None:
    """Answer requests, a line each, until there are no more."""
    import time
    from functools import cache

    import jax

    jax.config.update("jax_enable_x64", True)
    from neural_tangents import stax

    @cache
    def compiled(depth: int) -> Any:
        layers = [stax.Dense(1, W_std=2**0.5)]
        for _ in range(depth):
            layers += [stax.Relu(), stax.Dense(1, W_std=2**0.5)]
        kernel = stax.serial(*layers)[2]
        return jax.jit(lambda X: kernel(X, None, ("nngp", "ntk")))

    @cache
    def placed(N: int, d: int, kind: str) -> Any:
        return jax.numpy.asarray(inputs(N, d, kind))

    for line in sys.stdin:
        problem = json.loads(line)
        path = problem.pop("path", None)
        function, X = compiled(problem.pop("depth")), placed(**problem)
        start = time.process_time()
        found = jax.block_until_ready(function(X))
        seconds = time.process_time() - start
        if path is not None:
            np.save(path, np.stack([found.nngp, found.ntk]))
        print(seconds, flush=True)


if __name__ == "__main__":
    serve()
