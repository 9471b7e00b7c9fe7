"""Measurement against prediction: alignment, residuals, pulls, chi-square, extrapolation in system size."""

from collections.abc import Iterable

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

# Errors below this are of the arithmetic, not of the samples.
ROUNDING = 1e-10
# Coordinates that differ by less, relative to their size, are the same point.
SAME = 1e-9
#: Numbers of standard errors within which points are counted.
SIGMA = (1, 2, 3)


def align(simulation: xr.Dataset, theory: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    """Bring a measurement and a prediction to the points that both have.

    Numbers that agree up to rounding (1e-9 of their size, or a few units in the last place of the largest one) are
    the same coordinate; both results carry the simulation's value, in its order. Other coordinates have to be equal.

    Parameters
    ----------
    simulation, theory : xarray.Dataset
        Datasets with any dimensions; those that only one of them has are left as they are.

    Returns
    -------
    simulation, theory : xarray.Dataset
        Both without the points that the other lacks.

    Raises
    ------
    TypeError
        If one of them is not a dataset.
    ValueError
        If they have no value of a shared coordinate in common, repeat one, or differ in the length of a shared
        dimension without coordinate.
    """
    _check_datasets(simulation, theory)
    for dim in [dim for dim in simulation.dims if dim in theory.dims]:
        if dim not in simulation.coords or dim not in theory.coords:
            if simulation.sizes[dim] != theory.sizes[dim]:
                raise ValueError(
                    f"{dim} has {simulation.sizes[dim]} entries in simulation and {theory.sizes[dim]} in theory; "
                    "allowed: equal lengths, or a coordinate in both to align them by"
                )
            continue
        measured, predicted = simulation[dim].values, theory[dim].values
        if np.array_equal(measured, predicted):
            continue
        for argument, values in (("simulation", measured), ("theory", predicted)):
            if len(set(values.tolist())) < values.size:
                raise ValueError(f"{dim} = {_short(values)} of {argument} repeats a value; allowed: distinct values")
        at = _positions(measured, predicted)
        kept = np.flatnonzero(at >= 0)
        if not kept.size:
            raise ValueError(
                f"{dim} has no value in common: {_short(measured)} in simulation, {_short(predicted)} in theory; "
                "allowed: axes that share a value"
            )
        simulation, attributes = simulation.isel({dim: kept}), theory[dim].attrs
        theory = theory.isel({dim: at[kept]}).assign_coords({dim: (dim, measured[kept], attributes)})
    return simulation, theory


def _check_datasets(simulation: object, theory: object) -> None:
    for argument, dataset in (("simulation", simulation), ("theory", theory)):
        if not isinstance(dataset, xr.Dataset):
            raise TypeError(f"{argument} = {type(dataset).__name__} is not a dataset; allowed: xarray.Dataset")


def _positions(wanted: NDArray, values: NDArray) -> NDArray[np.int64]:
    """Return where in `values` each wanted one is found, -1 where it is not."""
    if not {wanted.dtype.kind, values.dtype.kind} <= set("iuf"):
        found = {value: i for i, value in enumerate(values.tolist())}
        return np.array([found.get(value, -1) for value in wanted.tolist()])
    order = np.argsort(values)
    ascending, wanted = values[order].astype(np.float64), wanted.astype(np.float64)
    right = np.searchsorted(ascending, wanted).clip(max=len(values) - 1)
    left = (right - 1).clip(min=0)
    with np.errstate(invalid="ignore"):  # infinite values less each other
        nearest = np.where(abs(ascending[left] - wanted) <= abs(ascending[right] - wanted), left, right)
        distance = abs(ascending[nearest] - wanted)
        # Steps of an axis round at its largest value, which is all that tells zero from what is almost zero.
        last_place = 4 * np.finfo(np.float64).eps * np.max(abs(wanted[np.isfinite(wanted)]), initial=0.0)
        same = distance <= np.maximum(SAME * np.minimum(abs(wanted), abs(ascending[nearest])), last_place)
    return np.where(same | (ascending[nearest] == wanted), order[nearest], -1)


def _short(values: NDArray) -> str:
    return np.array2string(values, threshold=8, edgeitems=3, max_line_width=10_000, separator=", ")


def sample_statistics(simulation: xr.Dataset, name: str) -> tuple[xr.DataArray, xr.DataArray]:
    """Return the mean of a variable over quenched samples and its standard error.

    Replicas (or pairs of them) of one sample are averaged first: they share the disorder. If the dataset has
    ``completed``, only samples where it is 1 count. Both are NaN where a sample that counts has no value: a mean over
    the others would be one over chosen samples. The error of a single sample is NaN.

    Parameters
    ----------
    simulation : xarray.Dataset
        From `sim.sweep`.
    name : str
        Variable along ``sample``.

    Returns
    -------
    mean, error : xarray.DataArray
        Along the other dimensions of the variable, in its units.

    Raises
    ------
    ValueError
        If there is no such variable, or it has no samples.
    """
    mean, squares, count = _moments(simulation, name)
    return mean, (squares / (count - 1).where(count > 1) / count) ** 0.5


def _moments(simulation: xr.Dataset, name: str) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Return mean, sum of squared deviations and number of the completed samples."""
    _check_variable("simulation", simulation, name)
    if "sample" not in simulation[name].dims:
        raise ValueError(f"{name} has dimensions {simulation[name].dims} in simulation; allowed: `sample` among them")
    values = simulation[name].astype(np.float64)
    values = values.mean([dim for dim in ("replica", "pair") if dim in values.dims], skipna=False)
    ran = simulation["completed"] == 1 if "completed" in simulation else xr.DataArray(True)
    count = ran.broadcast_like(values["sample"]).sum("sample")
    mean = values.where(ran, 0.0).sum("sample", skipna=False) / count.where(count > 0)
    squares = ((values - mean).where(ran, 0.0) ** 2).sum("sample", skipna=False)
    return mean, squares, count


def _check_variable(argument: str, dataset: xr.Dataset, name: str) -> None:
    if name not in dataset.data_vars:
        allowed = ", ".join(map(str, dataset.data_vars)) or "none"
        raise ValueError(f"name = {name!r} is not a variable of {argument}; allowed: {allowed}")


def compare(
    simulation: xr.Dataset,
    theory: xr.Dataset,
    names: Iterable[str] = ("m", "n", "q"),
    *,
    where: xr.DataArray | bool = True,
) -> xr.Dataset:
    r"""Residuals and pulls of measured order parameters at the points that both share (see `align`).

    Parameters
    ----------
    simulation : xarray.Dataset
        From `sim.sweep`. With ``completed``, samples where it is 0 do not count.
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
        For each name: ``*_mean``, ``*_error`` (standard error over samples), ``*_samples`` (their number),
        ``*_residual`` (measured minus predicted), ``*_pull`` (residual over its error, that of the mean unless each
        sample has its prediction; Student-t with samples - 1 degrees of freedom if the theory holds and the
        system is large), and how they agree, as by `agreement`. A point without prediction, or whose samples
        all agree up to rounding, has no pull.

    Raises
    ------
    TypeError, ValueError
        If an argument is no dataset, a name is no variable of both, or the two cannot be aligned.
    """
    _check_datasets(simulation, theory)
    names = list(names)
    for name in names:
        _check_variable("simulation", simulation, name)
        _check_variable("theory", theory, name)
    completed = ["completed"] if "completed" in simulation else []
    measured, predicted = align(simulation[[*names, *completed]], theory[names])
    flags = {name: measured[name] for name in completed}
    compared = xr.Dataset()
    for name in names:
        mean, error = sample_statistics(measured, name)
        difference = (measured[[name]] - predicted[[name]]).assign(flags)
        residual, spread = sample_statistics(difference, name)
        count = _moments(difference, name)[2]
        pull = (residual / spread).where((spread > ROUNDING) & _claimed(residual, where))
        words = measured[name].attrs.get("long_name", name)
        units = measured[name].attrs.get("units", "1")
        compared[f"{name}_mean"] = mean.assign_attrs(long_name=f"{words}, mean over samples", units=units)
        compared[f"{name}_error"] = error.assign_attrs(long_name=f"standard error of {name}", units=units)
        compared[f"{name}_samples"] = count.assign_attrs(long_name="samples that were measured", units="1")
        compared[f"{name}_residual"] = residual.assign_attrs(long_name=f"{name}, measured - predicted", units=units)
        compared[f"{name}_pull"] = pull.assign_attrs(long_name=f"residual of {name} over its error", units="1")
        compared = compared.merge(agreement(name, pull, count - 1))
    return compared


def _claimed(residual: xr.DataArray, where: xr.DataArray | bool) -> xr.DataArray:
    """Return `where` at the points of a residual, False at those it lacks."""
    if not isinstance(where, xr.DataArray):
        return xr.DataArray(bool(where))
    points = residual.rename("residual").to_dataset()
    shared = {dim: residual[dim] for dim in residual.dims if dim in where.dims and dim in residual.coords}
    claimed = align(points, where.rename("where").to_dataset())[1]["where"]
    return claimed.reindex(shared, fill_value=False)


def agreement(name: str, pull: xr.DataArray, freedom: xr.DataArray | float = np.inf) -> xr.Dataset:
    r"""Say how well pulls agree with the law they have if the theory holds.

    The sum of squared pulls of few samples is not distributed as chi-square: Student's t has wider tails, and with
    three degrees of freedom or fewer its square has no variance. So each pull t is transformed to the normal number
    of the same probability, :math:`z = \Phi^{-1}(F_\nu(t))`, and :math:`\sum z^2` is exactly chi-square of as many
    degrees of freedom as there are points, if values of a point are normal and those of different points independent.
    Temperatures of one sample are not independent: the p-value of such points is one of fewer points than it says.

    Parameters
    ----------
    name : str
        Quantity, the first word of the variables.
    pull : xarray.DataArray
        Pulls; NaN at points that have none.
    freedom : xarray.DataArray or float
        Degrees of freedom of Student's t, above 0, of each point or of all; infinite for normal pulls.

    Returns
    -------
    xarray.Dataset
        ``*_chi2`` (sum of squared pulls), ``*_points`` (their number), ``*_normal_chi2`` (sum of squares of the
        normal numbers), ``*_p_value`` (probability of a ``*_normal_chi2`` at least as large), and along ``sigma``
        = 1, 2, 3: ``*_within`` (fraction of points with \|pull\| <= sigma) and ``*_expected`` (what Student's t gives).
        Fractions and probability are NaN if no point has a pull.
    """
    freedom = xr.DataArray(freedom).where(pull.notnull())
    points, sigma = pull.count(), xr.DataArray(np.array(SIGMA), dims="sigma")
    # At no point these are sums of nothing over nothing.
    some = points.where(points > 0)
    inside = (abs(pull) <= sigma).sum(pull.dims)
    chance = 1 - 2 * xr.apply_ufunc(stats.t.sf, sigma, freedom)
    normal_chi2 = (xr.apply_ufunc(_normal, pull, freedom) ** 2).sum()
    variables = {
        "chi2": ((pull**2).sum(), f"chi-square of {name}"),
        "points": (points, f"points in {name}_chi2"),
        "normal_chi2": (normal_chi2, f"chi-square of the pulls of {name}, each made normal"),
        "p_value": (xr.apply_ufunc(stats.chi2.sf, normal_chi2, some), f"probability of a larger {name}_normal_chi2"),
        "within": (inside / some, f"fraction of points with a pull of {name} of at most sigma"),
        "expected": (chance.sum(pull.dims) / some, f"{name}_within if the theory holds"),
    }
    sigma = sigma.assign_attrs(long_name="largest pull that counts", units="1")
    labelled = {
        f"{name}_{word}": values.drop_vars(list(values.coords)).assign_attrs(long_name=text, units="1")
        for word, (values, text) in variables.items()
    }
    return xr.Dataset(labelled, coords={"sigma": sigma})


def _normal(pull: ArrayLike, freedom: ArrayLike) -> NDArray[np.float64]:
    """Return the normal numbers with the same probabilities as Student-t ones."""
    t, nu = np.broadcast_arrays(np.abs(np.asarray(pull, dtype=np.float64)), np.asarray(freedom, dtype=np.float64))
    with np.errstate(divide="ignore"):
        log_tail = np.log(stats.t.sf(t, nu))
    # Where the tail underflows: I_x(nu/2, 1/2)/2 with x = nu/(nu + t^2) as its power of x times a series.
    far = (log_tail < -600) & np.isfinite(nu)
    a, x = nu[far] / 2, 1 / (1 + t[far] ** 2 / nu[far])
    series = special.hyp2f1(a, 0.5, a + 1, x)
    log_tail[far] = a * np.log(x) - np.log(2 * a) - special.betaln(a, 0.5) + np.log(series)
    z = np.where(np.isinf(nu), t, -special.ndtri_exp(log_tail))
    return np.copysign(z, pull)


def summary(compared: xr.Dataset, name: str) -> str:
    """Return a line that says how measurement and theory agree, of the result of `compare` or `agreement`.

    Parameters
    ----------
    compared : xarray.Dataset
        Comparison of one or several quantities.
    name : str
        The quantity.

    Returns
    -------
    str
        Such as ``m: 47 of 50 points within 3 standard errors (expected 49.1), chi-square 41.2, p = 0.81``; the
        chi-square is that of the pulls made normal, to which p belongs.

    Raises
    ------
    ValueError
        If the quantity was not compared.
    """
    _check_variable("compared", compared, f"{name}_p_value")
    points = int(compared[f"{name}_points"])
    if points == 0:
        return f"{name}: no points to compare"
    three = compared.sel(sigma=3)
    within, expected = (float(three[f"{name}_{word}"]) * points for word in ("within", "expected"))
    p = float(compared[f"{name}_p_value"])
    return (
        f"{name}: {within:.0f} of {points} points within 3 standard errors (expected {expected:.1f}), "
        f"chi-square {float(compared[f'{name}_normal_chi2']):.1f}, " + (f"p = {p:.2g}" if p >= 1e-99 else "p < 1e-99")
    )


def pooled_error(simulation: xr.Dataset, name: str) -> xr.DataArray:
    r"""Return standard errors along N from one spread :math:`s / \sqrt N` pooled over all sizes.

    Inside a phase the sample-to-sample spread of an order parameter falls as :math:`N^{-1/2}`. Pooling keeps
    a size whose few samples happen to agree from having an undue weight in a fit: the error of
    each size by itself is correlated with its mean.

    Parameters
    ----------
    simulation : xarray.Dataset
        From `sim.sweep` over N. With ``completed``, samples where it is 0 do not count.
    name : str
        Variable along N and ``sample``.

    Returns
    -------
    xarray.DataArray
        Along N and the other dimensions of the variable. NaN at a size without samples, or if no size has two.

    Raises
    ------
    ValueError
        If there is no such variable, or it has no samples or sizes.
    """
    squares, count, freedom = _pooled(simulation, name)
    spread = (squares * squares["N"]).sum("N") / freedom.where(freedom > 0)
    return (spread / (squares["N"] * count.where(count > 0))) ** 0.5


def pooled_freedom(simulation: xr.Dataset, name: str) -> xr.DataArray:
    """Return the degrees of freedom of `pooled_error`: the samples of all sizes, less one a size.

    Parameters
    ----------
    simulation, name
        As in `pooled_error`.

    Returns
    -------
    xarray.DataArray
        Along the dimensions of the variable other than N.

    Raises
    ------
    ValueError
        As in `pooled_error`.
    """
    return _pooled(simulation, name)[2]


def _pooled(simulation: xr.Dataset, name: str) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Return sums of squares and numbers of samples of each size, and their degrees of freedom together."""
    _, squares, count = _moments(simulation, name)
    _check_sizes(name, squares)
    # A size at which a sample has no value has no spread.
    freedom = (count - 1).clip(min=0).where(squares.notnull(), 0).sum("N")
    return squares, count, freedom


def _check_sizes(name: str, values: xr.DataArray) -> None:
    if "N" not in values.dims or "N" not in values.coords:
        raise ValueError(f"{name} has dimensions {values.dims}; allowed: N among them, with the sizes as coordinate")


def extrapolate(mean: xr.DataArray, error: xr.DataArray, freedom: xr.DataArray | float = np.inf) -> xr.Dataset:
    r"""Extrapolate to infinite size by a weighted fit of :math:`m(N) = m_\infty + a / N`.

    Parameters
    ----------
    mean, error : xarray.DataArray
        Measured values with their standard errors along the dimension N (three sizes or more). A size without
        value, or without an error above 0, is left out.
    freedom : xarray.DataArray or float
        Degrees of freedom of the errors, if they come from one pooled spread (see `pooled_freedom`); infinite if they
        are known. Pulls of the limit are Student-t with as many.

    Returns
    -------
    xarray.Dataset
        ``limit``, ``limit_error``, ``slope`` (a), ``fit_sizes`` (sizes in the fit), ``fit_chi2`` (sizes - 2 degrees of
        freedom), ``p_value`` (probability of a fit_chi2 at least as large: by the law of chi-square, or by that of F if
        the freedom of the errors is finite). All but fit_sizes are NaN where fewer than three sizes are left.

    Raises
    ------
    ValueError
        If there are fewer than three sizes.
    """
    _check_sizes("mean", mean)
    if mean.sizes["N"] < 3:
        raise ValueError(f"N has {mean.sizes['N']} value(s); allowed: at least three sizes to extrapolate and to check")
    valid = mean.notnull() & (error > 0) & np.isfinite(error)
    sizes = valid.sum("N")
    x, weight, y = 1 / mean["N"], (error.where(valid) ** -2).fillna(0.0), mean.where(valid, 0.0)
    s0, s1, s2 = weight.sum("N"), (weight * x).sum("N"), (weight * x**2).sum("N")
    y0, y1 = (weight * y).sum("N"), (weight * x * y).sum("N")
    determinant = (s0 * s2 - s1**2).where(sizes >= 3)
    limit, slope = (s2 * y0 - s1 * y1) / determinant, (s0 * y1 - s1 * y0) / determinant
    chi2 = (weight * (y - limit - slope * x) ** 2).sum("N", skipna=False)
    variables = {
        "limit": (limit, "value extrapolated to infinite size"),
        "limit_error": (np.sqrt(s2 / determinant), "standard error of limit"),
        "slope": (slope, "coefficient of 1/N"),
        "fit_sizes": (sizes, "sizes in the fit"),
        "fit_chi2": (chi2, "chi-square of the fit"),
        "p_value": (xr.apply_ufunc(_tail, chi2, sizes - 2, freedom), "probability of a larger fit_chi2"),
    }
    return xr.Dataset({name: values.assign_attrs(long_name=text) for name, (values, text) in variables.items()})


def _tail(chi2: ArrayLike, fitted: ArrayLike, freedom: ArrayLike) -> NDArray[np.float64]:
    """Return the probability of a larger chi-square whose errors have some degrees of freedom."""
    finite = np.isfinite(freedom)
    known = stats.chi2.sf(chi2, fitted)
    estimated = stats.f.sf(np.divide(chi2, fitted), fitted, np.where(finite, freedom, 1.0))
    return np.where(finite, estimated, known)
