import numpy as np
import pytest
import torch

from hebbian.nn import NTKMLP
from sim import random
from sim.empirical_kernel import empirical_ntk
from sim.ensembles import train_ensemble

SPEC = {"d_in": 3, "widths": [32, 32], "d_out": 2, "act": "erf", "cb": 0.1}
RNG = np.random.default_rng(0)
X, Y, XS = RNG.normal(size=(5, 3)), RNG.normal(size=(5, 2)), RNG.normal(size=(4, 3))


def train(**options):
    return train_ensemble(SPEC, X, Y, XS, 3, **{"steps": 20, "seed": 1, "dtype": "float64", "lr": 0.2} | options)


def single(member, seed=1, address=()):
    model = NTKMLP(**SPEC, dtype=torch.float64)
    model.reset_parameters([random.stream(seed, (*address, member), "initial")])
    return model


@pytest.mark.parametrize("trained", ["all", "readout"])
def test_training_is_that_of_single_networks(trained):
    made = train(record_at=[0, 7, 20], trained=trained)
    assert made.outputs.shape == (3, 3, 4, 2)
    x, y, xs = (torch.tensor(values) for values in (X, Y, XS))
    for member in range(3):
        model = single(member)
        learned = [*model.parameters()] if trained == "all" else [model.weights[-1], model.biases[-1]]
        for parameter in model.parameters():
            parameter.requires_grad_(any(parameter is other for other in learned))
        optimiser, first = torch.optim.SGD(learned, lr=0.2), empirical_ntk(model, x)
        for step in range(21):
            loss = ((model(x) - y) ** 2).sum() / 2
            if step in (0, 7, 20):
                at = (0, 7, 20).index(step)
                np.testing.assert_allclose(made.outputs[member, at], model(xs).detach(), rtol=1e-10)
                assert made.loss[member, at] == pytest.approx(float(loss.detach()), rel=1e-10)
                moved = torch.linalg.norm(empirical_ntk(model, x) - first) / torch.linalg.norm(first)
                assert made.drift[member, at] == pytest.approx(float(moved), rel=1e-8, abs=1e-14)
            optimiser.zero_grad()
            loss.backward()
            if step < 20:
                optimiser.step()
        assert made.residual[member] == pytest.approx(float((model(x) - y).detach().abs().max()), rel=1e-10)
    assert (made.taken == 20).all()


def test_frozen_hidden_layers_have_no_drift():
    made = train(record_at=[0, 20], trained="readout")
    assert (made.drift == 0).all()
    assert (train(record_at=[0, 20]).drift[:, 1] > 0).all()
    assert np.isnan(train(drift=False).drift).all()


def test_networks_do_not_depend_on_their_company():
    one, two = train(batch=1), train(batch=3)
    np.testing.assert_allclose(one.outputs, two.outputs, rtol=1e-12)
    np.testing.assert_array_equal(train(batch=2).outputs, train(batch=2).outputs)
    assert abs(train(seed=2).outputs - one.outputs).max() > 0.1
    assert abs(train(address=(4,)).outputs - one.outputs).max() > 0.1


def test_each_network_stops_by_itself():
    made = train(steps=1000, tol=0.3, record_at=[0, 5, 900, 1000])
    assert (made.residual <= 0.3).all()
    assert len(set(made.taken.tolist())) > 1
    assert 5 < made.taken.max() < 900
    np.testing.assert_array_equal(made.outputs[:, 2], made.outputs[:, 3])
    for member, taken in enumerate(made.taken.tolist()):
        before = train(steps=taken - 1)
        assert before.residual[member] > 0.3
        np.testing.assert_allclose(train(steps=taken).outputs[member, 0], made.outputs[member, 3], rtol=1e-10)


def test_rate_is_that_of_the_first_network():
    made = train(lr=None)
    largest = float(torch.linalg.eigvalsh(empirical_ntk(single(0), torch.tensor(X)))[-1])
    assert made.lr == pytest.approx(1 / largest, rel=1e-12)
    assert (np.diff(train(lr=None, record_at=[0, 5, 10, 20]).loss) < 0).all()


def test_precision():
    single_precision = train(dtype="float32")
    assert single_precision.outputs.dtype == single_precision.drift.dtype == np.float32


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"steps": -1}, ValueError, "steps = -1"),
        ({"lr": 0.0}, ValueError, r"lr = 0\.0"),
        ({"tol": -1.0}, ValueError, r"tol = -1\.0"),
        ({"record_at": [3, 2]}, ValueError, r"record_at = \[3, 2\]; allowed: at least one step, rising"),
        ({"record_at": [21]}, ValueError, "record_at = 21"),
        ({"record_at": []}, ValueError, "record_at"),
        ({"trained": "first"}, ValueError, "trained = 'first'"),
        ({"batch": 0}, ValueError, "batch = 0"),
        ({"dtype": "float16"}, ValueError, "dtype = 'float16'"),
        ({"lr": 50.0, "steps": 2000}, FloatingPointError, r"lr = 50 lets gradient descent diverge"),
    ],
)
def test_bad_input_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        train(**options)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((X[:, :2], Y, XS, 3), r"X has shape \(5, 2\); allowed: \(any, 3\)"),
        ((X, Y[:4], XS, 3), "X and Y have 5 and 4 rows"),
        ((X, Y[:, :1], XS, 3), "Y has shape"),
        ((X, Y, XS * np.nan, 3), "Xs has an entry nan"),
        ((X, Y, XS, 0), "n_members = 0"),
    ],
)
def test_bad_data_is_refused(data, message):
    with pytest.raises(ValueError, match=message):
        train_ensemble(SPEC, *data, steps=1, seed=0)
