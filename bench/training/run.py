"""``python -m bench train``: find the learning rates, run new seeds, measure times, and print the results."""

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

from bench import data as real_data
from bench.training import protocol
from bench.training.methods import ABLATIONS, ALL, BASELINE, CONSTANT, METHODS, OURS
from bench.training.protocol import RESULTS, Trials, run_fresh, tune
from bench.training.workloads import TEXT, WORKLOADS

SECTIONS = {"methods": METHODS, "constant": CONSTANT, "ablations": ABLATIONS}
# The workloads of sections that not all of them have.
OF_CONSTANT = ("gru", "mlp", "autoencoder", "convolutional", "digits")
OF_ABLATIONS = ("layernorm", "gru", "mlp", "convolutional")


def main(arguments: list[str]) -> None:
    needed = {workload.needs for workload in WORKLOADS.values()}
    files = "; ".join(f"{name}: {real_data.FILES[name]}" for name in sorted(needed - {None}))
    parser = argparse.ArgumentParser(
        prog="python -m bench train",
        description=f"{__doc__} Stored trials are not repeated, so a stopped run continues where it was. Files in the data "
        f"folder: {files}. A workload is skipped if its file is missing.",
    )
    parser.add_argument("--data", help="folder of the data (default: BLOCKMAT_DATA)")
    parser.add_argument("--text", type=Path, metavar="FILE", help=f"a text instead of {TEXT}")
    parser.add_argument(
        "--workload", action="append", choices=WORKLOADS, help="run only this; may be repeated"
    )
    parser.add_argument(
        "--method", action="append", choices=ALL, help="run only this; may be repeated"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the trials")
    parser.add_argument(
        "--renew",
        action="store_true",
        help="first remove the stored trials of the workloads that run",
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="number of processes")
    parser.add_argument("--only", choices=("trials", "times", "show"), help="do only this part")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="only the workload digits, with AdamW and BlockAdamW",
    )
    options = parser.parse_args(arguments)
    if options.text is not None and options.results == RESULTS:
        parser.error("--text needs --results FOLDER, so that the stored results stay what they are")
    names = options.workload or (["digits"] if options.quick else list(WORKLOADS))
    asked = options.method or ([BASELINE, OURS] if options.quick else list(ALL))
    files_of = {name: _file(name, options) for name in names}
    found = {name: file for name, file in files_of.items() if file.exists()}
    for name in (n for n in names if n not in found and options.only != "show"):
        print(f"{name} is skipped: {WORKLOADS[name].needs} is not in the data folder")
    if options.only in (None, "trials"):
        if options.renew:
            _remove(found, asked, options.results)
        _trials(found, asked, options.results, options.jobs)
    if options.only in (None, "times"):
        from bench.training import times

        times.measure(found, [m for m in METHODS if m in asked], options.results)
    if options.only in (None, "show"):
        from bench.training import report

        print(report.summary(options.results))


def _file(name: str, options: argparse.Namespace) -> Path:
    """The file of a workload's data; a folder that exists if it needs none."""
    needed = WORKLOADS[name].needs
    if needed is None:
        return Path(__file__).parent
    if needed == TEXT and options.text is not None:
        return Path(options.text)
    return (real_data.folder(options.data) or Path()) / needed


def _remove(names: Iterable[str], methods: list[str], folder: Path) -> None:
    """Remove the stored trials of some methods."""
    for name in names:
        Trials(name, folder).remove(methods)


def _trials(files: dict[str, Path], asked: list[str], folder: Path, jobs: int) -> None:
    with protocol.workers(jobs) as pool:
        for section, members in SECTIONS.items():
            methods = [m for m in members if m in asked]
            for name, file in files.items():
                if name not in {"constant": OF_CONSTANT, "ablations": OF_ABLATIONS}.get(
                    section, WORKLOADS
                ):
                    continue
                trials = Trials(name, folder)
                tune(trials, methods, pool, file)
                run_fresh(trials, methods, pool, file)
