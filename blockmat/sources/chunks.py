"""Chunks of rows of an array that are read and converted together."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.sources.progress import track
from blockmat.sources.weights import Weights

_CONVERTED_BYTES = 2**26  # of a chunk that is copied
_VIEWED_BYTES = 2**31  # of a chunk that is a view


def row_chunks(
    a: Array, dtype: np.dtype[Any], max_rows: int | None = None
) -> Iterator[tuple[int, Array]]:
    """Yield chunks of rows, contiguous and of the given dtype, with the index of their first row.

    Chunks are views if the array is contiguous and has this dtype; otherwise copies of a limited size.
    """
    height = _height(a, dtype, max_rows)
    for first in range(0, len(a), height):
        yield first, np.ascontiguousarray(a[first : first + height], dtype=dtype)


def weighted_chunks(
    a: Array, dtype: np.dtype[Any], weights: Weights | None, max_rows: int
) -> Iterator[tuple[Array, Array]]:
    """Yield chunks of rows, and the places (T,) of their weights, without rows of weight zero."""
    for first, rows in row_chunks(a, dtype, max_rows):
        places = np.arange(first, first + len(rows))
        kept = None if weights is None else weights.values[places] > 0
        if kept is None or kept.all():
            yield rows, places
        elif kept.any():
            yield rows[kept], places[kept]


def tracked_chunks(
    a: Array, dtype: np.dtype[Any], progress: bool | None, description: str
) -> Iterator[Any]:
    """Yield the chunks of `row_chunks`, with a progress bar."""
    n_chunks = -(-len(a) // _height(a, dtype, None))
    return track(row_chunks(a, dtype), n_chunks, description, progress)


def _height(a: Array, dtype: np.dtype[Any], max_rows: int | None) -> int:
    is_viewed = a.flags.c_contiguous and a.dtype == dtype
    row_bytes = max(a.shape[1] * dtype.itemsize, 1)
    height: int = max(1, (_VIEWED_BYTES if is_viewed else _CONVERTED_BYTES) // row_bytes)
    return height if max_rows is None else min(height, max_rows)
