"""Chains on a GPU by the kernels of `sim.glauber.cuda`: states of several samples, and their launches."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hebbian import QuenchedSample
from sim.glauber import cuda, gpu, kernels, states
from sim.glauber.device import Device

SCANS = {"ordered": kernels.ORDERED, "random": kernels.RANDOM, "synchronous": kernels.SYNCHRONOUS}


class Rows:
    """A block of threads a chain; see `sim.glauber.gpu.Engine`.

    Parameters
    ----------
    problem : Problem
        What is simulated.
    samples : slice
        Which samples.
    width : int
        Temperatures side by side.
    algorithm : {"rows", "fields"}
        How fields are computed.
    found : Device
        Card.
    """

    def __init__(self, problem: "gpu.Problem", samples: slice, width: int, algorithm: str, found: Device) -> None:
        chosen, R, N = problem.samples[samples], problem.replicas, problem.model.N
        number = len(chosen) * width * R
        self._problem, self._found = problem, found
        state = _upload([states.make(sample, algorithm, 1) for sample in chosen], number, found)
        self._threads = threads(chosen[0], found)
        self._kernel = cuda.sweeper(state, self._threads)
        self._shared = cuda.shared_memory(state)
        shared = found.shared_with_kernels
        self._state = on_card(state, found)
        self._sigma = found.xp.empty((number, N), np.int8)
        self._chosen = found.xp.empty((number if problem.scan == "synchronous" else 0, N), np.int8)
        self._probes = shared(found.xp.asarray(problem.probes[samples]))
        self._sample = np.repeat(np.arange(len(chosen), dtype=np.int32), width * R)
        self._replica = np.tile(np.arange(R, dtype=np.uint32), len(chosen) * width)
        self._keys = problem.keys[samples]
        self._chains: Any = None

    def begin(self, spins: NDArray[np.int8] | None, beta: NDArray[np.float64], words: NDArray[np.uint32]) -> None:
        """See `sim.glauber.gpu.Engine`."""
        if spins is not None:
            self._sigma[...] = self._found.xp.asarray(spins)
        self._chains = upload_chains(self._sample, beta, words, self._replica, self._keys, self._found)

    def advance(self, first: int, sweeps: int, anew: bool, measured: bool) -> tuple[Any, Any]:
        """See `sim.glauber.gpu.Engine`."""
        xp, shared = self._found.xp, self._found.shared_with_kernels
        number, N = self._sigma.shape
        record = xp.empty((sweeps if measured else 0, 4, number))
        trail = xp.empty((sweeps if measured and self._problem.trails else 0, number, N), np.int8)
        self._found.launched(self._kernel, number, self._threads, self._shared)(
            self._state,
            shared(self._sigma),
            self._chains,
            self._problem.rule,
            SCANS[self._problem.scan],
            first,
            sweeps,
            anew,
            self._shared > 0,
            shared(self._chosen),
            self._probes,
            shared(record),
            shared(trail),
        )
        return record, trail


def flip_energies(
    sample: QuenchedSample, spins: NDArray[np.int8], algorithm: str, found: Device
) -> tuple[NDArray[np.float64], float]:
    """Return the energy that each single flip of some spins costs, and its unit, as `kernels.flip_energies`."""
    state = _upload([states.make(sample, algorithm, 1)], 1, found)
    width = threads(sample, found)
    xp, shared = found.xp, found.shared_with_kernels
    costs, units, local = xp.empty((1, len(spins))), xp.empty(1), cuda.shared_memory(state)
    one = np.zeros(1, np.uint32)
    chains = upload_chains(one.astype(np.int32), one.astype(np.float64), one, one, np.zeros((1, 2), np.uint32), found)
    launch = found.launched(cuda.coster(state, width), 1, width, local)
    launch(on_card(state, found), shared(xp.asarray(spins[None])), chains, local > 0, shared(costs), shared(units))
    return found.to_host(costs)[0], float(found.to_host(units)[0])


def threads(sample: QuenchedSample, found: Device) -> int:
    """Return the threads of the block of a chain; those of the simulator are slow."""
    return 2 if found.simulated else gpu.threads(sample.rows.shape[0])


def on_card(state: Any, found: Device) -> Any:
    """Return a state as a kernel takes it."""
    parts = (found.shared_with_kernels(part) if isinstance(part, found.xp.ndarray) else part for part in state)
    return state.__class__(*parts)


def upload_chains(
    sample: NDArray[np.int32],
    beta: NDArray[np.float64],
    words: NDArray[np.uint32],
    replica: NDArray[np.uint32],
    keys: NDArray[np.uint32],
    found: Device,
) -> cuda.Chains:
    """Return what distinguishes chains, on the card."""
    return cuda.Chains(
        *(found.shared_with_kernels(found.xp.asarray(part)) for part in (sample, beta, words, replica, keys))
    )


def _upload(hosts: list[Any], number: int, found: Device) -> Any:
    """Return the state of so many chains on the card, of the states of their samples with one replica each."""
    host, xp = hosts[0], found.xp

    def stacked(name: str) -> Any:
        parts = [getattr(host, name) for host in hosts]
        # One after the other: not all of them a second time in the memory of the host.
        stack = xp.empty((len(parts), *parts[0].shape), np.result_type(*parts))
        for k, part in enumerate(parts):
            stack[k] = xp.asarray(part)
        return stack

    def scalars(name: str) -> Any:
        return xp.asarray(np.array([float(getattr(host, name)) for host in hosts]))

    if isinstance(host, kernels.CachedFields):
        kind = np.result_type(*(host.fields for host in hosts))
        fields = xp.zeros((number, host.fields.shape[1]), kind)
        return cuda.CachedFields(stacked("couplings"), fields, host.prefactor, scalars("diagonal"))
    rows = stacked("rows")
    L = rows.shape[2]
    if isinstance(host, kernels.PairRows):
        S = xp.zeros((number, L), np.int32)
        return cuda.PairRows(rows, S, stacked("squares"), host.prefactor, scalars("diagonal"))
    if isinstance(host, kernels.SignRows):
        S, A, B = xp.zeros((number, L), np.int32), xp.zeros((number, L), host.A.dtype), xp.zeros(number)
        of_A, of_B, of_F = (xp.asarray(table) for table in (host.table_A, host.table_B, host.table_F))
        return cuda.SignRows(rows, S, A, B, of_A, of_B, of_F, host.prefactor)
    if isinstance(host, kernels.SymmetricRows):
        return cuda.SymmetricRows(rows, xp.zeros((number, *host.e.shape[1:])), host.prefactor)
    if isinstance(host, kernels.PowerRows):
        return cuda.PowerRows(rows, xp.zeros((number, L)), len(host.orders), host.prefactor)
    S, weights, peak = xp.zeros((number, L), np.int32), xp.zeros((number, L)), xp.zeros(number)
    # The longest table has the entries of the others, at the same distance from its middle.
    drop = xp.asarray(max((host.drop for host in hosts), key=len))
    return cuda.ExponentRows(rows, S, weights, peak, drop, host.scale, host.prefactor)
