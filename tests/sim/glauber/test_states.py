import numpy as np
import pytest

from hebbian import DenseHebbian
from sim import random, simulate
from sim.glauber import front, kernels, states
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
    expected = kernels.PairRows if P == 2 else KINDS.get((rows, interaction), kernels.ExponentRows)
    assert type(states.make(sample, "rows", 2)) is expected


SUPERVISED = {"training": "supervised", "quality": 0.5}


@pytest.mark.parametrize(
    ("N", "L", "data", "expected"),
    [
        (32_767, 65_538, {}, np.int16),
        (32_767, 65_539, {}, None),
        (32_768, 2, {}, np.int32),
        (3276, 2, SUPERVISED | {"examples": 10}, np.int16),
        (3277, 2, SUPERVISED | {"examples": 10}, np.int32),
        (1000, 2, SUPERVISED | {"examples": 1036}, np.int32),
        (1000, 2, SUPERVISED | {"examples": 1037}, None),
    ],
)
def test_integers_hold_what_they_have_to(N, L, data, expected):
    # All spins along a row of examples that agree give S = M N; L such rows give a sum of L M^2 N.
    kind, M = states.pair_type(DenseHebbian(N=N, P=2, K=L, **data), L), data.get("examples", 1)
    assert kind is expected
    assert (kind is not None) == (L * M * M * N <= np.iinfo(np.int32).max)
    assert (kind is np.int16) == (kind is not None and M * N <= np.iinfo(np.int16).max)
    assert states.pair_type(DenseHebbian(N=20, P=4, K=L), L) is None


@pytest.mark.parametrize("training", ["storing", "supervised", "unsupervised"])
@pytest.mark.parametrize("interaction", ["distinct", "all", "diluted"])
@pytest.mark.parametrize("kind", [None, np.int32])
def test_pairs_have_the_same_bits_in_all_numbers(training, interaction, kind, monkeypatch):
    sample = network(training, interaction, 2, 300, 20)
    options = {"T": [0.3, 1.0], "sweeps": 100, "seed": 1, "algorithm": "rows", "configurations": True, "series": True}
    shortest = simulate(sample, **options)
    assert states.pair_type(sample.model, len(sample.rows)) is np.int16
    monkeypatch.setattr(states, "pair_type", lambda *_: kind)
    longer = simulate(sample, **options)
    np.testing.assert_array_equal(shortest.spins, longer.spins)
    np.testing.assert_array_equal(shortest.energy_series, longer.energy_series)
    assert shortest.acceptance.min() > 0.001


@pytest.mark.parametrize(("kind", "N", "L"), [(np.int16, 32_767, 65_538), (np.int32, 1_000_000, 2147)])
def test_sums_at_the_limits_of_integers_are_exact(kind, N, L):
    ones, S = np.ones((2, L), np.int8), np.full((1, L), N, kind)
    state = kernels.PairRows(ones, S, np.full(2, L), 1.0, 0.0)
    costs, _ = kernels.flip_energies(state, np.ones((1, 2), np.int8), 0)
    assert costs.tolist() == [4.0 * (N * L - L)] * 2


def plan(sample, updates, *T, replicas=1, scan="ordered", algorithm="auto"):
    parts = states.plan(sample, algorithm, updates, np.array(T), replicas, scan)
    return [(name, members.tolist()) for name, members in parts]


def test_the_cheaper_algorithm_is_chosen():
    few, many = network("storing", "distinct", 2, 1000, 5), network("storing", "distinct", 2, 1000, 900)
    assert plan(few, 1e3, 0.8) == [("rows", [0])]
    assert plan(few, 1e6, 0.8) == [("blocks", [0])]
    assert plan(few, 1e6, 0.8, scan="random") == [("rows", [0])]
    assert plan(many, 1e8, 0.3) == [("fields", [0])]
    assert plan(many, 1e8, 0.3, algorithm="rows") == [("rows", [0])]
    assert plan(network("storing", "distinct", 3, 30, 900), 1e8, 0.3) == [("rows", [0])]
    # Flips are dear where a whole row of couplings changes; at T = 0 there are none.
    large = network("storing", "distinct", 2, 3000, 150)
    assert [plan(large, 1e9, T)[0][0] for T in (0.0, 0.2, 0.8)] == ["fields", "fields", "blocks"]
    assert [plan(large, 1e9, T, scan="random")[0][0] for T in (0.2, 0.8)] == ["fields", "rows"]
    assert plan(large, 1e9, 0.8, 0.1) == [("fields", [1]), ("blocks", [0])]
    assert states.choose(large, "auto", 1e9, np.array([0.5, 1.6]), "ordered") == "blocks"
    assert states.choose(large, "auto", 1e9, np.array([0.5, 1.6]), "random") == "rows"


def test_chains_that_read_the_same_patterns_are_simulated_side_by_side():
    large = network("storing", "distinct", 2, 3000, 150)
    hot, cold = np.linspace(0.5, 1.6, 16).tolist(), [0.05, 0.1, 0.15]
    assert plan(large, 1e9, *hot, *cold) == [("fields", [16, 17, 18]), ("blocks", list(range(16)))]
    assert plan(large, 1e9, *hot, *hot, replicas=8, algorithm="blocks") == [
        ("blocks", list(range(start, start + 8))) for start in range(0, 32, 8)
    ]


