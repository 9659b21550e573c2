"""The checks of a release: each one notices what it is for."""

import json
import re
import runpy
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from pathlib import Path

import pytest

import blockmat as bm
from tests.release import archives, installed, metadata
from tests.release.environments import pythons
from tests.release.report import Problem, Report, run

ROOT = Path(__file__).parents[1]
PACKAGE = {"blockmat/__init__.py": b"1", "blockmat/py.typed": b""}
OTHERS = {"LICENSE": b"BSD", "docs/a.md": b"a"}
TRACKED = PACKAGE | OTHERS | {".gitignore": b"", "setup.cfg": b"# a\n[metadata]\na = b\n"}
SDIST = (
    PACKAGE
    | OTHERS
    | {"setup.cfg": b"[metadata]\na =\n\tb\n\n[egg_info]\ntag_build = \ntag_date = 0\n\n"}
)
SDIST |= dict.fromkeys(archives.TO_SDIST, b"")
DIST_INFO = "blockmat-0.1.0.dist-info"
MADE = {f"{DIST_INFO}/{name}": b"" for name in archives.TO_WHEEL}
MADE[f"{DIST_INFO}/licenses/LICENSE"] = b"BSD"
CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2027-01-31\n\n- Less.\n\n## [0.1.0] - 2026-11-30\n"
CITATION = 'cff-version: 1.2.0\nversion: 0.2.0\ndate-released: "2027-01-31"\n'
description = runpy.run_path(str(ROOT / "setup.py"))["description"]


def test_archives_with_the_tracked_files_pass():
    assert archives.check_sdist(SDIST, TRACKED) == "5 files, as git tracks them"
    wheel = PACKAGE | MADE
    assert archives.check_wheel(wheel, TRACKED).startswith("2 files")


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (SDIST | {"docs/_build/a.html": b""}, "docs/_build/a.html should not be there"),
        (SDIST | {".ci/run": b""}, ".ci/run should not be there"),
        (SDIST | {"docs/a.md": b"b"}, "docs/a.md differs"),
        (SDIST | {"blockmat.egg-info/a.txt": b""}, "blockmat.egg-info/a.txt should not be there"),
        (SDIST | {"setup.cfg": b""}, "setup.cfg has other settings"),
        (
            SDIST | {"setup.cfg": b"[metadata]\n[options]"},
            "setup.cfg has other settings",
        ),
        *(
            ({name: SDIST[name] for name in SDIST if name != missing}, f"{missing} is missing")
            for missing in ("docs/a.md", "PKG-INFO", "blockmat.egg-info/SOURCES.txt")
        ),
    ],
)
def test_a_wrong_file_in_the_sdist_is_named(found, message):
    with pytest.raises(Problem, match=message):
        archives.check_sdist(found, TRACKED)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (PACKAGE | MADE | {"tests/test_a.py": b""}, "tests/test_a.py should not be there"),
        (MADE | {"blockmat/__init__.py": b"1"}, "blockmat/py.typed is missing"),
        (PACKAGE | MADE | {"blockmat-0.1.0.dist-info/a": b""}, "dist-info/a should not be there"),
        (PACKAGE | MADE | {"other-1.dist-info/RECORD": b""}, "other-1.dist-info/RECORD should not"),
        (PACKAGE | MADE | {"other-1.dist-info/METADATA": b""}, "expected METADATA in one folder"),
        (PACKAGE | {"other-1.dist-info/METADATA": b""}, "expected METADATA in one folder"),
        (PACKAGE, r"expected METADATA in one folder blockmat-\.\.\., found \[\]"),
        (PACKAGE | {f"{DIST_INFO}/METADATA": b""}, "dist-info/licenses/LICENSE is missing"),
        (PACKAGE | MADE | {f"{DIST_INFO}/licenses/LICENSE": b""}, "licenses/LICENSE differs"),
    ],
)
def test_a_wrong_file_in_the_wheel_is_named(found, message):
    with pytest.raises(Problem, match=message):
        archives.check_wheel(found, TRACKED)


def papers(changelog=CHANGELOG, citation=CITATION):
    return {"CHANGELOG.md": changelog.encode(), "CITATION.cff": citation.encode()}


