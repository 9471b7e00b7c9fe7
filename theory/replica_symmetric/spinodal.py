r"""Spinodal of retrieval: where the retrieval solution meets the unstable one and both disappear.

Whether it exists is decided exactly (`saddle.largest_root`), so that the fold is enclosed by bisection to rounding.
"""

import math

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from hebbian import DenseHebbian, validation
from hebbian.compilation import cached_njit
from theory.replica_symmetric.axes import ENERGY_UNIT, check_model, data_axes, line, load_axis, models_along
from theory.replica_symmetric.disorder import Network, network
from theory.replica_symmetric.saddle import retrieves

SMALLEST_LOAD = 1e-14
_GOLDEN = (math.sqrt(5) - 1) / 2


@cached_njit(error_model="numpy")
def _end_of_retrieval(net: Network, low: float, high: float, other: float, along_load: bool) -> float:
    """Bisect between a load, or else a temperature, with retrieval (low) and one without (high), the other fixed."""
    # Loads may be of any size; temperatures are of order one, or end at zero.
    while high - low > (1e-15 * high if along_load else 1e-15):
        middle = 0.5 * (low + high)
        if middle <= low or middle >= high:
            break
        if retrieves(net, middle, other) if along_load else retrieves(net, other, middle):
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


@cached_njit(error_model="numpy")
def largest_load(net: Network, T: float) -> float:
    """Return the load at which retrieval ends, NaN if there is none at any load."""
    if not retrieves(net, SMALLEST_LOAD, T):
        return math.nan
    low, high = SMALLEST_LOAD, 1e-3
    while retrieves(net, high, T):
        low, high = high, 2.0 * high
        if high > 1e9:
            return math.nan
    return _end_of_retrieval(net, low, high, T, True)


@cached_njit(error_model="numpy")
def best_temperature(net: Network) -> tuple[float, float]:
    """Return the largest critical load of all temperatures, and its temperature."""
    steps = 24
    width = 0.5 * net.P / steps
    best, best_T = 0.0, 0.0
    for i in range(steps):
        load = largest_load(net, i * width)
        if load > best:
            best, best_T = load, i * width
    left, right = max(0.0, best_T - width), best_T + width
    while right - left > 1e-7:
        T1, T2 = right - _GOLDEN * (right - left), left + _GOLDEN * (right - left)
        load1, load2 = largest_load(net, T1), largest_load(net, T2)
        if load1 > best:
            best, best_T = load1, T1
        if load2 > best:
            best, best_T = load2, T2
        # NaN, no retrieval, is at the higher temperature.
        if load2 > load1:
            left = T1
        else:
            right = T2
    return best, best_T


@cached_njit(error_model="numpy")
def largest_temperature(net: Network, load: float) -> float:
    """Return the highest temperature with retrieval, NaN if there is none at any temperature."""
    # tanh(beta h) < beta h: no retrieval at T >= P/2.
    steps = 32
    high = 0.5 * net.P
    low = math.nan
    for i in range(steps - 1, -1, -1):
        T = 0.5 * net.P * i / steps
        if retrieves(net, load, T):
            low = T
            break
        high = T
    if math.isnan(low):
        best, low = best_temperature(net)
        if best <= load:
            return math.nan
        high = low + 0.5 * net.P / steps
    return _end_of_retrieval(net, low, high, load, False)


def critical_load(
    model: DenseHebbian,
    T: ArrayLike,
    *,
    quality: ArrayLike | None = None,
    examples: ArrayLike | None = None,
    data_noise: str = "auto",
) -> xr.DataArray:
    r"""Critical load gamma_c(T), beyond which there is no retrieval solution.

    Units: :math:`k_B = 1`, :math:`H = -(N/2)\sum_\mu m_\mu^P` up to coinciding indices; load gamma in
    :math:`K = \gamma(2/P!)N^{P-1}` (P = 2: alpha), for ``interaction="all"`` too.

    Parameters
    ----------
    model : DenseHebbian
        Template; its load is not used.
    T : float or array_like
        Temperatures, T >= 0.
    quality : float or array_like, optional
        r in (0, 1]; left out: that of the model. A data-set entropy rho is the quality
        :math:`r = 1/\sqrt{1+\rho M}`.
    examples : int or array_like of int, optional
        M >= 1; left out: that of the model.
    data_noise : {"auto", "binomial", "gaussian"}
        See `solve`.

    Returns
    -------
    xarray.DataArray
        Dimensions (quality, examples, T), the first two only where given. NaN at temperatures without retrieval at any
        load. Error about 1e-13.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or not of the stated type.

    References
    ----------
    Amit, Gutfreund, Sompolinsky, Phys. Rev. Lett. 55, 1530 (1985); Gardner, J. Phys. A 20, 3453 (1987).

    Examples
    --------
    >>> from hebbian import DenseHebbian
    >>> print(f"{critical_load(DenseHebbian(N=2, P=2), 0.0).item():.6f}")
    0.137906
    """
    check_model(model)
    temperatures = validation.axis("T", T, minimum=0.0)
    data = data_axes(quality, examples)
    nets = [network(point, load=1.0, T=0.0, data_noise=data_noise) for point in models_along(model, data)]
    values = [[largest_load(net, temperature) for temperature in temperatures.tolist()] for net in nets]
    axes = data | {"T": temperatures}
    shape = [axis.size for axis in axes.values()]
    return line("critical_load", "critical load gamma_c", "1", np.reshape(values, shape), axes)


def spinodal_temperature(
    model: DenseHebbian, load: ArrayLike | None = None, *, data_noise: str = "auto"
) -> xr.DataArray:
    r"""Spinodal temperature T_M(load), above which there is no retrieval solution.

    Units: :math:`k_B = 1`, :math:`H = -(N/2)\sum_\mu m_\mu^P` up to coinciding indices. The replica-symmetric capacity
    grows at first with T: at loads above that of T = 0 retrieval ends at a lower temperature too, for which
    `critical_load` is to be solved.

    Parameters
    ----------
    model : DenseHebbian
        Template.
    load : float or array_like, optional
        gamma > 0 in :math:`K = \gamma(2/P!)N^{P-1}`; left out: the load of the model.
    data_noise : {"auto", "binomial", "gaussian"}
        See `solve`.

    Returns
    -------
    xarray.DataArray
        Dimension load. NaN at loads without retrieval at any temperature. Error about 1e-13, 1e-8 within 1e-13 of
        the largest critical load.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or not of the stated type.

    References
    ----------
    Amit, Gutfreund, Sompolinsky, Ann. Phys. 173, 30 (1987).

    Examples
    --------
    >>> from hebbian import DenseHebbian
    >>> print(f"{spinodal_temperature(DenseHebbian(N=2, P=2), 0.05).item():.4f}")
    0.5423
    """
    loads = load_axis(model, load)
    net = network(model, load=1.0, T=0.0, data_noise=data_noise)
    values = np.array([largest_temperature(net, value) for value in loads.tolist()])
    return line("spinodal_temperature", "spinodal temperature T_M", ENERGY_UNIT, values, {"load": loads})
