r"""Dense Hebbian (P-spin Hopfield) networks: the description of the model."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from hebbian import patterns, validation
from hebbian.interaction import INTERACTIONS
from hebbian.quenched import QuenchedSample

TRAININGS = ("storing", "supervised", "unsupervised")


@dataclass(frozen=True, kw_only=True)
class DenseHebbian:
    r"""Network of N spins that stores or learns K patterns by a P-body Hebbian rule.

    .. math::
        H(\sigma) = -\frac{1}{2 N^{P-1}} \sum_\mu \sum_{i_1 \dots i_P}
        \hat\eta_{i_1}^\mu \sigma_{i_1} \cdots \hat\eta_{i_P}^\mu \sigma_{i_P}

    in units where :math:`k_B = 1` (``P = 2``: the Hopfield model, zero diagonal, critical
    temperature 1 at zero load). The field of a pure state is :math:`(P/2)\,\xi_i m^{P-1}`.

    Parameters
    ----------
    N : int
        Number of spins, at least P.
    P : int or None
        Order of the interaction, at least 2; None for ``interaction="exponential"``.
    load : float, optional
        gamma > 0 in :math:`K = \gamma (2/P!) N^{P-1}` (``P = 2``: :math:`K = \alpha N`); for the
        exponential interaction :math:`\alpha = \ln K / N \ge 0`. K is rounded, to at least 1.
    K : int, optional
        Number of patterns. Give `load` or `K`, or neither for a template whose load is a grid axis.
    training : {"storing", "supervised", "unsupervised"}
        ``storing``: :math:`\hat\eta = \xi`. ``supervised``: the mean of the M examples over
        :math:`\sqrt R`. ``unsupervised``: the sum runs over all examples
        :math:`\eta^{\mu,a}/\sqrt R` and the whole is divided by M.
        With :math:`R = r^2 + (1-r^2)/M`, so that :math:`E[\hat\eta^2] = 1`; another
        normaliser :math:`\Lambda` of the products in place of :math:`R^{P/2}` is the same
        network at the temperature :math:`T \Lambda / R^{P/2}`.
    quality : float, optional
        r in (0, 1], :math:`P(\eta = \pm\xi) = (1 \pm r)/2`; only, and always, with examples.
    examples : int, optional
        M >= 1, examples per pattern; only, and always, when learning from examples.
    interaction : {"distinct", "all", "exponential"}
        ``distinct``: all indices of a tuple differ (the model of the replica theory).
        ``all``: all tuples, :math:`H = -(N/2)\sum_\mu n_\mu^P` (Krotov and Hopfield 2016);
        another model for P > 2 at :math:`K \sim N^{P-1}`. ``exponential``:
        :math:`H = -\sum_\mu \exp(\sum_i \hat\eta_i^\mu\sigma_i)` (Demircigil et al. 2017).

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, is out of range, or contradicts another; if
        :math:`(N M)^P` exceeds 1e300.

    References
    ----------
    Gardner, J. Phys. A 20, 3453 (1987); Albanese et al., J. Stat. Phys. 189, 24 (2022),
    arXiv:2111.12997; learning: arXiv:2212.00606 (unsupervised), arXiv:2211.14067 (supervised).

    Examples
    --------
    >>> model = DenseHebbian(N=100, P=4, load=0.12)
    >>> model.K
    10000
    >>> model.replace(load=0.24).K
    20000
    """

    N: int
    P: int | None = 2
    load: float | None = None
    K: int | None = None
    training: str = "storing"
    quality: float | None = None
    examples: int | None = None
    interaction: str = "distinct"

    def __post_init__(self) -> None:
        """Validate, and fill in whichever of `load` and `K` was left out."""

        def fix(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        validation.choice("interaction", self.interaction, INTERACTIONS)
        validation.choice("training", self.training, TRAININGS)
        if self.interaction == "exponential":
            if self.P is not None:
                raise ValueError(f"P = {self.P!r} has no meaning for interaction='exponential'; allowed: P=None")
            fix("N", validation.integer("N", self.N, minimum=2))
        else:
            fix("P", validation.integer("P", self.P, minimum=2))
            fix("N", validation.integer("N", self.N, minimum=2))
            if self.order > self.N:
                raise ValueError(f"N = {self.N} is out of range; allowed: integers >= P = {self.P}")
        if self.training == "storing":
            for name in ("quality", "examples"):
                if getattr(self, name) is not None:
                    raise ValueError(
                        f"{name} = {getattr(self, name)!r} has no meaning for training='storing'; "
                        "allowed: leave it out, or training='supervised' or 'unsupervised'"
                    )
        else:
            fix("quality", validation.real("quality", self.quality, above=0.0, maximum=1.0))
            fix("examples", validation.integer("examples", self.examples, minimum=1))
        if self.P is not None and self.P * math.log10(self.N * (self.examples or 1)) > 300:
            raise ValueError(
                f"P = {self.P} is out of range at N = {self.N}, M = {self.examples or 1}; "
                "allowed: (N M)^P <= 1e300, so that energies are finite numbers"
            )
        if self.load is not None:
            # One pattern of the exponential interaction is the load 0.
            allowed = {"minimum": 0.0} if self.P is None else {"above": 0.0}
            fix("load", validation.real("load", self.load, **allowed))
            count = self._pattern_number(self.load)
            if self.K is not None and count != self.K:
                raise ValueError(f"load = {self.load} means K = {count}, not K = {self.K}; give one of the two")
            fix("K", count)
        elif self.K is not None:
            fix("K", validation.integer("K", self.K, minimum=1))
            fix("load", self._load(self.K))

    @property
    def order(self) -> int:
        """Order P of a polynomial interaction; raises for the exponential one, which has none."""
        if self.P is None:
            raise ValueError("interaction = 'exponential' has no order P; allowed: 'distinct' or 'all'")
        return self.P

    @property
    def R(self) -> float:
        r"""Second moment of the example mean, :math:`R = r^2 + (1-r^2)/M`; 1 when storing."""
        if self.quality is None or self.examples is None:
            return 1.0
        return self.quality**2 + (1 - self.quality**2) / self.examples

    @property
    def rho(self) -> float:
        r"""Data-set entropy :math:`\rho = (1-r^2)/(M r^2)`; 0 when storing."""
        if self.quality is None or self.examples is None:
            return 0.0
        return (1 - self.quality**2) / (self.examples * self.quality**2)

    def replace(self, **changes: Any) -> Self:
        """Return the model with some parameters changed.

        A new `load` or `K` takes the place of both; if N or P changes and neither is given, the load stays.
        """
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields["K"] = None
        if changes.get("K") is not None and "load" not in changes:
            fields["load"] = None
        return type(self)(**(fields | changes))

    def memory(self) -> float:
        """Bytes of the arrays of one quenched sample; its simulation adds those of `sim.glauber.states.memory`."""
        archetypes = float(self._counted()) * self.N
        if self.training == "storing":
            return archetypes
        if self.training == "supervised":
            return archetypes * (1 + np.min_scalar_type(-(self.examples or 1) - 1).itemsize)
        return archetypes * (1 + (self.examples or 1))

    def quench(
        self,
        *,
        rng: np.random.Generator,
        archetypes: ArrayLike | None = None,
        examples: ArrayLike | None = None,
    ) -> QuenchedSample:
        r"""Draw one quenched sample: the archetypes and what the network learned of them.

        Parameters
        ----------
        rng : numpy.random.Generator
            Source of random numbers.
        archetypes : array_like, shape (K, N), optional
            Patterns of -1 and +1 to use instead of Rademacher ones.
        examples : array_like, shape (K, M, N), optional
            Examples of -1 and +1 to use instead of drawn ones; for training from examples, and
            only together with the `archetypes` they belong to.
            The normaliser stays that of the model's `quality`.

        Returns
        -------
        QuenchedSample

        Raises
        ------
        ValueError, TypeError
            If the load is not set, `rng` is not a generator, or an array has another shape or other entries.
        MemoryError
            If the sample does not fit, with the estimate.
        """
        K = self._counted()
        validation.generator("rng", rng)
        if examples is not None and self.training == "storing":
            raise ValueError("examples were given but training = 'storing' uses none; allowed: leave them out")
        if examples is not None and archetypes is None:
            raise ValueError("examples were given without archetypes; allowed: give the archetypes they belong to")
        validation.memory(f"a quenched sample of N = {self.N}, K = {K}", self.memory())
        if archetypes is None:
            xi = patterns.archetypes(K, self.N, rng=rng)
        else:
            # Sites slowest in memory, see hebbian.patterns.
            xi = np.ascontiguousarray(validation.signs("archetypes", archetypes, (K, self.N)).T).T
        if self.training == "storing":
            return QuenchedSample(self, xi, xi)
        quality, M = self.quality or 1.0, self.examples or 1
        if examples is not None:
            given = validation.signs("examples", examples, (K, M, self.N))
            if self.training == "supervised":
                sums = given.sum(axis=1, dtype=np.min_scalar_type(-M - 1))
                return QuenchedSample(self, xi, np.ascontiguousarray(sums.T).T)
            return QuenchedSample(self, xi, np.ascontiguousarray(given.reshape(K * M, self.N).T).T)
        if self.training == "supervised":
            return QuenchedSample(self, xi, patterns.example_sum(xi, quality, M, rng=rng))
        rows = patterns.examples(xi, quality, M, rng=rng).transpose(2, 0, 1).reshape(self.N, K * M)
        return QuenchedSample(self, xi, rows.T)

    def _counted(self) -> int:
        if self.K is None:
            raise ValueError("neither load nor K of the model is set; allowed: load > 0 or K >= 1")
        return self.K

    def _pattern_number(self, load: float) -> int:
        if self.P is None:
            exponent = load * self.N
        else:
            exponent = math.log(2 * load) + (self.P - 1) * math.log(self.N) - math.lgamma(self.P + 1)
        if exponent > 62 * math.log(2):
            raise ValueError(f"load = {load} at N = {self.N} means K = exp({exponent:.4g}) patterns; allowed: K < 2^62")
        if self.P is None:
            return max(1, round(math.exp(exponent)))
        return max(1, round(load * 2 * self.N ** (self.P - 1) / math.factorial(self.P)))

    def _load(self, K: int) -> float:
        if self.P is None:
            return math.log(K) / self.N
        return K * math.factorial(self.P) / (2 * self.N ** (self.P - 1))