def test_version_and_date_agree():
    for citation in (CITATION, CITATION.replace('"', "'"), CITATION.replace('31"', '31"  # day')):
        seen = metadata.check_version("0.2.0", papers(citation=citation))
        assert seen.startswith("0.2.0 of 2027-01-31")


@pytest.mark.parametrize(
    ("version", "changelog", "citation", "message"),
    [
        ("0.1.0", CHANGELOG, CITATION, "newest in CHANGELOG.md is 0.2.0"),
        ("0.2.0", "## [Unreleased]\n", CITATION, "no line"),
        ("0.2.0", CHANGELOG.replace("01-31", "02-31"), CITATION, "expected YYYY-MM-DD"),
        ("0.2.0", CHANGELOG.replace("2027-01-31", "20270131"), CITATION, "expected YYYY-MM-DD"),
        ("0.2.0", CHANGELOG.replace("01-31", "01-30"), CITATION, "date-released in CITATION.cff"),
        ("0.2.0", CHANGELOG, CITATION.replace("0.2.0", "0.1.0"), "version in CITATION.cff is 0.1.0"),
        ("0.2.0", CHANGELOG, "cff-version: 1.2.0\n", "version in CITATION.cff is None"),
    ],
)  # fmt: skip
def test_another_version_or_date_is_named(version, changelog, citation, message):
    with pytest.raises(Problem, match=message):
        metadata.check_version(version, papers(changelog, citation))


def test_an_archive_without_metadata_or_changelog_is_named():
    with pytest.raises(Problem, match=r"CHANGELOG.md is missing"):
        metadata.check_version("0.2.0", {"CITATION.cff": b""})
    with pytest.raises(Problem, match="expected METADATA in one folder"):
        metadata.metadata_of(PACKAGE)


def test_changelog_and_citation_have_the_version_of_the_package():
    changelog, citation = (
        (ROOT / name).read_text("utf-8") for name in ("CHANGELOG.md", "CITATION.cff")
    )
    metadata.check_version(bm.__version__, papers(changelog, citation))


def test_entries_under_unreleased_are_for_a_later_release():
    metadata.check_nothing_unreleased(papers())
    entry = CHANGELOG.replace("[Unreleased]\n", "[Unreleased]\n- x\n")
    with pytest.raises(Problem, match="move them"):
        metadata.check_nothing_unreleased(papers(entry))
    with pytest.raises(Problem, match="no section"):
        metadata.check_nothing_unreleased(papers(CHANGELOG.replace("[Unreleased]", "[Next]")))


