"""Networks of finite width against the laws of infinite width."""

import numpy as np
import pytest
import torch

from hebbian.nn import NTKMLP
from hebbian.permutations import PermutationTask
from sim.empirical_kernel import empirical_nngp, empirical_ntk
from sim.ensembles import train_ensemble
from sim.permutations import output_moments, train_members
from theory.kernels import mlp_kernel
from theory.permutations import output_law

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 4))


CASES = [
    {"act": "erf", "cw": [1.5, 2.0, 1.0], "cb": 0.2},
    {"act": "relu", "cw": 2.0, "residual": 0.6},
    {"act": "erf", "cw": 1.5, "cb": 0.3, "parametrization": "standard"},
    {"act": "relu", "cw": 2.0, "parametrization": "standard", "bias": False},
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_kernels_average_to_those_of_infinite_width(case):
    width, members = 256, 200
    model = NTKMLP(4, [width, width], 1, members=members, dtype=torch.float64, **case)
    model.reset_parameters([np.random.default_rng([1, seed]) for seed in range(members)])
    x = torch.tensor(X)
    limits = mlp_kernel(X, **model.kernel_spec())
    for kernels, limit in ((empirical_nngp(model, x), limits.nngp), (empirical_ntk(model, x), limits.ntk)):
        values = kernels.detach().numpy()
        error = values.std(0, ddof=1) / np.sqrt(members)
        # Fifteen entries, four standard errors: a false-alarm rate of 1e-3; and a bias of the order of 1/width.
        assert (abs(values.mean(0) - limit) < 4 * error + abs(limit).max() / width).all()


def test_kernels_scatter_as_the_root_of_the_width():
    widths, distance = [64, 128, 256, 512, 1024], []
    for width in widths:
        model = NTKMLP(4, [width, width], 1, "erf", cw=1.5, cb=0.2, members=12, dtype=torch.float64)
        model.reset_parameters([np.random.default_rng([width, seed]) for seed in range(12)])
        limit = mlp_kernel(X, **model.kernel_spec()).ntk
        kernels = empirical_ntk(model, torch.tensor(X)).detach().numpy()
        distance.append(np.sqrt(((kernels - limit) ** 2).sum((1, 2)).mean() / (limit**2).sum()))
    assert np.polyfit(np.log(widths), np.log(distance), 1)[0] == pytest.approx(-0.5, abs=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("regime", ["ntk", "readout", "standard"])
def test_trained_networks_have_the_law_of_infinite_width(regime):
    k, members = 6, 300
    task = PermutationTask(k, rng=np.random.default_rng(1))
    A = task.inputs(range(2, 6))
    F = train_members(task, A, 2048, members, regime=regime, tol=1e-4, seed=3)
    targets = task.target(A)
    for n in range(2, 6):
        these = A.sum(1) == n
        moments = output_moments(F[:, these], targets[these])
        law = output_law(k, n, regime="ntk" if regime == "ntk" else "readout")
        # Twelve deviations of four standard errors: a false-alarm rate of 8e-4; and what the width leaves.
        for (value, error), expected in ((moments.mean_on, law.mean_on), (moments.mean_off, law.mean_off)):
            assert abs(value - expected) < 4 * error + 0.005
        assert moments.var[0] == pytest.approx(law.var, rel=0.15)


@pytest.mark.slow
def test_the_excess_of_the_variance_falls_as_one_over_the_width():
    task, law = PermutationTask(3), output_law(3, 2, regime="readout")
    A, excess, error = task.inputs(2), [], []
    for width in (32, 64, 128):
        F = train_members(task, A, width, 3000, regime="readout", tol=1e-3, seed=4)
        var = output_moments(F, task.target(A)).var
        excess.append(width * (var[0] / law.var - 1))
        error.append(width * var[1] / law.var)
    mean = np.average(excess, weights=np.power(error, -2.0))
    assert mean > 15 * min(error)
    # Three pulls below four, where the smallest width has a correction of its own: a false-alarm rate of 2e-4.
    assert (abs(excess - mean) < 4 * np.array(error)).all()


def test_coordinates_are_independent():
    task, members = PermutationTask(5), 600
    F = train_members(task, task.inputs(2)[:3], 512, members, seed=5)
    for word in range(3):
        correlation = np.corrcoef(F[:, word].T)[np.triu_indices(5, 1)]
        # Thirty correlations in all: a false-alarm rate of 2e-3.
        assert abs(correlation).max() < 4 / np.sqrt(members)


def test_descent_follows_the_law_step_by_step():
    k, members = 5, 400
    spec = {"d_in": k, "widths": [1024], "d_out": k, "bias": False}
    A = PermutationTask(k).inputs(2)[:1]
    steps = [0, 2, 5, 20]
    X_test = PermutationTask(k).encode(A)
    made = train_ensemble(spec, np.eye(k), np.eye(k), X_test, members, steps=20, lr=2.0, record_at=steps, seed=6)
    for at, step in enumerate(steps):
        moments = output_moments(made.outputs[:, at], A)
        law = output_law(k, 2, lr=2.0, steps=step)
        # Eight deviations of 4.5 standard errors: a false-alarm rate of 5e-5.
        for (value, error), expected in ((moments.mean_on, law.mean_on), (moments.mean_off, law.mean_off)):
            assert abs(value - expected) < 4.5 * error + 0.01
        assert moments.var[0] == pytest.approx(law.var, rel=0.15)
    # Networks this wide hardly change their kernel.
    assert made.drift[:, -1].max() < 0.1
