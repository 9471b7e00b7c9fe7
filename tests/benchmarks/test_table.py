"""What a run of the benchmarks says, and what it finds slower than the run before."""

import json
from dataclasses import replace

import pytest

from benchmarks import table, timing

GROUP, OWN, OTHER = "a network", ("a network", "rows"), ("a network", "loop")


def run(date="2026-01-02", processor="A", *, reference=1.0, limit=0.5, rows=2.0, loop=60.0):
    figures = {
        table.REFERENCE: table.Row(*table.REFERENCE, "term", reference, reference),
        OWN: table.Row(*OWN, "update", rows, rows, {"limit": ["products", limit], "against": [["loop", 20]]}),
        OTHER: table.Row(*OTHER, "update", loop, loop),
    }
    return table.Run(processor, "0123456789", date, figures)


def test_a_slower_machine_makes_nothing_slower():
    assert table.slower(run(reference=3.0, limit=1.5, rows=6.0, loop=180.0), run()) == []


@pytest.mark.parametrize(
    ("changes", "key", "ratio"),
    [
        ({"rows": 4.0}, OWN, 2.0),
        ({"loop": 180.0}, OTHER, 3.0),
        ({"rows": 4.0, "reference": 2.0, "loop": 120.0}, OWN, 2.0),
    ],
)
def test_what_is_slower_than_the_machine_allows_is_listed(changes, key, ratio):
    ((row, found),) = table.slower(run(**changes), run())
    assert (row.group, row.name) == key
    assert found == pytest.approx(ratio)


def test_scatter_below_the_threshold_is_not_listed():
    assert table.slower(run(rows=2.9, loop=85.0), run()) == []


def test_the_newest_earlier_run_of_the_same_processor_is_found_in_its_summary(tmp_path):
    for date, processor in (("2026-01-01", "A"), ("2026-01-02", "A"), ("2026-01-03", "B"), ("2026-01-05", "A")):
        table.keep(run(date, processor), tmp_path)
    old = table.previous(run("2026-01-05"), tmp_path)
    assert old.date == "2026-01-02"
    assert table.slower(run(rows=5.0), old)[0][1] == pytest.approx(2.5)
    assert table.previous(run("2026-01-05", "C"), tmp_path) is None


def test_a_file_of_pytest_benchmark_becomes_seconds_a_unit(tmp_path):
    info = {"group": GROUP, "name": "rows", "unit": "update", "work": 4.0, "off": 2.0, "note": "noted"}
    stats = {"min": 10.0, "median": 18.0}
    raw = {"commit_info": {"id": "c"}, "datetime": "d", "benchmarks": [{"extra_info": info, "stats": stats}]}
    path = tmp_path / "raw.json"
    path.write_text(json.dumps(raw))
    read = table.read(path)
    assert read.processor == timing.processor()
    row = read.rows[OWN]
    assert (row.best, row.middle, row.facts) == (2.0, 4.0, {"off": 2.0, "note": "noted"})


def test_a_line_has_the_ratio_the_aim_and_the_share_of_the_limit():
    text = "\n".join(table.lines(run()))
    assert "30 x loop [20]" in text
    assert "0.25 of products" in text


def test_times_of_processes_count_by_their_median():
    row = table.Row(*OWN, "process", 1.0, 3.0, {"middle": True})
    assert (row.seconds, replace(row, facts={}).seconds) == (3.0, 1.0)
