"""The sdist and the wheel: build them, and compare their files with those that git tracks."""

import tarfile
import zipfile
from configparser import ConfigParser
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
LICENCE = "licenses/LICENSE"
TO_WHEEL = (LICENCE, "METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt")
CHANGED = "setup.cfg"  # setuptools writes it anew, with a section egg_info


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
            names = wheel.namelist()
            if len(set(names)) < len(names):
                raise Problem(f"{archive.name} has a file twice")
            return {name: wheel.read(name) for name in names}
    top, found = archive.name.removesuffix(".tar.gz"), {}
    with tarfile.open(archive) as sdist:
        for member in sdist.getmembers():
            folder, _, name = member.name.partition("/")
            if folder != top:
                raise Problem(f"{member.name} is not in the folder {top}")
            if member.isdir():
                continue
            file = sdist.extractfile(member) if member.isreg() else None
            if file is None:
                raise Problem(f"{member.name} is no regular file")
            if name in found:
                raise Problem(f"{member.name} is there twice")
            found[name] = file.read()
    return found


def folder_of_metadata(wheel: Files) -> str:
    """Return the name of the folder of a wheel that is not installed as it is."""
    folders = [name.partition("/")[0] for name in wheel if name.endswith(".dist-info/METADATA")]
    if len(folders) != 1 or not folders[0].startswith("blockmat-"):
        raise Problem(f"expected METADATA in one folder blockmat-..., found {folders}")
    return folders[0]


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
    settings = settings_of(found.get(CHANGED, b""))
    settings.pop("egg_info", None)
    if settings != settings_of(expected[CHANGED]):
        raise Problem(f"{CHANGED} has other settings than the file in the checkout")
    compare(found, expected | {name: found.get(name, b"") for name in TO_SDIST})
    return f"{len(expected)} files, as git tracks them"


def settings_of(text: bytes) -> dict[str, dict[str, list[str]]]:
    """Return the words of each setting in each section of setup.cfg."""
    parser = ConfigParser(interpolation=None)
    parser.read_string(text.decode())
    return {name: {key: parser[name][key].split() for key in parser[name]} for name in parser}


def check_wheel(found: Files, in_git: Files) -> str:
    """Compare a wheel with the tracked files of the package."""
    expected = {name: data for name, data in in_git.items() if name.startswith("blockmat/")}
    folder = folder_of_metadata(found)
    made = {f"{folder}/{name}": found.get(f"{folder}/{name}", b"") for name in TO_WHEEL}
    made[f"{folder}/{LICENCE}"] = in_git["LICENSE"]
    compare(found, expected | made)
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
