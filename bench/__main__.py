"""``python -m bench [NAME ...]``: run measurements and print their tables."""

import argparse

from bench import accuracy, startup

SCENARIOS = {"accuracy": accuracy.run, "startup": startup.run}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", metavar="NAME", nargs="*",
                        help=f"one or more of {', '.join(SCENARIOS)} (default: all)")  # fmt: skip
    parser.add_argument("--write-docs", action="store_true",
                        help="only write docs/accuracy.md")  # fmt: skip
    options = parser.parse_args()
    if unknown := set(options.names) - set(SCENARIOS):
        parser.error(f"no measurement is called {', '.join(sorted(unknown))}")
    if options.write_docs:
        accuracy.write_docs()
        return
    for name in options.names or SCENARIOS:
        SCENARIOS[name]()


if __name__ == "__main__":
    main()
