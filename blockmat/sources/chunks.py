"""Chunks: runs of rows of an array that are read and converted at a time."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.sources.progress import track

_CONVERTED_BYTES = 2**26  # of rows that have to be copied
_VIEWED_BYTES = 2**31  # of rows that are used where they are


def row_chunks(
    a: Array, dtype: np.dtype[Any], max_rows: int | None = None
) -> Iterator[tuple[int, Array]]:
    """Yield the number of the first row of each chunk, and the chunk: contiguous and of a dtype.

    Chunks are views where the array allows it, which may be large, and copies of a bounded size
    otherwise.
    """
    height = _height(a, dtype, max_rows)
    for first in range(0, len(a), height):
        yield first, np.ascontiguousarray(a[first : first + height], dtype=dtype)


def tracked_chunks(
    a: Array, dtype: np.dtype[Any], progress: bool | None, description: str
) -> Iterator[Any]:
    """Yield the same behind a progress bar."""
    n_chunks = -(-len(a) // _height(a, dtype, None))
    return track(row_chunks(a, dtype), n_chunks, description, progress)


def _height(a: Array, dtype: np.dtype[Any], max_rows: int | None) -> int:
    is_viewed = a.flags.c_contiguous and a.dtype == dtype
    row_bytes = max(a.shape[1] * dtype.itemsize, 1)
    height: int = max(1, (_VIEWED_BYTES if is_viewed else _CONVERTED_BYTES) // row_bytes)
    return height if max_rows is None else min(height, max_rows)
