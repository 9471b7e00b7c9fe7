import numpy as np
import pytest

from hebbian import DenseHebbian
from sim import flip_energies, random, simulate
from sim.glauber import device, front, gpu
from tests.sim.cases import network, random_spins

pytestmark = pytest.mark.usefixtures("short_turns")

CARD = device.Device("a card", np, 132, False)
OPTIONS = {"T": [0.2, 0.5, 0.8], "sweeps": 5, "equilibration": 2, "initial": "random", "replicas": 2, "series": True}
OPTIONS |= {"overlaps": "all", "configurations": True, "backend": "gpu"}


def together(samples=3, algorithm="blocks", P=2, **options):
    drawn = [network("storing", "distinct", P, 9, 3, seed=k) for k in range(samples)]
    tasks = [(k,) for k in range(samples)]
    return front.measure_together(drawn, OPTIONS | {"algorithm": algorithm} | options, seed=4, tasks=tasks)


def assert_identical(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            assert a[name][0] == b[name][0]
            np.testing.assert_array_equal(a[name][1], b[name][1], err_msg=name)


@pytest.mark.parametrize(("algorithm", "P"), [("blocks", 2), ("rows", 2), ("rows", 3)])
def test_a_sample_does_not_depend_on_those_beside_it(algorithm, P):
    options = {"sweeps": 2, "equilibration": 0, "T": [0.2, 0.8]}
    alone = front.measure_together(
        [network("storing", "distinct", P, 9, 3, seed=1)],
        OPTIONS | options | {"algorithm": algorithm},
        seed=4,
        tasks=[(1,)],
    )
    assert_identical(together(algorithm=algorithm, P=P, **options)[1:2], alone)


@pytest.mark.parametrize(("share", "number"), [(3.1, 1), (2.9, 2), (1.1, 3), (0.9, 6), (0.1, 9)])
def test_what_fits_does_not_change_the_result(share, number, monkeypatch):
    whole = together()
    cut, batches = [], gpu.batches

    def counted(problem, found):
        once, sample, temperature = gpu.memory(problem, found)
        monkeypatch.setattr(device.Device, "free_memory", lambda _: once + share * (sample + 3 * temperature))
        cut.extend(batches(problem, found))
        return cut.copy()

    monkeypatch.setattr(gpu, "batches", counted)
    assert_identical(together(), whole)
    assert len(cut) == number
    seen = np.zeros((3, 3), int)
    for batch in cut:
        seen[batch] += 1
    np.testing.assert_array_equal(seen, 1)


class Scarce:
    """NumPy, on a card whose memory takes so many bytes at once in one array."""

    def __init__(self, limit):
        self.limit, self.refused = limit, 0

    def __getattr__(self, name):
        make = getattr(np, name)
        if name not in ("empty", "zeros"):
            return make

        def limited(*arguments, **options):
            array = make(*arguments, **options)
            if array.nbytes > self.limit:
                self.refused += 1
                raise MemoryError("out of memory")
            return array

        return limited


@pytest.mark.parametrize("anneal", [False, True])
def test_a_batch_that_runs_out_of_memory_is_halved(anneal, monkeypatch):
    whole = together(anneal=anneal)
    scarce = Scarce(1000)
    found = device.Device("a small card", scarce, 1, True)
    monkeypatch.setattr(device, "find", lambda: found)
    assert_identical(together(anneal=anneal), whole)
    assert scarce.refused > 0


def test_temperatures_that_follow_each_other_are_not_cut_apart(monkeypatch):
    refused = []

    def full(problem, batch, *_):
        refused.append(batch)
        raise MemoryError("out of memory")

    monkeypatch.setattr(gpu, "_run_batch", full)
    with pytest.raises(MemoryError, match="allowed: what fits"):
        together(samples=1, anneal=True)
    assert refused == [gpu.Batch(slice(0, 1), slice(0, 3))]


def test_one_sample_that_does_not_fit_is_refused_with_the_numbers(monkeypatch):
    found = device.Device("a tiny card", Scarce(10), 1, True)
    monkeypatch.setattr(device, "find", lambda: found)
    with pytest.raises(
        MemoryError, match=r"2 replica\(s\) of one sample .* GiB on a tiny card, .* GiB are free; allowed"
    ):
        together()


@pytest.mark.parametrize(("algorithm", "training", "interaction", "P"), [
    ("rows", "storing", "distinct", 2),
    ("blocks", "storing", "distinct", 2),
    ("fields", "supervised", "distinct", 2),
    ("rows", "storing", "distinct", 4),
    ("rows", "supervised", "distinct", 4),
    ("rows", "supervised", "all", 3),
    ("rows", "storing", "exponential", None),
])  # fmt: skip
def test_the_estimate_of_memory_covers_what_is_allocated(algorithm, training, interaction, P, monkeypatch):
    sample = network(training, interaction, P, 60, 500)
    counted = Counting()
    found = device.Device("a card", counted, 1, True)
    problem = problem_of(sample, algorithm)
    once, of_sample, of_temperature = gpu.memory(problem, found)
    estimate = once - gpu._TRAIL + of_sample + len(problem.T) * of_temperature
    engine = gpu._engine(problem, gpu.Batch(slice(0, 1), slice(0, 3)), 3, found)
    chains = 3 * problem.replicas
    engine.begin(np.ones((chains, 60), np.int8), np.ones(chains), np.zeros(chains, np.uint32))
    held = counted.bytes
    assert 0.3 * estimate < held < estimate


class Counting:
    """NumPy that adds up what is allocated."""

    def __init__(self):
        self.bytes = 0

    def __getattr__(self, name):
        make = getattr(np, name)
        if name not in ("empty", "zeros", "asarray"):
            return make

        def counted(*arguments, **options):
            array = make(*arguments, **options)
            self.bytes += array.nbytes
            return array

        return counted


def problem_of(sample, algorithm, **changes):
    N = sample.model.N
    given = {
        "samples": [sample],
        "starts": np.ones((1, 2, N), np.int8),
        "T": np.array([0.2, 0.5, 0.8]),
        "words": np.zeros(3, np.uint32),
        "keys": np.array([random.kernel_key(1, (0,), "dynamics")]),
        "probes": np.ones((1, 2, N)),
        "rule": 0,
        "scan": "ordered",
        "anneal": False,
        "equilibration": 0,
        "sweeps": 1,
        "rebuild": 1000,
        "everything": False,
        "configurations": False,
        "algorithm": algorithm,
    }
    return gpu.Problem(**(given | changes))


def test_launches_and_caches_built_anew_leave_no_trace(monkeypatch):
    for algorithm, P in (("blocks", 2), ("rows", 3)):
        options = {"algorithm": algorithm, "P": P, "sweeps": 4, "T": [0.3], "samples": 1}
        whole = together(**options)
        with monkeypatch.context() as patch:
            patch.setattr(gpu, "_LAUNCH", 1)
            assert_identical(together(**options), whole)
            patch.setattr(front, "_CHUNK", 3)
            assert_identical(together(**options), whole)


def test_annealing_carries_the_spins_on():
    T = np.array([0.8, 0.4, 0.2])
    sample = network("storing", "distinct", 2, 9, 3)
    options = {"T": T, "sweeps": 3, "equilibration": 1, "seed": 1, "anneal": True, "initial": "random"}
    for algorithm in ("rows", "blocks"):
        cpu, card = (
            simulate(sample, **options, configurations=True, backend=backend, algorithm=used)
            for backend, used in (("cpu", "rows"), ("gpu", algorithm))
        )
        np.testing.assert_array_equal(cpu.spins, card.spins)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"algorithm": "blocks", "scan": "random"}, "algorithm = 'blocks' with scan = 'random'.*allowed: 'rows'"),
        ({"algorithm": "blocks", "P": 3}, "'blocks' with scan = 'ordered' needs P = 2 .* the model has P = 3"),
        ({"algorithm": "fields", "P": 3}, "algorithm = 'fields' needs P = 2, the model has P = 3"),
        ({"algorithm": "abacus"}, "algorithm = 'abacus' is unknown"),
        ({"algorithm": "blocks", "scan": "synchronous", "P": 9}, "'synchronous' needs fields that are linear .* exact"),
        ({"backend": "tpu"}, "backend = 'tpu' is unknown"),
    ],
)
def test_bad_input_is_named(options, message):
    options = dict(options)
    sample = network("storing", "distinct", options.pop("P", 2), 200 if options.get("scan") == "synchronous" else 9, 3)
    with pytest.raises(ValueError, match=message):
        simulate(sample, **({"T": 0.3, "sweeps": 1, "seed": 1, "backend": "gpu"} | options))


