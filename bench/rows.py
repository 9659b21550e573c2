"""Results of a scenario: rows of times and values, how they are stored, and how they become tables."""

import json
import math
import platform
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import blockmat as bm

RESULTS = Path(__file__).parent / "results"
QUICK = "quick"  # the folder in it with the results of --quick
PACKAGES = (
    "blockmat", "numpy", "scipy", "numba", "torch", "linear_operator", "cola-ml", "scikit-learn",
    "networkx", "ruptures", "statsmodels", "leidenalg",
)  # fmt: skip
OURS = "blockmat"
LIMIT = "limit"

Table = tuple[list[str], list[list[str]]]  # headings, and the cells of each row


@dataclass
class Goal:
    """The bound that a figure has to keep, set before the measurement."""

    figure: str
    value: float
    wanted: float
    at_least: bool

    @property
    def reached(self) -> bool:
        return self.value >= self.wanted if self.at_least else self.value <= self.wanted

    def describe(self) -> str:
        mark, relation = "✓" if self.reached else "✗", "≥" if self.at_least else "≤"
        return f"{mark} {self.figure}: {self.value:.3g} ({relation} {self.wanted:.4g})"


@dataclass
class Row:
    """The times of one operation, in seconds: for each competitor one time per round."""

    work: str
    times: dict[str, list[float]] = field(default_factory=dict)
    goals: list[Goal] = field(default_factory=list)
    notes: dict[str, float] = field(default_factory=dict)
    group: str = ""
    x: float | None = None

    def median(self, name: str = OURS) -> float:
        return statistics.median(self.times[name])

    def least(self, name: str = OURS) -> float:
        """The shortest time."""
        return min(self.times[name])

    def spread(self, name: str = OURS) -> float:
        """The interquartile range divided by the median."""
        times = sorted(self.times[name])
        return (times[3 * len(times) // 4] - times[len(times) // 4]) / self.median(name)

    def ratio(self, name: str) -> float:
        """The median over rounds of a competitor's time divided by blockmat's."""
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

    def describe_goals(self) -> str:
        return "; ".join(goal.describe() for goal in self.goals)

    def value(self, column: str) -> float:
        """A number of the row by its name: a note, a ratio to a competitor, or a goal's figure."""
        if column in self.notes:
            return self.notes[column]
        if column in self.times and column != OURS:
            return self.ratio(column)
        return {goal.figure: goal.value for goal in self.goals}[column]


# Storage


def machine() -> dict[str, Any]:
    """Processor, threads and versions; nothing that identifies one machine."""
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


def describe_machine(machine: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    threads = machine["threads"]
    return (
        f"{machine['processor']}, {threads} thread{'s' * (threads != 1)}, {machine['system']}, "
        f"Python {machine['python']}, {versions}"
    )


def path_of(name: str, quick: bool = False) -> Path:
    """The file of a scenario's results."""
    return (RESULTS / QUICK if quick else RESULTS) / f"{name}.json"


def save(name: str, title: str, rows: list[Row], quick: bool) -> Path:
    path = path_of(name, quick)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "scenario": name,
        "title": title,
        "machine": machine(),
        "rows": [_rounded(asdict(row)) for row in rows],
    }
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    row["times"] = {k: [float(f"{t:.4g}") for t in times] for k, times in row["times"].items()}
    return row


def load(name: str, quick: bool = False) -> tuple[dict[str, Any], list[Row]]:
    content = json.loads(path_of(name, quick).read_text(encoding="utf-8"))
    rows = [Row(**{**row, "goals": [Goal(**g) for g in row["goals"]]}) for row in content["rows"]]
    return content, rows


# Tables


def seconds(value: float) -> str:
    for unit, size in (("s", 1), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value / 1e-9:.3g} ns"


def two_digits(value: float) -> str:
    """A number with two significant digits, as it stands in a sentence."""
    return f"{float(f'{value:.2g}'):,.10g}"


COLUMNS = (
    "operation", "blockmat", "spread", "limit / blockmat", "peer / blockmat", "other figures", "goals",
)  # fmt: skip


def _cells(row: Row) -> list[str]:
    ours = OURS in row.times
    peers = [f"{name} {row.ratio(name):.3g}" for name in row.peers] if ours else []
    return [
        row.work,
        seconds(row.median()) if ours else "",
        f"{row.spread():.0%}" if ours else "",
        f"{row.ratio(LIMIT):.2f}" if LIMIT in row.times else "",
        ", ".join(peers),
        ", ".join(f"{name} {value:.3g}" for name, value in row.notes.items()),
        row.describe_goals(),
    ]


def table_of_times(rows: Iterable[Row]) -> Table:
    """A table with blockmat's time, its limit and its peers; empty columns are left out."""
    texts = [_cells(row) for row in rows]
    kept = [i for i in range(len(COLUMNS)) if any(text[i] for text in texts)]
    return [COLUMNS[i] for i in kept], [[text[i] for i in kept] for text in texts]


def table_of_values(rows: list[Row], first: str = "", digits: int | None = None) -> Table:
    """A table with a column for each note, with `digits` significant digits if given.

    `first` is the heading of the column with the names of the rows.
    """
    names = list(dict.fromkeys(name for row in rows for name in row.notes))
    columns = [_column([row.notes.get(name) for row in rows], digits) for name in names]
    goals = [row.describe_goals() for row in rows]
    if any(goals):
        names, columns = [*names, "goals"], [*columns, goals]
    cells = [list(texts) for texts in zip(*columns, strict=True)]
    return [first, *names], [[row.work, *texts] for row, texts in zip(rows, cells, strict=True)]


def _column(values: list[float | None], digits: int | None) -> list[str]:
    """Numbers as text: whole numbers without decimals, others with as many in the whole column."""
    if digits is not None:
        return ["" if value is None else f"{value:.{digits}g}" for value in values]
    known = [abs(value) for value in values if value is not None]
    largest = max(known, default=0.0)
    whole = largest > 1 and all(float(value).is_integer() for value in known)
    decimals = 0 if whole else 3 - max(0, min(3, math.floor(math.log10(max(largest, 1))) - 1))
    return ["" if value is None else f"{value:,.{decimals}f}" for value in values]


def markdown(headings: list[str], texts: list[list[str]]) -> str:
    lines = ["| " + " | ".join(headings) + " |", "|---" * len(headings) + "|"]
    return "\n".join(lines + ["| " + " | ".join(text) + " |" for text in texts])


def groups_of(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows of each group, in their order."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    return groups
