"""``python -m bench train``: tune the learning rates, run new seeds, and print the results."""

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
        description=f"{__doc__} A stopped run continues where it was. Files in the data "
        f"folder: {files}. A workload is skipped if its file is missing.",
    )
    parser.add_argument("--data", help="folder of the data (default: BLOCKMAT_DATA)")
    parser.add_argument(
        "--workload", action="append", choices=WORKLOADS, help="run only this; may be repeated"
    )
    parser.add_argument(
        "--method", action="append", choices=METHODS, help="run only this; may be repeated"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the trials")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="number of processes")
    parser.add_argument("--only", choices=("tune", "fresh", "show"), help="do only this part")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="only the workload digits, with diagonal AdaGrad and the default",
    )
    options = parser.parse_args(arguments)
    console, data = Console(width=160), real_data.folder(options.data)
    methods = options.method or ([BASELINE, DEFAULT] if options.quick else list(METHODS))
    names = options.workload or (["digits"] if options.quick else list(WORKLOADS))
    for name in names:
        if WORKLOADS[name].missing(data):
            console.print(f"{name} is skipped: {WORKLOADS[name].needs} is not in the data folder")
            continue
        trials = Trials(name, options.results)
        if options.only in (None, "tune"):
            tune(trials, methods, data, options.jobs)
        if options.only in (None, "fresh"):
            run_fresh(trials, methods, data, options.jobs)
            measure_memory(trials, methods, data, options.jobs)
    show(options.results, console)


def show(folder: Path, console: Console) -> None:
    """Print the tables of all workloads with complete results."""
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
