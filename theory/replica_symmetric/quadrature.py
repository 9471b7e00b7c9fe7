r"""Gaussian averages of a spin in a random field, to about 1e-12 at every temperature.

A spin in the field :math:`h = a + s z`, z a standard normal, at temperature T. Two trapezoid rules,
both of geometric convergence because the integrands are analytic in a strip of half width
:math:`\pi/2` around the real axis of :math:`y = h/T`:

- :math:`s < T`: nodes in z;
- :math:`s \ge T`: nodes in y. What decays like :math:`e^{-2|y|}` is summed; of tanh the part
  :math:`{\rm erf}\,y`, whose average is known, is split off. Temperatures appear only in
  :math:`z = (T y - a)/s`, so that :math:`T = 0` is no special case: the same sums are the exact limits.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from hebbian import validation

# The error of a rule of step h falls as exp(-pi^2 / h), times up to (2 pi / h)^3 for the fourfold pole of sech^4.
STEP = 0.26
_REACH_Y = 17.0
_REACH_Z = 8.6


def decaying_nodes(step: float) -> NDArray[np.float64]:
    r"""Nodes y and step times the functions of y that are averaged.

    Parameters
    ----------
    step : float
        Distance of the nodes, positive.

    Returns
    -------
    ndarray, shape (5, 2 J + 1)
        Rows: y; then, times the step, tanh y - erf y, sech^2 y, sech^4 y and the entropy ln 2cosh y - y tanh y.
    """
    count = math.ceil(_REACH_Y / step)
    y = step * np.arange(-count, count + 1)
    decay = np.exp(-2 * np.abs(y))
    sech2 = 4 * decay / (1 + decay) ** 2
    entropy = np.log1p(decay) + 2 * np.abs(y) * decay / (1 + decay)
    erfc = np.array([math.erfc(value) for value in np.abs(y)])
    difference = np.sign(y) * (erfc - 2 * decay / (1 + decay))
    return np.stack([y, step * difference, step * sech2, step * sech2**2, step * entropy])


def normal_nodes(step: float) -> NDArray[np.float64]:
    r"""Nodes z and weights of the trapezoid rule for a standard normal z.

    Parameters
    ----------
    step : float
        Distance of the nodes, positive.

    Returns
    -------
    ndarray, shape (2, 2 J + 1)
    """
    count = math.ceil(_REACH_Z / step)
    z = step * np.arange(-count, count + 1)
    return np.stack([z, step * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)])


DECAYING = decaying_nodes(STEP)
NORMAL = normal_nodes(STEP)


@njit(cache=True, fastmath={"contract", "reassoc"})
def spin_averages(
    a: float, s: float, T: float, decaying: NDArray[np.float64], normal: NDArray[np.float64]
) -> tuple[float, float, float, float, float, float]:
    r"""Averages over z of a spin in the field h = a + s z; s > 0 or T > 0.

    Returns
    -------
    tuple of float
        :math:`E\tanh(h/T)`; the susceptibility :math:`C = E\,{\rm sech}^2(h/T)/T`;
        :math:`E\,{\rm sech}^4(h/T)/T`; :math:`E[\ln 2\cosh(h/T) - (h/T)\tanh(h/T)]/T`; dC/da; d^2C/da^2.
    """
    magnetisation = chi = chi4 = entropy = slope = curvature = 0.0
    if s < T:
        z, weight = normal
        for j in range(z.size):
            y = (a + s * z[j]) / T
            decay = math.exp(-2.0 * abs(y))
            tanh = (1.0 - decay) / (1.0 + decay)
            if y < 0.0:
                tanh = -tanh
            sech2 = 4.0 * decay / (1.0 + decay) ** 2
            magnetisation += weight[j] * tanh
            chi += weight[j] * sech2
            chi4 += weight[j] * sech2 * sech2
            slope -= weight[j] * tanh * sech2
            entropy += weight[j] * (math.log1p(decay) + 2.0 * abs(y) * decay / (1.0 + decay))
        return (
            magnetisation,
            chi / T,
            chi4 / T,
            entropy / T,
            2.0 * slope / T**2,
            (4.0 * chi - 6.0 * chi4) / T**3,
        )
    y, tanh_erf, sech2, sech4, disorder = decaying
    middle = y.size // 2
    first, last = 0, y.size - 1
    if T > 0.0:
        # Beyond nine standard deviations the Gaussian is below 1e-17.
        unit = T * y[middle + 1]
        first = max(first, middle + math.ceil(max(-1e6, (a - 9.0 * s) / unit)))
        last = min(last, middle + math.floor(min(1e6, (a + 9.0 * s) / unit)))
    for j in range(first, last + 1):
        z = (T * y[j] - a) / s
        gauss = math.exp(-0.5 * z * z)
        magnetisation += gauss * tanh_erf[j]
        weighted = gauss * sech2[j]
        chi += weighted
        slope += weighted * z
        curvature += weighted * (z * z - 1.0)
        chi4 += gauss * sech4[j]
        entropy += gauss * disorder[j]
    density = 1.0 / (math.sqrt(2.0 * math.pi) * s)
    return (
        math.erf(a / math.sqrt(T * T + 2.0 * s * s)) + T * density * magnetisation,
        density * chi,
        density * chi4,
        density * entropy,
        density * slope / s,
        density * curvature / s**2,
    )


@njit(cache=True)
def _fill(
    a: NDArray[np.float64],
    s: NDArray[np.float64],
    T: NDArray[np.float64],
    decaying: NDArray[np.float64],
    normal: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    for i in range(a.size):
        tanh, chi, chi4, entropy, _, _ = spin_averages(a[i], s[i], T[i], decaying, normal)
        # Stein's lemma: E[h tanh(h/T)] = a E tanh + s^2 C.
        out[0, i] = tanh
        out[1, i] = 1.0 - T[i] * chi
        out[2, i] = T[i] * chi4
        out[3, i] = a[i] * tanh + s[i] * s[i] * chi + T[i] * T[i] * entropy


def gaussian_averages(a: ArrayLike, s: ArrayLike, T: ArrayLike, *, step: float = STEP) -> NDArray[np.float64]:
    r"""Averages over a standard normal z of functions of the field h = a + s z in units of T.

    Parameters
    ----------
    a, s, T : array_like
        Mean and standard deviation (s >= 0) of the field and temperature (T >= 0), of shapes that broadcast;
        s and T not both zero.
    step : float
        Step of the trapezoid rules, in (0, 1]; the error falls as exp(-pi^2/step).

    Returns
    -------
    ndarray, shape (4, ...)
        :math:`E\tanh(h/T)`, :math:`E\tanh^2(h/T)`, :math:`E\,{\rm sech}^4(h/T)` and
        :math:`T\,E\ln 2\cosh(h/T)`; at T = 0 their limits.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or not real.
    """
    step = validation.real("step", step, above=0.0, maximum=1.0)
    try:
        mean, deviation, temperature = np.broadcast_arrays(*(np.asarray(value, dtype=float) for value in (a, s, T)))
    except (TypeError, ValueError) as error:
        raise TypeError(f"a = {a!r}, s = {s!r}, T = {T!r} are not real arrays of shapes that broadcast") from error
    for name, values, minimum in (("a", mean, -np.inf), ("s", deviation, 0.0), ("T", temperature, 0.0)):
        for value in np.unique(values).tolist():
            validation.real(name, value, minimum=minimum)
    if np.any((deviation == 0) & (temperature == 0)):
        raise ValueError("s = 0 at T = 0; allowed: s > 0 or T > 0")
    out = np.empty((4, mean.size))
    flat = (np.ascontiguousarray(values.ravel()) for values in (mean, deviation, temperature))
    _fill(*flat, decaying_nodes(step), normal_nodes(step), out)
    return out.reshape(4, *mean.shape)
