r"""Retrieval with one step of replica-symmetry breaking, followed along the signal a; equations in `breaking`."""

import math
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar, root

from hebbian.compilation import cached_njit
from theory.replica_symmetric.block_averages import BEND, block_averages
from theory.replica_symmetric.disorder import Network
from theory.replica_symmetric.saddle import RETRIEVAL, solve_point
from theory.replica_symmetric.spinodal import largest_load

Array = NDArray[np.float64]

TOLERANCE = 1e-8
# Instability (T times one minus the replicon) over sqrt(V) below which, at T = 0, breaking is not resolved: q1 - q0 is
# then about 1e-5, and the stationarity in mu, of order (q1 - q0)^2, is lost in rounding soon after.
_WEAKEST = 0.004
# The branch is entered where the replicon is 1 - _ENTRY, and followed back towards zero.
_ENTRY = 1.05
_STEP = 0.1
# Logarithms beyond which Newton's method has lost its way.
_RUNAWAY = 100.0


class Point(NamedTuple):
    """What follows from A, V_0, V_1 and mu; `w` and `A` are to agree with those put in, `slope` is to vanish."""

    load: float
    m: float
    q0: float
    q1: float
    C: float
    mu: float
    V1: float
    entropy: float
    w: float
    A: float
    slope: float
    energy: float  # of the breaking: what is to be added to the replica-symmetric expression in q1, C and V1


@cached_njit(error_model="numpy", nogil=True)
def broken_point(P: int, T: float, A: float, V1: float, w: float, mu: float) -> Point:
    """Return the point at V_1 - V_0 = w V_1, of NaN where q1 = q0 or D < 0."""
    v = w * V1
    m, defect, C, tilt, entropy = block_averages(A, (1 - w) * V1, v, mu, T, BEND)
    if A == 0:  # exactly, by symmetry
        m, defect = 0.0, (defect if w < 1 else 1.0)
    q0, q1, spread = 1 - defect, 1 - T * C, defect - T * C
    if not 0 < spread <= q1:
        return _no_point()
    # slope: df/dmu over (V_1 - V_0)(q_1 - q_0), which is regular where these vanish.
    if P == 2:
        D1 = 1 - C
        D = D1 - mu * spread
        if D <= 0:
            return _no_point()
        w_new = spread * D / (q0 * D1 + spread * D)
        load = V1 / (q0 / D**2 + spread / (D * D1))
        slope = -load / 2 * (math.log1p(-mu * spread / D1) / mu**2 + spread / (mu * D)) - v * (1 - q1) / 2
        energy = -load / 2 * mu * spread * (q0 * (D + D1) / D + spread) / (D * D1**2)
    else:
        w_new = _relative(P - 1, q0, q1, spread)
        load = V1 / (P / 2 * q1 ** (P - 1))
        # (P - 1) [F(q_1) - F(q_0)] / (V_1 - V_0), times the v put in: the equation of w would leave 1/spread here.
        slope = ((P - 1) * q1 / P * _relative(P, q0, q1, spread) / w_new - 1) * v / 2
        energy = -mu * V1 * q1 / P * _relative(P, q0, q1, spread)
    slope = (slope + tilt / mu**2) / (v * spread)
    return Point(load, m, q0, q1, C, mu, V1, entropy, w_new, P / 2 * max(m, 0.0) ** (P - 1), slope, energy)


@cached_njit(error_model="numpy")
def _no_point() -> Point:
    none = math.nan
    return Point(none, none, none, none, none, none, none, none, none, none, none, none)


@cached_njit(error_model="numpy")
def _relative(power: int, q0: float, q1: float, spread: float) -> float:
    """Return 1 - (q0/q1)^power."""
    return -math.expm1(power * math.log1p(-spread / q1)) if q0 > 0 else 1.0


