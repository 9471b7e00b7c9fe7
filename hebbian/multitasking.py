r"""Multitasking Hebbian networks: diluted patterns, several of them retrieved at once."""

from dataclasses import dataclass
from typing import ClassVar

from hebbian import validation
from hebbian.network import LARGEST_K, HebbianNetwork


@dataclass(frozen=True, kw_only=True)
class MultitaskingHebbian(HebbianNetwork):
    r"""Pairwise Hebbian network of patterns with blank entries, which leave spins free for other patterns.

    .. math::
        H(\sigma) = -\frac{1}{2N} \sum_\mu \sum_{i \ne j} \hat\eta_i^\mu \hat\eta_j^\mu \sigma_i \sigma_j,
        \qquad P(\xi = 0) = d, \; P(\xi = \pm 1) = (1-d)/2

    in units where :math:`k_B = 1`; the critical temperature at low load is 1 - d. The learning paper divides H by
    1 - d: the same network at the temperature T/(1-d). At d = 0 it is the Hopfield network, ``DenseHebbian(P=2)``,
    number for number.

    Parameters
    ----------
    N : int
        Number of spins, at least 2.
    load : float, optional
        alpha > 0 in :math:`K = \alpha N`, rounded, to at least 1.
    K : int, optional
        Number of patterns, finite or of order ln N where the network is to retrieve them all. Give `load` or `K`, or
        neither for a template whose number of patterns is a grid axis. If N changes, K stays (see `replace`).
    dilution : float
        Fraction d of blank entries, in [0, 1).
    training : {"storing", "supervised", "unsupervised"}
        ``storing``: :math:`\hat\eta = \xi`. ``supervised``: the mean of the M examples over
        :math:`\sqrt R`. ``unsupervised``: the sum runs over all examples
        :math:`\eta^{\mu,a}/\sqrt R` and the whole is divided by M.
        With :math:`R = r^2 + (1-r^2)/M`; blank entries of an archetype are blank in its examples.
    quality : float, optional
        r in (0, 1], :math:`P(\eta = \pm\xi) = (1 \pm r)/2`; only, and always, with examples.
    examples : int, optional
        M >= 1, examples per pattern; only, and always, when learning from examples.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, is out of range, or contradicts another.

    References
    ----------
    Agliari, Barra, Galluzzi, Guerra, Moauro, Phys. Rev. Lett. 109, 268101 (2012), arXiv:1111.5191;
    learning: Agliari, Alessandrelli, Barra, Ricci-Tersenghi, J. Stat. Mech. (2023), arXiv:2308.04106.

    Examples
    --------
    >>> model = MultitaskingHebbian(N=1000, K=3, dilution=0.2)
    >>> model.replace(N=2000).K
    3
    """

    dilution: float = 0.0

    P: ClassVar[int] = 2
    interaction: ClassVar[str] = "distinct"
    _kept: ClassVar[str] = "K"

    def __post_init__(self) -> None:
        """Validate, and fill in whichever of `load` and `K` was left out."""
        self._fix("N", validation.integer("N", self.N, minimum=2))
        self._fix("dilution", validation.real("dilution", self.dilution, minimum=0.0, below=1.0))
        self._check_training()
        self._fill_in_load()

    @property
    def order(self) -> int:
        """Order of the interaction."""
        return self.P

    def _pattern_number(self, load: float) -> int:
        if load * self.N > LARGEST_K:
            raise ValueError(f"load = {load} at N = {self.N} means K = {load * self.N:.4g} patterns; allowed: K < 2^62")
        return max(1, round(load * self.N))

    def _load(self, K: int) -> float:
        return K / self.N
