import mpmath
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from runs import comparison


def simulated(values, **coordinates):
    """A simulation of m with the given values along (..., sample), one replica."""
    dims = (*coordinates, "sample", "replica")
    return xr.Dataset({"m": (dims, np.asarray(values)[..., None])}, coords=coordinates)


def test_residuals_pulls_and_chi_square_by_hand():
    simulation = simulated([[1.0, 3.0], [4.0, 8.0]], T=[0.1, 0.2])
    theory = xr.Dataset({"m": ("T", [1.0, 7.0])}, coords={"T": [0.1, 0.2]})
    compared = comparison.compare(simulation, theory, names=["m"])
    np.testing.assert_allclose(compared.m_mean, [2, 6])
    np.testing.assert_allclose(compared.m_error, [1, 2])
    np.testing.assert_allclose(compared.m_residual, [1, -1])
    np.testing.assert_allclose(compared.m_pull, [1, -0.5])
    assert compared.m_chi2 == pytest.approx(1.25)
    assert compared.m_points == 2


def test_a_point_that_cannot_be_compared_has_no_pull():
    simulation = simulated([[1.0, 1.0], [4.0, 8.0]], T=[0.1, 0.2])
    theory = xr.Dataset({"m": ("T", [1.0, np.nan])}, coords={"T": [0.1, 0.2]})
    compared = comparison.compare(simulation, theory, names=["m"])
    assert compared.m_pull.isnull().all()
    assert compared.m_points == 0


def test_points_outside_the_theory_have_residuals_but_no_pulls():
    simulation = simulated([[1.0, 3.0], [4.0, 8.0]], T=[0.1, 0.2])
    theory = xr.Dataset({"m": ("T", [1.0, 7.0])}, coords={"T": [0.1, 0.2]})
    compared = comparison.compare(simulation, theory, names=["m"], where=theory["T"] < 0.15)
    np.testing.assert_allclose(compared.m_residual, [1, -1])
    assert compared.m_pull.isnull().values.tolist() == [False, True]
    assert compared.m_chi2 == pytest.approx(1)


def test_samples_with_predictions_of_their_own_are_compared_one_by_one():
    simulation = simulated([[1.0, 2.0, 6.0]], T=[0.1])
    theory = xr.Dataset({"m": (("T", "sample"), [[0.0, 2.0, 3.0]])}, coords={"T": [0.1]})
    compared = comparison.compare(simulation, theory, names=["m"])
    # Residuals 1, 0, 3: mean 4/3, variance 7/3; the samples themselves have mean 3, variance 7.
    np.testing.assert_allclose(compared.m_mean, [3])
    np.testing.assert_allclose(compared.m_error, [np.sqrt(7 / 3)])
    np.testing.assert_allclose(compared.m_residual, [4 / 3])
    np.testing.assert_allclose(compared.m_pull, [4 / 3 / np.sqrt(7 / 9)])


def test_a_sample_without_prediction_leaves_its_point_without_a_pull():
    simulation = simulated([[1.0, 2.0, 6.0]], T=[0.1])
    theory = xr.Dataset({"m": (("T", "sample"), [[0.0, np.nan, 3.0]])}, coords={"T": [0.1]})
    compared = comparison.compare(simulation, theory, names=["m"])
    assert compared.m_residual.isnull().all()
    assert compared.m_points == 0


def test_residuals_that_agree_up_to_rounding_have_no_pull():
    simulation = simulated([[0.1, 0.2, 0.3]], T=[0.1])
    theory = xr.Dataset({"m": (("T", "sample"), [[0.0, 0.1, 0.2]])}, coords={"T": [0.1]})
    assert comparison.compare(simulation, theory, names=["m"]).m_pull.isnull().all()


def test_replicas_of_a_sample_count_as_one():
    values = np.array([[1.0, 5.0], [2.0, 2.0], [3.0, 5.0]])
    simulation = xr.Dataset({"m": (("sample", "replica"), values)})
    mean, error = comparison.sample_statistics(simulation, "m")
    assert mean == 3
    assert error == pytest.approx(1 / np.sqrt(3))
    values[0, 1] = np.nan
    assert np.isnan(comparison.sample_statistics(xr.Dataset({"m": (("sample", "replica"), values)}), "m")[0])


def test_one_sample_has_no_error_bar():
    assert np.isnan(comparison.sample_statistics(simulated([1.0]), "m")[1])


