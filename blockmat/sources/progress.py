"""A progress bar for large arrays, drawn by tqdm if it is installed."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from blockmat.blocks.extras import import_extra


def track(
    chunks: Iterable[Any], total: int, description: str, progress: bool | None
) -> Iterator[Any]:
    """Iterate over chunks, with a bar if `progress` is True, or is None in a terminal with tqdm.

    Raises
    ------
    MissingExtraError
        If `progress` is True and tqdm is not installed.
    """
    if progress is None:
        progress = total > 1 and sys.stderr.isatty() and _has_tqdm()
    if not progress:
        return iter(chunks)
    tqdm = import_extra("tqdm", "progress", "progress=True")
    bar: Iterator[Any] = iter(tqdm.tqdm(chunks, total=total, desc=description))
    return bar


def _has_tqdm() -> bool:
    from importlib.util import find_spec

    return find_spec("tqdm") is not None
