r"""Steps and contraction bounds of the iterations that solve mean field, from the ends of the coupling's spectrum."""

import math

from hebbian import validation

METHODS = (
    "softmax_pr",
    "forward_backward",
    "peaceman_rachford",
    "douglas_rachford",
    "mirror",
    "parallel",
    "damped",
    "coordinate",
    "newton",
)
# Those whose every step has a bound on its contraction.
CONTRACTING = METHODS[:7]
# Those that need a unique solution.
CERTIFYING = ("softmax_pr", "peaceman_rachford", "douglas_rachford", "newton")


def contraction_factor(
    method: str, lambda_min: float, lambda_max: float, step: float | None = None, relaxation: float = 1.0
) -> float:
    r"""Return the bound on the factor by which a step brings two states of a method nearer to each other.

    With :math:`m' = 1 - \lambda_{\max}`, :math:`L = 1 - \lambda_{\min}` and, in this order, states q, u, u and theta:

    .. math::
        \textrm{forward-backward:} \quad & \max(|1 - a m'|, |1 - a L|) / (1 + a) \\
        \textrm{Peaceman-, Douglas-Rachford:} \quad & |1 - \kappa| + \kappa \max_{s = m', L} |(1 - a s)/(1 + a s)| \\
        \textrm{softmax-only:} \quad & |1 - \kappa| + \kappa \max_\lambda |\lambda| / (2 \rho - \lambda) \\
        \textrm{mirror, parallel, damped:} \quad & |1 - t| + t \max_\lambda |\lambda| / 2

    A bound of 1 or more says nothing about convergence.

    Parameters
    ----------
    method : str
        ``softmax_pr``, ``forward_backward``, ``peaceman_rachford``, ``douglas_rachford``, ``mirror``, ``parallel`` or
        ``damped``; no bound is known for others.
    lambda_min, lambda_max : float
        Ends of the spectrum of :math:`T \Phi T`, lambda_min <= 0 <= lambda_max.
    step : float, optional
        a, rho or t; the best by default.
    relaxation : float
        kappa in (0, 1] of Peaceman-Rachford; Douglas-Rachford has half of it.

    Raises
    ------
    TypeError, ValueError
        If a number is out of range, or the method has no bound.
    """
    validation.choice("method", method, CONTRACTING)
    low, high = _ends(lambda_min, lambda_max)
    step = optimal_step(method, low, high) if step is None else validation.real("step", step, above=0.0)
    kappa = validation.real("relaxation", relaxation, above=0.0, maximum=1.0)
    if method == "forward_backward":
        return max(abs(1 - step * (1 - high)), abs(1 - step * (1 - low))) / (1 + step)
    if method in ("mirror", "parallel", "damped"):
        return abs(1 - step) + step * max(-low, high) / 2
    if method == "softmax_pr":
        reflection = max(abs(end) / (2 * step - end) for end in (low, high))
    else:
        reflection = max(abs((1 - step * (1 - end)) / (1 + step * (1 - end))) for end in (low, high))
    kappa = kappa / 2 if method == "douglas_rachford" else kappa
    return abs(1 - kappa) + kappa * reflection


def optimal_step(method: str, lambda_min: float, lambda_max: float) -> float:
    r"""Return the step with the smallest bound, or that under which the free energy falls at every step.

    Forward-backward: :math:`2/(m' + L)`; Peaceman- and Douglas-Rachford: :math:`1/\sqrt{m' L}`; softmax-only: rho = 2;
    mirror: :math:`1/(1 + \max(0, -\lambda_{\min})/2)`, which damped iteration shares; parallel: 1.

    Parameters
    ----------
    method : str
        As in `contraction_factor`.
    lambda_min, lambda_max : float
        Ends of the spectrum of :math:`T \Phi T`, lambda_min <= 0 <= lambda_max.

    Raises
    ------
    TypeError, ValueError
        If a number is out of range, the method is unknown, or lambda_max >= 1 and Peaceman-Rachford with a general step
        does not contract.
    """
    validation.choice("method", method, CONTRACTING)
    low, high = _ends(lambda_min, lambda_max)
    if method == "forward_backward":
        return 2 / (2 - high - low)
    if method in ("peaceman_rachford", "douglas_rachford"):
        if high >= 1:
            raise ValueError(f"lambda_max = {high}; allowed for {method!r}: below 1 (use 'softmax_pr')")
        return 1 / math.sqrt((1 - high) * (1 - low))
    if method == "softmax_pr":
        return 2.0
    return 1.0 if method == "parallel" else 1 / (1 - low / 2)


def _ends(lambda_min: float, lambda_max: float) -> tuple[float, float]:
    return validation.real("lambda_min", lambda_min, maximum=0.0), validation.real(
        "lambda_max", lambda_max, minimum=0.0
    )
