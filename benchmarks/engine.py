"""Our engine and the loops that anyone writes first, as functions of no arguments that can be timed."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hebbian import HebbianNetwork, QuenchedSample
from hebbian.interaction import sign_polynomial
from sim import random
from sim.glauber import front, kernels, states


@dataclass(frozen=True)
class Chain:
    """One temperature of a sample: `run` does some sweeps, `spins` (replicas, N) and `record` are what it left."""

    run: Callable[[], object]
    spins: NDArray[np.int8]
    record: NDArray[np.float64]
    algorithm: str

    @property
    def acceptance(self) -> float:
        """Fraction of the updates of the last run that were flips."""
        return float(self.record[:, 3].mean())


def quench(model: HebbianNetwork) -> QuenchedSample:
    """Return a sample of a model."""
    return model.quench(rng=random.stream(1, (0,), "patterns"))


def chain(
    sample: QuenchedSample,
    T: float,
    algorithm: str = "auto",
    sweeps: int = 100,
    spins: NDArray[np.int8] | None = None,
    replicas: int = 1,
) -> Chain:
    """Prepare sweeps of the ordered heat bath from some spins, or the pattern; "auto" is for 100,000 sweeps."""
    N, temperature = sample.model.N, np.array([T])
    algorithm = states.choose(sample, algorithm, 1e5 * N * replicas, temperature, "ordered")
    sigma = np.empty((replicas, N), np.int8)
    sigma[:] = sample.xi[0] if spins is None else spins
    state = states.make(sample, algorithm, replicas)
    kernels.build(state, sigma)
    key = np.array(random.kernel_key(1, (0,), "dynamics"))
    record, q = np.empty((sweeps, 4, replicas)), np.empty((sweeps, 1, replicas * (replicas - 1) // 2))
    kept = (np.empty((0, 0), np.int8), np.empty((replicas, 0), np.int64), np.empty((0, replicas, N), np.int8))
    arguments = (kernels.GLAUBER, kernels.ORDERED, 0, key, *front.probe(sample, 0), record, q, *kept)
    chains = front.of_temperatures(temperature, replicas)
    return Chain(lambda: kernels.run(state, sigma, chains, *arguments), sigma, record, algorithm)


def settled(sample: QuenchedSample, T: float, sweeps: int = 200) -> NDArray[np.int8]:
    """Return spins (N,) after some sweeps from the pattern: where all programs that are compared begin."""
    begun = chain(sample, T, sweeps=sweeps)
    begun.run()
    return begun.spins[0].copy()


def couplings(sample: QuenchedSample) -> NDArray[np.float64]:
    r"""Return J of a network with P = 2, :math:`H = -\frac12 \sum_{i \ne j} J_{ij} \sigma_i \sigma_j`."""
    rows = sample.rows.astype(float) * sample.scale
    J = rows.T @ rows * (sample.weight / sample.model.N)
    np.fill_diagonal(J, 0.0)
    return J


def numpy_couplings(sample: QuenchedSample, T: float, spins: NDArray[np.int8]) -> Callable[[], None]:
    """Return a plain NumPy heat-bath sweep with the coupling matrix, one dot product a spin."""
    J, s, rng = couplings(sample), spins.astype(float), np.random.default_rng(1)

    def sweep() -> None:
        uniforms = rng.random(len(s))
        for i in range(len(s)):
            s[i] = 1.0 if uniforms[i] < 1 / (1 + math.exp(-2 * (J[i] @ s) / T)) else -1.0

    return sweep


def torch_couplings(sample: QuenchedSample, T: float, spins: NDArray[np.int8]) -> Callable[[], None]:
    """Return the same sweep in PyTorch, on one thread, in single precision."""
    import torch

    torch.set_num_threads(1)
    J, s = torch.as_tensor(couplings(sample), dtype=torch.float32), torch.as_tensor(spins).float()

    def sweep() -> None:
        thresholds = T / 2 * torch.logit(torch.rand(len(s)))
        for i in range(len(s)):
            s[i] = 1.0 if thresholds[i] < torch.dot(J[i], s) else -1.0

    return sweep


def numpy_rows(sample: QuenchedSample, T: float) -> Callable[[], None]:
    r"""Return a plain NumPy heat-bath sweep of rows of signs, one dot product of a row a spin.

    Where y of a row turns to -y, F(S) falls by :math:`y A(S) - B(S)`; A and B are tabulated.
    """
    N, P = sample.model.N, sample.model.order
    F = sign_polynomial(np.arange(-N - 2, N + 3), N, P, sample.model.interaction)
    table_A, table_B = (F[4:] - F[:-4]) / 2, (F[4:] + F[:-4]) / 2 - F[2:-2]
    entries = np.ascontiguousarray(sample.rows.T)
    rows, spins, rng = entries.astype(float), sample.xi[0].copy(), np.random.default_rng(1)
    S = entries.T @ spins.astype(np.int32)

    def sweep() -> None:
        A, B = table_A[S + N], table_B[S + N].sum()
        uniforms = rng.random(N)
        for i in range(N):
            cost = sample.prefactor * (spins[i] * (rows[i] @ A) - B)
            if uniforms[i] < 1 / (1 + math.exp(min(cost / T, 700.0))):
                S[...] -= 2 * spins[i] * entries[i]
                spins[i] *= -1
                A, B = table_A[S + N], table_B[S + N].sum()

    return sweep
