r"""Glass without retrieval and with one step of replica-symmetry breaking; equations in `breaking`."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, root

from theory.replica_symmetric.broken_retrieval import TOLERANCE, Point, broken_point

Array = NDArray[np.float64]


def broken_glass(P: int, T: float, load: float) -> Point | None:
    """Return the glass with m = 0 below its temperature: q_0 = 0 for P >= 3, the solution with q_0 > 0 for P = 2."""
    point = _unclustered_glass(P, T, load)
    return point if P > 2 or point is None else _clustered_glass(T, load, point)


def _clustered_glass(T: float, load: float, unclustered: Point) -> Point | None:
    """Return the glass with q_0 > 0, P = 2; that with q_0 = 0 where it is too close to it, near T_g.

    At T_g both begin, with q_0 = q_1/3 and mu 4/3 of that of the other; at T = 0 and small loads mu is three times as
    large. Newton's method is started from the whole range.
    """
    scale = np.log([unclustered.V1, unclustered.V1, unclustered.mu])

    def point(unknowns: Array) -> Point | None:
        if np.abs(unknowns).max() > 5:
            return None
        V0, v, mu = np.exp(scale + unknowns).tolist()
        return broken_point(2, T, 0.0, V0 + v, v / (V0 + v), mu)

    def gaps(unknowns: Array) -> Array:
        new = point(unknowns)
        if new is None or not 0 < new.w < 1:
            return np.full(3, 1e3)
        ratio = math.log(1 / new.w - 1)
        return np.array([math.log(new.load / load), ratio + unknowns[1] - unknowns[0], new.slope])

    for w, factor in ((0.67, 1.34), (0.5, 1.8), (0.4, 2.2), (0.28, 3.2)):
        found = root(gaps, np.log([1 - w, w, factor]), method="hybr", options={"xtol": 1e-12, "maxfev": 200})
        if np.abs(found.fun).max() < TOLERANCE:
            return point(found.x)
    return unclustered


def _unclustered_glass(P: int, T: float, load: float) -> Point | None:
    """Return the glass with m = q_0 = 0: the load is explicit in V_1 and mu, and grows with V_1 at stationary mu."""

    def at(s: float) -> Point | None:
        def point(kappa: float) -> Point | None:
            return broken_point(P, T, 0.0, s * s, 1.0, kappa / math.hypot(s, T))

        largest = min(20.0, math.hypot(s, T) / T) if T > 0 else 20.0
        before: float | None = None
        for kappa in np.geomspace(1e-4, largest, 60).tolist():
            new = point(kappa)
            if new is None:
                break
            if before is not None and new.slope <= 0:
                kappa = brentq(lambda value: point(value).slope, before, kappa, xtol=1e-14, rtol=1e-14)  # type: ignore[union-attr]
                return point(kappa)
            before = kappa if new.slope > 0 else None
        return None

    high = 1.001 * (math.sqrt(load * P / 2) if P > 2 else math.sqrt(load) + 1)
    for _ in range(200):
        low = 0.95 * high
        point = at(low)
        if point is None:
            return None
        if point.load <= load:
            s = brentq(lambda value: at(value).load - load, low, high, xtol=1e-14)  # type: ignore[union-attr]
            return at(s)
        high = low
    return None
