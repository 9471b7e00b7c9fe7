import numpy as np
import pytest

from hebbian.fixed_point import solve_mean_field
from hebbian.iterations import Problem, accelerated, iteration
from hebbian.prepared_coupling import PreparedCoupling
from tests.hebbian.test_fixed_point import frustrated, mixed_model, starts


def solution(model):
    return solve_mean_field(model.coupling, model.bias, model.layout, tol=1e-13).q


def problem_of(model, samples=1):
    prepared = PreparedCoupling(model.coupling, model.layout)
    return Problem(prepared, prepared.field(np.tile(model.bias, (samples, 1))), None, None)


@pytest.mark.parametrize("method", ["softmax_pr", "peaceman_rachford"])
def test_bounds_that_cost_no_product_hold_for_the_gradient(method):
    model = mixed_model(2)
    problem = problem_of(model, 50)
    prepared = problem.prepared
    solver = iteration(method, problem, None, 1.7 if method == "softmax_pr" else 0.4, 1.0)
    state = solver.start(prepared.coordinates.reduce(np.log(starts(model.layout, 50))))
    expected, ratios = solution(model), []
    for _ in range(12):
        after, estimate = solver.advance(state)
        q = problem.probabilities(problem.certificate(solver.log_q(state))[0])
        error = np.linalg.norm(q - expected, axis=-1)
        assert (error * (2 - prepared.lambda_max) <= estimate + 1e-12).all()
        ratios.append((estimate / (2 - prepared.lambda_max) / error).min())
        state = after
    assert min(ratios) < 10


@pytest.mark.parametrize("seed", range(3))
def test_acceleration_solves_linear_equations_in_as_many_steps_as_they_have_unknowns(seed):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(4, 4))
    matrix *= 0.9 / np.abs(np.linalg.eigvals(matrix)).max()
    shifts = rng.normal(size=(7, 4))
    step = accelerated(lambda x: (x @ matrix.T + shifts, None))
    x = np.zeros((7, 4))
    for _ in range(7):
        x, _ = step(x)
    np.testing.assert_allclose(x, np.linalg.solve(np.eye(4) - matrix, shifts.T).T, atol=1e-6)


def test_a_sample_whose_residual_grows_takes_a_plain_step():
    residuals = iter([[1.0, 1.0], [0.5, 0.5], [0.25, 5.0]])
    images = []

    def advance(state):
        images.append(state + np.array(next(residuals))[:, None] * np.array([1.0, -1.0, 0.5]))
        return images[-1], None

    step, x = accelerated(advance), np.zeros((2, 3))
    for _ in range(3):
        x, _ = step(x)
    np.testing.assert_array_equal(x[1], images[-1][1])
    assert np.abs(x[0] - images[-1][0]).max() > 0.1


@pytest.mark.parametrize("model", [mixed_model(4), frustrated()], ids=["mixed", "frustrated"])
def test_newton_lets_the_free_energy_fall_from_far_away(model):
    problem = problem_of(model, 30)
    newton = iteration("newton", problem, None, None, 1.0)
    theta = problem.coordinates.reduce(50 * np.random.default_rng(0).normal(size=(30, model.layout.size)))
    energies = []
    for _ in range(60):
        q = problem.softmax(theta)
        energies.append(problem.free_energy(theta, q, problem.local_field(q)))
        theta, gradient = newton.advance(theta)
    assert np.diff(energies, axis=0).max() < 1e-10
    assert gradient.max() < 1e-10
    q = problem.probabilities(problem.certificate(theta)[0])
    np.testing.assert_allclose(q, np.tile(solution(model), (30, 1)), atol=1e-10)
