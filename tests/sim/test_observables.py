import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gamma, gammaln

from hebbian import DenseHebbian
from sim import random, simulate
from sim.observables import autocorrelation_time, binder_cumulant, crossings, mean_and_error, overlap_distribution


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


def series(values: np.ndarray, *dims: str) -> xr.DataArray:
    return xr.DataArray(values, dims=dims)


def random_overlaps(N: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(3).binomial(N, 0.4, size=shape) * 2 / N - 1


@settings(max_examples=40, deadline=None)
@given(N=st.integers(1, 70), bins=st.integers(1, 80))
def test_bins_hold_whole_cells_and_all_values(N, bins):
    values = np.arange(-N, N + 1, 2) / N
    result = overlap_distribution(series(np.repeat(values, 2), "sweep"), N=N, bins=bins, blocks=2)
    assert result.sizes["overlap"] == min(bins, N + 1)
    assert np.sum(result.density * result.width) == pytest.approx(1)
    # Equally frequent values: each cell, of width 2/N, has one part in N + 1.
    np.testing.assert_allclose(result.density, N / (2 * (N + 1)), rtol=1e-12)
    cells = result.width.values * N / 2
    np.testing.assert_allclose(cells, np.round(cells), atol=1e-9)
    assert np.ptp(np.round(cells)) <= 1
    if bins % 2 or N % 2:
        np.testing.assert_allclose(result.width, result.width[::-1], rtol=1e-12)
    edge = result.overlap.values[-1] + result.width.values[-1] / 2
    assert edge == pytest.approx(1 + 1 / N)


def test_overlap_distribution_counts_as_by_hand():
    q = random_overlaps(20, 3, 4, 50, 2)
    result = overlap_distribution(series(q, "T", "sample", "sweep", "pair"), N=20, bins=21)
    assert result.density.dims == ("T", "overlap")
    fractions = np.array([[[np.mean(np.isclose(s, v)) for v in result.overlap.values] for s in t] for t in q])
    np.testing.assert_allclose(result.density, fractions.mean(axis=1) * 10, rtol=1e-12)
    np.testing.assert_allclose(result.density_error, fractions.std(axis=1, ddof=1) * 10 / 2, rtol=1e-12, atol=1e-15)


def test_errors_of_the_distribution_cover_the_binomial_law():
    # 20 000 independent values in 20 blocks; five (estimated) standard errors of 9 populated bins.
    result = overlap_distribution(series(random_overlaps(8, 20_000), "sweep"), N=8, bins=9)
    k = np.arange(9)
    exact = np.exp(gammaln(9) - gammaln(k + 1) - gammaln(9 - k)) * 0.4**k * 0.6 ** (8 - k) * 4
    assert (np.abs(result.density - exact) < 5 * result.density_error).all()
    expected = np.sqrt(exact / 4 * (1 - exact / 4) / 20_000) * 4
    np.testing.assert_allclose(result.density_error, expected, rtol=0.6)


def test_cumulants_of_known_laws():
    flat = np.linspace(-1, 1, 2001)
    signs, gaussian = np.resize([-0.3, 0.3], 400), np.random.default_rng(0).normal(size=200_000)
    assert binder_cumulant(series(signs, "sweep")).cumulant == pytest.approx(2 / 3)
    assert binder_cumulant(series(signs, "sweep"), convention="g").cumulant == pytest.approx(1)
    # <x^4> = 1/5 and <x^2> = 1/3 of the flat law.
    assert binder_cumulant(series(flat, "sweep"), blocks=3).cumulant == pytest.approx(1 - 3 / 5, abs=1e-3)
    # Five standard errors: a false-alarm rate of 6e-7, with a fixed seed.
    result = binder_cumulant(series(gaussian.reshape(20, 100, 100), "sample", "sweep", "replica"))
    assert abs(result.cumulant) < 5 * result.cumulant_error
    # The variance of the cumulant of n Gaussian values is (8/3)/n.
    assert result.cumulant_error == pytest.approx(np.sqrt(8 / 3 / 200_000), rel=0.5)


def test_jackknife_error_is_the_spread_of_cumulants():
    # 300 experiments of 40 samples each; the spread has a relative error of 4 %, the bias of the jackknife is smaller.
    draws = np.random.default_rng(1).uniform(-1, 1, size=(300, 40, 5))
    result = binder_cumulant(series(draws, "T", "sample", "replica"))
    assert result.cumulant.dims == ("T",)
    assert np.sqrt(np.mean(result.cumulant_error**2)) == pytest.approx(result.cumulant.std().item(), rel=0.2)


def test_blocks_drop_the_first_sweeps():
    values = np.append([100.0] * 3, np.random.default_rng(2).normal(size=40))
    result = binder_cumulant(series(values, "sweep"), blocks=4)
    assert result.cumulant.item() == pytest.approx(
        binder_cumulant(series(values[3:], "sweep"), blocks=4).cumulant.item()
    )


def curie_weiss_cumulant(N: int, T: float) -> float:
    """Exact cumulant of one stored pattern, H = -(S^2 - N)/2N, by the sum over the values of S."""
    k = np.arange(N + 1)
    S = 2.0 * k - N
    log_weight = gammaln(N + 1) - gammaln(k + 1) - gammaln(N - k + 1) + S**2 / (2 * N * T)
    weight = np.exp(log_weight - log_weight.max())
    return 1 - weight.sum() * (weight @ S**4) / (3 * (weight @ S**2) ** 2)


def exact_cumulants(sizes: list[int], T: np.ndarray) -> xr.DataArray:
    values = [[curie_weiss_cumulant(N, t) for t in T] for N in sizes]
    return xr.DataArray(values, dims=("N", "T"), coords={"N": sizes, "T": T})


def test_exact_cumulants_cross_at_the_critical_temperature():
    sizes = [100, 200, 400, 800, 1600, 3200, 6400]
    U = exact_cumulants(sizes, np.linspace(0.95, 1.05, 401))
    result = crossings(U[::-1, ::-1], xr.zeros_like(U))
    np.testing.assert_array_equal(result.N, sizes[:-1])
    np.testing.assert_array_equal(result.N_next, sizes[1:])
    # In x = sqrt(N) (T - 1) all corrections are of order N^(-1/2): crossings close in on T_c = 1 as 1/N, and the
    # cumulant as N^(-1/2) on its value for the density exp(-x^4/12), <x^4>/<x^2>^2 = Gamma(1/4)^4 / 8 pi^2.
    N, distance = np.array(sizes[:-1]), np.abs(result["T"].values - 1)
    assert distance[-1] < 5e-4
    np.testing.assert_allclose(distance * N, distance[-1] * N[-1], rtol=0.03)
    critical = 1 - gamma(0.25) ** 4 / (24 * np.pi**2)
    assert critical == pytest.approx(0.27052, abs=1e-5)
    excess = (result.cumulant.values - critical) * np.sqrt(N)
    np.testing.assert_allclose(excess, excess[-1], rtol=0.02)
    assert curie_weiss_cumulant(10**6, 1.0) == pytest.approx(critical, abs=1e-3)
    assert (result.T_error == 0).all()


def test_crossing_of_straight_lines_and_its_errors():
    # 500 noisy experiments on four temperatures: the spread of crossings has a statistical error of 3.2 %, and 12 % are
    # nearly four of these: a false-alarm rate of 2e-4, with a fixed seed.
    T, rng = np.array([0.9, 1.1, 1.3, 1.5]), np.random.default_rng(7)
    exact = np.array([0.6 - 0.2 * T, 0.8 - 0.4 * T])
    sigma = np.array([[0.003] * 4, [0.005] * 4])
    found = []
    for _ in range(500):
        noisy = xr.DataArray(exact + sigma * rng.normal(size=(2, 4)), dims=("N", "T"), coords={"N": [10, 20], "T": T})
        found.append(crossings(noisy, noisy.copy(data=sigma)))
    found = xr.concat(found, dim="experiment").squeeze()
    noiseless = crossings(noisy.copy(data=exact), noisy.copy(data=sigma))
    assert noiseless["T"].item() == pytest.approx(1.0)
    assert noiseless.cumulant.item() == pytest.approx(0.4)
    for name in ("T", "cumulant"):
        assert found[name].std() == pytest.approx(noiseless[f"{name}_error"].item(), rel=0.12)


def test_noise_far_from_the_crossing_is_not_taken_for_it():
    T = np.linspace(0.5, 1.5, 11)
    U = np.array([np.full(11, 0.6), 0.6 + np.where(T < 1.05, 0.1, -0.1)])
    U[1, [0, 8]] = [0.5999, 0.6001]
    U = xr.DataArray(U, dims=("N", "T"), coords={"N": [8, 16], "T": T})
    assert crossings(U, xr.full_like(U, 0.01))["T"].item() == pytest.approx(1.05)
    apart = xr.DataArray(np.stack([T * 0, T * 0 + 1]), dims=("N", "T"), coords=U.coords)
    assert np.isnan(crossings(apart, xr.full_like(U, 0.01))["T"].item())
    assert np.isnan(crossings(-apart, xr.full_like(U, 0.01))["T"].item())


def test_measured_cumulants_and_their_crossing_agree_with_the_exact_ones():
    # Five standard errors for 15 cumulants (20 blocks: Student, 19 degrees of freedom) and two crossings: a false-alarm
    # rate of 2e-3 for the whole test, with fixed seeds.
    T, sizes, results = np.array([0.9, 0.95, 1.0, 1.05, 1.1]), [16, 64, 256], []
    for N in sizes:
        sample = DenseHebbian(N=N, P=2, K=1).quench(rng=random.stream(0, (N,), "patterns"))
        run = simulate(sample, T=T, sweeps=12_000, equilibration=500, replicas=4, seed=2, task=(N,), series=True)
        results.append(binder_cumulant(run.m_series))
    measured, exact = xr.concat(results, dim=xr.DataArray(sizes, dims="N", name="N")), exact_cumulants(sizes, T)
    assert (np.abs(measured.cumulant - exact) < 5 * measured.cumulant_error).all()
    assert (measured.cumulant_error < 0.03).all()
    found, expected = crossings(measured.cumulant, measured.cumulant_error), crossings(exact, xr.zeros_like(exact))
    assert (np.abs(found["T"] - expected["T"]) < 5 * found.T_error).all()
    assert (np.abs(found.cumulant - expected.cumulant) < 5 * found.cumulant_error).all()
    assert (found.T_error < 0.03).all()
    assert (np.abs(found["T"] - 1) < 0.05 + 5 * found.T_error).all()


PLANE = xr.DataArray(np.zeros((2, 2)), dims=("N", "T"), coords={"N": [10, 20], "T": [1.0, 2.0]})


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda q: overlap_distribution(q, N=7), ValueError, "q is no overlap of N = 7"),
        (lambda q: overlap_distribution(2 * q, N=8), ValueError, "q is no overlap"),
        (lambda q: overlap_distribution(np.nan * q, N=8), ValueError, "q is no overlap"),
        (lambda q: overlap_distribution(q, N=8, bins=0), ValueError, "bins = 0"),
        (lambda q: overlap_distribution(q.values, N=8), TypeError, "q is of type ndarray"),
        (lambda q: overlap_distribution(q, N=8, blocks=31), ValueError, "blocks = 31"),
        (lambda q: overlap_distribution(q, N=8, blocks=1), ValueError, "blocks = 1"),
        (lambda q: binder_cumulant(q.rename(sweep="time")), ValueError, "values has dimensions"),
        (lambda q: binder_cumulant(q, convention="V"), ValueError, "convention = 'V'"),
        (lambda q: crossings(q, q), ValueError, "cumulant has dimensions"),
        (lambda q: crossings(q.values, q), TypeError, "cumulant is of type ndarray"),
        (lambda q: crossings(PLANE, PLANE.assign_coords(T=[1.0, 3.0])), ValueError, "cumulant and error differ"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call(series(random_overlaps(8, 30), "sweep"))
