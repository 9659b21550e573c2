"""Compare the speed of the code with the stored quick results: ``python -m bench --compare``.

Seconds of another machine or another day say little. So each operation is compared with what its
row measures beside it in the same process, its references: the limit, or other packages. A row's
ratio is blockmat's time divided by that of a reference, each the shortest of all rounds, because
noise only adds time. All of them use one thread. Its change is the ratio now divided by the stored one. With several
references it is the smallest of their changes: the operation is that much slower relative to each.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bench import rows
from bench.rows import LIMIT, OURS, Row, Table, seconds

SCENARIOS = (
    "product", "factor", "family", "fit", "samples", "functions", "startup", "optimizer",
)  # fmt: skip
OWN = {  # blockmat's own code among the references, which becomes slower with it
    "product": {"float64", "shuffled labels"},
    "family": {"without checks", "one BLAS thread"},
    "fit": {"float64"},
    "samples": {LIMIT},
}
# The change from which a row is listed as slower. Two runs of the same code differed by at most 1.33
# on two cores with other work.
SLOWER = 1.5
REPEATS = 2  # further runs of a scenario that is stored, or in which rows seem slower

Key = tuple[str, str]  # group and name of a row
Measure = Callable[[], list[Row]]


@dataclass(frozen=True)
class Change:
    """How the time of one operation has changed beside one reference."""

    scenario: str
    work: str
    reference: str
    now: float  # blockmat's time relative to that of the reference
    then: float
    seconds_now: float
    seconds_then: float

    @property
    def factor(self) -> float:
        return self.now / self.then


@dataclass
class Comparison:
    """The changes of all scenarios, and the rows that have none."""

    changes: list[Change] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    alone: list[str] = field(default_factory=list)  # rows with times, and without a reference

    def slower(self, above: float) -> list[Change]:
        return [change for change in self.changes if change.factor > above]


def compare(scenario: str, now: list[Row], then: list[Row]) -> Comparison:
    """Compare the rows of one scenario with the stored ones."""
    found = Comparison()
    new, old = _by_key(now), _by_key(then)
    found.new = [f"{scenario}: {work}" for group, work in new if (group, work) not in old]
    found.gone = [f"{scenario}: {work}" for group, work in old if (group, work) not in new]
    for key in new:
        if key in old:
            change = _smallest_change(scenario, new[key], old[key])
            if change is None:
                found.alone.append(f"{scenario}: {key[1]}")
            else:
                found.changes.append(change)
    return found


def _by_key(found: list[Row]) -> dict[Key, Row]:
    return {(row.group, row.work): row for row in found if OURS in row.times}


def _smallest_change(scenario: str, now: Row, then: Row) -> Change | None:
    own = OWN.get(scenario, set())
    changes = [
        Change(scenario, now.work, name, now.least() / now.least(name),
               then.least() / then.least(name), now.least(), then.least())
        for name in now.times if name in then.times and name != OURS and name not in own
    ]  # fmt: skip
    return min(changes, key=lambda change: change.factor, default=None)


def run(names: tuple[str, ...], above: float) -> tuple[Comparison, list[dict[str, Any]]]:
    """Measure scenarios and compare them; return also their stored files.

    Raises
    ------
    FileNotFoundError
        If a scenario has no stored quick results, before anything is measured.
    """
    stored = {name: rows.load(name, quick=True) for name in names}
    whole = Comparison()
    for name, (_, then) in stored.items():
        found = measured(name, _measure(name), then, above)
        for part in ("changes", "new", "gone", "alone"):
            getattr(whole, part).extend(getattr(found, part))
    return whole, [content for content, _ in stored.values()]


def _measure(name: str) -> Measure:
    scenario = importlib.import_module(f"bench.{name}")
    return lambda: scenario.measure(True)


def measured(name: str, measure: Measure, then: list[Row], above: float) -> Comparison:
    """Measure a scenario; if rows seem slower, measure it again and count all rounds together."""
    now = measure()
    for _ in range(REPEATS):
        if not compare(name, now, then).slower(above):
            break
        add_rounds(now, measure())
    return compare(name, now, then)


def add_rounds(found: list[Row], again: list[Row]) -> None:
    """Add the rounds of another run of the same scenario."""
    others = _by_key(again)
    for key, row in _by_key(found).items():
        for competitor, times in others[key].times.items():
            row.times[competitor] = row.times[competitor] + times


# What is printed

HEADINGS = (
    "change", "scenario", "operation", "reference", "ratio now", "ratio stored", "time now", "time stored",
)  # fmt: skip


def table(found: Comparison) -> Table:
    """One row for each operation, the slowest first."""
    changes = sorted(found.changes, key=lambda change: -change.factor)
    return list(HEADINGS), [
        [
            f"{c.factor:.2f}", c.scenario, c.work, c.reference, f"{c.now:.3g}", f"{c.then:.3g}",
            seconds(c.seconds_now), seconds(c.seconds_then),
        ]
        for c in changes
    ]  # fmt: skip


def verdict(found: Comparison, above: float) -> list[str]:
    """The result in words, and the rows that were not compared."""
    slower = found.slower(above)
    n = len(found.changes)
    lines = [
        f"{len(slower)} of {n} operations slower than {above:g} times the stored ratio"
        if slower
        else f"no operation is slower than {above:g} times the stored ratio ({n} compared)"
    ]
    for text, members in (
        ("new, not compared", found.new),
        ("gone", found.gone),
        ("without a reference, not compared", found.alone),
    ):
        if members:
            lines.append(f"{text} ({len(members)}): {'; '.join(members)}")
    return lines


def machines(contents: list[dict[str, Any]]) -> list[str]:
    """The machine of the stored results, and of this run if it is another one."""
    stored = sorted({rows.describe_machine(content["machine"]) for content in contents})
    here = rows.describe_machine(rows.machine())
    lines = [f"stored: {machine}" for machine in stored]
    return lines if stored == [here] else [*lines, f"here: {here}"]
