import numpy as np
import pytest
import xarray as xr
from scipy import stats

from runs import figures
from runs import multitasking_hierarchy as hierarchy
from runs import multitasking_phase_diagram as diagram
from sim import TaskError, store
from tests.runs import running
from theory.replica_symmetric import multitasking

TINY = {
    "N": 10_000,
    "dilution": np.array([0.2, 0.65, 0.9]),
    "T": np.array([0.04, 0.4, 0.95]),
    "rho": np.array([0.05, 0.5]),
    "samples": 4,
    "sweeps": 40,
}
SMALL = {
    "N": 300,
    "dilution": np.array([0.9, 0.2, 0.65]),
    "T": np.array([0.4, 0.04]),
    "rho": np.array([0.5, 0.05]),
    "samples": 2,
    "sweeps": 5,
}
SINGLE = {"N": 300, "dilution": np.full(1, 0.5), "T": np.full(1, 0.1), "rho": np.zeros(1), "samples": 1, "sweeps": 1}


def computed(path, preset, **options):
    """Run the script with coarse maps, which nothing but the figure needs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diagram, "FINE", 6)
        return running.compute(diagram.SCRIPT, preset, path, **options)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return computed(tmp_path_factory.mktemp("results") / "phase_diagram.h5", TINY)


@pytest.mark.parametrize(("name", "axes"), [("temperature", ("dilution", "T")), ("entropy", ("dilution", "quality"))])
def test_measurement_and_theory_share_their_grid(out, name, axes):
    simulation = store.read(out, f"simulation/{name}")
    assert (simulation.completed == 1).all()
    for group in ("theory", "comparison"):
        shared = store.read(out, f"{group}/{name}")
        for axis in (*axes, "pattern"):
            np.testing.assert_array_equal(shared[axis], simulation[axis])
    if name == "entropy":
        # rho = (1 - r^2) / (M r^2) with M = 20.
        r = simulation.quality
        np.testing.assert_allclose((1 - r**2) / (20 * r**2), TINY["rho"], rtol=1e-12)
        for group in ("theory", "comparison"):
            np.testing.assert_allclose(store.read(out, f"{group}/{name}").rho, TINY["rho"])


def test_every_group_is_in_the_file(out):
    with xr.open_datatree(out) as tree:
        theories = {"theory", "theory_given", "theory_map", "theory_lines", "theory_cuts"}
        assert set(tree.children) == theories | {"simulation", "comparison"}
    assert store.groups(out, "comparison") == ["entropy", "temperature", "temperature-given"]


def phases(compared):
    """Return the names of the measured phases, (T, dilution)."""
    codes = compared.phase.transpose("T", "dilution").values
    return [[multitasking.PHASES[code] for code in row] for row in codes]


def test_measured_phases_are_the_known_ones(out):
    # K = 3: at T = 0 the hierarchy ends at d = 0.618, and all patterns are equal at d = 0.9, T/(1-d) = 0.4; order
    # ends at T = 1 - d; at d = 0.2, T = 0.4 the spins that the first pattern leaves free are too hot for a second.
    assert phases(store.read(out, "comparison/temperature")) == [
        ["hierarchical", "partially_ordered", "parallel"],
        ["retrieval", "paramagnetic", "paramagnetic"],
        ["paramagnetic"] * 3,
    ]
    assert store.read(out, "comparison/temperature").phase_agreement == 1


def test_poor_examples_end_the_hierarchy(out):
    # d = 0.2: the second amplitude, 0.16 of good examples, is as large as the third of poor ones.
    n = abs(store.read(out, "simulation/entropy").m_all).mean(["replica", "sample"]).isel(T=0).sel(dilution=0.2)
    good, poor = n.isel(quality=0), n.isel(quality=1)
    assert good.isel(pattern=0) > poor.isel(pattern=0) + 0.1
    assert abs(good - [0.8, 0.16, 0.032]).max() < 0.03


def synthetic(*overlaps):
    """Return a simulation of samples with these overlaps, in two replicas."""
    return xr.Dataset({"m_all": (("sample", "replica", "pattern"), np.repeat(np.array(overlaps)[:, None], 2, axis=1))})


@pytest.mark.parametrize(
    ("overlaps", "phase"),
    [
        # N = 10^4: amplitudes up to 0.05 count as none.
        ([[0.049, -0.02, 0.0]], "paramagnetic"),
        ([[0.051, 0.02, 0.0]], "retrieval"),
        ([[0.04, -0.9, 0.01]], "retrieval"),
        ([[0.7, 0.21, 0.06]], "hierarchical"),
        ([[0.06, -0.7, 0.21]], "hierarchical"),
        # In each sample another pattern leads.
        ([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, -0.8]], "hierarchical"),
        ([[0.32, 0.25, 0.17]], "partially_ordered"),
        ([[0.30, 0.28, 0.27]], "parallel"),
        # Equal, but not all of them.
        ([[0.20, 0.20, 0.20, 0.01]], "partially_ordered"),
        ([[0.30, 0.20, 0.01, 0.0]], "hierarchical"),
    ],
)
def test_measured_overlaps_are_classified_as_the_theory_defines_phases(overlaps, phase):
    measured = diagram.measured_phase(synthetic(*overlaps), 10_000)
    assert multitasking.PHASES[measured.item()] == phase


def test_replicas_of_opposite_sign_do_not_cancel():
    simulation = xr.Dataset({"m_all": (("sample", "replica", "pattern"), np.array([[[0.9, 0.0], [-0.9, 0.0]]]))})
    assert diagram.measured_phase(simulation, 10_000) == multitasking.PHASES.index("retrieval")


@pytest.mark.slow
@pytest.mark.parametrize("K", [2, 3, 4, 5, 6])
def test_amplitudes_of_any_number_of_patterns_are_the_predicted_ones(tmp_path, K):
    # Inside the phases; at their borders a network may end in another state than the equations do.
    preset = TINY | {"dilution": np.array([0.1, 0.2, 0.9]), "T": np.array([0.04, 0.4]), "samples": 6}
    out = computed(tmp_path / "results.h5", preset, patterns=K)
    measured = store.read(out, "simulation/temperature").m_all.mean("replica")
    left = abs(measured - store.read(out, "theory_given/temperature").m_all)
    # Thermal noise is 1e-3 or less; the average over patterns leaves out 0.01. Weak amplitudes of a sample may be
    # elsewhere, not those of half of them.
    assert (left.median("sample") < 0.003).all()
    # The pulls are Student's with 5 degrees of freedom: one of 3 or more has a probability of 0.03, and were they
    # independent, a fifth of them would have it less than once in 100 times.
    pulls = store.read(out, "comparison/temperature").m_all_pull
    pulls = pulls.values[pulls.notnull().values]
    assert pulls.size >= K + 4
    allowed = int(stats.binom.isf(0.01, pulls.size, 2 * stats.t.sf(3, 5)))
    assert np.count_nonzero(abs(pulls) > 3) <= allowed
    assert abs(np.mean(pulls)) < 1.5


def test_figure_is_written_as_png_and_pdf(out):
    figure = diagram.draw(out)
    assert len(figure.axes) == 3
    paths = figures.save(figure, out)
    assert [path.suffix for path in paths] == [".png", ".pdf"]
    assert all(path.stat().st_size > 10_000 for path in paths)


def test_the_report_says_how_many_phases_are_the_predicted_ones(out):
    lines = list(diagram.report(out))
    assert len(lines) == 5
    assert lines[1].startswith("temperature: m_all: ")
    assert lines[-1] == "temperature: 100 % of points in the predicted phase"


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return computed(tmp_path_factory.mktemp("small") / "phase_diagram.h5", SMALL)


def test_stopped_and_divided_runs_end_like_undivided_ones(small, tmp_path, monkeypatch):
    out, predict, calls = tmp_path / "divided.h5", hierarchy.overlaps_given, []

    def dying(point, T, seed):
        if len(calls) == 2:
            raise OSError("the disk is on fire")
        calls.append(point)
        return predict(point, T, seed)

    monkeypatch.setattr(hierarchy, "overlaps_given", dying)
    with pytest.raises(TaskError, match="the disk is on fire"):
        computed(out, SMALL, shard="0/2")
    assert store.read(out, "simulation/temperature").completed.sum() == 3
    assert store.read(out, "theory_given/temperature").completed.sum() == 2
    monkeypatch.setattr(hierarchy, "overlaps_given", predict)
    for shard in ("0/2", "1/2"):
        computed(out, SMALL, shard=shard, resume=True)
        assert "comparison/entropy" not in store.rooms(out)
    # From here on nothing is left to predict.
    monkeypatch.setattr(hierarchy, "overlaps_given", dying)
    computed(out, SMALL, resume=True)
    running.assert_same(small, out)


def check_report_and_figure(out, preset):
    assert len(list(diagram.report(out))) == 5
    figure = diagram.draw(out)
    figure.canvas.draw()
    for panel, group, name in ((0, "temperature", "T"), (2, "entropy", "rho")):
        points = figure.axes[panel].collections[1]
        drawn = {
            (d, y): c for (d, y), c in zip(points.get_offsets().tolist(), points.get_array().tolist(), strict=True)
        }
        phase = store.read(out, f"comparison/{group}").phase
        assert drawn == {
            (d, y): phase.isel(dilution=i).where(phase[name] == y, drop=True).item()
            for i, d in enumerate(preset["dilution"].tolist())
            for y in preset[name].tolist()
        }


def test_axes_in_any_order_are_reported_and_drawn(small):
    check_report_and_figure(small, SMALL)
    assert store.read(small, "theory_map/entropy").rho[-1] > SMALL["rho"].max()


@pytest.mark.parametrize("dilution", [[0.5], [0.2, 0.5, 0.8]])
def test_axes_of_one_value_are_measured_reported_and_drawn(tmp_path, dilution):
    # Three points in a row could be taken for the parts of one colour.
    preset = SINGLE | {"dilution": np.array(dilution)}
    check_report_and_figure(computed(tmp_path / "single.h5", preset), preset)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9, 19])
def test_cuts_are_a_few_dilutions_in_ascending_order(count):
    dilution = np.random.default_rng(1).permutation(np.linspace(0.1, 0.9, count))
    chosen = diagram.cut_dilutions(dilution)
    assert 1 <= len(chosen) <= 3
    assert set(chosen) <= set(dilution)
    assert (np.diff(chosen) > 0).all()


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"patterns": 1}, "patterns = 1 is out of range"),
        ({"rho": np.array([0.5, -0.1])}, {}, "rho = -0.1"),
        ({"dilution": np.array([0.5, 1.0])}, {}, "dilution = 1"),
        ({"T": np.array([0.5, -1.0])}, {}, "T = -1"),
    ],
)
def test_presets_that_describe_no_network_are_refused_before_any_work(tmp_path, change, options, message):
    with pytest.raises(ValueError, match=message):
        computed(tmp_path / "results.h5", SMALL | change, **options)
    assert list(tmp_path.iterdir()) == []
