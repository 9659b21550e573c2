"""BlockPlusLowRank: a symmetric matrix of another type plus one of low rank."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from scipy.linalg import block_diag

from blockmat.blocks.checks import Array, as_numeric, frozen, require_finite
from blockmat.blocks.partition import Partition
from blockmat.blocks.subset import Subset
from blockmat.cores import rank
from blockmat.cores.core import dense_core, hermitian_part
from blockmat.exceptions import NotHermitianError, ShapeError
from blockmat.matrices.archive import Archive
from blockmat.matrices.block_constant import BlockConstantMatrix
from blockmat.matrices.block_factor import BlockFactorMatrix, separated
from blockmat.matrices.checks import as_matrix_of_shape, require_real_dtype
from blockmat.matrices.common import archive_of, picture_of
from blockmat.matrices.entries import entries
from blockmat.matrices.html import with_low_rank
from blockmat.matrices.low_rank_solvers import (
    LowRankSolver,
    conditional_core,
    inner_core,
    solver_for,
)
from blockmat.matrices.low_rank_spectrum import eigenvalues, reduced
from blockmat.matrices.operator import (
    BlockOperator,
    elementwise,
    lazy_multiple,
    sum_of,
    written_to,
)
from blockmat.matrices.parts import Parts
from blockmat.matrices.raised_base import Base, LowRankSum, with_raised_base
from blockmat.matrices.scaled import ScaledBlockMatrix
from blockmat.matrices.solvers import refined

__all__ = ["BlockPlusLowRank"]


class BlockPlusLowRank(Parts):
    r"""A real symmetric matrix of another type plus one of low rank.

    Shrinking the covariance matrix of T samples toward a block-constant matrix gives this form,
    with rank T. It is immutable, and a `scipy.sparse.linalg.LinearOperator`.

    Parameters
    ----------
    base : BlockConstantMatrix, ScaledBlockMatrix or BlockFactorMatrix, shape (n, n)
        B in :math:`A = B + V C V^T`, real and symmetric.
    factor : array_like, shape (n, r)
        V, with r at least 1.
    core : array_like, shape (r, r), optional
        C, symmetric; by default the identity.

    Attributes
    ----------
    shape : tuple of int
        ``(n, n)``.
    dtype : numpy.dtype
        The common dtype of the three arguments.

    Raises
    ------
    TypeError
        If `base` is of another class.
    ShapeError
        If the shapes do not fit.
    DtypeError
        If an argument is not real.
    NotHermitianError
        If `base` or `core` is not symmetric.
    NonFiniteError
        If `factor` or `core` contains NaN or infinity.

    See Also
    --------
    blockmat.covariance.BlockCovariance : estimates one from samples.

    Notes
    -----
    If W whitens a positive definite B, and :math:`W V = Q R`, then

    .. math:: W A W^T = I + Q (R C R^T) Q^T.

    Solving and whitening use this form, at :math:`O(n r^2 + k^3)` once and :math:`O(n r)` for
    each vector. See :ref:`theory-scaled`, also for a base that is not positive definite.

    Examples
    --------
    >>> import blockmat as bm
    >>> A = bm.BlockPlusLowRank(bm.BlockConstantMatrix.identity([0, 0]), [[1.0], [2.0]])
    >>> A.toarray()
    array([[2., 2.],
           [2., 5.]])
    >>> A.solve([4.0, 7.0])
    array([1., 1.])
    """

    def __init__(self, base: Base, factor: Any, core: Any = None) -> None:
        if not isinstance(base, Base):
            raise TypeError(
                f"base is a {type(base).__name__}; expected a BlockConstantMatrix, a "
                f"ScaledBlockMatrix or a BlockFactorMatrix"
            )
        factor = as_numeric(factor, "factor", (2,))
        n, rank = base.shape[0], factor.shape[1]
        if len(factor) != n or not rank:
            raise ShapeError(f"factor has shape {factor.shape}; expected ({n}, r) with r >= 1")
        core = np.eye(rank, dtype=factor.dtype) if core is None else core
        core = as_matrix_of_shape(core, "core", (rank, rank))
        for name, part in (("base", base), ("factor", factor), ("core", core)):
            require_real_dtype(part.dtype, name)
        require_finite(factor, "factor")
        require_finite(core, "core")
        for name, matrix in (("base", base), ("core", dense_core(core, "low-rank"))):
            if not matrix.is_hermitian:
                raise NotHermitianError(f"{name} is not symmetric; expected a symmetric matrix")
        dtype = np.result_type(base.dtype, factor, core)
        super().__init__(dtype, base.shape)
        self._base: Base = base.astype(dtype)
        self._factor = frozen(np.array(factor, dtype=dtype))
        self._core = frozen(np.array(core, dtype=dtype))

    @property
    def base(self) -> Base:
        """The matrix B."""
        return self._base

    @property
    def factor(self) -> Array:
        """The factor V: (n, r), read-only."""
        return self._factor

    @property
    def core(self) -> Array:
        """The core C: (r, r), read-only."""
        return self._core

    @property
    def partition(self) -> Partition:
        """The blocks of the base."""
        return self._base.partition

    @property
    def nbytes(self) -> int:
        """The number of bytes of the base, the factor and the core."""
        return self._base.nbytes + self._factor.nbytes + self._core.nbytes

    @property
    def is_hermitian(self) -> bool:
        """Always true."""
        return True

    def _apply(self, x: Array, out: Array | None = None) -> Array:
        return written_to(out, self._times(x))

    def _times(self, x: Array) -> Array:
        factor, core = self._factor, self._core
        product: Array = self._base.dot(x) + factor @ (core @ (factor.T @ x))
        return product

    def _elementwise(self, f: Callable[[Array], Array], dtype: Any) -> Any:
        """Apply a linear function to the base and the core.

        A multiple is SciPy's lazy operator if that of the base is.
        """
        base = elementwise(self._base, f, dtype)
        if not isinstance(base, Base):
            return lazy_multiple(self, f, dtype)
        return BlockPlusLowRank(base, self._factor.astype(dtype), f(self._core).astype(dtype))

    def _adjoint(self) -> "BlockPlusLowRank":
        return self

    def _transpose(self) -> "BlockPlusLowRank":
        return self

    def _sum(self, other: BlockOperator) -> "BlockPlusLowRank | None":
        """Add a matrix whose sum with the base has a structure that a base can have."""
        parts = self._factor, self._core
        if isinstance(other, BlockPlusLowRank):
            parts, other = side_by_side(parts, (other._factor, other._core)), other._base
        base: Any = sum_of(self._base, other)
        if base is None or base.dtype.kind == "c" or not base.is_hermitian:
            return None
        return BlockPlusLowRank(base, *parts)

    def toarray(self) -> Array:
        """Make the dense matrix.

        Returns
        -------
        ndarray, shape (n, n)
            Every entry, in the dtype of the matrix.

        Examples
        --------
        >>> import blockmat as bm
        >>> base = bm.BlockConstantMatrix.identity([0, 0])
        >>> bm.BlockPlusLowRank(base, [[1.0], [0.0]], [[2.0]]).toarray()
        array([[3., 0.],
               [0., 1.]])
        """
        dense = self._base.toarray()
        dense += (self._factor @ self._core) @ self._factor.T
        return dense

    def _entries(self, i: Array, j: Array) -> Array:
        left, right = self._factor[i] @ self._core, self._factor[j]
        found: Array = entries(self._base, i, j) + np.einsum("...r,...r->...", left, right)
        return found

    def _part(self, part: Subset) -> "BlockPlusLowRank":
        return BlockPlusLowRank(self._base._part(part), self._factor[part.variables], self._core)

    def _conditioned(
        self, observed: Subset, rest: Subset, deviations: Array
    ) -> tuple[Array, "BlockPlusLowRank"]:
        given, factor, core = with_raised_base(LowRankSum(self._base, *self._in_double))
        V = factor[observed.variables]
        shift, base = given._conditioned(observed, rest, np.column_stack([V, deviations]))
        explained, shift = np.split(shift, [len(core)], axis=1)
        left = factor[rest.variables] - explained
        solved = given._part(observed).solve(V)
        core = conditional_core(core, inner_core(core, hermitian_part(V.T @ solved)))
        shift = shift + left @ (core @ (solved.T @ deviations))
        return shift, BlockPlusLowRank(base, left, core)

    def diagonal(self) -> Array:
        """Return the diagonal.

        Returns
        -------
        ndarray, shape (n,)
            The diagonal entries. For a covariance matrix they are the variances.

        Examples
        --------
        >>> import blockmat as bm
        >>> base = bm.BlockConstantMatrix.identity([0, 0])
        >>> bm.BlockPlusLowRank(base, [[1.0], [2.0]]).diagonal()
        array([2., 5.])
        """
        every = np.arange(self.shape[0])
        return self._entries(every, every)

    @cached_property
    def _solver(self) -> LowRankSolver:
        return solver_for(self._base, *self._in_double, float(np.finfo(self.dtype).eps))

    @property
    def _in_double(self) -> tuple[Array, Array]:
        """The factor and the core in double precision."""
        return self._factor.astype(np.float64), self._core.astype(np.float64)

    def inv(self) -> "BlockPlusLowRank":
        """Invert.

        Returns
        -------
        BlockPlusLowRank
            The inverse.

        Raises
        ------
        SingularMatrixError
            If the matrix is singular to working precision, or the base is and has to be inverted.

        Examples
        --------
        >>> import blockmat as bm
        >>> base = bm.BlockConstantMatrix.identity([0, 0])
        >>> bm.BlockPlusLowRank(base, [[1.0], [0.0]]).inv().toarray()
        array([[0.5, 0. ],
               [0. , 1. ]])
        """
        base, factor, core = self._solver.inverse()
        parts: Any = (part.astype(self.dtype) for part in (base, factor, core))
        return BlockPlusLowRank(*parts)

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
            As for `inv`.

        Notes
        -----
        Iterative refinement goes on as long as it halves the residual (:ref:`theory-scaled`).

        Examples
        --------
        >>> import blockmat as bm
        >>> base = bm.BlockConstantMatrix.identity([0, 0])
        >>> bm.BlockPlusLowRank(base, [[1.0], [0.0]]).solve([2.0, 1.0])
        array([1., 1.])
        """
        b = self._as_operand(b, "b")
        return refined(self._solver.solve, self._times, b, np.result_type(self.dtype, b.dtype))

    def slogdet(self) -> tuple[Any, Any]:
        """Return the sign and the logarithm of the absolute determinant.

        Returns
        -------
        sign : scalar
            1, 0 or -1.
        logabsdet : scalar
            The natural logarithm; minus infinity for a singular matrix.

        Raises
        ------
        SingularMatrixError
            If the base is singular to working precision and has to be inverted.

        Examples
        --------
        >>> import blockmat as bm
        >>> base = bm.BlockConstantMatrix.identity([0, 0])
        >>> bm.BlockPlusLowRank(base, [[1.0], [0.0]], [[-1.0]]).slogdet()
        (np.float64(0.0), np.float64(-inf))
        """
        sign, logdet = self._solver.slogdet()
        return self.dtype.type(sign), self.dtype.type(logdet)

    def eigvalsh(self) -> tuple[Array, Array]:
        r"""Return the eigenvalues, if the base is a BlockConstantMatrix.

        Returns
        -------
        values : ndarray, shape (q,)
            The eigenvalues, ascending.
        multiplicities : ndarray of int, shape (q,)
            How often each occurs. Their sum is n.

        Raises
        ------
        TypeError
            If the base is of another class. Then the eigenvalues have no closed form.

        Notes
        -----
        They are those of a dense matrix of at most :math:`k + m r` rows and the within values of the
        base, of which m are different (:ref:`theory-scaled`).

        Examples
        --------
        >>> import blockmat as bm
        >>> base = bm.BlockConstantMatrix([0, 0, 0, 0], [[4.0]], [1.0])
        >>> bm.BlockPlusLowRank(base, [[1.0], [-1.0], [0.0], [0.0]]).eigvalsh()
        (array([1., 3., 4.]), array([2, 1, 1]))
        """
        if not isinstance(self._base, BlockConstantMatrix):
            raise TypeError(
                f"eigvalsh needs a BlockConstantMatrix as base, and the base is a "
                f"{type(self._base).__name__}; use scipy.sparse.linalg.eigsh"
            )
        values, multiplicities = eigenvalues(reduced(self._base, *self._in_double))
        return values.astype(self.dtype), multiplicities

    def is_positive_definite(self) -> bool:
        """Tell whether all eigenvalues are positive.

        Returns
        -------
        bool
            True if they are positive to rounding, also for a base that is not positive definite.

        Examples
        --------
        >>> import blockmat as bm
        >>> base = bm.BlockConstantMatrix.identity([0, 0])
        >>> bm.BlockPlusLowRank(base, [[1.0], [0.0]], [[-2.0]]).is_positive_definite()
        False
        """
        base, (factor, core) = self._base, self._in_double
        if base.is_positive_definite():
            return self._solver.is_positive_definite()
        if isinstance(base, BlockFactorMatrix):
            noise, columns, covariance = separated(base)
            return BlockPlusLowRank(
                noise, *side_by_side((columns, covariance), (factor, core))
            ).is_positive_definite()
        if isinstance(base, ScaledBlockMatrix):
            base, factor = base.matrix, (factor.T / base.scale).T
        small = reduced(base, factor, core)
        return bool((small.rest > 0).all()) and rank.is_positive_definite(
            dense_core(small.matrix, "low-rank")
        )

    def _whitened(self, x: Array) -> Array:
        return self._in_common_precision(self._solver.whitened(x), x)

    def _whitened_adjoint(self, x: Array) -> Array:
        return self._in_common_precision(self._solver.whitened_adjoint(x), x)

    def _colorized(self, x: Array) -> Array:
        return self._in_common_precision(self._solver.colorized(x), x)

    def _in_common_precision(self, columns: Array, x: Array) -> Array:
        return columns.astype(np.result_type(self.dtype, x.dtype), copy=False)

    def _archive(self) -> Archive:
        base = archive_of(self._base)
        arrays = {**base.arrays, "factor": self._factor, "core": self._core}
        return Archive(f"low rank + {base.kind}", base.partitions, arrays)

    def __repr__(self) -> str:
        n, rank = self._factor.shape
        k = self._base.partition.n_blocks
        return f"<{n}x{n} BlockPlusLowRank of {k} blocks and rank {rank}, dtype={self.dtype}>"

    def _picture(self) -> tuple[Array, ...]:
        base, factor = self._base, self._factor
        if isinstance(base, ScaledBlockMatrix):
            factor = (factor.T / base.scale).T  # in the unit of the numbers of its blocks
        return with_low_rank(picture_of(base)[0], base.partition, factor, self._core)

    def __reduce__(self) -> tuple[Any, ...]:
        return BlockPlusLowRank, (self._base, self._factor, self._core)

    def __getstate__(self) -> None:
        return None


def side_by_side(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
    """Return the factor and the core of a sum of two matrices of low rank."""
    return np.hstack([first[0], second[0]]), block_diag(first[1], second[1])


def low_rank_from_archive(archive: Archive, base: Base) -> BlockPlusLowRank:
    """Make a matrix from its base and the file content that `BlockPlusLowRank.save` wrote."""
    return BlockPlusLowRank(base, archive.arrays["factor"], archive.arrays["core"])
