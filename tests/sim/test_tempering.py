"""Parallel tempering and annealing: exact enumeration, equilibrium from opposite starts, low energies."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hebbian import DenseHebbian
from sim import exact, random, simulate
from sim.observables import mean_and_error, overlap_distribution
from sim.tempering import _round_trips, parallel_tempering, tuned_ladder
from tests.sim.cases import network


def run(sample, **options):
    return parallel_tempering(sample, **({"T": [0.3, 0.6, 1.2], "sweeps": 30, "seed": 1} | options))


@pytest.fixture(scope="module")
def glassy():
    """Five patterns in 64 spins: at T = 0.25 single flips do not leave a pattern within thousands of sweeps."""
    return DenseHebbian(N=64, P=2, K=5).quench(rng=random.stream(3, (0,), "patterns"))


def p_value(sample, T, result, j, thin):
    """Chi-square of the thinned energies and overlaps at temperature j against the Boltzmann distribution."""
    N, probabilities = sample.model.N, exact.boltzmann(sample, T[j])
    overlaps = exact.configurations(N) @ sample.xi[0]
    # A class of configurations: those of one energy (up to rounding) and one overlap with the first pattern.
    classes = np.stack([exact.energies(sample), overlaps], axis=-1)
    visited = N * np.stack([result.energy_series[j], result.m_series[j]], axis=-1)[::thin].reshape(-1, 2)
    # The test assumes independent draws; lag one of the thinned energies says whether they are.
    energy = result.energy_series[j, ::thin]
    assert all(abs(np.corrcoef(e[1:], e[:-1])[0, 1]) < 4 / np.sqrt(len(e)) for e in energy.values.T)
    both = np.round(np.concatenate([classes, visited]), 6) + 0.0
    names, labels = np.unique(both, axis=0, return_inverse=True)
    expected = len(visited) * np.bincount(labels[: 2**N], probabilities, len(names))
    counts = np.bincount(labels[2**N :], minlength=len(names))
    # Rare classes are pooled with the least frequent one that is not.
    pooled = expected <= expected[expected >= 10].min()
    expected = np.append(expected[~pooled], expected[pooled].sum())
    counts = np.append(counts[~pooled], counts[pooled].sum())
    assert len(expected) > 8
    return stats.chisquare(counts, expected).pvalue


@pytest.mark.parametrize(
    ("training", "interaction", "P", "dynamics", "scan"),
    [
        ("storing", "distinct", 2, "glauber", "ordered"),
        ("storing", "distinct", 3, "glauber", "random"),
        ("supervised", "distinct", 3, "metropolis", "random"),
        ("unsupervised", "all", 4, "glauber", "ordered"),
        ("storing", "diluted", 2, "metropolis", "ordered"),
    ],
)
def test_all_temperatures_sample_the_boltzmann_distribution(training, interaction, P, dynamics, scan):
    # One false alarm in a thousand over all the chi-square tests (Bonferroni).
    sample = network(training, interaction, P, N=12, K=3)
    T = np.ptp(exact.energies(sample)) / 12 * np.array([0.7, 1.2, 2.0])
    result = run(sample, T=T, sweeps=120_000, equilibration=200, dynamics=dynamics, scan=scan, series=True)
    assert (result.exchange > 0.1).all()
    for j in range(3):
        assert p_value(sample, T, result, j, thin=40) > 1e-3 / 15


def test_averages_agree_with_exact_enumeration():
    # Six standard errors: a false-alarm rate below 1e-6 for each number, with a fixed seed.
    sample, T = network("unsupervised", "distinct", 3, 9, 3), np.array([0.5, 0.8, 1.3])
    result = run(sample, T=T, sweeps=60_000, equilibration=200)
    spins, energies = exact.configurations(9), exact.energies(sample)
    for j in range(3):
        p = exact.boltzmann(sample, T[j])
        m, energy, q = p @ (spins @ sample.xi[0]) / 9, p @ energies / 9, np.sum((p @ spins) ** 2) / 9
        assert np.all(np.abs(result.m[j] - m) < 6 * result.m_error[j])
        assert np.all(np.abs(result.energy[j] - energy) < 6 * result.energy_error[j])
        assert np.all(np.abs(result.q[j] - q) < 6 * result.q_error[j])
    assert np.all(result.m_error < 0.02)


def test_exchanges_happen_as_often_as_the_energies_say():
    # The mean of min(1, exp[(beta_j - beta_k)(E_j - E_k)]) under the exact measures, and 2 x 30 000 tries: six standard
    # errors of a binomial, doubled for correlation in time.
    sample, T = network("storing", "distinct", 3, 9, 3), np.array([0.4, 0.7, 1.3])
    result, E = run(sample, T=T, sweeps=60_000, equilibration=200), exact.energies(sample)
    for j in range(2):
        accepted = np.exp(np.minimum(0, (1 / T[j] - 1 / T[j + 1]) * (E[:, None] - E)))
        rate = exact.boltzmann(sample, T[j]) @ accepted @ exact.boltzmann(sample, T[j + 1])
        assert result.exchange[j] == pytest.approx(rate, abs=6 * 2 * np.sqrt(rate * (1 - rate) / 60_000))


def test_without_exchanges_the_chains_are_those_of_single_temperatures():
    # In a pattern at T = 0.05 and far above, energies differ by many T: no exchange is accepted.
    for training, P in (("storing", 2), ("supervised", 3)):
        sample = network(training, "distinct", P, 60, 4)
        options = {"T": [0.05, 50.0], "sweeps": 40, "equilibration": 7, "seed": 3, "task": (2, 1), "pattern": 1}
        options |= {"initial": sample.xi[:3], "corruption": 0.1, "replicas": 3, "series": True}
        ladder, single = parallel_tempering(sample, **options), simulate(sample, **options)
        assert (ladder.exchange == 0).all()
        assert (ladder.round_trips == 0).all()
        for name in single.variables:
            np.testing.assert_array_equal(ladder[name], single[name], err_msg=str(name))


def summarise(series):
    """Mean of the absolute overlap and of the squared replica overlap at the lowest temperature, with errors."""
    m = mean_and_error(np.abs(series.m_series[0].values))
    q = mean_and_error(series.q_series[0].values ** 2)
    return np.append(m[0], q[0]), np.append(m[1], q[1])


def test_opposite_starts_reach_one_equilibrium_and_single_flips_do_not(glassy):
    # Differences of two means within five standard errors: a false-alarm rate of 6e-7 for each, with fixed seeds.
    ladder = np.geomspace(0.25, 1.5, 10)
    length = {"sweeps": 4000, "equilibration": 1000, "series": True}
    tempered, single, distributions = [], [], []
    for seed, start in enumerate((glassy.xi[0], glassy.xi[1], "random")):
        result = parallel_tempering(glassy, T=ladder, initial=start, seed=seed, **length)
        assert (result.round_trips > 100).all()
        tempered.append(summarise(result))
        distributions.append([overlap_distribution(result[name][0], N=64, bins=7) for name in ("m_series", "q_series")])
        single.append(summarise(simulate(glassy, T=0.25, initial=start, seed=seed, **length)))
    for (first, first_error), (other, other_error) in zip(tempered, tempered[1:] + tempered[:1], strict=True):
        assert (np.abs(first - other) < 5 * np.hypot(first_error, other_error)).all()
        assert (first_error < 0.06).all()
    # P(m) and P(q) from opposite patterns, with errors from 20 blocks (Student): 1e-3 for all fourteen bins together.
    for one, other in zip(*distributions[:2], strict=True):
        assert (one.density > 0).sum() > 3
        allowed = 5 * np.hypot(one.density_error, other.density_error)
        assert (np.abs(one.density - other.density) <= allowed).all()
    # Neither start of the single flips has the equilibrium value 0.12 of |m|: it stays where it began.
    assert (single[0][0][:2] > 0.95).all()
    assert (single[1][0][:2] < 0.05).all()
    equilibrium = np.mean([mean for mean, _ in tempered], axis=0)
    assert equilibrium[:2] == pytest.approx(0.125, abs=0.03)
    assert single[0][0][2] - equilibrium[2] > 0.3


def test_tuned_ladder_exchanges_evenly(glassy):
    ends = {"lowest": 0.25, "highest": 1.5}
    ladder = tuned_ladder(glassy, temperatures=8, seed=5, **ends)
    np.testing.assert_array_equal(ladder, tuned_ladder(glassy, temperatures=8, seed=5, **ends))
    assert ladder[[0, -1]].tolist() == [0.25, 1.5]
    geometric = np.geomspace(0.25, 1.5, 8)
    options = {"sweeps": 8000, "equilibration": 500, "seed": 6}
    tuned, plain = (parallel_tempering(glassy, T=T, **options).exchange.values for T in (ladder, geometric))
    # 2 x 4000 tries in this run, 2 x 1600 in the last round that tuned: rates near 0.4 have standard errors 0.0055 and
    # 0.009, doubled for correlation in time. Five of them: a false-alarm rate of 4e-6 for seven pairs.
    assert np.abs(tuned - tuned.mean()).max() < 5 * 2 * np.hypot(0.0055, 0.009)
    assert tuned.min() > plain.min() + 0.05
    assert np.ptp(tuned) < np.ptp(plain) / 2


@settings(max_examples=50, deadline=None)
@given(data=st.data(), J=st.integers(2, 4), sweeps=st.integers(1, 40))
def test_round_trips_are_counted_as_by_hand(data, J, sweeps):
    holders = np.array([data.draw(st.permutations(range(J))) for _ in range(sweeps)], dtype=float)
    expected = 0
    for row in range(J):
        stage = "new"
        for holder in holders:
            if holder[0] == row:
                expected += stage == "above"
                stage = "below"
            elif holder[-1] == row and stage == "below":
                stage = "above"
    assert _round_trips(holders[:, 0], holders[:, -1]) == expected


def test_long_runs_are_cut_into_chunks_without_a_trace(monkeypatch):
    sample = network("supervised", "distinct", 3, 30, 6)
    whole = run(sample, sweeps=50, equilibration=11, series=True)
    monkeypatch.setattr("sim.glauber.front._CHUNK", 7)
    np.testing.assert_array_equal(
        whole.energy_series, run(sample, sweeps=50, equilibration=11, series=True).energy_series
    )
    tail = run(sample, sweeps=40, equilibration=21, series=True)
    np.testing.assert_array_equal(whole.q_series[:, 10:], tail.q_series)


def test_all_algorithms_agree_to_the_last_bit(glassy):
    by_rows, *others = (run(glassy, algorithm=name, series=True, sweeps=100) for name in ("rows", "fields", "blocks"))
    for other in others:
        xr.testing.assert_identical(by_rows, other)


def test_dimensions_labels_and_units(glassy):
    result = run(glassy, replicas=3, series=True)
    sizes = {"T": 3, "replica": 3, "pair": 3, "sweep": 30, "T_lower": 2}
    assert dict(result.sizes) == sizes
    assert result.T_lower.values.tolist() == [0.3, 0.6]
    assert np.isnan(run(glassy, sweeps=1).exchange.values).tolist() == [False, True]
    for name, variable in result.data_vars.items():
        assert variable.attrs.keys() >= {"long_name", "units"}, name


def test_annealing_reaches_lower_energies_than_a_quench():
    # Beyond the critical load, from 40 random starts; descent ends long before as many sweeps. Five standard errors of
    # the difference: a false-alarm rate of 3e-7, with fixed seeds.
    sample = DenseHebbian(N=200, P=2, load=0.3).quench(rng=random.stream(0, (0,), "patterns"))
    options = {"initial": "random", "replicas": 40, "seed": 1}
    annealed = simulate(sample, T=np.linspace(1.5, 0, 40), sweeps=40, anneal=True, **options).energy[-1]
    quenched = simulate(sample, T=0, sweeps=40, equilibration=1560, **options).energy[0]
    error = np.hypot(annealed.std(ddof=1), quenched.std(ddof=1)) / np.sqrt(40)
    assert quenched.mean() - annealed.mean() > 5 * error
    assert annealed.min() <= quenched.min()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"T": [0.3]}, ValueError, r"T = \[0.3\]; allowed: two or more"),
        ({"T": [0.0, 0.3]}, ValueError, ">= 2.23e-308 in increasing order"),
        ({"T": [1e-310, 0.3]}, ValueError, "increasing order"),
        ({"T": [0.5, 0.3]}, ValueError, "increasing order"),
        ({"T": [-0.1, 0.3]}, ValueError, "T = -0.1"),
        ({"sweeps": 0}, ValueError, "sweeps = 0"),
        (
            {"backend": "gpu"},
            ValueError,
            "backend = 'gpu': replicas are exchanged on the CPU only; allowed: 'auto', 'cpu'",
        ),
        ({"backend": "tpu"}, ValueError, "backend = 'tpu' is unknown"),
        ({"sweeps": 10**12}, MemoryError, "GiB"),
        ({"equilibration": -1}, ValueError, "equilibration = -1"),
        ({"replicas": 0}, ValueError, "replicas = 0"),
        ({"pattern": 5}, ValueError, "pattern = 5 is out of range"),
        ({"initial": np.ones(63)}, ValueError, "initial has shape"),
        ({"dynamics": "descent"}, ValueError, "dynamics = 'descent' .* 'glauber', 'metropolis'"),
        ({"scan": "synchronous"}, ValueError, "scan = 'synchronous'"),
        ({"algorithm": "fast"}, ValueError, "algorithm = 'fast'"),
    ],
)
def test_bad_input_is_named(glassy, options, error, message):
    with pytest.raises(error, match=message):
        run(glassy, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lowest": 0.0}, "lowest = 0.0"),
        ({"highest": 0.2}, "highest = 0.2"),
        ({"temperatures": 1}, "temperatures = 1"),
        ({"sweeps": 1}, "sweeps = 1"),
        ({"rounds": 0}, "rounds = 0"),
    ],
)
def test_bad_ladders_are_named(glassy, options, message):
    with pytest.raises(ValueError, match=message):
        tuned_ladder(glassy, **({"lowest": 0.3, "highest": 1.0, "temperatures": 4, "seed": 0} | options))


def test_the_exponential_interaction_is_refused():
    with pytest.raises(ValueError, match="interaction = 'exponential'"):
        run(network("storing", "exponential", None, 20, 3))
