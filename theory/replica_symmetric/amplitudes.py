r"""Stationary points of the free energy of K condensed patterns: found by descent, sorted by stability.

The free energy :math:`f(n) = \frac12\sum_\mu n_\mu^2 - T\,E\ln 2\cosh(X/T)` has the gradient n - G(n) with
:math:`G_\mu = E[\hat\eta^\mu\tanh(X/T)]`. Its second term is concave, so that n -> G(n), and any step towards G(n),
lowers f: the iteration never cycles, at T = 0 either. It follows the dynamics, dn/dt = G(n) - n per sweep, until it is
slow; Newton steps with the absolute values of the eigenvalues of the Hessian, which go downhill too, end the search.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hebbian.compilation import cached_njit
from theory.replica_symmetric.pattern_average import CURVED, FLAT, SINGULAR, Entries, averages

#: Residual n - G(n), relative to the largest amplitude, of what counts as found.
TOLERANCE = 1e-12
#: Relative difference of amplitudes that are the same.
SAME = 1e-6

_CLOSE = 1e-3
_FLOW_STEPS = 500
_NEWTON_STEPS = 200
# The longest and the shortest Newton step that is tried, relative to the amplitudes.
_LONGEST = 0.3
_SHORTEST = 1e-6
# In units of T; amplitudes grow as the root of the distance from the temperature at which they condense.
_ZERO = 1e-7
# How far from an unstable state, relative to its amplitudes, a descent starts.
_AWAY = 0.02


class State(NamedTuple):
    r"""Stationary point of the free energy.

    Parameters
    ----------
    n, m : ndarray, shape (K,)
        Overlaps with the normalised example means, not negative, descending; with the archetypes.
    free_energy, energy, entropy : float
        Per spin.
    hessian : ndarray, shape (K, K)
        Second derivatives of f.
    eigenvalue : float
        Smallest eigenvalue, -inf at T = 0 where a field vanishes on sites that are not blank; if the network is
        unsupervised, that of all examples (see `multitasking.solve`).
    converged : bool
        Whether the residual is below `TOLERANCE`.
    """

    n: NDArray[np.float64]
    m: NDArray[np.float64]
    free_energy: float
    energy: float
    entropy: float
    hessian: NDArray[np.float64]
    eigenvalue: float
    converged: bool

    @property
    def stable(self) -> bool:
        """Whether it is a minimum."""
        return self.eigenvalue > 0


def hierarchy(K: int, d: float, condensed: int) -> NDArray[np.float64]:
    r"""Return the amplitudes :math:`(1-d)d^{\mu-1}` of a hierarchical state of the first of K patterns."""
    amplitudes = (1 - d) * np.power(d, np.arange(K), dtype=np.float64)
    amplitudes[condensed:] = 0.0
    return amplitudes


def mixture(K: int, d: float, condensed: int) -> NDArray[np.float64]:
    """Return equal amplitudes of the first patterns, of the largest sum of squares that a state can have."""
    return np.where(np.arange(K) < condensed, math.sqrt((1 - d) / condensed), 0.0)


def descend(start: NDArray[np.float64], T: float, law: Entries, examples: int = 1) -> State:
    r"""Return the stationary point that a descent from `start` ends in.

    Patterns of equal amplitudes keep them equal, and zeros stay: the symmetry of the start is that of the result.

    Parameters
    ----------
    start : ndarray, shape (K,)
        Amplitudes n.
    T : float
        Temperature, T >= 0.
    law : Entries
        Law of the entries.
    examples : int
        M if the network is unsupervised: fluctuations among the examples of a pattern count for the stability.

    Returns
    -------
    State
    """
    return State(*_state(start, T, law, examples))


def states(K: int, d: float, T: float, law: Entries, examples: int = 1) -> list[State]:
    """Return the stationary points that are reached from the starts of `multitasking.solutions`, lowest f first.

    Parameters
    ----------
    K : int
        Number of patterns.
    d, T : float
        Dilution and temperature.
    law, examples
        As in `descend`.

    Returns
    -------
    list of State
        All different, up to the order and the signs of the patterns.
    """
    found: list[State] = []
    starts = [np.zeros(K)]
    starts += [hierarchy(K, d, k) for k in range(1, K + 1)] + [mixture(K, d, k) for k in range(2, K + 1)]
    while starts:
        state = descend(starts.pop(0), T, law, examples)
        scale = max(float(state.n[0]), _ZERO)
        if not state.converged or any(np.abs(state.n - other.n).max() <= SAME * scale for other in found):
            continue
        found.append(state)
        values, vectors = np.linalg.eigh(state.hessian)
        if values[0] < 0 and state.n[0] > 0:
            away = _AWAY * np.linalg.norm(state.n) * vectors[:, 0]
            # Rounding must not tell equal patterns apart.
            starts += [scale * np.round((state.n + sign * away) / scale, 9) for sign in (1, -1)]
    return sorted(found, key=lambda state: state.free_energy)


@cached_njit(error_model="numpy", nogil=True)
def _state(
    start: NDArray[np.float64], T: float, law: Entries, examples: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], float, float, float, NDArray[np.float64], float, bool]:
    """Return the fields of the `State` that `descend` returns."""
    n, residual = _descend(start, T, law)
    _, m, curvature, nonblank, free, entropy = averages(n, T, law, CURVED)
    hessian = np.eye(n.size) - curvature
    eigenvalue = np.linalg.eigvalsh(hessian)[0]
    if examples > 1:
        R = law.quality**2 + (1.0 - law.quality**2) / examples
        among = 1.0 - (nonblank - R * np.diag(curvature)) / (R * (examples - 1))
        eigenvalue = min(eigenvalue, among.min())
    if T == 0.0 and eigenvalue < -1e-9 * SINGULAR:
        eigenvalue = -np.inf
    order = np.argsort(-np.abs(n), kind="mergesort")
    energy = -0.5 * np.sum(n * n)
    return (
        np.abs(n)[order],
        (m * np.sign(n))[order],
        -energy - free,
        energy,
        entropy,
        hessian[order][:, order],
        eigenvalue,
        residual <= TOLERANCE,
    )


@cached_njit(error_model="numpy")
def _descend(start: NDArray[np.float64], T: float, law: Entries) -> tuple[NDArray[np.float64], float]:
    """Return the amplitudes and the residual."""
    if T >= 1.0 - law.dilution:
        # The second term of f curves by less than (1 - d)/T: the paramagnet is the only stationary point.
        return np.zeros(start.size), 0.0
    # Of each pattern, the first one of equal amplitude.
    groups = np.array([np.argmax(start == amplitude) for amplitude in start])
    n = start.copy()
    zero = start == 0.0
    for _ in range(_FLOW_STEPS):
        new = averages(n, T, law, FLAT)[0]
        _level(new, groups)
        new[zero] = 0.0
        change, size = np.abs(new - n).max(), np.abs(n).max()
        n += 0.5 * (new - n)
        if change <= _CLOSE * size:
            break
    n[np.abs(n) < _ZERO * T] = 0.0
    new, _, curvature, _, free, _ = averages(n, T, law, CURVED)
    radius, before, residual = _LONGEST, np.inf, np.inf
    for _ in range(_NEWTON_STEPS):
        _level(new, groups)
        gradient = n - new
        size = np.abs(n).max()
        if size == 0.0:
            return n, 0.0
        residual = np.abs(gradient).max() / size
        # The residual falls as far as rounding lets it.
        if residual <= TOLERANCE and residual >= 0.5 * before:
            break
        before = residual
        values, vectors = np.linalg.eigh(np.eye(n.size) - curvature)
        step = -vectors @ ((vectors.T @ gradient) / np.maximum(np.abs(values), 1e-14))
        _level(step, groups)
        length = np.sqrt(np.sum(step * step) / np.sum(n * n))
        f = 0.5 * np.sum(n * n) - free
        radius = min(4.0 * radius, _LONGEST)
        while True:
            # The step towards G(n), which always goes downhill, where no Newton step does.
            candidate = n + step * min(1.0, radius / length) if radius > _SHORTEST else new
            candidate[zero | (np.abs(candidate) < _ZERO * T)] = 0.0
            new, _, curvature, _, free, _ = averages(candidate, T, law, CURVED)
            # Rounding must not reject a step at the minimum.
            if radius <= _SHORTEST or 0.5 * np.sum(candidate * candidate) - free <= f + 1e-13 * (abs(f) + T):
                break
            new = n - gradient
            radius = 0.25 * min(radius, length)
        n = candidate
        radius = max(radius, _SHORTEST)
    return n, residual


@cached_njit(error_model="numpy")
def _level(values: NDArray[np.float64], groups: NDArray[np.int64]) -> None:
    """Give the patterns of a group the mean of their values: rounding must not tell them apart."""
    for group in range(values.size):
        total, count = 0.0, 0
        for mu in range(values.size):
            if groups[mu] == group:
                total += values[mu]
                count += 1
        for mu in range(values.size):
            if groups[mu] == group:
                values[mu] = total / count
