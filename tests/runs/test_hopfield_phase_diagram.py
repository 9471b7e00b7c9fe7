import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from scipy import stats

from runs import figures
from runs import hopfield_phase_diagram as hopfield
from sim import TaskError, store
from sim.glauber import front
from tests.runs import running

TINY = {
    "N": 500,
    "load": np.array([0.01, 0.05, 0.2]),
    "T": np.array([0.2, 0.3, 1.1]),
    "T_mixture": np.array([0.1, 0.3, 0.8]),
    "rho": np.array([0.02, 0.4]),
    "learning_load": np.array([0.02, 0.1]),
    "quality": np.array([0.3, 0.8]),
    "examples": np.array([2, 64]),
    "samples": 6,
    "sweeps": 40,
}
LEARNING = [f"{kind}-{training}" for kind in ("entropy", "examples") for training in ("supervised", "unsupervised")]
MIXTURES = [f"mixture-{components}" for components in (1, 3, 5)]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    path = tmp_path_factory.mktemp("results") / "hopfield.h5"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hopfield, "FINE", 4)
        return running.compute(hopfield.SCRIPT, TINY, path)


def bound(points):
    """Return the pull that one of so many true ones exceeds with a probability below 1e-3."""
    return stats.t.isf(0.5e-3 / points, df=TINY["samples"] - 1)


@pytest.mark.parametrize("group", ["phases", "glass", *MIXTURES, *LEARNING])
def test_measurement_and_theory_share_their_grid(out, group):
    simulation = store.read(out, f"simulation/{group}")
    assert (simulation.completed == 1).all()
    for kind in ("theory", "comparison"):
        shared = store.read(out, f"{kind}/{group}")
        for axis in {"load", "T", "quality", "examples"} & set(simulation.dims):
            np.testing.assert_array_equal(shared[axis], simulation[axis])


def test_every_group_is_in_the_file(out):
    assert store.groups(out, "comparison") == sorted(["phases", "glass", "glass-one-step", *MIXTURES, *LEARNING])
    with xr.open_datatree(out) as tree:
        expected = {"simulation", "theory", "theory_cuts", "theory_lines", "theory_mixture_lines", "theory_learning"}
        assert expected | {"theory_one_step", "comparison"} == set(tree.children)


def test_map_agrees_with_the_theory_where_retrieval_is_stable(out):
    compared, theory = (store.read(out, f"{kind}/phases") for kind in ("comparison", "theory"))
    # Published solutions: m = 0.998878 and 0.991165 at alpha = 0.05; no retrieval beyond 0.138 or above T = 1.
    np.testing.assert_allclose(theory.m.sel(load=0.05, T=[0.2, 0.3]), [0.998878, 0.991165], atol=2e-6)
    assert (theory.m.sel(load=0.2) == 0).all()
    assert (theory.m.sel(T=1.1) == 0).all()
    # T_c is 0.7216 and 0.2164 at these loads: three stable points.
    T_c = xr.DataArray([0.7216, 0.2164, 0.0], {"load": TINY["load"]})
    defined = compared.m_residual.where(theory.retrieval & (theory["T"] < T_c))
    assert defined.notnull().sum() == 3
    allowed = bound(3) * compared.m_error + 2 / TINY["N"]
    assert (abs(defined).fillna(0) < allowed).all()
    assert (abs(defined).fillna(0) < 0.01).all()
    # A pull needs samples that differ; T = 0.3 at alpha = 0.05 is metastable.
    assert compared.m_points <= 3
    assert np.isnan(compared.m_pull.sel(load=0.05, T=0.3))
    assert compared.m_mean.sel(load=0.2).max() < 0.9
    assert abs(compared.m_mean.sel(T=1.1)).max() < 0.3


def test_mixture_of_three_has_half_of_each_pattern(out):
    # 1/2 at T = 0 and low load; T = 0.1, alpha = 0.01 takes 2e-4 from it. Stable below T = 0.46.
    compared, theory = (store.read(out, f"{kind}/mixture-3").isel(load=0) for kind in ("comparison", "theory"))
    assert theory.m.sel(T=0.1) == pytest.approx(0.5, abs=2e-3)
    assert theory.stable.values.tolist() == [True, False, False]
    cold = compared.sel(T=0.1)
    assert abs(cold.m_mean - 0.5) < bound(1) * cold.m_error
    assert cold.m_error < 0.01
    assert cold.m_pull.notnull()
    assert compared.m_pull.sel(T=[0.3, 0.8]).isnull().all()


def test_more_components_have_smaller_overlaps(out):
    one, three, five = (store.read(out, f"comparison/{name}").m_mean.sel(T=0.1).item() for name in MIXTURES)
    assert one > 0.99
    # 1, 1/2 and 3/8.
    assert one - three > 0.4
    assert three - five > 0.05


