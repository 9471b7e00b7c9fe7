"""The description of the model: what it accepts, what it derives, what it quenches."""

import dataclasses
import math
import pickle
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hebbian import DenseHebbian, patterns, validation

LEARNING = {"quality": 0.6, "examples": 5}
EXPONENTIAL = {"P": None, "interaction": "exponential"}


@given(st.integers(2, 6), st.integers(0, 60), st.floats(1e-3, 2.0))
def test_pattern_number_is_the_rounded_load(P, extra, load):
    N = P + extra
    exact = Fraction(load) * Fraction(2 * N ** (P - 1), math.factorial(P))
    model = DenseHebbian(N=N, P=P, load=load)
    assert model.load == load
    assert model.K >= 1
    assert model.K == 1 or abs(model.K - exact) <= Fraction(1, 2) + exact * Fraction(1, 10**14)


@given(st.integers(2, 6), st.integers(0, 60), st.integers(1, 10**6))
def test_load_of_a_pattern_number(P, extra, K):
    N = P + extra
    model = DenseHebbian(N=N, P=P, K=K)
    assert model.load == float(Fraction(K * math.factorial(P), 2 * N ** (P - 1)))
    assert model.replace(training="supervised", **LEARNING).K == K


@given(st.integers(2, 200), st.integers(1, 10**6))
def test_exponential_load(N, K):
    model = DenseHebbian(N=N, K=K, **EXPONENTIAL)
    assert model.load == pytest.approx(math.log(K) / N, rel=1e-15)
    assert model.replace(training="supervised", **LEARNING).K == K


def test_hopfield_load_is_alpha():
    assert DenseHebbian(N=200, load=0.14).K == 28


def test_the_smallest_load_still_stores_one_pattern():
    assert DenseHebbian(N=20, P=3, load=1e-9).K == 1
    assert DenseHebbian(N=20, load=0.0, **EXPONENTIAL).K == 1


def test_a_template_has_no_load():
    model = DenseHebbian(N=20, P=3)
    assert model.K is None
    assert model.load is None
    assert model.replace(load=0.1).K == DenseHebbian(N=20, P=3, load=0.1).K


def test_replace_keeps_the_load_unless_told():
    model = DenseHebbian(N=100, P=3, load=0.01)
    assert model.replace(N=200) == DenseHebbian(N=200, P=3, load=0.01)
    assert model.replace(N=200, K=7) == DenseHebbian(N=200, P=3, K=7)
    assert model.replace(load=0.02) == DenseHebbian(N=100, P=3, load=0.02)
    assert model.replace(load=None).K is None
    assert model.load == 0.01


def test_models_are_values():
    model = DenseHebbian(N=np.int64(30), P=np.int8(3), load=np.float32(0.5))
    assert (type(model.N), type(model.P), type(model.load), type(model.K)) == (int, int, float, int)
    same = DenseHebbian(**dataclasses.asdict(model))
    assert same == model == pickle.loads(pickle.dumps(model))
    assert hash(same) == hash(model)
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.N = 3


def test_moments_of_the_example_mean():
    model = DenseHebbian(N=10, K=3, training="supervised", quality=0.6, examples=50)
    assert pytest.approx(0.36 + 0.64 / 50) == model.R
    assert model.rho == pytest.approx(0.64 / (50 * 0.36))
    assert pytest.approx(0.36 * (1 + model.rho)) == model.R
    storing = DenseHebbian(N=10, K=3)
    assert (storing.R, storing.rho) == (1.0, 0.0)


