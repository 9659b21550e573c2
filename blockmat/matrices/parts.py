"""Parts: submatrices of the square matrix types, and conditional distributions."""

from abc import abstractmethod
from typing import Any, Self

import numpy as np
from scipy.sparse.linalg import LinearOperator

from blockmat.blocks.index import as_index
from blockmat.blocks.partition import Partition
from blockmat.blocks.subset import Subset
from blockmat.matrices.rectangular_part import RectangularPart
from blockmat.matrices.whitening import WhiteningOperator


class Parts(WhiteningOperator):
    """Base class of the square matrix types; a subclass supplies the abstract methods."""

    @property
    @abstractmethod
    def partition(self) -> Partition:
        """The blocks."""

    @abstractmethod
    def _part(self, part: Subset) -> Self:
        """Return the matrix of some of the variables."""

    def _rectangular_part(self, rows: Subset, columns: Subset) -> LinearOperator:
        """Return the matrix of rows and columns that have no variable in common."""
        both = np.sort(np.concatenate([rows.variables, columns.variables]))
        places = (np.searchsorted(both, part.variables) for part in (rows, columns))
        return RectangularPart(self._part(Subset.of(self.partition, both)), *places)

    def submatrix(self, rows: Any, columns: Any = None) -> Any:
        """Return the matrix of some of the variables.

        Parameters
        ----------
        rows : array_like of int, array_like of bool of shape (n,), or slice
            The variables, in the order that they will have. Negative numbers count from the end.
        columns : array_like of int, array_like of bool of shape (n,), or slice, optional
            The variables of the columns: by default those of the rows. Otherwise rows and columns
            must have no variable in common.

        Returns
        -------
        BlockConstantMatrix, ScaledBlockMatrix, BlockFactorMatrix, BlockPlusLowRank, \
BlockRectangularMatrix or LinearOperator
            Without `columns` a matrix of the same type, on ``partition.subset(rows)``. If this
            matrix is the covariance of n variables, the result is the marginal covariance of the
            chosen ones. With `columns` a BlockRectangularMatrix, if this matrix is block-constant.
            For the other types it is a SciPy operator with the methods `toarray` and
            ``[...]``, which takes O(rows + columns) time for a product with a vector.

        Raises
        ------
        VariableIndexError
            If no variable is chosen, or one is chosen twice, or a number is out of range.
        ShapeError, DtypeError
            If an argument is neither a list of integers nor a mask of length n.
        ValueError
            If rows and columns have some variables in common, but are not the same.
        PartitionMismatchError
            If the part has some pairs of two aligned blocks and breaks others.

        See Also
        --------
        condition : the covariance of variables, given others.

        Notes
        -----
        ``A[np.ix_(rows, columns)]`` returns a NumPy array, for any rows and columns. For the
        formulas see :ref:`theory-parts`.

        Examples
        --------
        >>> import blockmat as bm
        >>> p = bm.Partition.from_labels(["x", "x", "y"])
        >>> A = bm.BlockConstantMatrix.from_values(p, [[1, 2], [2, 5]], [4, 5])
        >>> A.submatrix([2, 0])
        <2x2 BlockConstantMatrix of 2 blocks, dtype=float64>
        >>> A.submatrix([2, 0]).toarray()
        array([[5., 2.],
               [2., 4.]])
        >>> A.submatrix([0, 1], [2]).toarray()
        array([[2.],
               [2.]])
        """
        chosen = Subset.of(self.partition, rows, "rows")
        if columns is None:
            return self._part(chosen)
        n = self.shape[0]
        index = as_index(columns, n, "columns")
        if np.array_equal(chosen.variables, index):
            return self._part(chosen)
        is_row = np.zeros(n, dtype=bool)
        is_row[chosen.variables] = True
        both = index[is_row[index]]
        if len(both):
            raise ValueError(
                f"rows and columns have the variable {both[0]} in common, and are not the same; "
                f"expected equal or disjoint ones (A[np.ix_(rows, columns)] returns an array)"
            )
        return self._rectangular_part(chosen, Subset.of(self.partition, index, "columns"))