def test_flip_energies_name_their_backends():
    sample = network("storing", "distinct", 2, 9, 3)
    with pytest.raises(ValueError, match="backend = 'auto' is unknown; allowed: 'cpu', 'gpu'"):
        flip_energies(sample, random_spins(9, 1), backend="auto")


def test_many_chains_are_worth_a_card_and_few_are_not(monkeypatch):
    model = DenseHebbian(N=4096, P=2, K=256)
    assert gpu.worthwhile(model, "ordered", "auto", 4096, CARD)
    assert not gpu.worthwhile(model, "ordered", "auto", 2, CARD)
    monkeypatch.setattr(front.device, "hardware", lambda: CARD)
    options = {"replicas": 64, "sweeps": 1, "backend": "auto"}
    assert front.backend_of(model, options | {"T": np.linspace(0.1, 1.0, 64)}) == "gpu"
    assert front.backend_of(model, options | {"T": 0.1, "replicas": 1}) == "cpu"
    assert front.backend_of(model, options | {"T": np.linspace(0.1, 1.0, 64), "backend": "cpu"}) == "cpu"
    # Annealed temperatures follow each other.
    assert front.backend_of(model, options | {"T": np.linspace(0.1, 1, 64), "replicas": 2, "anneal": True}) == "cpu"


def test_the_choice_of_an_algorithm():
    pairs, dense = DenseHebbian(N=4096, P=2, K=256), DenseHebbian(N=100, P=4, K=1000)
    assert gpu.choose(DenseHebbian(N=20, P=2, K=2), "ordered", "auto", 8, 132) == "rows"
    assert gpu.choose(pairs, "ordered", "auto", 4096, 132) == "blocks"
    assert gpu.choose(pairs, "random", "auto", 4096, 132) == "rows"
    assert gpu.choose(pairs, "ordered", "fields", 4096, 132) == "fields"
    assert gpu.choose(dense, "ordered", "auto", 4096, 132) == "rows"
    # Rounding differs between the two: not a matter of the number of chains.
    assert {gpu.choose(dense, "synchronous", "auto", chains, 132) for chains in (1, 10_000)} == {"blocks"}


def test_widths_of_blocks_are_powers_of_two():
    for L in (1, 512, 513, 4096, 10**6):
        width = gpu.threads(L)
        assert width & (width - 1) == 0
        assert 32 <= width <= 256
