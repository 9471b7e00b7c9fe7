import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize_scalar

from hebbian import DenseHebbian
from theory.replica_symmetric import critical_load, solve
from theory.replica_symmetric.learning import LARGEST_EXAMPLES, entropy_threshold, learning_threshold


def learner(P, training):
    return DenseHebbian(N=9, P=P, training=training, quality=1.0, examples=1)


def last_failure(model, load, T, quality, overlap, largest):
    """The largest M that fails, of all those up to `largest`."""
    M = np.arange(1, largest + 1)
    points = solve(model, load=load, T=T, quality=quality, examples=M)
    holds = (points.retrieval & (points.m > overlap)).values.ravel()
    assert holds[-1]
    return M[~holds].max(initial=0)


@pytest.mark.parametrize(
    ("P", "training", "load", "T", "quality", "overlap"),
    [
        (2, "supervised", 0.05, 0.0, 0.2, 0.0),
        (2, "supervised", 0.1, 0.3, 0.7, 0.0),
        # Odd M retrieve and even M do not, up to 142, 280 and 26.
        (2, "supervised", 1e-4, 0.0, 0.05, 0.0),
        (2, "supervised", 3e-5, 0.0, 0.03, 0.0),
        (2, "unsupervised", 1e-4, 0.0, 0.05, 0.0),
        (2, "unsupervised", 0.05, 0.0, 0.2, 0.0),
        (3, "supervised", 0.3, 0.05, 0.7, 0.0),
        (3, "supervised", 0.1, 0.0, 0.2, 0.8),
        # Narrow gaps: M from 18 to 22 fail, from 31 to 72 in the next case.
        (4, "supervised", 0.1, 0.062, 0.1, 0.0),
        (4, "unsupervised", 1e-4, 0.05, 0.2, 0.0),
        (4, "unsupervised", 0.1, 0.3, 0.7, 0.9),
        (2, "supervised", 1e-6, 0.1, 0.1, 0.0),
    ],
)
def test_the_threshold_is_one_more_than_the_last_failure(P, training, load, T, quality, overlap):
    model = learner(P, training)
    threshold = learning_threshold(model, load=load, T=T, quality=quality, overlap=overlap).item()
    assert threshold == 1 + last_failure(model, load, T, quality, overlap, 450)


@pytest.mark.parametrize(("P", "load"), [(2, 0.05), (4, 0.3)])
def test_a_supervised_network_needs_examples_in_number_of_their_noise(P, load):
    r = np.geomspace(0.01, 0.3, 5)
    M = learning_threshold(learner(P, "supervised"), load=load, T=0.1, quality=r).values.ravel()
    # M r^2/(1-r^2) = 1/rho is the same at all qualities, but that M is an integer, and the law of few not Gaussian.
    entropy = (1 - r**2) / (M * r**2)
    limit = entropy_threshold(learner(P, "supervised"), load=load, T=0.1, examples=10**12).item()
    assert entropy == pytest.approx(np.full(5, limit), rel=0.02)
    assert entropy[0] == pytest.approx(limit, rel=2e-3)
    slope = np.polyfit(np.log(r[:3]), np.log(M[:3]), 1)[0]
    assert slope == pytest.approx(-2, abs=0.02)


@pytest.mark.parametrize(("P", "qualities"), [(2, (0.002, 0.005)), (3, (0.01, 0.05)), (4, (0.05, 0.1))])
def test_an_unsupervised_network_needs_examples_in_number_of_the_power_2P(P, qualities):
    M = learning_threshold(learner(P, "unsupervised"), load=0.05, T=0.1, quality=qualities).values.ravel()
    slope = math.log(M[1] / M[0]) / math.log(qualities[1] / qualities[0])
    # At P = 2 the correction is of order r (the modes with 1 - l C of order r^2 M^(1/2)).
    assert slope == pytest.approx(-2 * P, abs=0.02)


@pytest.mark.parametrize(("P", "r"), [(2, 0.1), (3, 0.4), (4, 0.4)])
def test_supervised_and_unsupervised_learning_agree_beyond_the_power_2P(P, r):
    few, many = round(0.1 * r ** (-2 * P)), round(1000 * r ** (-2 * P))
    taught, untaught = (
        critical_load(learner(P, training), 0.05, quality=r, examples=[few, many]).values.ravel()
        for training in ("supervised", "unsupervised")
    )
    # The noise of unsupervised learning exceeds the other by 1/(M r^(2P)), to first order.
    assert untaught[1] == pytest.approx(taught[1], rel=4e-3)
    assert untaught[1] < taught[1]
    assert untaught[0] < 0.5 * taught[0]


