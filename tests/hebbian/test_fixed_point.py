import itertools
import warnings

import numpy as np
import pytest
from scipy.special import softmax

from hebbian.fixed_point import MeanFieldSolution, solve_adjoint, solve_mean_field
from hebbian.potts import GroupLayout, PairwiseModel, coupling_bounds, monotone_coupling
from hebbian.prepared_coupling import PreparedCoupling
from hebbian.splitting import METHODS, contraction_factor
from tests.hebbian.test_potts import LAYOUT, Products, random_model, random_states, reference

PLAIN = [(method, None) for method in METHODS]
METHODS_AND_ACCELERATION = [
    *PLAIN,
    *((method, "anderson") for method in ("softmax_pr", "mirror", "parallel", "peaceman_rachford", "douglas_rachford")),
]


def solve(model, **options):
    return solve_mean_field(model.coupling, model.bias, model.layout, **options)


def group_means(u, layout):
    """Softmax of groups by SciPy, one after the other."""
    parts = [u[..., a:b] for a, b in itertools.pairwise(layout.offsets)]
    return np.concatenate([softmax(part, axis=-1) for part in parts], axis=-1)


def mixed_model(seed=0, margin=0.1):
    """Groups of one, two, three and four categories, with a monotone coupling that has both ends of its range."""
    layout = GroupLayout([(4, 2), (3, 4), (2, 1), (3, 3)])
    rng = np.random.default_rng(seed)
    coupling = monotone_coupling(rng.normal(size=(9, layout.size)), layout, margin)
    return PairwiseModel(coupling, rng.normal(size=layout.size), layout)


def frustrated():
    """Twenty groups that all repel each other in the same direction: lambda from -18.05 to .95."""
    layout = GroupLayout([(20, 3)])
    coupling = -0.95 * np.kron(np.ones((20, 20)) - np.eye(20), np.eye(3))
    return PairwiseModel(coupling, 0.1 * np.cos(np.arange(60)), layout)


def ferromagnet(c, G=20):
    coupling = c / (G - 1) * np.kron(np.ones((G, G)) - np.eye(G), np.eye(2))
    return PairwiseModel(coupling, np.zeros(2 * G), GroupLayout([(G, 2)]))


def starts(layout, n, seed=0):
    rng = np.random.default_rng(seed)
    return group_means(rng.normal(size=(n, layout.size)) * rng.uniform(0, 10, (n, 1)), layout)


@pytest.mark.parametrize(("method", "accelerate"), METHODS_AND_ACCELERATION)
def test_every_method_finds_the_solution_of_the_reference_model(method, accelerate):
    model = reference()[1]
    solution = solve(model, method=method, accelerate=accelerate, tol=1e-12)
    expected = (0.488684542324, 0.320502260756, 0.190813196920)
    np.testing.assert_allclose(solution.q[:3], expected, atol=1e-11)
    assert solution.converged
    assert solution.error_bound <= 1e-12
    assert solution.residual < 1e-12
    np.testing.assert_allclose(np.exp(solution.log_q), solution.q, rtol=1e-13)
    assert solution.monotonicity == pytest.approx(2 - 0.8461, abs=0.05)


@pytest.mark.parametrize(("method", "accelerate"), METHODS_AND_ACCELERATION)
def test_random_starts_agree(method, accelerate):
    model = mixed_model()
    bias = np.tile(model.bias, (100, 1))
    solution = solve_mean_field(
        model.coupling, bias, model.layout, method=method, accelerate=accelerate, tol=1e-12,
        init=starts(model.layout, 100), max_iter=5000,
    )  # fmt: skip
    expected = solve(model, tol=1e-13).q
    np.testing.assert_allclose(solution.q, np.tile(expected, (100, 1)), atol=1e-11)
    assert solution.residual.max() < 1e-12
    fields = solution.q @ model.coupling + model.bias
    np.testing.assert_allclose(group_means(fields, model.layout), solution.q, atol=1e-12)


@pytest.mark.parametrize("method", ["coordinate", "mirror"])
def test_the_ferromagnet_has_one_solution_below_two_and_two_above(method):
    for c, spread in ((1.9, 1e-8), (2.1, 0.3)):
        model = ferromagnet(c)
        assert coupling_bounds(model.coupling, model.layout)[1] == pytest.approx(c)
        bias = np.zeros((100, 40))
        solution = solve_mean_field(
            model.coupling, bias, model.layout, method=method, tol=1e-9, init=starts(model.layout, 100), max_iter=5000
        )
        found = np.ptp(solution.q, axis=0).max()
        assert found < spread if c < 2 else found > spread
        assert np.isinf(solution.error_bound).all() == (c > 2)


