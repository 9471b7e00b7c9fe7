import itertools

import numpy as np
import pytest

from sim import flip_energies, simulate
from sim.glauber import cuda, kernels, states
from tests.sim.cases import NETWORKS, network, random_spins

pytestmark = pytest.mark.usefixtures("short_turns")

# Every network with every scan, and all rules in turn.
RULES, SCANS = ("glauber", "metropolis", "descent"), ("ordered", "random", "synchronous")
CASES = [
    (*case, RULES[(number + turn) % 3], scan) for number, case in enumerate(NETWORKS) for turn, scan in enumerate(SCANS)
]
# An odd number of sites: two threads with two updates each go over them in two rounds, the last of which is not full.
N, K = 7, 3


def both(sample, algorithm="rows", **options):
    options = {"sweeps": 2, "equilibration": 1, "seed": 3, "initial": "random", "series": True} | options
    options |= {"configurations": True, "overlaps": "all"}
    at = {"T": 0.0} if options.get("dynamics") == "descent" else {"T": [0.3, 0.9]}
    cpu = simulate(sample, **(at | options), backend="cpu", algorithm="rows")
    return cpu, simulate(sample, **(at | options), backend="gpu", algorithm=algorithm)


def assert_same(cpu, gpu):
    """Spins and all that is made of integers to the last bit, sums of real numbers up to their order."""
    assert cpu.variables.keys() == gpu.variables.keys()
    for name in ("spins", "m_series", "n_series", "q_series", "acceptance", "m_all"):
        np.testing.assert_array_equal(cpu[name], gpu[name], err_msg=name)
    for name, variable in cpu.data_vars.items():
        np.testing.assert_allclose(variable, gpu[name], rtol=1e-12, atol=1e-12, err_msg=name)
        assert gpu[name].dims == variable.dims


@pytest.mark.parametrize(("training", "interaction", "P", "dynamics", "scan"), CASES)
def test_every_network_has_the_spins_of_the_cpu(training, interaction, P, dynamics, scan):
    assert_same(*both(network(training, interaction, P, N, K), dynamics=dynamics, scan=scan, equilibration=0))


@pytest.mark.parametrize(("dynamics", "scan"), [*itertools.product(RULES, SCANS)])
def test_every_rule_and_scan_has_the_spins_of_the_cpu(dynamics, scan):
    for algorithm, interaction in (("rows", "distinct"), ("fields", "all")):
        cpu, gpu = both(network("unsupervised", interaction, 2, 10, 3), algorithm, dynamics=dynamics, scan=scan)
        assert_same(cpu, gpu)
        np.testing.assert_array_equal(cpu.energy_series, gpu.energy_series)


@pytest.mark.parametrize(("training", "interaction", "P"), NETWORKS)
def test_flip_energies_are_those_of_the_cpu_up_to_rounding(training, interaction, P):
    sample, sigma = network(training, interaction, P, 20, 60), random_spins(20, 1)
    for algorithm in ("rows", "fields") if P == 2 else ("rows",):
        cpu, gpu = (flip_energies(sample, sigma, algorithm=algorithm, backend=name) for name in ("cpu", "gpu"))
        if P == 2:
            np.testing.assert_array_equal(cpu, gpu)
        # Rows of signs are added up in single precision, see test_kernels; all else in double precision.
        single = P is not None and sample.model.has_sign_rows
        assert np.abs(cpu - gpu).max() <= (1e-6 if single else 1e-13) * np.sqrt(np.mean(cpu**2))


@pytest.mark.parametrize(("interaction", "P"), [("distinct", 2), ("distinct", 3)])
def test_shared_and_global_memory_give_the_same_bits(interaction, P, monkeypatch):
    sample = network("storing", interaction, P, N, K)
    _, shared = both(sample, sweeps=3)
    monkeypatch.setattr(cuda, "SHARED", 0)
    assert both(sample, sweeps=3)[1].identical(shared)


@pytest.mark.parametrize("training", ["storing", "supervised"])
def test_pairs_whose_sums_exceed_32_bits_are_added_up_in_double_precision(training, monkeypatch):
    monkeypatch.setattr(states, "pair_type", lambda *_: None)
    sample = network(training, "distinct", 2, N, K)
    kind = kernels.SignRows if training == "storing" else kernels.SymmetricRows
    assert isinstance(states.make(sample, "rows", 1), kind)
    assert_same(*both(sample))


@pytest.mark.gpu
@pytest.mark.parametrize(("training", "interaction", "P"), NETWORKS)
def test_a_card_has_the_spins_of_the_cpu_at_larger_sizes(training, interaction, P):
    sample = network(training, interaction, P, 301, 100)
    for algorithm in ("rows", "fields", "blocks") if P == 2 else ("rows",):
        cpu, gpu = both(sample, algorithm, sweeps=20, T=np.linspace(0.1, 1.0, 10), replicas=3)
        if P == 2:
            assert_same(cpu, gpu)
        # Rounding decides an update in a million: hardly any trajectory has parted by then.
        assert np.mean(cpu.spins.values == gpu.spins.values) > 0.95
