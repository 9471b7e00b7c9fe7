r"""What all Hebbian networks share: load, training from examples, quenched samples."""

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hebbian import patterns, validation
from hebbian.quenched import QuenchedSample

TRAININGS = ("storing", "supervised", "unsupervised")
LARGEST_K = 2**62 - 1


@dataclass(frozen=True, kw_only=True)
class HebbianNetwork(ABC):
    r"""Network of N spins that stores K patterns or learns them from noisy examples; see its subclasses.

    Parameters
    ----------
    N : int
        Number of spins.
    load : float, optional
        Number of patterns in the units of the subclass.
    K : int, optional
        Number of patterns. Give `load` or `K`, or neither for a template whose load is a grid axis.
    training : {"storing", "supervised", "unsupervised"}
        How the rows of the Hamiltonian come from the archetypes.
    quality : float, optional
        r in (0, 1], :math:`P(\eta = \pm\xi) = (1 \pm r)/2`; only, and always, with examples.
    examples : int, optional
        M >= 1, examples per pattern; only, and always, when learning from examples.
    """

    N: int
    load: float | None = None
    K: int | None = None
    training: str = "storing"
    quality: float | None = None
    examples: int | None = None

    # What a change of N leaves alone.
    _kept: ClassVar[str] = "load"

    @property
    @abstractmethod
    def P(self) -> int | None:
        """Order of the interaction, None for the exponential one."""

    @property
    @abstractmethod
    def interaction(self) -> str:
        """Which tuples of sites interact, see `hebbian.interaction`."""

    @property
    def dilution(self) -> float:
        """Fraction of blank entries of the archetypes."""
        return 0.0

    @property
    def has_sign_rows(self) -> bool:
        """Whether all entries of the rows of the Hamiltonian are -1 or +1."""
        return self.dilution == 0 and (self.training != "supervised" or self.examples == 1)

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

        A new `load` or `K` takes the place of both; if only other parameters change, a dense network keeps its
        load and a multitasking one its K.

        Raises
        ------
        TypeError
            If the model has no such parameter.
        """
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name in changes:
            if name not in fields:
                raise TypeError(
                    f"{name} = {changes[name]!r} is no parameter of {type(self).__name__}; allowed: {', '.join(fields)}"
                )
        kept, filled_in = ("load", "K") if self._kept == "load" else ("K", "load")
        fields[filled_in] = None
        if changes.get(filled_in) is not None and kept not in changes:
            fields[kept] = None
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
            Patterns of -1 and +1 (and 0, in a diluted network) to use instead of random ones.
        examples : array_like, shape (K, M, N), optional
            Examples with the same entries to use instead of drawn ones; for training from examples, and
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
            xi = patterns.diluted_archetypes(K, self.N, self.dilution, rng=rng)
        else:
            # Sites slowest in memory, see hebbian.patterns.
            xi = np.ascontiguousarray(self.check_archetypes(archetypes).T).T
        if self.training == "storing":
            return QuenchedSample(self, xi, xi)
        quality, M = self.quality or 1.0, self.examples or 1
        if examples is not None:
            given = validation.signs("examples", examples, (K, M, self.N), blanks=self.dilution > 0)
            if self.training == "supervised":
                sums = given.sum(axis=1, dtype=np.min_scalar_type(-M - 1))
                return QuenchedSample(self, xi, np.ascontiguousarray(sums.T).T)
            return QuenchedSample(self, xi, np.ascontiguousarray(given.reshape(K * M, self.N).T).T)
        if self.training == "supervised":
            return QuenchedSample(self, xi, patterns.example_sum(xi, quality, M, rng=rng))
        rows = patterns.examples(xi, quality, M, rng=rng).transpose(2, 0, 1).reshape(self.N, K * M)
        return QuenchedSample(self, xi, rows.T)

    def check_archetypes(self, archetypes: ArrayLike) -> NDArray[np.int8]:
        """Return given archetypes as int8, or raise unless their shape and entries are those of the model."""
        shape = (self._counted(), self.N)
        return validation.signs("archetypes", archetypes, shape, blanks=self.dilution > 0)

    def _counted(self) -> int:
        if self.K is None:
            raise ValueError("neither load nor K of the model is set; allowed: load > 0 or K >= 1")
        return self.K

    def _check_training(self) -> None:
        validation.choice("training", self.training, TRAININGS)
        if self.training == "storing":
            for name in ("quality", "examples"):
                if getattr(self, name) is not None:
                    raise ValueError(
                        f"{name} = {getattr(self, name)!r} has no meaning for training='storing'; "
                        "allowed: leave it out, or training='supervised' or 'unsupervised'"
                    )
        else:
            self._fix("quality", validation.real("quality", self.quality, above=0.0, maximum=1.0))
            self._fix("examples", validation.integer("examples", self.examples, minimum=1))

    def _fill_in_load(self) -> None:
        """Validate `load` and `K`, and fill in whichever was left out; N, P and the training are checked before."""
        if self.load is not None:
            self._fix("load", self._checked_load())
            count = self._pattern_number(self.load)
            if self.K is not None and count != self.K:
                raise ValueError(f"load = {self.load} means K = {count}, not K = {self.K}; give one of the two")
            self._fix("K", count)
        elif self.K is not None:
            self._fix("K", validation.integer("K", self.K, minimum=1, maximum=LARGEST_K))
            self._fix("load", self._load(self.K))

    def _checked_load(self) -> float:
        return validation.real("load", self.load, above=0.0)

    @abstractmethod
    def _pattern_number(self, load: float) -> int: ...

    @abstractmethod
    def _load(self, K: int) -> float: ...

    def _fix(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)