def test_extrapolation_finds_the_line_it_was_given():
    N = np.array([50, 100, 200, 400])
    mean = xr.DataArray(0.9 + 3.0 / N, dims="N", coords={"N": N})
    fit = comparison.extrapolate(mean, 0.01 / np.sqrt(mean["N"]))
    assert fit.limit == pytest.approx(0.9, abs=1e-12)
    assert fit.slope == pytest.approx(3.0, abs=1e-9)
    assert fit.fit_chi2 == pytest.approx(0, abs=1e-12)


def test_extrapolated_error_covers_the_truth():
    # Pulls of 2000 extrapolations are standard normal: their spread is known to 1.6 %; 6 % are 3.8 sigma.
    N, samples, rng = np.array([50, 100, 200]), 200, np.random.default_rng(3)
    noise = rng.normal(size=(2000, 3, samples)) / np.sqrt(N)[:, None]
    simulation = simulated(0.5 + 1 / N[:, None] + noise, trial=np.arange(2000), N=N)
    mean, _ = comparison.sample_statistics(simulation, "m")
    fit = comparison.extrapolate(mean, comparison.pooled_error(simulation, "m"))
    pulls = (fit.limit - 0.5) / fit.limit_error
    assert abs(pulls.mean()) < 4 / np.sqrt(2000)
    assert pulls.std() == pytest.approx(1, abs=0.06)


def test_two_sizes_are_too_few():
    mean = xr.DataArray([0.1, 0.2], dims="N", coords={"N": [10, 20]})
    with pytest.raises(ValueError, match="three sizes"):
        comparison.extrapolate(mean, mean)


def test_inputs_that_cannot_be_used_are_named():
    data = simulated([1.0, 2.0])
    for call, error, message in (
        (lambda: comparison.align(data.m, data), TypeError, "simulation = DataArray is not a dataset"),
        (lambda: comparison.compare(data, 3, names=["m"]), TypeError, "theory = int is not a dataset"),
        (lambda: comparison.compare(data, data, names=["q"]), ValueError, "'q' is not a variable of simulation; .* m"),
        (lambda: comparison.compare(data, xr.Dataset(), names=["m"]), ValueError, "variable of theory; allowed: none"),
        (lambda: comparison.sample_statistics(data.isel(sample=0), "m"), ValueError, "allowed: `sample` among them"),
        (lambda: comparison.summary(data, "m"), ValueError, "'m_p_value' is not a variable of compared"),
        (lambda: comparison.pooled_error(data, "m"), ValueError, "allowed: N among them"),
    ):
        with pytest.raises(error, match=message):
            call()


def test_coordinates_that_differ_by_rounding_are_the_same():
    measured = np.array([0.0, 0.1, 0.2, 0.3, 0.6, 0.7])
    predicted = np.array([1.0, 0.7 * (1 + 5e-10), 0.1 + 0.2, 0.1 * (1 + 3e-9), 0.2, 1e-17])
    assert predicted[2] != 0.3
    simulation = simulated(np.arange(12.0).reshape(6, 2), T=measured)
    theory = xr.Dataset({"m": ("T", np.arange(6.0))}, coords={"T": ("T", predicted, {"units": "K"})})
    ours, theirs = comparison.align(simulation, theory)
    assert ours["T"].values.tolist() == theirs["T"].values.tolist() == [0.0, 0.2, 0.3, 0.7]
    assert theirs.m.values.tolist() == [5, 4, 2, 1]
    assert ours.m.isel(sample=0, replica=0).values.tolist() == [0, 4, 6, 10]
    assert theirs["T"].attrs == {"units": "K"}
    # A point is lost to no more than to the other's not having it.
    compared = comparison.compare(simulation, theory, names=["m"])
    assert compared.m_points == 4
    assert compared["T"].size == 4


@given(st.permutations(range(7)), st.integers(1, 2**53))
def test_alignment_finds_every_point_in_any_order_and_at_any_scale(order, scale):
    axis = np.linspace(-1, 1, 7) * scale
    nudged = np.nextafter(axis, np.inf)[list(order)]
    theory = xr.Dataset({"m": ("T", np.array(order))}, coords={"T": nudged})
    ours, theirs = comparison.align(simulated(np.zeros((7, 2)), T=axis), theory)
    assert theirs.m.values.tolist() == list(range(7))
    assert np.array_equal(theirs["T"], axis)
    assert ours.sizes["T"] == 7


