import numpy as np
import pytest
import xarray as xr

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
