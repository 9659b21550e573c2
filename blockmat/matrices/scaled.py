"""ScaledBlockMatrix: S B S, a block-constant matrix between two diagonal ones."""

from collections.abc import Callable
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array, as_numeric, frozen, real_dtype, require_finite
from blockmat.blocks.partition import Partition
from blockmat.blocks.subset import Subset
from blockmat.exceptions import ShapeError
from blockmat.matrices.archive import Archive
from blockmat.matrices.block_constant import BlockConstantMatrix, matrix_from_archive
from blockmat.matrices.checks import require_real_dtype
from blockmat.matrices.common import archive_of
from blockmat.matrices.entries import entries
from blockmat.matrices.operator import BlockOperator, elementwise, written_to
from blockmat.matrices.parts import Parts
from blockmat.matrices.stored_pair import stored_values
from blockmat.matrices.whitening import (
    colorized,
    whitened,
    whitened_adjoint,
)

__all__ = ["ScaledBlockMatrix"]


class ScaledBlockMatrix(Parts):
    r"""A block-constant matrix whose rows and columns are scaled.

    With a block-constant correlation matrix and the standard deviations as scale it is
    a covariance matrix whose variables keep variances of their own. It is not
    block-constant, but inverse, solving, determinant, whitening and sampling still cost
    O(n + k\ :sup:`3`). It is immutable, and a `scipy.sparse.linalg.LinearOperator`.

    Parameters
    ----------
    matrix : BlockConstantMatrix
        B in :math:`A = S B S`.
    scale : array_like, shape (n,)
        The diagonal of S, not zero, in the unit of a standard deviation. A negative number
        reverses a variable: its correlations are minus those of its block.

    Attributes
    ----------
    shape : tuple of int
        ``(n, n)``.
    dtype : numpy.dtype
        The common dtype of the matrix and the scale.

    Raises
    ------
    TypeError
        If `matrix` is not a BlockConstantMatrix.
    ShapeError
        If `scale` does not have length n.
    DtypeError
        If `scale` is not real.
    NonFiniteError
        If it contains NaN or infinity.
    ValueError
        If it contains a zero.

    See Also
    --------
    BlockFactorMatrix : free noise of each variable.
    blockmat.covariance.BlockCovariance : estimates one from samples.

    Notes
    -----
    :math:`A^{-1} = S^{-1} B^{-1} S^{-1}` is of the same kind, and
    :math:`\log\det A = \log\det B + 2 \sum_i \log |s_i|`. Products with other matrices and
    sums of different scales are not, and become SciPy's lazy operators. Vectors are whitened by
    :math:`B^{-1/2} S^{-1}`, which is not symmetric.

    If B is real, symmetric and not aligned, with positive within values, A is also a
    `BlockFactorMatrix` with loadings s. This class has no such restriction: B may be aligned,
    complex or not symmetric, and its within values may be zero or negative.

    See :ref:`theory-scaled`.

    Examples
    --------
    >>> import blockmat as bm
    >>> B = bm.BlockConstantMatrix.from_values([0, 0], [[0.5]], [1.0])
    >>> A = bm.ScaledBlockMatrix(B, [1.0, 4.0])
    >>> A.toarray()
    array([[ 1.,  2.],
           [ 2., 16.]])
    >>> A.solve([3.0, 18.0])
    array([1., 1.])
    """

    def __init__(self, matrix: BlockConstantMatrix, scale: Any) -> None:
        if not isinstance(matrix, BlockConstantMatrix):
            raise TypeError(
                f"matrix is a {type(matrix).__name__}; expected a BlockConstantMatrix (see fit)"
            )
        scale = as_numeric(scale, "scale", (1,))
        require_real_dtype(scale.dtype, "scale")
        if len(scale) != matrix.shape[0]:
            raise ShapeError(f"scale has length {len(scale)}; expected {matrix.shape[0]}")
        require_finite(scale, "scale")
        if not scale.all():
            i = int(np.argmin(scale != 0))
            raise ValueError(f"scale is 0 at index {i}; expected other numbers")
        dtype = np.result_type(matrix.dtype, scale)
        super().__init__(dtype, matrix.shape)
        self._matrix = matrix.astype(dtype)
        self._scale = frozen(np.array(scale, dtype=real_dtype(dtype)))

    @property
    def matrix(self) -> BlockConstantMatrix:
        """The block-constant matrix B."""
        return self._matrix

    @property
    def scale(self) -> Array:
        """The diagonal of S, (n,), read-only."""
        return self._scale

    @property
    def partition(self) -> Partition:
        """The blocks."""
        return self._matrix.partition

    @property
    def nbytes(self) -> int:
        """The bytes it stores."""
        return self._matrix.nbytes + self._scale.nbytes

    @property
    def is_hermitian(self) -> bool:
        """Whether it equals its conjugate transpose, to rounding."""
        return self._matrix.is_hermitian

    def _apply(self, x: Array, out: Array | None = None) -> Array:
        return written_to(out, self._times(self._matrix.dot(self._times(x))))

    def _times(self, x: Array) -> Array:
        """Multiply each row of x by its scale."""
        scaled: Array = (x.T * self._scale).T
        return scaled

    def _divided(self, x: Array) -> Array:
        divided: Array = (x.T / self._scale).T
        return divided

    def _elementwise(self, f: Callable[[Array], Array], dtype: Any) -> "ScaledBlockMatrix":
        scale = self._scale.astype(real_dtype(dtype))
        return ScaledBlockMatrix(elementwise(self._matrix, f, dtype), scale)

    def _sum(self, other: BlockOperator) -> "ScaledBlockMatrix | None":
        """Add a matrix with the same blocks and the same scale; None for any other."""
        if not isinstance(other, ScaledBlockMatrix) or not np.array_equal(
            self._scale, other._scale
        ):
            return None
        if not self.partition.same_blocks(other.partition):
            return None
        total: BlockConstantMatrix = self._matrix + other._matrix
        return ScaledBlockMatrix(total, self._scale)

    def _adjoint(self) -> "ScaledBlockMatrix":
        return ScaledBlockMatrix(self._matrix.H, self._scale)

    def _transpose(self) -> "ScaledBlockMatrix":
        return ScaledBlockMatrix(self._matrix.T, self._scale)

    def toarray(self) -> Array:
        """Make the dense matrix.

        Returns
        -------
        ndarray, shape (n, n)
            Every entry, in this matrix's dtype.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.ScaledBlockMatrix(bm.BlockConstantMatrix([0, 0], [[2.0]]), [1, 3]).toarray()
        array([[1., 3.],
               [3., 9.]])
        """
        dense = self._matrix.toarray()
        dense *= self._scale
        return self._times(dense)

    def _entries(self, i: Array, j: Array) -> Array:
        # Scale by scale: the product of two may overflow where the entry does not.
        scaled: Array = entries(self._matrix, i, j) * self._scale[j] * self._scale[i]
        return scaled

    def _part(self, part: Subset) -> "ScaledBlockMatrix":
        return ScaledBlockMatrix(self._matrix._part(part), self._scale[part.variables])

    def _conditioned(
        self, observed: Subset, rest: Subset, deviations: Array
    ) -> tuple[Array, "ScaledBlockMatrix"]:
        seen, scale = self._scale[observed.variables], self._scale[rest.variables]
        shift, matrix = self._matrix._conditioned(observed, rest, (deviations.T / seen).T)
        return (shift.T * scale).T, ScaledBlockMatrix(matrix, scale)

    def diagonal(self) -> Array:
        """Return the diagonal.

        Returns
        -------
        ndarray, shape (n,)
            The diagonal entries: for a covariance, the variances.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.ScaledBlockMatrix(bm.BlockConstantMatrix.identity([0, 0]), [1, 3]).diagonal()
        array([1., 9.])
        """
        every = np.arange(self.shape[0])
        return self._entries(every, every)

    def inv(self) -> "ScaledBlockMatrix":
        """Invert.

        Returns
        -------
        ScaledBlockMatrix
            The inverse.

        Raises
        ------
        SingularMatrixError
            If the matrix is singular to working precision.

        Examples
        --------
        >>> import blockmat as bm
        >>> A = bm.ScaledBlockMatrix(bm.BlockConstantMatrix.identity([0, 0]), [1, 2])
        >>> A.inv().diagonal()
        array([1.  , 0.25])
        """
        return ScaledBlockMatrix(self._matrix.inv(), 1 / self._scale)

    def solve(self, b: Any) -> Array:
        """Solve ``A @ x = b``.

        Parameters
        ----------
        b : array_like, shape (n,) or (n, m)
            The right-hand sides.

        Returns
        -------
        ndarray
            The solutions, in the shape of `b`.

        Raises
        ------
        ShapeError
            If `b` does not fit.
        SingularMatrixError
            If the matrix is singular to working precision.

        Examples
        --------
        >>> import blockmat as bm
        >>> A = bm.ScaledBlockMatrix(bm.BlockConstantMatrix.identity([0, 0]), [1, 2])
        >>> A.solve([1.0, 4.0])
        array([1., 1.])
        """
        return self._divided(self._matrix.solve(self._divided(self._as_operand(b, "b"))))

    def slogdet(self) -> tuple[Any, Any]:
        """Return the sign and the logarithm of the absolute determinant.

        Returns
        -------
        sign : scalar
            1, 0 or -1 for a real matrix, a complex number of modulus 1 or 0 else.
        logabsdet : scalar
            The natural logarithm; minus infinity for a singular matrix.

        Examples
        --------
        >>> import blockmat as bm
        >>> sign, log = bm.ScaledBlockMatrix(bm.BlockConstantMatrix([0], [[-1]]), [2]).slogdet()
        >>> float(sign), round(float(log), 4)
        (-1.0, 1.3863)
        """
        sign, logdet = self._matrix.slogdet()
        scales = np.log(np.abs(self._scale.astype(np.float64))).sum()
        return sign, self._scale.dtype.type(logdet + 2 * scales)

    def _whitened(self, x: Array) -> Array:
        return whitened(self._matrix, self._divided(x))

    def _whitened_adjoint(self, x: Array) -> Array:
        """Multiply by the transpose of what whitens."""
        return self._divided(whitened_adjoint(self._matrix, x))

    def is_positive_definite(self) -> bool:
        """Whether the matrix is Hermitian with positive eigenvalues only.

        Returns
        -------
        bool
            True if the block-constant matrix inside is.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.ScaledBlockMatrix(bm.BlockConstantMatrix.identity([0, 0]), [1, 2]).is_positive_definite()
        True
        """
        return self._matrix.is_positive_definite()

    def _colorized(self, x: Array) -> Array:
        return self._times(colorized(self._matrix, x))

    def _archive(self) -> Archive:
        inner = archive_of(self._matrix)
        return Archive("scaled", inner.partitions, {**inner.arrays, "scale": self._scale})

    def __repr__(self) -> str:
        n, k = self.shape[0], self.partition.n_blocks
        return f"<{n}x{n} ScaledBlockMatrix of {k} blocks, dtype={self.dtype}>"

    def _picture(self) -> tuple[Array, ...]:
        return stored_values(self._matrix), self.partition.sizes

    def __reduce__(self) -> tuple[Any, ...]:
        return ScaledBlockMatrix, (self._matrix, self._scale)

    def __getstate__(self) -> None:
        return None


def scaled_from_archive(archive: Archive) -> ScaledBlockMatrix:
    """Make a matrix from the file content that `ScaledBlockMatrix.save` wrote."""
    return ScaledBlockMatrix(matrix_from_archive(archive), archive.arrays["scale"])
