"""The wheel in empty environments: the README's example, the command line, each extra, types and doctests."""

import json
import re
from email.message import Message
from pathlib import Path

from tests.release.archives import Files
from tests.release.environments import Environment
from tests.release.report import PYTHON, Problem, run

HERE = Path(__file__).parent
DOCTEST = """
import doctest, sys
from pathlib import Path
print(doctest.testfile(sys.argv[1], module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE))
sys.exit(doctest.master.failures > 0)
"""


def example_of(readme: str) -> str:
    """Return the first block of Python with prompts in the README."""
    blocks = re.findall(r"^```python\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    found = [block for block in blocks if ">>>" in block]
    if not found:
        raise Problem("README.md has no block ```python with >>>")
    return found[0]


def check_example(environment: Environment, text: str) -> str:
    """Run lines with prompts, and compare what they print."""
    (environment.folder / "example.md").write_text(text, encoding="utf-8")
    (environment.folder / "run.py").write_text(DOCTEST, encoding="utf-8")
    seen = environment.run("run.py", "example.md")
    done = re.search(r"attempted=(\d+)", seen)
    if not done or not int(done[1]):
        raise Problem(f"no example ran: {seen}")
    return f"{done[1]} lines print what the page says"


def check_command_line(environment: Environment, version: str) -> str:
    """Run the command `blockmat` on a small file."""
    command = environment.bin / "blockmat"
    seen = run([command, "--version"], environment.folder).strip()
    if seen != f"blockmat {version}":
        raise Problem(f"blockmat --version prints {seen!r}")
    (environment.folder / "S.csv").write_text("2,1\n1,2\n", encoding="utf-8")
    fit = run([command, "fit", "S.csv", "--blocks", "1", "--output", "f.npz"], environment.folder)
    if "relative error" not in fit or not (environment.folder / "f.npz").exists():
        raise Problem(f"blockmat fit prints {fit!r}")
    return "blockmat --version and blockmat fit"


def provided(metadata: Message, extra: str) -> set[str]:
    """Return an extra and those that it includes."""
    found = {extra} if extra else set()
    for text in metadata.get_all("Requires-Dist", []):
        inner = re.match(rf"blockmat\[([\w,]+)\]; extra == \"{extra}\"$", text)
        for name in inner[1].split(",") if inner else ():
            if name == extra:
                raise Problem(f"the extra {extra} asks for itself")
            found |= provided(metadata, name)
    return found


def check_features(environment: Environment, metadata: Message, extra: str = "") -> str:
    """Use what all extras bring: it works, or an error names the extra to install."""
    (environment.folder / "features.py").write_bytes((HERE / "features.py").read_bytes())
    found = json.loads(environment.run("features.py").splitlines()[-1])
    if environment.bin.parent not in Path(found["file"]).parents:
        raise Problem(f"blockmat was imported from {found['file']}")
    if found["version"] != metadata["Version"]:
        raise Problem(f"blockmat.__version__ is {found['version']}")
    has = provided(metadata, extra)
    bad = problems(found["features"], has, lambda e: provided(metadata, e))
    others = set(metadata.get_all("Provides-Extra", [])) - has
    bad += problems_of_modules(found["modules"], others)
    if bad:
        raise Problem("\n".join(bad))
    working = [name for _, name, outcome in found["features"] if outcome == "works"]
    rest = [f"{len(found['features']) - len(working)} others say what to install"]
    return "; ".join(([f"used {', '.join(working)}"] if working else []) + rest)


def problems(features, has, needs) -> list[str]:
    """Return a line for each feature that should work and does not, or whose error names no extra that it needs."""
    bad = []
    for extra, name, outcome in features:
        named = re.search(r'pip install "blockmat\[(\w+)\]"', outcome)
        if extra in has and outcome != "works":
            bad.append(f"{name} should work with the extra: {outcome}")
        elif outcome.startswith("without Dask") or outcome == "works":
            continue
        elif not named or named[1] not in needs(extra):
            bad.append(f"{name} should name the extra {extra}: {outcome}")
    return bad


def problems_of_modules(modules: dict[str, str], others: set[str]) -> list[str]:
    """Return a line for each module that cannot be imported, unless it names one of the other extras."""
    bad = []
    for name, outcome in modules.items():
        named = re.search(r'pip install "blockmat\[(\w+)\]"', outcome)
        if outcome != "works" and (not named or named[1] not in others):
            bad.append(f"import {name}: {outcome}")
    return bad


def check_types(environment: Environment) -> str:
    """Check a small program with `mypy --strict`, which reads the types of the wheel (py.typed)."""
    program = environment.folder / "typed.py"
    program.write_bytes((HERE / "typed.py").read_bytes())
    command = [PYTHON, "-P", "-m", "mypy", "--strict", "--python-executable", environment.python]
    seen = run([*command, "--cache-dir", environment.folder / "mypy", program], environment.folder)
    return seen.strip()


def check_tests(environment: Environment, sdist: Files) -> str:
    """Run the doctests of the wheel, and the tests of the package and of the command line."""
    folder = environment.folder / "sdist"
    for name, content in sdist.items():
        if not name.startswith("blockmat/"):  # the tests see the wheel only
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    tests = ["tests/test_package.py", "tests/test_cli.py", "README.md"]
    command = ["-m", "pytest", "-q", "-n", "auto", "--pyargs", "blockmat", *tests]
    return run([environment.python, *command], folder).strip().splitlines()[-1]
