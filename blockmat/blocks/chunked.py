"""Dask arrays: checks, conversion of chunks, and how many partial results to combine at a time."""

from typing import Any

import numpy as np
from scipy.sparse import issparse

from blockmat.blocks.checks import Array, check_ndim, working_dtype
from blockmat.blocks.extras import import_extra
from blockmat.blocks.partition import Partition
from blockmat.exceptions import ShapeError

_JOINED_BYTES = 2**24  # of partial results to combine at a time


def checked(x: Any, name: str, ndims: tuple[int, ...]) -> Any:
    """Return a Dask array, or raise an error about its dtype, dimension or chunks."""
    import_extra("dask.array", "dask", "work on a Dask array")
    working_dtype(x.dtype, name)
    check_ndim(x, name, ndims)
    if any(np.isnan(size) for sizes in x.chunks for size in sizes):
        raise ShapeError(
            f"{name} has chunks of unknown sizes; expected known ones (see compute_chunk_sizes)"
        )
    return x


def without_empty_chunks(x: Any) -> Any:
    """Return a Dask array without chunks of length 0, which remain after filtering."""
    for axis, sizes in enumerate(x.chunks):
        kept = [j for j, size in enumerate(sizes) if size]
        if 0 < len(kept) < len(sizes):
            x = x.blocks[(slice(None),) * axis + (kept,)]
    return x


def without_sparsity(chunk: Any) -> Any:
    """Return a chunk as a SciPy sparse matrix or as an array."""
    is_known = issparse(chunk) or isinstance(chunk, np.ndarray)
    return chunk if is_known else chunk.to_scipy_sparse()  # an array of the package sparse


def delayed(x: Any) -> Any:
    """Return the Dask Delayed of a value. Its key is a hash of the value."""
    return import_extra("dask", "dask", "work on a Dask array").delayed(x, pure=True)


class Piece:
    """The blocks of some of the variables, and a partition of these variables."""

    def __init__(self, labels: Array, is_contiguous: bool = False) -> None:
        self.blocks, codes = np.unique(labels, return_inverse=True)
        self.partition = Partition(np.bincount(codes), None if is_contiguous else codes)

    @classmethod
    def of(cls, p: Partition, first: int, last: int) -> "Piece":
        """Return the piece with the variables ``first : last`` of a partition."""
        return cls(p.labels[first:last], p.is_contiguous)


def joined_at_a_time(length: int) -> int:
    """Return how many partial results of `length` numbers to combine at a time."""
    return int(np.clip(_JOINED_BYTES // (8 * max(length, 1)), 4, 64))


def as_dense(chunk: Any) -> Array:
    """Return a chunk as a dense array."""
    chunk = without_sparsity(chunk)
    dense: Array = chunk.toarray() if issparse(chunk) else chunk
    return dense
