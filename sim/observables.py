r"""What is read off time series: means with error bars, distributions of overlaps, cumulants and their crossings."""

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from hebbian import validation

# The Gaussian has cumulant 0 in both conventions, the values -1 and +1 in equal parts have 2/3 and 1.
CONVENTIONS = {"U": (1.0, 1 / 3), "g": (3 / 2, 1 / 2)}


def autocorrelation_time(series: ArrayLike, window: float = 5.0) -> NDArray[np.float64]:
    r"""Integrated autocorrelation time, :math:`\tau = 1 + 2 \sum_{t \ge 1} \rho(t)`, in sweeps.

    The sum is cut at the smallest t with :math:`t \ge` `window` :math:`\tau(t)`
    (Sokal 1997); :math:`\tau = 1` for independent values.

    Parameters
    ----------
    series : array_like, shape (time, ...)
        Values after equilibration.
    window : float
        Width of the window in autocorrelation times.

    Returns
    -------
    ndarray, shape (...)
        At least 1 / time, so that a perfectly anticorrelated series keeps an error bar.
        A constant series has :math:`\tau = 1`.
    """
    values = np.asarray(series, dtype=np.float64)
    time = len(values)
    centred = values - values.mean(axis=0)
    transform = np.fft.rfft(centred, n=2 * time, axis=0)
    covariance = np.fft.irfft(transform * transform.conj(), axis=0)[:time].real
    variance = covariance[0]
    # The transform leaves rounding noise on a constant series.
    constant = np.ptp(values, axis=0) == 0
    rho = covariance / np.where(constant, 1.0, variance)
    running = 2 * np.cumsum(np.where(constant, 0.0, rho), axis=0) - 1
    inside = np.arange(time).reshape(-1, *([1] * (values.ndim - 1))) < window * running
    cut = np.where(inside.all(axis=0), time - 1, inside.argmin(axis=0))
    tau = np.take_along_axis(running, cut[None, ...], axis=0)[0]
    return np.where(constant, 1.0, np.maximum(tau, 1 / time))


