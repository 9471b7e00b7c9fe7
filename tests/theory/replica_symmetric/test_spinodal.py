import math

import numpy as np
import pytest
from scipy.optimize import brentq, minimize_scalar
from scipy.special import erfinv

from hebbian import DenseHebbian
from theory import replica_symmetric
from theory.replica_symmetric import critical_load, spinodal_temperature


def storing(P, interaction="distinct"):
    return DenseHebbian(N=9, P=P, interaction=interaction)


def largest(function, low, high):
    """Largest value of a function with one maximum, and where it is."""
    grid = np.linspace(low, high, 400)
    values = [function(x) for x in grid]
    i = int(np.argmax(values))
    best = minimize_scalar(
        lambda x: -function(x),
        bounds=(grid[max(i - 1, 0)], grid[min(i + 1, 399)]),
        method="bounded",
        options={"xatol": 1e-11},
    )
    return -best.fun, best.x


def test_capacity_of_the_hopfield_model_at_zero_temperature():
    # Stojnic, arXiv:2403.01907, closed form: alpha_c = max over delta of the square below.
    def root_of_load(delta):
        x = erfinv(1 - 2 * delta)
        return (1 - 2 * delta) / (math.sqrt(2) * x) - 2 / math.sqrt(2 * math.pi) * math.exp(-(x**2))

    root, delta = largest(root_of_load, 1e-4, 0.2)
    alpha_c = critical_load(storing(2), 0.0).item()
    assert alpha_c == pytest.approx(root**2, abs=1e-11)
    # Reference solution of the equations of AGS 1987; 0.137906 in arXiv:2403.01907, 0.137905 in cond-mat/9404036.
    assert alpha_c == pytest.approx(0.137905566, abs=6e-10)
    assert delta == pytest.approx(0.0162914, abs=1e-6)
    m = replica_symmetric.solve(storing(2), load=alpha_c * (1 - 1e-12), T=0.0).m.item()
    assert m == pytest.approx(0.967417, abs=2e-6)


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1, 0.137])
def test_zero_temperature_order_two_solves_the_closed_equations(alpha):
    # erf y = y (sqrt(2 alpha) + (2/sqrt pi) exp(-y^2)), m = erf y, the largest root.
    def gap(y):
        return math.erf(y) - y * (math.sqrt(2 * alpha) + 2 / math.sqrt(math.pi) * math.exp(-(y**2)))

    y = brentq(gap, 1.5112, 12.0, xtol=1e-14)
    point = replica_symmetric.solve(storing(2), load=alpha, T=0.0)
    assert point.m.item() == pytest.approx(math.erf(y), abs=1e-11)


@pytest.mark.parametrize(
    ("P", "gamma_c", "m_c", "per_power"),
    # Reference solution, Gardner 1987, T = 0, and K/N^(P-1).
    [
        (3, 0.378286, 0.838482, 0.126095),
        (4, 0.395720, 0.917922, 0.032977),
        (5, 0.431931, 0.947243, 0.0071988),
        (6, 0.473039, 0.961987, 0.0013140),
        (8, 0.558801, 0.976369, 2.77e-5),
    ],
)
def test_capacity_of_dense_networks_at_zero_temperature(P, gamma_c, m_c, per_power):
    # m = erf(u), u^2 = P m^(2P-2) / (4 gamma): gamma(u) has its maximum at the fold.
    exact, u = largest(lambda u: P * math.erf(u) ** (2 * P - 2) / (4 * u**2), 0.3, 4.0)
    value = critical_load(storing(P), 0.0).item()
    assert value == pytest.approx(exact, abs=1e-12)
    assert value == pytest.approx(gamma_c, abs=6e-7)
    assert value * 2 / math.factorial(P) == pytest.approx(per_power, rel=2e-3 if P == 8 else 6e-5)
    assert math.erf(u) == pytest.approx(m_c, abs=1e-6)
    m = replica_symmetric.solve(storing(P), load=value * (1 - 1e-12), T=0.0).m.item()
    assert m == pytest.approx(m_c, abs=3e-6)


