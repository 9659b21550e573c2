"""The Pythons at hand, and empty environments in which the wheel is installed."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.release.report import Problem, run

INSTALL = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile")


class Environment:
    """A virtual environment, and a folder in which its programs run."""

    def __init__(self, python: str | Path, folder: Path, root: Path) -> None:
        self.folder, self.root = folder / "run", root
        self.folder.mkdir(parents=True)
        run([python, "-m", "venv", folder / "venv"], self.folder)
        self.bin = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
        self.python = self.bin / "python"

    def install(self, *requirements: str) -> None:
        """Install requirements with the versions of constraints.txt."""
        constraints = self.root / "constraints.txt"
        run([self.python, *INSTALL, "-c", constraints, *requirements], self.folder)

    def run(self, *command: str | Path, **variables: str) -> str:
        """Run the environment's Python; the checkout cannot be imported."""
        return run([self.python, "-P", *command], self.folder, MPLBACKEND="Agg", **variables)


def pythons(minors: Iterable[int]) -> dict[int, str]:
    """Return the commands of the Pythons at hand, by minor version.

    The variable PYTHONS names them, separated by spaces. Otherwise they are python3.11, python3.12,
    ... on the PATH, those of pyenv, and those of the Windows launcher.
    """
    named = os.environ.get("PYTHONS", "").split()
    wanted, found = set(minors), {}
    for command in named or _candidates(wanted):
        minor = _minor(command)
        if named and minor is None:
            raise Problem(
                f"PYTHONS names {command}, which does not run or cannot make environments"
            )
        if minor is not None and (named or minor in wanted):
            found.setdefault(minor, command)
    return dict(sorted(found.items()))


def _candidates(minors: set[int]) -> Iterator[str]:
    for minor in sorted(minors):
        for folder in os.get_exec_path():
            if path := shutil.which(f"python3.{minor}", path=folder):
                yield path
        if shutil.which("py"):
            listed = _output("py", f"-3.{minor}", "-c", "import sys; print(sys.executable)")
            yield from listed.splitlines()
    if shutil.which("pyenv"):
        for version in reversed(_output("pyenv", "versions", "--bare").split()):
            if re.match(r"3\.\d+\.\d+$", version):
                yield str(Path(_output("pyenv", "prefix", version).strip()) / "bin" / "python")


def _minor(command: str) -> int | None:
    """Return the minor version of a Python 3 that can make environments, or None."""
    text = _output(command, "-c", "import sys, venv, ensurepip; print(*sys.version_info[:2])")
    return int(text.split()[1]) if re.fullmatch(r"3 \d+\s*", text) else None


def _output(*command: str) -> str:
    """Return what a command prints, or "" if it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
