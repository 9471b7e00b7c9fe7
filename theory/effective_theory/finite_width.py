r"""Fluctuations of preactivations and tangent kernels of networks of finite width, to first order in 1/n.

With :math:`H_{ij} = \sum_\mu \lambda_\mu \partial_\mu z_i \partial_\mu z_j` and its differential
:math:`dH_{ijk} = \sum_{\mu\nu} \lambda_\mu \lambda_\nu \partial_{\mu\nu} z_i \, \partial_\mu z_j \, \partial_\nu z_k`
at one input, neurons :math:`i \ne j` of a layer that is fed by n neurons have

.. math::
    E z_i^2 = K + G_1/n, \quad {\rm Cov}(z_i^2, z_j^2) = V/n, \quad E H_{ii} = \Theta + \Theta_{nlo}/n, \quad
    {\rm Cov}(H_{ii}, H_{jj}) = A/n, \quad E H_{ij}^2 = B/n, \\
    {\rm Cov}(H_{ii}, z_j^2) = D/n, \quad E H_{ij} z_i z_j = F/n, \quad E\, dH_{ijj} z_i = P/n, \quad
    E\, dH_{iij} z_j = Q/n, \quad E z_i z_j^2 = U/n, \quad E z_i^3 = T_3/n

(Roberts, Yaida and Hanin, arXiv:2106.10165). It is poor where V is more than about a third of :math:`n K^2`.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hebbian import validation
from hebbian.activations import Activation, Function
from theory.effective_theory.kernel_flow import check_network, kernel_flow
from theory.effective_theory.moments import LEAST, Moments, check_activation, gauss, overflows

Array = NDArray[np.float64]

OF_KERNELS = ("K", "V", "G1", "U", "T3", "Theta")
OF_TANGENTS = ("Theta_nlo", "A", "B", "D", "F", "P", "Q")


@dataclass(frozen=True)
class Flow:
    r"""Coefficients of all layers, in the notation of this module.

    Parameters
    ----------
    K, V, G1, U, T3, Theta : ndarray, shape (L,)
        Of preactivations, and the mean tangent kernel.
    Theta_nlo, A, B, D, F, P, Q : ndarray, shape (L,), or None
        Of the tangent kernel and its differential; None with a residual path.
    overflow : bool
        Whether kernels outgrew the floats: all entries are infinite from that layer on.
    """

    K: Array
    V: Array
    G1: Array
    U: Array
    T3: Array
    Theta: Array
    Theta_nlo: Array | None
    A: Array | None
    B: Array | None
    D: Array | None
    F: Array | None
    P: Array | None
    Q: Array | None
    overflow: bool


def finite_width_flow(
    act: str | Function | Activation,
    L: int,
    C_W: float,
    C_b: float,
    K1: float,
    lambda_W: float | Sequence[float] = 1.0,
    lambda_b: float | Sequence[float] = 0.0,
    gamma: float = 0.0,
    widths: Sequence[int] | None = None,
) -> Flow:
    r"""Return the fluctuations of all layers at one input, to first order in 1/n.

    The network is :math:`z^{(l+1)} = b + W f(z^{(l)}) + \gamma z^{(l)}`, with weights of variance :math:`C_W/n_l` and
    learning rate :math:`\lambda_W/n_l`, biases of variance :math:`C_b` and learning rate :math:`\lambda_b`.

    Parameters
    ----------
    act : str, callable or Activation
        As `theory.effective_theory.gauss` takes it.
    L : int
        Number of layers of weights, at least 1.
    C_W : float
        Variance of a weight times the number of inputs of its layer, > 0.
    C_b : float
        Variance of a bias, at least 0.
    K1 : float
        Kernel of the first layer, :math:`C_b + C_W |x|^2/n_0`, > 0 and at least C_b.
    lambda_W, lambda_b : float or sequence of L floats
        Learning rates, at least 0, of all layers or of each.
    gamma : float
        Weight of the residual path, in [0, 1].
    widths : sequence of L - 1 ints, optional
        Widths of the hidden layers, at least 2; equal by default. Without a residual path they may differ, and n is
        that of the layer before.

    Returns
    -------
    Flow

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or the activation jumps, lacks a derivative or has a kink where it does not
        vanish.

    Examples
    --------
    >>> flow = finite_width_flow("relu", 4, 2.0, 0.0, 1.0)
    >>> flow.V.round(9).tolist(), flow.Theta.round(9).tolist()
    ([0.0, 5.0, 10.0, 15.0], [0.5, 1.0, 1.5, 2.0])
    """
    act, L, C_W, C_b, K1, gamma = check_network(check_activation(act), L, C_W, C_b, K1, gamma)
    rates = [_rates(name, rate, L) for name, rate in (("lambda_W", lambda_W), ("lambda_b", lambda_b))]
    ratios = _ratios(widths, L, gamma)
    K = kernel_flow(act, L, C_W, C_b, K1, gamma)
    depth = next((layer for layer in range(L) if overflows(act, float(K[layer]), 4)), L)
    moments = gauss(act, np.maximum(K[:depth], LEAST))
    values = {name: np.full(L, np.inf) for name in (OF_KERNELS if gamma > 0 else OF_KERNELS + OF_TANGENTS)}
    for array in values.values():
        array[0] = 0.0
    values["K"], values["Theta"][0] = K, rates[1][0] + rates[0][0] * (K1 - C_b) / C_W
    for layer in range(min(depth, L - 1)):
        now = {name: array[layer] for name, array in values.items()}
        averages = Moments(*(average[layer] for average in moments))
        with np.errstate(over="ignore", invalid="ignore"):
            then = _kernels(now, averages, C_W, ratios[layer], gamma, rates[0][layer + 1], rates[1][layer + 1])
            if gamma == 0:
                then |= _tangents(now, averages, C_W, ratios[layer], rates[0][layer + 1])
        for name, value in then.items():
            values[name][layer + 1] = value
    infinite = np.logical_or.accumulate(~np.isfinite(list(values.values())).all(axis=0))
    for array in values.values():
        array[infinite] = np.inf
    coefficients: dict[str, Any] = {name: values.get(name) for name in OF_KERNELS + OF_TANGENTS}
    return Flow(**coefficients, overflow=bool(infinite[-1]))


def ntk_drift(flow: Flow, n: int, n_out: int = 1) -> float:
    r"""Return the rate at which the mean tangent kernel of the outputs changes as training begins.

    For gradient flow of :math:`\tfrac12 |z - y|^2` at one input from random weights, whatever the target y,

    .. math::
        \frac{d}{dt} E H_{ii} = -\frac{2}{n} \big( P + (n_{out} + 1) Q \big)

    to first order in 1/n. Without it a network cannot learn representations.

    Parameters
    ----------
    flow : Flow
        From `finite_width_flow`, without a residual path.
    n : int
        Width of the last hidden layer, at least 2.
    n_out : int
        Number of outputs, at least 1.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or the flow has a residual path.
    """
    n, n_out = validation.integer("n", n, minimum=2), validation.integer("n_out", n_out, minimum=1)
    if flow.P is None or flow.Q is None:
        raise ValueError("flow has a residual path, with which P and Q are not known; allowed: gamma = 0")
    return float(-2 / n * (flow.P[-1] + (n_out + 1) * flow.Q[-1]))


def _kernels(x: dict[str, Any], m: Moments, C_W: float, r: float, gamma: float, l_W: float, l_b: float) -> Any:
    """Return coefficients of preactivations of the next layer; r is the ratio of the widths of two layers."""
    chi, skip = C_W * m.f2_K, gamma**2
    z2f2 = x["K"] * m.f2 + 2 * x["K"] ** 2 * m.f2_K
    source = C_W**2 * (m.f4 - m.f2**2) + 2 * skip * C_W * (z2f2 - x["K"] * m.f2)
    zf2 = x["K"] * m.f2_z
    return {
        "V": source + r * (chi + skip) ** 2 * x["V"] + r * 2 * C_W * x["U"] * m.f2_z * (chi + skip),
        "G1": r * ((chi + skip) * x["G1"] + C_W / 8 * x["V"] * m.f2_zzzz + C_W / 6 * x["T3"] * m.f2_zzz),
        "U": gamma * C_W * zf2 + r * gamma * (chi + skip) * x["U"],
        "T3": 3 * gamma * (C_W * zf2 + r * chi * x["U"]) + r * gamma**3 * x["T3"],
        "Theta": l_b + l_W * m.f2 + (C_W * m.s2 + skip) * x["Theta"],
    }


def _tangents(x: dict[str, Any], m: Moments, C_W: float, r: float, l_W: float) -> dict[str, Any]:
    """Return coefficients of the tangent kernel and its differential of the next layer, without a residual path."""
    Theta, F, chi_par, chi_perp = x["Theta"], x["F"], C_W * m.f2_K, C_W * m.s2
    slope = C_W * Theta
    variances = m.f4 - m.f2**2, m.f2s2 - m.f2 * m.s2, m.s4 - m.s2**2
    covariance = l_W * variances[0] + slope * variances[1]
    variance = l_W**2 * variances[0] + 2 * l_W * slope * variances[1] + slope**2 * variances[2]
    om_K, om_zzzz = l_W * m.f2_K + slope * m.s2_K, l_W * m.f2_zzzz + slope * m.s2_zzzz
    curved = slope**2 * m.fcs2
    return {
        "D": C_W * covariance + r * (om_K * chi_par * x["V"] + chi_perp * chi_par * x["D"]),
        "A": variance + r * (om_K**2 * x["V"] + 2 * om_K * chi_perp * x["D"] + chi_perp**2 * x["A"]),
        "F": C_W * slope * m.f2s2 + r * chi_par**2 * F,
        "B": slope**2 * m.s4 + r * chi_perp**2 * x["B"],
        "Theta_nlo": r
        * (om_K * x["G1"] + x["V"] * om_zzzz / 8 + chi_perp * x["Theta_nlo"] + C_W * (x["D"] + 2 * F) * m.s2_K),
        "P": curved + r * chi_perp * (C_W * m.fc * x["B"] + chi_par * x["P"]),
        "Q": curved
        + l_W * slope * m.f2s2
        + r * (slope * F * chi_par * m.s2_K + chi_perp * chi_par * x["Q"] + l_W / C_W * chi_par**2 * F),
    }


def _rates(name: str, given: float | Sequence[float], L: int) -> Array:
    rates = validation.finite(name, np.broadcast_to(given, L) if np.ndim(given) == 0 else given, (L,))
    if rates.min() < 0:
        raise ValueError(f"{name} has an entry {rates.min()}; allowed: numbers >= 0")
    return rates.astype(np.float64)


def _ratios(widths: Sequence[int] | None, L: int, gamma: float) -> list[float]:
    """Return the ratio of the width of each hidden layer to that before; the first has nothing to multiply."""
    if widths is None:
        return [1.0] * (L - 1)
    checked = [validation.integer("every entry of widths: widths", width, minimum=2) for width in widths]
    if len(checked) != L - 1:
        raise ValueError(f"widths has {len(checked)} entries; allowed: L - 1 = {L - 1}")
    if gamma > 0 and len(set(checked)) > 1:
        raise ValueError(f"widths = {checked} differ beside a residual path; allowed: equal widths, or gamma = 0")
    return [after / before for before, after in itertools.pairwise([checked[0], *checked])] if checked else []
