import numpy as np
import pytest

from hebbian.attention_targets import correlation_weighted, key_power, query_power, sample_tokens
from theory import attention_features as theory
from theory.attention_norms import rkhs_norm_bound

D = N = 6
BETA = np.eye(D)[1]
KERNELS = {"rfa": theory.rfa_kernel, "brfa": theory.brfa_kernel, "rfmlp": theory.rfmlp_kernel}
S = np.random.default_rng(0).normal(size=(D, D)) / np.sqrt(D)


def bound(target, model="rfa", **options):
    return rkhs_norm_bound(target, model, D, N, **options)


def test_closed_forms_of_one_order():
    pi = np.pi
    for p, expected in ((1, 2 * pi), (2, 16), (3, 64 * pi), (4, 4**4 * 48 * pi / 5)):
        assert bound(key_power(BETA, p)) == pytest.approx(expected)
    for p, expected in ((1, 16), (2, 64 * pi), (3, 4**4 * 48 * pi / 4)):
        assert bound(query_power(BETA, p)) == pytest.approx(expected)
    assert bound(correlation_weighted(BETA, 1)) == pytest.approx(8 * (D + 1))
    assert bound(correlation_weighted(BETA, 1, S)) == pytest.approx(8 * ((S**2).sum() + ((S @ BETA) ** 2).sum()))
    assert bound(key_power(2 * BETA, 2)) == pytest.approx(16 * 16)
    for p, a in ((1, 1 / 4), (2, 1 / (4 * pi))):
        assert bound(key_power(BETA, p), "rfmlp") == pytest.approx((N + 2) ** p / (a * N))
    assert bound(query_power(BETA, 2), "rfmlp") == pytest.approx((N + 2) ** 2 * 4 * pi)
    # Order 3 has no weight: one of the four slots of order 4 holds the constant.
    assert bound(key_power(BETA, 3), "rfmlp") == pytest.approx((N + 2) ** 4 * 48 * pi / (4 * N))
    # x_0, x_i, x_i and the constant in 12 places, and the two slots of x_i symmetric.
    expected = (N + 2) ** 4 * 48 * pi / N * (D + 1) / 2 / 12
    assert bound(correlation_weighted(BETA, 1), "rfmlp") == pytest.approx(expected)


TARGETS = {
    "keys 1": key_power(BETA, 1),
    "keys 2": key_power(BETA, 2),
    "query 1": query_power(BETA, 1),
    "query 2": query_power(BETA, 2),
    "correlation 1": correlation_weighted(BETA, 1),
    "correlation 1, S": correlation_weighted(BETA, 1, S),
}


@pytest.mark.parametrize("model", ["rfa", "rfmlp"])
def test_interpolating_norms_grow_to_less_than_the_bound(model):
    x = sample_tokens(500, N, D, np.random.default_rng(1))
    K = KERNELS[model](x)
    for name, target in TARGETS.items():
        norms = [float(theory.interpolation_norm(K[:n, :n], target(x[:n]))) for n in (60, 120, 250, 500)]
        assert (np.diff(norms) >= 0).all(), name
        sharp = bound(target, model, orders=20)
        assert norms[-1] <= sharp <= bound(target, model)
        if model == "rfa" and name.endswith("1"):
            # Of the simplest targets it is nearly reached, which a wrong scale of the kernel would show.
            assert norms[-1] > 0.6 * sharp, name


def test_parts_that_may_be_missing_lower_the_bound():
    for target in TARGETS.values():
        for model in ("rfa", "rfmlp"):
            assert bound(target, model, error=0.25) == pytest.approx(bound(target, model) / 4)
        errors = [bound(target, "brfa", error=error) for error in (0.3, 0.1, 0.03)]
        assert (np.diff(errors) > 0).all()
        assert bound(target, "brfa") == errors[1]


def test_functions_of_biased_norms_are_in_the_space():
    """On a sample, functions of norms up to the bound come within the stated error of the target."""
    x = sample_tokens(400, N, D, np.random.default_rng(2))
    K = theory.brfa_kernel(x)
    for target in (key_power(BETA, 1), correlation_weighted(BETA, 1), query_power(BETA, 1)):
        y, limit, error = target(x), bound(target, "brfa", error=0.1), 0.1
        # The least mean square of the rest with norms up to the bound, by the dual of the penalty.
        values, vectors = np.linalg.eigh(K)
        coefficients, penalties = vectors.T @ y, np.geomspace(1e-6, 1e4, 400)[:, None]
        norms = (coefficients**2 * values / (values + penalties) ** 2).sum(1)
        rests = ((coefficients * penalties[:, 0, None] / (values + penalties)) ** 2).sum(1) / (y @ y)
        assert rests[norms <= limit].min() < error


def test_order_of_the_models():
    """Biased matrices are predicted to pay for correlations in many dimensions, and to cost little elsewhere."""
    beta = np.eye(64)[0]
    of = {"d": 64, "N": 64, "error": 0.1, "orders": 6}
    rfa, brfa, rfmlp = (
        [rkhs_norm_bound(target, model, **of) for target in (correlation_weighted(beta, 1), key_power(beta, 2))]
        for model in ("rfa", "brfa", "rfmlp")
    )
    assert brfa[0] < rfa[0] / 5
    assert rfa[1] < brfa[1] < 1.1 * rfa[1]
    assert rfmlp[1] > 40 * rfa[1]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: bound(lambda x: x), TypeError, "target = .* is a function; allowed: Target"),
        (lambda: bound(TARGETS["keys 1"], "softmax"), ValueError, "model = 'softmax' is unknown"),
        (lambda: rkhs_norm_bound(TARGETS["keys 1"], "rfa", 7, N), ValueError, "d = 7 is out of range"),
        (lambda: rkhs_norm_bound(TARGETS["keys 1"], "rfa", D, 0), ValueError, "N = 0 is out of range"),
        (lambda: bound(TARGETS["keys 1"], orders=0), ValueError, "orders = 0 is out of range"),
        (lambda: bound(TARGETS["keys 1"], error=1.0), ValueError, r"error = 1\.0 is out of range"),
        (lambda: bound(TARGETS["keys 1"], "brfa", error=0.0), ValueError, r"error = 0\.0 is out of range"),
        (
            lambda: bound(key_power(BETA, 40), "brfa"),
            ValueError,
            r"error = 0\.1 is not reached with 40 orders",
        ),
    ],
)
def test_bad_input_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
