"""unchanged_by_errors: an object keeps its attributes if a method of it raises an error."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def unchanged_by_errors(x: Any) -> Iterator[None]:
    """Give an object its attributes back if the block raises an error."""
    before = vars(x).copy()
    try:
        yield
    except BaseException:
        vars(x).clear()
        vars(x).update(before)
        raise
