"""``python -m bench train``: tune, run fresh seeds, and show what the trials say."""

import argparse
import os
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import data as real_data
from bench.training import report
from bench.training.methods import BASELINE, DEFAULT, METHODS
from bench.training.protocol import RESULTS, Trials, measure_memory, run_fresh, tune
from bench.training.workloads import WORKLOADS


def main(arguments: list[str]) -> None:
    needed = {workload.needs for workload in WORKLOADS.values()}
    files = "; ".join(f"{name}: {real_data.FILES[name]}" for name in sorted(needed - {None}))
    parser = argparse.ArgumentParser(
        prog="python -m bench train",
        description=f"{__doc__} Goes on where an earlier run was stopped. Files in the data "
        f"folder: {files}. A workload whose file is absent is left out.",
    )
    parser.add_argument("--data", help="the folder of the data (default: BLOCKMAT_DATA)")
    parser.add_argument(
        "--workload", action="append", choices=WORKLOADS, help="one of them; may be repeated"
    )
    parser.add_argument(
        "--method", action="append", choices=METHODS, help="one of them; may be repeated"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of the trials")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at a time")
    parser.add_argument("--only", choices=("tune", "fresh", "show"), help="one of the three parts")
    parser.add_argument(
        "--quick", action="store_true", help="the digits, diagonal and default only"
    )
    options = parser.parse_args(arguments)
    console, data = Console(width=160), real_data.folder(options.data)
    methods = options.method or ([BASELINE, DEFAULT] if options.quick else list(METHODS))
    names = options.workload or (["digits"] if options.quick else list(WORKLOADS))
    for name in names:
        if WORKLOADS[name].missing(data):
            console.print(f"{name} is left out: {WORKLOADS[name].needs} is not in the data folder")
            continue
        trials = Trials(name, options.results)
        if options.only in (None, "tune"):
            tune(trials, methods, data, options.jobs)
        if options.only in (None, "fresh"):
            run_fresh(trials, methods, data, options.jobs)
            measure_memory(trials, methods, data, options.jobs)
    show(options.results, console)


def show(folder: Path, console: Console) -> None:
    """Print the tables of all workloads that have been run."""
    for momentum in (0.9, 0.0):
        found = report.studies(folder, momentum)
        for study in found:
            table = Table(
                title=f"{WORKLOADS[study.name].title}, momentum {momentum:g}", title_justify="left"
            )
            for heading in report.HEADINGS:
                table.add_column(heading, overflow="fold")
            for method in study.summaries:
                table.add_row(*study.row(method))
            console.print(table)
        for goal in report.goals(found) if found else []:
            console.print(goal.describe())
