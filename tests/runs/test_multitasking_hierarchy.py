import numpy as np
import pytest
import xarray as xr
from scipy import stats

from hebbian import MultitaskingHebbian
from runs import figures, script
from runs import multitasking_hierarchy as hierarchy
from sim import TaskError, store, sweep
from tests.runs import running

TINY = {
    "N": 10_000,
    "K": (3,),
    "dilution": np.array([0.1, 0.3, 0.5]),
    "samples": 6,
    "equilibration": 20,
    "sweeps": 40,
}
SMALL = TINY | {"N": 300, "dilution": np.array([0.5, 0.9, 0.1]), "samples": 2, "equilibration": 5, "sweeps": 5}
SINGLE = SMALL | {"K": (8,), "dilution": np.array([0.5]), "samples": 1, "equilibration": 0, "sweeps": 1}
TRAININGS = ("storing", "supervised", "unsupervised")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return running.compute(hierarchy.SCRIPT, TINY, tmp_path_factory.mktemp("results") / "hierarchy.h5")


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
    given = store.read(out, f"theory_given/K3-{training}")
    np.testing.assert_array_equal(given.sample, simulation.sample)
    assert given.m_all.dims == ("dilution", "sample", "T", "pattern")


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
        given = hierarchy.overlaps_given((model, number), T=np.array([hierarchy.T]), seed=1).m_all.isel(T=0)
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


def computed(preset, path, **options):
    """Run the script with lines of few points."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hierarchy, "FINE", np.array([0.1, 0.5, 0.9]))
        return running.compute(hierarchy.SCRIPT, preset, path, **options)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return computed(SMALL, tmp_path_factory.mktemp("small") / "hierarchy.h5")


def test_stopped_and_divided_runs_end_like_undivided_ones(small, tmp_path, monkeypatch):
    out, predict, calls = tmp_path / "divided.h5", hierarchy.overlaps_given, []

    def dying(point, T, seed):
        if len(calls) == 5:
            raise OSError("the disk is on fire")
        calls.append(point)
        return predict(point, T, seed)

    monkeypatch.setattr(hierarchy, "overlaps_given", dying)
    with pytest.raises(TaskError, match="the disk is on fire"):
        computed(SMALL, out, shard="0/2")
    # Half of three dilutions and two samples each of the first network, and two of the second.
    assert store.read(out, "theory_given/K3-storing").completed.sum() == 3
    assert store.read(out, "theory_given/K3-supervised").completed.sum() == 2
    monkeypatch.setattr(hierarchy, "overlaps_given", predict)
    for shard in ("0/2", "1/2"):
        computed(SMALL, out, shard=shard, resume=True)
        assert "comparison/K3-storing" not in store.rooms(out)
    # From here on nothing is left to predict.
    monkeypatch.setattr(hierarchy, "overlaps_given", dying)
    computed(SMALL, out, resume=True)
    running.assert_same(small, out)


def test_axes_in_any_order_are_reported_and_drawn(small):
    assert len(list(script.report(small))) == 7
    assert [panel.get_title() for panel in hierarchy.draw(small).axes][::2] == ["$K = 3$, storing"]


def test_axes_of_one_value_are_measured_reported_and_drawn(tmp_path):
    out = computed(SINGLE, tmp_path / "single.h5")
    assert len(list(script.report(out))) == 7
    figure = hierarchy.draw(out)
    assert len(figure.axes[0].get_legend().get_texts()) == 8 + 2
    assert figure.axes[0].get_title() == "$K = 8$, storing"


@pytest.mark.parametrize(
    ("change", "message"), [({"K": (3, 0)}, "K = 0"), ({"dilution": np.array([0.5, 1.0])}, "dilution = 1")]
)
def test_presets_that_describe_no_network_are_refused_before_any_work(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        computed(SMALL | change, tmp_path / "results.h5")
    assert list(tmp_path.iterdir()) == []