def test_words_and_whole_numbers_and_infinity_are_aligned_too():
    for ours, theirs, common in (
        (["a", "b"], np.array(["c", "b"], dtype=object), ["b"]),
        ([1, 2, 3], [3.0, 1.0], [1, 3]),
        ([1.0, np.inf], [np.inf, 2.0], [np.inf]),
        ([3.0, 2.0, 1.0], [1.0, 3.0], [3.0, 1.0]),
    ):
        theory = xr.Dataset({"m": ("x", [0.0, 1.0])}, coords={"x": theirs})
        aligned = comparison.align(simulated(np.zeros((len(ours), 2)), x=ours), theory)
        assert [dataset["x"].values.tolist() for dataset in aligned] == [common, common]


def test_axes_without_a_common_point_are_refused():
    def theory(values, **coordinates):
        return xr.Dataset({"m": ("T", values)}, coords=coordinates)

    simulation = simulated([[1.0, 3.0], [4.0, 8.0]], T=[0.1, 0.2])
    with pytest.raises(
        ValueError, match=r"T has no value in common: \[0.1, 0.2\] in simulation, \[0.3, 0.4\] in theory"
    ):
        comparison.compare(simulation, theory([1.0, 2.0], T=[0.3, 0.4]), names=["m"])
    with pytest.raises(ValueError, match="T has 2 entries in simulation and 3 in theory"):
        comparison.compare(simulation, theory([1.0, 2.0, 3.0]), names=["m"])
    with pytest.raises(ValueError, match=r"T = \[0.1, 0.1, 0.2\] of theory repeats a value"):
        comparison.compare(simulation, theory([1.0, 2.0, 3.0], T=[0.1, 0.1, 0.2]), names=["m"])
    # Of equal length, without coordinate: taken as they come.
    assert comparison.compare(simulation, theory([1.0, 7.0]), names=["m"]).m_points == 2


def test_claims_of_the_theory_are_aligned_too():
    simulation = simulated([[1.0, 3.0], [4.0, 8.0]], T=[0.2, 0.3])
    T = [0.1 + 0.2, 0.5]
    theory = xr.Dataset({"m": ("T", [1.0, 2.0])}, coords={"T": [0.2, 0.1 + 0.2]})
    claimed = xr.DataArray([True, True], dims="T", coords={"T": T})
    compared = comparison.compare(simulation, theory, names=["m"], where=claimed)
    assert compared.m_pull.notnull().values.tolist() == [False, True]
    assert comparison.compare(simulation, theory, names=["m"], where=False).m_points == 0


def test_samples_that_did_not_run_do_not_count():
    nan = np.nan
    # At 0.1 all ran, at 0.2 two of three, at 0.3 one, at 0.4 none; at 0.5 one that ran has no value.
    values = [[1.0, 2.0, 6.0], [4.0, 8.0, nan], [5.0, nan, nan], [nan, nan, nan], [1.0, nan, nan]]
    simulation = simulated(values, load=[0.1, 0.2, 0.3, 0.4, 0.5])
    flags = [[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 0]]
    simulation["completed"] = (("load", "sample"), np.array(flags, dtype=np.int8))
    mean, error = comparison.sample_statistics(simulation, "m")
    np.testing.assert_allclose(mean, [3, 6, 5, nan, nan])
    np.testing.assert_allclose(error, [np.sqrt(7 / 3), 2, nan, nan, nan])
    theory = xr.Dataset({"m": ("load", np.full(5, 2.0))}, coords={"load": simulation["load"]})
    compared = comparison.compare(simulation, theory, names=["m"])
    assert compared.m_samples.values.tolist() == [3, 2, 1, 0, 2]
    pulls = [1 / np.sqrt(7 / 3), 2]
    np.testing.assert_allclose(compared.m_pull, [*pulls, nan, nan, nan])
    # Two degrees of freedom at one point, one at the other.
    np.testing.assert_allclose(compared.m_expected, 1 - stats.t.sf([1, 2, 3], 2) - stats.t.sf([1, 2, 3], 1))
    z = stats.norm.isf(stats.t.sf(pulls, [2, 1]))
    assert compared.m_normal_chi2 == pytest.approx(np.sum(z**2))
    assert compared.m_p_value == pytest.approx(np.exp(-np.sum(z**2) / 2))


