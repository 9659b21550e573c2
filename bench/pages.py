"""Fill the places of the documentation pages with tables and numbers of the results.

A person writes a page. Two comments mark a place in it, and between them the command writes. A
comment that stands alone on its line begins a block, such as a table; any other begins a single
number or phrase inside a sentence::

    <!-- bench: product | times -->

    <!-- /bench -->

    The default needs <!-- bench: training | momentum 0.9 | steps -->0.6<!-- /bench --> of the steps.

`bench.places` says what may stand in a place. A link to images/bench-NAME.png,
images/training-NAME.png or images/door-NAME.png is a place for a picture.
"""

import re
from collections.abc import Callable
from pathlib import Path

from bench import places
from bench.places import UnknownPlaceError

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
MARK = re.compile(r"<!--\s*(?:bench:\s*(?P<address>[^>]*?)|(?P<end>/bench))\s*-->")
LIKE_A_MARK = re.compile(r"<!--\s*/?\s*bench\b")
PICTURE = re.compile(r"images/((?:bench|training|door)-[^\s)\"]+)\.png")
NOTHING = re.compile(r"[\s>*+#\d.-]*")  # what may precede the text of a line


class PagesError(Exception):
    """Places that cannot be filled, one a line."""


def pages() -> list[Path]:
    """The pages whose places are filled."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def fill(text: str, text_of: Callable[[str], str]) -> tuple[str, list[tuple[int, str]]]:
    """Fill all places of a page; also return the problems, each with the number of its line."""
    parts: list[str] = []
    problems: list[tuple[int, str]] = []
    done = 0  # characters of the page that are in `parts`
    begun: re.Match[str] | None = None

    def problem(mark: re.Match[str], message: str) -> None:
        problems.append((text.count("\n", 0, mark.start()) + 1, message))

    for mark in MARK.finditer(text):
        if mark["end"] and begun is None:
            problem(mark, "a place ends that has not begun")
        elif mark["end"]:
            try:
                value = _placed(text, begun, text_of)
            except UnknownPlaceError as error:
                problem(begun, str(error))
            else:
                parts += [text[done : begun.end()], value]
                done = mark.start()
            begun = None
        else:
            if begun is not None:
                problem(begun, f"the place {begun['address']!r} does not end")
            begun = mark
    if begun is not None:
        problem(begun, f"the place {begun['address']!r} does not end")
    known = {mark.start() for mark in MARK.finditer(text)}
    for mark in LIKE_A_MARK.finditer(text):
        if mark.start() not in known:
            problem(mark, "expected <!-- bench: ADDRESS --> or <!-- /bench -->")
    return "".join(parts) + text[done:], sorted(problems)


def _placed(text: str, mark: re.Match[str], text_of: Callable[[str], str]) -> str:
    """What to write after a mark; an `UnknownPlaceError` where Markdown would not read it as meant."""
    value = text_of(mark["address"])
    before = text[text.rfind("\n", 0, mark.start()) + 1 : mark.start()]
    if not before.strip() and text[mark.end() :].startswith("\n"):
        return f"\n\n{value}\n\n"
    if "\n" in value:
        raise UnknownPlaceError(
            f"{mark['address']!r} is a table; its comment stands on a line of its own"
        )
    if before.lstrip().startswith("|"):
        raise UnknownPlaceError(f"{mark['address']!r} is in a table, whose cells its | would split")
    if NOTHING.fullmatch(before):
        raise UnknownPlaceError(
            f"{mark['address']!r} begins a line, where Markdown takes a comment for a block; begin with a word"
        )
    return value


def filled() -> dict[Path, str]:
    """The text of each page with its places filled.

    Raises
    ------
    PagesError
        If a place cannot be filled; it names each of them.
    """
    texts, problems = {}, []
    for path in pages():
        texts[path], found = fill(path.read_text(encoding="utf-8"), places.text_of)
        problems += [f"{path.relative_to(ROOT)}:{line}: {message}" for line, message in found]
    if problems:
        raise PagesError("\n".join(problems))
    return texts


def pictures(texts: dict[Path, str]) -> dict[Path, bytes]:
    """The pictures that the pages show."""
    drawn, problems = {}, []
    for page, text in texts.items():
        for name in PICTURE.findall(text):
            try:
                if IMAGES / f"{name}.png" not in drawn:
                    drawn[IMAGES / f"{name}.png"] = places.picture(name)
            except UnknownPlaceError as error:
                problems.append(f"{page.relative_to(ROOT)}: {error}")
    if problems:
        raise PagesError("\n".join(problems))
    return drawn


def write() -> list[Path]:
    """Fill all pages and draw their pictures, or change no file; return the files that changed."""
    texts = filled()
    contents = {path: text.encode() for path, text in texts.items()} | pictures(texts)
    changed = [
        path for path, content in contents.items()
        if not path.exists() or path.read_bytes() != content
    ]  # fmt: skip
    for path in changed:
        path.write_bytes(contents[path])
    return changed
