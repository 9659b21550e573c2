"""DenseMatrix: an array, read in chunks of rows."""

from functools import partial
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array, accumulator_dtype, first_non_finite, working_dtype
from blockmat.blocks.geometry import Pairing
from blockmat.blocks.partition import Partition
from blockmat.blocks.segments import shared_ranges, short_segments
from blockmat.blocks.threads import run
from blockmat.cores.scale import largest_of, times_power
from blockmat.sources.chunks import tracked_chunks
from blockmat.sources.source import Approximation, Options, Residual
from blockmat.sources.stored import StoredMatrix


class DenseMatrix(StoredMatrix):
    """An array of any supported dtype and memory layout.

    Parameters
    ----------
    array : ndarray, shape (m, n)
        The matrix. A `numpy.memmap` may be larger than memory.
    """

    def __init__(self, array: Array) -> None:
        self._array = array
        self.shape, self.dtype = array.shape, working_dtype(array.dtype, "source")
        self._is_by_columns = array.flags.f_contiguous and not array.flags.c_contiguous

    @property
    def _transposed(self) -> "DenseMatrix":
        return DenseMatrix(self._array.T)

    def first_non_finite(self) -> tuple[int, ...] | None:
        """Return the row and column of the first NaN or infinity, or None."""
        return first_non_finite(self._array)

    def entries(self, dtype: Any) -> Array:
        """Return the array in the given dtype, copied only if necessary."""
        return self._array.astype(dtype, copy=False)

    def block_sums(
        self,
        rows: Partition,
        cols: Partition,
        pairing: Pairing | None = None,
        progress: bool | None = False,
        factor: float = 1.0,
    ) -> tuple[Array, Array]:
        """Return the block sums and paired sums of the matrix times a factor."""
        if self._is_by_columns:
            sums, paired = self._transposed.block_sums(cols, rows, pairing, progress, factor)
            return sums.T, paired if pairing is None else pairing.transposed(paired)
        pairing = Pairing.empty(rows.n_blocks) if pairing is None else pairing
        total: tuple[Array, Array] | None = None
        for first, chunk in tracked_chunks(self._array, self.dtype, progress, "fit"):
            scaled = chunk if factor == 1 else chunk * factor
            part = _sums_of_chunk(scaled, first, rows, cols, pairing)
            if total is None:
                total = part
            else:
                for sums, more in zip(total, part, strict=True):
                    sums += more
        assert total is not None  # a partition has at least one row
        return total

    def residual(self, A: Approximation, options: Options) -> Residual:
        """Return the distance to a block-constant matrix, computed from all entries."""
        if self._is_by_columns:
            return self._transposed.residual(A.T, options)
        chunks = partial(
            tracked_chunks, self._array, self.dtype, options.progress, "approximation_error"
        )

        def norms(exponent: int) -> tuple[float, float]:
            fit = A.numbers(self.dtype, exponent)
            squares = np.zeros(2)
            for first, chunk in chunks():
                squares += _squared_norms(times_power(chunk, -exponent), first, A, fit)
            difference, norm = np.sqrt(squares)
            return float(difference), float(norm)

        return Residual(norms, lambda: max(largest_of(chunk) for _, chunk in chunks()))


def _sums_of_chunk(
    chunk: Array, first: int, rows: Partition, cols: Partition, pairing: Pairing
) -> tuple[Array, Array]:
    """Return the block sums and paired sums of rows ``first, first + 1, ...`` of a matrix."""
    from blockmat.sources import kernels

    dtype = accumulator_dtype(chunk.dtype)
    cut = rows.row_segments(first, len(chunk))
    n_mates = np.diff(pairing.first_mate)
    sums = np.empty((len(cut.blocks), cols.n_blocks), dtype=dtype)
    paired = np.empty((len(cut.blocks), n_mates.max()), dtype=dtype)
    arguments = (chunk, cut, cols.places, pairing, sums, paired)
    run(kernels.sum_dense, arguments, shared_ranges(cut.bounds, chunk.size))
    counts = np.diff(cut.starts)
    is_mate = np.arange(paired.shape[1]) < n_mates[:, None]
    return _sums_of_runs(sums, counts), _sums_of_runs(paired, counts)[is_mate]


def _squared_norms(chunk: Array, first: int, A: Approximation, fit: tuple[Array, Array]) -> Array:
    """Return the squared norms of some rows minus those of A, and of the rows alone."""
    from blockmat.sources import kernels

    cut = A.partition.row_segments(first, len(chunk))
    norms = np.empty((len(cut.blocks), 2))
    arguments = (chunk, cut, A.partition.places, A.pairing, fit, norms)
    run(kernels.sum_dense_residual, arguments, shared_ranges(cut.bounds, chunk.size))
    total: Array = norms.sum(axis=0)
    return total


def _sums_of_runs(x: Array, counts: Array) -> Array:
    """Sum the first counts[0] rows of x, the next counts[1] rows and so on, in several levels."""
    present = np.flatnonzero(counts)
    n_absent, counts = len(counts) - len(present), counts[present]
    while counts.max() > 1:
        bounds, _, starts = short_segments(counts)
        x, counts = np.add.reduceat(x, bounds[:-1], axis=0), np.diff(starts)
    if not n_absent:
        return x
    sums = np.zeros((n_absent + len(present), x.shape[1]), dtype=x.dtype)
    sums[present] = x
    return sums
