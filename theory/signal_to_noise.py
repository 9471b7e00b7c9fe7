r"""Signal-to-noise prediction of the first step of the dynamics, for networks of any size and load."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from hebbian import DenseHebbian, MultitaskingHebbian, validation
from theory.replica_symmetric import axes
from theory.replica_symmetric.amplitudes import hierarchy
from theory.replica_symmetric.multitasking import check_model, law_of_entries
from theory.replica_symmetric.pattern_average import LARGEST_ENUMERATION, Entries, averages, entries

# The law of the example means is summed exactly, in the search for a number of them, over so many values.
_SHORT_SUM = 100_000
_FEW = 200


def first_step(model: DenseHebbian, *, m: float = 1.0) -> float:
    r"""Magnetisation after one synchronous step at T = 0 from a state with magnetisation m, for random archetypes.

    .. math::
        m_1 = {\rm erf}\frac{1}{\sqrt{2k}}, \qquad
        k = \rho\, a + \frac{(K-1)\, c}{\binom{N-1}{P-1}\, r^2 (rm)^{2(P-1)}}

    supervised: a = 1, :math:`c = R^P`; unsupervised: :math:`c = r^{2P} + (1-r^{2P})/M` and a, the second moment of
    the elementary symmetric polynomial :math:`e_{P-1}` of one example over its squared mean; storing: r = R = 1,
    :math:`\rho = 0`. For m = 1 and :math:`N \to \infty` at fixed load, k tends to
    :math:`\rho + (2\gamma/P)(1+\rho)^P` or :math:`\rho + (2\gamma/P)(1+\rho_P)`,
    :math:`\rho_P = (1-r^{2P})/(M r^{2P})` (arXiv:2211.14067, 2212.00606). The signal is taken at its mean: with a few
    poor examples it has no typical value, and the prediction fails.

    Parameters
    ----------
    model : DenseHebbian
        Network with N, K and distinct tuples.
    m : float
        Magnetisation before the step, in (0, 1].

    Returns
    -------
    float
        In (0, 1].

    Raises
    ------
    ValueError, TypeError
        If m is out of range, the model is not a DenseHebbian, its load is not set, or its interaction is not
        ``distinct``.
    """
    axes.check_model(model)
    m = validation.real("m", m, above=0.0, maximum=1.0)
    validation.choice("interaction", model.interaction, ("distinct",))
    if model.K is None:
        raise ValueError("neither load nor K of the model is set; allowed: load > 0 or K >= 1")
    n, order, r, M = model.N - 1, model.order - 1, model.quality or 1.0, model.examples or 1
    overlap = r * m
    example, crosstalk = 1.0, model.R**model.order
    if model.training == "unsupervised":
        # e_{P-1} squared is a sum over pairs of tuples; pairs that share P-1-j sites have mean overlap^(2j).
        pairs = [math.comb(order, j) * math.comb(n - order, order - j) * overlap ** (-2 * j) for j in range(order + 1)]
        example, crosstalk = sum(pairs) / math.comb(n, order), r ** (2 * model.order) * (1 - 1 / M) + 1 / M
    k = model.rho * example + (model.K - 1) * crosstalk / (math.comb(n, order) * r**2 * overlap ** (2 * order))
    return math.erf(1 / math.sqrt(2 * k)) if k > 0 else 1.0


def multitasking_first_step(model: MultitaskingHebbian, *, data_noise: str = "auto") -> NDArray[np.float64]:
    r"""Magnetisations after one synchronous step at T = 0 from the hierarchical configuration, for N -> infinity.

    .. math::
        m_\mu = E\Big[\xi^\mu\,{\rm sign}\sum_\nu n_\nu\hat\eta^\nu\Big], \qquad
        n_\nu = \frac{(1-d)\,d^{\nu-1}}{\sqrt{1+\rho}}

    with n the overlaps of the configuration in which each spin follows the first pattern that is not blank there. The
    trainings from examples have the same law at low load (arXiv:2308.04106).

    Parameters
    ----------
    model : MultitaskingHebbian
        Network with K.
    data_noise : {"auto", "binomial", "gaussian"}
        Law of the example means. ``auto``: binomial, unless that is a sum over too many values.

    Returns
    -------
    ndarray, shape (K,)

    Raises
    ------
    ValueError, TypeError
        If K of the model is not set or the sum over its patterns is too long.

    Examples
    --------
    >>> multitasking_first_step(MultitaskingHebbian(N=1000, K=3, dilution=0.2)).round(3)
    array([0.8  , 0.16 , 0.032])
    """
    K = check_model(model)
    if data_noise == "auto" and entries(model, K=K).terms > LARGEST_ENUMERATION:
        data_noise = "gaussian"
    return _step(model, law_of_entries(model, np.zeros(1), data_noise))


def examples_needed(model: MultitaskingHebbian, *, fraction: float = math.erf(1 / math.sqrt(2))) -> int:
    r"""Learning threshold: number of examples from which on one step at T = 0 keeps the hierarchical configuration.

    It is kept if `multitasking_first_step` gives each pattern at least the stated fraction of what it has when stored.
    The default :math:`{\rm erf}\,\Theta` with :math:`\Theta = 1/\sqrt 2` asks for a signal of one standard deviation of
    the noise: of one pattern :math:`\rho \le 1`, that is :math:`M \ge (1-r^2)/r^2` (arXiv:2308.04106). The trainings
    from examples have the same threshold at low load.

    Parameters
    ----------
    model : MultitaskingHebbian
        Network with K that learns from examples; their number is not used.
    fraction : float
        In [1e-6, 1).

    Returns
    -------
    int
        Smallest M such that it and all larger ones suffice: with the binomial law of the example means where the sums
        are short, else with the Gaussian one, of which the threshold is one of :math:`\rho`.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, K of the model is not set, it stores, its patterns are too many, or 1e17
        examples of low quality do not suffice.
    """
    K = check_model(model)
    fraction = validation.real("fraction", fraction, minimum=1e-6, below=1.0)
    if model.quality is None:
        raise ValueError("training = 'storing' uses no examples; allowed: 'supervised', 'unsupervised'")
    stored = MultitaskingHebbian(N=model.N, K=K, dilution=model.dilution)
    wanted = fraction * multitasking_first_step(stored)
    per_example = (1 - model.quality**2) / model.quality**2

    def margin(law: Entries) -> float:
        # Patterns that no spin follows have the magnetisation 0 up to rounding.
        return float((_step(model, law) - wanted).min()) + 1e-14

    def gaussian_margin(log_rho: float) -> float:
        rho = math.exp(log_rho)
        law = entries(model, K=K, data_noise="gaussian")
        return margin(law._replace(mean=1 / math.sqrt(1 + rho), deviation=math.sqrt(rho / (1 + rho))))

    if per_example == 0:
        return 1
    scan = np.linspace(-40, 40, 161)
    failing = next(i for i, log_rho in enumerate(scan.tolist()) if gaussian_margin(log_rho) < 0)
    if failing == 0:
        raise ValueError(f"fraction = {fraction} is not reached with 1e17 examples; allowed: smaller fractions")
    log_rho = brentq(gaussian_margin, scan[failing - 1], scan[failing], xtol=1e-12)
    needed = max(1, math.ceil(per_example / math.exp(log_rho)))
    short = min(_FEW, int(_SHORT_SUM ** (1 / K)) - 2)
    if 2 * needed > short:
        return needed
    laws = (entries(model.replace(examples=M), K=K) for M in range(1, short + 1))
    return 1 + max((M for M, law in enumerate(laws, 1) if margin(law) < 0), default=0)


def _step(model: MultitaskingHebbian, law: Entries) -> NDArray[np.float64]:
    return averages(law.mean * hierarchy(check_model(model), model.dilution, check_model(model)), 0.0, law, False)[1]
