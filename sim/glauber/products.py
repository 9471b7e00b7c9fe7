"""Chains on a GPU by products of matrices: the fields of a block of sites of all chains at once.

For P = 2 a field is a scalar product of a row with S, and a flip changes S by a multiple of the row. So the fields of a
block of sites are a product of matrices; a flip inside the block changes later fields of the block by scalar products
of rows with each other; and the flips of the block change S by another product. All of it in integers: the law, and the
spins, of the sequential dynamics. Synchronous updates need no corrections, and exist for every function A of S.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.glauber import cuda, gpu, kernels, states
from sim.glauber.chains import upload_chains
from sim.glauber.device import Device

_THREADS = 128


class Blocks:
    """A thread a chain, between products of matrices; see `sim.glauber.gpu.Engine`.

    Parameters
    ----------
    problem : Problem
        What is simulated.
    samples : slice
        Which samples.
    width : int
        Temperatures side by side.
    found : Device
        Card.
    block : int
        Sites of a block, even.
    """

    def __init__(
        self, problem: "gpu.Problem", samples: slice, width: int, found: Device, block: int = gpu.BLOCK
    ) -> None:
        chosen, xp, shared = problem.samples[samples], found.xp, found.shared_with_kernels
        n, C, N = len(chosen), width * problem.replicas, problem.model.N
        self._problem, self._found, self._block = problem, found, block
        hosts = [states.make(sample, "rows", 1) for sample in chosen]
        self._pairs = isinstance(hosts[0], kernels.PairRows)
        self._prefactor, self._tables = hosts[0].prefactor, ()
        squares = np.zeros((n, N))
        if self._pairs:
            squares[:] = [host.squares for host in hosts]
            self._diagonal = xp.asarray(np.array([[host.diagonal] for host in hosts]))
        else:
            self._tables = tuple(xp.asarray(getattr(hosts[0], f"table_{name}"), np.float64) for name in "ABF")
        real = gpu.exact_type(chosen[0], self._pairs)
        # Rows in blocks, the last one filled up with blanks, on which nothing depends: (samples, block, L).
        self._rows = [self._cut(hosts, start, real) for start in range(0, N, block)]
        self._gram = [shared(xp.matmul(rows, rows.transpose(0, 2, 1))) for rows in self._rows]
        L = self._rows[0].shape[2]
        self._S, self._fields, self._change = (xp.zeros((n, size, C), real) for size in (L, block, block))
        self._sigma = xp.empty((n, N, C), np.int8)
        self._squares, self._accepted = shared(xp.asarray(squares)), xp.zeros(n * C, np.int32)
        self._sums_B = xp.zeros((n, C))
        self._probes = shared(xp.asarray(problem.probes[samples]))
        self._sample = np.repeat(np.arange(n, dtype=np.int32), C)
        self._replica = np.tile(np.arange(problem.replicas, dtype=np.uint32), n * width)
        self._keys = problem.keys[samples]
        self._chains: Any = None
        # A thread takes several chains where there are fewer threads: in the simulator, to which they are dear.
        self._grid = (2, 1) if found.simulated else (-(-n * C // _THREADS), _THREADS)

    def begin(self, spins: NDArray[np.int8] | None, beta: NDArray[np.float64], words: NDArray[np.uint32]) -> None:
        """See `sim.glauber.gpu.Engine`."""
        if spins is not None:
            n, N, C = self._sigma.shape
            self._sigma[...] = self._found.xp.asarray(spins).reshape(n, C, N).transpose(0, 2, 1)
        self._chains = upload_chains(self._sample, beta, words, self._replica, self._keys, self._found)

    def advance(self, first: int, sweeps: int, anew: bool, measured: bool) -> tuple[Any, Any]:
        """See `sim.glauber.gpu.Engine`."""
        xp, shared = self._found.xp, self._found.shared_with_kernels
        n, N, C = self._sigma.shape
        record = xp.empty((sweeps if measured else 0, 4, n * C))
        trail = xp.empty((sweeps if measured and self._problem.trails else 0, n * C, N), np.int8)
        if anew:
            self._build()
        for sweep in range(sweeps):
            self._accepted[...] = 0
            self._sweep(first + sweep)
            if measured:
                self._found.launched(cuda.overlaps, *self._grid)(
                    shared(self._sigma), self._probes, shared(record), sweep
                )
                record[sweep, 2] = self._energy().ravel()
                record[sweep, 3] = self._accepted / N
            if len(trail):
                trail[sweep] = self._sigma.transpose(0, 2, 1).reshape(n * C, N)
        return record, trail

    def _cut(self, hosts: list[Any], start: int, real: type[np.floating[Any]]) -> Any:
        L = hosts[0].rows.shape[1]
        rows = np.zeros((len(hosts), self._block, L), real)
        for k, host in enumerate(hosts):
            part = host.rows[start : start + self._block]
            rows[k, : len(part)] = part
        return self._found.xp.asarray(rows)

    def _build(self) -> None:
        """Compute S from the spins."""
        self._S[...] = 0
        for number, rows in enumerate(self._rows):
            spins = self._sigma[:, number * self._block : (number + 1) * self._block]
            self._S += self._found.xp.matmul(rows[:, : spins.shape[1]].transpose(0, 2, 1), spins.astype(rows.dtype))

    def _sweep(self, sweep: int) -> None:
        xp, shared, N = self._found.xp, self._found.shared_with_kernels, self._sigma.shape[1]
        ordered = self._problem.scan == "ordered"
        factors = self._S if self._pairs else self._function(0)
        if not self._pairs:
            self._sums_B[...] = self._function(1).sum(axis=1)
        # Synchronous updates see the S of before the sweep.
        S = self._S if ordered else self._S.copy()
        scale = 4.0 * self._prefactor if self._pairs else self._prefactor
        arguments = shared(self._sigma), shared(self._change), self._chains, self._problem.rule, sweep
        for number, rows in enumerate(self._rows):
            xp.matmul(rows, factors, out=self._fields)
            start = number * self._block
            self._found.launched(cuda.settle, *self._grid)(
                shared(self._fields),
                self._gram[number],
                self._squares,
                shared(self._sums_B),
                *arguments,
                start,
                min(self._block, N - start),
                scale,
                ordered,
                shared(self._accepted),
            )
            S += xp.matmul(rows.transpose(0, 2, 1), self._change)
        self._S = S

    def _function(self, which: int) -> Any:
        """Return a tabulated function of all S."""
        return self._tables[which][self._S.astype(np.int64) + self._sigma.shape[1]]

    def _energy(self) -> Any:
        if self._pairs:
            return -self._prefactor * ((self._S.astype(np.float64) ** 2).sum(axis=1) - self._diagonal)
        return -self._prefactor * self._function(2).sum(axis=1)
