"""The metadata of the wheel, and the version and date in CHANGELOG.md, CITATION.cff and git."""

import re
from datetime import date
from email.message import Message
from email.parser import Parser
from html.parser import HTMLParser
from pathlib import Path

from markdown_it import MarkdownIt

from tests.release.archives import Files, folder_of_metadata, text_of
from tests.release.report import Problem, Report, run

PYTHON = "Programming Language :: Python :: 3."
ABSOLUTE = r"(?i)https?://|mailto:|data:|#"
TARGETS = frozenset({"src", "srcset", "href", "poster", "data"})  # attributes of HTML
ADDRESSES = ("Source", "Documentation")


def metadata_of(wheel: Files) -> Message:
    """Return the metadata of a wheel."""
    return Parser().parsestr(wheel[f"{folder_of_metadata(wheel)}/METADATA"].decode())


def minor_versions(metadata: Message) -> list[int]:
    """Return the minor versions of Python 3 in the classifiers."""
    found = [text.removeprefix(PYTHON) for text in metadata.get_all("Classifier", [])]
    return sorted(int(text) for text in found if text.isdigit())


def check_metadata(metadata: Message) -> str:
    """Check what a package index shows and searches."""
    for field in ("Summary", "Author", "Keywords", "License-File", "Description-Content-Type"):
        if not metadata[field]:
            raise Problem(f"{field} is empty")
    if not metadata["Description-Content-Type"].startswith("text/markdown"):
        raise Problem(f"Description-Content-Type is {metadata['Description-Content-Type']}")
    if metadata["License-Expression"] != "BSD-3-Clause":
        raise Problem(
            f"License-Expression is {metadata['License-Expression']}, expected BSD-3-Clause"
        )
    from trove_classifiers import classifiers as known

    classifiers = metadata.get_all("Classifier", [])
    unknown = set(classifiers) - set(known)
    if unknown:
        raise Problem(f"classifiers that a package index does not know: {sorted(unknown)}")
    if "Typing :: Typed" not in classifiers:
        raise Problem("the classifier Typing :: Typed is missing")
    minors = minor_versions(metadata)
    oldest = re.fullmatch(r">=3\.(\d+)", metadata["Requires-Python"] or "")
    if not minors or not oldest or minors != list(range(int(oldest[1]), minors[-1] + 1)):
        raise Problem(
            f"Requires-Python is {metadata['Requires-Python']}, the classifiers have 3.{minors}"
        )
    return f"licence {metadata['License-Expression']}, Python 3.{minors[0]} to 3.{minors[-1]}, {len(classifiers)} classifiers"


class Targets(HTMLParser):
    """Collects what a page of HTML links to and shows."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Add the targets of a tag."""
        for name, value in attrs:
            if name == "srcset":
                parts = re.split(r",\s+|,$", value or "")
                self.found += [part.split()[0] for part in parts if part.strip()]
            elif name in TARGETS:
                self.found.append(value or "")


def check_description(metadata: Message) -> str:
    """Check that the description has no relative link, which a package index cannot follow."""
    text = str(metadata.get_payload())
    targets = Targets()
    targets.feed(MarkdownIt("commonmark").render(text))
    relative = [t for t in targets.found if not re.match(ABSOLUTE, t)]
    if relative:
        raise Problem(f"expected absolute links, found {', '.join(map(repr, relative))}")
    if not re.match(r"#\s+(<img[^>]*>\s*)?blockmat\n", text.lstrip()):
        raise Problem(f"expected the README, found a description that begins with {text[:60]!r}")
    lines, n = len(text.splitlines()), len(targets.found)
    return f"the README, {lines} lines, {n} absolute links and pictures"


def remind_of_addresses(report: Report, metadata: Message) -> None:
    """Say which addresses are not set yet."""
    urls = dict(text.split(", ", 1) for text in metadata.get_all("Project-URL", []))
    for label in ADDRESSES:
        if label not in urls:
            report.remind(
                f"project_urls in setup.cfg has no {label}: enter the address before the upload"
            )


def newest_release(changelog: str) -> tuple[str, str]:
    """Return version and date of the newest release in the changelog."""
    found = re.search(r"^## \[(\d+\.\d+\.\d+)\] - (\S+)$", changelog, re.MULTILINE)
    if not found:
        raise Problem("CHANGELOG.md has no line '## [VERSION] - DATE'")
    return found[1], found[2]


def check_version(version: str, sdist: Files) -> str:
    """Compare the version with those of the changelog and of CITATION.cff, and the two dates."""
    changelog, citation = (text_of(sdist, name) for name in ("CHANGELOG.md", "CITATION.cff"))
    newest, day = newest_release(changelog)
    if version != newest:
        raise Problem(f"the wheel is version {version}, the newest in CHANGELOG.md is {newest}")
    try:
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", day):
            raise ValueError
        date.fromisoformat(day)
    except ValueError:
        raise Problem(
            f"the date of {newest} in CHANGELOG.md is {day}, expected YYYY-MM-DD"
        ) from None
    for field, expected in (("version", version), ("date-released", day)):
        found = re.search(rf"^{field}: *[\"']?([^\s\"']+)[\"']? *(#.*)?$", citation, re.MULTILINE)
        if not found or found[1] != expected:
            raise Problem(f"{field} in CITATION.cff is {found and found[1]}, expected {expected}")
    return f"{version} of {day} in the wheel, CHANGELOG.md and CITATION.cff"


def check_nothing_unreleased(sdist: Files) -> str:
    """Check that the changelog has an empty section Unreleased, as it should at a release."""
    changelog = text_of(sdist, "CHANGELOG.md")
    found = re.search(r"^## \[Unreleased\]\n(.*?)(?=^## \[)", changelog, re.MULTILINE | re.DOTALL)
    if not found:
        raise Problem("CHANGELOG.md has no section '## [Unreleased]' before the releases")
    if found[1].strip():
        raise Problem("CHANGELOG.md has entries under Unreleased; move them below the new version")
    return "the section Unreleased of CHANGELOG.md is empty"


def check_git(root: Path, version: str) -> str:
    """Check that all is committed, and that the tag of the version is absent or that of this commit."""
    changes = run(["git", "status", "--porcelain"], root).strip()
    if changes:
        raise Problem(f"commit or remove first:\n{changes}")
    tag = f"v{version}"
    if not run(["git", "tag", "--list", tag], root).strip():
        return f"all is committed, and there is no tag {tag} yet"
    tagged = run(["git", "rev-list", "-1", tag], root).strip()
    if tagged != run(["git", "rev-parse", "HEAD"], root).strip():
        raise Problem(f"the tag {tag} is that of another commit, {tagged[:9]}")
    return f"all is committed, and the tag {tag} is that of this commit"
