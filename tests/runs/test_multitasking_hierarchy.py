import numpy as np
import pytest
import xarray as xr
from scipy import stats
from typer.testing import CliRunner

from hebbian import MultitaskingHebbian
from runs import command_line, figures
from runs import multitasking_hierarchy as hierarchy
from sim import store, sweep

TINY = {"N": 10_000, "dilution": np.array([0.1, 0.3, 0.5]), "samples": 6, "equilibration": 20, "sweeps": 40}
TRAININGS = ("storing", "supervised", "unsupervised")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    path = tmp_path_factory.mktemp("results") / "hierarchy.h5"
    hierarchy.compute(TINY, seed=1, out=path, patterns=(3,))
    return path


def differences(out, training):
    """Return measured overlaps minus those predicted from the patterns of the sample, (dilution, sample, pattern)."""
    measured = store.read(out, f"simulation/K3-{training}").m_all.mean("replica")
    return (measured - store.read(out, f"theory_given/K3-{training}").m_all).isel(T=0)


def bound(points):
    """Return the pull that one of so many true ones exceeds with a probability below 1e-3."""
    return stats.t.isf(0.5e-3 / points, df=TINY["samples"] - 1)


@pytest.mark.parametrize("training", TRAININGS)
def test_measurement_and_theory_share_their_grid(out, training):
    simulation = store.read(out, f"simulation/K3-{training}")
    assert (simulation.completed == 1).all()
    assert simulation.m_all.dims == ("dilution", "T", "sample", "replica", "pattern")
    for group in ("theory", "theory_given", "comparison"):
        shared = store.read(out, f"{group}/K3-{training}")
        for axis in ("dilution", "T", "pattern"):
            np.testing.assert_array_equal(shared[axis], simulation[axis])
    np.testing.assert_array_equal(store.read(out, f"theory_given/K3-{training}").sample, simulation.sample)


def test_every_comparison_is_in_the_file(out):
    expected = [f"K3-{training}{suffix}" for training in TRAININGS for suffix in ("", "-given")]
    assert store.groups(out, "comparison") == sorted([*expected, "K3-trainings"])
    with xr.open_datatree(out) as tree:
        assert {"simulation", "theory", "theory_lines", "theory_given", "comparison"} == set(tree.children)


def test_predictions_from_the_patterns_hold_sample_by_sample(out):
    # Thermal noise, and what two hundred spins of the rarest sites add to it: a few times 1e-4. The average over
    # patterns is off by 1/sqrt(N) = 0.01.
    assert abs(differences(out, "storing")).max() < 0.003
    averaged = store.read(out, "simulation/K3-storing").m_all.mean("replica") - store.read(out, "theory/K3-storing").m
    assert abs(averaged).max() > 0.01


@pytest.mark.parametrize("training", ["supervised", "unsupervised"])
def test_predictions_from_the_examples_hold_sample_by_sample(out, training):
    # At d = 0.5 the way to the fixed point is longer than this window: see the next test.
    assert abs(differences(out, training).sel(dilution=[0.1, 0.3])).max() < 0.01


@pytest.mark.slow
def test_slow_samples_arrive_at_the_predicted_state():
    # Within 60 sweeps half of these samples are 0.05 to 0.15 away. Thermal noise of these soft states: 1e-3.
    model = MultitaskingHebbian(N=10_000, K=3, dilution=0.5, training="supervised", **hierarchy.EXAMPLES)
    run = {"T": hierarchy.T, "sweeps": 400, "samples": 4, "seed": 1, "initial": "hierarchical", "overlaps": "all"}
    measured = sweep(model, **run).m_all.mean("replica").isel(T=0)
    for number in range(4):
        given = hierarchy.overlaps_given((model, number), T=np.array([hierarchy.T]), seed=1)[0]
        assert abs(measured.sel(sample=number) - given).max() < 0.005


def test_amplitudes_are_those_of_the_hierarchy(out):
    # m = (1-d) d^(mu-1) at T = 0; at T = 0.03 the equations correct the amplitudes shown by less than 1e-3.
    compared, theory = (store.read(out, f"{group}/K3-storing").isel(T=0) for group in ("comparison", "theory"))
    d, mu = compared.dilution, compared.pattern
    law = (1 - d) * d**mu
    strong = law > 0.08
    assert strong.sum() == 7
    assert (abs(theory.m - law).where(strong, 0) < 1e-3).all()
    assert (abs(compared.m_all_mean - law).where(strong, 0) < bound(7) * compared.m_all_error + 1e-3).all()
    # The errors are small enough for the test to be one.
    assert (compared.m_all_error.where(strong, 0) < 0.01).all()


def test_only_resolved_amplitudes_are_compared_with_the_average_over_patterns(out):
    pulls = store.read(out, "comparison/K3-storing").m_all_pull.isel(T=0)
    # 0.009 of the third pattern at d = 0.1 is less than 5/sqrt(N) = 0.05.
    assert np.isnan(pulls.sel(dilution=0.1, pattern=2))
    assert pulls.notnull().sum() == 8
    assert (abs(pulls).fillna(0) < bound(8)).all()


def test_the_teacher_makes_no_difference_at_low_load(out):
    # Nine paired differences; their false alarms are below 1e-3 together.
    trainings = store.read(out, "comparison/K3-trainings")
    assert trainings.m_all_points == 9
    assert (abs(trainings.m_all_pull) < bound(9)).all()
    supervised = store.read(out, "comparison/K3-supervised").m_all_mean
    np.testing.assert_allclose(trainings.m_all_mean.transpose(*supervised.dims), supervised, rtol=0, atol=1e-12)
    assert (abs(trainings.m_all_residual).sel(dilution=[0.1, 0.3]) < 0.02).all()
    assert abs(trainings.m_all_residual).max() > 0


def test_figure_has_two_panels_a_network(out):
    figure = hierarchy.draw(out)
    assert [panel.get_title() for panel in figure.axes] == [
        "$K = 3$, storing",
        "$K = 3$, learning: $r = 0.5, M = 20$",
    ]
    paths = figures.save(figure, out)
    assert [path.suffix for path in paths] == [".png", ".pdf"]
    assert all(path.stat().st_size > 10_000 for path in paths)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--out", "precious.h5"], "out = precious.h5 exists"), (["--patterns", "3"], "--patterns")],
)
def test_bad_command_lines_end_in_one_message_and_code_2(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "precious.h5").write_text("precious")
    ended = CliRunner().invoke(command_line.application(hierarchy.main), arguments)
    assert ended.exit_code == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert (tmp_path / "precious.h5").read_text() == "precious"
