"""Makes the description for package indexes from the README. Everything else is in setup.cfg."""

import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
TARGET = r"(?P<target>(?!#|https?:|mailto:)[^\s\"'()<>]+)"
PICTURES = (
    rf"!\[[^\]]*\]\({TARGET}\)",
    rf"<(?:img|source)\b[^>]*\b(?:src|srcset)=\"{TARGET}\"[^>]*>",
)
LINKS = (
    rf"\[(?P<text>(?:!\[[^\]]*\]\([^)]*\)|[^\[\]])*)\]\({TARGET}\)",
    rf"<a\b[^>]*\bhref=\"{TARGET}\"[^>]*>(?P<text>.*?)</a>",
)


def description(readme: str, source: str, version: str) -> str:
    """Return the README for a package index, which does not have the files of the repository.

    If the address of the repository is known, relative links and pictures become absolute. If it
    is "", links become text, and pictures are left out.
    """
    parts = re.split(r"(^```.*?^```$)", readme, flags=re.DOTALL | re.MULTILINE)
    parts[::2] = [_prose(text, source, f"v{version}") for text in parts[::2]]
    return "".join(parts)


def _prose(text: str, source: str, tag: str) -> str:
    def picture(found: re.Match[str]) -> str:
        return _absolute(found, f"{source}/raw/{tag}/") if source else ""

    def link(found: re.Match[str]) -> str:
        return _absolute(found, f"{source}/blob/{tag}/") if source else found["text"]

    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    for pattern in PICTURES:
        text = re.sub(pattern, picture, text, flags=re.DOTALL)
    for pattern in LINKS:
        text = re.sub(pattern, link, text, flags=re.DOTALL)
    return text


def _absolute(found: re.Match[str], address: str) -> str:
    start = found.start("target") - found.start()
    return found[0][:start] + address + found[0][start:]


def _source() -> str:
    """Return the address of the repository in setup.cfg, or "" if there is none."""
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    found = re.search(r"^Source *= *(\S+)", settings["metadata"]["project_urls"], re.MULTILINE)
    return found[1].rstrip("/") if found else ""


if __name__ == "__main__":
    version = re.search(
        r'^__version__ = "(.+)"', (ROOT / "blockmat/__init__.py").read_text("utf-8"), re.MULTILINE
    )[1]
    setup(long_description=description((ROOT / "README.md").read_text("utf-8"), _source(), version))
