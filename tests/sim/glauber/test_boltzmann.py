"""Long runs against exact enumeration: chi-square of independent configurations."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from sim import exact
from sim.glauber import front, kernels, simulate, states
from tests.sim.cases import NETWORKS, network

N, K, THIN, SAMPLES = 12, 3, 20, 16_000
DYNAMICS = [("glauber", "ordered"), ("glauber", "random"), ("metropolis", "random"), ("metropolis", "ordered")]
# One false alarm in a thousand over the whole list.
CASES = [(*case, *dynamics) for case in NETWORKS for dynamics in DYNAMICS[:3]]
LEVEL = 1e-3 / len(CASES)


def temperature(sample):
    """A temperature at which weights range over e^4, and no barrier outlasts the thinning."""
    return np.ptp(exact.energies(sample)) / 4


# Where the twelve spins stand among uncoupled ones, in both of the vectors of a block.
PLACES = np.array([0, 1, 5, 10, 14, 15, 16, 19, 20, 26, 30, 31])


def among_uncoupled_spins(sample, size=40):
    """A larger network with the same couplings but for 1/N: whole blocks of sites, of which the rest is free."""
    rows, xi = (np.zeros((len(part), size), part.dtype) for part in (sample.rows, sample.xi))
    rows[:, PLACES], xi[:, PLACES] = sample.rows, sample.xi
    return dataclasses.replace(sample, model=dataclasses.replace(sample.model, N=size, load=None), rows=rows, xi=xi)


def p_value(sample, probabilities, T, dynamics, scan, algorithm="auto", independent=True, among=False, samples=SAMPLES):
    simulated = among_uncoupled_spins(sample) if among else sample
    run = simulate(
        simulated,
        T=T * sample.model.N / simulated.model.N,
        sweeps=THIN * samples,
        equilibration=100,
        seed=11,
        initial="random",
        dynamics=dynamics,
        scan=scan,
        replicas=1,
        configurations=True,
        algorithm=algorithm,
    )
    visited = exact.state_index(run.spins.values[0, ::THIN, 0][:, PLACES if among else slice(None)])
    if independent:
        # The test assumes independent draws; lag one of the thinned energies says whether they are.
        energy = exact.energies(sample)[visited]
        assert abs(np.corrcoef(energy[1:], energy[:-1])[0, 1]) < 4 / np.sqrt(samples)
    return chi_square(visited, probabilities)


def chi_square(visited, probabilities):
    """The p value of independent visits to the states of a network."""
    order = np.argsort(probabilities)
    expected, counts = visited.size * probabilities[order], np.bincount(visited, minlength=len(order))[order]
    # States of small weight are pooled until 10 visits are expected.
    pool = np.floor(np.maximum.accumulate(np.cumsum(expected) / 10)).astype(int)
    pool = np.unique(np.where(pool == pool.max(), pool.max() - 1, pool), return_inverse=True)[1]
    expected, counts = np.bincount(pool, expected), np.bincount(pool, counts)
    return stats.chisquare(counts, expected).pvalue


@pytest.mark.slow
@pytest.mark.parametrize(("training", "interaction", "P", "dynamics", "scan"), CASES)
def test_dynamics_sample_the_boltzmann_distribution(training, interaction, P, dynamics, scan):
    sample = network(training, interaction, P, N, K)
    T = temperature(sample)
    assert p_value(sample, exact.boltzmann(sample, T), T, dynamics, scan) > LEVEL


@pytest.mark.parametrize("training", ["storing", "supervised", "unsupervised"])
@pytest.mark.parametrize(("dynamics", "scan"), DYNAMICS)
@pytest.mark.parametrize("algorithm", ["fields", "blocks"])
@pytest.mark.parametrize("among", [False, True])
def test_all_algorithms_sample_the_boltzmann_distribution(training, dynamics, scan, algorithm, among):
    # Twelve sites do not fill a vector, and are updated one by one; among others they are decided on together.
    if (algorithm, scan) == ("blocks", "random"):
        pytest.skip("blocks of sites are in order")
    sample = network(training, "distinct", 2, N, K)
    T = temperature(sample)
    assert p_value(sample, exact.boltzmann(sample, T), T, dynamics, scan, algorithm, among=among) > LEVEL


def test_synchronous_updates_sample_littles_measure_and_not_boltzmanns():
    sample = network("storing", "distinct", 2, N, K)
    T = temperature(sample)
    assert p_value(sample, exact.little(sample, T), T, "glauber", "synchronous") > LEVEL
    assert p_value(sample, exact.boltzmann(sample, T), T, "glauber", "synchronous") < 1e-12


def with_self_coupling(make):
    """Return a maker of states whose fields keep the term of the spin itself."""

    def naive(sample, algorithm, replicas):
        state = make(sample, algorithm, replicas)
        if isinstance(state, kernels.CachedFields):
            np.fill_diagonal(state.couplings, len(sample.rows))
            return state
        # Delta H = 2 sigma_i (P/2) sum_mu xi_i S^{P-1} / N^{P-1}
        S, P = np.arange(-sample.model.N, sample.model.N + 1.0), sample.model.P
        none = np.empty(0)
        return state._replace(table_A=2 * P * S ** (P - 1), table_B=np.zeros_like(S), cubic_A=none, cubic_B=none)

    return naive


@pytest.mark.parametrize(("P", "algorithm"), [(2, "fields"), (2, "rows"), (3, "rows"), (4, "rows")])
def test_a_self_coupling_is_noticed(P, algorithm, monkeypatch):
    sample = network("storing", "distinct", P, N, K)
    T = temperature(sample)
    # Pairs in integers leave no place for it.
    monkeypatch.setattr(states, "pair_type", lambda *_: None)
    monkeypatch.setattr(front.states, "make", with_self_coupling(states.make))
    p = p_value(
        sample, exact.boltzmann(sample, T), T, "glauber", "random", algorithm, independent=False, samples=2 * SAMPLES
    )
    assert p < LEVEL / 100
