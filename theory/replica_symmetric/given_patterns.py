r"""Low-load network whose patterns are given, such as images, or one quenched sample: no average over patterns.

At finite K the equations of the multitasking network know the patterns only through the joint law of their entries at a
site. Given patterns have an empirical law:

.. math::
    n_\mu = \frac1N \sum_i \hat\eta_i^\mu \tanh\Big(\beta \sum_\nu n_\nu \hat\eta_i^\nu\Big), \quad
    m_\mu = \frac1N \sum_i \xi_i^\mu \tanh(\dots), \quad
    -\beta f = \frac1N \sum_i \ln 2\cosh\Big(\beta \sum_\nu n_\nu \hat\eta_i^\nu\Big) - \frac\beta2 \sum_\mu n_\mu^2,

exact for many spins at each combination of entries. For random patterns they contain what their overlaps of order
:math:`1/\sqrt N` do to one sample, which the average over patterns leaves out.
"""

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from hebbian import validation
from theory.replica_symmetric.axes import ENERGY_UNIT, label

_ITERATIONS = 20_000
TOLERANCE = 1e-12

VARIABLES = {
    "m": ("overlap with the archetype", "1"),
    "n": ("overlap with the normalised example mean", "1"),
    "q": ("Edwards-Anderson overlap", "1"),
    "energy": ("energy per spin", ENERGY_UNIT),
    "free_energy": ("free energy per spin", ENERGY_UNIT),
    "converged": ("whether the fixed point was reached", "1"),
}


def solve_given(
    archetypes: ArrayLike, *, T: ArrayLike, initial: ArrayLike, learned: ArrayLike | None = None
) -> xr.Dataset:
    r"""Follow the mean-field equations of given patterns from a configuration to their fixed point.

    Units: :math:`k_B = 1`, :math:`H = -(N/2)\sum_\mu n_\mu^2`.

    Parameters
    ----------
    archetypes : array_like, shape (K, N)
        Archetypes, entries -1, 0 and +1.
    T : float or array_like
        Temperatures >= 0; 0 is the limit.
    initial : array_like, shape (N,)
        Spins from whose overlaps the iteration starts.
    learned : array_like, shape (K, N), optional
        Normalised example means; left out: the archetypes themselves. In unsupervised training they stand for all
        examples where these are not retrieved one by one (few and poor ones are); to leave that open, give each
        archetype M times and, as `learned`, its examples over :math:`\sqrt{M R}`.

    Returns
    -------
    xarray.Dataset
        ``m`` and ``n`` along (T, pattern); ``q``, ``energy``, ``free_energy`` and ``converged`` along T.

    Raises
    ------
    TypeError, ValueError
        If an array has another shape or other entries, or a temperature is out of range.
    """
    xi = validation.rectangular("archetypes", archetypes)
    if xi.ndim != 2 or 0 in xi.shape:
        raise ValueError(f"archetypes has shape {xi.shape}; allowed: (K, N), at least one pattern of one site")
    xi = validation.signs("archetypes", xi, xi.shape, blanks=True).astype(np.float64)
    rows = xi if learned is None else validation.rectangular("learned", learned)
    if rows.dtype.kind not in "iuf":
        raise TypeError(f"learned has dtype {rows.dtype}; allowed: real numbers")
    rows = rows.astype(np.float64, copy=False)
    if rows.shape != xi.shape or not np.isfinite(rows).all():
        raise ValueError(f"learned has shape {rows.shape} or entries that are not finite; allowed: {xi.shape}, finite")
    spins = validation.signs("initial", initial, xi.shape[1:])
    temperatures = validation.axis("T", T, minimum=0.0)
    # At the lowest temperatures h/T exceeds the floats: the averages are those of T = 0.
    with np.errstate(over="ignore"):
        points = [_fixed_point(xi, rows, rows @ spins / spins.size, value) for value in temperatures.tolist()]
    dims = {"m": ("T", "pattern"), "n": ("T", "pattern")}
    variables = {
        name: (dims.get(name, ("T",)), np.array([point[name] for point in points]), {"long_name": text, "units": units})
        for name, (text, units) in VARIABLES.items()
    }
    result = xr.Dataset(variables, coords={"T": temperatures, "pattern": np.arange(len(xi))})
    label(result)
    return result


def _fixed_point(
    xi: NDArray[np.float64], rows: NDArray[np.float64], n: NDArray[np.float64], T: float
) -> dict[str, NDArray[np.float64] | float | bool]:
    N, converged = rows.shape[1], False
    for _ in range(_ITERATIONS):
        field = n @ rows
        means = np.tanh(field / T) if T else np.sign(field)
        after = rows @ means / N
        converged = bool(np.abs(after - n).max() <= TOLERANCE)
        n = after
        if converged:
            break
    field = n @ rows
    # T ln 2cosh(h/T), at T = 0 its limit |h|.
    spin = np.abs(field) + (T * np.log1p(np.exp(-2 * np.abs(field) / T)) if T else 0.0)
    energy = -float(n @ n) / 2
    return {
        "m": xi @ means / N,
        "n": n,
        "q": float(means @ means) / N,
        "energy": energy,
        "free_energy": -float(spin.mean()) - energy,
        "converged": converged,
    }
