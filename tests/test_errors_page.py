"""docs/errors.md lists every error that the package raises on purpose, and no other."""

import ast
import re
from pathlib import Path

import blockmat as bm

SOURCE = Path(bm.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "errors.md"
# What never leaves the package: methods to be overridden, and what a reader of files catches itself.
INTERNAL = {"NotImplementedError", "KeyError"}


def text_of(node):
    """Return a message as the page writes it, with an ellipsis for what depends on the call."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(text_of, node.values))
    if isinstance(node, ast.BinOp):
        return text_of(node.left) + text_of(node.right)
    return "…"


def raised():
    """Yield the place, the class and the message of every error that is raised or made."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise):
                error = node.exc
            elif isinstance(node, ast.Return) and isinstance(node.value, ast.Call):
                error = node.value if ast.unparse(node.value.func).endswith("Error") else None
            else:
                continue
            if error is None:  # raised again, or what is returned is no error
                continue
            call = error if isinstance(error, ast.Call) else None
            name = ast.unparse(call.func if call else error)
            if name in INTERNAL or name == "missing_extra":  # whose error is made where it returns
                continue
            message = re.sub(r"\s+", " ", text_of(call.args[0])) if call else ""
            yield f"{path.relative_to(SOURCE)}:{node.lineno}", name, message


def listed():
    """Yield the class and the message of every row of the page."""
    name = None
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"## `(\w+)`", line):
            name = heading[1]
        elif row := re.match(r"\| `(.+?)` \| (.*) \|$", line):
            assert row[2], f"{row[1]} has no cause"
            yield name, row[1]


SITES, ROWS = list(raised()), list(listed())


def matches(row, site):
    """Tell whether a row is of this error; its ellipses stand for one word each, or for another."""
    (listed_class, pattern), (_, name, message) = row, site
    parts = map(re.escape, pattern.split("…"))
    return listed_class == name and re.fullmatch(r"\S*".join(parts), message) is not None


def test_every_error_is_on_the_page():
    missing = [site for site in SITES if not any(matches(row, site) for row in ROWS)]
    assert not missing, "these are not in docs/errors.md"


def test_every_row_of_the_page_is_an_error():
    outdated = [row for row in ROWS if not any(matches(row, site) for site in SITES)]
    assert not outdated, "no error has these messages"


def test_raises_are_found():
    assert len(SITES) > 150
    names = {name for _, name, _ in SITES}
    assert {"ShapeError", "SingularMatrixError", "MissingExtraError", "ValueError"} <= names
