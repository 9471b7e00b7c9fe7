"""Mean field of monotone deep Boltzmann machines: 784 + 400 + 100 binary units, batch of 128, 40 % of 784 observed."""

import functools

import numpy as np
import pytest

from benchmarks import timing
from benchmarks.conftest import Measure
from hebbian.fixed_point import MeanFieldSolution, solve_adjoint, solve_mean_field
from hebbian.potts import GroupLayout, monotone_coupling
from hebbian.prepared_coupling import PreparedCoupling

full = pytest.mark.full
LAYOUT = GroupLayout([(784, 2), (400, 2), (100, 2)])
BATCH = 128
PRECISIONS = ["float32", pytest.param("float64", marks=full)]
# True error of every probability that is asked for; rounding leaves about 1.5e-6 in single precision.
ERROR = {"float32": 3e-6, "float64": 1e-6}
# Most products with the coupling or its inverse, and most times of a bare product for each of them.
PRODUCTS, RATIO = 14, 1.5
METHODS = [
    ("softmax_pr", None),
    ("mirror", "anderson"),
    ("mirror", None),
    pytest.param(("softmax_pr", "anderson"), marks=full, id="softmax_pr, anderson"),
    pytest.param(("forward_backward", None), marks=full, id="forward_backward"),
    pytest.param(("peaceman_rachford", None), marks=full, id="peaceman_rachford"),
    pytest.param(("newton", None), marks=full, id="newton"),
]


@functools.cache
def network(kind: str) -> tuple[PreparedCoupling, dict]:
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(600, LAYOUT.size)) * LAYOUT.tier_mask([200, 200, 200])
    observed = np.zeros((BATCH, LAYOUT.n_groups), bool)
    observed[:, :784] = rng.random((BATCH, 784)) < 0.4
    values = LAYOUT.one_hot(rng.integers(0, 2, (BATCH, LAYOUT.n_groups)))
    bias = 0.5 * rng.normal(size=(BATCH, LAYOUT.size))
    coupling = PreparedCoupling(monotone_coupling(factor, LAYOUT).astype(kind), LAYOUT)
    return coupling, {"bias": bias.astype(kind), "clamp": (observed, values.astype(kind))}


def solve(kind: str, **options: object) -> MeanFieldSolution:
    coupling, arguments = network(kind)
    return solve_mean_field(coupling, layout=LAYOUT, **arguments, **options)


@functools.cache
def exact() -> np.ndarray:
    return solve("float64", tol=1e-11).q


@functools.cache
def product(kind: str) -> float:
    """Return the seconds of one bare product of the batch with a matrix."""
    coupling, _ = network(kind)
    matrix, batch = coupling.inverse(2.0, 0.5), np.ones((BATCH, LAYOUT.n_groups), kind)
    return timing.best(lambda: batch @ matrix, 30)


def tolerance(kind: str, method: str, accelerate: str | None) -> float:
    """Return the loosest tolerance, in steps of a root of ten, that leaves no more than the true error."""
    for tol in 10.0 ** np.arange(-2, -9, -0.5):
        q = solve(kind, method=method, accelerate=accelerate, tol=float(tol)).q
        if np.abs(q - exact()).max() <= ERROR[kind]:
            return float(tol)
    raise RuntimeError(f"{method} in {kind} does not come within {ERROR[kind]}")


def heading(kind: str) -> str:
    return f"mean field, 784 + 400 + 100 binary units, batch of {BATCH}, {kind}"


@pytest.mark.parametrize("kind", PRECISIONS)
@pytest.mark.parametrize("choice", METHODS, ids=str)
def bench_solution(measure: Measure, kind: str, choice: tuple[str, str | None]) -> None:
    method, accelerate = choice
    tol = tolerance(kind, method, accelerate)
    run = functools.partial(solve, kind, method=method, accelerate=accelerate, tol=tol)
    solution = run()
    error = np.abs(solution.q - exact()).max()
    wanted = f" of at most {PRODUCTS}" if method == "softmax_pr" else ""
    note = f"{solution.products} products{wanted}; error {error:.1e}, distance at most {solution.error_bound.max():.1e}"
    name = method if accelerate is None else f"{method}, {accelerate}"
    facts = {"aim": (RATIO * product(kind), f"{RATIO} bare products")} if choice == ("softmax_pr", None) else {}
    limit = ("bare product", product(kind))
    measure(heading(kind), name, run, solution.products, "product", limit=limit, note=note, **facts)


@pytest.mark.parametrize("kind", PRECISIONS)
def bench_inverse(measure: Measure, kind: str) -> None:
    coupling, _ = network(kind)

    def run() -> None:
        coupling._inverses.clear()
        coupling.inverse(2.0, 0.5)

    measure(heading(kind), "inverse for softmax_pr", run, 1, "inverse")


@pytest.mark.parametrize("kind", PRECISIONS)
def bench_adjoint(measure: Measure, kind: str) -> None:
    coupling, arguments = network(kind)
    q = solve(kind, tol=1e-4).q
    grad = np.random.default_rng(1).normal(size=q.shape).astype(kind)
    run = functools.partial(solve_adjoint, coupling, q, grad, LAYOUT, clamp=arguments["clamp"], tol=1e-4)
    measure(heading(kind), "adjoint to 1e-4", run, 1, "batch")