@pytest.mark.parametrize("training", ["supervised", "unsupervised"])
def test_learning_diagrams_agree_with_the_theory_inside_retrieval(out, training):
    compared, theory = (store.read(out, f"{kind}/entropy-{training}").isel(T=0) for kind in ("comparison", "theory"))
    easy = {"quality": 0, "load": 0}
    assert theory.retrieval[easy]
    assert abs(compared.m_residual[easy]) < 0.003
    # rho = (1 - r^2) / (M r^2), M = 20.
    r = store.read(out, f"simulation/entropy-{training}").quality
    np.testing.assert_allclose((1 - r**2) / (20 * r**2), TINY["rho"], rtol=1e-12)
    compared, theory = (
        store.read(out, f"{kind}/examples-{training}").isel(T=0, load=0) for kind in ("comparison", "theory")
    )
    assert abs(compared.m_residual.sel(quality=0.8, examples=64)) < 0.003
    assert theory.retrieval.sel(quality=0.8, examples=64)
    assert not theory.retrieval.sel(quality=0.3, examples=2)
    assert compared.m_mean.sel(quality=0.3, examples=2) < 0.4


def test_a_teacher_enlarges_retrieval(out):
    supervised, unsupervised = (
        store.read(out, f"theory_learning/entropy-{training}") for training in hopfield.TRAININGS
    )
    assert (supervised.alpha_c.diff("quality") < 0).sum() in (0, supervised.sizes["quality"] - 1)
    assert (supervised.alpha_c > unsupervised.alpha_c).any()
    assert (supervised.alpha_c >= unsupervised.alpha_c - 1e-6).all()
    supervised, unsupervised = (
        store.read(out, f"theory_learning/examples-{training}") for training in hopfield.TRAININGS
    )
    assert (supervised.M_c <= unsupervised.M_c).all()
    assert (supervised.M_c < unsupervised.M_c).any()
    assert (supervised.M_c.diff("quality") < 0).all()


def energies(beta, energy):
    """Return energies along T, of two equal samples."""
    return xr.DataArray(np.tile(energy, (2, 1)), coords={"T": 1 / beta}, dims=("sample", "T"))


def test_entropy_of_free_spins_is_ln_2():
    beta = np.linspace(0, 8, 81)[1:]
    np.testing.assert_allclose(hopfield.entropy(energies(beta, np.zeros(80))), np.log(2), rtol=1e-15)


@pytest.mark.parametrize("field", [0.25, 0.5, 1.0])
def test_entropy_of_spins_in_a_field_is_the_exact_one(field):
    # u = -h tanh(beta h), s = ln 2cosh(beta h) - beta h tanh(beta h); Simpson's error at this step is below 1e-5.
    beta = np.linspace(0, 8, 81)[1:]
    x = beta * field
    found = hopfield.entropy(energies(beta, -field * np.tanh(x)))
    assert found.dims == ("sample", "T")
    assert found.attrs["units"] == "k_B"
    for sample in found:
        np.testing.assert_allclose(sample, np.log(2 * np.cosh(x)) - x * np.tanh(x), atol=1e-5)


def test_disordered_network_has_the_exact_energy_and_entropy(out):
    # Above T_g = 1 + sqrt(0.3) = 1.548 the average over couplings is exact:
    # -beta f = ln 2 - (alpha/2) (ln(1 - beta) + beta), u = -(alpha/2) beta / (1 - beta).
    simulation, compared = store.read(out, "simulation/glass"), store.read(out, "comparison/glass")
    hot = compared["T"] > 2
    beta = 1 / compared["T"][hot]
    assert beta.size == 4
    u = -0.15 * beta / (1 - beta)
    s = np.log(2) - 0.15 * (np.log(1 - beta) + beta) + beta * u
    for name, exact in (("energy", u), ("entropy", s)):
        allowed = bound(8) * compared[f"{name}_error"][hot] + 1 / TINY["N"]
        assert (abs(compared[f"{name}_mean"][hot] - exact) < allowed).all()
        np.testing.assert_allclose(store.read(out, "theory/glass")[name][hot], exact, atol=1e-6)
    assert hopfield.entropy(simulation.energy).dims == simulation.energy.dims


def test_glass_keeps_an_entropy_that_replica_symmetry_makes_negative(out):
    cold = {"T": -1}
    compared = store.read(out, "comparison/glass")[cold]
    assert store.read(out, "theory/glass").entropy[cold] < -0.02
    assert compared.entropy_mean > bound(1) * compared.entropy_error
    # Breaking the symmetry once takes most of the difference away.
    broken = store.read(out, "comparison/glass-one-step")[cold]
    assert abs(broken.entropy_residual) < compared.entropy_residual / 2
    assert store.read(out, "theory_one_step").entropy[cold] > 0


