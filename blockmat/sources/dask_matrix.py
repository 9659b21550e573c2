"""DaskMatrix: a Dask array. Each worker computes the block sums of its chunks, and Dask adds them.

Chunks do not move between workers; only sums of size k x k and k do. The partition is sent to each
worker once.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from scipy.sparse import issparse

from blockmat.blocks.checks import Array, accumulator_dtype, first_non_finite
from blockmat.blocks.chunked import (
    Piece,
    delayed,
    joined_at_a_time,
    without_empty_chunks,
    without_sparsity,
)
from blockmat.blocks.extras import import_extra
from blockmat.blocks.partition import Partition
from blockmat.exceptions import NonFiniteError
from blockmat.sources.dask_source import DaskSource
from blockmat.sources.pair import Pair
from blockmat.sources.recognise import as_stored_matrix
from blockmat.sources.source import Options


class DaskMatrix(DaskSource):
    """A square matrix as a Dask array of dense or sparse chunks."""

    def __init__(self, array: Any, compute: bool) -> None:
        super().__init__(array, "source", compute)

    def pair(self, p: Partition, options: Options) -> Any:
        """Return the pair of the fit, or a Dask Delayed of it."""
        finish = partial(_pair_of_totals, p, options, self.dtype)
        return self.finished(finish, self._totals(p, options))

    def _totals(self, p: Partition, options: Options) -> Any:
        """Return a Dask array of the block sums, followed by the paired sums."""
        array = import_extra("dask.array", "dask", "work on a Dask array")
        source = without_empty_chunks(self._array)
        dtype = accumulator_dtype(self.dtype)
        length = p.n_blocks**2 + len(p.pairing(options.aligned).mates)
        parts = array.map_blocks(
            sums_of_chunk,
            source,
            partition=delayed(p),
            aligned=options.aligned,
            check_finite=options.check_finite,
            dtype=dtype,
            new_axis=2,
            chunks=((1,) * source.numblocks[0], (1,) * source.numblocks[1], (length,)),
            meta=np.empty((0, 0, 0), dtype=dtype),
        )
        return parts.sum(axis=(0, 1), split_every=joined_at_a_time(length))


def _pair_of_totals(p: Partition, options: Options, dtype: np.dtype[Any], totals: Array) -> Pair:
    """Return the pair of the fit from the sums of all chunks."""
    k, pairing = p.n_blocks, p.pairing(options.aligned)
    paired = pairing.as_square(totals[k**2 :]) if options.aligned else totals[k**2 :]
    pair = Pair.of_sums(p, totals[: k**2].reshape(k, k), paired, dtype)
    return pair.checked(p, options.numbers, options.check_finite)


def sums_of_chunk(
    chunk: Any, partition: Partition, aligned: bool, check_finite: bool, block_info: Any = None
) -> Array:
    """Return the sums of one chunk as an array (1, 1, length)."""
    p, (rows, cols) = partition, block_info[0]["array-location"]
    chunk = without_sparsity(chunk)
    here, there = Piece.of(p, *rows), Piece.of(p, *cols)
    some, _ = as_stored_matrix(chunk).block_sums(here.partition, there.partition)
    sums = np.zeros((p.n_blocks, p.n_blocks), dtype=some.dtype)
    sums[np.ix_(here.blocks, there.blocks)] = some
    if check_finite and not np.isfinite(sums).all():
        entry = first_non_finite(chunk)
        if entry is None:
            raise NonFiniteError(
                f"the sums of source over rows {rows[0]} to {rows[1]} and columns {cols[0]} to "
                f"{cols[1]} overflow; expected smaller numbers"
            )
        raise NonFiniteError(
            f"source contains NaN or infinity in row {rows[0] + entry[0]} and column "
            f"{cols[0] + entry[1]}; expected finite numbers"
        )
    paired = np.zeros(len(p.pairing(aligned).mates), dtype=some.dtype)
    entries_at = chunk.tocsr() if issparse(chunk) else chunk
    for numbers, i, j in _pairs(p, aligned, rows, cols):
        entries = entries_at[i - rows[0], j - cols[0]]
        dense = entries.toarray() if issparse(entries) else np.asarray(entries)
        np.add.at(paired, numbers, dense.ravel().astype(some.dtype, copy=False))
    return np.concatenate([sums.ravel(), paired])[None, None]


def _pairs(
    p: Partition, aligned: bool, rows: tuple[int, int], cols: tuple[int, int]
) -> Iterator[tuple[Array, Array, Array]]:
    """Yield the indices of paired sums, with the rows and columns of the entries to add to them."""
    if not aligned:
        both = np.arange(max(rows[0], cols[0]), min(rows[1], cols[1]))
        yield p.labels[both], both, both
        return
    first_mate = p.pairing(aligned).first_mate
    for blocks, variables in p.size_classes:
        is_col = (variables >= cols[0]) & (variables < cols[1])
        for block, members in zip(blocks, variables, strict=True):
            mates, places = np.nonzero(is_col & (members >= rows[0]) & (members < rows[1]))
            yield first_mate[block] + mates, members[places], variables[mates, places]
