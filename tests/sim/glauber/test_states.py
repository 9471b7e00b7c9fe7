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