def test_figure_has_eight_panels(out):
    figure = hopfield.draw(out)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert [title[1] for title in titles] == list("abcdefgh")
    paths = figures.save(figure, out)
    assert [path.suffix for path in paths] == [".png", ".pdf"]
    assert all(path.stat().st_size > 10_000 for path in paths)


# Grids in no order.
SHUFFLED = {
    "N": 30,
    "load": np.array([0.1, 0.05]),
    "T": np.array([0.6, 0.3, 0.4]),
    "T_mixture": np.array([0.5, 0.2]),
    "rho": np.array([0.4, 0.1, 0.2]),
    "learning_load": np.array([0.1, 0.05]),
    "quality": np.array([0.8, 0.6, 0.9]),
    "examples": np.array([9, 2, 5]),
    "samples": 2,
    "sweeps": 3,
}


@pytest.fixture
def few_panels(monkeypatch):
    for name, value in {"FINE": 3, "STEPS": 2, "COMPONENTS": (1,), "TRAININGS": ("supervised",)}.items():
        monkeypatch.setattr(hopfield, name, value)


def panels(path):
    """Draw a file; return the panels of maps and their values, from the lower left corner."""
    figure = hopfield.draw(path)
    figure.canvas.draw()
    maps = {axes.get_title()[:3]: axes for axes in figure.axes if axes.get_title()[:3] in ("(a)", "(e)", "(g)")}
    plt.close(figure)
    return {name: (axes, np.asarray((axes.images or axes.collections)[0].get_array())) for name, axes in maps.items()}


@pytest.mark.slow
@pytest.mark.usefixtures("few_panels")
def test_a_run_in_parts_that_was_stopped_ends_as_one(tmp_path, monkeypatch):
    whole = running.compute(hopfield.SCRIPT, SHUFFLED, tmp_path / "whole.h5")
    parts, measure, calls = tmp_path / "parts.h5", front.measure, []

    def failing(sample, options, *, seed, task, **plan):
        # The calibration, of seed 0, is no task.
        calls.extend([task] * (seed and options.get("initial") == "mixture"))
        if len(calls) == 1:
            raise FloatingPointError("too hot")
        return measure(sample, options, seed=seed, task=task, **plan)

    monkeypatch.setattr(front, "measure", failing)
    with pytest.raises(TaskError, match="too hot"):
        running.compute(hopfield.SCRIPT, SHUFFLED, parts, shard="0/2")
    monkeypatch.setattr(front, "measure", measure)
    # Half of two samples at two loads; nothing of the mixtures.
    assert store.read(parts, "simulation/phases").completed.sum() == 2
    assert store.read(parts, "simulation/mixture-1").completed.sum() == 0
    assert not [room for room in store.rooms(parts) if room.startswith("comparison")]
    for shard in ("0/2", "1/2", "0/1"):
        running.compute(hopfield.SCRIPT, SHUFFLED, parts, shard=shard, resume=True)
    assert store.rooms(parts) == store.rooms(whole)
    for room in store.rooms(whole):
        xr.testing.assert_identical(store.read(parts, room), store.read(whole, room))
    lines = store.read(whole, "theory_lines")
    np.testing.assert_allclose(lines["load"][[0, -1]], [0.05 / 4, 1.05 * 0.1])
    np.testing.assert_allclose(lines["T"][[0, -1]], [0, 0.6])
    # Maps are drawn in order whatever that of the grid.
    drawn = panels(whole)
    for name, group, x, y in (
        ("(a)", "phases", "load", "T"),
        ("(e)", "entropy-supervised", "rho", "load"),
        ("(g)", "examples-supervised", "examples", "quality"),
    ):
        compared = store.read(whole, f"comparison/{group}").set_coords([x, y]).m_mean.squeeze()
        np.testing.assert_array_equal(
            drawn[name][1].ravel(),
            compared.sortby([x, y]).transpose(*compared[y].dims, *compared[x].dims).values.ravel(),
        )


@pytest.mark.usefixtures("few_panels")
def test_grids_of_one_value_are_computed_and_drawn(tmp_path):
    one = {name: values[:1] if np.ndim(values) else values for name, values in SHUFFLED.items()}
    out = running.compute(hopfield.SCRIPT, one, tmp_path / "one.h5")
    for axes, values in panels(out).values():
        assert values.size == 1
        # Under the line of the theory, which crosses the only cell.
        inside = [
            bool(np.any((line.get_xdata() > axes.get_xlim()[0]) & (line.get_xdata() < axes.get_xlim()[1])))
            for line in axes.get_lines()
        ]
        assert any(inside)


def test_a_negative_entropy_of_the_data_is_refused_before_any_work(tmp_path):
    with pytest.raises(ValueError, match=r"rho = -0.1 is out of range"):
        running.compute(hopfield.SCRIPT, SHUFFLED | {"rho": np.array([0.2, -0.1])}, tmp_path / "a.h5")
    assert store.rooms(tmp_path / "a.h5") == [] if (tmp_path / "a.h5").exists() else True
