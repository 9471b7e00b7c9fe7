import math

import numpy as np
import pytest

from hebbian import DenseHebbian
from theory import replica_symmetric
from theory.replica_symmetric import (
    almeida_thouless_temperature,
    critical_temperature,
    glass_temperature,
    nishimori,
    one_step,
    spinodal_temperature,
)
from theory.replica_symmetric.disorder import noise_powers


def storing(P, interaction="distinct"):
    return DenseHebbian(N=9, P=P, interaction=interaction)


def learning(P, training, r=0.6, M=40):
    return DenseHebbian(N=9, P=P, training=training, quality=r, examples=M)


def test_critical_temperatures_of_the_hopfield_model():
    # Reference solution, AGS 1987.
    alpha = [0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.052]
    T = [0.8074, 0.7216, 0.5913, 0.4788, 0.3652, 0.2164, 0.1638]
    line = critical_temperature(storing(2), alpha)
    assert line.values == pytest.approx(T, abs=6e-5)
    for load, temperature in zip(alpha, line.values.tolist(), strict=True):
        retrieval, glass = (
            replica_symmetric.solve(storing(2), load=load, T=temperature, branch=branch).free_energy.item()
            for branch in ("retrieval", "glass")
        )
        assert retrieval == pytest.approx(glass, abs=1e-12)


def test_the_critical_temperature_of_the_hopfield_model_is_reentrant():
    # Reference solution, AGS 1987: two crossings for alpha in (.05185, about .053); at T = 0, alpha_1 = .051854.
    alpha = [0.05185, 0.05186, 0.0525, 0.053, 0.054]
    lower, upper = (critical_temperature(storing(2), alpha, crossing=side).values for side in ("lower", "upper"))
    assert np.isnan(lower).tolist() == [True, False, False, False, True]
    assert np.isnan(upper).tolist() == [False, False, False, False, True]
    assert np.all(lower[1:4] < upper[1:4])
    # They meet like a root at alpha = .0531321 ("about .053").
    near = [0.053132, 0.05313]
    lower_near, upper_near = (
        critical_temperature(storing(2), near, crossing=side).values for side in ("lower", "upper")
    )
    assert upper_near - lower_near == pytest.approx(4.7 * np.sqrt(0.05313208 - np.array(near)), rel=0.02)
    # Between the two, and only there, the pattern states are the stable phase.
    T = np.array([0.5 * lower[2], 0.5 * (lower[2] + upper[2]), 1.5 * upper[2]])
    difference = (
        replica_symmetric.solve(storing(2), load=0.0525, T=T).free_energy
        - replica_symmetric.solve(storing(2), load=0.0525, T=T, branch="glass").free_energy
    )
    assert np.sign(difference.values).ravel().tolist() == [1, -1, 1]


def test_ground_states_of_the_hopfield_model_cross_at_alpha_one():
    # Reference solution, AGS 1987: alpha_1 = 0.051854.
    energies = [
        replica_symmetric.solve(storing(2), load=[0.051853, 0.051855], T=0.0, branch=branch).energy.values.ravel()
        for branch in ("retrieval", "glass")
    ]
    assert energies[0][0] < energies[1][0]
    assert energies[0][1] > energies[1][1]


@pytest.mark.parametrize("P", [3, 4, 6])
def test_critical_temperatures_of_dense_networks(P):
    load = [0.05, 0.2, 0.3]
    line = critical_temperature(storing(P), load)
    spinodal = spinodal_temperature(storing(P), load)
    glass = glass_temperature(storing(P), load)
    assert np.all(line.values < spinodal.values)
    assert np.all(line.values > glass.values)
    # Above T_K the other phase is the paramagnet, f = -T ln 2 - gamma/(4T).
    for gamma, T in zip(load, line.values.tolist(), strict=True):
        f = replica_symmetric.solve(storing(P), load=gamma, T=T).free_energy.item()
        assert f == pytest.approx(-T * math.log(2) - gamma / (4 * T), abs=1e-12)


