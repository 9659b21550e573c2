"""One line for each check, and a summary."""

import os
import subprocess
import sys
import textwrap
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path


class Problem(Exception):
    """What a check found."""


class Report:
    """Runs checks, prints a line for each, and remembers what failed."""

    def __init__(self) -> None:
        self.begin = time.monotonic()
        self.passed = 0
        self.failed: list[str] = []
        self.reminders: list[str] = []

    def check(self, name: str, function: Callable[..., str], *arguments: object) -> None:
        """Run a check. It returns what it has seen, or raises `Problem`; any other error counts too."""
        begin = time.monotonic()
        try:
            seen = function(*arguments)
        except Exception as error:  # noqa: BLE001 (the other checks go on)
            self.failed.append(name)
            text = str(error) if isinstance(error, Problem) else traceback.format_exc()
            print(f"FAIL  {name}\n{textwrap.indent(text, ' ' * 6)}", flush=True)
        else:
            self.passed += 1
            print(f"ok    {name}: {seen} ({time.monotonic() - begin:.0f} s)", flush=True)

    def remind(self, text: str) -> None:
        """Print what is not an error but has to be done or known."""
        self.reminders.append(text)
        print(f"note  {text}", flush=True)

    def summary(self) -> int:
        """Print the numbers of checks and the names of those that failed; and all reminders; return the exit code."""
        minutes = (time.monotonic() - self.begin) / 60
        print(f"\n{self.passed} checks passed, {len(self.failed)} failed, in {minutes:.1f} minutes")
        for name in self.failed:
            print(f"failed: {name}")
        for text in self.reminders:
            print(f"note: {text}")
        return int(bool(self.failed))


def run(command: Sequence[str | Path], folder: Path, **variables: str) -> str:
    """Run a command in a folder and return what it prints, or raise `Problem` with its last lines."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder, env={**kept, **variables}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        last = (done.stdout + done.stderr).strip().splitlines()[-25:]
        shown = " ".join(str(part) for part in command[:6])
        raise Problem("\n".join([f"exit code {done.returncode} of: {shown}", *last]))
    return done.stdout


PYTHON = Path(sys.executable)
