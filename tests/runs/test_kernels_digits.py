import numpy as np
import pytest

from runs import figures, kernels_digits
from sim import store
from tests.runs import running

TINY = {"images": np.array([10, 4]), "test": 200, "width": 512, "members": 4, "steps": 200, "samples": 2}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return running.compute(kernels_digits.SCRIPT, TINY, tmp_path_factory.mktemp("results") / "digits.h5")


def test_groups_share_their_grid(out):
    simulation, theory = store.read(out, "simulation/curves"), store.read(out, "theory/curves")
    for data, name in ((simulation, "single"), (theory, "regression")):
        assert dict(data[name].sizes) == {"images": 2, "trained": 2, "sample": 2}
    assert (simulation.residual < 0.1).all()


def test_trained_networks_are_wrong_as_often_as_those_of_infinite_width(out):
    compared = store.read(out, "comparison/curves")
    # Their standard deviations over seeds are up to 0.019 and 0.034: a false-alarm rate of 2e-2.
    assert (abs(compared.single_residual) < 0.06).all()
    assert (abs(compared.together_residual) < 0.1).all()
    assert (compared.regression_law < compared.together_law).all()
    assert (compared.together_law < compared.single_law).all()


def test_regression_by_other_kernels_is_that_of_its_definition(out):
    other, curves = (store.read(out, f"theory/{room}").regression for room in ("regression", "curves"))
    np.testing.assert_array_equal(other.sel(act="erf", depth=1), curves.sel(images=10))
    assert (other < 0.8).all()
    assert other.std("act").max() > 0


def test_samples_split_the_images_apart():
    ask = {"trained": "all", "source": "digits", "folder": None, "seed": 1, "most": 10, "test": 200, "width": 8}
    task = kernels_digits.Digits(**ask, members=1, steps=1, images=4, sample=0)
    X, Y, tests, labels = task.data()
    np.testing.assert_allclose((X**2).mean(1), 1)
    np.testing.assert_allclose(Y.sum(1), 0, atol=1e-12)
    more = kernels_digits.Digits(**ask, members=1, steps=1, images=10, sample=0).data()
    np.testing.assert_array_equal(more[1][:4], Y)
    np.testing.assert_array_equal(more[3], labels)
    other = kernels_digits.Digits(**ask, members=1, steps=1, images=4, sample=1).data()
    assert (other[3] != labels).any()
    assert not (tests[:, None] == X).all(-1).any()


def test_more_images_than_there_are_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"images \+ test = 1800; allowed: up to 1797"):
        running.compute(kernels_digits.SCRIPT, TINY | {"test": 1790}, tmp_path / "results.h5")


def test_figure_and_report(out):
    lines = list(kernels_digits.report(out))
    assert [line.split(",")[0] for line in lines] == ["all", "readout", *["regression"] * 6]
    figure = kernels_digits.draw(out)
    assert len(figure.axes) == 3
    assert all(path.stat().st_size > 10_000 for path in figures.save(figure, out))


def test_a_killed_run_resumes_to_the_same_file(out, tmp_path):
    running.assert_resumes(kernels_digits.SCRIPT, TINY, tmp_path / "killed.h5", out, tasks=3)
