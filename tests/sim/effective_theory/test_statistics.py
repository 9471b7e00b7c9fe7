import math

import numpy as np
import pytest

from hebbian.activations import get_activation
from sim.effective_theory import sample_statistics
from sim.effective_theory.statistics import _networks, check_ensemble
from theory.effective_theory import finite_width_flow, homogeneous_exact

TANH = {"C_W": 1.2, "C_b": 0.1, "K1": 1.1, "lambda_b": 0.3}
NAMES = ("V", "D", "A", "F", "B", "P", "Q")


def assert_close(value, error, expected, name):
    """Deviations are within four standard errors, of false-alarm rate 6e-5 each, and 3 % for what is left in 1/n."""
    assert abs(value - expected) < 4 * error + 0.03 * abs(expected), f"{name}: {value} +- {error}, expected {expected}"


def extrapolated(act, L, narrow, wide, seed=1, **options):
    """Return what 1/n corrections tend to, from widths n and 2n: twice the second less the first, and its error."""
    (few, n), (many, m) = narrow, wide
    one = sample_statistics(act, L, n, n_nets=few, seed=seed, **options)
    two = sample_statistics(act, L, m, n_nets=many, seed=seed + 1, **options)
    return {
        name: (2 * two[name][0][-1] - one[name][0][-1], math.hypot(2 * two[name][1][-1], one[name][1][-1]))
        for name in one
    }


