import numpy as np
import pytest
from scipy.special import gammaln, logsumexp

from hebbian import DenseHebbian
from hebbian.potts import GroupLayout, PairwiseModel
from sim import exact
from sim.potts_exact import enumerate_model
from tests.sim import potts_cases

LAYERS = [[(1, 5)], [(3, 2)], [(2, 3), (1, 1), (2, 2), (1, 4)], [(1, 1), (2, 1)], [(1, 1), (4, 3)]]


def assert_literal(found, expected):
    log_z, marginals, pairs, entropy = expected
    assert found.log_z == pytest.approx(log_z, rel=1e-13, abs=1e-12)
    assert found.entropy == pytest.approx(entropy, rel=1e-11, abs=1e-11)
    np.testing.assert_allclose(found.marginals, marginals, rtol=0, atol=1e-14)
    np.testing.assert_allclose(found.pair_marginals, pairs, rtol=0, atol=1e-14)


@pytest.mark.parametrize("strength", [0.0, 0.3, 3.0])
@pytest.mark.parametrize("layers", LAYERS)
def test_every_sum_is_the_literal_one(layers, strength):
    model = potts_cases.model(layers, strength=strength)
    assert_literal(enumerate_model(model), potts_cases.literal(model))


def test_reference_model():
    # arXiv:2307.04990's construction; log Z and the marginal computed independently for a model of this definition.
    found = enumerate_model(potts_cases.reference())
    assert found.log_z == pytest.approx(7.09059259358277, abs=1e-13)
    assert found.marginals[0] == pytest.approx(0.483228036521, abs=1e-12)


def test_two_spins_by_hand():
    # Equal categories weigh e^J: Z = 2 e^J + 2.
    J = 0.7
    coupling = J * np.kron([[0, 1], [1, 0]], np.eye(2))
    found = enumerate_model(PairwiseModel(coupling, np.zeros(4), GroupLayout([(2, 2)])))
    Z = 2 * np.exp(J) + 2
    assert found.log_z == pytest.approx(np.log(Z), rel=1e-15)
    np.testing.assert_allclose(found.marginals, 0.5, rtol=1e-15)
    np.testing.assert_allclose(found.pair_marginals[0], [0.5, 0, np.exp(J) / Z, 1 / Z], rtol=1e-14)
    assert found.entropy == pytest.approx(np.log(Z) - J * 2 * np.exp(J) / Z, rel=1e-14)


def test_complete_graph_by_its_counts():
    # Phi = c/(G - 1) between equal states: the weight of a state depends on how many spins are up.
    G, c = 20, 1.9
    coupling = c / (G - 1) * np.kron(1 - np.eye(G), np.eye(2))
    found = enumerate_model(PairwiseModel(coupling, np.tile([0.1, 0.0], G), GroupLayout([(G, 2)])))
    up = np.arange(G + 1)
    equal = (up * (up - 1) + (G - up) * (G - up - 1)) / 2
    log_weight = gammaln(G + 1) - gammaln(up + 1) - gammaln(G - up + 1) + c / (G - 1) * equal + 0.1 * up
    assert found.log_z == pytest.approx(logsumexp(log_weight), rel=1e-13)
    p = np.exp(log_weight - logsumexp(log_weight))
    np.testing.assert_allclose(found.marginals[::2], p @ up / G, rtol=1e-12)
    np.testing.assert_allclose(found.pair_marginals[0, 2::2], p @ (up * (up - 1)) / (G * (G - 1)), rtol=1e-12)


def test_hopfield_network_is_the_pairwise_model_of_its_spins():
    # exp(-H/T), H = -sum_{i<j} J_ij s_i s_j with s = x_up - x_down.
    sample, T = DenseHebbian(N=8, P=2, K=3).quench(rng=np.random.default_rng(4)), 0.7
    J = sample.xi.T.astype(float) @ sample.xi / 8
    np.fill_diagonal(J, 0)
    layout = GroupLayout([(8, 2)])
    found = enumerate_model(PairwiseModel(np.kron(J, [[1, -1], [-1, 1]]) / T, np.zeros(16), layout))
    p, spins = exact.boltzmann(sample, T), exact.configurations(8).astype(float)
    correlations = (spins * p[:, None]).T @ spins
    signs = np.tile([1.0, -1.0], 8)
    from_pairs = (found.pair_marginals * np.outer(signs, signs)).reshape(8, 2, 8, 2).sum(axis=(1, 3))
    np.testing.assert_allclose(from_pairs, correlations, rtol=0, atol=1e-13)
    assert found.entropy == pytest.approx(-p @ np.log(p), rel=1e-12)


@pytest.mark.parametrize("last", [0, 3])
def test_weights_beyond_floating_point(last):
    # The first states weigh e^-2000, or e^2000 in all: the unit moves while the sums grow.
    layout, bias = GroupLayout([(4, 3)]), np.zeros(12)
    bias[last * 3 : last * 3 + 3] = [-2000, 0, 2000]
    model = PairwiseModel(potts_cases.model([(4, 3)]).coupling, bias, layout)
    found = enumerate_model(model)
    assert_literal(found, potts_cases.literal(model))
    assert found.log_z > 1900


@pytest.mark.parametrize("held", [(0,), (2, 4), (0, 1, 2, 3, 4)])
def test_clamping_is_restricting(held):
    model = potts_cases.model([(2, 3), (2, 2), (1, 4)])
    mask = np.isin(np.arange(5), held)
    clamp = (mask, model.layout.one_hot([2, 0, 1, 0, 3]))
    assert_literal(enumerate_model(model, clamp), potts_cases.literal(model, clamp))


def test_clamped_sums_add_up():
    model = potts_cases.model([(1, 3), (4, 2)])
    mask = np.arange(5) == 0
    parts = [enumerate_model(model, (mask, model.layout.one_hot([state, 0, 0, 0, 0]))) for state in range(3)]
    whole = enumerate_model(model)
    log_z = np.array([part.log_z for part in parts])
    assert logsumexp(log_z) == pytest.approx(whole.log_z, rel=1e-14)
    np.testing.assert_allclose(np.exp(log_z - whole.log_z), whole.marginals[:3], rtol=1e-12)


def test_the_largest_that_is_allowed_and_the_first_that_is_not():
    # Independent groups: marginals of the softmax of the bias.
    layout = GroupLayout([(22, 2)])
    bias = np.random.default_rng(1).normal(size=44)
    found = enumerate_model(PairwiseModel(np.zeros((44, 44)), bias, layout))
    weights = np.exp(bias).reshape(22, 2)
    np.testing.assert_allclose(found.marginals, (weights / weights.sum(axis=1)[:, None]).ravel(), rtol=1e-11)
    assert found.log_z == pytest.approx(np.log(weights.sum(axis=1)).sum(), rel=1e-13)
    wide = PairwiseModel(np.zeros((45, 45)), np.zeros(45), GroupLayout([(21, 2), (1, 3)]))
    with pytest.raises(ValueError, match=f"model has {3 * 2**21} states of 22 free groups.*allowed: up to 2\\^22"):
        enumerate_model(wide)
    # A clamp brings it below the limit.
    assert enumerate_model(wide, (np.arange(22) == 21, np.arange(45) == 44)).log_z == pytest.approx(21 * np.log(2))


def test_a_model_is_asked_for():
    with pytest.raises(TypeError, match="model is of type ndarray"):
        enumerate_model(np.zeros((4, 4)))
