"""Build a release and check it: ``python -m tests.release [--quick]``. The archives are left in dist/."""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.release import archives, installed, metadata
from tests.release.environments import Environment, pythons
from tests.release.report import PYTHON, Problem, Report, run

ROOT = Path(__file__).parents[2]
# What users install, each alone; the other extras are for work on blockmat.
EXTRAS = (
    "plot",
    "progress",
    "sklearn",
    "skfolio",
    "discover",
    "dask",
    "torch",
    "gpytorch",
    "testing",
)


def main() -> int:
    """Run the checks; return 1 if one has failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.release", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one environment, without extras")
    quick = parser.parse_args().quick
    report = Report()
    with tempfile.TemporaryDirectory() as place:
        try:
            paths = archives.build(ROOT, ROOT / "dist")
            sdist, wheel = map(archives.files_of, paths)
            metadata.metadata_of(wheel), archives.text_of(sdist, "README.md")
        except Problem as problem:
            print(f"FAIL  build\n{problem}")
            return 1
        print("built", *(path.relative_to(ROOT) for path in paths))
        check_archives(report, sdist, wheel, quick)
        report.check("twine check --strict", twine, *paths)
        check_installed(report, Path(place), paths[1], sdist, wheel, quick)
    return report.summary()


def check_archives(
    report: Report, sdist: archives.Files, wheel: archives.Files, quick: bool
) -> None:
    """Check what is in the archives, without installing them."""
    in_git = archives.tracked(ROOT)
    report.check("files of the sdist", archives.check_sdist, sdist, in_git)
    report.check("files of the wheel", archives.check_wheel, wheel, in_git)
    found = metadata.metadata_of(wheel)
    report.check("metadata", metadata.check_metadata, found)
    report.check("description", metadata.check_description, found)
    report.check("version", metadata.check_version, found["Version"], sdist)
    if not quick:
        report.check("changelog", metadata.check_nothing_unreleased, sdist)
        report.check("git", metadata.check_git, ROOT, found["Version"])
        metadata.remind_of_addresses(report, found)


def twine(*paths: Path) -> str:
    """Run what a package index runs on the metadata."""
    seen = run([PYTHON, "-m", "twine", "--no-color", "check", "--strict", *paths], ROOT)
    return f"{seen.count('PASSED')} archives passed"


def check_installed(
    report: Report,
    place: Path,
    path: Path,
    sdist: archives.Files,
    wheel: archives.Files,
    quick: bool,
) -> None:
    """Install the wheel in empty environments and use it."""
    found, readme = metadata.metadata_of(wheel), sdist["README.md"].decode()
    minors = metadata.minor_versions(found)
    commands = {sys.version_info[1]: sys.executable} if quick else pythons(minors)
    for minor, command in commands.items():
        with made(report, f"Python 3.{minor}", command, place, str(path)) as check:
            check("README", installed.check_example, installed.example_of(readme))
            check("no extra", installed.check_features, found)
            check("command", installed.check_command_line, found["Version"])
    if quick:
        return
    missing = [f"3.{minor}" for minor in minors if minor not in commands]
    if missing:
        report.remind(f"not at hand, so not tested: Python {', '.join(missing)}")
    for extra in EXTRAS:
        with made(report, f"extra {extra}", sys.executable, place, f"{path}[{extra}]") as check:
            check("features", installed.check_features, found, extra)
    with made(report, "extra all", sys.executable, place, f"{path}[all]") as check:
        check("features", installed.check_features, found, "all")
        check("README", installed.check_example, readme)
        check("mypy --strict", installed.check_types)
        check("with extra test", added, f"{path}[test]")
        check("doctests and tests", installed.check_tests, sdist)


@contextmanager
def made(
    report: Report, name: str, python: str, place: Path, requirement: str
) -> Iterator[Callable[..., None]]:
    """Install the wheel in a new environment. Yield a function that runs a check in it."""
    folder = place / name.replace(" ", "-")
    environments = []

    def install() -> str:
        environment = Environment(python, folder, ROOT)
        seen = added(environment, requirement)
        environments.append(environment)
        return seen

    def check(part: str, function: Callable[..., str], *arguments: object) -> None:
        if environments:
            report.check(f"{name}, {part}", function, environments[0], *arguments)

    report.check(name, install)
    yield check
    shutil.rmtree(folder)


def added(environment: Environment, requirement: str) -> str:
    """Install a requirement and check that all requirements of what is installed are met."""
    environment.install(requirement)
    environment.run("-m", "pip", "check")
    listed = environment.run("-m", "pip", "list", "--format=freeze", "--disable-pip-version-check")
    return f"installed, {len(listed.split())} packages"


if __name__ == "__main__":
    sys.exit(main())