@pytest.mark.parametrize(("P", "per_power"), [(3, 0.084064), (4, 0.013191), (5, 0.0016455), (6, 0.0001669)])
def test_capacity_of_all_tuples(P, per_power):
    # Reference solution, Gardner 1987: K/N^(P-1), all indices.
    value = critical_load(storing(P, "all"), 0.0).item() * 2 / math.factorial(P)
    assert value == pytest.approx(per_power, rel=5e-4 if P == 6 else 4e-5)


def test_capacity_of_the_hopfield_model_grows_at_first_with_temperature():
    # Reference solution, AGS 1987: RS reentrance.
    T = [0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.10]
    expected = [0.13802, 0.13810, 0.13818, 0.13816, 0.13803, 0.13779, 0.13700, 0.13505]
    assert critical_load(storing(2), T).values == pytest.approx(expected, abs=6e-6)


@pytest.mark.parametrize(
    ("P", "expected"),
    # Reference solution, Gardner 1987: T = .1, .2, .3, .4, .5, .6, .8.
    [
        (3, [0.4062, 0.4298, 0.4486, 0.4614, 0.4630, 0.4238, 0.1429]),
        (4, [0.4174, 0.4353, 0.4493, 0.4583, 0.4591, 0.4383, 0.2732]),
        (6, [0.4901, 0.5044, 0.5160, 0.5245, 0.5289, 0.5271, 0.4743]),
    ],
)
def test_capacity_of_dense_networks_at_finite_temperature(P, expected):
    values = critical_load(storing(P), [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8]).values
    assert values == pytest.approx(expected, abs=6e-5)
    if P == 6:
        assert critical_load(storing(6), 1.0).item() == pytest.approx(0.3225, abs=6e-5)


def test_the_fold_is_that_of_an_independent_parametrisation():
    # c = beta (P/2) m^(P-1), b = beta sqrt(V) give m, q, hence T and gamma; gamma(c) at fixed T is largest at a fold.
    P, T = 4, 0.35
    z = np.linspace(-9, 9, 1201)
    weight = np.exp(-(z**2) / 2)
    weight /= weight.sum()

    def overlaps(c, b):
        tanh = np.tanh(c + b * z)
        return weight @ tanh, weight @ tanh**2

    def load(c):
        # The temperature falls with b: P/2 m^(P-1)/c = T.
        b = brentq(lambda b: P / 2 * overlaps(c, b)[0] ** (P - 1) / c - T, 1e-3, 6.0, xtol=1e-14)
        q = overlaps(c, b)[1]
        return (b * T) ** 2 / (P / 2 * q ** (P - 1))

    exact, _ = largest(load, 2.0, 5.0)
    value = critical_load(storing(P), T).item()
    assert value == pytest.approx(exact, abs=1e-9)
    # The same fold seen in temperature, beyond the largest T of the capacity and before.
    for temperature in (0.55, 0.7):
        gamma = critical_load(storing(P), temperature).item()
        assert spinodal_temperature(storing(P), gamma).item() == pytest.approx(temperature, abs=1e-9)


def test_spinodal_temperatures_of_the_hopfield_model():
    # Reference solution, AGS 1987.
    alpha = [0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.10, 0.12, 0.13, 0.135]
    T = [0.8600, 0.8010, 0.7165, 0.6504, 0.5936, 0.5423, 0.4945, 0.4046, 0.3154, 0.2151, 0.1489, 0.1006]
    m = [0.492, 0.579, 0.678, 0.740, 0.785, 0.821, 0.850, 0.894, 0.926, 0.949, 0.958, 0.963]
    line = spinodal_temperature(storing(2), alpha)
    assert line.dims == ("load",)
    assert line.values == pytest.approx(T, abs=6e-5)
    for load, temperature, overlap in zip(alpha, line.values, m, strict=True):
        inside = replica_symmetric.solve(storing(2), load=load, T=temperature * (1 - 1e-9))
        # m falls like a root at the fold: the table was taken a little inside.
        assert inside.m.item() == pytest.approx(overlap, abs=3e-3)


