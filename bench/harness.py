"""Measure an operation: blockmat, its limit and its peers in turns, in one process.

A scenario is a module with ``TITLE`` and ``measure(quick)``, which returns a list of `Row`. A row
is one operation with the times of blockmat, of its limit (what the hardware or LAPACK needs for the
unavoidable part of the work) and of its peers. In each round each of them has one turn: a short
rest, one untimed call to warm up, one timed call. All of them meet the same noise, and no one meets
busy threads or a cold cache left by another. A ratio is the median of the ratios within rounds.
"""

import gc
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

import blockmat as bm
from bench.rows import LIMIT, OURS, Row, groups_of, table_of_times, table_of_values

MAX_ROUNDS = 25
REST = 0.03  # seconds before each turn, until the idle threads of BLAS have gone to sleep
VERY_LONG = 5.0  # seconds; a competitor that takes longer has one turn only
LONG = 0.1  # seconds; a competitor that takes longer has no untimed call to warm up
MIN_ROUNDS = 3
QUICK_ROUNDS = 7


def use_one_thread() -> None:
    """Use one thread from now on: a second one would wait for whatever else the machine does."""
    bm.set_num_threads(1)
    torch.set_num_threads(1)
    threadpool_limits(limits=1)


def contest(
    work: str, ours: Callable[[], Any], limit: Iterable[Callable[[], Any]] = (),
    peers: Mapping[str, Callable[[], Any]] | None = None, *,
    quick: bool = False, calls: int = 1, rest: bool = True,
    results: dict[str, Any] | None = None,
) -> Row:  # fmt: skip
    """Measure an operation in turns with its limit, which is a sum of passes, and its peers.

    If one call is too short for the clock, `calls` calls are timed together. What the competitors
    return goes into `results`. No rest is needed where all competitors use one BLAS library.
    """
    competitors: dict[str, list[Callable[[], Any]]] = {OURS: [ours]}
    if limit := list(limit):
        competitors[LIMIT] = limit
    competitors |= {name: [run] for name, run in (peers or {}).items()}
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
    for number in range(QUICK_ROUNDS if quick else MAX_ROUNDS):
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


def console() -> Console:
    return Console(width=160)


def show(scenario: Any, rows: list[Row], where: Console) -> None:
    """Print a table of times, or for scenarios that compare values a table for each group."""
    if not getattr(scenario, "BY_GROUP", False):
        print_table(scenario.TITLE, *table_of_times(rows), where)
        return
    for group, members in groups_of(rows).items():
        print_table(group or scenario.TITLE, *table_of_values(members), where)


def print_table(title: str, headings: list[str], texts: list[list[str]], where: Console) -> None:
    table = Table(title=title, title_justify="left", show_lines=True)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for text in texts:
        table.add_row(*text)
    where.print(table)
