"""SparseMatrix: a SciPy sparse matrix of any format."""

from typing import Any, NamedTuple

import numpy as np

from blockmat.blocks.checks import Array, accumulator_dtype, first_non_finite, working_dtype
from blockmat.blocks.geometry import Pairing
from blockmat.blocks.partition import Partition
from blockmat.cores.scale import largest_of, times_power
from blockmat.sources.source import Approximation, Options, Residual
from blockmat.sources.stored import StoredMatrix


class Entries(NamedTuple):
    """The stored entries of a sparse matrix: ``data[e]`` is at ``(rows[e], cols[e])``."""

    rows: Array
    cols: Array
    data: Array


class SparseMatrix(StoredMatrix):
    """A sparse matrix. Duplicate entries are summed.

    Parameters
    ----------
    matrix : sparse matrix or sparse array, shape (m, n)
        The matrix, in any format and of any supported dtype.
    """

    def __init__(self, matrix: Any) -> None:
        self._matrix = matrix
        self.shape, self.dtype = matrix.shape, working_dtype(matrix.dtype, "source")

    def first_non_finite(self) -> tuple[int, ...] | None:
        """Return the row and column of the first NaN or infinity, or None."""
        return first_non_finite(self._matrix)

    def entries(self, dtype: Any) -> Any:
        """Return a copy in CSR format and the given dtype."""
        return self._matrix.astype(self.dtype).tocsr().astype(dtype)

    def block_sums(
        self,
        rows: Partition,
        cols: Partition,
        pairing: Pairing | None = None,
        progress: bool | None = False,
        factor: float = 1.0,
    ) -> tuple[Array, Array]:
        """Return the block sums and paired sums of the matrix times a factor."""
        from blockmat.sources import kernels

        pairing = Pairing.empty(rows.n_blocks) if pairing is None else pairing
        coo = self._matrix.tocoo()
        data = coo.data.astype(self.dtype, copy=False)
        entries = Entries(coo.row, coo.col, data if factor == 1 else data * factor)
        dtype = accumulator_dtype(self.dtype)
        sums = np.zeros((rows.n_blocks, cols.n_blocks), dtype=dtype)
        paired = np.zeros(len(pairing.mates), dtype=dtype)
        kernels.add_sparse(entries, rows.labels, cols.labels, rows.positions, pairing, sums, paired)
        return sums, paired

    def residual(self, A: Approximation, options: Options) -> Residual:
        """Return the distance to a block-constant matrix, from stored entries and the number of others."""
        merged = self._matrix.tocoo(copy=True).astype(self.dtype)  # small integers would overflow
        merged.sum_duplicates()

        def norms(exponent: int) -> tuple[float, float]:
            data = times_power(merged.data, -exponent)
            return _norms(Entries(merged.row, merged.col, data), A, A.numbers(self.dtype, exponent))

        return Residual(norms, lambda: largest_of(merged.data))


def _norms(entries: Entries, A: Approximation, fit: tuple[Array, Array]) -> tuple[float, float]:
    """Return the norms of a sparse matrix minus A, and of that matrix."""
    from blockmat.sources import kernels

    p, pairing = A.partition, A.pairing
    values, extra = fit
    squares, stored = np.zeros(2), np.zeros((p.n_blocks, p.n_blocks), dtype=np.intp)
    stored_pairs = np.zeros(len(pairing.mates), dtype=np.intp)
    kernels.add_sparse_residual(
        entries, p.labels, p.positions, pairing, fit, squares, stored, stored_pairs
    )
    # Entries that are not stored are zero, so their difference is the value of A. They are counted,
    # because the squared norm of A minus that of its stored entries would cancel.
    rows, mates = pairing.rows, pairing.mates
    missing = np.multiply.outer(p.sizes, p.sizes) - stored
    missing[rows, mates] -= p.sizes[rows]
    elsewhere = (missing * np.abs(values) ** 2).sum()
    paired = np.abs(values[rows, mates] + extra) ** 2
    elsewhere += ((p.sizes[rows] - stored_pairs) * paired).sum()
    return float(np.sqrt(squares[0] + elsewhere)), float(np.sqrt(squares[1]))
