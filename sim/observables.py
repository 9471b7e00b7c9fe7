r"""Averages of correlated time series: mean, autocorrelation time, error bar."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


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
