import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from theory.replica_symmetric.quadrature import (
    DECAYING,
    LANES,
    NORMAL,
    gaussian_averages,
    lane_averages,
    spin_averages,
    spin_entropy,
)


def reference(a, s, T):
    """Averages by mpmath, 25 digits, with break points where tanh bends."""
    functions = (
        mpmath.tanh,
        lambda y: mpmath.tanh(y) ** 2,
        lambda y: mpmath.sech(y) ** 4,
        lambda y: T * (abs(y) + mpmath.log1p(mpmath.exp(-2 * abs(y)))),
    )
    bends = [(k * T - a) / s for k in (-40, -10, -4, -1, 0, 1, 4, 10, 40)]
    points = sorted({*range(-12, 13, 2), *(z for z in bends if -12 < z < 12)})
    with mpmath.workdps(25):
        return [
            float(mpmath.quad(lambda z, f=f: mpmath.npdf(z) * f((a + s * z) / T), [mpmath.mpf(p) for p in points]))
            for f in functions
        ]


@pytest.mark.parametrize(
    ("a", "s", "T"),
    [
        (0.0, 1.0, 0.5),
        (0.3, 1.0, 1.0),
        (0.3, 1.0, 1.0001),
        (0.3, 0.3999, 1.0),
        (0.1, 1e-3, 1.0),
        (-0.7, 0.4, 0.2),
        (2.0, 0.6, 0.1),
        (20.0, 1.0, 0.9),
        (0.1, 1.0, 1e-6),
        (0.5, 1e6, 1.0),
    ],
)
def test_averages_agree_with_mpmath(a, s, T):
    value = gaussian_averages(a, s, T)
    exact = np.array(reference(a, s, T))
    scale = max(1.0, s, abs(a))
    assert np.abs(value[:3] - exact[:3]).max() < 2e-12
    assert abs(value[3] - exact[3]) < 2e-12 * scale


@pytest.mark.parametrize(("s", "T"), [(1.0, 0.8), (0.9, 1.0)])  # nodes in y, nodes in z
def test_the_error_falls_geometrically_as_derived(s, T):
    # exp(-2 pi d/h), d the distance of the pole at y = i pi/2: exp(-pi^2/h) in y, T/s times the exponent in z.
    steps = np.array([1.0, 0.8, 0.65, 0.5])
    exact = gaussian_averages(0.4, s, T, step=0.2)[1]
    errors = np.array([abs(gaussian_averages(0.4, s, T, step=step)[1] - exact) for step in steps])
    rate = -np.polyfit(1 / steps, np.log(errors), 1)[0]
    expected = math.pi**2 if s >= T else math.pi**2 * T / s
    assert 0.75 * expected < rate < 1.3 * expected


def test_the_limit_of_zero_temperature_is_reached_linearly_and_is_exact():
    # E sign(h) = erf(a/(s sqrt 2)); E|h| of a normal variable.
    a, s = 0.3, 0.7
    erf, density = math.erf(a / (s * math.sqrt(2))), math.exp(-((a / s) ** 2) / 2) / math.sqrt(2 * math.pi)
    zero = gaussian_averages(a, s, 0.0)
    assert zero == pytest.approx([erf, 1.0, 0.0, a * erf + 2 * s * density], abs=1e-14)
    # T ln 2cosh(h/T) exceeds |h| by (pi^2/12) T^2 times the density of h at zero.
    for T in (1e-3, 1e-5):
        cold = gaussian_averages(a, s, T)
        assert cold[0] == pytest.approx(erf, abs=T**2 * 3)
        assert cold[3] - zero[3] == pytest.approx(math.pi**2 / 12 * T**2 * density / s, rel=1e-3, abs=1e-15)


@given(a=st.floats(-30, 30), s=st.just(0.0) | st.floats(1e-90, 30), T=st.just(0.0) | st.floats(1e-90, 30))
@settings(max_examples=200, deadline=None)
def test_bounds_and_symmetry(a, s, T):
    if s == 0 and T == 0:
        return
    tanh, tanh2, sech4, free = gaussian_averages(a, s, T)
    assert abs(tanh) <= 1 + 1e-13
    assert -1e-13 <= tanh2 <= 1 + 1e-13
    assert tanh**2 <= tanh2 + 1e-13
    assert -1e-13 <= sech4 <= 1 - tanh2 + 1e-13
    assert free >= max(abs(a), T * math.log(2)) * (1 - 1e-12)
    mirrored = gaussian_averages(-a, s, T)
    assert mirrored == pytest.approx([-tanh, tanh2, sech4, free], rel=1e-13, abs=1e-13)


@given(a=st.floats(-3, 3), s=st.floats(0.01, 3), T=st.floats(0.05, 3))
@settings(max_examples=50, deadline=None)
def test_derivatives_are_those_of_the_averages(a, s, T):
    step = 1e-4 * T

    def averages(mean):
        return spin_averages(mean, s, T, DECAYING, NORMAL)

    magnetisation, chi, _, slope, curvature = averages(a)
    up, down = averages(a + step), averages(a - step)
    assert (up[0] - down[0]) / (2 * step) == pytest.approx(chi, abs=1e-6 / T)
    assert (up[1] - down[1]) / (2 * step) == pytest.approx(slope, abs=1e-5 / T**2)
    assert (up[3] - down[3]) / (2 * step) == pytest.approx(curvature, abs=1e-4 / T**3)
    # Stein's lemma ties the free energy to the entropy of the spin.
    entropy = T * spin_entropy(a, s, T, DECAYING, NORMAL)
    free = gaussian_averages(a, s, T)[3]
    assert free == pytest.approx(a * magnetisation + s**2 * chi + T * entropy, rel=1e-12)


def test_arrays_broadcast():
    values = gaussian_averages(np.linspace(0, 1, 3)[:, None], 0.5, [0.0, 0.2])
    assert values.shape == (4, 3, 2)
    assert values[:, 1, 1] == pytest.approx(gaussian_averages(0.5, 0.5, 0.2), abs=0)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0.0, -1.0, 1.0), ValueError, r"s = -1.0 is out of range"),
        ((0.0, 1.0, -1.0), ValueError, r"T = -1.0 is out of range"),
        ((math.nan, 1.0, 1.0), ValueError, r"a = nan is out of range"),
        ((0.0, 0.0, 0.0), ValueError, r"s = 0 at T = 0"),
        ((0.0, 1j, 1.0), TypeError, r"not real arrays"),
    ],
)
def test_bad_input_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        gaussian_averages(*arguments)


def test_a_bad_step_is_named():
    with pytest.raises(ValueError, match=r"step = 2 is out of range"):
        gaussian_averages(0.0, 1.0, 1.0, step=2)


@pytest.mark.parametrize(
    ("s", "T"), [(0.5, 0.0), (0.5, 0.1), (0.5, 0.5), (0.5, 0.6), (0.1, 0.6), (0.01, 0.0), (0.0, 0.3)]
)
def test_fields_side_by_side_have_the_averages_of_one_field(s, T):
    means = np.array([-2.0, -0.3, 0.0, 1e-3, 0.2, 0.7, 1.5, 20.0])  # the last one saturated
    together = np.empty((5, LANES))
    lane_averages(means, s, T, together)
    alone = np.transpose([spin_averages(a, s, T, DECAYING, NORMAL) for a in means])
    np.testing.assert_allclose(together, alone, rtol=1e-12, atol=1e-13)