def test_undamped_iteration_of_the_frustrated_model_ends_in_a_cycle():
    model = frustrated()
    np.testing.assert_allclose(coupling_bounds(model.coupling, model.layout), (-18.05, 0.95), atol=1e-12)
    with pytest.warns(RuntimeWarning, match="'parallel' did not converge in 400 steps"):
        solution = solve(model, method="parallel", max_iter=400, record=True)
    assert not solution.converged
    last = [q[0] for q in solution.history.q[-3:]]
    assert np.abs(last[2] - last[1]).max() > 0.9
    np.testing.assert_allclose(last[2], last[0], atol=1e-12)


def test_forward_backward_converges_up_to_its_largest_step_and_not_beyond():
    model = frustrated()
    expected = solve(model, tol=1e-13).q
    assert np.abs(solve(model, method="forward_backward", tol=1e-13).q - expected).max() < 1e-12
    largest = 2 / 18.05
    solution = solve(model, method="forward_backward", step=0.98 * largest, tol=1e-10, max_iter=5000)
    assert np.abs(solution.q - expected).max() < 1e-10
    with pytest.warns(RuntimeWarning, match="'forward_backward' did not converge"):
        solution = solve(model, method="forward_backward", step=1.1 * largest, max_iter=3000)
    assert np.abs(solution.q - expected).max() > 0.1


STEPS = [
    *(("forward_backward", {"step": a}) for a in (0.02, 0.05, 0.0997, 0.1, 0.105)),
    *(("softmax_pr", {"rho": rho, "relaxation": kappa}) for rho, kappa in ((1.0, 1.0), (1.5, 0.7), (2.0, 1.0))),
    *(("peaceman_rachford", {"step": a, "relaxation": kappa}) for a, kappa in ((0.3, 1.0), (1.03, 0.5), (3.0, 1.0))),
    *(("douglas_rachford", {"step": a}) for a in (0.3, 1.03, 3.0)),
    *(("mirror", {"step": t}) for t in (0.02, 0.0997)),
]


@pytest.mark.parametrize(("method", "options"), STEPS)
@pytest.mark.parametrize("make", [frustrated, mixed_model])
def test_no_step_contracts_less_than_its_bound(make, method, options):
    model = make()
    low, high = coupling_bounds(model.coupling, model.layout)
    step = options.get("step", options.get("rho"))
    bound = contraction_factor(method, low, high, step, options.get("relaxation", 1.0))
    bias = np.tile(model.bias, (20, 1))
    with warnings.catch_warnings(action="ignore"):
        solution = solve_mean_field(
            model.coupling, bias, model.layout, method=method, init=starts(model.layout, 20), max_iter=4, tol=1e-14,
            record=True, **options,
        )  # fmt: skip
    assert solution.rate == pytest.approx(bound, rel=1e-12)
    worst = 0.0
    for before, after in itertools.pairwise(solution.history.states[:4]):
        # Any two of the batch are two states of one iteration.
        apart = np.linalg.norm(before[:, None] - before, axis=-1) + np.eye(20)
        closer = np.linalg.norm(after[:, None] - after, axis=-1)
        worst = max(worst, (closer / apart)[apart > 1e-6].max())
    assert worst <= bound * (1 + 1e-9)


@pytest.mark.parametrize("method", ["forward_backward", "softmax_pr"])
def test_bounds_are_reached_by_groups_of_two_likely_categories(method):
    model = frustrated()
    suppressed = np.where(np.arange(60) % 3 == 2, -40.0, 0.0)
    # Near the uniform state of the two the frustrated directions, of both signs, are eigenvectors of a step.
    near = np.random.default_rng(0).normal(size=(20, 60)) * 1e-3 + suppressed
    solution = solve_mean_field(
        model.coupling, np.tile(suppressed, (20, 1)), model.layout, method=method, init=group_means(near, model.layout),
        max_iter=4000, record=True, tol=1e-12,
    )  # fmt: skip
    before, after = solution.history.states[10:12]
    factors = np.linalg.norm(after - solution.history.states[-1], axis=-1)
    factors /= np.linalg.norm(before - solution.history.states[-1], axis=-1)
    assert factors.max() <= solution.rate * (1 + 1e-6)
    assert factors.max() > 0.97 * solution.rate


