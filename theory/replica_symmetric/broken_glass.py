r"""Glass without retrieval and with one step of replica-symmetry breaking; equations in `breaking`."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import root

from hebbian.compilation import cached_njit
from theory.replica_symmetric.broken_retrieval import TOLERANCE, Point, broken_point

Array = NDArray[np.float64]

# Relative steps that end a search: the next one would be below 1e-14.
_CLOSE = 1e-12


def broken_glass(P: int, T: float, load: float) -> Point | None:
    """Return the glass with m = 0 below its temperature: q_0 = 0 for P >= 3, the solution with q_0 > 0 for P = 2."""
    point = _unclustered_glass(P, T, load)
    return point if P > 2 or point is None else _clustered_glass(T, load, point)


def _clustered_glass(T: float, load: float, unclustered: Point) -> Point | None:
    """Return the glass with q_0 > 0, P = 2; that with q_0 = 0 where it is too close to it, near T_g.

    At T_g both begin, with q_0 = q_1/3 and mu 4/3 of that of the other; at T = 0 and small loads mu is three times as
    large. Newton's method is started close to the solution, by a fit, and from the whole range.
    """
    # To a few percent at loads from 0.01 to 0.5.
    near = 0.667 - 0.39 * (1 - T / (1 + math.sqrt(load))) ** 2.4
    scale = np.log([unclustered.V1, unclustered.V1, unclustered.mu])

    def point(unknowns: Array) -> Point | None:
        if np.abs(unknowns).max() > 5:
            return None
        V0, v, mu = np.exp(scale + unknowns).tolist()
        return broken_point(2, T, 0.0, V0 + v, v / (V0 + v), mu)

    def gaps(unknowns: Array) -> Array:
        new = point(unknowns)
        if new is None or math.isnan(new.load) or not 0 < new.w < 1:
            return np.full(3, 1e3)
        ratio = math.log(1 / new.w - 1)
        return np.array([math.log(new.load / load), ratio + unknowns[1] - unknowns[0], new.slope])

    for w, factor in ((near, 0.88 / near), (0.67, 1.34), (0.5, 1.8), (0.4, 2.2), (0.28, 3.2)):
        found = root(gaps, np.log([1 - w, w, factor]), method="hybr", options={"xtol": 1e-12, "maxfev": 200})
        if np.abs(found.fun).max() < TOLERANCE:
            return point(found.x)
    return unclustered


def _unclustered_glass(P: int, T: float, load: float) -> Point | None:
    """Return the glass with m = q_0 = 0: the load is explicit in V_1 and mu, and grows with V_1 at stationary mu."""
    s, kappa = _unclustered(P, T, load)
    return None if math.isnan(s) else broken_point(P, T, 0.0, s * s, 1.0, kappa / math.hypot(s, T))


@cached_njit(error_model="numpy", nogil=True)
def _unclustered(P: int, T: float, load: float) -> tuple[float, float]:
    """Return s, the root of V_1, and kappa = mu sqrt(s^2 + T^2) of the glass with m = q_0 = 0, NaN if there is none."""
    high = 1.001 * (math.sqrt(load * P / 2) if P > 2 else math.sqrt(load) + 1)
    kappa = above = math.nan
    for _ in range(200):
        low = 0.95 * high
        kappa, below = _stationary(P, T, low, kappa)
        if math.isnan(kappa):
            return math.nan, math.nan
        if below <= load:
            break
        high, above = low, below
    else:
        return math.nan, math.nan
    if math.isnan(above):
        kappa, above = _stationary(P, T, high, kappa)
    # The rule of false position, with the value of an end that stays halved.
    f_low, f_high, side = below - load, above - load, 0
    s = low
    for _ in range(100):
        before, s = s, (low * f_high - high * f_low) / (f_high - f_low)
        kappa, found = _stationary(P, T, s, kappa)
        if math.isnan(kappa) or abs(s - before) <= _CLOSE * s or not low < s < high:
            break
        if found < load:
            low, f_low = s, found - load
            f_high, side = (0.5 * f_high if side == 1 else f_high), 1
        else:
            high, f_high = s, found - load
            f_low, side = (0.5 * f_low if side == -1 else f_low), -1
    return s, kappa


@cached_njit(error_model="numpy")
def _at(P: int, T: float, s: float, kappa: float) -> tuple[float, float]:
    """Return the slope of the free energy in mu, and the load."""
    point = broken_point(P, T, 0.0, s * s, 1.0, kappa / math.hypot(s, T))
    return point.slope, point.load


@cached_njit(error_model="numpy")
def _stationary(P: int, T: float, s: float, guess: float) -> tuple[float, float]:
    """Return the kappa at which the slope falls through zero, near the guess if there is one, and the load there."""
    largest = min(20.0, math.hypot(s, T) / T) if T > 0.0 else 20.0
    low, high = guess / 1.1, min(1.1 * guess, largest)
    f_low, f_high = math.nan, math.nan
    if guess > 0.0:
        f_low, f_high = _at(P, T, s, low)[0], _at(P, T, s, high)[0]
    if not f_low > 0.0 >= f_high:
        ratio = (largest / 1e-4) ** (1.0 / 15)
        low, f_low = 1e-4, _at(P, T, s, 1e-4)[0]
        while True:
            high = min(low * ratio, largest)
            f_high = _at(P, T, s, high)[0]
            if f_low > 0.0 >= f_high:
                break
            if math.isnan(f_high):
                # The slope may change its sign before the end of what there is.
                ratio = math.sqrt(ratio)
                if ratio < 1.05:
                    return math.nan, math.nan
            elif high == largest:
                return math.nan, math.nan
            else:
                low, f_low = high, f_high
    kappa, load, side = high, math.nan, 0
    for _ in range(100):
        before, kappa = kappa, (low * f_high - high * f_low) / (f_high - f_low)
        slope, load = _at(P, T, s, kappa)
        if abs(kappa - before) <= _CLOSE * kappa or not low < kappa < high:
            break
        if slope > 0.0:
            low, f_low = kappa, slope
            f_high, side = (0.5 * f_high if side == 1 else f_high), 1
        else:
            high, f_high = kappa, slope
            f_low, side = (0.5 * f_low if side == -1 else f_low), -1
    return kappa, load
