"""The figures and the pages of the documentation, made from bench/results."""

import importlib
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from bench import accuracy
from bench.harness import LIMIT, RESULTS, Row, by_group, load, markdown, table_by_notes, table_of

DOCS = Path(__file__).parents[1] / "docs"
IMAGES = DOCS / "images"


def draw(name: str, rows: list[Row]) -> None:
    """Draw a scenario's figure: its own, or all times as bars on a logarithmic scale."""
    from matplotlib.figure import Figure

    scenario = importlib.import_module(f"bench.{name}")
    if hasattr(scenario, "figure"):
        figure = Figure(figsize=(10, 4), layout="constrained")
        scenario.figure(rows, figure)
    elif any(row.times for row in rows):
        figure = _bars(rows)
    else:
        return
    figure.savefig(IMAGES / f"bench-{name}.png", dpi=100)


def _bars(rows: list[Row]):
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for row in rows for name in row.times))
    colours = {name: f"C{i}" for i, name in enumerate(names)}
    bars = [(row, name) for row in rows for name in row.times]
    figure = Figure(figsize=(10, 1.2 + 0.16 * len(bars) + 0.22 * len(rows)), layout="constrained")
    axes = figure.subplots()
    place, places, labels = 0.0, [], []
    for row in rows:
        places.append(place + (len(row.times) - 1) / 2)
        labels.append(row.work)
        for name in row.times:
            axes.barh(place, row.median(name), height=0.9, color=colours[name])
            place += 1
        place += 1.2
    axes.set_yticks(places, labels, fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("seconds, median")
    handles = [axes.barh(0, 0, color=colour) for colour in colours.values()]
    shown = ["the limit" if name == LIMIT else name for name in names]
    figure.legend(handles, shown, loc="outside upper center", ncols=4, fontsize=8)
    return figure


def write(names: Iterable[str]) -> None:
    """Write docs/performance.md and docs/experiments.md, with figures, and docs/accuracy.md."""
    pages = {
        "performance.md": _performance(names),
        "accuracy.md": accuracy.page(load("accuracy")[1]),
        "discovery.md": _compared(("discover", "covariance")),
    }
    for page, text in pages.items():
        (DOCS / page).write_text(text, encoding="utf-8")
        print(f"written: docs/{page}")
    from bench.training import protocol, report

    report.write(protocol.RESULTS)


def _performance(names: Iterable[str]) -> str:
    lines = [INTRODUCTION]
    for name in names:
        if name in NOT_TIMES or not (RESULTS / f"{name}.json").exists():
            continue
        content, rows = load(name)
        draw(name, rows)
        scenario = importlib.import_module(f"bench.{name}")
        lines += ["", f"## {content['title']}", "", _remarks(scenario), ""]
        if content["quick"]:
            lines += ["Measured with `--quick`.", ""]
        lines += markdown(*table_of(rows))
        if (IMAGES / f"bench-{name}.png").exists():
            lines += ["", f"![{content['title']}](images/bench-{name}.png)"]
        lines += ["", _machine(content["machine"])]
    return "\n".join(lines) + "\n"


def _compared(names: Iterable[str]) -> str:
    """The page of the scenarios that compare methods by their results."""
    lines = [COMPARED]
    for name in names:
        content, rows = load(name)
        draw(name, rows)
        lines += ["", f"## {content['title']}", ""]
        lines += [_remarks(importlib.import_module(f"bench.{name}"))]
        if content["quick"]:
            lines += ["", "Measured with `--quick`."]
        for group, members in by_group(rows).items():
            lines += ["", f"### {group}", "", *markdown(*table_by_notes(members))]
        lines += [
            "",
            f"![{content['title']}](images/bench-{name}.png)",
            "",
            _machine(content["machine"]),
        ]
    return "\n".join(lines) + "\n"


def _remarks(scenario: ModuleType) -> str:
    """The scenario's docstring, which says what is measured."""
    return (scenario.__doc__ or "").strip().replace("``", "`")


def _machine(machine: dict) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{machine['processor']}, {machine['threads']} threads, {machine['system']}, "
        f"Python {machine['python']}, {versions}."
    )


NOT_TIMES = ("accuracy", "discover", "covariance")
COMPARED = """# Found blocks, measured

How well `find_partition` and `cocluster` find blocks, and what `BlockCovariance` is worth on
real returns, beside scikit-learn, networkx and published estimators. Run
`python -m bench discover covariance --data FOLDER` to measure on your machine; this page is
written from the results in `bench/results` by `python -m bench --write-docs`. ✓ and ✗ tell
whether a goal that was set beforehand is reached."""

INTRODUCTION = """# Performance

Everything of size n reads its input once or twice and writes its output once; everything else
is LAPACK on k x k matrices. So the limits are the bandwidth of memory and LAPACK's time, and
each row says how close to them blockmat comes, and how it compares with what one would
otherwise use. Run `make bench` to measure on your machine; this page is written from the
results in `bench/results` by `python -m bench --write-docs`.

In each round every competitor gets one turn, in the same process: a short rest, one call to
warm up, one call that counts. Times are medians; "spread" is the distance between the
quartiles beside the median; ratios are medians of the ratios inside rounds. "Of the limit" is
the limit's time divided by blockmat's, where the limit is measured in the same rounds with the
same number of threads. A number behind a competitor's name is its time divided by blockmat's.
✓ and ✗ tell whether a goal that was set beforehand is reached."""