def test_order():
    assert DenseHebbian(N=10, P=4).order == 4
    with pytest.raises(ValueError, match="interaction = 'exponential' has no order P; allowed: 'distinct' or 'all'"):
        DenseHebbian(N=10, **EXPONENTIAL).order  # noqa: B018


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"N": 2.0}, TypeError, "N = 2.0 is not an integer; allowed: integers >= 2"),
        ({"N": 1}, ValueError, "N = 1 is out of range; allowed: integers >= 2"),
        ({"N": 3, "P": 4}, ValueError, "N = 3 is out of range; allowed: integers >= P = 4"),
        ({"P": 1}, ValueError, "P = 1 is out of range; allowed: integers >= 2"),
        ({"P": None}, TypeError, "P = None is not an integer"),
        ({"interaction": "some"}, ValueError, "interaction = 'some' is unknown; allowed: 'distinct', 'all', 'expo"),
        ({"training": "lazy"}, ValueError, "training = 'lazy' is unknown; allowed: 'storing', 'supervised', 'unsup"),
        ({"interaction": "exponential"}, ValueError, "P = 2 has no meaning .*'exponential'; allowed: P=None"),
        ({**EXPONENTIAL, "N": 1}, ValueError, "N = 1 is out of range; allowed: integers >= 2"),
        ({"quality": 0.5}, ValueError, "quality = 0.5 has no meaning for training='storing'; allowed: leave it out"),
        ({"examples": 5}, ValueError, "examples = 5 has no meaning for training='storing'; allowed: leave it out"),
        ({"training": "supervised", "examples": 5}, TypeError, "quality = None is not a real number"),
        ({"training": "unsupervised", "quality": 0.5}, TypeError, "examples = None is not an integer"),
        ({"training": "supervised", **LEARNING, "quality": 0.0}, ValueError, r"quality = 0.0 .* \(0.0, 1.0\]"),
        ({"training": "supervised", **LEARNING, "quality": 1.5}, ValueError, r"quality = 1.5 .* \(0.0, 1.0\]"),
        ({"training": "unsupervised", **LEARNING, "examples": 0}, ValueError, "examples = 0 .* integers >= 1"),
        ({"load": 0.0}, ValueError, r"load = 0.0 is out of range; allowed: finite numbers in \(0.0, inf\)"),
        ({"load": math.nan}, ValueError, "load = nan is out of range"),
        ({"load": [0.1]}, TypeError, r"load = \[0.1\] is not a real number"),
        ({"load": 1e18}, ValueError, r"load = 1e\+18 at N = 10 means K = exp\(.*\) patterns; allowed: K < 2\^62"),
        ({**EXPONENTIAL, "load": 5.0}, ValueError, r"load = 5.0 at N = 10 means K = exp\(50\)"),
        ({**EXPONENTIAL, "load": -0.1}, ValueError, r"load = -0.1 is out of range; .* \[0.0, inf\)"),
        ({"K": 0}, ValueError, "K = 0 is out of range; allowed: integers from 1 to"),
        ({"K": 2.5}, TypeError, "K = 2.5 is not an integer"),
        ({"load": 0.5, "K": 7}, ValueError, "load = 0.5 means K = 5, not K = 7; give one of the two"),
        ({"N": 1000, "P": 150, "load": 1e-300}, ValueError, r"P = 150 is out of range at N = 1000, M = 1; allowed"),
        (
            {"N": 1000, "P": 60, "training": "supervised", "quality": 0.5, "examples": 1000},
            ValueError,
            r"P = 60 is out of range at N = 1000, M = 1000; allowed: \(N M\)\^P <= 1e300",
        ),
    ],
)
def test_contradictions_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        DenseHebbian(**({"N": 10} | arguments))


def test_consistent_load_and_pattern_number_may_both_be_given():
    assert DenseHebbian(N=10, load=0.5, K=5).K == 5