@pytest.mark.parametrize(("P", "gamma_1"), [(4, 0.3806), (5, 0.3681), (6, 0.3638), (8, 0.3613)])
def test_dense_ground_states_cross_the_glass_with_one_step_breaking(P, gamma_1):
    # Reference solution, Gardner 1987: E_ret = E_SG at T = 0.
    glass = one_step.free_energy(tuple(noise_powers(P, "distinct")), 0.0)
    loads = np.array([gamma_1 - 6e-5, gamma_1 + 6e-5])
    excess = replica_symmetric.solve(storing(P), load=loads, T=0.0).energy.values.ravel() - glass * np.sqrt(loads)
    assert excess[0] < 0 < excess[1]


def test_the_critical_temperature_at_order_four_is_reentrant_into_the_glass():
    load = 0.3804
    lower, upper = (critical_temperature(storing(4), load, crossing=side).item() for side in ("lower", "upper"))
    assert 0 < lower < glass_temperature(storing(4), load).item() < upper
    # The other phase is the paramagnet at the one and the glass with one step of breaking at the other.
    for T in (lower, upper):
        other = math.sqrt(load) * one_step.free_energy(tuple(noise_powers(4, "distinct")), T / math.sqrt(load))
        assert replica_symmetric.solve(storing(4), load=load, T=T).free_energy.item() == pytest.approx(other, abs=1e-12)


@pytest.mark.parametrize("alpha", [0.01, 0.5, 3.0])
def test_the_glass_temperature_of_the_hopfield_model(alpha):
    # Amit, Gutfreund, Sompolinsky 1985: T_g = 1 + sqrt(alpha).
    for model in (storing(2), storing(2, "all"), learning(2, "supervised")):
        for kind in ("static", "dynamic"):
            assert glass_temperature(model, alpha, kind=kind).item() == pytest.approx(1 + math.sqrt(alpha), abs=1e-12)


@pytest.mark.parametrize("model", [storing(2), learning(2, "unsupervised"), learning(2, "unsupervised", 0.1, 5)])
@pytest.mark.parametrize("alpha", [0.01, 0.3, 2.0])
def test_the_glass_appears_at_its_temperature(model, alpha):
    T = glass_temperature(model, alpha).item()
    q = replica_symmetric.solve(model, load=alpha, T=[T * 0.999, T * 1.001], branch="glass").q.values.ravel()
    assert 0 < q[0] < 0.05
    assert q[1] == 0
    # Noise of one example at a time: at M -> infinity, r -> 0 its modes approach that of M patterns.
    assert T >= 1 + math.sqrt(alpha) - 1e-12


@pytest.mark.parametrize(
    ("P", "static", "dynamic"),
    [(3, 0.6514, 0.6816), (4, 0.6169, 0.6784), (6, 0.6033, 0.7275)],  # Reference solution, Gardner 1987
)
def test_glass_temperatures_of_dense_networks(P, static, dynamic):
    load = np.array([0.04, 1.0])
    for kind, expected in (("static", static), ("dynamic", dynamic)):
        line = glass_temperature(storing(P), load, kind=kind).values
        assert line == pytest.approx(expected * np.sqrt(load), abs=6e-5)
    # Unsupervised: J^2 = g gamma.
    model = learning(P, "unsupervised")
    g = (0.6 ** (2 * P) * (1 - 1 / 40) + 1 / 40) / model.R**P
    assert glass_temperature(model, 1.0).item() == pytest.approx(static * math.sqrt(g), rel=1e-4)


def test_the_lower_order_couplings_of_all_tuples_change_the_glass():
    # P = 4: 3q + 2q^3 times the load is the Sherrington-Kirkpatrick model with a four-spin part: continuous at sqrt(3).
    assert glass_temperature(storing(4, "all"), 1.0).item() == pytest.approx(math.sqrt(3), abs=1e-12)
    # P odd: a random field on every spin leaves no transition.
    assert math.isnan(glass_temperature(storing(3, "all"), 1.0).item())


def test_almeida_thouless_temperatures_of_the_hopfield_model():
    # Reference solution, AGS 1987: below .005 at .12, .0095 at .13, .0142 at .135.
    line = almeida_thouless_temperature(storing(2), [0.12, 0.13, 0.135]).values
    assert line[0] < 0.005
    assert line[1:] == pytest.approx([0.0095, 0.0142], abs=6e-5)
    # Law of small alpha: sqrt(8 alpha/(9 pi)) exp(-1/(2 alpha)); corrections are exponentially small too.
    alpha = 0.01
    law = math.sqrt(8 * alpha / (9 * math.pi)) * math.exp(-1 / (2 * alpha))
    assert almeida_thouless_temperature(storing(2), alpha).item() == pytest.approx(law, rel=1e-6)


