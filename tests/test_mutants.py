"""The lists of tests/mutants name modules, tests and lines that exist."""

import tomllib
from pathlib import Path

import pytest

import blockmat

TESTS = Path(__file__).parent
SOURCES = Path(blockmat.__file__).parent
CONFIG = tomllib.loads((TESTS / "mutants/config.toml").read_text(encoding="utf-8"))
HEADER, *SURVIVORS = (
    row.split("\t")
    for row in (TESTS / "mutants/survivors.tsv").read_text(encoding="utf-8").splitlines()
)


def source(module):
    return (SOURCES / module).read_text(encoding="utf-8")


def test_modules_and_their_tests_exist():
    for module, tests in CONFIG["tests"].items():
        assert (SOURCES / module).is_file(), module
        for test in tests:
            assert (TESTS / test).is_file(), test


@pytest.mark.parametrize("test", CONFIG["slow"])
def test_slow_tests_exist(test):
    path, _, function = test.partition("::")
    assert f"def {function}(" in (TESTS.parent / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("row", SURVIVORS, ids=lambda row: f"{row[0]}-{row[1]}")
def test_survivors_are_lines_of_their_modules(row):
    module, function, line, mutant, reason = row
    assert module in CONFIG["tests"]
    assert line in [x.strip() for x in source(module).splitlines()]
    assert function == "-" or f"def {function.rpartition('.')[2]}(" in source(module)
    assert mutant != line
    assert reason
