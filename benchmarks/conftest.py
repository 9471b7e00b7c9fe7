"""What all benchmarks share: which cases a quick run keeps, and how a measurement is made and named."""

import time
from collections.abc import Callable
from typing import Any

import pytest

# Seconds that a round is to take, and rounds: of their times the shortest counts.
ROUND, ROUNDS = {"full": 0.15, "quick": 0.05}, {"full": 5, "quick": 3}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="fewer cases, shorter rounds")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked as full in a quick run."""
    if config.getoption("--quick"):
        items[:] = [item for item in items if not item.get_closest_marker("full")]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "full: a case of the full run alone")


class Measure:
    """A benchmark whose times are kept with the names of what they are compared with.

    Parameters
    ----------
    benchmark : fixture of pytest-benchmark
        What times.
    length : {"full", "quick"}
        Which run.
    """

    def __init__(self, benchmark: Any, length: str) -> None:
        self._benchmark, self._length = benchmark, length

    def sweeps(self, one: Callable[[], object]) -> int:
        """Return how many sweeps make a round; `one` does a single one, and is called twice."""
        one()
        start = time.perf_counter()
        one()
        return max(1, min(100_000, int(ROUND[self._length] / (time.perf_counter() - start))))

    def __call__(
        self,
        group: str,
        name: str,
        function: Callable[[], object],
        work: float,
        unit: str,
        *,
        rounds: int | None = None,
        warm: bool = True,
        **facts: Any,
    ) -> None:
        """Time a function.

        Parameters
        ----------
        group, name : str
            Heading of the table and name of the row; together they name the figure for ever.
        function : callable
            What is timed.
        work : float
            Units of work that a call does.
        unit : str
            Name of a unit of work.
        rounds : int, optional
            How often.
        warm : bool
            Whether it is called once before, untimed.
        **facts
            ``against``: [(name of another row of the group, least ratio that is aimed at or None)]; ``limit``: (what
            bounds it, seconds a unit at the limit); ``off``: seconds of a call that are no work; ``setup``: seconds
            before; ``aim``: (most seconds a unit, words); ``note``: words.
        """
        rounds = rounds or ROUNDS[self._length]
        self._benchmark.pedantic(function, rounds=rounds, iterations=1, warmup_rounds=int(warm))
        self._benchmark.extra_info.update({"group": group, "name": name, "work": work, "unit": unit} | facts)


@pytest.fixture
def measure(benchmark: Any, request: pytest.FixtureRequest) -> Measure:
    return Measure(benchmark, "quick" if request.config.getoption("--quick") else "full")