def test_without_flags_a_missing_sample_leaves_no_mean():
    mean, error = comparison.sample_statistics(simulated([[1.0, np.nan, 3.0]], T=[0.1]), "m")
    assert mean.isnull().all()
    assert error.isnull().all()


def test_a_prediction_missing_for_a_sample_that_did_not_run_is_not_missed():
    simulation = simulated([[1.0, 2.0, np.nan]], T=[0.1])
    simulation["completed"] = ("sample", [1, 1, 0])
    theory = xr.Dataset({"m": (("T", "sample"), [[0.0, 2.0, np.nan]])}, coords={"T": [0.1]})
    compared = comparison.compare(simulation, theory, names=["m"])
    np.testing.assert_allclose(compared.m_pull, [1.0])


def test_agreement_by_hand():
    pull = xr.DataArray([[0.5, -1.5], [2.5, np.nan]], dims=("a", "b"))
    said = comparison.agreement("m", pull)
    np.testing.assert_allclose(said.m_within, [1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(said.m_expected, [0.6827, 0.9545, 0.9973], atol=1e-4)
    assert said.m_chi2 == said.m_normal_chi2 == pytest.approx(8.75)
    assert said.m_p_value == pytest.approx(stats.chi2.sf(8.75, 3))
    assert said.sigma.values.tolist() == [1, 2, 3]
    assert (
        comparison.summary(said, "m")
        == "m: 3 of 3 points within 3 standard errors (expected 3.0), chi-square 8.8, p = 0.033"
    )


def test_nothing_to_compare_is_said_so():
    said = comparison.agreement("m", xr.DataArray([np.nan, np.nan], dims="a"), 3.0)
    assert said.m_points == 0
    for word in ("within", "expected", "p_value"):
        assert said[f"m_{word}"].isnull().all()
    assert comparison.summary(said, "m") == "m: no points to compare"


@pytest.mark.parametrize("samples", [2, 4, 30])
def test_p_values_of_few_samples_are_uniform(samples):
    # 300 comparisons of 20 points: Kolmogorov and Smirnov's test has p < 1e-3 once in 1000 seeds. The sum of squared
    # pulls, taken for chi-square, fails it by far at 2 and 4 samples.
    rng = np.random.default_rng(5)
    p, naive = [], []
    for _ in range(300):
        values = rng.normal(size=(20, samples))
        pull = xr.DataArray(values.mean(1) / values.std(1, ddof=1) * np.sqrt(samples), dims="point")
        said = comparison.agreement("m", pull, samples - 1.0)
        p.append(float(said.m_p_value))
        naive.append(stats.chi2.sf(float(said.m_chi2), 20))
    assert stats.kstest(p, "uniform").pvalue > 1e-3
    if samples < 30:
        assert stats.kstest(naive, "uniform").pvalue < 1e-9


@pytest.mark.parametrize("freedom", [1, 3, 45, 1000])
@pytest.mark.parametrize("pull", [1e-3, 1.0, 6.0, 60.0, 1e4, 1e9])
def test_normal_numbers_have_the_probability_of_the_pulls(freedom, pull):
    with mpmath.workdps(60):
        x = mpmath.mpf(freedom) / (freedom + mpmath.mpf(pull) ** 2)
        tail = mpmath.log(mpmath.betainc(mpmath.mpf(freedom) / 2, 0.5, 0, x, regularized=True) / 2)
    z = comparison._normal(np.array([pull, -pull]), freedom)
    assert z[0] == -z[1]
    assert stats.norm.logsf(z[0]) == pytest.approx(float(tail), rel=1e-9)


def test_summary_of_hopeless_agreement_is_a_number():
    said = comparison.agreement("m", xr.DataArray([1e3, 1e3], dims="a"), 60.0)
    assert np.isfinite(said.m_normal_chi2)
    assert comparison.summary(said, "m").endswith("p < 1e-99")


def test_comparison_is_written_and_read_back(tmp_path):
    simulation = simulated([[1.0, 3.0], [4.0, 8.0]], T=[0.1, 0.2])
    theory = xr.Dataset({"m": ("T", [1.0, 7.0])}, coords={"T": [0.1, 0.2]})
    compared = comparison.compare(simulation, theory, names=["m"])
    compared.to_netcdf(tmp_path / "compared.h5", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "compared.h5", engine="h5netcdf") as read:
        xr.testing.assert_identical(read.load(), compared)
    assert all(variable.attrs["long_name"] and variable.attrs["units"] for variable in compared.data_vars.values())


def test_pooled_error_by_hand():
    simulation = simulated([[1.0, 3.0], [4.0, 8.0], [0.0, 0.0]], N=[100, 200, 300])
    # Variances 2, 8 and 0, times N: 200, 1600, 0; their mean is 600.
    error = comparison.pooled_error(simulation, "m")
    np.testing.assert_allclose(error, np.sqrt(600 / (np.array([100, 200, 300]) * 2)))
    assert comparison.pooled_freedom(simulation, "m") == 3
    # Three samples of 100, two of 200, none of 300.
    values = [[1.0, 2.0, 3.0], [4.0, 8.0, np.nan], [np.nan] * 3]
    simulation = simulated(values, N=[100, 200, 300])
    simulation["completed"] = (("N", "sample"), [[1, 1, 1], [1, 1, 0], [0, 0, 0]])
    error = comparison.pooled_error(simulation, "m")
    spread = (2 * 100 + 8 * 200) / 3
    np.testing.assert_allclose(error, np.sqrt([spread / 300, spread / 400, np.nan]))
    assert comparison.pooled_freedom(simulation, "m") == 3


def test_extrapolation_is_the_weighted_least_squares_fit():
    N, y, error = np.array([50, 100, 200, 400]), np.array([0.5, 0.7, 0.6, 0.9]), np.array([0.1, 0.2, 0.05, 0.3])
    mean = xr.DataArray(y, dims="N", coords={"N": N})
    fit = comparison.extrapolate(mean, mean.copy(data=error))
    (slope, limit), covariance = np.polyfit(1 / N, y, 1, w=1 / error, cov="unscaled")
    chi2 = np.sum(((y - limit - slope / N) / error) ** 2)
    assert fit.limit == pytest.approx(limit)
    assert fit.slope == pytest.approx(slope)
    assert fit.limit_error == pytest.approx(np.sqrt(covariance[1, 1]))
    assert fit.fit_chi2 == pytest.approx(chi2)
    assert fit.p_value == pytest.approx(stats.chi2.sf(chi2, 2))
    finite = comparison.extrapolate(mean, mean.copy(data=error), freedom=5)
    assert finite.p_value == pytest.approx(stats.f.sf(chi2 / 2, 2, 5))


def test_sizes_without_a_value_are_left_out_of_the_fit():
    N = np.array([50, 100, 200, 400])
    line = np.array([0.9 + 3.0 / N] * 3)
    line[1, 3] = line[2, 2] = line[2, 3] = np.nan
    mean = xr.DataArray(line, dims=("T", "N"), coords={"N": N})
    fit = comparison.extrapolate(mean, 0.01 / np.sqrt(mean["N"]))
    np.testing.assert_allclose(fit.limit, [0.9, 0.9, np.nan])
    assert fit.fit_sizes.values.tolist() == [4, 3, 2]
    for word in ("limit_error", "slope", "fit_chi2", "p_value"):
        assert fit[word].isnull().values.tolist() == [False, False, True]
    without_error = (0.01 / np.sqrt(mean["N"])).where(mean["N"] < 400, 0.0)
    assert comparison.extrapolate(mean, without_error).fit_sizes.values.tolist() == [3, 3, 2]


def test_p_values_of_fits_with_a_pooled_error_are_uniform():
    # Four sizes of two samples, 4000 fits: Kolmogorov and Smirnov's test has p < 1e-3 once in 1000 seeds. The law of
    # chi-square, as if the error were known, fails it.
    N, rng = np.array([50, 100, 200, 400]), np.random.default_rng(8)
    noise = rng.normal(size=(4000, 4, 2)) / np.sqrt(N)[:, None]
    simulation = simulated(0.5 + 1 / N[:, None] + noise, trial=np.arange(4000), N=N)
    mean, _ = comparison.sample_statistics(simulation, "m")
    error, freedom = comparison.pooled_error(simulation, "m"), comparison.pooled_freedom(simulation, "m")
    assert stats.kstest(comparison.extrapolate(mean, error, freedom).p_value, "uniform").pvalue > 1e-3
    assert stats.kstest(comparison.extrapolate(mean, error).p_value, "uniform").pvalue < 1e-6
