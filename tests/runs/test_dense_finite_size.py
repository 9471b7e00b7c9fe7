import numpy as np
import pytest

from hebbian import DenseHebbian
from runs import dense_finite_size, figures
from sim import store, sweep
from theory import replica_symmetric

SMALL = {"N": {2: (200, 400, 600), 3: (120, 160, 240), 4: (100, 120, 140)}, "samples": 16, "sweeps": 60}
CASES = dense_finite_size.CASES


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out = tmp_path_factory.mktemp("results") / "finite_size.h5"
    dense_finite_size.compute(SMALL, seed=3, out=out)
    return out


@pytest.mark.slow
@pytest.mark.parametrize("quantity", dense_finite_size.QUANTITIES)
def test_extrapolated_values_agree_with_the_theory(results, quantity):
    # 27 points in nine independent cases, temperatures of one case being correlated. If the theory holds, a case
    # has a pull beyond 3 (Student, 45 degrees of freedom) with a probability below 7e-3: a fresh seed would
    # put more than one point outside at most once in 15 times.
    pulls = dense_finite_size.pulls(results, quantity)
    assert pulls.size == 27
    assert np.count_nonzero(abs(pulls) < 3) >= 0.95 * pulls.size


@pytest.mark.slow
def test_the_comparison_has_the_power_to_refute(results):
    # The all-tuples equations are another theory of P = 3 and 4, 30 to 150 % off in the noise.
    refuted = 0
    for case in CASES:
        if case.P == 2 or case.training != "storing":
            continue
        model = DenseHebbian(N=100, P=case.P, interaction="all")
        wrong = replica_symmetric.solve(model, load=case.load, T=case.T)
        simulation = store.read(results, f"simulation/{case.name}")
        pull = dense_finite_size.compare(simulation, wrong)["pull"].sel(quantity="m")
        refuted += int((abs(pull) > 3).sum())
    assert refuted >= 2


@pytest.mark.slow
def test_figure_has_a_panel_a_case(results):
    figure = dense_finite_size.draw(results)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:2] == ["$P = 2$, storing", "$P = 2$, supervised"]
    assert figures.save(figure, results)[0].stat().st_size > 10_000


@pytest.mark.slow
def test_all_tuples_lose_the_pattern_that_distinct_tuples_keep():
    # P = 4, K = 0.02 N^3, T = 0.6, N = 200: RS says m = 0.96750 (distinct) and no retrieval (all).
    run = {"T": 0.6, "samples": 4, "sweeps": 60, "equilibration": 60, "seed": 1, "replicas": 1}
    model = DenseHebbian(N=200, P=4, K=160_000)
    theory = replica_symmetric.solve(model, load=model.load, T=0.6)
    assert float(theory.m.squeeze()) == pytest.approx(0.96750, abs=1e-5)
    distinct = sweep(model, **run).m.squeeze()
    lost = sweep(model.replace(interaction="all"), **run).m.squeeze()
    # Between samples m varies by about 0.02 at this size; 0.03 are three standard errors of four.
    assert abs(float(distinct.mean()) - 0.96750) < 0.03
    assert (abs(lost) < 0.3).all()
    assert not replica_symmetric.solve(model.replace(interaction="all"), load=model.load, T=0.6).retrieval.any()
