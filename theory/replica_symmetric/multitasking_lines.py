r"""Lines in the phase diagram of the multitasking network at low load: where the order of the amplitudes changes.

All are those of the state that the dynamics reaches from the hierarchical one, see `multitasking.solve`, and in units
where :math:`k_B = 1` and :math:`H = -(N/2)\sum_\mu n_\mu^2`; the paramagnet ends at T = 1 - d whatever the data noise.
"""

import math
from collections.abc import Callable

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from hebbian import MultitaskingHebbian, validation
from theory.replica_symmetric.axes import ENERGY_UNIT, line
from theory.replica_symmetric.multitasking import PHASES, check_model, follow_hierarchy, law_of_entries, phase
from theory.replica_symmetric.pattern_average import LARGEST_ENUMERATION, LOWEST_T

_SCAN = 50
_PRECISION = 1e-11
# Where the sums are short, temperatures have no lower limit but the precision of the amplitudes.
_COLDEST = 1e-7


def critical_dilution(model: MultitaskingHebbian, T: ArrayLike, *, data_noise: str = "auto") -> xr.DataArray:
    r"""Dilution d_c at which the hierarchical order is lost: the first pattern no longer outweighs all others.

    The smallest d beyond which :math:`n_1 > n_2 + \dots + n_K` fails (retrieval of one pattern fulfils it). At T = 0,
    storing: the root of :math:`1 - 2d + d^K` below 1.

    Parameters
    ----------
    model : MultitaskingHebbian
        Template with K; its dilution is not used.
    T : float or array_like
        Temperatures, T >= 0.
    data_noise : {"auto", "binomial", "gaussian"}
        See `multitasking.solve`.

    Returns
    -------
    xarray.DataArray
        Dimension T. NaN where the order lasts until the paramagnet takes its place (at T = 0: at all d, as for K <= 2).

    Raises
    ------
    ValueError, TypeError
        As `multitasking.solve`.

    Examples
    --------
    >>> from hebbian import MultitaskingHebbian
    >>> print(f"{critical_dilution(MultitaskingHebbian(N=2, K=3), 0.0).item():.6f}")
    0.618034
    """

    def lost(n: NDArray[np.float64]) -> bool:
        return PHASES[phase(n)] in ("partially_ordered", "parallel")

    return _dilutions(
        "critical_dilution", "dilution at which the hierarchical order is lost", model, T, data_noise, lost
    )


def parallel_dilution(model: MultitaskingHebbian, T: ArrayLike, *, data_noise: str = "auto") -> xr.DataArray:
    r"""Dilution beyond which all K amplitudes are equal, until the paramagnet takes their place.

    Close to T = 1 - d the amplitudes are equal for :math:`1 - d < E[x^4]/3`, x the normalised example mean (storing:
    d > 2/3), and single otherwise.

    Parameters
    ----------
    model : MultitaskingHebbian
        Template with K; its dilution is not used.
    T : float or array_like
        Temperatures, T >= 0.
    data_noise : {"auto", "binomial", "gaussian"}
        See `multitasking.solve`.

    Returns
    -------
    xarray.DataArray
        Dimension T. NaN where amplitudes differ up to the paramagnet (at T = 0: at all d), and for K = 1.

    Raises
    ------
    ValueError, TypeError
        As `multitasking.solve`.
    """

    def parallel(n: NDArray[np.float64]) -> bool:
        return PHASES[phase(n)] == "parallel"

    return _dilutions(
        "parallel_dilution", "dilution beyond which all amplitudes are equal", model, T, data_noise, parallel, last=True
    )


def condensation_temperatures(
    model: MultitaskingHebbian, dilution: ArrayLike | None = None, *, data_noise: str = "auto"
) -> xr.DataArray:
    r"""Temperatures below which the first, second, ... amplitude is not zero.

    Parameters
    ----------
    model : MultitaskingHebbian
        Template with K.
    dilution : float or array_like, optional
        d in [0, 1); left out: that of the model.
    data_noise : {"auto", "binomial", "gaussian"}
        See `multitasking.solve`.

    Returns
    -------
    xarray.DataArray
        Dimensions (dilution, pattern), descending along the second. The first is 1 - d. 0 where a pattern does not
        condense above T = 1e-7 (as at d = 0), or above `pattern_average.LOWEST_T` with many patterns or examples.

    Raises
    ------
    ValueError, TypeError
        As `multitasking.solve`.
    """
    K = check_model(model)
    given = model.dilution if dilution is None else dilution
    dilutions = validation.axis("dilution", given, minimum=0.0, below=1.0)
    points = [model.replace(dilution=d) for d in dilutions.tolist()]
    laws = [law_of_entries(point, np.ones(1), data_noise) for point in points]
    values = np.zeros((dilutions.size, K))
    for row, point, law in zip(values, points, laws, strict=True):
        coldest = _COLDEST if law.terms <= LARGEST_ENUMERATION else LOWEST_T
        row[0] = 1 - point.dilution
        for k in range(1, K):

            def condensed(log_T: float, k: int = k, at: tuple = (point, law)) -> bool:
                return follow_hierarchy(at[0], math.exp(log_T), at[1]).n[k] > 0

            if not condensed(math.log(coldest)):
                break
            row[k] = math.exp(_change(condensed, math.log(row[k - 1]), math.log(coldest)))
    return line(
        "condensation_temperatures",
        "temperature below which the amplitude is not zero",
        ENERGY_UNIT,
        values,
        {"dilution": dilutions, "pattern": np.arange(K)},
    )


def _dilutions(
    name: str,
    long_name: str,
    model: MultitaskingHebbian,
    T: ArrayLike,
    data_noise: str,
    changed: Callable[[NDArray[np.float64]], bool],
    last: bool = False,
) -> xr.DataArray:
    """Return, along T, the first dilution at which the amplitudes have changed; or the last, if they stay so."""
    check_model(model)
    temperatures = validation.axis("T", T, minimum=0.0)
    law_of_entries(model.replace(dilution=0.5), temperatures, data_noise)
    values = np.full(temperatures.size, np.nan)
    for i, temperature in enumerate(temperatures.tolist()):
        if temperature >= 1:
            continue

        def has_changed(d: float, T: float = temperature) -> bool:
            point = model.replace(dilution=d)
            return changed(follow_hierarchy(point, T, law_of_entries(point, np.array([T]), data_noise)).n)

        # The paramagnet takes over at d = 1 - T; narrow phases lie before it.
        top = 1 - temperature
        scan = top * np.concatenate([np.arange(_SCAN) / _SCAN, 1 - np.geomspace(0.5 / _SCAN, 1e-4, 6)])
        seen = np.array([has_changed(d) for d in scan.tolist()])
        if not seen[-1 if last else slice(None)].any() or seen.all():
            continue
        j = np.flatnonzero(~seen)[-1] if last else np.argmax(seen) - 1
        values[i] = _change(has_changed, scan[j], scan[j + 1])
    return line(name, long_name, "1", values, {"T": temperatures})


def _change(holds: Callable[[float], bool], no: float, yes: float) -> float:
    """Bisect for the point between `no` and `yes` at which a condition comes to hold."""
    while abs(yes - no) > _PRECISION:
        middle = 0.5 * (no + yes)
        no, yes = (no, middle) if holds(middle) else (middle, yes)
    return 0.5 * (no + yes)
