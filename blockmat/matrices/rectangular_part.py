"""RectangularPart: rows and columns of a square matrix that have no variable in common."""

from typing import Any

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.matrices.entries import Entries, entries
from blockmat.matrices.operator import SquareBlockOperator, matvec_of_batch


class RectangularPart(Entries):
    """An operator that multiplies with the whole matrix, and zeros in the place of other rows.

    Parameters
    ----------
    whole : SquareBlockOperator
        The matrix.
    rows, columns : ndarray of int
        The rows and columns of the part.
    """

    def __init__(self, whole: SquareBlockOperator, rows: Array, columns: Array) -> None:
        super().__init__(whole.dtype, (len(rows), len(columns)))
        self._whole, self._rows, self._columns = whole, rows, columns

    def _entries(self, i: Array, j: Array) -> Array:
        return entries(self._whole, self._rows[i], self._columns[j])

    def toarray(self) -> Array:
        """Make the dense matrix."""
        dense: Array = self[...]
        return dense

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("a part of a matrix has no dense array to share without a copy")
        dense = self.toarray()
        return dense if dtype is None else dense.astype(dtype, copy=False)

    def _matmat(self, X: Any) -> Array:
        X = np.asarray(X)
        padded = np.zeros((self._whole.shape[0], *X.shape[1:]), dtype=X.dtype)
        padded[self._columns] = X
        product: Array = self._whole.dot(padded)[self._rows]
        return product

    def _matvec(self, x: Any) -> Array:
        return matvec_of_batch(self._matmat, np.asarray(x), self.shape[1])

    def _adjoint(self) -> "RectangularPart":
        return RectangularPart(self._whole.H, self._columns, self._rows)

    def _transpose(self) -> "RectangularPart":
        return RectangularPart(self._whole.T, self._columns, self._rows)