def test_a_change_or_a_tag_of_another_commit_is_named(tmp_path):
    def git(*arguments):
        names = ["-c", "user.name=a", "-c", "user.email=a"]
        subprocess.run(["git", *names, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    git("commit", "--allow-empty", "-m", "a")
    assert "no tag v1.0.0 yet" in metadata.check_git(tmp_path, "1.0.0")
    git("tag", "-a", "-m", "1", "v1.0.0")
    assert "is that of this commit" in metadata.check_git(tmp_path, "1.0.0")
    git("commit", "--allow-empty", "-m", "b")
    with pytest.raises(Problem, match="another commit"):
        metadata.check_git(tmp_path, "1.0.0")
    (tmp_path / "new").touch()
    with pytest.raises(Problem, match="new"):
        metadata.check_git(tmp_path, "2.0.0")


def test_the_variable_pythons_names_the_pythons(monkeypatch):
    monkeypatch.setenv("PYTHONS", sys.executable)
    assert pythons([]) == {sys.version_info[1]: sys.executable}
    monkeypatch.setenv("PYTHONS", f"{sys.executable} no-such-python")
    with pytest.raises(Problem, match="PYTHONS names no-such-python"):
        pythons([])


def test_pythons_that_do_not_run_are_not_at_hand(monkeypatch, tmp_path):
    monkeypatch.delenv("PYTHONS", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    broken = tmp_path / "python3.11"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    assert pythons([11, 12]) == {}


def test_an_extra_includes_others():
    found = Message()
    found["Requires-Dist"] = 'blockmat[plot,torch]; extra == "all"'
    found["Requires-Dist"] = 'torch>=2.6; extra == "torch"'
    assert installed.provided(found, "all") == {"all", "plot", "torch"}
    assert installed.provided(found, "") == set()


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        (("plot", "plot", 'run: pip install "blockmat[plot]"'), "should work"),
        (("torch", "optimizer", "No module"), "should name the extra torch"),
        (("torch", "optimizer", 'run: pip install "blockmat[plot]"'), "should name the extra torch"),
    ],
)  # fmt: skip
def test_a_feature_that_fails_in_the_wrong_way_is_named(feature, message):
    (line,) = installed.problems([feature], {"plot"}, lambda extra: {extra})
    assert message in line


def test_features_that_work_or_name_their_extra_are_no_problem():
    features = [("plot", "plot", "works"), ("dask", "dask", 'run: pip install "blockmat[dask]"')]
    assert installed.problems(features, {"plot"}, lambda extra: {extra}) == []


def test_a_module_that_cannot_be_imported_names_an_extra_that_is_not_installed():
    asks = {"blockmat.plot": 'run: pip install "blockmat[plot]"', "blockmat.core": "works"}
    assert installed.problems_of_modules(asks, {"plot", "torch"}) == []
    (line,) = installed.problems_of_modules(asks, {"torch"})  # plot is installed, or no extra
    assert line.startswith("import blockmat.plot: run")
    (line,) = installed.problems_of_modules({"blockmat.plot": "No module"}, {"plot"})
    assert line == "import blockmat.plot: No module"


class FakeEnvironment:
    """An environment whose program has printed something already."""

    def __init__(self, folder, **printed):
        self.folder, self.bin, self.printed = folder, folder / "bin", printed

    def run(self, *command):
        return f"a warning\n{json.dumps(self.printed)}\n"


def test_features_are_those_of_the_installed_wheel(tmp_path):
    found = Message()
    found["Version"] = "0.1.0"
    for extra in ("plot", "torch"):
        found["Provides-Extra"] = extra
    asks = 'run: pip install "blockmat[torch]"'
    good = {
        "file": str(tmp_path / "lib" / "blockmat" / "__init__.py"),
        "version": "0.1.0",
        "features": [("plot", "plot", "works"), ("torch", "optimizer", asks)],
        "modules": {"blockmat": "works", "blockmat.torch": asks},
    }

    def check(**changes):
        environment = FakeEnvironment(tmp_path, **good | changes)
        return installed.check_features(environment, found, "plot")

    assert check() == "used plot; 1 others say what to install"
    for changes, message in (
        ({"file": "/checkout/blockmat/__init__.py"}, "was imported from /checkout"),
        ({"version": "0.0.9"}, "__version__ is 0.0.9"),
        ({"features": [("plot", "plot", "No module")]}, "plot should work"),
        ({"modules": {"blockmat.plot": 'pip install "blockmat[plot]"'}}, "import blockmat.plot"),
    ):
        with pytest.raises(Problem, match=message):
            check(**changes)


def test_an_extra_that_asks_for_itself_is_named():
    found = Message()
    found["Requires-Dist"] = 'blockmat[all]; extra == "all"'
    with pytest.raises(Problem, match="the extra all asks for itself"):
        installed.provided(found, "all")


def test_a_file_that_is_twice_in_the_wheel_is_named(tmp_path):
    path = tmp_path / "blockmat-1.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("blockmat/__init__.py", b"other")
        with pytest.warns(UserWarning, match="Duplicate name"):
            wheel.writestr("blockmat/__init__.py", b"1")
    with pytest.raises(Problem, match=r"blockmat-1.whl has a file twice"):
        archives.files_of(path)


def packed(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for name, kind in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "nowhere"
            archive.addfile(member)
    return path


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("other-2/a", tarfile.REGTYPE)], "other-2/a is not in the folder blockmat-1"),
        ([("blockmat-1/a", tarfile.REGTYPE)] * 2, "blockmat-1/a is there twice"),
        ([("blockmat-1/a", tarfile.SYMTYPE)], "blockmat-1/a is no regular file"),
    ],
)
def test_what_is_no_file_of_the_sdist_is_named(tmp_path, members, message):
    good = [("blockmat-1", tarfile.DIRTYPE), ("blockmat-1/b/c", tarfile.REGTYPE)]
    assert archives.files_of(packed(tmp_path / "blockmat-1.tar.gz", good)) == {"b/c": b""}
    with pytest.raises(Problem, match=message):
        archives.files_of(packed(tmp_path / "blockmat-1.tar.gz", good + members))


