import pickle

import numpy as np
import pytest
from scipy.stats import norm

from hebbian.activations import NAMES, Activation, get_activation

PARAMETERS = {"abrelu": {"a": -0.3, "b": 1.7}, "rbf": {"g": 0.7}, "exp": {"a": 0.4}, "hermite": {"k": 4}}
PARAMETERS |= {"monomial": {"k": 3}, "leaky_relu": {"a": 0.2}}
Z = np.random.default_rng(0).normal(size=200) * 2


def made(name):
    return get_activation(name, **PARAMETERS.get(name, {}))


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_are_those_of_the_function(name):
    act, step = made(name), 1e-5
    z = Z[np.abs(Z) > 1e-3]
    for f, df in ((act.f, act.df), (act.df, act.d2f)):
        difference = (f(z + step) - f(z - step)) / (2 * step)
        np.testing.assert_allclose(df(z), difference, atol=2e-9 * np.abs(df(z)).max() + 1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_facts_are_true(name):
    act = made(name)
    sign = {"even": 1, "odd": -1}
    for parity in sign:
        holds = np.allclose(act.f(-Z), sign[parity] * act.f(Z), rtol=1e-13, atol=1e-14)
        assert holds == (act.parity == parity)
    linear = np.allclose(act.f(2 * np.abs(Z)), 2 * act.f(np.abs(Z))) and np.allclose(
        act.f(-2 * np.abs(Z)), 2 * act.f(-np.abs(Z))
    )
    assert linear == (act.homogeneous is not None)
    if linear:
        assert act.homogeneous == pytest.approx((-float(act.f(np.array(-1.0))), float(act.f(np.array(1.0)))))
    jumps = [g(np.array(1e-12)) - g(np.array(-1e-12)) for g in (act.f, act.df)]
    assert (np.abs(jumps).max() > 1e-9) == (act.kinks == (0.0,))
    assert (abs(jumps[0]) < 1e-9) == act.continuous


def test_values():
    z = np.array([-1.3, 0.4])
    np.testing.assert_allclose(get_activation("gelu").f(z), z * norm.cdf(z), rtol=1e-13)
    np.testing.assert_allclose(get_activation("softplus").f(z), np.log(1 + np.exp(z)), rtol=1e-14)
    np.testing.assert_allclose(get_activation("swish").f(z), z / (1 + np.exp(-z)), rtol=1e-14)
    np.testing.assert_allclose(get_activation("hermite", k=3).f(z), (z**3 - 3 * z) / np.sqrt(6), rtol=1e-13)
    np.testing.assert_allclose(get_activation("rbf", g=0.5).f(z), np.sin(z) + np.cos(z), rtol=1e-13)
    np.testing.assert_array_equal(get_activation("abrelu", a=2, b=3).f(z), [-2.6, 0.4 * 3])
    np.testing.assert_array_equal(get_activation("step").f(np.array([-1.0, 0.0, 1.0])), [0, 0, 1])
    assert get_activation("softplus").f(np.array([1e4, -1e4])).tolist() == [1e4, 0]
    assert get_activation("cos").df(np.array([0.0])) == 0


@pytest.mark.parametrize("name", NAMES)
def test_single_precision_stays_single(name):
    act = made(name)
    for f in (act.f, act.df, act.d2f):
        assert f(Z.astype(np.float32)).dtype == np.float32
        np.testing.assert_allclose(f(Z.astype(np.float32)), f(Z), rtol=1e-4, atol=1e-4 * np.abs(f(Z)).max())


@pytest.mark.parametrize("name", NAMES)
def test_tensors_give_what_arrays_give(name):
    torch = pytest.importorskip("torch")
    act, z = made(name), torch.as_tensor(Z.copy()).requires_grad_()
    for f in (act.f, act.df, act.d2f):
        np.testing.assert_allclose(f(z).detach().numpy(), f(Z), rtol=1e-12, atol=1e-13)
    value = act.f(z)
    if value.requires_grad:
        np.testing.assert_allclose(torch.autograd.grad(value.sum(), z)[0].numpy(), act.df(Z), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_it_travels_to_other_processes(name):
    act = made(name)
    again = pickle.loads(pickle.dumps(act))
    np.testing.assert_array_equal(again.f(Z), act.f(Z))
    assert again.parameters == act.parameters


def test_custom_functions():
    act = get_activation(np.arctan, df=lambda z: 1 / (1 + z**2), kinks=(1, -1.0), parity="odd")
    assert (act.name, act.kinks, act.parity) == ("custom", (-1.0, 1.0), "odd")
    np.testing.assert_array_equal(act.f(Z), np.arctan(Z))
    assert get_activation(act) is act
    with pytest.raises(ValueError, match=r"d2f of the custom activation is not given; allowed: get_act.*d2f="):
        act.d2f(Z)
    assert isinstance(act, Activation)


@pytest.mark.parametrize(
    ("name", "parameters", "error", "words"),
    [
        ("mish", {}, ValueError, "activation = 'mish' is unknown; allowed: 'linear', 'relu'"),
        (3, {}, ValueError, "activation = 3 is unknown"),
        ("relu", {"a": 1}, TypeError, "activation 'relu' has no parameter a; allowed: none"),
        ("abrelu", {"a": 1}, TypeError, "activation 'abrelu' needs the parameter b"),
        ("rbf", {"g": 0}, ValueError, "g = 0 is out of range"),
        ("hermite", {"k": -1}, ValueError, "k = -1 is out of range; allowed: integers >= 0"),
        ("monomial", {"k": 1.5}, TypeError, "k = 1.5 is not an integer"),
        ("leaky_relu", {"a": float("nan")}, ValueError, "a = nan is out of range"),
        (np.tanh, {"slope": 1}, TypeError, "activation 'custom' has no parameter slope; allowed: df, d2f"),
        (np.tanh, {"df": 1}, TypeError, "df = 1 is not a function"),
        (np.tanh, {"parity": "both"}, ValueError, "parity = 'both' is unknown"),
    ],
)
def test_bad_input_is_refused(name, parameters, error, words):
    with pytest.raises(error, match=words):
        get_activation(name, **parameters)
