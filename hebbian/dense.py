r"""Dense Hebbian (P-spin Hopfield) networks: the description of the model."""

import math
from dataclasses import dataclass

from hebbian import validation
from hebbian.interaction import INTERACTIONS
from hebbian.network import HebbianNetwork


@dataclass(frozen=True, kw_only=True)
class DenseHebbian(HebbianNetwork):
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

    P: int | None = 2
    interaction: str = "distinct"

    def __post_init__(self) -> None:
        """Validate, and fill in whichever of `load` and `K` was left out."""
        validation.choice("interaction", self.interaction, INTERACTIONS)
        self._fix("N", validation.integer("N", self.N, minimum=2))
        if self.interaction == "exponential":
            if self.P is not None:
                raise ValueError(f"P = {self.P!r} has no meaning for interaction='exponential'; allowed: P=None")
        else:
            self._fix("P", validation.integer("P", self.P, minimum=2))
            if self.order > self.N:
                raise ValueError(f"N = {self.N} is out of range; allowed: integers >= P = {self.P}")
        self._check_training()
        if self.P is not None and self.P * math.log10(self.N * (self.examples or 1)) > 300:
            raise ValueError(
                f"P = {self.P} is out of range at N = {self.N}, M = {self.examples or 1}; "
                "allowed: (N M)^P <= 1e300, so that energies are finite numbers"
            )
        self._fill_in_load()

    @property
    def order(self) -> int:
        """Order P of a polynomial interaction; raises for the exponential one, which has none."""
        if self.P is None:
            raise ValueError("interaction = 'exponential' has no order P; allowed: 'distinct' or 'all'")
        return self.P

    def _checked_load(self) -> float:
        # One pattern of the exponential interaction is the load 0.
        allowed = {"minimum": 0.0} if self.P is None else {"above": 0.0}
        return validation.real("load", self.load, **allowed)

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