METADATA = {
    "Summary": "a", "Author": "a", "Keywords": "a", "License-File": "LICENSE", "Description-Content-Type": "text/markdown",
    "License-Expression": "BSD-3-Clause", "Requires-Python": ">=3.11",
}  # fmt: skip
CLASSIFIERS = ["Typing :: Typed", *(f"Programming Language :: Python :: 3.{m}" for m in (11, 12))]


@pytest.mark.parametrize(
    ("changes", "classifiers", "message"),
    [
        *(({name: ""}, CLASSIFIERS, f"{name} is empty") for name in list(METADATA)[:5]),
        ({"Description-Content-Type": "text/x-rst"}, CLASSIFIERS, "Content-Type is text/x-rst"),
        ({"License-Expression": "MIT"}, CLASSIFIERS, "License-Expression is MIT"),
        ({}, CLASSIFIERS[1:], "Typing :: Typed is missing"),
        ({}, [*CLASSIFIERS, "Typing :: Maybe"], r"does not know: \['Typing :: Maybe'\]"),
        ({"Requires-Python": ">=3.10"}, CLASSIFIERS, "Requires-Python is >=3.10"),
        ({"Requires-Python": ">=3.11,<4"}, CLASSIFIERS, "Requires-Python is >=3.11,<4"),
        ({}, CLASSIFIERS[:1], "Requires-Python is >=3.11"),
        ({}, [*CLASSIFIERS, "Programming Language :: Python :: 3.14"], "Requires-Python"),
    ],
)
def test_wrong_metadata_are_named(changes, classifiers, message):
    metadata.check_metadata(of(METADATA, CLASSIFIERS))
    with pytest.raises(Problem, match=message):
        metadata.check_metadata(of(METADATA | changes, classifiers))


def of(fields, classifiers):
    found = Message()
    for name, value in (*fields.items(), *(("Classifier", text) for text in classifiers)):
        found[name] = value
    return found


