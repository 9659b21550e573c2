"""Labels of any type, converted to block numbers."""

from collections.abc import Hashable, Iterable, Mapping, MappingView, Sequence, Set
from typing import Any

import numpy as np
from scipy.sparse import issparse

from blockmat.blocks.checks import Array, check_ndim, refuse_mask
from blockmat.exceptions import DtypeError, PartitionError


def factorize(labels: Any) -> tuple[tuple[Hashable, ...], Array]:
    """Return the distinct labels, and for each variable the index of its label."""
    refuse_mask(labels, "labels")
    if issparse(labels):
        raise DtypeError("labels is a sparse matrix; expected a dense array (see .toarray())")
    has_order = isinstance(labels, Iterable) and not isinstance(labels, Set | MappingView | Mapping)
    if not has_order or isinstance(labels, str | bytes | bytearray):
        raise TypeError(f"labels is {labels!r}; expected a sequence with one label per variable")
    categories = getattr(getattr(labels, "dtype", None), "categories", None)
    if not isinstance(labels, Sequence):
        labels = np.asarray(labels) if hasattr(labels, "__array__") else list(labels)
    if isinstance(labels, np.ndarray):
        check_ndim(labels, "labels", (1,))
    if len(labels) == 0:
        raise PartitionError("labels is empty; expected at least one variable")
    if categories is None and isinstance(labels, np.ndarray) and labels.dtype.kind in "biufSU":
        if labels.dtype.kind == "f":
            _refuse_missing(np.isnan(labels))
        distinct, codes = np.unique(labels, return_inverse=True)
        return tuple(distinct.tolist()), codes
    return _factorize_objects(list(labels), categories)


def _factorize_objects(
    labels: list[Any], categories: Any = None
) -> tuple[tuple[Hashable, ...], Array]:
    try:
        distinct = dict.fromkeys(labels)
    except TypeError as error:
        hint = ""
        if len(labels) == 2 and hasattr(labels[0], "n_blocks"):
            hint = ". With signs=True find_partition returns the partition and the signs"
        raise TypeError(f"labels must be hashable and one-dimensional: {error}{hint}") from None
    if any(map(_is_missing, distinct)):
        _refuse_missing(np.array([_is_missing(label) for label in labels]))
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


def _refuse_missing(missing: Array) -> None:
    where = np.flatnonzero(missing)
    if len(where):
        raise PartitionError(
            f"labels is missing (None or NaN) at index {where[0]}; expected a label for each variable"
        )