@pytest.mark.parametrize("method", ["mirror", "forward_backward", "coordinate"])
def test_free_energy_never_rises_whatever_the_coupling(method):
    rises = []
    for seed in range(10):
        model = random_model(seed, scale=2.0)
        low, high = coupling_bounds(model.coupling, model.layout)
        assert high > 2
        step = 1 / (1 - low) if method == "forward_backward" else None
        for name in (method, "parallel"):
            with warnings.catch_warnings(action="ignore"):
                solution = solve_mean_field(
                    model.coupling, np.tile(model.bias, (5, 1)), LAYOUT, method=name, max_iter=60,
                    step=step if name == method else None, init=starts(LAYOUT, 5, seed), record=True,
                )  # fmt: skip
            q = np.maximum(np.array(solution.history.q), 1e-300)
            F = (q * np.log(q)).sum(-1) + np.array([-model.log_weight(one) for one in q])
            if name == method:
                assert np.diff(F, axis=0).max() < 1e-12
            else:
                rises.append(np.diff(F, axis=0).max())
    assert max(rises) > 1


@pytest.mark.parametrize(("factor", "converges"), [(1.0, True), (1.96, True), (2.04, False)])
def test_mirror_converges_up_to_twice_its_step_and_not_beyond(factor, converges):
    model = frustrated()
    suppressed = np.where(np.arange(60) % 3 == 2, -40.0, 0.0)
    near = group_means(np.random.default_rng(0).normal(size=(5, 60)) * 1e-3 + suppressed, model.layout)
    with warnings.catch_warnings(action="ignore"):
        solution = solve_mean_field(
            model.coupling, np.tile(suppressed, (5, 1)), model.layout, method="mirror", step=factor / 10.025, init=near,
            max_iter=3000,
        )  # fmt: skip
    assert solution.converged == converges
    if factor == 1:
        default = solve_mean_field(model.coupling, suppressed, model.layout, method="mirror", init=near[0])
        assert (
            default.products
            == solve_mean_field(
                model.coupling, suppressed, model.layout, method="mirror", init=near[0], step=1 / 10.025
            ).products
        )


@pytest.mark.parametrize(("method", "accelerate"), METHODS_AND_ACCELERATION)
def test_certificate_holds_at_every_iterate(method, accelerate):
    model = mixed_model(1)
    expected = solve(model, tol=1e-13).q
    solution = solve(
        model, method=method, accelerate=accelerate, tol=1e-11, record=True, init=starts(model.layout, 1)[0]
    )
    assert len(solution.history.q) == solution.iterations + 1
    tightest = np.inf
    for q, bound in zip(solution.history.q, solution.history.error_bound, strict=True):
        error = np.linalg.norm(q[0] - expected)
        assert error <= bound[0] + 1e-12
        if error > 1e-6:
            tightest = min(tightest, bound[0] / error)
    assert tightest < 20
    assert solution.error_bound == solution.history.error_bound[-1]


@pytest.mark.parametrize(("method", "accelerate"), METHODS_AND_ACCELERATION)
def test_clamping_is_the_model_of_the_hidden_groups(method, accelerate):
    model = mixed_model(3)
    layout, rng = model.layout, np.random.default_rng(4)
    mask = rng.random((4, layout.n_groups)) < 0.5
    mask[0], mask[1] = False, True
    values = layout.one_hot(random_states(rng, layout, 4))
    solution = solve_mean_field(
        model.coupling, np.tile(model.bias, (4, 1)), layout, method=method, accelerate=accelerate, clamp=(mask, values),
        tol=1e-13, max_iter=5000,
    )  # fmt: skip
    for sample, (observed, x, q) in enumerate(zip(mask, values, solution.q, strict=True)):
        o = observed[layout.groups]
        np.testing.assert_array_equal(q[o], x[o])
        if o.all():
            continue
        part = PairwiseModel(
            model.coupling[~o][:, ~o], model.bias[~o] + model.coupling[~o][:, o] @ x[o],
            GroupLayout([(1, k) for k in layout.categories[~observed]]),
        )  # fmt: skip
        np.testing.assert_allclose(q[~o], solve(part, tol=1e-13).q, atol=1e-12, err_msg=str(sample))


