"""Parts: submatrices of the square matrix types, and conditional distributions."""

from abc import abstractmethod
from typing import Any, Self

import numpy as np
from scipy.sparse.linalg import LinearOperator

from blockmat.blocks.checks import Array, as_numeric, require_finite
from blockmat.blocks.index import as_index
from blockmat.blocks.names import own_names, refuse_other_names
from blockmat.blocks.partition import Partition
from blockmat.blocks.subset import Subset
from blockmat.exceptions import (
    DtypeError,
    IndefiniteMatrixError,
    NotHermitianError,
    ShapeError,
    SingularMatrixError,
    VariableIndexError,
)
from blockmat.matrices.checks import require_real_dtype
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

    @abstractmethod
    def _conditioned(self, observed: Subset, rest: Subset, deviations: Array) -> tuple[Array, Self]:
        """Return what observed deviations (m, q) add to the means, and the covariance.

        The matrix is in double precision, and that of the observed variables positive definite.
        """

    def _require_definite(self) -> None:
        """Raise an error unless the matrix, that of observed variables, is positive definite."""
        if self.is_positive_definite():
            return
        if self.slogdet()[0] == 0:
            raise SingularMatrixError(
                "the covariance of the observed variables is singular to working precision; "
                "expected a positive definite one"
            )
        raise IndefiniteMatrixError(
            "the covariance of the observed variables is not positive definite; expected a "
            "positive definite one"
        )

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
            For independent blocks and the other types it is a SciPy operator with the methods
            `toarray` and ``[...]``, which takes O(rows + columns) time for a product with a vector.

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

    def condition(self, index: Any, values: Any, mean: Any = None) -> tuple[Array, Self]:
        """Return mean and covariance of the other variables, given the values of some.

        The matrix is the covariance of n normal variables.

        Parameters
        ----------
        index : array_like of int, array_like of bool of shape (n,), or slice
            The m observed variables. Negative numbers count from the end.
        values : float or array_like, shape (m,) or (q, m)
            Their values, in the order of `index`; or q samples of them, one in each row. One number
            is the value of all. They have the unit of the samples of the covariance: a fall by ten
            per cent is -0.1 if returns are fractions.
        mean : float or array_like of shape (n,), optional
            The means of all n variables; by default zero, as for deviations from a mean. Names in
            the index of a Series are not matched, but those of `index`, `values` and `mean` must
            agree.

        Returns
        -------
        mean : ndarray, shape (n - m,) or (q, n - m)
            The conditional means of the other variables, in ascending order: those of
            ``np.delete(np.arange(n), index)``.
        matrix : BlockConstantMatrix, ScaledBlockMatrix, BlockFactorMatrix or BlockPlusLowRank
            Their conditional covariance, of the type and dtype of this matrix. It does not depend on
            the values.

        Raises
        ------
        VariableIndexError
            If `index` is empty, has all variables or one of them twice, or is out of range.
        ShapeError
            If `values` or `mean` does not fit.
        DtypeError
            If the matrix, `values` or `mean` is not real.
        NonFiniteError
            If `values` or `mean` contains NaN or infinity.
        ValueError
            If they have other names than `index` or each other.
        NotHermitianError
            If the matrix is not symmetric.
        SingularMatrixError, IndefiniteMatrixError
            If the covariance of the observed variables is not positive definite. That of the base of
            a BlockPlusLowRank has to be, too.
        PartitionMismatchError
            If some members of aligned blocks are observed and their mates are not.

        See Also
        --------
        submatrix : the covariance of variables of which nothing is observed (the marginal).

        Notes
        -----
        It takes :math:`O(n + k^3)` time, :math:`O(n)` for a BlockFactorMatrix with a diagonal
        covariance, and :math:`O(n r^2 + r^3 + k^3)` for a BlockPlusLowRank of rank r. See
        :ref:`theory-parts`.

        Examples
        --------
        >>> import blockmat as bm
        >>> A = bm.BlockConstantMatrix.from_values(["x", "x", "y"], [[1, 1], [1, 4]], [2, 4])
        >>> mean, covariance = A.condition([0], [3.0], mean=[1.0, 1.0, 0.0])
        >>> mean
        array([2., 1.])
        >>> covariance.toarray()
        array([[1.5, 0.5],
               [0.5, 3.5]])
        """
        self._require_real()
        if not self.is_hermitian:
            raise NotHermitianError("the matrix is not symmetric; expected a covariance matrix")
        if np.size(index) and np.asarray(index).dtype.kind == "f":
            raise DtypeError(
                f"index has dtype {np.asarray(index).dtype}; expected integers or booleans, as in "
                f"condition(index, values)"
            )
        n, observed = self.shape[0], Subset.of(self.partition, index)
        m = len(observed.variables)
        of_all = own_names(index) if np.asarray(index).dtype.kind == "b" else None
        of_means, of_values = own_names(mean), own_names(values)
        if m == n:
            raise VariableIndexError(
                f"index has all {n} variables; expected at least one that is not observed"
            )
        values = real_numbers(values, "values", (0, 1, 2))
        values = values if values.ndim else np.full(m, values)
        if values.shape[-1] != m:
            raise ShapeError(
                f"values has shape {values.shape}; expected a number, ({m},) or (q, {m}) for {m} "
                f"observed variables"
            )
        means = as_means(mean, n)
        refuse_other_names(("index", of_all), ("mean", of_means))
        if names := of_all or of_means:
            names = [names[i] for i in observed.variables.tolist()]
            refuse_other_names(("mean" if of_means else "index", names), ("values", of_values))
        self._part(observed)._require_definite()
        dtype = np.result_type(self.dtype, values, *([means] if means.ndim else []))
        means = np.broadcast_to(means.astype(np.float64), n)
        is_rest = np.ones(n, dtype=bool)
        is_rest[observed.variables] = False
        rest = Subset.of(self.partition, is_rest)
        deviations = np.atleast_2d(values).astype(np.float64) - means[observed.variables]
        double = self.astype(np.float64)
        shift, matrix = double._conditioned(observed, rest, deviations.T)
        conditional = (means[rest.variables] + shift.T).reshape(*values.shape[:-1], n - m)
        return conditional.astype(dtype, copy=False), matrix.astype(self.dtype)


def as_means(mean: Any, n: int) -> Array:
    """Convert the means of n variables, or one for all; by default zero."""
    means = real_numbers(0.0 if mean is None else mean, "mean", (0, 1))
    if means.ndim and means.shape != (n,):
        raise ShapeError(f"mean has shape {means.shape}; expected ({n},)")
    return means


def real_numbers(
    x: Any, name: str, ndims: tuple[int, ...], for_nan: str = "", may_have_gaps: bool = False
) -> Array:
    """Convert to an array of finite real numbers with one of the given numbers of axes.

    They may be NaN if there may be gaps. Otherwise the message for NaN ends in `for_nan`.
    """
    array = as_numeric(x, name, ndims)
    require_real_dtype(array.dtype, name)
    checked = np.where(np.isnan(array), 0, array) if may_have_gaps else array
    require_finite(np.atleast_1d(checked), name, for_nan)
    return array
