"""Labels of any type, converted to block numbers."""

from collections.abc import Hashable, Iterable, Mapping, MappingView, Sequence, Set
from numbers import Integral
from typing import Any

import numpy as np
from scipy.sparse import issparse

from blockmat.blocks.checks import Array, refuse_mask
from blockmat.blocks.shown import shown
from blockmat.exceptions import DtypeError, PartitionError, ShapeError


def factorize(labels: Any, name: str = "labels") -> tuple[tuple[Hashable, ...], Array]:
    """Return the distinct labels, and for each variable the index of its label.

    `name` is that of the argument, for error messages.
    """
    refuse_mask(labels, name)
    if issparse(labels):
        raise DtypeError(f"{name} is a sparse matrix; expected a dense array (see .toarray())")
    has_order = isinstance(labels, Iterable) and not isinstance(labels, Set | MappingView | Mapping)
    if not has_order or hasattr(labels, "n_blocks") or isinstance(labels, str | bytes | bytearray):
        raise TypeError(
            f"{name} is {shown(labels)}; expected a sequence with one label per variable{_hint(labels)}"
        )
    categories = getattr(getattr(labels, "dtype", None), "categories", None)
    if not isinstance(labels, Sequence):
        labels = np.asarray(labels) if hasattr(labels, "__array__") else list(labels)
    if isinstance(labels, np.ndarray) and labels.ndim != 1:
        raise ShapeError(
            f"{name} is {labels.ndim}-d with shape {labels.shape}; expected 1-d, one label per variable"
        )
    if len(labels) == 0:
        raise PartitionError(f"{name} is empty; expected at least one variable")
    if categories is None and isinstance(labels, np.ndarray) and labels.dtype.kind in "biufSU":
        if labels.dtype.kind == "f":
            _refuse_missing(np.isnan(labels), name)
        distinct, codes = np.unique(labels, return_inverse=True)
        return tuple(distinct.tolist()), codes
    return _factorize_objects(list(labels), name, categories)


def _hint(labels: Any) -> str:
    """Return what to do with something that is no labels."""
    if isinstance(labels, str):
        return f", such as data[{labels!r}]"
    if isinstance(labels, Integral) or labels is None:
        return "; find_partition finds blocks"
    return "; a Partition is used as it is" if hasattr(labels, "n_blocks") else ""


def _factorize_objects(
    labels: list[Any], name: str, categories: Any = None
) -> tuple[tuple[Hashable, ...], Array]:
    try:
        distinct = dict.fromkeys(labels)
    except TypeError as error:
        hint = ""
        if len(labels) == 2 and hasattr(labels[0], "n_blocks"):
            hint = ". With signs=True find_partition returns the partition and the signs"
        elif isinstance(labels[0], list | set):
            hint = ". Give one label for each variable, not the variables of each block"
        raise TypeError(f"{name} must be hashable and one-dimensional: {error}{hint}") from None
    if any(map(_is_missing, distinct)):
        _refuse_missing(np.array([_is_missing(label) for label in labels]), name)
    if categories is not None:
        ordered = [label for label in categories if label in distinct]
    else:
        try:
            ordered = sorted(distinct)
        except TypeError:
            ordered = list(distinct)
    numbers = {label: b for b, label in enumerate(ordered)}
    codes = np.fromiter((numbers[label] for label in labels), dtype=np.intp, count=len(labels))
    return tuple(map(as_plain, ordered)), codes


def as_plain(label: Any) -> Any:
    """Convert a NumPy scalar to a Python object; times that Python cannot represent are kept."""
    if not isinstance(label, np.generic):
        return label
    plain = label.item()
    is_time = isinstance(label, np.datetime64 | np.timedelta64)
    return label if is_time and isinstance(plain, int) else plain


def _is_missing(label: Any) -> bool:
    if label is None or label is np.ma.masked:
        return True
    try:
        return bool(label != label)
    except TypeError:  # pandas.NA
        return True


def _refuse_missing(missing: Array, name: str) -> None:
    where = np.flatnonzero(missing)
    if len(where):
        raise PartitionError(
            f"{name} is missing (None or NaN) at index {where[0]}; expected a label for each variable"
        )
