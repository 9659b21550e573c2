"""Data and labels in the wrong order."""

from numbers import Number
from typing import Any

from blockmat.blocks.partition import Partition
from blockmat.blocks.shown import shown


def refuse_swapped(data: Any, labels: Any, names: tuple[str, str], call: str) -> None:
    """Raise TypeError if the data are labels or a number, and the labels are a matrix.

    `names` are those of the two arguments, and `call` is the right order, for the message.
    """
    if _is_labels(data) and _ndim(labels) == 2 and not _is_list_of_tuples(labels):
        raise TypeError(
            f"{names[0]} is {shown(data)} and {names[1]} is {shown(labels)}; expected the arguments "
            f"as in {call}"
        )


def _is_list_of_tuples(x: Any) -> bool:
    """Whether this may be labels that are tuples."""
    return isinstance(x, list | tuple) and bool(x) and isinstance(x[0], tuple)


def _is_labels(x: Any) -> bool:
    return isinstance(x, Partition | Number) or _ndim(x) == 1


def _ndim(x: Any) -> int | None:
    """Return the number of axes of an array, or of a list by its first element; None if unknown."""
    if isinstance(x, list | tuple):
        inner = _ndim(x[0]) if x else 0
        return 1 + (inner or 0)
    ndim = getattr(x, "ndim", None)
    return ndim if isinstance(ndim, int) else len(x.shape) if hasattr(x, "shape") else None
