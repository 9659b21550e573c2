"""Measure the package against its peers and against the limits of the hardware.

``python -m bench NAME ...`` runs the scenarios, prints their tables and writes
bench/results/NAME.json. ``python -m bench train`` runs the training experiments; see its ``--help``.
``python -m bench --write-docs`` fills the pages of the documentation with the stored results.
``python -m bench --compare`` lists what has become slower since quick results were stored.
"""

import argparse
import importlib
import os
import sys

from bench import compare, data, pages, rows

SCENARIOS = (
    "product", "factor", "family", "fit", "samples", "functions", "peers", "scaling", "startup", "accuracy", "backward",
    "optimizer", "discover", "missing", "covariance", "scaleout", "demo",
)  # fmt: skip


def main() -> None:
    if sys.argv[1:2] == ["train"]:
        from bench.training import run

        run.main(sys.argv[2:])
        return
    files = "; ".join(f"{name}: {content}" for name, content in data.FILES.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, epilog=f"Files in the data folder: {files}."
    )
    parser.add_argument("names", metavar="NAME", nargs="*",
                        help=f"scenarios to run: {', '.join(SCENARIOS)} (default: all)")  # fmt: skip
    parser.add_argument("--quick", action="store_true",
                        help="smaller sizes, fewer rounds and one thread; does not store results")  # fmt: skip
    parser.add_argument("--save", action="store_true",
                        help="measure three times and store the results of --quick in bench/results/quick; without NAME only those "
                        "of the scenarios that --compare measures")  # fmt: skip
    parser.add_argument("--compare", action="store_true",
                        help="measure with --quick, and list blockmat's times relative to those of the "
                        "limits and of other packages, now and as stored; without NAME: "
                        f"{', '.join(compare.SCENARIOS)}")  # fmt: skip
    parser.add_argument("--fail-above", type=float, metavar="X",
                        help="with --compare: exit with 1 if such a ratio is more than X times the stored one "
                        f"(default: list those above {compare.SLOWER:g}, and exit with 0)")  # fmt: skip
    parser.add_argument("--write-docs", action="store_true",
                        help="fill the tables, numbers and pictures of README.md and docs/*.md with the "
                        "stored results; measures nothing")  # fmt: skip
    parser.add_argument("--data", help="folder with the real data for discover, covariance and scaleout "
                        "(default: BLOCKMAT_DATA); the rows of missing files are skipped")  # fmt: skip
    options = parser.parse_args()
    if options.data:
        os.environ["BLOCKMAT_DATA"] = options.data
    if unknown := set(options.names) - set(SCENARIOS):
        parser.error(f"unknown scenario: {', '.join(sorted(unknown))}")
    if options.fail_above is not None and not options.compare:
        parser.error("--fail-above belongs to --compare")
    if options.save and not options.quick:
        parser.error("--save belongs to --quick; results of other runs are always stored")
    if options.write_docs:
        write_docs()
    elif options.compare:
        compare_speed(tuple(options.names) or compare.SCENARIOS, options.fail_above)
    else:
        all_of_them = compare.SCENARIOS if options.save else SCENARIOS
        measure(tuple(options.names) or all_of_them, options.quick, options.save)


def write_docs() -> None:
    try:
        changed = pages.write()
    except pages.PagesError as error:
        sys.exit(f"{error}\nno file was changed")
    for path in changed:
        print(f"written: {path.relative_to(pages.ROOT)}")


def compare_speed(names: tuple[str, ...], fail_above: float | None) -> None:
    from bench import harness

    harness.use_one_thread()
    above = compare.SLOWER if fail_above is None else fail_above
    try:
        found, contents = compare.run(names, above)
    except FileNotFoundError as error:
        sys.exit(f"no stored quick results: {error.filename}\n"
                 "store them with: python -m bench NAME --quick --save")  # fmt: skip
    harness.print_table(
        "blockmat's time / that of the reference", *compare.table(found), harness.console()
    )
    for line in (*compare.machines(contents), *compare.verdict(found, above)):
        print(line)
    if fail_above is not None and found.slower(above):
        sys.exit(1)


def measure(names: tuple[str, ...], quick: bool, save: bool) -> None:
    from bench import harness

    if quick:
        harness.use_one_thread()
    console = harness.console()
    for name in names:
        scenario = importlib.import_module(f"bench.{name}")
        found = scenario.measure(quick)
        for _ in range(compare.REPEATS if save else 0):
            compare.add_rounds(found, scenario.measure(quick))
        harness.show(scenario, found, console)
        if save or not quick:
            rows.save(name, scenario.TITLE, found, quick)


if __name__ == "__main__":
    main()