@pytest.mark.parametrize(("P", "T"), [(2, 1.0), (3, 0.8739), (4, 0.9916), (6, 1.2682)])
def test_spinodal_temperature_at_vanishing_load(P, T):
    # Reference solution, Gardner 1987: T_M(0); P = 2: 1, approached as 1 - 1.95 sqrt(alpha).
    value = spinodal_temperature(storing(P), 1e-10).item()
    assert value == pytest.approx(T, abs=6e-5)


def test_where_there_is_no_retrieval_the_lines_are_nan():
    # The largest alpha_c(T), .13818, is at T = .02: beyond T = 0's .13791 and before it retrieval exists at T > 0 only.
    line = spinodal_temperature(storing(2), [0.1381, 0.13818, 0.1383]).values
    assert 0.03 < line[0] < 0.05
    assert 0.02 < line[1] < 0.03
    assert critical_load(storing(2), line[1]).item() == pytest.approx(0.13818, abs=1e-12)
    assert np.isnan(line[2])
    assert np.isnan(critical_load(storing(2), [1.0001, 2.0]).values).all()


@pytest.mark.parametrize(
    ("r", "M", "supervised", "unsupervised"),
    # Reference solution, 2211.14067 and 2212.00606: gamma_c at T = .02, P = 4; with the Gaussian law of the examples.
    [
        (0.8, 10, 0.3122, 0.2598),
        (0.8, 50, 0.3792, 0.3608),
        (0.6, 10, 0.2141, 0.0601),
        (0.6, 50, 0.3399, 0.1801),
        (0.6, 200, 0.3835, 0.3073),
        (0.4, 50, 0.2624, 0.0124),
        (0.4, 200, 0.3540, 0.0455),
        (0.4, 1000, 0.3902, 0.1578),
    ],
)
def test_capacity_of_learning_from_examples(r, M, supervised, unsupervised):
    for training, expected in (("supervised", supervised), ("unsupervised", unsupervised)):
        model = DenseHebbian(N=9, P=4, training=training, quality=r, examples=M)
        gaussian = critical_load(model, 0.02, data_noise="gaussian").item()
        assert gaussian == pytest.approx(expected, abs=6e-5)
        # The exact law differs by a part in M: 6 % at r = .6, M = 10.
        assert critical_load(model, 0.02).item() == pytest.approx(gaussian, rel=0.7 / M)


def test_capacity_of_learning_at_its_limits():
    # Reference solution, 2211.14067 and 2212.00606: (r, M) = (1, 1): .4003, storing.
    perfect = DenseHebbian(N=9, P=4, training="supervised", quality=1.0, examples=1)
    assert critical_load(perfect, 0.02).item() == pytest.approx(0.4003, abs=6e-5)
    assert critical_load(perfect, 0.02).item() == critical_load(storing(4), 0.02).item()
    # Data-set threshold: unsupervised learning needs M >> r^-2P, supervised M >> r^-2.
    models = [
        DenseHebbian(N=9, P=4, training=training, quality=0.5, examples=100)
        for training in ("supervised", "unsupervised")
    ]
    taught, untaught = (critical_load(model, 0.05).item() for model in models)
    assert untaught < 0.4 * taught


@pytest.mark.parametrize("rho", [0.0, 0.02, 0.1, 0.5, 2.0])
def test_capacity_of_supervised_learning_at_zero_temperature(rho):
    # Order two, Gaussian data: the field is n/sqrt(1+rho) + s z, s^2 = V + n^2 rho/(1+rho); y = n/(s sqrt(2(1+rho))).
    # With c = sqrt(2/pi) exp(-y^2): m = erf y, C = c/s, n sqrt(1+rho) = m + rho n C/sqrt(1+rho), V = alpha/(1-C)^2, so
    # s (1+rho) = m/(y sqrt 2) + rho c and sqrt(alpha) = sqrt(V) (1-C), the function below.
    def root_of_load(y):
        c = math.sqrt(2 / math.pi) * math.exp(-(y**2))
        return math.sqrt(1 - 2 * rho * y**2) * (math.erf(y) / (math.sqrt(2) * y) - c) / (1 + rho)

    root, _ = largest(root_of_load, 1e-3, min(4.0, 1 / math.sqrt(2 * rho) - 1e-9) if rho else 4.0)
    M = 10**8
    model = DenseHebbian(N=9, P=2, training="supervised", quality=1.0, examples=1)
    values = critical_load(model, 0.0, quality=1 / math.sqrt(1 + rho * M), examples=M)
    assert values.dims == ("quality", "examples", "T")
    assert values.item() == pytest.approx(root**2, rel=1e-9)
    if rho == 0:
        assert values.item() == pytest.approx(0.137905566, abs=6e-10)