MODELS = {
    "storing": DenseHebbian(N=60, P=2, K=900),
    "supervised, few": DenseHebbian(N=60, P=3, K=900, training="supervised", quality=0.4, examples=20),
    "supervised, many": DenseHebbian(N=60, P=3, K=900, training="supervised", quality=0.4, examples=10**4),
    "unsupervised": DenseHebbian(N=60, P=2, K=900, training="unsupervised", quality=0.4, examples=20),
    "exponential": DenseHebbian(N=60, K=900, **EXPONENTIAL),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_quench_shapes_layout_and_scale(model):
    sample = model.quench(rng=np.random.default_rng(1))
    L = 900 * 20 if model.training == "unsupervised" else 900
    assert sample.model is model
    assert sample.xi.shape == (900, 60)
    assert sample.rows.shape == (L, 60)
    for array in (sample.xi, sample.rows):
        assert array.T.flags.c_contiguous
        assert np.issubdtype(array.dtype, np.signedinteger)
    # Unit variance, to five standard errors of the mean of 54,000 squares (those of signs are exact when storing).
    squares = (sample.rows * sample.scale) ** 2 * (model.R if model.training == "unsupervised" else 1.0)
    assert abs(squares.mean() - 1) <= 5 * squares.std() / math.sqrt(54_000) + 1e-12


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_memory_covers_the_sample(model):
    model = model.replace(N=1000, K=50)
    sample = model.quench(rng=np.random.default_rng(1))
    arrays = {id(array.base if array.base is not None else array): array.nbytes for array in (sample.xi, sample.rows)}
    if model.training == "storing":
        assert sample.xi is sample.rows
    assert sum(arrays.values()) <= model.memory() <= 1.2 * sum(arrays.values())


def test_supervised_learning_never_holds_the_examples():
    model = DenseHebbian(N=100, P=2, K=500, training="supervised", quality=0.3, examples=10**9)
    tracemalloc.start()
    model.quench(rng=np.random.default_rng(1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30 * 100 * 500


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_quench_is_reproducible(model):
    first, same, other = (model.quench(rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.xi, same.xi)
    assert np.array_equal(first.rows, same.rows)
    assert not np.array_equal(first.xi, other.xi)
    assert not np.array_equal(first.rows, other.rows)


def _given(K=4, M=3, N=10):
    rng = np.random.default_rng(3)
    xi = patterns.archetypes(K, N, rng=rng)
    return xi, np.ascontiguousarray(patterns.examples(xi, 0.6, M, rng=rng))


def test_quench_of_given_arrays():
    xi, eta = _given()
    model = DenseHebbian(N=10, K=4, training="supervised", quality=0.6, examples=3)
    supervised = model.quench(rng=np.random.default_rng(1), archetypes=xi.tolist(), examples=eta.astype(float))
    unsupervised = model.replace(training="unsupervised").quench(
        rng=np.random.default_rng(1), archetypes=xi, examples=eta
    )
    storing = DenseHebbian(N=10, K=4).quench(rng=np.random.default_rng(1), archetypes=xi)
    assert np.array_equal(supervised.rows, eta.sum(axis=1))
    assert np.array_equal(unsupervised.rows, eta.reshape(12, 10))
    assert np.array_equal(storing.rows, xi)
    for sample in (supervised, unsupervised, storing):
        assert np.array_equal(sample.xi, xi)
        assert sample.rows.T.flags.c_contiguous
        assert sample.xi.T.flags.c_contiguous


def test_drawn_examples_belong_to_given_archetypes():
    xi = _given(N=500)[0]
    for training in ("supervised", "unsupervised"):
        model = DenseHebbian(N=500, K=4, training=training, quality=1.0, examples=3)
        sample = model.quench(rng=np.random.default_rng(1), archetypes=xi)
        assert all(np.allclose(sample.learned(mu), xi[mu]) for mu in range(4))


@pytest.mark.parametrize("M", [127, 128])
def test_sums_of_given_examples_do_not_overflow(M):
    model = DenseHebbian(N=10, K=4, training="supervised", quality=0.6, examples=M)
    xi = _given()[0]
    sample = model.quench(rng=np.random.default_rng(1), archetypes=xi, examples=np.repeat(xi[:, None], M, axis=1))
    assert np.array_equal(sample.rows.astype(int), M * xi.astype(int))


@pytest.mark.parametrize(
    ("changes", "arguments", "error", "message"),
    [
        ({"K": None, "load": None}, {}, ValueError, "neither load nor K of the model is set; allowed: load > 0 or K"),
        ({}, {"rng": 1}, TypeError, "rng = 1 is not a random generator"),
        ({}, {"archetypes": np.ones((3, 10))}, ValueError, r"archetypes has shape \(3, 10\); allowed: \(4, 10\)"),
        ({}, {"archetypes": np.zeros((4, 10))}, ValueError, "archetypes has an entry 0.0; allowed: -1 and"),
        ({}, {"examples": _given()[1]}, ValueError, "examples were given without archetypes"),
        ({}, {"archetypes": np.ones((4, 10)), "examples": np.ones((4, 10))}, ValueError, r"examples has shape \(4, 10"),
        ({}, {"archetypes": np.ones((4, 10)), "examples": np.zeros((4, 3, 10))}, ValueError, "examples has an entry 0"),
        (
            {"training": "storing", "quality": None, "examples": None},
            {"archetypes": np.ones((4, 10)), "examples": _given()[1]},
            ValueError,
            "examples were given but training = 'storing' uses none; allowed: leave them out",
        ),
    ],
)
@pytest.mark.parametrize("training", ["supervised", "unsupervised"])
def test_quench_refuses(training, changes, arguments, error, message):
    model = DenseHebbian(N=10, K=4, training=training, quality=0.6, examples=3).replace(**({"K": 4} | changes))
    with pytest.raises(error, match=message):
        model.quench(**({"rng": np.random.default_rng(1)} | arguments))


def test_a_sample_that_does_not_fit_is_refused_with_the_estimate(monkeypatch):
    monkeypatch.setattr(validation, "available_memory", lambda: 2.0**20)
    with pytest.raises(MemoryError, match="a quenched sample of N = 100, K = 100000 needs about"):
        DenseHebbian(N=100, K=10**5).quench(rng=np.random.default_rng(1))
