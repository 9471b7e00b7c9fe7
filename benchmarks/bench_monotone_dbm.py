"""Mean field of monotone deep Boltzmann machines: 784 + 400 + 100 binary units, batch of 128, 40 % of 784 observed."""

import functools

import numpy as np
import pytest

from benchmarks import mean_field_peer, timing
from benchmarks.conftest import Measure
from hebbian.fixed_point import MeanFieldSolution, solve_adjoint, solve_mean_field
from hebbian.potts import GroupLayout, monotone_coupling
from hebbian.prepared_coupling import PreparedCoupling

full = pytest.mark.full
LAYOUT, RANKS, MARGIN = GroupLayout([(784, 2), (400, 2), (100, 2)]), [200, 200, 200], 0.1
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
# Of the authors' program: step, tolerance, most steps and acceleration. Its own; the most exact with acceleration, and
# without; the most exact with its own step.
PEERS = {
    "defaults": (0.125, 1e-2, 50, True),
    "Anderson, a = 0.5": (0.5, 1e-6, 100, True),
    "a = 0.25": (0.25, 1e-7, 100, False),
    "a = 0.125": (0.125, 1e-7, 200, False),
}
# How much faster than they ours is to be, at the same true error or a smaller one.
FASTER = 4.0


@functools.cache
def network(kind: str) -> tuple[PreparedCoupling, dict]:
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(sum(RANKS), LAYOUT.size)) * LAYOUT.tier_mask(RANKS)
    observed = np.zeros((BATCH, LAYOUT.n_groups), bool)
    observed[:, :784] = rng.random((BATCH, 784)) < 0.4
    values = LAYOUT.one_hot(rng.integers(0, 2, (BATCH, LAYOUT.n_groups)))
    bias = np.tile(0.5 * rng.normal(size=LAYOUT.size), (BATCH, 1))
    coupling = PreparedCoupling(monotone_coupling(factor, LAYOUT, MARGIN).astype(kind), LAYOUT)
    return coupling, {"bias": bias.astype(kind), "clamp": (observed, values.astype(kind))}


def scaled_factor() -> np.ndarray:
    """Return the factor of the coupling, with the columns of each group scaled."""
    factor = np.random.default_rng(0).normal(size=(sum(RANKS), LAYOUT.size)) * LAYOUT.tier_mask(RANKS)
    norms = np.linalg.norm(factor.reshape(len(factor), -1, 2).transpose(1, 0, 2), 2, axis=(1, 2))
    return factor * np.repeat(np.minimum(np.sqrt(1 - MARGIN) / norms, 1.0), 2)


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


def tolerance(kind: str, method: str, accelerate: str | None, error: float) -> float:
    """Return the loosest tolerance, in steps of a root of ten, that leaves no more than a true error."""
    for tol in 10.0 ** np.arange(1, -9, -0.5):
        q = solve(kind, method=method, accelerate=accelerate, tol=float(tol)).q
        if np.abs(q - exact()).max() <= error:
            return float(tol)
    raise RuntimeError(f"{method} in {kind} does not come within {error}")


def heading(kind: str) -> str:
    return f"mean field, 784 + 400 + 100 binary units, batch of {BATCH}, {kind}"


@pytest.mark.parametrize("kind", PRECISIONS)
@pytest.mark.parametrize("choice", METHODS, ids=str)
def bench_solution(measure: Measure, kind: str, choice: tuple[str, str | None]) -> None:
    method, accelerate = choice
    tol = tolerance(kind, method, accelerate, ERROR[kind])
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


@pytest.mark.parametrize("name", PEERS)
def bench_peer(measure: Measure, name: str) -> None:
    if reason := mean_field_peer.missing():
        pytest.skip(reason)
    row, _, run = peer(name)
    q, steps = run()
    measure(PEER_HEADING, row, run, 1, "batch", rounds=3, note=f"{steps} steps; error {peer_error(q):.1e}")


@pytest.mark.parametrize("name", PEERS)
def bench_against_peer(measure: Measure, name: str) -> None:
    if reason := mean_field_peer.missing():
        pytest.skip(reason)
    row, error, _ = peer(name)
    kind = "float32" if error >= ERROR["float32"] else "float64"
    tol = tolerance(kind, "softmax_pr", None, error)
    run = functools.partial(solve, kind, method="softmax_pr", tol=tol)
    solution = run()
    note = f"{solution.products} products; error {np.abs(solution.q - exact()).max():.1e}"
    measure(PEER_HEADING, f"softmax_pr, {kind}: {name}", run, 1, "batch", against=[(row, FASTER)], note=note)


@pytest.mark.parametrize("step", [0.125, None])
def bench_peer_algorithm(measure: Measure, step: float | None) -> None:
    """Time its algorithm in our program, with an exact proximal step."""
    run = functools.partial(solve, "float64", method="forward_backward", step=step, tol=1e-6)
    solution = run()
    note = f"{solution.products} products; error {np.abs(solution.q - exact()).max():.1e}"
    measure(PEER_HEADING, f"forward_backward, float64, a = {step or 'best'}", run, 1, "batch", note=note)


PEER_HEADING = f"mean field, 784 + 400 + 100 binary units, batch of {BATCH}: the authors' program"


def peer_error(q: np.ndarray) -> float:
    """Return the largest error of free groups, which alone it gives."""
    observed = network("float64")[1]["clamp"][0]
    return float(np.abs(q - exact())[~observed[:, LAYOUT.groups]].max())


@functools.cache
def peer(name: str) -> tuple[str, float, functools.partial]:
    """Return the row of a setting of the authors' program, its true error, and what runs it."""
    step, tol, max_iter, accelerate = PEERS[name]
    arguments = network("float64")[1]
    run = mean_field_peer.solver(
        scaled_factor(), RANKS, arguments["bias"][0], LAYOUT, *arguments["clamp"],
        step=step, tol=tol, max_iter=max_iter, accelerate=accelerate,
    )  # fmt: skip
    return f"authors' forward-backward, float32: {name}", peer_error(run()[0]), functools.partial(run)
