"""The checks of a release: each one notices what it is for."""

import re
import runpy
import subprocess
import sys
from email.message import Message
from pathlib import Path

import pytest

import blockmat as bm
from tests.release import archives, installed, metadata
from tests.release.environments import pythons
from tests.release.report import Problem, Report

ROOT = Path(__file__).parents[1]
PACKAGE = {"blockmat/__init__.py": b"1", "blockmat/py.typed": b""}
TRACKED = PACKAGE | {".gitignore": b"", "setup.cfg": b"[metadata]", "docs/a.md": b"a"}
SDIST = PACKAGE | {
    "PKG-INFO": b"",
    "blockmat.egg-info/PKG-INFO": b"",
    "setup.cfg": b"[metadata]\n[egg_info]",
    "docs/a.md": b"a",
}
CHANGELOG = "# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2027-01-31\n\n- Less.\n\n## [0.1.0] - 2026-11-30\n"
CITATION = 'cff-version: 1.2.0\nversion: 0.2.0\ndate-released: "2027-01-31"\n'
description = runpy.run_path(str(ROOT / "setup.py"))["description"]


def test_archives_with_the_tracked_files_pass():
    assert archives.check_sdist(SDIST, TRACKED) == "4 files, as git tracks them"
    wheel = PACKAGE | {"blockmat-0.1.0.dist-info/METADATA": b""}
    assert archives.check_wheel(wheel, TRACKED).startswith("2 files")


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (SDIST | {"docs/_build/a.html": b""}, "docs/_build/a.html should not be there"),
        (SDIST | {".ci/run": b""}, ".ci/run should not be there"),
        (SDIST | {"docs/a.md": b"b"}, "docs/a.md differs"),
        ({name: SDIST[name] for name in SDIST if name != "docs/a.md"}, "docs/a.md is missing"),
    ],
)
def test_a_wrong_file_in_the_sdist_is_named(found, message):
    with pytest.raises(Problem, match=message):
        archives.check_sdist(found, TRACKED)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (PACKAGE | {"tests/test_a.py": b""}, "tests/test_a.py should not be there"),
        ({"blockmat/__init__.py": b"1"}, "blockmat/py.typed is missing"),
    ],
)
def test_a_wrong_file_in_the_wheel_is_named(found, message):
    with pytest.raises(Problem, match=message):
        archives.check_wheel(found, TRACKED)


def test_version_and_date_agree():
    assert metadata.check_version("0.2.0", CHANGELOG, CITATION).startswith("0.2.0 of 2027-01-31")


@pytest.mark.parametrize(
    ("version", "changelog", "citation", "message"),
    [
        ("0.1.0", CHANGELOG, CITATION, "newest in CHANGELOG.md is 0.2.0"),
        ("0.2.0", "## [Unreleased]\n", CITATION, "no line"),
        ("0.2.0", CHANGELOG.replace("01-31", "02-31"), CITATION, "expected YYYY-MM-DD"),
        ("0.2.0", CHANGELOG.replace("01-31", "01-30"), CITATION, "date-released in CITATION.cff"),
        ("0.2.0", CHANGELOG, CITATION.replace("0.2.0", "0.1.0"), "version in CITATION.cff is 0.1.0"),
        ("0.2.0", CHANGELOG, "cff-version: 1.2.0\n", "version in CITATION.cff is None"),
    ],
)  # fmt: skip
def test_another_version_or_date_is_named(version, changelog, citation, message):
    with pytest.raises(Problem, match=message):
        metadata.check_version(version, changelog, citation)


def test_changelog_and_citation_have_the_version_of_the_package():
    changelog, citation = (
        (ROOT / name).read_text("utf-8") for name in ("CHANGELOG.md", "CITATION.cff")
    )
    metadata.check_version(bm.__version__, changelog, citation)


def test_entries_under_unreleased_are_for_a_later_release():
    metadata.check_nothing_unreleased(CHANGELOG)
    with pytest.raises(Problem, match="move them"):
        metadata.check_nothing_unreleased(
            CHANGELOG.replace("[Unreleased]\n", "[Unreleased]\n- x\n")
        )
    with pytest.raises(Problem, match="no section"):
        metadata.check_nothing_unreleased(CHANGELOG.replace("[Unreleased]", "[Next]"))


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
        found = Message()
        found.set_payload(description(readme, source, "0.1.0"))
        metadata.check_description(found)
    found.set_payload(readme + "[a](docs/tour.md)")
    with pytest.raises(Problem, match="relative"):
        metadata.check_description(found)


def test_the_summary_counts_and_names_what_failed(capsys):
    report = Report()
    report.check("good", lambda: "seen")
    assert report.summary() == 0

    def bad():
        raise Problem("why")

    report.check("bad", bad)
    assert report.summary() == 1
    assert re.search(
        r"FAIL  bad\n      why\n.*1 passed, 1 failed, in 0.0 minutes\nfailed: bad\n",
        capsys.readouterr().out.replace("checks ", ""),
        re.DOTALL,
    )
