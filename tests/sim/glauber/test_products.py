import itertools

import numpy as np
import pytest

from sim import exact
from sim.glauber import front, gpu, products, states
from tests.sim.cases import network
from tests.sim.glauber.test_boltzmann import chi_square, temperature
from tests.sim.glauber.test_cuda import assert_same, both

pytestmark = pytest.mark.usefixtures("short_turns")

PAIRS = list(itertools.product(("storing", "supervised", "unsupervised"), ("distinct", "all", "diluted")))
# One false alarm in a thousand over both tests.
LEVEL = 1e-3 / 2


def with_blocks_of(size, monkeypatch):
    monkeypatch.setattr(products.Blocks.__init__, "__defaults__", (size,))


# Blocks of two sites, of four, the last one not full, and one of all sites.
@pytest.mark.parametrize("block", [2, 4, 64])
@pytest.mark.parametrize(("training", "interaction"), PAIRS)
@pytest.mark.parametrize("scan", ["ordered", "synchronous"])
def test_pairs_have_the_spins_of_the_cpu(training, interaction, scan, block, monkeypatch):
    with_blocks_of(block, monkeypatch)
    for dynamics in ("glauber", "metropolis", "descent"):
        cpu, card = both(network(training, interaction, 2, 9, 4), "blocks", dynamics=dynamics, scan=scan)
        assert_same(cpu, card)
        np.testing.assert_array_equal(cpu.energy_series, card.energy_series)


@pytest.mark.parametrize("training", ["storing", "unsupervised"])
@pytest.mark.parametrize(("interaction", "P"), [("distinct", 3), ("distinct", 4), ("all", 3), ("all", 4)])
def test_synchronous_updates_of_many_bodies_have_the_spins_of_the_cpu(training, interaction, P, monkeypatch):
    with_blocks_of(4, monkeypatch)
    assert_same(*both(network(training, interaction, P, 9, 4), "blocks", scan="synchronous"))


def test_both_precisions_give_the_same_bits(monkeypatch):
    sample = network("supervised", "distinct", 2, 9, 4)
    _, single = both(sample, "blocks")
    monkeypatch.setenv("CUPY_TF32", "1")
    assert gpu.exact_type(sample, True) is np.float64
    assert both(sample, "blocks")[1].identical(single)


@pytest.mark.parametrize(
    ("training", "N", "K", "real"),
    [
        ("storing", 4096, 256, np.float32),
        ("storing", 5000, 2500, np.float32),
        ("storing", 5000, 3500, np.float64),
        ("supervised", 5000, 400, np.float64),
        ("unsupervised", 5000, 1200, np.float64),
    ],
)
def test_single_precision_only_below_two_to_the_24(training, N, K, real):
    # Fields are at most L N times the square of the largest entry, here 3.
    sample = network(training, "distinct", 2, N, K)
    assert gpu.exact_type(sample, True) is real


@pytest.mark.parametrize(("scan", "measure"), [("ordered", exact.boltzmann), ("synchronous", exact.little)])
@pytest.mark.slow
def test_many_chains_sample_the_measure_of_their_dynamics(scan, measure):
    sample = network("storing", "distinct", 2, 12, 3)
    T, chains, kept = temperature(sample), 200, 5
    options = {"T": T, "sweeps": 10 * kept, "equilibration": 10, "initial": "random", "scan": scan, "replicas": 1}
    options |= {"configurations": True, "algorithm": "blocks", "backend": "gpu"}
    measured = front.measure_together([sample] * chains, options, seed=5, tasks=[(k,) for k in range(chains)])
    spins = np.stack([variables["spins"][1][0, 9::10, 0] for variables in measured])
    assert chi_square(exact.state_index(spins.reshape(-1, 12)), measure(sample, T)) > LEVEL


def test_large_matrices_are_cut_into_blocks_once():
    sample = network("storing", "distinct", 2, 130, 4)
    assert states.pair_type(sample.model, 4) is not None
    cpu, card = both(sample, "blocks", sweeps=1, equilibration=0)
    np.testing.assert_array_equal(cpu.spins, card.spins)


@pytest.mark.gpu
def test_a_card_multiplies_matrices_exactly():
    sample = network("storing", "distinct", 2, 4096, 256)
    for scan in ("ordered", "synchronous"):
        cpu, card = both(sample, "blocks", scan=scan, sweeps=5, T=np.linspace(0.1, 1.0, 40), replicas=4)
        assert_same(cpu, card)
