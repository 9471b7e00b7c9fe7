import itertools
import warnings

import numpy as np
import pytest

from hebbian.fixed_point import solve_adjoint, solve_mean_field
from hebbian.potts import GroupLayout, PairwiseModel, coupling_bounds, monotone_coupling
from hebbian.splitting import CONTRACTING, contraction_factor
from tests.hebbian.test_potts import random_model, reference
from theory import monotone_dbm
from theory.monotone_dbm import (
    asymptotic_rate,
    error_bound,
    free_energy,
    kl_gap,
    log_partition_bound,
    start_bound,
    susceptibility,
)


def solve(model, **options):
    return solve_mean_field(model.coupling, model.bias, model.layout, **options).q


def scaled(model, factor):
    return PairwiseModel(model.coupling * factor, model.bias, model.layout)


def enumerated(model):
    """ln Z, marginals and covariance from all states, by the definition of the model."""
    states = np.array(list(itertools.product(*map(range, model.layout.categories))))
    x = model.layout.one_hot(states)
    weight = np.einsum("ni,ij,nj->n", x, model.coupling, x) / 2 + x @ model.bias
    largest = weight.max()
    p = np.exp(weight - largest)
    log_z = largest + np.log(p.sum())
    p /= p.sum()
    mean = p @ x
    return log_z, mean, (x * p[:, None]).T @ x - np.outer(mean, mean)


def small_model(seed, margin=0.1):
    layout = GroupLayout([(3, 2), (2, 4), (1, 3)])
    rng = np.random.default_rng(seed)
    coupling = monotone_coupling(rng.normal(size=(6, layout.size)), layout, margin)
    return PairwiseModel(coupling, rng.normal(size=layout.size), layout)


def test_numbers_of_the_reference_model():
    model = reference()[1]
    q = solve(model, tol=1e-13)
    assert free_energy(q, model) == pytest.approx(-6.931811706775858, abs=1e-12)
    assert log_partition_bound(model) == pytest.approx(6.931811706775858, abs=1e-12)
    log_z, marginals, _ = enumerated(model)
    assert log_z == pytest.approx(7.09059259358277, abs=1e-12)
    assert kl_gap(model, log_z) == pytest.approx(0.1587808868069, abs=1e-12)
    assert marginals[0] == pytest.approx(0.483228036521, abs=1e-11)
    assert susceptibility(q, model)[0, 3] == pytest.approx(-0.0070215412763, abs=1e-12)


def test_gap_closes_as_the_coupling_shrinks():
    model = reference()[1]
    gaps = [kl_gap(scaled(model, factor), enumerated(scaled(model, factor))[0]) for factor in (1, 1 / 4, 1 / 16)]
    np.testing.assert_allclose(gaps, [0.1588, 0.01169, 0.000761], rtol=5e-4)


@pytest.mark.parametrize("seed", range(6))
def test_gap_is_the_divergence_from_the_distribution(seed):
    model = small_model(seed, margin=-0.9)
    log_z, _, _ = enumerated(model)
    q = solve(model, tol=1e-12)
    states = np.array(list(itertools.product(*map(range, model.layout.categories))))
    x = model.layout.one_hot(states)
    product = np.prod(np.where(x == 1, q, 1.0), axis=-1)
    divergence = product @ (np.log(product) - model.log_weight(x) + log_z)
    assert kl_gap(model, log_z) == pytest.approx(divergence, abs=1e-11)
    assert divergence > 0


def test_free_energy_is_as_convex_as_stated():
    rng = np.random.default_rng(0)
    layout = GroupLayout([(3, 2), (2, 3)])
    for seed in range(5):
        model = random_model(seed, layout, scale=0.3)
        convexity = 2 - coupling_bounds(model.coupling, layout)[1]
        ends = rng.dirichlet(np.ones(2), (2, 200, 3)).reshape(2, 200, 6), rng.dirichlet(np.ones(3), (2, 200, 2))
        a, b = np.concatenate([ends[0], ends[1].reshape(2, 200, 6)], axis=-1)
        chord = (free_energy(a, model) + free_energy(b, model)) / 2 - free_energy((a + b) / 2, model)
        assert (chord >= convexity / 8 * ((a - b) ** 2).sum(-1) - 1e-12).all()
    # The constant is reached by binary groups near probability 1/2.
    ferromagnet = PairwiseModel(1.5 * np.kron([[0, 1], [1, 0]], np.eye(2)), np.zeros(4), GroupLayout([(2, 2)]))
    a, b = 0.5 + 1e-3 * np.array([1, -1, 1, -1]), 0.5 - 1e-3 * np.array([1, -1, 1, -1])
    chord = (free_energy(a, ferromagnet) + free_energy(b, ferromagnet)) / 2 - free_energy((a + b) / 2, ferromagnet)
    assert chord == pytest.approx(0.5 / 8 * ((a - b) ** 2).sum(), rel=1e-3)


