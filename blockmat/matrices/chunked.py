"""Products of a block-constant matrix with Dask arrays.

The chunks stay where they are: between workers only block sums move.
"""

from typing import Any

import numpy as np

from blockmat.blocks.checks import (
    Array,
    accumulator_dtype,
)
from blockmat.blocks.chunked import Piece, as_dense, joined_at_a_time
from blockmat.blocks.extras import import_extra
from blockmat.blocks.partition import Partition
from blockmat.blocks.passes import times_sums


# Products
def product(x: Any, p: Partition, within: Array, coefficients: Array, dtype: Any) -> Any:
    """Multiply a block-constant matrix that is not aligned with a Dask array, lazily.

    The sums over blocks of each chunk are added up, and every chunk stays where it is.
    """
    array = import_extra("dask.array", "dask", "work on a Dask array")
    labels = array.from_array(p.labels, chunks=(x.chunks[0],))
    columns, axes = x.reshape(len(x), -1) if x.ndim == 1 else x, "im"
    parts = array.blockwise(
        _sums_of_rows, "ikm", columns, axes, labels, "i", n_blocks=p.n_blocks,
        new_axes={"k": p.n_blocks}, adjust_chunks={"i": 1}, align_arrays=False,
        dtype=accumulator_dtype(x.dtype), meta=np.empty((0, 0, 0), accumulator_dtype(x.dtype)),
    )  # fmt: skip
    shift = parts.sum(axis=0, split_every=joined_at_a_time(p.n_blocks * max(columns.chunks[1])))
    result = array.blockwise(
        _lifted, axes, columns, axes, labels, "i", shift, "km", within=within,
        coefficients=coefficients, to=dtype, concatenate=True, dtype=dtype, align_arrays=False,
        meta=np.empty((0, 0), dtype),
    )  # fmt: skip
    return result[:, 0] if x.ndim == 1 else result


def _sums_of_rows(x: Array, labels: Array, n_blocks: int) -> Array:
    """Return the sums of a chunk over blocks, (1, k, m)."""
    sums = np.zeros((1, n_blocks, x.shape[1]), dtype=accumulator_dtype(x.dtype))
    if len(labels):
        piece = Piece(labels)
        sums[0, piece.blocks] = piece.partition.block_sums(as_dense(x))
    return sums


def _lifted(
    x: Array, labels: Array, sums: Array, within: Array, coefficients: Array, to: Any
) -> Array:
    """Return a chunk of the product, from the sums of all chunks over blocks."""
    shift = times_sums(coefficients, sums)
    lifted: Array = within[labels][:, None] * as_dense(x) + shift[labels]
    return lifted.astype(to, copy=False)