def test_gauge_leaves_the_solution():
    for model in (reference()[1], mixed_model(5)):
        for method in ("softmax_pr", "coordinate", "forward_backward"):
            q = solve(model, method=method, tol=1e-14).q
            np.testing.assert_allclose(solve(model.zero_sum_gauge(), method=method, tol=1e-14).q, q, atol=1e-13)


def test_operators_are_solved_as_matrices_are():
    model = mixed_model(6)
    expected = solve(model, tol=1e-12)
    products = Products(model.coupling)
    solution = solve_mean_field(products, model.bias, model.layout, tol=1e-12)
    assert solution.products < solve(model, method="mirror", tol=1e-12).products
    np.testing.assert_allclose(solution.q, expected.q, atol=1e-11)
    for method in ("forward_backward", "newton", "damped"):
        np.testing.assert_allclose(
            solve_mean_field(products, model.bias, model.layout, method=method).q, expected.q, atol=1e-8
        )
    v = solve_adjoint(products, expected.q, np.cos(np.arange(expected.q.size)), model.layout)
    w = solve_adjoint(model.coupling, expected.q, np.cos(np.arange(expected.q.size)), model.layout)
    np.testing.assert_allclose(v, w, atol=1e-10)


def test_warm_starts_and_prepared_couplings():
    model = mixed_model(7)
    prepared = PreparedCoupling(model.coupling, model.layout)
    first = solve_mean_field(prepared, model.bias, model.layout)
    np.testing.assert_array_equal(first.q, solve(model).q)
    for init in (first, first.q):
        again = solve_mean_field(prepared, model.bias, model.layout, init=init)
        assert again.iterations <= 2 < first.iterations
    known = PreparedCoupling(model.coupling, model.layout, bounds=(-30.0, 0.9))
    loose = solve_mean_field(known, model.bias, model.layout)
    np.testing.assert_allclose(loose.q, first.q, atol=1e-8)
    assert loose.monotonicity == 1.1


def test_fields_that_underflow_have_logarithms():
    model = mixed_model(8)
    bias = model.bias + 2000.0 * (np.arange(model.layout.size) == 9)
    solution = solve_mean_field(model.coupling, bias, model.layout)
    assert solution.converged
    assert solution.q[9] == 1.0
    assert -2100 < solution.log_q[8] < -1900
    v = solve_adjoint(model.coupling, solution.q, np.ones(model.layout.size), model.layout)
    np.testing.assert_allclose(v[8:12], 0, atol=1e-14)


@pytest.mark.parametrize("binary", [True, False])
def test_single_precision(binary):
    layout = GroupLayout([(60, 2)]) if binary else GroupLayout([(20, 2), (20, 3)])
    rng = np.random.default_rng(9)
    coupling = monotone_coupling(rng.normal(size=(30, layout.size)), layout)
    bias = rng.normal(size=(8, layout.size))
    expected = solve_mean_field(coupling, bias, layout, tol=1e-12).q
    # Undamped iteration has a cycle here.
    for method in set(METHODS) - {"parallel"}:
        solution = solve_mean_field(coupling.astype(np.float32), bias.astype(np.float32), layout, method=method)
        assert solution.q.dtype == solution.log_q.dtype == np.float32
        assert np.abs(solution.q - expected).max() < 2e-5


def test_adjoint_is_the_response_to_the_bias():
    model = mixed_model(10)
    layout, rng = model.layout, np.random.default_rng(11)
    mask = rng.random((3, layout.n_groups)) < 0.4
    values = layout.one_hot(random_states(rng, layout, 3))
    bias, g = rng.normal(size=(3, layout.size)), rng.normal(size=(3, layout.size))

    def loss(bias):
        return (solve_mean_field(model.coupling, bias, layout, clamp=(mask, values), tol=1e-13).q * g).sum(-1)

    q = solve_mean_field(model.coupling, bias, layout, clamp=(mask, values), tol=1e-13).q
    v = solve_adjoint(model.coupling, q, g, layout, clamp=(mask, values), tol=1e-13)
    for _ in range(3):
        direction = rng.normal(size=bias.shape)
        difference = (loss(bias + 1e-5 * direction) - loss(bias - 1e-5 * direction)) / 2e-5
        np.testing.assert_allclose((v * direction).sum(-1), difference, rtol=1e-7, atol=1e-9)
    np.testing.assert_array_equal(v[mask[:, layout.groups]], 0)
    # The gradient with respect to the coupling is the symmetric part of v q^T.
    change = random_model(12, layout, 1e-6).coupling
    moved = [
        (solve_mean_field(model.coupling + s * change, bias, layout, clamp=(mask, values), tol=1e-13).q * g).sum()
        for s in (1, -1)
    ]
    expected = (np.einsum("bi,bj->ij", v, q) * change).sum()
    assert (moved[0] - moved[1]) / 2 == pytest.approx(expected, rel=1e-6)


