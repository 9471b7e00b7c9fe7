import numpy as np
import pytest
import xarray as xr

from hebbian import DenseHebbian
from sim import effective_dynamics, exact, flip_energies, parallel_tempering, random, simulate
from sim.glauber import states
from sim.glauber.front import initial_spins
from tests.sim.cases import network


@pytest.fixture(scope="module")
def sample():
    return network("storing", "distinct", 3, 40, 20)


def run(sample, **options):
    return simulate(sample, **({"T": [0.3, 0.6], "sweeps": 20, "seed": 1} | options))


def test_dimensions_labels_and_units(sample):
    result = run(sample, replicas=3, series=True, overlaps="all", configurations=True)
    assert dict(result.sizes) == {"T": 2, "replica": 3, "pair": 3, "sweep": 20, "pattern": 20, "site": 40}
    assert result.m_series.dims == ("T", "sweep", "replica")
    assert list(result.pair.values) == ["0-1", "0-2", "1-2"]
    for name, variable in result.variables.items():
        assert variable.attrs.keys() >= {"long_name", "units"}, name
        assert name != "m_error" or variable.attrs["long_name"].startswith("standard error")


def test_observables_are_those_of_the_recorded_spins():
    for training in ("storing", "supervised", "unsupervised"):
        sample = network(training, "distinct", 3, 30, 4)
        result = run(sample, pattern=2, series=True, configurations=True, overlaps="all", sweeps=12)
        spins = result.spins.values.astype(float)
        np.testing.assert_allclose(result.m_series, spins @ sample.xi[2] / 30, rtol=1e-12)
        np.testing.assert_allclose(result.n_series, spins @ sample.learned(2) / 30, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(result.q_series[..., 0], (spins[:, :, 0] * spins[:, :, 1]).mean(-1), rtol=1e-12)
        energy = [[[sample.energy(s) / 30 for s in pair] for pair in time] for time in result.spins.values]
        np.testing.assert_allclose(result.energy_series, energy, rtol=1e-10)
        overlaps = np.mean([[[sample.archetype_overlap(s) for s in p] for p in t] for t in result.spins.values], axis=1)
        np.testing.assert_allclose(result.m_all, overlaps, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(result.m, result.m_series.mean("sweep"), rtol=1e-12)


def test_equilibration_is_the_beginning_of_the_same_trajectory(sample):
    whole = run(sample, sweeps=30, series=True)
    tail = run(sample, sweeps=20, equilibration=10, series=True)
    np.testing.assert_array_equal(whole.m_series[:, 10:], tail.m_series)


def test_a_temperature_does_not_depend_on_its_neighbours(sample):
    together, alone = run(sample, T=[0.2, 0.5, 0.9]), run(sample, T=0.5)
    np.testing.assert_array_equal(together.sel(T=[0.5]).m, alone.m)


def test_temperatures_and_replicas_have_random_numbers_of_their_own(sample):
    spins = run(sample, T=[0.5, 0.5 + 1e-9], configurations=True).spins
    assert (spins.isel(T=0) != spins.isel(T=1)).any()
    same_start = run(sample, T=0.5, configurations=True).spins
    assert (same_start.isel(replica=0) != same_start.isel(replica=1)).any()


def test_long_runs_are_cut_into_chunks_without_a_trace(sample, monkeypatch):
    whole = run(sample, sweeps=50, series=True)
    monkeypatch.setattr("sim.glauber.front._CHUNK", 7)
    np.testing.assert_array_equal(whole.energy_series, run(sample, sweeps=50, series=True).energy_series)


@pytest.mark.parametrize("training", ["storing", "supervised", "unsupervised"])
@pytest.mark.parametrize("interaction", ["distinct", "all", "diluted"])
@pytest.mark.parametrize("dynamics", ["glauber", "metropolis", "descent"])
def test_all_algorithms_agree_to_the_last_bit(training, interaction, dynamics):
    # Neither sites nor chains fill the last block and the last group of lanes.
    sample = network(training, interaction, 2, 77, 5)
    options = {"configurations": True, "series": True, "overlaps": "all", "sweeps": 200, "dynamics": dynamics}
    options |= {"replicas": 3, "T": 0.0 if dynamics == "descent" else np.linspace(0, 2, 9)}
    by_rows, *others = (run(sample, algorithm=name, **options) for name in ("rows", "fields", "blocks", "auto"))
    for other in others:
        xr.testing.assert_identical(by_rows, other)


@pytest.mark.parametrize("algorithm", ["rows", "fields", "blocks"])
def test_results_do_not_depend_on_what_is_simulated_together(algorithm, monkeypatch):
    sample = network("storing", "distinct", 2, 40, 5)
    T = np.linspace(0.1, 2, 40)
    together = run(sample, T=T, algorithm=algorithm, series=True, configurations=True)
    alone = [run(sample, T=value, algorithm=algorithm, series=True, configurations=True) for value in T]
    xr.testing.assert_identical(together, xr.concat(alone, "T", data_vars="minimal"))
    monkeypatch.setattr(states, "_TOGETHER", 7)
    xr.testing.assert_identical(together, run(sample, T=T, algorithm=algorithm, series=True, configurations=True))


def test_annealing_by_blocks_is_that_by_rows():
    sample = network("storing", "distinct", 2, 50, 20)
    options = {"T": [1.0, 0.5, 0.1], "anneal": True, "initial": "random", "replicas": 18, "series": True}
    by_rows, by_blocks = (run(sample, algorithm=algorithm, **options) for algorithm in ("rows", "blocks"))
    xr.testing.assert_identical(by_rows, by_blocks)


def test_initial_states(sample):
    still = {"dynamics": "metropolis", "T": 1e-9, "sweeps": 1, "configurations": True}
    assert run(sample, initial="pure", pattern=3, **still).m.values.min() > 0.9
    quarter = simulate_start(sample, initial="pure", corruption=0.25)
    np.testing.assert_array_equal((quarter != sample.xi[0]).sum(axis=1), [10, 10])
    assert (quarter[0] != quarter[1]).any()
    given = random.stream(4, (0,), "initial").choice(np.array([-1, 1], dtype=np.int8), (2, 40))
    np.testing.assert_array_equal(simulate_start(sample, initial=given), given)
    np.testing.assert_array_equal(simulate_start(sample, initial=given[0]), given[[0, 0]])
    # 2 x 40 independent spins: 4.5 standard deviations, false-alarm rate 7e-6, fixed seed.
    assert abs(simulate_start(sample, initial="random").sum()) < 4.5 * np.sqrt(80)


def simulate_start(sample, initial, **options):
    return initial_spins(sample, initial, **({"replicas": 2, "seed": 1} | options))


def test_initial_states_of_several_patterns():
    diluted = network("storing", "diluted", 2, 500, 4)
    xi = diluted.xi.astype(int)
    free = (xi == 0).all(axis=0)
    starts = {kind: simulate_start(diluted, kind, pattern=2) for kind in ("pure", "hierarchical", "parallel")}
    assert np.all(starts["pure"][:, xi[2] != 0] == xi[2, xi[2] != 0])
    for site in np.flatnonzero(~free):
        first = next(xi[mu, site] for mu in (2, 3, 0, 1) if xi[mu, site])
        assert np.all(starts["hierarchical"][:, site] == first)
    total = xi.sum(axis=0)
    assert np.all(starts["parallel"][:, total != 0] == np.sign(total[total != 0]))
    mixture = simulate_start(diluted, "mixture", pattern=3, components=2)
    total = xi[3] + xi[0]
    assert np.all(mixture[:, total != 0] == np.sign(total[total != 0]))
    for spins, open_sites in ((starts["pure"], xi[2] == 0), (starts["hierarchical"], free), (mixture, total == 0)):
        # Coins, anew in each replica: 4.5 standard errors, a false alarm in 1e5.
        drawn = spins[:, open_sites].astype(int)
        assert abs(drawn.sum()) < 4.5 * np.sqrt(drawn.size)
        assert abs((drawn[0] * drawn[1]).sum()) < 4.5 * np.sqrt(drawn[0].size)


def test_annealing_carries_the_spins_on(sample):
    T = np.array([0.8, 0.4, 0.2])
    annealed = run(sample, T=T, initial="random", anneal=True, configurations=True, equilibration=0)
    for before, after in ((0, 1), (1, 2)):
        start = annealed.spins.values[before, -1]
        alone = run(sample, T=T[after], initial=start, configurations=True, equilibration=0)
        np.testing.assert_array_equal(annealed.spins.values[after], alone.spins.values[0])


@pytest.mark.parametrize("scan", ["ordered", "random"])
def test_descent_lowers_the_energy_to_a_fixed_point(sample, scan):
    result = run(
        sample, T=0, dynamics="descent", scan=scan, initial="random", sweeps=60, series=True, configurations=True
    )
    energy = result.energy_series.values[0]
    assert (np.diff(energy, axis=0) <= 1e-12).all()
    final = result.spins.values[0, -1, 0]
    neighbours = np.where(np.eye(40, dtype=bool), -final, final)
    assert min(map(sample.energy, neighbours)) >= sample.energy(final) - 1e-12
    assert flip_energies(sample, final).min() >= 0


def test_zero_temperature_is_the_limit_of_low_temperature(sample):
    zero, low = (run(sample, T=T, initial="random", configurations=True, algorithm="rows") for T in (0, 1e-6))
    # The temperature is part of the address of the random numbers, which decide ties only; P = 3 at
    # N = 40 has few, and both runs end in local minima.
    for result in (zero, low):
        sigma = result.spins.values[0, -1, 0]
        assert result.energy.notnull().all()
        assert all(
            sample.energy(np.where(np.arange(40) == i, -sigma, sigma)) >= sample.energy(sigma) for i in range(40)
        )


def test_averages_agree_with_exact_enumeration():
    # Six standard errors: a false-alarm rate below 1e-6 for each number, with a fixed seed.
    sample, T = network("unsupervised", "distinct", 3, 8, 3), 0.7
    p, spins = exact.boltzmann(sample, T), exact.configurations(8)
    result = run(sample, T=T, sweeps=100_000, equilibration=100, replicas=2)
    m, energy = p @ (spins @ sample.xi[0]) / 8, p @ exact.energies(sample) / 8
    assert np.all(np.abs(result.m - m) < 6 * result.m_error)
    assert np.all(np.abs(result.energy - energy) < 6 * result.energy_error)
    assert np.all(result.m_error < 0.02)
    q = np.einsum("s,si,t,ti->", p, spins, p, spins) / 8
    assert np.all(np.abs(result.q - q) < 6 * result.q_error)


def test_exponential_interaction_reports_the_logarithm_of_the_energy():
    model = DenseHebbian(N=1500, P=None, K=4, interaction="exponential")
    sample = model.quench(rng=random.stream(0, (0,), "patterns"))
    result = run(sample, T=1.0, corruption=0.1, sweeps=3)
    assert (result.m == 1).all()
    np.testing.assert_allclose(result.log_energy, 1500, rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"T": -0.1}, ValueError, r"T = -0.1 .* allowed"),
        ({"T": []}, ValueError, "T is empty"),
        ({"T": [0.1, np.nan]}, ValueError, "T = nan"),
        ({"T": [0.1, 0.1]}, ValueError, "repeats"),
        ({"T": "cold"}, TypeError, "T = 'cold'"),
        ({"sweeps": 0}, ValueError, "sweeps = 0"),
        ({"sweeps": 1.5}, TypeError, "sweeps = 1.5"),
        ({"sweeps": 10**13}, MemoryError, "GiB"),
        ({"equilibration": -1}, ValueError, "equilibration = -1"),
        ({"replicas": 0}, ValueError, "replicas = 0"),
        ({"pattern": 20}, ValueError, "pattern = 20 is out of range; allowed: integers from 0 to 19"),
        ({"corruption": 1.1}, ValueError, "corruption = 1.1"),
        ({"initial": "cold"}, ValueError, "'pure', 'random'"),
        (
            {"initial": "mixture", "components": 21},
            ValueError,
            "components = 21 is out of range; allowed: integers from 1 to 20",
        ),
        ({"components": 0}, ValueError, "components = 0 is out of range"),
        ({"initial": np.ones(39)}, ValueError, r"initial has shape \(39,\)"),
        ({"initial": np.zeros(40)}, ValueError, "initial has an entry 0"),
        ({"dynamics": "kawasaki"}, ValueError, "'glauber', 'metropolis', 'descent'"),
        ({"dynamics": "descent"}, ValueError, "allowed: T = 0"),
        ({"scan": "spiral"}, ValueError, "scan"),
        ({"overlaps": "some"}, ValueError, "overlaps"),
        ({"algorithm": "fields"}, ValueError, "needs P = 2"),
        ({"seed": -1}, ValueError, "seed = -1"),
    ],
)
def test_bad_input_is_named(sample, options, error, message):
    with pytest.raises(error, match=message):
        run(sample, **options)


@pytest.mark.parametrize(
    "measure",
    [
        lambda model: simulate(model, T=0.3, sweeps=1, seed=0),
        lambda model: parallel_tempering(model, T=[0.3, 0.6], sweeps=1, seed=0),
        lambda model: effective_dynamics(model, T=0.3, seed=0),
        lambda model: flip_energies(model, np.ones(40)),
    ],
)
def test_a_model_is_no_sample(sample, measure):
    with pytest.raises(TypeError, match=r"sample = DenseHebbian\(.*\) is not a QuenchedSample"):
        measure(sample.model)