def test_critical_coupling_is_where_the_ferromagnet_magnetises():
    c = monotone_dbm.critical_coupling()
    layout, start = GroupLayout([(10, 2)]), np.tile([0.9, 0.1], 10)
    for coupling, magnetised in ((c - 0.05, False), (c + 0.05, True)):
        phi = coupling / 9 * np.kron(np.ones((10, 10)) - np.eye(10), np.eye(2))
        q = solve_mean_field(phi, np.zeros(20), layout, method="coordinate", init=start, max_iter=5000).q
        assert (np.abs(q - 0.5).max() > 0.1) == magnetised


def test_error_bound_holds_from_anywhere():
    rng = np.random.default_rng(1)
    for seed in range(5):
        model = small_model(seed, margin=(0.1, -0.5)[seed % 2])
        expected = solve(model, tol=1e-13)
        q = rng.normal(size=(50, model.layout.size)) * 10.0 ** rng.uniform(-3, 1, (50, 1)) + expected
        fields = model.local_field(q)
        p = np.concatenate(
            [np.exp(f) / np.exp(f).sum(-1, keepdims=True) for f in np.split(fields, model.layout.offsets[1:-1], -1)], -1
        )
        ratio = np.linalg.norm(p - expected, axis=-1) / error_bound(q, model)
        assert ratio.max() <= 1 + 1e-9
        assert ratio.max() > 0.1
    np.testing.assert_allclose(error_bound(expected, model), 0, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_susceptibility_is_the_response_and_that_of_the_adjoint(seed):
    model = small_model(seed)
    q, chi = solve(model, tol=1e-13), None
    chi = susceptibility(q, model)
    step = 1e-5
    for entry in (0, 7):
        change = step * (np.arange(q.size) == entry)
        up, down = (
            solve(PairwiseModel(model.coupling, model.bias + s * change, model.layout), tol=1e-13) for s in (1, -1)
        )
        np.testing.assert_allclose(chi[:, entry], (up - down) / (2 * step), atol=1e-9)
    adjoint = solve_adjoint(model.coupling, np.tile(q, (q.size, 1)), np.eye(q.size), model.layout, tol=1e-13)
    np.testing.assert_allclose(chi, adjoint, atol=1e-12)
    # Linear response is exact to the first order in the coupling.
    errors = []
    for factor in (0.02, 0.01):
        weak = scaled(model, factor)
        errors.append(np.abs(susceptibility(solve(weak, tol=1e-13), weak) - enumerated(weak)[2]).max())
    assert errors[0] / errors[1] > 3
    assert errors[1] < 1e-4


def test_bounds_of_the_steps_are_those_of_the_solver():
    assert monotone_dbm.contraction_factor is contraction_factor
    low, high = coupling_bounds(reference()[1].coupling, reference()[1].layout)
    model = reference()[1]
    for method in ("softmax_pr", "forward_backward"):
        rate = solve_mean_field(model.coupling, model.bias, model.layout, method=method).rate
        assert rate == pytest.approx(monotone_dbm.contraction_factor(method, low, high), rel=1e-12)


def options_of(method, step, relaxation):
    step = {} if step is None else {"rho" if method == "softmax_pr" else "step": step}
    return {"method": method, "relaxation": relaxation} | step


RATES = [
    *((method, None, 1.0) for method in CONTRACTING),
    ("softmax_pr", 1.3, 0.7),
    ("forward_backward", 0.125, 1.0),
    ("peaceman_rachford", 0.4, 0.6),
    ("douglas_rachford", 2.0, 0.8),
    ("mirror", 0.3, 1.0),
]


@pytest.mark.parametrize(("method", "step", "relaxation"), RATES)
@pytest.mark.parametrize("seed", range(2))
def test_asymptotic_rate_is_that_of_the_derivative_of_a_step(method, step, relaxation, seed):
    model = small_model(seed)
    q, rng = solve(model, tol=1e-14), np.random.default_rng(seed)
    # One step from many points near the solution, which is the first of them.
    logarithms = np.log(q) + 1e-6 * rng.normal(size=(60, q.size)) * (np.arange(60) > 0)[:, None]
    near = (
        np.exp(logarithms) / np.add.reduceat(np.exp(logarithms), model.layout.offsets[:-1], -1)[:, model.layout.groups]
    )
    with warnings.catch_warnings(action="ignore"):
        before, after = solve_mean_field(
            model.coupling, np.tile(model.bias, (60, 1)), model.layout, init=near, max_iter=1, tol=1e-15, record=True,
            **options_of(method, step, relaxation),
        ).history.states  # fmt: skip
    derivative = np.linalg.pinv(before[1:] - before[0], rcond=1e-4) @ (after[1:] - after[0])
    found = np.abs(np.linalg.eigvals(derivative)).max()
    rate = asymptotic_rate(q, model, method, step, relaxation)
    assert rate == pytest.approx(found, rel=1e-3)
    bound = contraction_factor(method, *coupling_bounds(model.coupling, model.layout), step, relaxation)
    assert 0.01 < rate <= bound


@pytest.mark.parametrize(("method", "step", "relaxation"), RATES)
def test_start_bound_limits_the_error_of_every_step(method, step, relaxation):
    model = small_model(3)
    q = solve(model, tol=1e-14)
    bound = contraction_factor(method, *coupling_bounds(model.coupling, model.layout), step, relaxation)
    nearest = 0.0
    for change in np.random.default_rng(4).normal(size=(20, q.size)) * 10.0 ** np.linspace(-3, 1, 20)[:, None]:
        weights = q * np.exp(change)
        start = weights / np.add.reduceat(weights, model.layout.offsets[:-1])[model.layout.groups]
        with warnings.catch_warnings(action="ignore"):
            history = solve_mean_field(
                model.coupling, model.bias, model.layout, init=start, max_iter=15, tol=1e-15, record=True,
                **options_of(method, step, relaxation),
            ).history  # fmt: skip
        error = np.linalg.norm(np.concatenate(history.q) - q, axis=-1)
        limit = start_bound(q, start, model, method, step) * bound ** np.arange(len(error))
        assert (error <= limit * (1 + 1e-9) + 1e-12).all()
        nearest = max(nearest, error[0] / limit[0])
    assert nearest > 0.3


def test_bad_input_is_refused():
    model = small_model(0)
    strong = PairwiseModel(2.1 * np.kron([[0, 1], [1, 0]], np.eye(2)), np.zeros(4), GroupLayout([(2, 2)]))
    small = PairwiseModel(np.zeros((2, 2)), np.zeros(2), GroupLayout([(1, 2)]))
    q = solve(model)
    for call in (
        lambda m: free_energy(q, m),
        log_partition_bound,
        lambda m: kl_gap(m, 1.0),
        lambda m: error_bound(q, m),
        lambda m: asymptotic_rate(q, m, "mirror"),
        lambda m: start_bound(q, q, m, "mirror"),
    ):
        with pytest.raises(TypeError, match="model = 3 is a int; allowed: PairwiseModel"):
            call(3)
    for wrong, words in (
        (q[:3], r"q has shape \(3,\)"),
        (-q, "q has entries from -"),
        (q + 2 * np.where(np.arange(17) < 2, [1, -1] + [0] * 15, 0), "q has entries from -1"),
        (2 * q, "sums of groups from 2"),
        (q * np.nan, "q has entries from nan"),
    ):
        with pytest.raises(ValueError, match=words):
            free_energy(wrong, model)
    with pytest.raises(ValueError, match=r"q has shape \(2, 17\); allowed: \(17,\)"):
        susceptibility(np.tile(q, (2, 1)), model)
    with pytest.raises(ValueError, match=r"lambda_max = 2\.1\d*; allowed for a bound: below 2"):
        error_bound(np.full(4, 0.5), strong)
    with pytest.raises(ValueError, match=r"lambda_max = 2\.1\d*: several solutions are possible"):
        log_partition_bound(strong)
    with pytest.raises(ValueError, match="log_z = nan is out of range"):
        kl_gap(model, float("nan"))
    for call, words in (
        (lambda: asymptotic_rate(q, model, "newton"), "method = 'newton' is unknown; allowed: 'softmax_pr', "),
        (lambda: asymptotic_rate(q, model, "mirror", -1.0), "step = -1.0 is out of range"),
        (lambda: asymptotic_rate(q, model, "softmax_pr", None, 1.5), "relaxation = 1.5 is out of range"),
        (lambda: asymptotic_rate(2 * q, model, "mirror"), "sums of groups from 2"),
        (lambda: start_bound(q, q[:3], model, "mirror"), r"start has shape \(3,\); allowed: \(17,\)"),
        (lambda: start_bound(q, np.eye(2)[0], small, "mirror"), "q has shape"),
        (lambda: start_bound(np.eye(2)[0], np.eye(2)[0], small, "mirror"), "q and start have entries from 0.0"),
        (lambda: start_bound(q, q, model, "newton"), "method = 'newton' is unknown"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
