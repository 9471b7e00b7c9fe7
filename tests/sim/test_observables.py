import numpy as np
import pytest

from sim.observables import autocorrelation_time, mean_and_error


def autoregressive(a: float, time: int, chains: int) -> np.ndarray:
    noise = np.random.default_rng(5).normal(size=(time, chains))
    series = np.empty_like(noise)
    series[0] = noise[0] / np.sqrt(1 - a**2)
    for t in range(1, time):
        series[t] = a * series[t - 1] + noise[t]
    return series


@pytest.mark.parametrize("a", [0.0, 0.5, 0.9])
def test_autocorrelation_time_of_an_autoregressive_process(a):
    # tau = (1 + a) / (1 - a); the mean over 50 chains is compared at 5 %, bias included.
    tau = autocorrelation_time(autoregressive(a, 20_000, 50))
    assert tau.mean() == pytest.approx((1 + a) / (1 - a), rel=0.05)


def test_error_bars_cover_the_spread_of_means():
    # The spread of 400 means has a relative error of 3.5 %; 12 % are 3.4 standard errors.
    mean, error = mean_and_error(autoregressive(0.8, 4000, 400))
    assert mean.std() == pytest.approx(np.sqrt(np.mean(error**2)), rel=0.12)


def test_constant_and_short_series():
    mean, error = mean_and_error(np.ones((10, 2)))
    assert (mean == 1).all()
    assert (error == 0).all()
    mean, error = mean_and_error([3.0])
    assert mean == 3
    assert np.isnan(error)
