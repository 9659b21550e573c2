"""Labels by variable name, in a pandas Series or a dict."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from numbers import Integral
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.frames import is_frame
from blockmat.exceptions import PartitionError

_NAMED = 3  # columns that a message names


def in_order_of(labels: Any, source: Any, axis: int, name: str) -> Any:
    """Return labels in the order of the rows or columns of a DataFrame.

    Labels of a Series or a dict are matched to names. Other labels are returned unchanged, and so
    is a Series with the default index 0 to n - 1, unless the names are integers too. A Series with
    another index needs names.
    """
    has_index = is_series(labels)
    if not has_index and not isinstance(labels, Mapping):
        return labels
    names = names_of(source, axis)
    if names is None:
        if has_index:
            if source is not None and list(labels.index) != list(range(len(labels))):
                raise PartitionError(
                    f"{name} is a Series with an index, and the source has no names; expected "
                    f"{name}.to_numpy() in the order of the columns, or a DataFrame (from a pipeline by "
                    f"set_output(transform='pandas'))"
                )
            return labels
        raise TypeError(
            f"{name} is a {type(labels).__name__}, which gives labels by name; expected it with a "
            f"DataFrame, or a sequence with one label per variable"
        )
    given = list(labels.index) if has_index else list(labels)
    is_default = given == list(range(len(names)))
    if has_index and is_default and not all(isinstance(x, Integral) for x in names):
        return labels
    for what, each in ((name, given), ("source", names)):
        if len(set(each)) < len(each):
            twice = next(x for x, count in Counter(each).items() if count > 1)
            raise PartitionError(
                f"{what} has the name {twice!r} more than once; expected different names, or labels "
                f"in the order of the variables"
            )
    known = set(given)
    missing = [x for x in names if x not in known]
    if missing:
        others = names_of(source, 1 - axis) or []
        hint = ""
        if others and all(x in known for x in others):
            hint = ". It has one for each row: samples are rows, so probably the data are to be transposed (.T)"
        elif len(missing) == len(names):
            hint = f". Its names are {_some(given)}"
        raise PartitionError(
            f"{name} has no label for {_some(missing)}; expected a label for each variable{hint}"
        )
    return labels.reindex(names) if has_index else [labels[x] for x in names]


def _some(names: list[Any]) -> str:
    """Return the first of some names, for a message."""
    more = ", ..." if len(names) > _NAMED else ""
    return ", ".join(map(repr, names[:_NAMED])) + more


def weights_by_name(weights: Any, source: Any, name: str) -> Any:
    """Return weights of the rows of a DataFrame in their order; a Series is matched by name."""
    return numbers_by_name(weights, names_of(source, 0), name, "the rows of X")


def numbers_by_name(numbers: Any, names: list[Any] | None, name: str, owner: str) -> Any:
    """Return numbers in the order of names; a Series is matched by its index.

    Other numbers are returned unchanged, and so is a Series if there are no names, one with the same
    index, and one with the default index 0 to n - 1, unless the names are integers too. `owner` is
    what has the names, for the message.
    """
    if not is_series(numbers) or names is None:
        return numbers
    given = list(numbers.index)
    is_default = given == list(range(len(given)))
    if given == names or (is_default and not all(isinstance(x, Integral) for x in names)):
        return numbers
    if len(set(names)) < len(names) or Counter(given) != Counter(names):
        raise ValueError(
            f"{name} has another index than {owner}; expected a number for each name, or "
            f"{name}.to_numpy()"
        )
    return numbers.reindex(names)


def matrix_by_name(matrix: Any, names: list[Any] | None, name: str) -> Any:
    """Return a square DataFrame with its rows and columns in the order of names.

    Other matrices are returned unchanged, and so is a DataFrame of another size, and one whose rows
    and columns have these names in this order, or the default names 0 to n - 1, unless the names are
    integers too. Without names nothing is matched.
    """
    rows, columns = names_of(matrix, 0), names_of(matrix, 1)
    if names is None or rows is None or columns is None:
        return matrix
    if not len(rows) == len(columns) == len(names):
        return matrix
    is_default = [] if all(isinstance(x, Integral) for x in names) else list(range(len(names)))
    if all(given in (names, is_default) for given in (rows, columns)):
        return matrix
    if len(set(names)) < len(names) or not Counter(rows) == Counter(columns) == Counter(names):
        raise ValueError(
            f"{name} has other names than X in its rows or columns; expected those of X in any "
            f"order, or {name}.to_numpy()"
        )
    places = [[given.index(x) for x in names] for given in (rows, columns)]
    return matrix.iloc[places[0], places[1]]


def refuse_other_names(*named: tuple[str, list[Any] | None]) -> None:
    """Raise ValueError if arguments have other names for the variables, or the same in another order.

    Each pair is an argument and its names, or None if it has none.
    """
    known = [(name, names) for name, names in named if names is not None]
    for (first, names), (second, others) in pairwise(known):
        if others != names and not (
            _is_other_numbering(names, others) or _is_other_numbering(others, names)
        ):
            raise ValueError(
                f"{second} has other names than {first}, or in another order: {_some(others)} and "
                f"{_some(names)}; expected the same, or .to_numpy() of both"
            )


def _is_other_numbering(numbers: list[Any], names: list[Any]) -> bool:
    """Whether integers say nothing about names: those are no integers, or these are 0, 1, ... anew."""
    if not all(isinstance(x, Integral) for x in numbers):
        return False
    if not all(isinstance(x, Integral) for x in names):
        return True
    return numbers == list(range(len(numbers))) and set(numbers) != set(names)


def own_names(x: Any) -> list[Any] | None:
    """Return the names of a Series or of the columns of a DataFrame, with None for missing ones."""
    index = x.index if is_series(x) else x.columns if is_frame(x) else None
    if index is None:
        return None
    if hasattr(index, "levels"):
        return list(index)
    return [None if missing else name for name, missing in zip(index, index.isna(), strict=True)]


def is_series(labels: Any) -> bool:
    """Whether labels are a pandas Series."""
    return hasattr(labels, "iloc") and labels.ndim == 1


def names_of(source: Any, axis: int) -> list[Any] | None:
    """Return the names of the rows (axis 0) or columns (1) of a DataFrame, or None for other objects."""
    if not is_frame(source):
        return None
    return list(source.columns if axis else source.index)


def kept_names(names: Sequence[Any] | None, mask: Array) -> list[Any] | None:
    """Return the names that a mask (n,) keeps, or None if there are none."""
    if names is None:
        return None
    return [name for name, keep in zip(names, mask, strict=True) if keep]


def some_columns(chosen: Array, names: Sequence[Any] | None) -> str:
    """Return how many columns a mask (n,) chooses, with the first names or numbers, for a message."""
    return f"{np.count_nonzero(chosen)} of its columns: {first_columns(chosen, names)}"


def first_columns(chosen: Array, names: Sequence[Any] | None) -> str:
    """Return the first names, or else numbers, of the columns that a mask (n,) chooses."""
    where = np.flatnonzero(chosen).tolist()
    return _some(where if names is None else [names[i] for i in where])


def check_names(source: Any) -> None:
    """Raise ValueError for a DataFrame whose rows are in another order than its columns."""
    rows, cols = names_of(source, 0), names_of(source, 1)
    if rows is not None and rows != cols and Counter(rows) == Counter(cols):
        raise ValueError(
            "source has the same names in another order in its rows than in its columns; expected "
            "source.loc[source.columns]"
        )
