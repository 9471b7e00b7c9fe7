"""The table of a run of the benchmarks, its summary, and what became slower: `python -m benchmarks.table --help`."""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import timing

HISTORY = Path(__file__).parent / "history"
# A row became slower if its time, in units of what the machine allowed in the same run, grew by more than this:
# repeated runs of the same code on a machine that is shared scatter by up to 2 in time, and by less in this.
THRESHOLD = 1.5
# Unit of rows that have no limit of their own.
REFERENCE = ("this machine, one core", "int8 x int16 products, 4 MiB")


@dataclass(frozen=True)
class Row:
    """One figure of a run.

    Parameters
    ----------
    group, name : str
        Heading and name, the same in all runs.
    unit : str
        Unit of work.
    best, middle : float
        Shortest and median time in seconds a unit.
    facts : dict
        What `benchmarks.conftest.Measure` was told.
    """

    group: str
    name: str
    unit: str
    best: float
    middle: float
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Seconds a unit, the shortest; the median where processes begin, whose shortest is luck."""
        return self.middle if self.facts.get("middle") else self.best


@dataclass(frozen=True)
class Run:
    """All figures of a run: on which processor, of which commit, when, and a row for each (group, name)."""

    processor: str
    commit: str
    date: str
    rows: dict[tuple[str, str], Row]

    def normalised(self, key: tuple[str, str]) -> float:
        """Return the time of a row over that of its limit, or of the reference, in the same run."""
        row = self.rows[key]
        limit = row.facts.get("limit") or (None, self.rows[REFERENCE].seconds)
        return row.seconds / limit[1]


def read(path: Path) -> Run:
    """Return a run from the file that pytest-benchmark wrote."""
    raw, rows = json.loads(path.read_text()), {}
    for benchmark in raw["benchmarks"]:
        facts = dict(benchmark["extra_info"])
        group, name, unit, work = (facts.pop(key) for key in ("group", "name", "unit", "work"))
        times = [(benchmark["stats"][which] - facts.get("off", 0.0)) / work for which in ("min", "median")]
        rows[group, name] = Row(group, name, unit, *times, facts)
    return Run(timing.processor(), raw["commit_info"]["id"], raw["datetime"], rows)


def stored(path: Path) -> Run:
    """Return a run from its summary."""
    given = json.loads(path.read_text())
    rows = {(row["group"], row["name"]): Row(**row) for row in given.pop("rows")}
    return Run(**given, rows=rows)


def keep(run: Run, folder: Path = HISTORY) -> Path:
    """Write the summary of a run, a few KB, and return where."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{run.date[:19].replace(':', '')}-{run.commit[:7]}.json"
    rows = []
    for row in run.rows.values():
        facts = {key: row.facts[key] for key in ("limit", "middle") if key in row.facts}
        rows.append(asdict(row) | {"facts": facts})
    rows = [row | {key: float(f"{row[key]:.4g}") for key in ("best", "middle")} for row in rows]
    head = {"processor": run.processor, "commit": run.commit, "date": run.date}
    lines = ",\n".join(json.dumps(row) for row in rows)
    path.write_text(f'{json.dumps(head)[:-1]}, "rows": [\n{lines}\n]}}\n')
    return path


def previous(run: Run, folder: Path = HISTORY) -> Run | None:
    """Return the newest stored run on the same processor before a run."""
    runs = [stored(path) for path in sorted(folder.glob("*.json"))]
    return next((old for old in reversed(runs) if old.processor == run.processor and old.date < run.date), None)


def slower(new: Run, old: Run, threshold: float = THRESHOLD) -> list[tuple[Row, float]]:
    """Return the rows that became slower, and how many times, by times over what the machine allowed in each run."""
    both = [key for key in new.rows if key in old.rows and key != REFERENCE and old.rows[key].seconds > 0]
    ratios = [(new.rows[key], new.normalised(key) / old.normalised(key)) for key in both]
    return sorted(((row, ratio) for row, ratio in ratios if ratio > threshold), key=lambda pair: -pair[1])


def lines(run: Run) -> Iterator[str]:
    """Yield the lines of the table."""
    for group in dict.fromkeys(row.group for row in run.rows.values()):
        yield group
        for row in (row for row in run.rows.values() if row.group == group):
            yield f"  {row.name:45} {_time(row.seconds, row.unit):23} {_rate(row):21}{_remarks(run, row)}".rstrip()
    yield "Times are the shortest of some rounds, of new processes the median. [n]: what is aimed at."


def _time(seconds: float, unit: str) -> str:
    if seconds <= 0:
        return "less than what a call takes besides"
    size, name = next(s for s in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"), (0, "ns")) if seconds >= s[0])
    return f"{seconds / (size or 1e-9):8.3g} {name} / {unit}"


def _rate(row: Row) -> str:
    if row.seconds <= 0:
        return ""
    return f"{1 / row.seconds:9.3g} a second" if row.unit not in ("process", "task") else ""


def _remarks(run: Run, row: Row) -> str:
    facts, remarks = row.facts, []
    if row.seconds <= 0:
        return ""
    if limit := facts.get("limit"):
        remarks.append(f"{limit[1] / row.seconds:.2f} of {limit[0]}")
    for other, aim in facts.get("against", ()):
        if (row.group, other) in run.rows and run.rows[row.group, other].seconds > 0:
            ratio = run.rows[row.group, other].seconds / row.seconds
            remarks.append(f"{ratio:.3g} x {other}" + (f" [{aim:.3g}]" if aim else ""))
    if aim := facts.get("aim"):
        remarks.append(f"{aim[0] / row.seconds:.2f} x [{aim[1]}]")
    if "setup" in facts:
        remarks.append(f"set-up {facts['setup']:.2g} s, not counted")
    if facts.get("note"):
        remarks.append(facts["note"])
    if row.middle > 1.5 * row.best > 0:
        remarks.append(f"median {row.middle / row.best:.1f} x the shortest")
    return "; ".join(remarks)


def main() -> None:
    """Print the table of a run, or what became slower; keep its summary if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, help="file that pytest-benchmark wrote")
    parser.add_argument("--keep", action="store_true", help="store the summary in benchmarks/history")
    parser.add_argument("--compare", action="store_true", help="list what is slower than in the last stored run")
    chosen = parser.parse_args()
    run = read(chosen.path)
    if not chosen.compare:
        timing.header()
        print("\n".join(lines(run)))
    if chosen.keep:
        print(f"\nsummary: {keep(run)}")
    if chosen.compare:
        if (old := previous(run)) is None:
            print(f"no earlier run is stored for {run.processor}")
            return
        found = slower(run, old)
        print(f"{run.commit[:7]} ({run.date[:10]}) against {old.commit[:7]} ({old.date[:10]}) on {run.processor}")
        print(f"{len(found)} of {len(run.rows.keys() & old.rows.keys())} figures slower by more than {THRESHOLD} x,")
        print("in units of what the machine allowed in the same run")
        for row, ratio in found:
            print(f"  {ratio:5.2f} x  {row.group} | {row.name}")


if __name__ == "__main__":
    main()