def test_susceptibility_of_the_reference_model():
    model = reference()[1]
    q = solve(model, tol=1e-13).q
    chi = solve_adjoint(model.coupling, np.tile(q, (18, 1)), np.eye(18), model.layout, tol=1e-13)
    np.testing.assert_allclose(chi, chi.T, atol=1e-12)
    assert chi[0, 3] == pytest.approx(-0.0070215412763, abs=1e-11)


def test_tensors_are_solved_as_arrays_are():
    torch = pytest.importorskip("torch")
    model = mixed_model(13)
    layout = model.layout
    mask = np.arange(layout.n_groups) % 3 == 0
    values = layout.one_hot(np.zeros(layout.n_groups, int))
    for accelerate, method in (
        (None, "softmax_pr"),
        (None, "forward_backward"),
        ("anderson", "mirror"),
        (None, "newton"),
    ):
        options = {"method": method, "accelerate": accelerate, "tol": 1e-12}
        expected = solve_mean_field(model.coupling, model.bias, layout, clamp=(mask, values), **options).q
        found = solve_mean_field(
            torch.as_tensor(model.coupling), torch.as_tensor(model.bias), layout,
            clamp=(torch.as_tensor(mask), torch.as_tensor(values)), **options,
        )  # fmt: skip
        np.testing.assert_allclose(found.q.numpy(), expected, atol=1e-11)
    g = np.cos(np.arange(layout.size))
    v = solve_adjoint(torch.as_tensor(model.coupling), found.q, torch.as_tensor(g), layout)
    np.testing.assert_allclose(v.numpy(), solve_adjoint(model.coupling, expected, g, layout), atol=1e-8)


def test_bad_input_is_refused():
    model = mixed_model()
    layout, N, G = model.layout, model.layout.size, model.layout.n_groups
    one_hot = layout.one_hot(np.zeros(G, int))
    half = np.concatenate([one_hot[:8], [0.5, 0.5, 0.5, -0.5], one_hot[12:]])
    strong = ferromagnet(2.1)
    observed = np.ones(G, bool)
    cases = [
        ({"method": "sor"}, "method = 'sor' is unknown"),
        ({"accelerate": "chebyshev"}, "accelerate = 'chebyshev' is unknown"),
        ({"method": "damped", "accelerate": "anderson"}, "accelerate = 'anderson' is not defined for 'damped'"),
        ({"rho": 0.9}, r"rho = 0.9 is out of range; allowed: finite numbers in \[1.0, 2.0\]"),
        ({"rho": 2.1}, "rho = 2.1 is out of range"),
        ({"step": 1.0}, "step = 1.0; 'softmax_pr' has rho instead"),
        ({"method": "forward_backward", "step": -1.0}, "step = -1.0 is out of range"),
        ({"method": "mirror", "step": 1.5}, "step = 1.5 is out of range"),
        ({"method": "newton", "step": 1.0}, "step = 1.0; allowed for 'newton': None"),
        ({"relaxation": 0.0}, "relaxation = 0.0 is out of range"),
        ({"tol": 0.0}, "tol = 0.0 is out of range"),
        ({"max_iter": 0}, "max_iter = 0 is out of range"),
        ({"bias": np.zeros(3)}, rf"bias has shape \(3,\); allowed: \({N},\) or \(B, {N}\)"),
        ({"bias": np.full(N, np.nan)}, "bias has an entry that is infinite or not a number"),
        ({"coupling": model.coupling + np.nan}, "coupling has an entry nan"),
        ({"coupling": model.coupling[:3]}, "coupling has shape"),
        (
            {"coupling": Products(model.coupling), "method": "coordinate"},
            "'coordinate' needs the matrix of the coupling",
        ),
        ({"init": np.zeros(3)}, r"init has shape \(3,\)"),
        ({"init": -np.ones(N)}, "init has a negative entry"),
        ({"init": np.ones((3, N))}, "init has shape"),
        ({"clamp": (np.ones(3, bool), one_hot)}, rf"mask of clamp has shape \(3,\); allowed: \({G},\)"),
        ({"clamp": (observed, np.zeros(3))}, r"values of clamp has shape \(3,\)"),
        ({"clamp": (observed, np.zeros(N))}, r"values of clamp are \[0.0, 0.0\] in group 0 of 0; allowed: one-hot"),
        ({"clamp": (observed, 2 * one_hot)}, "values of clamp are"),
        ({"clamp": (observed, half)}, r"values of clamp are \[0.5, 0.5, 0.5, -0.5\] in group 4 of 0; allowed: one-hot"),
        ({"clamp": (np.ones((2, G), bool), np.tile(one_hot, (3, 1)))}, "clamp has batches of 2 and 3"),
    ]
    for options, words in cases:
        arguments = {"coupling": model.coupling, "bias": model.bias, "layout": layout} | options
        with pytest.raises(ValueError, match=words):
            solve_mean_field(**arguments)
    with pytest.raises(TypeError, match="mask of clamp has dtype int64; allowed: bool"):
        solve(model, clamp=(np.ones(G, int), one_hot))
    for method in ("auto", "softmax_pr", "peaceman_rachford", "newton", "forward_backward"):
        with pytest.raises(ValueError, match=r"lambda_max = 2\.[01]\d*.*use 'coordinate'"):
            solve(strong, method=method)
    with pytest.raises(ValueError, match=r"lambda_max = 1\.[45]\d*.*below 1 \(use 'softmax_pr'\)"):
        solve(ferromagnet(1.5), method="peaceman_rachford")
    with pytest.raises(ValueError, match=r"lambda_max = 2\.[01]\d*.*allowed for the adjoint: below 2"):
        solve_adjoint(strong.coupling, np.full(40, 0.5), np.ones(40), strong.layout)
    with pytest.raises(ValueError, match="is not that of the prepared coupling"):
        solve_mean_field(PreparedCoupling(model.coupling, layout), model.bias, LAYOUT)
    # Values that nobody reads may be anything finite.
    assert isinstance(solve(model, clamp=(~observed, np.zeros(N))), MeanFieldSolution)


