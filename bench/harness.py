"""One way to measure: competitors in turns, in one process, as medians and ratios.

A scenario is a module with ``TITLE``, ``measure(quick)``, which returns a list of `Row`,
and optionally ``figure(rows, axes)``. A row is one piece of work: our time, the time that
the hardware or LAPACK needs for what the work cannot avoid (its limit), and the times of
others. Every round gives each of them a turn: a short rest, one call to warm up, one call that counts.
So all meet the same noise, and nobody the busy threads or the cold caches that another left.
Ratios are medians of the ratios inside rounds.
"""

import gc
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import blockmat as bm

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    "blockmat", "numpy", "scipy", "numba", "torch", "linear_operator", "cola-ml", "scikit-learn",
    "networkx", "ruptures",
)  # fmt: skip
OURS = "blockmat"
LIMIT = "limit"
MAX_ROUNDS = 25
REST = 0.03  # seconds before each turn, until the idle threads of BLAS have gone to sleep
VERY_LONG = 5.0  # seconds, from which on one turn, the first, has to do
LONG = 0.1  # seconds, from which on a turn needs no untimed call to warm up
MIN_ROUNDS = 3


@dataclass
class Goal:
    """What a ratio, or any other figure, is meant to reach."""

    figure: str
    value: float
    wanted: float
    at_least: bool

    @property
    def reached(self) -> bool:
        return self.value >= self.wanted if self.at_least else self.value <= self.wanted

    def describe(self) -> str:
        relation = "≥" if self.at_least else "≤"
        return f"{self.figure} {self.value:.3g} ({relation} {self.wanted:g})"