def capacity(rho):
    """alpha_c of supervised learning, P = 2, T = 0, Gaussian data: see test_spinodal."""

    def root(y):
        density = math.sqrt(2 / math.pi) * math.exp(-y * y)
        return math.sqrt(1 - 2 * rho * y * y) * (math.erf(y) / (math.sqrt(2) * y) - density) / (1 + rho)

    top = min(4.0, 1 / math.sqrt(2 * rho))
    grid = np.linspace(1e-3, top, 500)[:-1]
    best = grid[int(np.argmax([root(y) for y in grid]))]
    bounds = (0.9 * best, min(1.1 * best, top * (1 - 1e-12)))
    return minimize_scalar(lambda y: -root(y), bounds=bounds, method="bounded", options={"xatol": 1e-10}).fun ** 2


@pytest.mark.parametrize("load", [1e-3, 0.02, 0.1])
def test_entropy_of_order_two_at_zero_temperature_solves_the_closed_equation(load):
    exact = brentq(lambda rho: capacity(rho) - load, 1e-3, 20.0, xtol=1e-13)
    value = entropy_threshold(learner(2, "supervised"), load=load, T=0.0, examples=10**9).item()
    assert value == pytest.approx(exact, rel=1e-7)


@pytest.mark.parametrize("training", ["supervised", "unsupervised"])
@pytest.mark.parametrize(("P", "T", "load"), [(2, 0.0, 0.03), (2, 0.2, 0.09), (4, 0.3, 0.3)])
def test_the_entropy_line_is_that_of_the_critical_load(P, T, load, training):
    rho = entropy_threshold(learner(P, training), load=load, T=T, examples=40).item()
    back = critical_load(learner(P, training), T, quality=1 / math.sqrt(1 + 40 * rho), examples=40).item()
    assert back == pytest.approx(load, rel=1e-10)


# Where m falls through the overlap continuously, where the solution ends, and where a branch of lower m follows.
@pytest.mark.parametrize(
    ("P", "training", "load"), [(3, "supervised", 0.01), (2, "supervised", 0.09), (4, "unsupervised", 0.03)]
)
def test_the_overlap_is_exceeded_up_to_the_threshold(P, training, load):
    model = learner(P, training)
    rho = entropy_threshold(model, load=load, T=0.3, examples=40, overlap=0.5).item()
    below, above = (
        solve(model, load=load, T=0.3, quality=1 / math.sqrt(1 + 40 * value), examples=40)
        for value in (rho * (1 - 1e-9), rho * (1 + 1e-9))
    )
    assert below.retrieval.item()
    assert below.m.item() > 0.5
    assert above.m.item() < 0.5
    assert above.retrieval.item() == (P != 2)


@settings(max_examples=12, deadline=None)
@given(
    P=st.sampled_from([2, 3, 4]),
    load=st.floats(1e-3, 0.12),
    T=st.floats(0, 0.4),
    quality=st.floats(0.3, 1.0),
    overlap=st.sampled_from([0.0, 0.5, 0.9]),
)
def test_order_of_the_thresholds(P, load, T, quality, overlap):
    taught, untaught = (
        learning_threshold(learner(P, training), load=load, T=T, quality=quality, overlap=overlap).item()
        for training in ("supervised", "unsupervised")
    )
    stored = solve(DenseHebbian(N=9, P=P), load=load, T=T)
    if not (stored.retrieval.item() and stored.m.item() > overlap):
        assert math.isnan(taught)
        assert math.isnan(untaught)
        return
    assert 1 <= taught <= untaught
    # A threshold in M and one in rho are ends of the same region.
    if taught > 1:
        M = [int(taught), int(taught) - 1]
        rho = entropy_threshold(learner(P, "supervised"), load=load, T=T, examples=M, overlap=overlap).values.ravel()
        given_rho = (1 - quality**2) / (np.array(M) * quality**2)
        assert given_rho[0] <= rho[0] * (1 + 1e-12)
        assert given_rho[1] >= rho[1] * (1 - 1e-12)


