"""The sdist and the wheel: build them, and compare their files with those that git tracks."""

import tarfile
import zipfile
from pathlib import Path

from tests.release.report import PYTHON, Problem, run

Files = dict[str, bytes]
# What setuptools adds to an sdist and to a wheel.
TO_SDIST = frozenset({"PKG-INFO"}) | {
    f"blockmat.egg-info/{name}"
    for name in (
        "PKG-INFO", "SOURCES.txt", "dependency_links.txt", "entry_points.txt", "requires.txt", "top_level.txt",
    )
}  # fmt: skip
TO_WHEEL = ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE", "top_level.txt")
CHANGED = "setup.cfg"  # setuptools appends lines to it


def build(root: Path, folder: Path) -> tuple[Path, Path]:
    """Build an sdist, and a wheel from it; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("blockmat-*"):
        old.unlink()
    run([PYTHON, "-m", "build", "--outdir", folder, root], root)
    return one(folder, "*.tar.gz"), one(folder, "*.whl")


def one(folder: Path, pattern: str) -> Path:
    """Return the only file that matches a pattern."""
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise Problem(f"expected one file {pattern} in {folder}, found {len(found)}")
    return found[0]


def files_of(archive: Path) -> Files:
    """Return the files of an sdist, without its top folder, or of a wheel."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return {name: wheel.read(name) for name in wheel.namelist()}
    with tarfile.open(archive) as sdist:
        members = [member for member in sdist.getmembers() if not member.isdir()]
        return {member.name.partition("/")[2]: _content(sdist, member) for member in members}


def _content(sdist: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = sdist.extractfile(member)
    if file is None:
        raise Problem(f"{member.name} is no regular file")
    return file.read()


def text_of(archive: Files, name: str) -> str:
    """Return a file of an archive as text."""
    if name not in archive:
        raise Problem(f"{name} is missing")
    return archive[name].decode()


def tracked(root: Path) -> Files:
    """Return the files that git tracks, as they are in the checkout."""
    names = run(["git", "ls-files", "-z"], root).split("\0")[:-1]
    return {name: (root / name).read_bytes() for name in names if (root / name).exists()}


def check_sdist(found: Files, in_git: Files) -> str:
    """Compare an sdist with the tracked files. Only those whose name begins with a dot are not in it."""
    expected = {name: data for name, data in in_git.items() if not name.startswith(".")}
    compare({name: data for name, data in found.items() if name not in TO_SDIST}, expected)
    return f"{len(expected)} files, as git tracks them"


def check_wheel(found: Files, in_git: Files) -> str:
    """Compare a wheel with the tracked files of the package."""
    expected = {name: data for name, data in in_git.items() if name.startswith("blockmat/")}
    folders = [name.partition("/")[0] for name in found if name.endswith(".dist-info/METADATA")]
    if len(folders) != 1:
        raise Problem(f"expected one METADATA in the wheel, found {len(folders)}")
    made = {f"{folders[0]}/{name}" for name in TO_WHEEL}
    compare({name: data for name, data in found.items() if name not in made}, expected)
    for name in ("blockmat/py.typed", "blockmat/__init__.py"):
        if name not in found:
            raise Problem(f"{name} is not in the wheel")
    return f"{len(expected)} files, as git tracks them, with py.typed"


def compare(found: Files, expected: Files) -> None:
    """Raise `Problem` with the names of files that are too many, are missing or differ."""
    lines = [
        f"{name} should not be there: git does not track it"
        for name in found.keys() - expected.keys()
    ]
    lines += [f"{name} is missing" for name in expected.keys() - found.keys()]
    lines += [
        f"{name} differs from the file in the checkout"
        for name in found.keys() & expected.keys() - {CHANGED}
        if found[name] != expected[name]
    ]
    if lines:
        more = [f"and {len(lines) - 20} more"] if len(lines) > 20 else []
        raise Problem("\n".join(sorted(lines)[:20] + more))