def test_records_of_temperatures_side_by_side_are_few_or_short():
    sample, T = network("storing", "distinct", 2, 100, 10), np.linspace(0.5, 1.5, 32)
    # Four numbers of eight bytes a chain and sweep, and one for the pair of replicas: 2^28 bytes hold nine of these.
    sweeps = 2**28 // (9 * 72)
    for count, expected in ((1000, 32), (sweeps, 9), (100 * sweeps, 1)):
        parts = plan(sample, 200.0 * count, *T, replicas=2, algorithm="blocks")
        assert max(len(members) for _, members in parts) == expected
        assert [t for _, members in parts for t in members] == list(range(32))
        kept = front.record_memory(sample.model, {"T": T, "sweeps": count, "replicas": 2})
        assert kept == 72.0 * count * (expected + 1)


@pytest.mark.parametrize(
    ("P", "algorithm", "scan", "data", "message"),
    [
        (2, "abacus", "ordered", {}, "algorithm = 'abacus' is unknown"),
        (4, "fields", "ordered", {}, "algorithm = 'fields' needs P = 2, the model has P = 4"),
        (4, "blocks", "ordered", {}, "algorithm = 'blocks' needs P = 2, the model has P = 4"),
        (2, "blocks", "random", {}, "algorithm = 'blocks' with scan = 'random'"),
        (2, "blocks", "synchronous", {}, "algorithm = 'blocks' with scan = 'synchronous'"),
        (2, "blocks", "ordered", SUPERVISED | {"examples": 4231}, r"needs fields below 2\^30"),
    ],
)
def test_impossible_algorithms_are_refused(P, algorithm, scan, data, message):
    with pytest.raises(ValueError, match=message):
        states.check_algorithm(DenseHebbian(N=20, P=P, K=3, **data), algorithm, scan)


@pytest.mark.parametrize("training", ["storing", "supervised", "unsupervised"])
def test_couplings_are_summed_over_all_blocks(training, monkeypatch):
    sample = network(training, "distinct", 2, 20, 30)
    monkeypatch.setattr(states, "_BLOCK", 7 * 20)
    rows = sample.rows.astype(np.int64)
    expected = rows.T @ rows
    np.fill_diagonal(expected, 0)
    state = states.make(sample, "fields", 1)
    np.testing.assert_array_equal(state.couplings, np.pad(expected, [(0, 0), (0, 12)]))
    assert (state.couplings.dtype, state.fields.dtype) == (np.min_scalar_type(-np.abs(expected).max()), np.int16)


@pytest.mark.parametrize(
    ("M", "K", "couplings", "fields"),
    [
        (11, 1, np.int8, np.int16),  # 11^2 < 2^7 <= 12^2
        (12, 1, np.int16, np.int16),
        (80, 1, np.int16, np.int16),  # 5 * 80^2 < 2^15 <= 5 * 81^2
        (81, 1, np.int16, np.int32),
        (181, 1, np.int16, np.int32),  # 181^2 < 2^15 <= 182^2
        (182, 1, np.int32, np.int32),
        (14_654, 1, np.int32, np.int32),  # 5 * 14,654^2 < 2^30 <= 5 * 14,655^2
        (14_655, 1, np.int32, np.int64),
        (46_340, 1, np.int32, np.int64),
        (46_341, 1, np.float64, np.float64),
    ],
)
def test_couplings_and_fields_are_kept_in_the_shortest_numbers_that_hold_them(M, K, couplings, fields):
    # Perfect examples: all couplings are +-M^2, and the field of the pattern is (N - 1) M^2.
    model = DenseHebbian(N=6, P=2, K=K, training="supervised", quality=1.0, examples=M)
    sample = model.quench(rng=random.stream(0, (0,), "patterns"))
    state = states.make(sample, "fields", 1)
    assert (state.couplings.dtype, state.fields.dtype) == (couplings, fields)
    assert np.abs(state.couplings.astype(float)).max() == M**2
    kernels.build(state, sample.xi[:1])
    assert np.abs(state.fields.astype(float)).tolist() == [[5.0 * M**2] * 6 + [0.0] * 26]


@pytest.mark.parametrize(("training", "interaction", "P"), NETWORKS)
def test_memory_is_that_of_the_caches(training, interaction, P):
    # Caches grow with replicas and rows; tables and scratch do not.
    sample = network(training, interaction, P, 12, 4000)
    sizes = [
        sum(array.nbytes for array in states.make(sample, "rows", n) if isinstance(array, np.ndarray)) for n in (1, 6)
    ]
    assert states.memory(sample.model, 6) - states.memory(sample.model, 1) == pytest.approx(
        sizes[1] - sizes[0], rel=0.02
    )


@pytest.mark.parametrize(("K", "filled"), [(5, 5), (33, 64), (64, 64), (4000, 4032), (5000, 5000)])
@pytest.mark.parametrize("training", ["storing", "supervised"])
def test_memory_counts_the_copy_that_is_filled_up(K, filled, training):
    sample = network(training, "distinct", 2, 12, K)
    rows = states.make(sample, "rows", 1).rows
    assert rows.shape == (12, filled)
    assert states.memory(sample.model, 0) == (rows.nbytes if filled > K else 0)


def test_too_many_replicas_are_refused_with_the_estimate(monkeypatch):
    sample = network("storing", "distinct", 3, 12, 4000)
    monkeypatch.setattr("hebbian.validation.available_memory", lambda: 1e6)
    with pytest.raises(MemoryError, match="the state of 1000 replica"):
        states.make(sample, "rows", 1000)


def test_many_sites_of_few_rows_are_updated_one_by_one():
    assert plan(network("storing", "distinct", 2, 100_000, 5), 1e9, 0.6) == [("rows", [0])]
    assert plan(network("storing", "distinct", 2, 40_000, 500), 1e9, 0.6) == [("blocks", [0])]