@dataclass
class Row:
    """The times of one piece of work: per competitor, in seconds, one for each round."""

    work: str
    times: dict[str, list[float]] = field(default_factory=dict)
    goals: list[Goal] = field(default_factory=list)
    notes: dict[str, float] = field(default_factory=dict)
    group: str = ""
    x: float | None = None

    def median(self, name: str = OURS) -> float:
        return statistics.median(self.times[name])

    def spread(self, name: str = OURS) -> float:
        """The distance between the quartiles, beside the median."""
        times = sorted(self.times[name])
        return (times[3 * len(times) // 4] - times[len(times) // 4]) / self.median(name)

    def ratio(self, name: str) -> float:
        """The median over rounds of another's time divided by ours: above 1, we are faster."""
        pairs = zip(self.times[name], self.times[OURS], strict=False)
        return statistics.median(theirs / ours for theirs, ours in pairs)

    @property
    def peers(self) -> list[str]:
        return [name for name in self.times if name not in (OURS, LIMIT)]

    def require(
        self,
        figure: str,
        value: float,
        *,
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> None:
        wanted = at_most if at_least is None else at_least
        assert wanted is not None
        self.goals.append(Goal(figure, float(value), wanted, at_least is not None))


def contest(
    work: str, ours: Callable[[], Any], limit: Iterable[Callable[[], Any]] = (),
    *, quick: bool = False, calls: int = 1, rest: bool = True,
    results: dict[str, Any] | None = None,
    **peers: Callable[[], Any],
) -> Row:  # fmt: skip
    """Measure a piece of work in turns with its limit, a sum of passes, and its peers.

    ``calls`` calls are timed together if one is too short for the clock. Keywords name
    peers; underscores become spaces. Whoever takes very long has one turn only. What the
    competitors return goes into `results`. No rest is needed where all use one BLAS library.
    """
    competitors: dict[str, list[Callable[[], Any]]] = {OURS: [ours]}
    if limit := list(limit):
        competitors[LIMIT] = limit
    competitors |= {name.replace("_", " "): [run] for name, run in peers.items()}
    row = Row(work, {name: [] for name in competitors})
    budget = 1.0 if quick else 4.0
    spent = dict.fromkeys(competitors, 0.0)
    finished = set()
    for name, parts in competitors.items():  # compile, load libraries, touch memory
        start = time.perf_counter()
        returned = [part() for part in parts]
        elapsed = time.perf_counter() - start
        if elapsed > VERY_LONG:
            row.times[name].append(elapsed)
            finished.add(name)
        if results is not None:
            results[name] = returned[0]
        del returned
    gc.collect()
    for number in range(3 if quick else MAX_ROUNDS):
        for name, parts in competitors.items():
            enough = number >= (2 if quick else MIN_ROUNDS) and spent[name] > budget
            if enough or name in finished:
                continue
            time.sleep(REST if rest else 0)
            if not row.times[name] or row.times[name][-1] < LONG:
                for part in parts:
                    part()
            elapsed = sum(_timed(part, calls) for part in parts)
            spent[name] += elapsed * calls
            row.times[name].append(elapsed)
    return row


def _timed(run: Callable[[], Any], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


# What is kept and shown


def machine() -> dict[str, Any]:
    """Processor, threads and versions; nothing that tells one machine of a kind from another."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "threads": bm.get_num_threads(),
        "python": platform.python_version(),
        "system": platform.system(),
        "versions": versions,
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()


def save(name: str, title: str, rows: list[Row], quick: bool) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    content = {
        "scenario": name,
        "title": title,
        "quick": quick,
        "machine": machine(),
        "rows": [_rounded(asdict(row)) for row in rows],
    }
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    row["times"] = {k: [float(f"{t:.4g}") for t in times] for k, times in row["times"].items()}
    return row


def load(name: str) -> tuple[dict[str, Any], list[Row]]:
    content = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    rows = [Row(**{**row, "goals": [Goal(**g) for g in row["goals"]]}) for row in content["rows"]]
    return content, rows


def seconds(value: float) -> str:
    for unit, size in (("s", 1), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"


COLUMNS = (
    "work", "blockmat", "spread", "of the limit", "others, in blockmat's time", "figures", "goals",
)  # fmt: skip


def cells(row: Row) -> list[str]:
    """The columns of a row, as text."""
    ours = OURS in row.times
    peers = [f"{name} {row.ratio(name):.3g}" for name in row.peers] if ours else []
    figures = [f"{name} {value:.3g}" for name, value in row.notes.items()]
    goals = [("✓ " if goal.reached else "✗ ") + goal.describe() for goal in row.goals]
    return [
        row.work,
        seconds(row.median()) if ours else "",
        f"{row.spread():.0%}" if ours else "",
        f"{row.ratio(LIMIT):.2f}" if LIMIT in row.times else "",
        ", ".join(peers),
        ", ".join(figures),
        "; ".join(goals),
    ]


def table_of(rows: list[Row]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells, without columns that would be empty."""
    texts = [cells(row) for row in rows]
    kept = [i for i in range(len(COLUMNS)) if any(text[i] for text in texts)]
    return [COLUMNS[i] for i in kept], [[text[i] for i in kept] for text in texts]


def markdown(headings: list[str], texts: list[list[str]]) -> list[str]:
    """A table as the lines of a page."""
    lines = ["| " + " | ".join(headings) + " |", "|---" * len(headings) + "|"]
    return lines + ["| " + " | ".join(text) + " |" for text in texts]


def table_by_notes(rows: list[Row]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells with a column for every note, for rows that compare the same methods."""
    names = list(dict.fromkeys(name for row in rows for name in row.notes))
    goals = ["goals"] if any(row.goals for row in rows) else []
    texts = []
    for row in rows:
        figures = [f"{row.notes[name]:.3f}" if name in row.notes else "" for name in names]
        reached = "; ".join(("✓ " if g.reached else "✗ ") + g.describe() for g in row.goals)
        texts.append([row.work, *figures, *([reached] if goals else [])])
    return ["", *names, *goals], texts


def show(scenario: Any, rows: list[Row], console: Console) -> None:
    """Print one table, or one for each group of rows that compare methods by their notes."""
    if not getattr(scenario, "BY_GROUP", False):
        _print(scenario.TITLE, *table_of(rows), console)
        return
    for group, members in by_group(rows).items():
        _print(group, *table_by_notes(members), console)


def by_group(rows: list[Row]) -> dict[str, list[Row]]:
    """The rows of each group, in their order."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    return groups


def _print(title: str, headings: list[str], texts: list[list[str]], console: Console) -> None:
    table = Table(title=title, title_justify="left", show_lines=True)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for text in texts:
        table.add_row(*text)
    console.print(table)
