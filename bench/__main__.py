"""Measure the package against its peers and against the limits of the hardware.

``python -m bench NAME ...`` runs the scenarios, prints their tables and writes
bench/results/NAME.json. ``python -m bench train`` runs the training experiments; see its ``--help``.
``python -m bench --write-docs`` fills the pages of the documentation with the stored results.
"""

import argparse
import importlib
import os
import sys

from bench import pages, rows

SCENARIOS = (
    "product", "factor", "family", "fit", "samples", "functions", "peers", "scaling", "threads", "startup", "accuracy", "backward",
    "optimizer", "discover", "missing", "covariance", "scaleout", "demo",
)  # fmt: skip


def main() -> None:
    if sys.argv[1:2] == ["train"]:
        from bench.training import run

        run.main(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", metavar="NAME", nargs="*",
                        help=f"scenarios to run: {', '.join(SCENARIOS)} (default: all)")  # fmt: skip
    parser.add_argument("--quick", action="store_true",
                        help="smaller sizes and fewer rounds, less than two minutes; does not store results")  # fmt: skip
    parser.add_argument("--save", action="store_true", help="store the results of --quick too")
    parser.add_argument("--write-docs", action="store_true",
                        help="fill the tables, numbers and pictures of README.md and docs/*.md with the "
                        "stored results; measures nothing")  # fmt: skip
    parser.add_argument("--data", help="folder with the real data for discover, covariance and scaleout "
                        "(default: BLOCKMAT_DATA); if a file is missing, its rows are skipped and a "
                        "message says where to get it")  # fmt: skip
    options = parser.parse_args()
    if options.data:
        os.environ["BLOCKMAT_DATA"] = options.data
    if unknown := set(options.names) - set(SCENARIOS):
        parser.error(f"unknown scenario: {', '.join(sorted(unknown))}")
    if options.write_docs:
        write_docs()
    else:
        measure(options.names or SCENARIOS, options.quick, options.save)


def write_docs() -> None:
    try:
        changed = pages.write()
    except pages.PagesError as error:
        sys.exit(f"{error}\nno file was changed")
    for path in changed:
        print(f"written: {path.relative_to(pages.ROOT)}")


def measure(names: list[str] | tuple[str, ...], quick: bool, save: bool) -> None:
    from rich.console import Console

    from bench import harness

    console = Console(width=160)
    for name in names:
        scenario = importlib.import_module(f"bench.{name}")
        found = scenario.measure(quick)
        harness.show(scenario, found, console)
        if save or not quick:
            rows.save(name, scenario.TITLE, found, quick)


if __name__ == "__main__":
    main()
