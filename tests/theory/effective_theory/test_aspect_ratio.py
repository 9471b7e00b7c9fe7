import math

import numpy as np
import pytest

from hebbian.activations import get_activation
from theory.effective_theory import (
    aspect_ratio,
    find_critical,
    finite_width_flow,
    homogeneous_exact,
    mutual_information,
    nu,
)


@pytest.mark.parametrize("act", ["relu", "linear", "tanh", "gelu", get_activation("leaky_relu", a=0.3)])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.9])
def test_nu_is_the_growth_of_the_vertex(act, gamma):
    point, scale = find_critical(act), 1 - gamma**2
    # Of tanh the kernel has its asymptotic law up to (ln L)/L; the residual path slows it down.
    L, tolerance = (int(200 / scale), 0.03) if point.kind == "K=0" else (200, 1e-6)
    K1 = point.K_star if point.kind == "half_stable" else 1.0
    flow = finite_width_flow(act, L, scale * point.C_W, scale * point.C_b, K1, gamma=gamma)
    growth = flow.V / flow.K**2
    assert growth[-1] - growth[-2] == pytest.approx(nu(act, gamma), rel=tolerance)


def test_two_slopes():
    a, b = 0.3, 1.0
    A2, A4 = (a**2 + b**2) / 2, (a**4 + b**4) / 2
    leaky = get_activation("leaky_relu", a=a)
    assert nu(leaky) == pytest.approx(3 * A4 / A2**2 - 1, rel=1e-12)
    assert nu("linear", 0.5) == pytest.approx(2 * (1 - 0.5**4), rel=1e-12)
    assert nu("relu", 1.0) == nu("tanh", 1.0) == 0
    np.testing.assert_allclose(homogeneous_exact("relu", 3, 32), [1, 37 / 32, (37 / 32) ** 2], rtol=1e-12)


def test_mutual_information_has_its_expansion():
    assert mutual_information(0.005, 1, 1) == pytest.approx(3.06e-6, abs=5e-9)
    for m1, m2 in ((1, 1), (1, 3), (5, 5)):
        leading, v = m1 * m2 / 8, np.array([0.002, 0.004])
        third = [(mutual_information(x, m1, m2) / x**2 - leading) / x for x in v]
        # The next order is removed by extrapolation.
        expected = -m1 * m2 * (20 + 3 * (m1 + m2)) / 48
        assert 2 * third[0] - third[1] == pytest.approx(expected, rel=2e-3)
    assert mutual_information(0.0, 1, 2) == pytest.approx(0, abs=1e-14)
    assert mutual_information(0.1, 1, 4) == pytest.approx(mutual_information(0.1, 4, 1), rel=1e-12)


def test_mutual_information_of_a_log_normal_variance_has_no_maximum():
    values = [mutual_information(v, 1, 1) for v in np.linspace(0.1, 1, 7)]
    assert (np.diff(values) > 0).all()


def test_aspect_ratio_is_where_the_expansion_turns():
    assert aspect_ratio(nu("tanh"), 1) == pytest.approx(6 / 23)
    ratio, n_L, growth = aspect_ratio(5.0, 10), 10, 5.0
    slope = [x / 4 - (20 + 3 * n_L) * x**2 / 16 for x in (0.999 * growth * ratio, 1.001 * growth * ratio)]
    assert slope[0] > 0 > slope[1]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: nu("sigmoid"), "kind = 'none' is unknown"),
        (lambda: nu("relu", 1.5), "gamma = 1.5 is out of range"),
        (lambda: homogeneous_exact("tanh", 3, 32), "act = 'tanh' is not homogeneous"),
        (lambda: homogeneous_exact("relu", 3, 1), "n = 1 is out of range"),
        (lambda: mutual_information(-0.1, 1, 1), "v = -0.1 is out of range"),
        (lambda: mutual_information(0.1, 0, 1), "m1 = 0 is out of range"),
        (lambda: aspect_ratio(0.0, 1), "nu = 0.0 is out of range"),
        (lambda: aspect_ratio(math.nan, 1), "nu = nan is out of range"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
