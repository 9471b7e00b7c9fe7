import numpy as np
import pytest

from hebbian import DenseHebbian, MultitaskingHebbian
from theory import threads
from theory.replica_symmetric import (
    learning_threshold,
    mixture,
    multitasking,
    one_step_critical_load,
    one_step_solve,
    solve,
)

LEARNED = {"training": "supervised", "quality": 0.7, "examples": 20}
FEW = np.linspace(0.0, 0.6, 9)
LOADS = np.linspace(0.02, 0.5, 8)
MAPS = {
    "dense": lambda: solve(DenseHebbian(N=9, P=3, **LEARNED), load=LOADS, T=FEW),
    "dense, along the data": lambda: solve(
        DenseHebbian(N=9, P=3, **LEARNED), load=LOADS[:3], T=FEW[:2], quality=FEW[1:], examples=[3, 10]
    ),
    "mixture": lambda: mixture(DenseHebbian(N=9, P=2), components=3, load=LOADS / 50, T=FEW),
    "one step": lambda: one_step_solve(DenseHebbian(N=9, P=3), load=LOADS, T=FEW[:3]),
    "one-step line": lambda: one_step_critical_load(DenseHebbian(N=9, P=2), T=FEW[:3] / 4),
    "multitasking": lambda: multitasking.solve(MultitaskingHebbian(N=9, K=3), dilution=FEW, T=FEW),
    "learning": lambda: learning_threshold(
        DenseHebbian(N=9, P=2, **LEARNED), load=0.05, T=0.01, quality=[0.4, 0.6, 0.8]
    ),
}


@pytest.mark.parametrize("name", MAPS)
def test_the_number_of_threads_changes_no_bit(name, monkeypatch):
    monkeypatch.setattr(threads.numba, "get_num_threads", lambda: 1)
    alone = MAPS[name]()
    monkeypatch.setattr(threads.numba, "get_num_threads", lambda: 3)
    assert MAPS[name]().identical(alone)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("points", [1, 2, 47, 48, 1000])
def test_every_point_is_computed_once(count, points, monkeypatch):
    monkeypatch.setattr(threads.numba, "get_num_threads", lambda: count)
    times = np.zeros(points, dtype=int)

    def compute(begin, end):
        times[begin:end] += 1

    threads.spread(compute, points)
    assert (times == 1).all()


def test_an_error_of_a_piece_is_raised_and_ends_the_rest(monkeypatch):
    monkeypatch.setattr(threads.numba, "get_num_threads", lambda: 2)

    def compute(begin, end):
        raise ArithmeticError(f"{begin}")

    with pytest.raises(ArithmeticError, match=r"^0$"):
        threads.spread(compute, 100)
