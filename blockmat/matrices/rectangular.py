"""BlockRectangularMatrix: one number per block of a row partition by a column partition."""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg

from blockmat.blocks.argument_order import refuse_swapped
from blockmat.blocks.checks import (
    Array,
    accumulator_dtype,
    frozen,
    real_dtype,
    require_finite,
)
from blockmat.blocks.partition import Partition, as_partition
from blockmat.blocks.passes import block_sums, times_sums
from blockmat.blocks.subset import Subset
from blockmat.cores import inverses, pair
from blockmat.cores.scale import in_range, times_power
from blockmat.exceptions import PartitionMismatchError, ShapeError
from blockmat.matrices.archive import Archive
from blockmat.matrices.checks import as_matrix_of_shape
from blockmat.matrices.operator import BlockOperator, written_to
from blockmat.matrices.stored_pair import StoredPair
from blockmat.sources.recognise import as_source

__all__ = ["BlockRectangularMatrix"]


class BlockRectangularMatrix(BlockOperator):
    r"""A rectangular matrix that is constant on blocks.

    Parameters
    ----------
    row_partition : Partition or sequence of hashable, shape (m,)
        The blocks of rows, or a label for each row.
    col_partition : Partition or sequence of hashable, shape (n,)
        The blocks of columns, or a label for each column.
    between : array_like, shape (k, l)
        The core M: the number of block (a, b) times the square root of the number
        of its entries.
    check_finite : bool, default True
        Whether to refuse NaN and infinity.

    Attributes
    ----------
    shape : tuple of int
        ``(m, n)``.
    dtype : numpy.dtype
        float32, float64, complex64 or complex128.

    Raises
    ------
    ShapeError
        If `between` does not fit the partitions.
    NonFiniteError
        If it contains NaN or infinity.

    See Also
    --------
    BlockConstantMatrix : the square matrix with two numbers in diagonal blocks.

    Notes
    -----
    :math:`B = U_r M U_c^H` with orthonormal :math:`U_r` and :math:`U_c`, so the
    singular value decomposition and the pseudo-inverse of B are those of M, lifted.

    See :ref:`theory-rectangular`.

    Examples
    --------
    >>> import blockmat as bm
    >>> B = bm.BlockRectangularMatrix.fit([[1, 3, 5], [1, 3, 5]], [0, 0], ["a", "a", "b"])
    >>> B.toarray()
    array([[2., 2., 5.],
           [2., 2., 5.]])
    """

    def __init__(
        self, row_partition: Any, col_partition: Any, between: Any, *, check_finite: bool = True
    ) -> None:
        refuse_swapped(
            between,
            row_partition,
            ("between", "row_partition"),
            "BlockRectangularMatrix(row_partition, col_partition, between)",
        )
        rows, cols = as_partition(row_partition), as_partition(col_partition)
        between = as_matrix_of_shape(between, "between", (rows.n_blocks, cols.n_blocks))
        if check_finite:
            require_finite(between, "between")
        self._set(rows, cols, np.array(between))

    def _set(self, rows: Partition, cols: Partition, between: Array) -> None:
        super().__init__(between.dtype, (rows.n, cols.n))
        self._rows, self._cols = rows, cols
        self._between = frozen(between)

    @classmethod
    def _trusted(
        cls, rows: Partition, cols: Partition, between: Array, dtype: Any
    ) -> "BlockRectangularMatrix":
        self: BlockRectangularMatrix = cls.__new__(cls)
        self._set(rows, cols, np.array(between, dtype=dtype))
        return self

    @classmethod
    def from_values(
        cls, row_partition: Any, col_partition: Any, values: Any
    ) -> "BlockRectangularMatrix":
        """Make a matrix from the number in each block.

        Parameters
        ----------
        row_partition, col_partition : Partition or sequence of hashable
            The blocks of rows and of columns.
        values : array_like, shape (k, l)
            The numbers.

        Returns
        -------
        BlockRectangularMatrix
            With these `values`.

        Raises
        ------
        ShapeError
            If `values` does not fit the partitions.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockRectangularMatrix.from_values([0, 0], [0], [[3]]).toarray()
        array([[3.],
               [3.]])
        """
        rows, cols = as_partition(row_partition), as_partition(col_partition)
        values = as_matrix_of_shape(values, "values", (rows.n_blocks, cols.n_blocks))
        between = values * pair.outer_root(rows.sizes, cols.sizes)
        return cls(rows, cols, between.astype(values.dtype, copy=False))

    @classmethod
    def fit(
        cls,
        source: Any,
        row_partition: Any,
        col_partition: Any,
        *,
        check_finite: bool = True,
        progress: bool | None = None,
    ) -> "BlockRectangularMatrix":
        """Find the closest matrix that is constant on blocks: every block's mean.

        Parameters
        ----------
        source : array_like, sparse matrix or LinearOperator, shape (m, n)
            What to approximate.
        row_partition : Partition or sequence of hashable, shape (m,)
            The blocks of rows, or a label for each row.
        col_partition : Partition or sequence of hashable, shape (n,)
            The blocks of columns, or a label for each column.
        check_finite : bool, default True
            Whether to refuse NaN and infinity.
        progress : bool, optional
            Whether to show a progress bar, as for `blockmat.fit`.

        Returns
        -------
        BlockRectangularMatrix
            The orthogonal projection of the source.

        Raises
        ------
        ShapeError
            If the partitions do not fit.
        NonFiniteError
            If the source contains NaN or infinity; names the block.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockRectangularMatrix.fit([[1, 3]], [0], [0, 0]).values
        array([[2.]])
        """
        for labels, name in ((row_partition, "row_partition"), (col_partition, "col_partition")):
            refuse_swapped(
                source, labels, ("source", name), "fit(source, row_partition, col_partition)"
            )
        S = as_source(source)
        if len(S.shape) != 2:
            raise ShapeError(f"source has shape {S.shape}; expected a matrix")
        rows = as_partition(row_partition, S.shape[0], "row_partition", source, axis=0)
        cols = as_partition(col_partition, S.shape[1], "col_partition", source)
        between, dtype = S.between(rows, cols, check_finite, progress)
        return cls._trusted(rows, cols, between, dtype)

    @property
    def row_partition(self) -> Partition:
        """The blocks of rows."""
        return self._rows

    @property
    def col_partition(self) -> Partition:
        """The blocks of columns."""
        return self._cols

    @property
    def between(self) -> Array:
        """The core M: (k, l), read-only."""
        return self._between

    @property
    def values(self) -> Array:
        """The number in each block: (k, l)."""
        root: Array = pair.outer_root(self._rows.sizes, self._cols.sizes)
        return (self._between / root).astype(self.dtype, copy=False)

    @property
    def nbytes(self) -> int:
        """The bytes it stores: the core and both partitions."""
        return int(self._between.nbytes + self._rows.nbytes + self._cols.nbytes)

    def toarray(self) -> Array:
        """Make the dense matrix.

        Returns
        -------
        ndarray, shape (m, n)
            Every entry.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockRectangularMatrix([0], [0, 1], [[1, 2]]).toarray()
        array([[1., 2.]])
        """
        return self._entries(*np.ogrid[: self.shape[0], : self.shape[1]])

    def _entries(self, i: Array, j: Array) -> Array:
        found: Array = self.values[self._rows.labels[i], self._cols.labels[j]]
        return found

    def submatrix(self, rows: Any, columns: Any) -> "BlockRectangularMatrix":
        """Return the matrix of some of the rows and columns.

        Parameters
        ----------
        rows, columns : array_like of int, array_like of bool, or slice
            The rows and the columns, in the order that they will have. Negative numbers count from
            the end. A mask has a boolean for each row or column of this matrix.

        Returns
        -------
        BlockRectangularMatrix
            With the blocks of `row_partition` and `col_partition` that have chosen members.

        Raises
        ------
        VariableIndexError
            If nothing is chosen, or something twice, or a number is out of range.
        ShapeError, DtypeError
            If an argument is neither a list of integers nor a mask.

        See Also
        --------
        Partition.subset : the blocks of a part.

        Notes
        -----
        See :ref:`theory-parts`.

        Examples
        --------
        >>> import blockmat as bm
        >>> B = bm.BlockRectangularMatrix.from_values([0, 0, 1], ["a", "b"], [[1, 2], [3, 4]])
        >>> B.submatrix([2, 0], [1]).toarray()
        array([[4.],
               [2.]])
        """
        r = Subset.of(self._rows, rows, "rows")
        c = Subset.of(self._cols, columns, "columns")
        shares = [x.partition.sizes / whole.sizes[x.blocks]
                  for x, whole in ((r, self._rows), (c, self._cols))]  # fmt: skip
        between = pair.between_of_part(self._between[np.ix_(r.blocks, c.blocks)], *shares)
        return self._trusted(r.partition, c.partition, between, self.dtype)

    def norm(self, ord: Any = None) -> Any:
        """Return a matrix norm.

        Parameters
        ----------
        ord : {None, 'fro', 'nuc', 2}, default None
            Which norm, as in `numpy.linalg.norm`; None is 'fro'.

        Returns
        -------
        scalar
            The norm, which is that of the core.

        Raises
        ------
        ValueError
            If `ord` is not one of these.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockRectangularMatrix([0], [0, 1], [[3, 4]]).norm()
        np.float64(5.0)
        """
        if ord not in (None, "fro", "nuc", 2):
            raise ValueError(f"ord is {ord!r}; expected None, 'fro', 'nuc' or 2")
        between, exponent = in_range(self._between)
        return times_power(np.linalg.norm(between, ord), exponent)

    def svd(self) -> tuple[Array, Array, Array]:
        """Return the thin singular value decomposition.

        Returns
        -------
        U : ndarray, shape (m, r)
            Left singular vectors, r being the smaller number of blocks.
        s : ndarray, shape (r,)
            The singular values that need not be zero, descending.
        Vh : ndarray, shape (r, n)
            Right singular vectors, conjugated, in rows: ``B = U @ diag(s) @ Vh``.

        Examples
        --------
        >>> import blockmat as bm
        >>> U, s, Vh = bm.BlockRectangularMatrix([0, 0], [0, 0], [[2.0]]).svd()
        >>> U.shape, s
        ((2, 1), array([2.]))
        """
        double = self._between.astype(accumulator_dtype(self.dtype))
        u, s, vh = scipy.linalg.svd(double, full_matrices=False, check_finite=False)
        left = self._rows.expand((u.T / pair.root(self._rows.sizes)).T)
        right = self._cols.expand(vh / pair.root(self._cols.sizes), axis=1)
        real = real_dtype(self.dtype)
        return left.astype(self.dtype), s.astype(real), right.astype(self.dtype)

    def pinv(self, rtol: float | None = None) -> "BlockRectangularMatrix":
        """Take the Moore-Penrose pseudo-inverse.

        Parameters
        ----------
        rtol : float, optional
            Singular values up to `rtol` times the largest count as zero. By default those
            do that are zero to rounding in the core, as for `BlockConstantMatrix.matrix_rank`.

        Returns
        -------
        BlockRectangularMatrix
            The pseudo-inverse, of shape (n, m).

        Raises
        ------
        ValueError
            If `rtol` is negative.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockRectangularMatrix([0], [0, 1], [[3, 4]]).pinv().toarray()
        array([[0.12],
               [0.16]])
        """
        if rtol is not None and not rtol >= 0:
            raise ValueError(f"rtol is {rtol!r}; expected 0 or more")
        double = self._between.astype(accumulator_dtype(self.dtype))
        inverse = inverses.pinv_of_rectangular(double, float(np.finfo(self.dtype).eps), rtol)
        return self._trusted(self._cols, self._rows, inverse, self.dtype)

    # Algebra on the core

    def _apply(self, x: Array, out: Array | None = None) -> Array:
        means = pair.coordinates(block_sums(self._cols, x).T, self._cols.sizes).T
        lifted = ((self._between @ means).T / pair.root(self._rows.sizes)).T
        result = self._rows.expand(lifted.astype(np.result_type(self.dtype, x)))
        return written_to(out, result)

    def _elementwise(self, f: Callable[[Array], Array], dtype: Any) -> "BlockRectangularMatrix":
        return self._trusted(self._rows, self._cols, f(self._between), dtype)

    def _product(self, other: BlockOperator) -> BlockOperator | None:
        if isinstance(other, StoredPair):
            inner, outer = other.partition, other.partition
        elif isinstance(other, BlockRectangularMatrix):
            inner, outer = other._rows, other._cols
        else:
            return None
        _require_same_blocks(self._cols, inner)
        dtype = np.result_type(self.dtype, other.dtype)
        M, N = self._between, other.between
        return self._trusted(self._rows, outer, M * N if N.ndim == 1 else M @ N, dtype)

    def _product_from_left(self, other: BlockOperator) -> BlockOperator | None:
        if not isinstance(other, StoredPair):
            return None
        _require_same_blocks(other.partition, self._rows)
        dtype = np.result_type(self.dtype, other.dtype)
        between = times_sums(other.between, self._between)
        return self._trusted(self._rows, self._cols, between, dtype)

    def _sum(self, other: BlockOperator) -> BlockOperator | None:
        if not isinstance(other, BlockRectangularMatrix):
            return None
        _require_same_blocks(self._rows, other._rows)
        _require_same_blocks(self._cols, other._cols)
        dtype = np.result_type(self.dtype, other.dtype)
        return self._trusted(self._rows, self._cols, self._between + other._between, dtype)

    def _adjoint(self) -> "BlockRectangularMatrix":
        return self._trusted(self._cols, self._rows, self._between.conj().T, self.dtype)

    def _transpose(self) -> "BlockRectangularMatrix":
        return self._trusted(self._cols, self._rows, self._between.T, self.dtype)

    # Display, storage

    def _archive(self) -> Archive:
        partitions = {"row_partition": self._rows, "col_partition": self._cols}
        return Archive("rectangular", partitions, {"between": self._between})

    def __repr__(self) -> str:
        return (
            f"<{self.shape[0]}x{self.shape[1]} BlockRectangularMatrix of "
            f"{self._rows.n_blocks}x{self._cols.n_blocks} blocks, dtype={self.dtype}>"
        )

    def _picture(self) -> tuple[Array, ...]:
        return self.values, self._rows.sizes, self._cols.sizes

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._rows, self._cols, self._between)


def rectangular_from_archive(archive: Archive) -> BlockRectangularMatrix:
    """Make a matrix from what `BlockRectangularMatrix.save` wrote."""
    return BlockRectangularMatrix(
        **archive.partitions, between=archive.arrays["between"], check_finite=False
    )


def _restore(rows: Partition, cols: Partition, between: Array) -> BlockRectangularMatrix:
    return BlockRectangularMatrix(rows, cols, between, check_finite=False)


def _require_same_blocks(mine: Partition, theirs: Partition) -> None:
    if not mine.same_blocks(theirs):
        raise PartitionMismatchError(
            f"the operands live on different partitions ({mine.n} variables in {mine.n_blocks} "
            f"blocks, {theirs.n} in {theirs.n_blocks})"
        )
