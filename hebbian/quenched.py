r"""One quenched sample of a Hebbian network: its patterns, its energy, its order parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hebbian import validation
from hebbian.interaction import elementary_symmetric, sign_polynomial, tuple_sum

if TYPE_CHECKING:
    from hebbian.network import HebbianNetwork

# Entries of the rows that are held as 64-bit integers at a time.
_BLOCK = 1 << 20


@dataclass(frozen=True, eq=False)
class QuenchedSample:
    r"""The frozen disorder of one network.

    The Hamiltonian of every training is one sum over rows :math:`\eta` of integers,

    .. math:: H(\sigma) = -c \sum_{\rm rows} F(\eta_1\sigma_1, \dots, \eta_N\sigma_N)

    with F the sum over P-tuples of products (or, for the exponential interaction,
    the exponential of `scale` times the sum) and c the `prefactor`.

    Parameters
    ----------
    model : HebbianNetwork
        What was sampled.
    xi : ndarray of int8, shape (K, N)
        Archetypes; 0 where blank.
    rows : ndarray of integers, shape (L, N)
        storing: the archetypes; supervised: sums of the M examples; unsupervised: all examples,
        those of pattern mu in rows mu M .. (mu + 1) M - 1. Times `scale` they have unit variance.
    """

    model: HebbianNetwork
    xi: NDArray[np.int8]
    rows: NDArray[np.signedinteger]

    @property
    def scale(self) -> float:
        r"""Number that turns a row into :math:`\hat\eta`: 1, :math:`1/(M\sqrt R)` or :math:`1/\sqrt R`."""
        if self.model.training == "supervised":
            return 1 / ((self.model.examples or 1) * math.sqrt(self.model.R))
        return 1 / math.sqrt(self.model.R)

    @property
    def weight(self) -> float:
        """Weight of a row in the Hamiltonian: 1/M in unsupervised training, else 1."""
        return 1 / (self.model.examples or 1) if self.model.training == "unsupervised" else 1.0

    @property
    def prefactor(self) -> float:
        r"""The c of the Hamiltonian: weight * scale^P / (2 N^{P-1}), or the weight alone if exponential."""
        if self.model.P is None:
            return self.weight
        return self.weight * self.scale**self.model.P / (2 * float(self.model.N) ** (self.model.P - 1))

    def learned(self, mu: int) -> NDArray[np.float64]:
        r"""Normalised example mean :math:`\hat\eta^\mu` of one pattern, shape (N,); the archetype when storing.

        Parameters
        ----------
        mu : int
            Pattern, 0 <= mu < K.
        """
        integers, unit = self.learned_integers(mu)
        return integers * np.float64(unit)

    def learned_integers(self, mu: int) -> tuple[NDArray[np.int64], float]:
        """Return the sum of the examples of one pattern, shape (N,), and the number that turns it into `learned`.

        Parameters
        ----------
        mu : int
            Pattern, 0 <= mu < K.
        """
        mu = self._pattern(mu)
        if self.model.training == "unsupervised":
            M = self.model.examples or 1
            return self.rows[mu * M : (mu + 1) * M].sum(axis=0, dtype=np.int64), 1 / (M * math.sqrt(self.model.R))
        return self.rows[mu].astype(np.int64), self.scale

    def archetype_overlap(self, sigma: ArrayLike) -> NDArray[np.float64]:
        r"""Mattis magnetisations :math:`m_\mu = (1/N) \sum_i \xi_i^\mu \sigma_i`, shape (K,)."""
        return self._products(self.xi, self._configuration(sigma)) / self.model.N

    def squared_errors(self, sigma: ArrayLike) -> NDArray[np.float64]:
        r"""Squared distances to each archetype and to its reverse, :math:`L_\mu^\pm = \|\xi^\mu \mp \sigma\|^2 / 2N`.

        Parameters
        ----------
        sigma : array_like, shape (N,)
            Spins -1 and +1.

        Returns
        -------
        ndarray, shape (2, K)
            :math:`(1 + \overline{\xi^2})/2 \mp m_\mu`, from 0 (from d/2 in a diluted network) to 2.
        """
        m = self.archetype_overlap(sigma)
        length = (1 + np.count_nonzero(self.xi, axis=1) / self.model.N) / 2
        return np.stack([length - m, length + m])

    def loss(self, sigma: ArrayLike) -> float:
        r"""Sum over archetypes of the squared errors, blind to the sign, :math:`L = \sum_\mu L_\mu^+ L_\mu^-`.

        Parameters as for `squared_errors`. For P = 2 and stored patterns it is the energy, :math:`L = 2H/N + const`
        (arXiv:2308.04106). Where H is made of examples, L is the loss on archetypes that the network never saw.
        """
        return float(np.prod(self.squared_errors(sigma), axis=0).sum())

    def energy(self, sigma: ArrayLike) -> float:
        r"""Energy H of a configuration, by O(L) formulas once the L scalar products are known.

        Parameters
        ----------
        sigma : array_like, shape (N,)
            Spins -1 and +1.

        Returns
        -------
        float
            H, extensive; -inf where the exponential interaction exceeds 1.8e308, see `log_energy`.
        """
        sigma = self._configuration(sigma)
        if self.model.P is None:
            log_energy = self.log_energy(sigma)
            return -math.exp(log_energy) if log_energy < math.log(np.finfo(float).max) else -math.inf
        if self.model.interaction == "all":
            products = self._products(self.rows, sigma).astype(np.float64)
            return -self.prefactor * float(np.sum(products**self.model.P))
        if self.model.has_sign_rows:
            values, counts = np.unique(self._products(self.rows, sigma), return_counts=True)
            total = counts @ sign_polynomial(values, self.model.N, self.model.P, "distinct")
            return -self.prefactor * float(total)
        symmetric = elementary_symmetric(sigma.astype(np.float64) * self.rows, self.model.P)[-1]
        return -self.prefactor * math.factorial(self.model.P) * float(symmetric.sum())

    def log_energy(self, sigma: ArrayLike) -> float:
        r"""Return :math:`\ln(-H)` of the exponential interaction, finite at every N; raises ValueError for another."""
        if self.model.P is not None:
            raise ValueError(f"interaction = {self.model.interaction!r} has no log_energy; allowed: 'exponential'")
        exponents = self.scale * self._products(self.rows, self._configuration(sigma))
        peak = exponents.max()
        return float(math.log(self.weight) + peak + math.log(np.exp(exponents - peak).sum()))

    def energy_by_tuples(self, sigma: ArrayLike) -> float:
        """Energy H by the literal sum over tuples of sites, :math:`O(L N^P)`: a check of `energy`."""
        sigma = self._configuration(sigma)
        y = self.rows * sigma.astype(np.float64)
        if self.model.P is None:
            return -self.weight * math.fsum(math.exp(self.scale * math.fsum(row)) for row in y)
        return -self.prefactor * math.fsum(tuple_sum(row, self.model.P, self.model.interaction) for row in y)

    def _configuration(self, sigma: ArrayLike) -> NDArray[np.int8]:
        return validation.signs("sigma", sigma, (self.model.N,))

    def _pattern(self, mu: int) -> int:
        mu = validation.integer("mu", mu, minimum=0)
        if mu >= len(self.xi):
            raise ValueError(f"mu = {mu} is out of range; allowed: 0 <= mu < K = {len(self.xi)}")
        return mu

    def _products(self, rows: NDArray[np.signedinteger], sigma: NDArray[np.int8]) -> NDArray[np.int64]:
        # In blocks of sites: an int8 matrix product would overflow, a wider copy of all rows fill the memory.
        total = np.zeros(len(rows), dtype=np.int64)
        step = max(1, _BLOCK // len(rows))
        for start in range(0, sigma.size, step):
            sites = slice(start, start + step)
            total += sigma[sites].astype(np.int64) @ rows.T[sites].astype(np.int64)
        return total
