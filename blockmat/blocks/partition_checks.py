"""Checks of the arguments of Partition: sizes, labels and names of blocks."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array, check_ndim
from blockmat.blocks.shown import shown
from blockmat.exceptions import PartitionError, ShapeError

_FOR_LABELS = " (for labels use Partition.from_labels)"


def checked_sizes(sizes: Iterable[int]) -> Array:
    """Return sizes of blocks as an array (k,), or say what is wrong with them."""
    if isinstance(sizes, Mapping) or not isinstance(sizes, Iterable):
        raise TypeError(
            f"sizes is {shown(sizes)}; expected a sequence of integers, such as [40, 60]"
        )
    given = sizes if isinstance(sizes, np.ndarray) else list(sizes)
    array = np.asarray(given)
    if array.size == 0:
        raise PartitionError("sizes is empty; expected at least one block")
    if array.ndim != 1:
        raise ShapeError(f"sizes has shape {array.shape}; expected one dimension")
    if array.dtype.kind not in "iu" and not all(type(size) is int for size in given):
        raise TypeError(f"sizes has dtype {array.dtype}; expected integers{_FOR_LABELS}")
    wrong = np.flatnonzero(array < 1)
    if len(wrong):
        raise PartitionError(
            f"sizes[{wrong[0]}] is {array[wrong[0]]}; expected every block to have at least 1 "
            f"variable{_FOR_LABELS}"
        )
    most = np.iinfo(np.intp).max
    if array.sum(dtype=np.float64) > most / 2 and (total := sum(array.tolist())) > most:
        raise PartitionError(f"sizes add up to {total}; expected at most {most} variables")
    return array.astype(np.intp)


def checked_labels(labels: Any, sizes: Array) -> Array:
    """Return the block of each variable as an array (n,), or say what is wrong with it."""
    array = np.asarray(labels)
    check_ndim(array, "labels", (1,))
    if array.dtype.kind not in "iu":
        raise TypeError(
            f"labels has dtype {array.dtype}; expected block numbers "
            f"(Partition.from_labels takes labels of any kind)"
        )
    k = len(sizes)
    if array.size == 0 or array.min() < 0 or array.max() >= k:
        raise PartitionError(f"labels must be block numbers 0..{k - 1}, one for each variable")
    counts = np.bincount(array, minlength=k)
    wrong = np.flatnonzero(counts != sizes)
    if len(wrong):
        b = wrong[0]
        raise PartitionError(
            f"labels has {counts[b]} variables in block {b}; expected sizes[{b}] = {sizes[b]}"
        )
    return array.astype(np.int32)


def checked_names(names: Iterable[Hashable], k: int) -> tuple[Hashable, ...]:
    """Return the names of k blocks, or say what is wrong with them."""
    result = tuple(names)
    if len(result) != k:
        raise PartitionError(f"names has length {len(result)}; expected one for each of {k} blocks")
    if len(set(result)) != k:
        raise PartitionError("names has duplicates; expected a different name for each block")
    return result


def hint_of_axis(n_labels: int, source: Any, axis: int) -> str:
    """Return what to do if the labels are for the other axis of the source than `axis`."""
    rows, columns = np.shape(source)[:2] if getattr(source, "ndim", 0) == 2 else (0, 0)
    if n_labels != (rows, columns)[1 - axis]:
        return ""
    if axis == 0:
        return f"; the matrix has {columns} columns, so probably it is to be transposed (.T)"
    return f"; the data have {rows} rows and samples are rows, so probably pass the transpose (X.T)"


def hint_of_sizes(names: Sequence[Hashable], codes: Array, n: int) -> str:
    """Return what to do if the labels are integers that add up to n, as sizes of blocks do."""
    is_count = all(type(name) is int and name > 0 for name in names)
    if not is_count or sum(np.array(names)[codes].tolist()) != n:
        return ""
    return " (for sizes of blocks use Partition.from_sizes)"