def test_limits():
    model = learner(2, "unsupervised")
    # Perfect examples: one is enough, up to the capacity of the archetypes; beyond it no number is.
    loads = [0.137905, 0.137906]
    values = learning_threshold(model, load=loads, T=0.0, quality=1.0).values.ravel()
    assert values[0] == 1
    assert np.isnan(values[1])
    assert np.isnan(entropy_threshold(model, load=0.137906, T=0.0, examples=7).item())
    # One example is stored: it is retrieved whatever its quality, with m = r m_stored.
    assert entropy_threshold(model, load=0.05, T=0.2, examples=1).item() == math.inf
    stored = solve(DenseHebbian(N=9), load=0.05, T=0.2).m.item()
    rho = entropy_threshold(model, load=0.05, T=0.2, examples=1, overlap=0.6).item()
    assert 1 / math.sqrt(1 + rho) * stored == pytest.approx(0.6, abs=1e-11)
    # M ~ r^-8 exceeds the largest number examined.
    assert np.isnan(learning_threshold(learner(4, "unsupervised"), load=0.1, T=0.0, quality=0.005).item())
    assert (
        0.01 * LARGEST_EXAMPLES < learning_threshold(learner(4, "unsupervised"), load=0.1, T=0.0, quality=0.02).item()
    )


def test_axes_and_labels():
    model = learner(2, "supervised").replace(load=0.05)
    numbers = learning_threshold(model, load=[0.01, 0.02, 0.05], T=[0.0, 0.3], quality=[0.4, 0.8])
    assert numbers.dims == ("quality", "load", "T")
    assert numbers.shape == (2, 3, 2)
    single = learning_threshold(model, load=0.02, T=0.3, quality=0.8).item()
    assert numbers.sel(load=0.02, T=0.3, quality=0.8).item() == single
    assert learning_threshold(model, T=0.3, quality=0.4).item() == numbers.sel(load=0.05, T=0.3, quality=0.4).item()
    entropies = entropy_threshold(model, load=[0.01, 0.05], T=[0.0, 0.2, 0.3], examples=[10, 20])
    assert entropies.dims == ("examples", "load", "T")
    assert entropies.shape == (2, 2, 3)
    single = entropy_threshold(model, load=0.01, T=0.3, examples=20).item()
    assert entropies.sel(load=0.01, T=0.3, examples=20).item() == single
    assert entropy_threshold(model, T=0.3, examples=20).item() == entropies.sel(load=0.05, T=0.3, examples=20).item()
    for result in (numbers, entropies):
        assert {"long_name", "units"} <= set(result.attrs)
        assert all({"long_name", "units"} <= set(result[name].attrs) for name in result.dims)


def test_the_gaussian_law_can_be_asked_for():
    model = learner(2, "supervised")
    binomial, gaussian = (
        learning_threshold(model, load=0.01, T=0.0, quality=0.7, data_noise=law).item() for law in ("auto", "gaussian")
    )
    assert binomial == 1
    assert gaussian == math.ceil((1 - 0.49) / 0.49 / entropy_threshold(model, load=0.01, T=0.0, examples=10**9).item())


@pytest.mark.parametrize(
    ("function", "data"), [(learning_threshold, {"quality": 0.5}), (entropy_threshold, {"examples": 5})]
)
def test_bad_input_is_named(function, data):
    model = learner(2, "supervised")
    good = {"load": 0.1, "T": 0.1} | data
    with pytest.raises(ValueError, match=r"every value of T: T = -0\.1"):
        function(model, **good | {"T": -0.1})
    with pytest.raises(ValueError, match=r"every value of load: load = 0\.0"):
        function(model, **good | {"load": 0.0})
    with pytest.raises(ValueError, match="load = None and the model has none"):
        function(model, **good | {"load": None})
    with pytest.raises(ValueError, match=r"overlap = 1\.0 is out of range"):
        function(model, **good, overlap=1.0)
    with pytest.raises(ValueError, match="training = 'storing' is unknown; allowed: 'supervised', 'unsupervised'"):
        function(DenseHebbian(N=9), **good)
    with pytest.raises(ValueError, match="data_noise = 'no' is unknown"):
        function(model, **good, data_noise="no")
    with pytest.raises(TypeError, match="is not a DenseHebbian"):
        function("network", **good)
    with pytest.raises(ValueError, match="interaction = 'exponential'"):
        function(learner(2, "supervised").replace(P=None, interaction="exponential"), **good)
    name = next(iter(data))
    with pytest.raises(ValueError, match=f"every value of {name}: {name} = 0"):
        function(model, **good | {name: 0})
