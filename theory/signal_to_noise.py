r"""Signal-to-noise prediction of the first step of the dynamics, for networks of any size and load."""

import math

from hebbian import DenseHebbian, validation


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
        If m is out of range, the load of the model is not set, or its interaction is not ``distinct``.
    """
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
