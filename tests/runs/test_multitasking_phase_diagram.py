import numpy as np
import pytest
import xarray as xr
from scipy import stats
from typer.testing import CliRunner

from runs import command_line, figures
from runs import multitasking_phase_diagram as diagram
from sim import store
from theory.replica_symmetric import multitasking

TINY = {
    "N": 10_000,
    "dilution": np.array([0.2, 0.65, 0.9]),
    "T": np.array([0.04, 0.4, 0.95]),
    "rho": np.array([0.05, 0.5]),
    "samples": 4,
    "sweeps": 40,
}


def computed(tmp_path_factory, preset, **options):
    """Run the script with coarse maps, which nothing but the figure needs."""
    path = tmp_path_factory.mktemp("results") / "phase_diagram.h5"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diagram, "FINE", 6)
        diagram.compute(preset, seed=1, out=path, **options)
    return path


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return computed(tmp_path_factory, TINY)


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
        np.testing.assert_allclose(simulation.rho, TINY["rho"])


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
def test_amplitudes_of_any_number_of_patterns_are_the_predicted_ones(tmp_path_factory, K):
    # Inside the phases; at their borders a network may end in another state than the equations do.
    preset = TINY | {"dilution": np.array([0.1, 0.2, 0.9]), "T": np.array([0.04, 0.4]), "samples": 6}
    out = computed(tmp_path_factory, preset, K=K)
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "precious.h5"], "out = precious.h5 exists"),
        (["--patterns", "1"], "patterns = 1 is out of range"),
        (["--patterns", "2.5"], "--patterns"),
    ],
)
def test_bad_command_lines_end_in_one_message_and_code_2(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "precious.h5").write_text("precious")
    ended = CliRunner().invoke(command_line.application(diagram.main), arguments)
    assert ended.exit_code == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["precious.h5"]
