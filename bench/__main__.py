"""``python -m bench [NAME ...]``: measure beside peers and the hardware's limits.

``python -m bench train`` runs the training experiments instead; see its ``--help``.

Prints a table, and writes bench/results/NAME.json and, if a scenario has one, its figure.
``--quick`` takes less than two minutes, with smaller sizes; its results are not kept unless
``--save`` says so.
"""

import argparse
import importlib
import os
import sys

from rich.console import Console

from bench import harness, report

SCENARIOS = (
    "product", "fit", "samples", "functions", "peers", "scaling", "threads", "startup", "accuracy", "backward",
    "optimizer", "discover", "covariance", "scaleout",
)  # fmt: skip


def main() -> None:
    if sys.argv[1:2] == ["train"]:
        from bench.training import run

        run.main(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", metavar="NAME", nargs="*",
                        help=f"one or more of {', '.join(SCENARIOS)} (default: all)")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="smaller sizes, fewer rounds")
    parser.add_argument("--save", action="store_true", help="keep the results also if quick")
    parser.add_argument("--write-docs", action="store_true",
                        help="write the pages of docs from the results "
                        "that are kept; measures nothing")  # fmt: skip
    parser.add_argument("--data", help="the folder of real data for discover and covariance "
                        "(default: BLOCKMAT_DATA); a file that is absent is left out, with a line "
                        "that says how to get it")  # fmt: skip
    options = parser.parse_args()
    if options.data:
        os.environ["BLOCKMAT_DATA"] = options.data
    if unknown := set(options.names) - set(SCENARIOS):
        parser.error(f"no measurement is called {', '.join(sorted(unknown))}")
    if options.write_docs:
        report.write(SCENARIOS)
        return
    console = Console(width=160)
    for name in options.names or SCENARIOS:
        scenario = importlib.import_module(f"bench.{name}")
        rows = scenario.measure(options.quick)
        harness.show(scenario, rows, console)
        if options.save or not options.quick:
            harness.save(name, scenario.TITLE, rows, options.quick)
            report.draw(name, rows)


if __name__ == "__main__":
    main()
