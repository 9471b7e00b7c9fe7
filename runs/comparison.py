"""Measurement against prediction: residuals, pulls, chi-square, extrapolation in system size."""

from collections.abc import Iterable

import numpy as np
import xarray as xr

# Errors below this are of the arithmetic, not of the samples.
ROUNDING = 1e-10


def sample_statistics(simulation: xr.Dataset, name: str) -> tuple[xr.DataArray, xr.DataArray]:
    """Return the mean of a variable over quenched samples and its standard error.

    Replicas (or pairs of them) of one sample are averaged first: they share the disorder. Both are NaN where a
    sample has no value: a mean over the others would be one over chosen samples.
    """
    values = simulation[name]
    values = values.mean([dim for dim in ("replica", "pair") if dim in values.dims])
    count = values.sizes["sample"]
    if count < 2:
        return values.mean("sample"), xr.full_like(values.mean("sample"), np.nan)
    return values.mean("sample", skipna=False), values.std("sample", ddof=1, skipna=False) / np.sqrt(count)


def compare(
    simulation: xr.Dataset,
    theory: xr.Dataset,
    names: Iterable[str] = ("m", "n", "q"),
    *,
    where: xr.DataArray | bool = True,
) -> xr.Dataset:
    r"""Residuals and pulls of measured order parameters on the grid both share.

    Parameters
    ----------
    simulation : xarray.Dataset
        From `sim.sweep`.
    theory : xarray.Dataset
        Predictions on the same coordinates; along ``sample`` too if each sample has its own, as with given
        patterns. Residuals are then those of pairs: what the samples differ in cancels.
    names : iterable of str
        Order parameters to compare.
    where : xarray.DataArray of bool
        Points at which the theory claims to describe what was measured: only they have pulls.

    Returns
    -------
    xarray.Dataset
        For each name: ``*_mean``, ``*_error`` (standard error over samples), ``*_residual`` (measured minus
        predicted), ``*_pull`` (residual over its error, that of the mean unless each sample has its prediction;
        Student-t with samples - 1 degrees of freedom if the theory holds and the system is large), and the scalars
        ``*_chi2``, ``*_points``. A point without prediction, or whose samples all agree up to rounding, has no pull.
    """
    compared = xr.Dataset()
    for name in names:
        mean, error = sample_statistics(simulation, name)
        residual, spread = sample_statistics(simulation[[name]] - theory[[name]], name)
        pull = (residual / spread).where((spread > ROUNDING) & where)
        compared[f"{name}_mean"] = mean.assign_attrs(long_name=f"{name}, mean over samples", units="1")
        compared[f"{name}_error"] = error.assign_attrs(long_name=f"standard error of {name}", units="1")
        compared[f"{name}_residual"] = residual.assign_attrs(long_name=f"{name}, measured - predicted", units="1")
        compared[f"{name}_pull"] = pull.assign_attrs(long_name=f"residual of {name} over its error", units="1")
        compared[f"{name}_chi2"] = (pull**2).sum().assign_attrs(long_name=f"chi-square of {name}", units="1")
        compared[f"{name}_points"] = pull.count().assign_attrs(long_name=f"points in {name}_chi2", units="1")
    return compared


def pooled_error(simulation: xr.Dataset, name: str) -> xr.DataArray:
    r"""Return standard errors along N from one spread :math:`s / \sqrt N` pooled over all sizes.

    Inside a phase the sample-to-sample spread of an order parameter falls as :math:`N^{-1/2}`. Pooling keeps
    a size whose few samples happen to agree from having an undue weight in a fit: the error of
    each size by itself is correlated with its mean.
    """
    values = simulation[name]
    values = values.mean([dim for dim in ("replica", "pair") if dim in values.dims])
    spread = (values.var("sample", ddof=1) * values["N"]).mean("N")
    return (spread / (values["N"] * values.sizes["sample"])) ** 0.5


def extrapolate(mean: xr.DataArray, error: xr.DataArray) -> xr.Dataset:
    r"""Extrapolate to infinite size by a weighted fit of :math:`m(N) = m_\infty + a / N`.

    Parameters
    ----------
    mean, error : xarray.DataArray
        Measured values with their standard errors along the dimension N (three sizes or more).

    Returns
    -------
    xarray.Dataset
        ``limit``, ``limit_error``, ``slope`` (a), ``fit_chi2`` (sizes - 2 degrees of freedom).

    Raises
    ------
    ValueError
        If there are fewer than three sizes.
    """
    if mean.sizes["N"] < 3:
        raise ValueError(f"N has {mean.sizes['N']} value(s); allowed: at least three sizes to extrapolate and to check")
    x, weight = 1 / mean["N"], error**-2
    s0, s1, s2 = weight.sum("N"), (weight * x).sum("N"), (weight * x**2).sum("N")
    y0, y1 = (weight * mean).sum("N"), (weight * x * mean).sum("N")
    determinant = s0 * s2 - s1**2
    limit, slope = (s2 * y0 - s1 * y1) / determinant, (s0 * y1 - s1 * y0) / determinant
    chi2 = (weight * (mean - limit - slope * x) ** 2).sum("N")
    return xr.Dataset(
        {"limit": limit, "limit_error": np.sqrt(s2 / determinant), "slope": slope, "fit_chi2": chi2},
    )
