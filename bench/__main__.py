"""``python -m bench [NAME ...]``: run measurements and print their tables."""

import argparse

from bench import accuracy, startup

SCENARIOS = {"accuracy": accuracy, "startup": startup}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", metavar="NAME", nargs="*", choices=[[], *SCENARIOS],
                        help=f"one or more of {', '.join(SCENARIOS)} (default: all)")  # fmt: skip
    parser.add_argument("--write-docs", action="store_true",
                        help="also write the accuracy table into docs/accuracy.md")  # fmt: skip
    options = parser.parse_args()
    for name in options.names or SCENARIOS:
        SCENARIOS[name].run(write_docs=options.write_docs)


if __name__ == "__main__":
    main()
