"""Public samplers of pairwise networks at one temperature: what they need before, and their sweeps."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Peer:
    """A sampler that was given couplings.

    Parameters
    ----------
    sweeps : callable
        Does a number of sweeps from `spins` and returns the spins (N,) at the end.
    setup : float
        Seconds that the couplings took to be taken over.
    every_call : bool
        Whether a call takes the couplings over again, so that a sweep is known by a difference of two calls.
    """

    sweeps: Callable[[int], NDArray[np.int8]]
    setup: float
    every_call: bool


def dwave(J: NDArray[np.float64], T: float, spins: NDArray[np.int8], rule: str, seed: int = 1) -> Peer:
    """Return SimulatedAnnealingSampler of dwave-samplers at one inverse temperature, sites in order.

    `rule` is its proposal_acceptance_criteria, "Gibbs" (heat bath) or "Metropolis". All couplings of a
    BinaryQuadraticModel are real numbers of double precision; its local fields are kept up to date.
    """
    import dimod
    from dwave.samplers import SimulatedAnnealingSampler

    start, N = time.perf_counter(), len(J)
    i, j = np.triu_indices(N, 1)
    network = dimod.BinaryQuadraticModel.from_numpy_vectors(np.zeros(N), (i, j, -J[i, j]), 0.0, dimod.SPIN)
    sampler, labels = SimulatedAnnealingSampler(), list(range(N))

    def sweeps(number: int) -> NDArray[np.int8]:
        # The initial state is overwritten.
        result = sampler.sample(
            network,
            beta_schedule_type="custom",
            beta_schedule=[1 / T],
            num_sweeps_per_beta=number,
            num_reads=1,
            initial_states=(spins[None].copy(), labels),
            proposal_acceptance_criteria=rule,
            seed=seed,
        )
        return result.record.sample[0]

    sweeps(1)
    return Peer(sweeps, time.perf_counter() - start, True)


def openjij(J: NDArray[np.float64], T: float, spins: NDArray[np.int8], seed: int = 1) -> Peer:
    """Return the dense Ising system of OpenJij with its single-spin flips, Metropolis, sites in order."""
    from openjij import cxxjij

    start, N = time.perf_counter(), len(J)
    # Its last row and column belong to local fields.
    matrix = np.zeros((N + 1, N + 1))
    matrix[:N, :N], matrix[N, N] = -J, 1.0
    graph = cxxjij.graph.Dense(N)
    graph.set_interaction_matrix(matrix)
    initial = spins.tolist()
    system = cxxjij.system.make_classical_ising(initial, graph)

    def sweeps(number: int) -> NDArray[np.int8]:
        cxxjij.algorithm.Algorithm_SingleSpinFlip_run(system, seed, [(1 / T, number)])
        return np.array(cxxjij.result.get_solution(system)[:N], np.int8)

    return Peer(sweeps, time.perf_counter() - start, False)


def thrml(J: NDArray[np.float64], T: float, spins: NDArray[np.int8], number: int) -> Peer:
    """Return block Gibbs sampling of thrml: coupled spins exclude each other from a block, so each is one of its own.

    What is compiled holds for one number of sweeps.
    """
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    import jax
    from thrml import Block, SamplingSchedule, SpinNode, sample_states
    from thrml.models.ising import IsingEBM, IsingSamplingProgram

    start, N = time.perf_counter(), len(J)
    nodes = [SpinNode() for _ in range(N)]
    i, j = np.triu_indices(N, 1)
    edges = [(nodes[a], nodes[b]) for a, b in zip(i, j, strict=True)]
    numbers = jax.numpy.zeros(N), jax.numpy.array(J[i, j]), jax.numpy.array(1 / T)
    network = IsingEBM(nodes, edges, *numbers)
    program = IsingSamplingProgram(network, [Block([node]) for node in nodes], [])
    initial = [jax.numpy.array([spin > 0]) for spin in spins]
    schedule = SamplingSchedule(n_warmup=number - 1, n_samples=1, steps_per_sample=1)
    compiled = jax.jit(lambda key: sample_states(key, program, schedule, initial, [], [Block(nodes)]))

    def sweeps(_: int) -> NDArray[np.int8]:
        ends = jax.block_until_ready(compiled(jax.random.key(1)))
        return 2 * np.asarray(ends[0][-1], np.int8) - 1

    sweeps(number)
    return Peer(sweeps, time.perf_counter() - start, False)
