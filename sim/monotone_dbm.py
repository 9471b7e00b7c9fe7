r"""What the iterations of mean field do: how much a step contracts, and how many fixed points starts find."""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hebbian import validation
from hebbian.fixed_point import solve_mean_field
from hebbian.potts import GroupLayout, PairwiseModel
from hebbian.splitting import CONTRACTING, METHODS
from sim import random
from sim.potts_clamp import check_model

# Distances below are too close to the rounding of states for their ratio to be one.
_RESOLVED = 1e-4


@dataclass(frozen=True)
class Contraction:
    """Factors by which steps of an iteration bring pairs of states nearer to each other.

    Parameters
    ----------
    factors : ndarray, shape (steps, pairs)
        Distance after over distance before each step; NaN where that before is below 1e-4.
    bound : float
        What no factor may exceed, by `hebbian.splitting.contraction_factor`.
    """

    factors: NDArray[np.float64]
    bound: float

    @property
    def worst(self) -> float:
        """Largest factor of a step."""
        return float(np.nanmax(self.factors))

    @property
    def mean(self) -> float:
        """Geometric mean of all factors."""
        return float(np.exp(np.nanmean(np.log(self.factors))))


@dataclass(frozen=True)
class FixedPoints:
    """Fixed points of mean field that starts ended at.

    Parameters
    ----------
    q : ndarray, shape (found, N)
        Probabilities of each, the most visited first.
    visits : ndarray of int, shape (found,)
        Starts that ended at each.
    unconverged : int
        Starts that ended at none.
    """

    q: NDArray[np.float64]
    visits: NDArray[np.int64]
    unconverged: int


def random_probabilities(layout: GroupLayout, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return vectors drawn evenly from the simplices of all groups, shape (count, N).

    Parameters
    ----------
    layout : GroupLayout
        Groups of the N entries.
    count : int
        Number of vectors, at least 1.
    rng : numpy.random.Generator
        Source of random numbers.
    """
    weights = validation.generator("rng", rng).exponential(
        size=(validation.integer("count", count, minimum=1), layout.size)
    )
    return weights / np.add.reduceat(weights, layout.offsets[:-1], axis=1)[:, layout.groups]


def measure_contraction(
    model: PairwiseModel,
    method: str,
    step: float | None = None,
    starts: int = 100,
    *,
    steps: int = 50,
    relaxation: float = 1.0,
    seed: int,
) -> Contraction:
    """Measure how an iteration of mean field contracts, on pairs of trajectories from random probabilities.

    Distances are Euclidean, of the state that the method iterates (`hebbian.fixed_point.MeanFieldHistory`).

    Parameters
    ----------
    model : PairwiseModel
        Model of N entries.
    method : str
        Method of `hebbian.fixed_point.solve_mean_field` with a bound on its contraction.
    step : float, optional
        Its step, of ``softmax_pr`` rho; the best by default.
    starts : int
        Trajectories, two for each pair, at least 2.
    steps : int
        Steps followed, at least 1; fewer if all have converged.
    relaxation : float
        kappa in (0, 1] of the Rachford methods.
    seed : int
        Seed of the starts.

    Returns
    -------
    Contraction

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or the method needs a unique solution that lambda_max >= 2 does not promise.
    """
    check_model(model)
    validation.choice("method", method, CONTRACTING)
    pairs = validation.integer("starts", starts, minimum=2) // 2
    begin = random_probabilities(model.layout, 2 * pairs, random.stream(seed, (0,), "initial"))
    of_method = {"rho": 2.0 if step is None else step} if method == "softmax_pr" else {"step": step}
    with warnings.catch_warnings():
        # Trajectories are followed, not solutions looked for.
        warnings.simplefilter("ignore", RuntimeWarning)
        solution = solve_mean_field(
            model.coupling,
            np.tile(model.bias, (2 * pairs, 1)),
            model.layout,
            method=method,
            init=begin,
            relaxation=relaxation,
            tol=1e-13,
            max_iter=validation.integer("steps", steps, minimum=1),
            record=True,
            **of_method,
        )
    assert solution.history is not None
    states = np.array(solution.history.states)
    distance = np.linalg.norm(states[:, ::2] - states[:, 1::2], axis=-1)
    resolved = distance[:-1] >= _RESOLVED
    return Contraction(np.where(resolved, distance[1:], np.nan) / np.where(resolved, distance[:-1], 1.0), solution.rate)


def find_fixed_points(
    model: PairwiseModel,
    starts: int = 100,
    *,
    method: str = "mirror",
    separation: float = 1e-3,
    tol: float = 1e-9,
    max_iter: int = 10_000,
    seed: int,
) -> FixedPoints:
    r"""Find the distinct fixed points that mean field has for random starts.

    There are at least as many: those that no start leads to, such as maxima and saddles of the free energy, are missed.

    Parameters
    ----------
    model : PairwiseModel
        Model of N entries.
    starts : int
        Starts from random probabilities, at least 1.
    method : str
        Method of `hebbian.fixed_point.solve_mean_field`; ``mirror``, ``coordinate`` and ``damped`` descend the free
        energy of any coupling, ``parallel`` may end at none.
    separation : float
        Largest difference of a probability up to which two ends are one point, in (0, 1).
    tol : float
        Norm of the free energy's gradient at which a start has converged, > 0; over :math:`2 - \lambda_{\max}`, where
        this is positive.
    max_iter : int
        Largest number of steps.
    seed : int
        Seed of the starts.

    Returns
    -------
    FixedPoints

    Raises
    ------
    TypeError, ValueError
        If an argument is out of range, or the method needs a unique solution that lambda_max >= 2 does not promise.
    """
    check_model(model)
    validation.choice("method", method, METHODS)
    separation = validation.real("separation", separation, above=0.0, below=1.0)
    tol = validation.real("tol", tol, above=0.0)
    starts = validation.integer("starts", starts, minimum=1)
    begin = random_probabilities(model.layout, starts, random.stream(seed, (0,), "initial"))
    with warnings.catch_warnings():
        # Starts that do not converge are counted.
        warnings.simplefilter("ignore", RuntimeWarning)
        solution = solve_mean_field(
            model.coupling,
            np.tile(model.bias, (starts, 1)),
            model.layout,
            method=method,
            init=begin,
            tol=tol,
            max_iter=max_iter,
        )
    scale = solution.monotonicity if solution.monotonicity > 0 else 1.0
    ends = solution.q[solution.gradient <= tol * scale]
    points: list[NDArray[np.float64]] = []
    visits: list[int] = []
    for q in ends:
        near = [np.abs(q - point).max() <= separation for point in points]
        if any(near):
            visits[near.index(True)] += 1
        else:
            points.append(q)
            visits.append(1)
    order = np.argsort(-np.array(visits, dtype=np.int64), kind="stable")
    found = np.array(points).reshape(-1, model.layout.size)
    return FixedPoints(found[order], np.array(visits, dtype=np.int64)[order], starts - len(ends))