class Branch:
    """Broken retrieval at one temperature, along a from where breaking is weak to beyond the largest load.

    Unknowns are the logarithms of :math:`V_1`, w and mu. At the entry they are found without a guess: at fixed
    mu sqrt(V_1 - V_0 + T^2) the other equations are iterated from m = w = 1, and that number is scanned for a
    change of sign of the slope. From there on Newton's method follows a.
    """

    def __init__(self, net: Network, T: float) -> None:
        self.P, self.T = net.P, T
        self.nodes: list[tuple[float, Array, Point]] = []
        end = largest_load(net, T) * (1 - 1e-9)
        self.end = end if math.isfinite(end) else 0.0

        def symmetric(load: float) -> tuple[float, float]:
            """Return the instability and a of the replica-symmetric solution."""
            out = np.empty(7)
            solve_point(net._replace(load=load, T=T), RETRIEVAL, out)
            _, n, _, V, instability, _, _ = out.tolist()
            return instability, net.P / 2 * n ** (net.P - 1) / math.sqrt(V)

        def excess(load: float) -> float:
            instability, a = symmetric(load)
            # The signal P/2 over a is sqrt(V) at m = 1.
            return instability - max(_ENTRY * T, _WEAKEST * net.P / 2 / a)

        if self.end == 0.0:
            return
        load = self.end
        if excess(load) > 0:
            # a falls from about 40, where the instability is below any float, with the load.
            load = brentq(excess, 1e-3 * self.end, self.end, rtol=1e-10)
        elif not symmetric(load)[0] > T:
            return
        a = symmetric(load)[1]
        guess = self._entry(a)
        if guess is None:
            return
        self._follow(a, guess)
        if T > 0 and self.nodes:
            self._follow_back(a, symmetric, load)

    def _entry(self, a: float) -> Array | None:
        """Return the unknowns at a, roughly."""
        before: tuple[float, Array] | None = None
        for kappa in np.geomspace(0.1, 6.0, 14).tolist():
            w, S, before_last = 1.0, self.P / 2 / a, math.inf
            for i in range(100):
                mu = kappa / math.hypot(math.sqrt(w) * S, self.T)
                mu = min(mu, 1 / self.T) if self.T > 0 else mu
                point = broken_point(self.P, self.T, a * S, S * S, w, mu)
                if not point.w >= 1e-12:
                    break
                change = math.log(point.w / w)
                w, S = point.w, point.A / a
                if abs(change) < 1e-3:
                    break
                ratio = change / before_last
                if i % 3 == 2 and 0 < ratio < 0.99:
                    w = min(1.0, w * math.exp(change * ratio / (1 - ratio)))  # Aitken's extrapolation
                before_last = change
            if not point.w >= 1e-12:
                continue
            unknowns = np.array([math.log(S * S), math.log(w), math.log(mu)])
            if before is not None and before[0] > 0 >= point.slope:
                share = before[0] / (before[0] - point.slope)
                return before[1] + share * (unknowns - before[1])
            before = point.slope, unknowns
        return None

    def at(self, a: float, guess: Array) -> tuple[Array, Point] | None:
        """Return the unknowns and the solution at a; None if Newton's method does not find it."""

        def gaps(unknowns: Array) -> Array:
            point = self._point(a, *unknowns.tolist())
            return np.full(3, 1e3) if point is None else self._gaps(a, unknowns, point)

        found = root(gaps, guess, method="hybr", options={"xtol": 1e-12, "maxfev": 80})
        if not np.abs(found.fun).max() < TOLERANCE:
            return None
        point = self._point(a, *found.x.tolist())
        return None if point is None or point.mu * self.T > 1 else (found.x, point)

    def _point(self, a: float, log_V1: float, log_w: float, log_mu: float) -> Point | None:
        """Return what follows from a and the unknowns, None where nothing does."""
        if not (a > 0 and max(abs(log_V1), abs(log_w), abs(log_mu)) <= _RUNAWAY and log_w < 0):
            return None
        V1 = math.exp(log_V1)
        point = broken_point(self.P, self.T, a * math.sqrt(V1), V1, math.exp(log_w), math.exp(log_mu))
        return point if point.A > 0 else None

    @staticmethod
    def _gaps(a: float, unknowns: Array, point: Point) -> Array:
        """Return what is to vanish at a solution."""
        return np.array([2 * math.log(point.A / a) - unknowns[0], math.log(point.w) - unknowns[1], point.slope])

    def _follow(self, a: float, guess: Array) -> None:
        """Append solutions downwards in a, in steps that Newton's method bears, until the load has fallen twice."""
        falls, step = 0, _STEP / 4
        while falls < 2 and step > 1e-3:
            found = self.at(a, guess)
            if found is not None:
                falls += bool(self.nodes) and found[1].load < self.nodes[-1][2].load
                self.nodes.append((a, *found))
                step = min(_STEP, 2 * step)
            elif self.nodes:
                step /= 2
            else:
                return
            a, guess = self.nodes[-1][0] - step, self.nodes[-1][1]
            if len(self.nodes) > 1:
                before, unknowns, _ = self.nodes[-2]
                guess = guess + (guess - unknowns) * step / (before - self.nodes[-1][0])
            if a <= 0:
                return

    def _follow_back(self, a: float, symmetric: Callable[[float], tuple[float, float]], load: float) -> None:
        """Insert a solution close to where the instability begins: w falls linearly to zero there."""
        if symmetric(1e-3 * load)[0] >= self.T:
            return
        begin = brentq(lambda value: symmetric(value)[0] - self.T, 1e-3 * load, load, rtol=1e-12)
        distance = symmetric(begin)[1] - a
        for share in (0.99, 0.9, 0.5):
            found = self.at(a + share * distance, self.nodes[0][1] + np.array([0.0, math.log(1 - share), 0.0]))
            if found is not None:
                self.nodes.insert(0, (a + share * distance, *found))
                return

    def _between(self, i: int, a: float) -> Point:
        """Return the solution at a between nodes i and i + 1."""
        (left, start, first), (right, stop, _) = self.nodes[i], self.nodes[i + 1]
        share = (a - left) / (right - left)
        mixed = np.log((1 - share) * np.exp(start) + share * np.exp(stop))
        found = self.at(a, mixed) or self.at(a, start) or self.at(a, stop)
        return first._replace(load=math.nan) if found is None else found[1]

    @cached_property
    def top(self) -> tuple[int, float, float]:
        """Return the node before the largest load, its a and the load."""
        loads = [point.load for _, _, point in self.nodes]
        i = int(np.argmax(loads))
        if i in (0, len(loads) - 1):
            return i, self.nodes[i][0], loads[i]

        def falling(a: float) -> float:
            return -self._between(i - 1 if a > self.nodes[i][0] else i, a).load

        ends = self.nodes[i + 1][0], self.nodes[i - 1][0]
        best = minimize_scalar(falling, bounds=ends, method="bounded", options={"xatol": 1e-6})
        return (i - 1 if best.x > self.nodes[i][0] else i), float(best.x), -float(best.fun)

    def solution(self, load: float) -> Point | None:
        """Return the broken solution at this load, None where there is none or it is too close to its beginning."""
        if not self.nodes:
            return None
        last, a_top, largest = self.top
        if not self.nodes[0][2].load <= load <= largest:
            return None
        below = [i for i in range(last + 1) if self.nodes[i][2].load <= load]
        i = below[-1]
        left, right = self.nodes[i][0], max(a_top, self.nodes[i + 1][0]) if i == last else self.nodes[i + 1][0]
        if load == largest:
            return self._between(i, a_top)
        found = self._at_load(load, i)
        if found is not None and right <= found[0] <= left:
            return found[1]
        a = brentq(lambda value: self._between(i, value).load - load, right, left, xtol=1e-13)
        return self._between(i, a)

    def _at_load(self, load: float, i: int) -> tuple[float, Point] | None:
        """Return a and the solution at a load between those of the nodes i and i + 1; None if it is not found."""
        (left, start, first), (right, stop, second) = self.nodes[i], self.nodes[i + 1]
        share = min(1.0, (load - first.load) / abs(second.load - first.load))

        def gaps(unknowns: Array) -> Array:
            point = self._point(*unknowns.tolist())
            if point is None:
                return np.full(4, 1e3)
            return np.append(self._gaps(unknowns[0], unknowns[1:], point), math.log(point.load / load))

        guess = (1 - share) * np.array([left, *start]) + share * np.array([right, *stop])
        found = root(gaps, guess, method="hybr", options={"xtol": 1e-12, "maxfev": 60})
        if not np.abs(found.fun).max() < TOLERANCE:
            return None
        point = self._point(*found.x.tolist())
        return None if point is None or point.mu * self.T > 1 else (float(found.x[0]), point)