def test_lists_and_integers_are_taken_as_numbers():
    model = ferromagnet(1.5, G=3)
    solution = solve_mean_field(
        model.coupling.tolist(), [1, 0, 0, 0, 0, 0], model.layout, clamp=([False, True, False], [0, 0, 0, 1, 0, 0])
    )
    expected = solve_mean_field(
        model.coupling, np.eye(6)[0], model.layout, clamp=(np.arange(3) == 1, np.eye(6)[3])
    )  # fmt: skip
    np.testing.assert_array_equal(solution.q, expected.q)
    assert solution.q[3] == 1
    assert solution.q[5] > 0.5 > solution.q[4]


def test_groups_of_one_category_have_one_state():
    layout = GroupLayout([(3, 1)])
    coupling = np.ones((3, 3)) - np.eye(3)
    for method in ("softmax_pr", "mirror", "coordinate", "forward_backward"):
        solution = solve_mean_field(coupling, np.zeros((2, 3)), layout, method=method)
        np.testing.assert_array_equal(solution.q, np.ones((2, 3)))
        assert solution.converged


def test_what_does_not_converge_says_so():
    model = mixed_model()
    with pytest.warns(RuntimeWarning, match=r"'mirror' did not converge in 2 steps: gradient .*; allowed"):
        assert not solve(model, method="mirror", max_iter=2).converged
    q = solve(model).q
    with pytest.warns(RuntimeWarning, match="the adjoint of mean field did not converge to 1e-10 in 1 steps"):
        solve_adjoint(model.coupling, q, np.ones(q.size) * np.arange(q.size), model.layout, max_iter=1)


@pytest.mark.parametrize("method", ["mirror", "parallel"])
def test_acceleration_in_single_precision_takes_parallel_differences(method):
    # All groups alike: the states of an iteration differ along one line.
    model = ferromagnet(1.5)
    bias = np.tile(np.array([0.3, 0], dtype=np.float32), 20)
    for coupling in (model.coupling, 2 * model.coupling):
        solution = solve_mean_field(
            coupling.astype(np.float32), bias, model.layout, method=method, accelerate="anderson", tol=1e-5
        )
        assert solution.gradient[0] < 1e-5