def test_capacity_along_the_axes_of_the_data():
    T, r, M = [0.0, 0.2], [0.5, 0.9, 1.0], [1, 2, 30]
    for P in (2, 4):
        template = DenseHebbian(N=9, P=P, training="unsupervised", quality=0.7, examples=5)
        values = critical_load(template, T, quality=r, examples=M)
        assert values.dims == ("quality", "examples", "T")
        for quality, examples in ((0.5, 30), (0.9, 2)):
            single = critical_load(template.replace(quality=quality, examples=examples), T)
            assert single.dims == ("T",)
            np.testing.assert_array_equal(values.sel(quality=quality, examples=examples), single)
        assert critical_load(template, T, quality=r).dims == ("quality", "T")
        assert critical_load(template, T, examples=M).dims == ("examples", "T")
        # One example, or perfect ones: how it is learned makes no difference.
        taught = critical_load(template.replace(training="supervised"), T, quality=r, examples=M)
        np.testing.assert_allclose(values.sel(examples=1), taught.sel(examples=1), rtol=1e-12)
        np.testing.assert_array_equal(values.sel(quality=1.0), taught.sel(quality=1.0))
        assert (values.sel(examples=30, quality=0.5) < 0.95 * taught.sel(examples=30, quality=0.5)).all()


def test_bad_axes_of_the_data_are_named():
    model = DenseHebbian(N=9, P=2, training="supervised", quality=0.7, examples=5)
    with pytest.raises(ValueError, match=r"every value of quality: quality = 1\.1"):
        critical_load(model, 0.0, quality=1.1)
    with pytest.raises(TypeError, match=r"examples = 2\.0 is not an array of integers"):
        critical_load(model, 0.0, examples=2.0)
    with pytest.raises(ValueError, match=r"quality = 0\.5 has no meaning for training='storing'"):
        critical_load(storing(2), 0.0, quality=0.5)


@pytest.mark.parametrize(
    ("P", "gamma", "m"),
    [(3, 0.4646, 0.645), (4, 0.4602, 0.816), (6, 0.5292, 0.915)],  # Reference solution, Gardner 1987
)
def test_spinodals_on_the_nishimori_line(P, gamma, m):
    value = brentq(lambda T: critical_load(storing(P), T).item() - T, 0.3, 0.7, xtol=1e-12)
    assert value == pytest.approx(gamma, abs=6e-5)
    point = replica_symmetric.solve(storing(P), load=value - 1e-7, T=value - 1e-7)
    assert point.m.item() == pytest.approx(m, abs=2e-3)
    # The replicon vanishes there to three digits.
    assert abs(point.replicon.item()) < 2e-3


@pytest.mark.parametrize("function", [critical_load, spinodal_temperature])
def test_bad_input_is_named(function):
    name = "T" if function is critical_load else "load"
    with pytest.raises(ValueError, match=f"every value of {name}: {name} = -0.1"):
        function(storing(4), -0.1)
    with pytest.raises(ValueError, match=f"{name} is empty"):
        function(storing(4), [])
    with pytest.raises(TypeError, match="is not a DenseHebbian"):
        function("network", 0.1)
    with pytest.raises(ValueError, match="data_noise = 'no' is unknown"):
        function(storing(4), 0.1, data_noise="no")
    with pytest.raises(ValueError, match="interaction = 'exponential'"):
        function(DenseHebbian(N=9, P=None, interaction="exponential"), 0.1)


def test_the_load_of_the_model_is_taken_where_none_is_given():
    model = storing(4).replace(load=0.3)
    assert spinodal_temperature(model).item() == spinodal_temperature(storing(4), 0.3).item()
    with pytest.raises(ValueError, match="load = None and the model has none"):
        spinodal_temperature(storing(4))
