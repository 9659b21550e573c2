"""BlockPlusLowRank: a symmetric block-constant matrix, scaled or not, plus one of low rank."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import qr

from blockmat.blocks.checks import Array, as_numeric, frozen, require_finite
from blockmat.cores import factors
from blockmat.cores.core import EPS, Core, hermitian_part
from blockmat.exceptions import (
    DtypeError,
    IndefiniteMatrixError,
    NotHermitianError,
    ShapeError,
    SingularMatrixError,
)
from blockmat.matrices.block_constant import BlockConstantMatrix
from blockmat.matrices.html import matrix_to_html
from blockmat.matrices.operator import elementwise
from blockmat.matrices.scaled import ScaledBlockMatrix
from blockmat.matrices.whitening import (
    WhiteningOperator,
    colorized,
    whitened,
    whitened_adjoint,
)

__all__ = ["BlockPlusLowRank"]


_REFINEMENTS = 4  # steps of iterative refinement, of which most matrices need none or one


class BlockPlusLowRank(WhiteningOperator):
    r"""A real symmetric block-constant matrix, scaled or not, plus one of low rank.

    The covariance matrix of T samples shrunk toward a block-constant one has this form,
    with rank T. It is immutable, and a `scipy.sparse.linalg.LinearOperator`.

    Parameters
    ----------
    base : BlockConstantMatrix or ScaledBlockMatrix, shape (n, n)
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
        The common dtype of the three.

    Raises
    ------
    TypeError
        If `base` is of another class.
    ShapeError
        If the shapes do not fit.
    DtypeError
        If one of the three is not real.
    NotHermitianError
        If `base` or `core` is not symmetric.
    NonFiniteError
        If `factor` or `core` contains NaN or infinity.

    See Also
    --------
    blockmat.covariance.BlockCovariance : estimates one from samples.

    Notes
    -----
    For a positive definite B that is whitened by W, and :math:`W V = Q R`,

    .. math:: W A W^T = I + Q (R C R^T) Q^T

    differs from the identity in r orthonormal directions, whose eigenvalues give inverse, solution,
    determinant and whitening, however large the low-rank part is. For another B Woodbury's
    identity [1]_ is used, which loses digits where the low-rank part is large beside B. Everything
    costs O(n r\ :sup:`2` + k\ :sup:`3`) once, and then O(n r) per vector.

    See :ref:`theory-scaled`.

    References
    ----------
    .. [1] W. W. Hager, "Updating the Inverse of a Matrix", SIAM Review 31, 1989.

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

    def __init__(
        self, base: BlockConstantMatrix | ScaledBlockMatrix, factor: Any, core: Any = None
    ) -> None:
        if not isinstance(base, BlockConstantMatrix | ScaledBlockMatrix):
            raise TypeError(
                f"base is a {type(base).__name__}; expected a BlockConstantMatrix or a "
                f"ScaledBlockMatrix"
            )
        factor = as_numeric(factor, "factor", (2,))
        n, rank = base.shape[0], factor.shape[1]
        if len(factor) != n or not rank:
            raise ShapeError(f"factor has shape {factor.shape}; expected ({n}, r) with r >= 1")
        core = as_numeric(np.eye(rank, dtype=factor.dtype) if core is None else core, "core", (2,))
        if core.shape != (rank, rank):
            raise ShapeError(f"core has shape {core.shape}; expected {(rank, rank)}")
        for name, part in (("base", base), ("factor", factor), ("core", core)):
            if part.dtype.kind == "c":
                raise DtypeError(f"{name} has dtype {part.dtype}; expected real numbers")
        require_finite(factor, "factor")
        require_finite(core, "core")
        if not base.is_hermitian:
            raise NotHermitianError("base is not symmetric; expected a symmetric matrix")
        if not _as_core(core).is_hermitian:
            raise NotHermitianError("core is not symmetric; expected a symmetric matrix")
        dtype = np.result_type(base.dtype, factor, core)
        super().__init__(dtype, base.shape)
        self._base: BlockConstantMatrix | ScaledBlockMatrix = base.astype(dtype)
        self._factor = frozen(np.array(factor, dtype=dtype))
        self._core = frozen(np.array(core, dtype=dtype))

    @property
    def base(self) -> BlockConstantMatrix | ScaledBlockMatrix:
        """The matrix B."""
        return self._base

    @property
    def factor(self) -> Array:
        """The factor V, (n, r), read-only."""
        return self._factor

    @property
    def core(self) -> Array:
        """The core C, (r, r), read-only."""
        return self._core

    @property
    def nbytes(self) -> int:
        """The bytes it stores."""
        return self._base.nbytes + self._factor.nbytes + self._core.nbytes

    @property
    def is_hermitian(self) -> bool:
        """Always true."""
        return True

    def _apply(self, x: Array, out: Array | None = None) -> Array:
        product = self._times(x)
        if out is None:
            return product
        out[...] = product
        return out

    def _elementwise(self, f: Callable[[Array], Array], dtype: Any) -> "BlockPlusLowRank":
        base: Any = elementwise(self._base, f, dtype)
        return BlockPlusLowRank(base, self._factor.astype(dtype), f(self._core).astype(dtype))

    def _adjoint(self) -> "BlockPlusLowRank":
        return self

    def _transpose(self) -> "BlockPlusLowRank":
        return self

    def toarray(self) -> Array:
        """Make the dense matrix.

        Returns
        -------
        ndarray, shape (n, n)
            Every entry, in this matrix's dtype.

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

    def diagonal(self) -> Array:
        """Return the diagonal.

        Returns
        -------
        ndarray, shape (n,)
            The diagonal entries: for a covariance, the variances.

        Examples
        --------
        >>> import blockmat as bm
        >>> base = bm.BlockConstantMatrix.identity([0, 0])
        >>> bm.BlockPlusLowRank(base, [[1.0], [2.0]]).diagonal()
        array([2., 5.])
        """
        low_rank: Array = ((self._factor @ self._core) * self._factor).sum(axis=1)
        return self._base.diagonal() + low_rank

    @cached_property
    def _directions(self) -> "_Directions | None":
        """Where the whitened matrix differs from the identity; None if the base is not definite.

        With ``W B W^T = I`` and ``W V = Q R``, ``W A W^T = I + Q (R C R^T) Q^T``.
        """
        if not self._base.is_positive_definite():
            return None
        columns = whitened(self._base, self._factor.astype(np.float64))
        basis, triangle = qr(columns, mode="economic")
        values, vectors = np.linalg.eigh(hermitian_part(triangle @ self._core @ triangle.T))
        return _Directions(
            basis @ vectors, 1 + values, len(values) * float(np.finfo(self.dtype).eps)
        )

    @cached_property
    def _dense(self) -> "_Directions | None":
        """Eigenvalues and eigenvectors, where the factor has no fewer columns than rows; else None.

        They are used where the base is not definite: nothing of it may be left in the sum.
        """
        if self._factor.shape[1] < self.shape[0]:
            return None
        values, vectors = np.linalg.eigh(hermitian_part(self.astype(np.float64).toarray()))
        return _Directions(vectors, values, 0.0)

    @cached_property
    def _solved_factor(self) -> Array:
        """``H = B^-1 V``, (n, r), in double precision."""
        return self._base.solve(self._factor.astype(np.float64))

    @cached_property
    def _inner(self) -> Core:
        """``I + G C``, whose inverse and determinant are needed where the base is not definite."""
        gram = hermitian_part(self._factor.T.astype(np.float64) @ self._solved_factor)
        return _as_core(np.eye(len(gram)) + gram @ self._core)

    @cached_property
    def _inverse_core(self) -> Array:
        """``-C (I + G C)^-1``, symmetric."""
        return hermitian_part(-self._core.astype(np.float64) @ factors.inv(self._inner))

    def inv(self) -> "BlockPlusLowRank":
        """Invert.

        Returns
        -------
        BlockPlusLowRank
            The inverse.

        Raises
        ------
        SingularMatrixError
            If the base or the matrix is singular to working precision.

        Examples
        --------
        >>> import blockmat as bm
        >>> base = bm.BlockConstantMatrix.identity([0, 0])
        >>> bm.BlockPlusLowRank(base, [[1.0], [0.0]]).inv().toarray()
        array([[0.5, 0. ],
               [0. , 1. ]])
        """
        base: Any = self._base
        if self._directions is not None:
            d = self._directions.invertible()
            # with a direction for each variable nothing is left of the base, which may be large
            unit = float(1 / np.abs(d.values).max()) if len(d.values) == self.shape[0] else 1.0
            base = base.inv() * unit
            factor, core = whitened_adjoint(self._base, d.vectors), np.diag(1 / d.values - unit)
        elif self._dense is not None:
            d = self._dense.invertible()
            base, factor, core = base * 0.0, d.vectors, np.diag(1 / d.values)
        else:
            base, factor, core = base.inv(), self._solved_factor, self._inverse_core
        return BlockPlusLowRank(base, factor.astype(self.dtype), core.astype(self.dtype))

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
            If the base or the matrix is singular to working precision.

        Examples
        --------
        >>> import blockmat as bm
        >>> base = bm.BlockConstantMatrix.identity([0, 0])
        >>> bm.BlockPlusLowRank(base, [[1.0], [0.0]]).solve([2.0, 1.0])
        array([1., 1.])
        """
        b = self._as_operand(b, "b")
        dtype = np.result_type(self.dtype, b.dtype)
        x, before = self._solved(b), np.inf
        for _ in range(_REFINEMENTS):
            rest = b - self._times(x)
            size = np.linalg.norm(rest, axis=0)
            is_small = size <= 2 * np.finfo(dtype).eps * np.linalg.norm(b, axis=0)
            if (is_small | (size > before / 2)).all():
                break
            x += self._solved(rest)
            before = size
        return x.astype(dtype, copy=False)

    def _solved(self, b: Array) -> Array:
        b = b.astype(np.float64, copy=False)
        if self._directions is None and self._dense is not None:
            d = self._dense.invertible()
            inverse: Array = d.vectors @ ((d.vectors.T @ b).T / d.values).T
            return inverse
        if self._directions is None:
            H = self._solved_factor
            solution: Array = self._base.solve(b) + H @ (self._inverse_core @ (H.T @ b))
            return solution
        columns = whitened(self._base, b)
        return whitened_adjoint(self._base, self._directions.invertible().power(columns, -1))

    def _times(self, x: Array) -> Array:
        factor, core = self._factor, self._core
        product: Array = self._base.dot(x) + factor @ (core @ (factor.T @ x))
        return product

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
            If the base is singular to working precision.

        Examples
        --------
        >>> import blockmat as bm
        >>> base = bm.BlockConstantMatrix.identity([0, 0])
        >>> bm.BlockPlusLowRank(base, [[1.0], [0.0]], [[-1.0]]).slogdet()
        (np.float64(0.0), np.float64(-inf))
        """
        if self._directions is None and self._dense is not None:
            sign, logdet = self._dense.slogdet()
            return self.dtype.type(sign), self.dtype.type(logdet)
        sign, logdet = self._base.slogdet()
        if self._directions is None:
            inner_sign, inner_logdet = factors.slogdet(self._inner)
        else:
            inner_sign, inner_logdet = self._directions.slogdet()
        return self.dtype.type(sign * inner_sign), self.dtype.type(logdet + inner_logdet)

    def _definite(self) -> "_Directions":
        """Return the directions of a positive definite matrix."""
        if self._directions is None:
            raise IndefiniteMatrixError(
                "the base is not positive definite; expected a covariance matrix of full rank"
            )
        if self._directions.values.min() <= self._directions.rounding:
            raise IndefiniteMatrixError(
                "the matrix is not positive definite; its low-rank part takes away more than "
                "the base has"
            )
        return self._directions

    def _whitened(self, x: Array) -> Array:
        columns = self._definite().power(whitened(self._base, x), -0.5)
        return columns.astype(np.result_type(self.dtype, x.dtype), copy=False)

    def _colorized(self, x: Array) -> Array:
        coloured = colorized(self._base, self._definite().power(x, 0.5))
        return coloured.astype(np.result_type(self.dtype, x.dtype), copy=False)

    def __repr__(self) -> str:
        n, rank = self._factor.shape
        k = self._base.partition.n_blocks
        return f"<{n}x{n} BlockPlusLowRank of {k} blocks and rank {rank}, dtype={self.dtype}>"

    def _repr_html_(self) -> str:
        base = self._base.matrix if isinstance(self._base, ScaledBlockMatrix) else self._base
        return matrix_to_html(repr(self), base.values, base.partition.sizes)

    def __reduce__(self) -> tuple[Any, ...]:
        return BlockPlusLowRank, (self._base, self._factor, self._core)

    def __getstate__(self) -> None:
        return None


class _Directions(NamedTuple):
    """A symmetric matrix that is the identity but for orthonormal directions (n, r).

    `values` (r,) are its eigenvalues there, known up to `rounding`.
    """

    vectors: Array
    values: Array
    rounding: float

    def power(self, x: Array, p: float) -> Array:
        """Multiply columns (n, m) by its p-th power.

        The directions are taken out of x twice: what is left of them after the first time is
        the rounding of x, which may be much of the result.
        """
        inside = self.vectors.T @ x
        rest = x - self.vectors @ inside
        again = self.vectors.T @ rest
        rest -= self.vectors @ again
        powered: Array = rest + self.vectors @ ((self.values**p * (inside + again).T).T)
        return powered

    def invertible(self) -> "_Directions":
        """Return itself, or raise if it is singular to working precision."""
        size = np.abs(self.values)
        largest = float(size.max()) if len(size) == len(self.vectors) else 1.0
        if size.min() <= EPS * len(size) * largest:
            raise SingularMatrixError(
                f"the matrix is singular to working precision: its low-rank part takes away what "
                f"the base has (to {self.values[np.abs(self.values).argmin()]:.1e} of it)"
            )
        return self

    def slogdet(self) -> tuple[float, float]:
        """Return the sign and the logarithm of the absolute determinant."""
        if not self.values.all():
            return 0.0, -np.inf
        return float(np.prod(np.sign(self.values))), float(np.log(np.abs(self.values)).sum())


def _as_core(values: Array) -> Core:
    """Return a small dense matrix as LAPACK is given it."""
    r = len(values)
    return Core.of(values, np.ones(r, dtype=np.intp), np.arange(r), "low-rank", np.zeros(r))
