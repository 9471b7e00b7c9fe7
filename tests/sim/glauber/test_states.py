import numpy as np
import pytest

from hebbian import DenseHebbian
from sim import random
from sim.glauber import kernels, states
from tests.sim.cases import NETWORKS, network

KINDS = {
    ("signs", "distinct"): kernels.SignRows,
    ("signs", "all"): kernels.SignRows,
    ("integers", "distinct"): kernels.SymmetricRows,
    ("integers", "all"): kernels.PowerRows,
    ("signs", "diluted"): kernels.SymmetricRows,
    ("integers", "diluted"): kernels.SymmetricRows,
}


@pytest.mark.parametrize(("training", "interaction", "P"), NETWORKS)
def test_kind_of_state(training, interaction, P):
    sample = network(training, interaction, P, 12, 4)
    rows = "integers" if training == "supervised" else "signs"
    assert type(states.make(sample, "rows", 2)) is KINDS.get((rows, interaction), kernels.ExponentRows)


def test_the_cheaper_algorithm_is_chosen():
    few, many = network("storing", "distinct", 2, 1000, 5), network("storing", "distinct", 2, 1000, 900)
    assert states.choose(few, "auto", updates=1e4) == "rows"
    assert states.choose(many, "auto", updates=1e8) == "fields"
    assert states.choose(many, "rows", updates=1e8) == "rows"
    assert states.choose(network("storing", "distinct", 3, 30, 900), "auto", updates=1e8) == "rows"


@pytest.mark.parametrize("training", ["storing", "supervised", "unsupervised"])
def test_couplings_are_summed_over_all_blocks(training, monkeypatch):
    sample = network(training, "distinct", 2, 20, 30)
    monkeypatch.setattr(states, "_BLOCK", 7 * 20)
    rows = sample.rows.astype(np.int64)
    expected = rows.T @ rows
    np.fill_diagonal(expected, 0)
    state = states.make(sample, "fields", 1)
    np.testing.assert_array_equal(state.couplings, expected)
    assert state.couplings.dtype == np.int32


def test_large_couplings_are_kept_in_double_precision():
    model = DenseHebbian(N=6, P=2, K=3, training="supervised", quality=1.0, examples=40_000)
    sample = model.quench(rng=random.stream(0, (0,), "patterns"))
    state = states.make(sample, "fields", 1)
    assert state.couplings.dtype == state.fields.dtype == np.float64
    assert np.abs(state.couplings).max() >= 40_000**2


@pytest.mark.parametrize(("training", "interaction", "P"), NETWORKS)
def test_memory_is_that_of_the_caches(training, interaction, P):
    # Caches grow with replicas and rows; tables and scratch do not.
    sample = network(training, interaction, P, 12, 4000)
    sizes = [
        sum(array.nbytes for array in states.make(sample, "rows", n) if isinstance(array, np.ndarray)) for n in (1, 6)
    ]
    assert states.memory(sample.model, 5) == pytest.approx(sizes[1] - sizes[0], rel=0.01)


def test_too_many_replicas_are_refused_with_the_estimate(monkeypatch):
    sample = network("storing", "distinct", 3, 12, 4000)
    monkeypatch.setattr("hebbian.validation.available_memory", lambda: 1e6)
    with pytest.raises(MemoryError, match="the state of 1000 replica"):
        states.make(sample, "rows", 1000)
