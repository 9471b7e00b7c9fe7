import pytest

from runs import effective_theory_training as training
from runs import figures
from sim import store
from tests.runs import running

pytest.importorskip("torch")

TINY = {"samples": 3, "layers": 5, "n": 32, "epochs": 9, "images": 400}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return running.compute(training.SCRIPT, TINY, tmp_path_factory.mktemp("results") / "training.h5")


def test_gradients_vanish_in_the_ordered_phase_and_by_default(out):
    first = {name: store.read(out, f"comparison/{name}").gradient_mean[0].item() for name in training.STARTS}
    assert first["pytorch"] < first["ordered"] < first["critical"] < first["chaotic"]
    for name in ("ordered", "pytorch"):
        assert first[name] == pytest.approx(store.read(out, f"theory/{name}").gradient[0].item(), rel=0.3)
    assert store.read(out, "theory/chaotic").gradient[0] > 1


def test_every_network_is_measured_and_some_learn(out):
    for name in training.STARTS:
        simulation = store.read(out, f"simulation/{name}")
        assert (simulation.completed == 1).all()
        assert dict(simulation.accuracy.sizes) == {"sample": 3, "step": 10}
        assert simulation.loss[0, 0] != simulation.loss[1, 0]
    critical = store.read(out, "comparison/critical")
    assert critical.loss_mean[-1] < 0.7 * critical.loss_mean[0]
    assert critical.accuracy_mean[-1] > 0.4


def test_figure_and_report(out):
    figure = training.draw(out)
    assert len(figure.axes) == 2
    assert all(path.stat().st_size > 10_000 for path in figures.save(figure, out))
    assert len(list(training.report(out))) == 4


def test_a_killed_run_resumes_to_the_same_file(out, tmp_path):
    running.assert_resumes(training.SCRIPT, TINY, tmp_path / "killed.h5", out, tasks=4)