def test_a_program_does_not_see_the_paths_of_this_one(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    code = "import os, sys; print(os.environ.get('PYTHONPATH'), os.environ['A']); sys.exit({})"
    assert run([sys.executable, "-c", code.format(0)], tmp_path, A="b") == "None b\n"
    with pytest.raises(Problem, match=r"exit code 3 of: .*\nNone b"):
        run([sys.executable, "-c", code.format(3)], tmp_path, A="b")


def test_old_archives_are_removed(monkeypatch, tmp_path):
    def build(command, root):
        for name in ("blockmat-2.tar.gz", "blockmat-2-any.whl"):
            (tmp_path / name).touch()

    monkeypatch.setattr(archives, "run", build)
    for name in ("blockmat-1.tar.gz", "blockmat-1-any.whl", "other-1.txt"):
        (tmp_path / name).touch()
    sdist, wheel = archives.build(ROOT, tmp_path)
    assert (sdist.name, wheel.name) == ("blockmat-2.tar.gz", "blockmat-2-any.whl")
    assert (tmp_path / "other-1.txt").exists()
    (tmp_path / "other.whl").touch()
    with pytest.raises(Problem, match="expected one file"):
        archives.build(ROOT, tmp_path)


def test_the_first_block_with_prompts_is_the_example():
    page = "```python\nx\n```\n\n```python\n>>> 1\n1\n```\n\n```python\n>>> 2\n2\n```\n"
    assert installed.example_of(page) == ">>> 1\n1\n"
    with pytest.raises(Problem, match="no block"):
        installed.example_of("# Title\n")
    assert "import blockmat as bm" in installed.example_of((ROOT / "README.md").read_text("utf-8"))


README = """# blockmat

<img src="docs/a.png" width="9" alt="A"> ![B](docs/b.png) [![C](https://c.org/c.svg)](CHANGELOG.md)
<!-- bench: a --> [tour](docs/tour.md) and <a href="docs/x.md">x</a>, [arXiv](https://arxiv.org).

```python
>>> f[0](x)  # <!-- kept -->
```
"""


def test_without_an_address_links_are_text_and_pictures_are_left_out():
    text = description(README, "", "0.1.0")
    assert "\n  ![C](https://c.org/c.svg)\n" in text
    assert " tour and x, [arXiv](https://arxiv.org)." in text
    assert ">>> f[0](x)  # <!-- kept -->" in text
    assert "docs/" not in text
    assert "bench" not in text


def test_with_an_address_links_and_pictures_are_absolute():
    text = description(README, "https://a.org/b", "0.1.0")
    assert '<img src="https://a.org/b/raw/v0.1.0/docs/a.png" width="9" alt="A">' in text
    assert "![B](https://a.org/b/raw/v0.1.0/docs/b.png)" in text
    assert "[tour](https://a.org/b/blob/v0.1.0/docs/tour.md)" in text
    assert '<a href="https://a.org/b/blob/v0.1.0/docs/x.md">x</a>' in text
    assert ">>> f[0](x)" in text


def test_the_descriptions_of_this_readme_pass():
    readme = (ROOT / "README.md").read_text("utf-8")
    for source in ("", "https://a.org/b"):
        metadata.check_description(with_payload(description(readme, source, "0.1.0")))
    with pytest.raises(Problem, match=r"expected the README, found .* with 'Something"):
        metadata.check_description(with_payload("Something else\n"))


@pytest.mark.parametrize(
    "link",
    [
        "[a](docs/a.md)",
        "[a]\n\n[a]: docs/a.md",
        '<img src="docs/a.md">',
        "<img alt=a src='docs/a.md'>",
        "<a HREF=docs/a.md>a</a>",
        '<source srcset = "docs/a.md">',
        '<source srcset="https://a.org/1.png 1x, docs/a.md 2x">',
        "> [a]: docs/a.md\n> [a]",
        "- a\n\n  [a]: docs/a.md\n\n[a]",
        "``` \n```\n[a](docs/a.md)",
        "```` x` [a](docs/a.md)",
        '<video poster="docs/a.md"></video>',
        "<img srcset='docs/a.md 1x, https://a.org/b,c.png 2x'>",
    ],
)
def test_a_relative_link_of_the_description_is_named(link):
    text = "# blockmat\n\n[b](https://b.org)\n\n[b]: #b\n"
    metadata.check_description(with_payload(text))
    with pytest.raises(Problem, match=r"expected absolute links, found 'docs/a.md'$"):
        metadata.check_description(with_payload(f"{text}\n{link}\n"))


@pytest.mark.parametrize(
    "link",
    [
        "[a](<https://a.org/b>)", "[a]: <https://a.org>\n[a]", "`f[0](x)`", "    f[0](x)", "~~~\nf[0](x)\n~~~",
        "````\n```\nf[0](x)\n````", "[a](HTTPS://a.org)", "![a](data:image/png;base64,AA==)", "<!-- [a](docs/a.md) -->",
        "`src=here`", "[a](mailto:a@b.org)", '<img srcset="https://a.org/a,b.png 1x,">', '<img srcset="">',
    ],
)  # fmt: skip
def test_absolute_links_and_code_of_the_description_pass(link):
    metadata.check_description(with_payload(f"# blockmat\n\n{link}\n"))


def with_payload(text):
    found = Message()
    found.set_payload(text)
    return found


def test_the_summary_counts_and_names_what_failed(capsys):
    report = Report()
    report.check("good", lambda: "seen")
    assert report.summary() == 0

    def bad():
        raise Problem("why")

    report.check("bad", bad)
    report.check("broken", lambda: {}["key"])
    assert report.summary() == 1
    assert re.search(
        r"FAIL  bad\n      why\nFAIL  broken\n.*KeyError: 'key'\n.*1 passed, 2 failed, in 0.0 minutes\n"
        r"failed: bad\nfailed: broken\n",
        capsys.readouterr().out.replace("checks ", ""),
        re.DOTALL,
    )