@pytest.mark.parametrize(("act", "gamma"), [("tanh", 0.0), ("gelu", 0.4)])
def test_recursions_are_derivatives_of_the_network(act, gamma):
    torch = pytest.importorskip("torch")
    of = check_ensemble(act, 3, 3, 1.3, 0.2, 1.5, 0.7, 0.4, gamma, None)
    layers = list(_networks(of, 1, 2, np.random.default_rng(5)))
    rng, n = np.random.default_rng(5), 3
    x = math.sqrt((1.5 - 0.2) / 1.3)
    first = math.sqrt(1.5) * rng.standard_normal((1, n))[0]
    parameters, rates = [np.zeros((n, 1)), first], [0.7, 0.4]
    for _ in range(2):
        parameters += [math.sqrt(1.3 / n) * rng.standard_normal((1, n, n))[0], math.sqrt(0.2) * rng.standard_normal(n)]
        rates += [0.7 / n, 0.4]
    sizes = [parameter.size for parameter in parameters]
    weights = torch.tensor(np.repeat(rates, sizes))

    def outputs(flat):
        parts = [part.reshape(p.shape) for part, p in zip(flat.split(sizes), parameters, strict=True)]
        z = parts[0] @ torch.full((1,), x, dtype=torch.float64) + parts[1]
        for W, b in ((parts[2], parts[3]), (parts[4], parts[5])):
            z = W @ of.act.f(z) + b + gamma * z
        return z

    flat = torch.tensor(np.concatenate([parameter.ravel() for parameter in parameters]))
    J = torch.func.jacrev(outputs)(flat)
    curvature = torch.func.jacrev(torch.func.jacrev(outputs))(flat)
    z, H, dH = (array[0] for array in layers[-1])
    np.testing.assert_allclose(z, outputs(flat).numpy(), rtol=1e-12)
    np.testing.assert_allclose(H, ((J * weights) @ J.mT).numpy(), rtol=1e-11, atol=1e-12)
    expected = torch.einsum("iuv,ju,kv->ijk", curvature, J * weights, J * weights).numpy()
    np.testing.assert_allclose(dH, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_smooth_network_tends_to_the_theory():
    theory = finite_width_flow("tanh", 4, **TANH)
    measured = extrapolated("tanh", 4, (6000, 16), (1500, 32), **TANH)
    for name in NAMES:
        assert_close(*measured[name], getattr(theory, name)[-1], name)


def test_rectifier_tends_to_the_theory():
    theory = finite_width_flow("relu", 4, 2.0, 0.0, 1.0)
    measured = extrapolated("relu", 4, (3000, 24), (1500, 48), dntk=False, C_W=2.0, C_b=0.0, K1=1.0)
    for name in ("V", "D", "A", "F", "B"):
        assert_close(*measured[name], getattr(theory, name)[-1], name)


def test_homogeneous_network_is_exact_at_any_width():
    n, L = 32, 6
    V, error = (array[-1] for array in sample_statistics("relu", L, n, 2.0, 0.0, 1.0, **cheap(60_000, 1))["V"])
    exact = n * (homogeneous_exact("relu", L, n)[-1] - 1)
    # Four standard errors: a false-alarm rate of 6e-5. The first order in 1/n is not within them.
    assert abs(V - exact) < 4 * error
    assert abs(V - finite_width_flow("relu", L, 2.0, 0.0, 1.0).V[-1]) > 4 * error


def cheap(n_nets, seed):
    return {"n_nets": n_nets, "seed": seed, "ntk": False, "dntk": False}


def test_means_move_with_the_width():
    L, n = 10, 32
    theory = finite_width_flow("tanh", L, 1.0, 0.0, 1.0)
    K, error = (array[-1] for array in sample_statistics("tanh", L, n, 1.0, 0.0, 1.0, **cheap(40_000, 2))["K"])
    assert_close(n * (K - theory.K[-1]), n * error, theory.G1[-1], "G1")
    measured = sample_statistics("tanh", L, n, 1.0, 0.0, 1.0, n_nets=1500, seed=3, dntk=False)
    Theta, error = (array[-1] for array in measured["Theta"])
    assert_close(n * (Theta - theory.Theta[-1]), n * error, theory.Theta_nlo[-1], "Theta_nlo")


def test_residual_path_tends_to_the_theory():
    theory = finite_width_flow("relu", 6, 1.5, 0.0, 1.0, gamma=0.5)
    options = {"ntk": False, "dntk": False, "C_W": 1.5, "C_b": 0.0, "K1": 1.0, "gamma": 0.5}
    measured = extrapolated("relu", 6, (30_000, 64), (30_000, 128), **options)
    for name in ("V", "U", "T3"):
        assert_close(*measured[name], getattr(theory, name)[-1], name)


def test_unequal_widths_enter_by_their_ratios():
    narrow, wide = (16, 64, 16), (32, 128, 32)
    theory = finite_width_flow("tanh", 4, **TANH, widths=narrow)
    measured = extrapolated("tanh", 4, (3000, narrow), (700, wide), dntk=False, n_out=24, **TANH)
    for name in ("V", "D", "A", "F", "B"):
        assert_close(*measured[name], getattr(theory, name)[-1], name)
    value, error = measured["B"]
    assert abs(value - finite_width_flow("tanh", 4, **TANH).B[-1]) > 5 * error


def test_layers_without_weights_have_the_law_of_those_with_them():
    options = {"n_nets": 4000, "dntk": False, "C_W": 1.3, "C_b": 0.2, "K1": 1.0, "gamma": 0.3}
    drawn = sample_statistics("gelu", 4, 8, seed=1, **options)
    law = sample_statistics("gelu", 4, 8, seed=2, ntk=False, **options)
    assert set(law) == {"K", "V", "U", "T3"}
    for name, (value, error) in law.items():
        # Five standard errors for 16 numbers: a false-alarm rate of 1e-5.
        assert (abs(value - drawn[name][0]) < 5 * np.hypot(error, drawn[name][1])).all(), name


def test_same_seed_same_numbers():
    options = {"C_W": 1.0, "C_b": 0.0, "K1": 1.0, "n_nets": 20, "seed": 4}
    one, two = (sample_statistics("tanh", 3, 8, **options, address=(7,)) for _ in range(2))
    np.testing.assert_array_equal(one["Q"], two["Q"])
    other = sample_statistics("tanh", 3, 8, **options, address=(8,))
    assert (other["K"][0] != one["K"][0]).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n": 1}, "n = 1 is out of range; allowed: integers >= 2"),
        ({"n": [8, 8, 8]}, r"n = \[8, 8, 8\] has 3 entries; allowed: a number, or L - 1 = 2 of them"),
        ({"n": 49}, "n = 49 is too wide for differentials; allowed: up to 48, or dntk = False"),
        ({"n_out": 1}, "n_out = 1 is out of range"),
        ({"n_nets": 1}, "n_nets = 1 is out of range"),
        ({"K1": 0.1}, "K1 = 0.1 is out of range"),
        ({"gamma": 0.5, "n_out": 4}, r"gamma = 0.5 beside widths \[8, 8, 4\]; allowed: equal widths, or gamma = 0"),
        ({"act": "step"}, "act = 'step' jumps, its tangent kernel is infinite"),
        ({"act": get_activation(np.sin, df=np.cos)}, "d2f of the custom activation is not given"),
        ({"lambda_W": -1.0}, "lambda_W = -1.0 is out of range"),
    ],
)
def test_bad_input_is_refused(change, words):
    given = {"act": "relu", "L": 3, "n": 8, "C_W": 1.0, "C_b": 0.2, "K1": 1.0, "n_nets": 4, "seed": 1}
    with pytest.raises(ValueError, match=words):
        sample_statistics(**given | change)
