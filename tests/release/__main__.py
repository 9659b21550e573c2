"""Build a release and check it: ``python -m tests.release [--quick]``. The archives are left in dist/."""

import argparse
import sys
import tempfile
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
        except Problem as problem:
            print(f"FAIL  build\n{problem}")
            return 1
        sdist, wheel = map(archives.files_of, paths)
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
    changelog, citation = (sdist[name].decode() for name in ("CHANGELOG.md", "CITATION.cff"))
    report.check("version", metadata.check_version, found["Version"], changelog, citation)
    if not quick:
        report.check("changelog", metadata.check_nothing_unreleased, changelog)
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
    readme = sdist["README.md"].decode()
    found = metadata.metadata_of(wheel)
    minors = metadata.minor_versions(found)
    commands = {sys.version_info[1]: sys.executable} if quick else pythons(minors)
    for minor, command in commands.items():
        name = f"Python 3.{minor}"
        environment = made(report, name, command, place / name.replace(" ", "-"), str(path))
        if environment:
            report.check(
                f"{name}, README",
                installed.check_example,
                environment,
                installed.example_of(readme),
            )
            report.check(f"{name}, no extra", installed.check_features, environment, found)
            report.check(
                f"{name}, command", installed.check_command_line, environment, found["Version"]
            )
    if quick:
        return
    missing = [f"3.{minor}" for minor in minors if minor not in commands]
    if missing:
        report.remind(f"not at hand, so not tested: Python {', '.join(missing)}")
    for extra in EXTRAS:
        name = f"extra {extra}"
        environment = made(report, name, sys.executable, place / extra, f"{path}[{extra}]")
        if environment:
            report.check(f"{name}, features", installed.check_features, environment, found, extra)
    environment = made(report, "extra all", sys.executable, place / "all", f"{path}[all]")
    if environment:
        report.check("extra all, features", installed.check_features, environment, found, "all")
        report.check("extra all, README", installed.check_example, environment, readme)
        report.check("extra all, mypy --strict", installed.check_types, environment)
        report.check("extra test", added, environment, f"{path}[test]")
        report.check("extra test, doctests", installed.check_tests, environment, sdist)


def made(
    report: Report, name: str, python: str, folder: Path, requirement: str
) -> Environment | None:
    """Make an environment and install the wheel in it, as a check of its own."""
    environments = []

    def install() -> str:
        environments.append(Environment(python, folder, ROOT))
        return added(environments[0], requirement)

    failed = len(report.failed)
    report.check(name, install)
    return environments[0] if len(report.failed) == failed else None


def added(environment: Environment, requirement: str) -> str:
    """Install a requirement and check that all requirements of what is installed are met."""
    environment.install(requirement)
    environment.run("-m", "pip", "check")
    listed = environment.run("-m", "pip", "list", "--format=freeze", "--disable-pip-version-check")
    return f"installed, {len(listed.split())} packages"


if __name__ == "__main__":
    sys.exit(main())