@pytest.mark.parametrize(
    ("model", "load"),
    [
        (storing(2), 0.1),
        (storing(4), 0.3),
        (storing(4), 0.45),
        (storing(3, "all"), 0.1),
        (learning(2, "supervised"), 0.05),
        (learning(2, "unsupervised"), 0.05),
        (learning(4, "supervised"), 0.1),
        (learning(4, "unsupervised"), 0.1),
    ],
)
def test_the_replicon_changes_sign_on_the_almeida_thouless_line(model, load):
    T = almeida_thouless_temperature(model, load).item()
    point = replica_symmetric.solve(model, load=load, T=[T * (1 - 1e-6), T * (1 + 1e-6)])
    assert point.retrieval.all()
    assert point.replicon.values.ravel()[0] < 0 < point.replicon.values.ravel()[1]


def test_lines_are_nan_without_retrieval():
    assert math.isnan(critical_temperature(storing(2), 0.06).item())
    assert math.isnan(critical_temperature(storing(2), 0.2).item())
    assert math.isnan(almeida_thouless_temperature(storing(2), 0.2).item())


@pytest.mark.parametrize("training", ["supervised", "unsupervised"])
def test_learning_lowers_the_lines(training):
    for P, load in ((2, 0.02), (4, 0.1)):
        model = learning(P, training)
        assert 0 < critical_temperature(model, load).item() < critical_temperature(storing(P), load).item()
        assert 0 < spinodal_temperature(model, load).item() < spinodal_temperature(storing(P), load).item()


@pytest.mark.parametrize(
    ("P", "expected"),
    # Reference solution, Gardner 1987: m = q at gamma = T = .2, .3, .4.
    [
        (3, [0.9897091, 0.9487322, 0.8538280]),
        (4, [0.9974885, 0.9816344, 0.9346116]),
        (6, [0.9998323, 0.9974148, 0.9879250]),
    ],
)
def test_the_nishimori_line(P, expected):
    line = nishimori(storing(P), [0.2, 0.3, 0.4])
    assert line.m.dims == ("load",)
    assert line.T.values == pytest.approx([0.2, 0.3, 0.4], abs=0)
    assert line.m.values == pytest.approx(expected, abs=1e-7)
    # Both are exact (Nishimori).
    assert line.m.values == pytest.approx(line.q.values, abs=1e-12)
    assert line.energy.values == pytest.approx(-0.5, abs=1e-12)
    assert (line.replicon > 0).all()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (storing(2), "P = 2 has no Nishimori line"),
        (storing(4, "all"), "interaction = 'all' has no Nishimori line"),
        (learning(4, "supervised"), "training = 'supervised' has no Nishimori line"),
    ],
)
def test_models_without_nishimori_line_are_refused(model, message):
    with pytest.raises(ValueError, match=message):
        nishimori(model, 0.3)


@pytest.mark.parametrize("function", [critical_temperature, glass_temperature, almeida_thouless_temperature, nishimori])
def test_bad_input_is_named(function):
    with pytest.raises(ValueError, match=r"every value of load: load = 0\.0"):
        function(storing(4), 0.0)
    with pytest.raises(ValueError, match="load is empty"):
        function(storing(4), [])
    with pytest.raises(ValueError, match="load = None and the model has none"):
        function(storing(4))
    with pytest.raises(TypeError, match="is not a DenseHebbian"):
        function(4, 0.1)
    with pytest.raises(ValueError, match="interaction = 'exponential'"):
        function(DenseHebbian(N=9, P=None, interaction="exponential"), 0.1)


def test_unknown_words_are_named():
    with pytest.raises(ValueError, match="crossing = 'middle' is unknown; allowed: 'upper', 'lower'"):
        critical_temperature(storing(2), 0.05, crossing="middle")
    with pytest.raises(ValueError, match="kind = 'spin' is unknown; allowed: 'static', 'dynamic'"):
        glass_temperature(storing(2), 0.05, kind="spin")