def mean_and_error(series: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Mean over time and its standard error, :math:`\sqrt{\tau\, \mathrm{var} / \mathrm{time}}`.

    Parameters
    ----------
    series : array_like, shape (time, ...)
        Values after equilibration; with one value the error is NaN.

    Returns
    -------
    mean, error : ndarray, shape (...)
    """
    values = np.asarray(series, dtype=np.float64)
    if len(values) < 2:
        return values.mean(axis=0), np.full(values.shape[1:], np.nan)
    variance = values.var(axis=0, ddof=1)
    return values.mean(axis=0), np.sqrt(autocorrelation_time(values) * variance / len(values))


def overlap_distribution(q: xr.DataArray, *, N: int, bins: int = 41, blocks: int = 20) -> xr.Dataset:
    r"""Histogram of an overlap, such as :math:`P(q_{12})` of two replicas, as a probability density.

    An overlap of N spins is one of N + 1 values -1, -1 + 2/N, ..., 1. A bin holds whole cells of width 2/N around
    these values: none falls on an edge, the outer edges are :math:`\pm(1 + 1/N)`, and widths differ by at most 2/N.
    Bins are symmetric about 0 if their number is odd or that of the values even.

    Parameters
    ----------
    q : DataArray
        Series along ``sweep`` or ``sample`` (both, with or without ``pair`` or ``replica``), such as `q_series`.
    N : int
        Number of spins.
    bins : int
        Number of bins, at least 1; more than N + 1 are N + 1.
    blocks : int
        Blocks of sweeps, at least 2, whose scatter gives the errors where there are not several samples;
        they should be longer than the autocorrelation time.

    Returns
    -------
    Dataset
        ``density`` along ``overlap`` (centres of the bins, with ``width``) and the remaining dimensions of q;
        ``density_error`` from the scatter of samples or blocks.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, q has neither several samples nor enough sweeps, or is no overlap of N spins.
    """
    N = validation.integer("N", N, minimum=1)
    bins = min(validation.integer("bins", bins, minimum=1), N + 1)
    grouped, members = _groups("q", q, blocks)
    cells = np.rint((grouped + 1) * N / 2)
    if not (np.abs(grouped) <= 1).all() or not np.allclose(cells, (grouped + 1) * N / 2, atol=1e-6):
        raise ValueError(f"q is no overlap of N = {N} spins; allowed: -1, -1 + 2/N, ..., 1")
    k = np.arange(bins + 1)
    first = (2 * k * (N + 1) + bins) // (2 * bins)  # k (N + 1) / bins, rounded
    first = np.where(2 * k <= bins, first, N + 1 - first[::-1])
    edges = (2 * first - 1) / N - 1
    counts = xr.apply_ufunc(
        lambda values: np.histogram(values, first - 0.5)[0],
        cells,
        input_core_dims=[members],
        output_core_dims=[["overlap"]],
        vectorize=True,
    )
    density = counts / counts.sum("overlap") / xr.DataArray(np.diff(edges), dims="overlap")
    error = density.std("group", ddof=1) / np.sqrt(density.sizes["group"])
    dataset = xr.Dataset({"density": density.mean("group"), "density_error": error})
    centres = (edges[1:] + edges[:-1]) / 2
    dataset = dataset.assign_coords(overlap=centres, width=("overlap", np.diff(edges)))
    return _describe(dataset, density="probability density of the overlap", width="width of the bin")


def binder_cumulant(values: xr.DataArray, *, convention: str = "U", blocks: int = 20) -> xr.Dataset:
    r"""Binder's fourth-order cumulant of a magnetisation or overlap, with a jackknife error.

    .. math::
        U = 1 - \frac{\langle m^4 \rangle}{3 \langle m^2 \rangle^2}, \qquad
        g = \frac12 \Big( 3 - \frac{\langle q^4 \rangle}{\langle q^2 \rangle^2} \Big) = \frac32 U

    Both are 0 for a Gaussian; :math:`\pm m` gives U = 2/3, g = 1. Moments are averaged over sweeps, replicas or pairs,
    and samples, all of which the series has, before their ratio is taken.

    Parameters
    ----------
    values : DataArray
        Series along ``sweep`` or ``sample`` (both, with or without ``pair`` or ``replica``), such as `m_series`.
    convention : {"U", "g"}
        U is usual for magnetisations, g for overlaps of spin glasses.
    blocks : int
        Blocks of sweeps, at least 2, for the jackknife where there are not several samples; they should be
        longer than the autocorrelation time.

    Returns
    -------
    Dataset
        ``cumulant`` and ``cumulant_error`` along the remaining dimensions of `values`.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or `values` has neither several samples nor enough sweeps.

    References
    ----------
    Binder, Z. Phys. B 43, 119 (1981); g: Bhatt and Young, Phys. Rev. Lett. 54, 924 (1985).
    """
    constant, factor = CONVENTIONS[validation.choice("convention", convention, CONVENTIONS)]
    grouped, members = _groups("values", values, blocks)
    square, fourth = (grouped**2).mean(members), (grouped**4).mean(members)
    groups = grouped.sizes["group"]

    def cumulant(square: xr.DataArray, fourth: xr.DataArray) -> xr.DataArray:
        return constant - factor * fourth / square**2

    left_out = cumulant(*((moment.sum("group") - moment) / (groups - 1) for moment in (square, fourth)))
    variables = {
        "cumulant": cumulant(square.mean("group"), fourth.mean("group")),
        "cumulant_error": np.sqrt(groups - 1) * left_out.std("group"),
    }
    return _describe(xr.Dataset(variables), cumulant=f"Binder cumulant {convention}")


def crossings(cumulant: xr.DataArray, error: xr.DataArray) -> xr.Dataset:
    r"""Temperatures at which a cumulant (or another ordered quantity) of one size crosses that of the next size.

    The larger size has the larger cumulant below :math:`T_c` and the smaller above. The difference D of two sizes is
    interpolated linearly between the two neighbouring temperatures that part D > 0 from D < 0 best: where the
    running sum of D, in units of its error, is largest. (A change of sign further off is noise.) Errors are propagated
    to first order, as if those of all sizes and temperatures were independent.

    Crossings are estimates of :math:`T_c` at finite size: they drift with N, so that the pair of the
    largest sizes, or an extrapolation, is the answer.

    Parameters
    ----------
    cumulant, error : DataArray, dimensions (N, T)
        Cumulants of at least two sizes and two temperatures, in any order, and their standard errors; zero errors,
        of all, where the cumulants are exact.

    Returns
    -------
    Dataset
        Along ``crossing``, with the coordinates ``N`` (the smaller size) and ``N_next``: ``T`` and ``T_error``,
        ``cumulant`` and ``cumulant_error`` there; NaN where two sizes do not cross within the temperatures given.

    Raises
    ------
    ValueError
        If the dimensions are not N and T, one is too short, or they differ.
    TypeError
        If an argument is no DataArray.
    """
    for name, values in (("cumulant", cumulant), ("error", error)):
        _check_array(name, values)
        if set(values.dims) != {"N", "T"} or min(values.shape) < 2:
            raise ValueError(f"{name} has dimensions {dict(values.sizes)}; allowed: N and T, at least two of each")
    ordered = [values.transpose("N", "T").sortby(["N", "T"]) for values in (cumulant, error)]
    (U, sigma), T, N = (values.values for values in ordered), ordered[0]["T"].values, ordered[0]["N"].values
    if not (np.array_equal(T, ordered[1]["T"]) and np.array_equal(N, ordered[1]["N"])):
        raise ValueError("cumulant and error differ in their values of N or T; allowed: the same of both")
    found = np.array([_crossing(T, U[k : k + 2], sigma[k : k + 2]) for k in range(len(N) - 1)])
    names = ("T", "T_error", "cumulant", "cumulant_error")
    dataset = xr.Dataset({name: ("crossing", column) for name, column in zip(names, found.T, strict=True)})
    dataset = dataset.assign_coords(N=("crossing", N[:-1]), N_next=("crossing", N[1:]))
    return _describe(dataset, T="temperature of the crossing", cumulant="cumulant at the crossing")


def _crossing(T: NDArray, U: NDArray, sigma: NDArray) -> tuple[float, float, float, float]:
    """Return where the cumulants U of two sizes, shape (2, temperatures), cross; their value there; and the errors."""
    D, width = U[1] - U[0], np.hypot(sigma[0], sigma[1])
    ordered = np.cumsum(D / width if width.all() else D)
    a = int(ordered.argmax())
    if ordered[a] <= 0 or a == len(T) - 1:
        return np.nan, np.nan, np.nan, np.nan
    ends = [a, a + 1]
    span, rise = T[a + 1] - T[a], U[0, a + 1] - U[0, a]
    fall = D[a] - D[a + 1]
    w = D[a] / fall
    # dw / dD at both ends; D falls by one with U of the smaller size and rises by one with that of the larger.
    by_D = np.array([-D[a + 1], D[a]]) / fall**2
    T_error = span * np.sqrt(np.sum((by_D * width[ends]) ** 2))
    by_smaller, by_larger = np.array([1 - w, w]) - rise * by_D, rise * by_D
    U_error = np.sqrt(np.sum((by_smaller * sigma[0, ends]) ** 2 + (by_larger * sigma[1, ends]) ** 2))
    return T[a] + w * span, T_error, U[0, a] + w * rise, U_error


def _groups(name: str, values: xr.DataArray, blocks: int) -> tuple[xr.DataArray, list[str]]:
    """Cut a series along ``group`` into independent parts: samples, else blocks of sweeps. And what is in a part."""
    _check_array(name, values)
    blocks = validation.integer("blocks", blocks, minimum=2)
    sweeps = values.sizes.get("sweep", 0)
    if values.sizes.get("sample", 1) > 1:
        grouped = values.rename(sample="group")
    elif sweeps >= blocks:
        # The first sweeps, the least equilibrated, are those that no block has room for.
        whole = values.isel(sweep=slice(sweeps % blocks, None))
        grouped = whole.coarsen(sweep=sweeps // blocks).construct(sweep=("group", "sweep_of_block"))
    else:
        raise ValueError(
            f"{name} has dimensions {dict(values.sizes)}; allowed: two or more along sample, or blocks = {blocks} "
            "or more along sweep"
        )
    averaged = ("sweep", "sweep_of_block", "sample", "replica", "pair")
    return grouped, [dimension for dimension in averaged if dimension in grouped.dims]


def _check_array(name: str, values: xr.DataArray) -> None:
    if not isinstance(values, xr.DataArray):
        raise TypeError(f"{name} is of type {type(values).__name__}; allowed: xarray.DataArray")


def _describe(dataset: xr.Dataset, **long_names: str) -> xr.Dataset:
    """Attach long names and units to variables and to their errors."""
    for name, long_name in long_names.items():
        dataset[name].attrs.update(long_name=long_name, units="1")
        if f"{name}_error" in dataset:
            dataset[f"{name}_error"].attrs.update(long_name=f"standard error of the {long_name}", units="1")
    return dataset
