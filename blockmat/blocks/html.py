"""HTML of a partition for notebooks: the sizes of its blocks as bars."""

import html
from collections.abc import Sequence

from blockmat.blocks.checks import Array

_MAX_BLOCKS = 12  # rows of the table
_MAX_NAME = 40  # letters
RED, BLUE = (178, 24, 43), (33, 102, 172)
_BAR = (67, 147, 195)  # readable on a light and on a dark page


def partition_to_html(title: str, names: Sequence[object], sizes: Array) -> str:
    """Return a table of the names of the blocks, with their sizes as bars."""
    k = len(sizes)
    shown = k if k <= _MAX_BLOCKS else _MAX_BLOCKS - 1
    largest = sizes[:shown].max()
    cell = 'style="text-align:left;padding:1px 8px 1px 0;background:none;border:none"'
    rows = "".join(
        f"<tr><td {cell}>{_short(names[b])}</td><td {cell}>{sizes[b]}</td><td {cell}>"
        f'<div style="width:{max(160 * sizes[b] / largest, 1):.0f}px;height:0.8em;'
        f'background:rgb{_BAR}"></div></td></tr>'
        for b in range(shown)
    )
    if shown < k:
        rest = k - shown
        rows += f'<tr><td {cell} colspan="3">and {rest} more blocks</td></tr>'
    return (
        f"<div>{heading(title)}"
        f'<table style="margin:6px 0 0;border:none;border-collapse:collapse">'
        f"<thead><tr><th {cell}>block</th><th {cell}>variables</th><th {cell}></th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def heading(title: str) -> str:
    """Return the title in a code element with the text colour of the page."""
    return f'<code style="color:inherit;background:none">{html.escape(title)}</code>'


def _short(name: object) -> str:
    text = str(name)
    return html.escape(text if len(text) <= _MAX_NAME else text[: _MAX_NAME - 1] + "…")
