"""What may stand in a place of a page, by its address.

======================================  ====================================================
``NAME | times``                        the table of times of a scenario
``NAME | times | GROUP``                the same of one group of its rows
``NAME | values``                       the table of values of a scenario
``NAME | values | GROUP``               the same of one group of its rows
``NAME | ROW | COLUMN``                 one number, with two significant digits, or blockmat's time
``NAME | GROUP | ROW | COLUMN``         the same of a row whose name several groups have
``NAME | ROW | goals``                  the goals of a row, and whether they are reached
``NAME | machine``                      processor, threads and versions
``training | ...``                      see `bench.training.report.text_of`
======================================  ====================================================
"""

import json
from functools import cache
from typing import Any

from bench import figures, rows
from bench.rows import (
    OURS,
    Row,
    Table,
    groups_of,
    markdown,
    seconds,
    table_of_times,
    table_of_values,
    two_digits,
)


class UnknownPlaceError(ValueError):
    """A place that no result belongs to."""


def text_of(address: str) -> str:
    """Return the text for a place."""
    name, *parts = (part.strip() for part in address.split("|"))
    try:
        if name == "training":
            from bench.training import report

            return report.text_of(parts)
        return _of_scenario(name, parts)
    except LookupError as error:
        raise UnknownPlaceError(
            f"no result for {address!r}: {error.args[0]!r} is unknown"
        ) from error


def picture(name: str) -> bytes:
    """Draw the picture of this name, without its ending."""
    kind, _, rest = name.partition("-")
    try:
        if kind == "training":
            from bench.training import figures as of_training

            return of_training.draw(rest)
        if kind == "door":
            from bench import doors

            return doors.draw(rest)
        _load(rest)
    except LookupError as error:
        raise UnknownPlaceError(f"no result for the picture {name}.png") from error
    return figures.draw(rest)


@cache
def _load(name: str) -> tuple[dict[str, Any], list[Row]]:
    try:
        return rows.load(name)
    except (OSError, json.JSONDecodeError, TypeError, KeyError):
        raise KeyError(name) from None


def _of_scenario(name: str, parts: list[str]) -> str:
    content, found = _load(name)
    match parts:
        case ["machine"]:
            return _machine(content)
        case [("times" | "values") as kind, *group]:
            if len(group) > 1:
                raise KeyError(group[1])
            return markdown(*_table(name, kind, groups_of(found)[group[0]] if group else found))
        case [*group, work, column] if len(group) <= 1:
            chosen = [row for row in found if row.work == work and group in ([], [row.group])]
            if len(chosen) != 1:
                raise KeyError(work)
            return chosen[0].describe_goals() if column == "goals" else _number(chosen[0], column)
    raise KeyError(" | ".join(parts))


def _number(row: Row, column: str) -> str:
    return seconds(row.median()) if column == OURS in row.times else two_digits(row.value(column))


FIRST = {"accuracy": "operation", "demo": "approximation"}  # headings of the first column


def _table(name: str, kind: str, chosen: list[Row]) -> Table:
    if kind == "times":
        return table_of_times(chosen)
    if name == "backward":
        return _backward_errors(chosen)
    return table_of_values(chosen, FIRST.get(name, ""), 2 if name == "accuracy" else None)


def _backward_errors(chosen: list[Row]) -> Table:
    """A column for each correlation, with the errors of solve and of the product in one cell."""
    names = [note.removeprefix("solve ") for note in chosen[0].notes if note.startswith("solve ")]
    cells = [
        [
            row.work,
            *(f"{row.notes[f'solve {w}']:.2g} / {row.notes[f'product {w}']:.2g}" for w in names),
        ]
        for row in chosen
    ]
    return ["matrix", *(f"w = {w}" for w in names)], cells


def _machine(content: dict[str, Any]) -> str:
    return rows.describe_machine(content["machine"])
