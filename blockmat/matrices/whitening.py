"""What square matrices near a block-constant one share: whitening, colouring, scipy.stats."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from blockmat.blocks.checks import Array, as_raw_array, real_dtype, working_dtype
from blockmat.exceptions import DtypeError, ShapeError
from blockmat.matrices.checks import require_real_dtype
from blockmat.matrices.dispatch import call
from blockmat.matrices.operator import BlockOperator, SquareBlockOperator

if TYPE_CHECKING:
    from scipy.stats import Covariance


__all__ = ["WhiteningOperator"]


class WhiteningOperator(SquareBlockOperator):
    """Base of them; a subclass supplies `diagonal`, `_whitened` and `_colorized`."""

    def diagonal(self) -> Array:
        """Return the diagonal."""
        raise NotImplementedError

    def _whitened(self, x: Array) -> Array:
        """Whiten columns (n, m)."""
        raise NotImplementedError

    def _whitened_adjoint(self, x: Array) -> Array:
        """Multiply columns (n, m) by the transpose of what whitens."""
        raise NotImplementedError

    def _colorized(self, x: Array) -> Array:
        """Colour columns (n, m)."""
        raise NotImplementedError

    def _product(self, other: BlockOperator) -> BlockOperator | None:
        return None

    def _sum(self, other: BlockOperator) -> BlockOperator | None:
        return None

    def trace(self) -> Any:
        """Return the sum of the diagonal.

        Returns
        -------
        scalar
            The trace.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.ScaledBlockMatrix(bm.BlockConstantMatrix.identity([0, 0]), [1, 2]).trace()
        np.float64(5.0)
        """
        return self.diagonal().sum()

    def norm(self, ord: Any = None) -> Any:
        """Return the Frobenius norm.

        Parameters
        ----------
        ord : {None, 'fro'}, default None
            Which norm, as in `numpy.linalg.norm`; None is 'fro'.

        Returns
        -------
        scalar
            The root of the sum of the squared magnitudes of all entries, real.

        Raises
        ------
        ValueError
            If `ord` is another norm.

        Examples
        --------
        >>> import blockmat as bm
        >>> A = bm.ScaledBlockMatrix(bm.BlockConstantMatrix.identity([0, 0]), [3.0**0.5, 2.0])
        >>> round(float(A.norm()), 12)
        5.0
        """
        if ord not in (None, "fro"):
            raise ValueError(f"ord is {ord!r}; expected None or 'fro'")
        return real_dtype(self.dtype).type(self._frobenius_norm())

    def _frobenius_norm(self) -> float:
        return float(call("frobenius_norm", self))

    def add_low_rank(self, factor: Any, core: Any = None) -> "BlockOperator":
        """Add a symmetric matrix of low rank to a real symmetric one.

        Parameters
        ----------
        factor : array_like, shape (n, r)
            V, with r at least 1.
        core : array_like, shape (r, r), optional
            C in ``A + V C V^T``, symmetric; by default the identity.

        Returns
        -------
        BlockPlusLowRank
            The sum. If this matrix is one, the columns of both factors are side by side.

        Raises
        ------
        ShapeError
            If the shapes do not fit.
        DtypeError
            If this matrix or an argument is not real.
        NotHermitianError
            If this matrix or `core` is not symmetric.
        NonFiniteError
            If `factor` or `core` contains NaN or infinity.

        Examples
        --------
        >>> import blockmat as bm
        >>> A = bm.BlockConstantMatrix.identity([0, 0, 1])
        >>> A.add_low_rank([[1.0], [2.0], [0.0]])
        <3x3 BlockPlusLowRank of 2 blocks and rank 1, dtype=float64>
        """
        total: BlockOperator = call("add_low_rank", self, factor, core)
        return total

    def whiten(self, x: Any) -> Array:
        r"""Turn vectors with this covariance into vectors with the identity as covariance.

        Parameters
        ----------
        x : array_like, shape (..., n)
            The vectors, as for `scipy.stats.Covariance.whiten`.

        Returns
        -------
        ndarray, shape (..., n)
            :math:`W x` with :math:`W A W^T = I`, so its squared length is
            :math:`x^T A^{-1} x`.

        Raises
        ------
        ShapeError
            If the last axis of `x` is not of length n.
        DtypeError
            If the matrix or `x` is not real.
        NotHermitianError, IndefiniteMatrixError
            If the matrix is not symmetric and positive definite.

        Examples
        --------
        >>> import blockmat as bm
        >>> A = bm.ScaledBlockMatrix(bm.BlockConstantMatrix.identity([0, 0]), [1.0, 2.0])
        >>> A.whiten([3.0, 4.0])
        array([3., 2.])
        """
        return self._on_last_axis(self._whitened, x, "x")

    def colorize(self, z: Any) -> Array:
        r"""Turn vectors with the identity as covariance into vectors with this covariance.

        Parameters
        ----------
        z : array_like, shape (..., n)
            The vectors, as for `scipy.stats.Covariance.colorize`.

        Returns
        -------
        ndarray, shape (..., n)
            :math:`C z` with :math:`C C^T = A`: the inverse of `whiten`.

        Raises
        ------
        ShapeError
            If the last axis of `z` is not of length n.
        DtypeError
            If the matrix or `z` is not real.
        NotHermitianError, IndefiniteMatrixError
            If the matrix is not symmetric and positive definite.

        Examples
        --------
        >>> import blockmat as bm
        >>> A = bm.ScaledBlockMatrix(bm.BlockConstantMatrix.identity([0, 0]), [1.0, 2.0])
        >>> A.colorize([3.0, 2.0])
        array([3., 4.])
        """
        return self._on_last_axis(self._colorized, z, "z")

    def _on_last_axis(self, function: Callable[[Array], Array], x: Any, name: str) -> Array:
        self._require_real()
        given = as_raw_array(x, name, tuple(range(1, 33)))
        if given.shape[-1] != self.shape[0]:
            is_transposed = given.ndim == 2 and len(given) == self.shape[0]
            hint = f" (one vector per row: {name}.T)" if is_transposed else ""
            raise ShapeError(
                f"{name} has shape {given.shape}; expected (..., {self.shape[0]}){hint}"
            )
        dtype = working_dtype(given.dtype, name)
        require_real_dtype(dtype, name)
        columns = given.reshape(-1, given.shape[-1]).T.astype(dtype, copy=False)
        return function(columns).T.reshape(given.shape)

    def _require_real(self) -> None:
        if self.dtype.kind == "c":
            raise DtypeError(f"a covariance must be real, and the matrix has dtype {self.dtype}")

    def as_covariance(self) -> "Covariance":
        """View a real positive definite matrix as a covariance for scipy.stats.

        Returns
        -------
        scipy.stats.Covariance
            For `scipy.stats.multivariate_normal`: logpdf, rvs and entropy without any
            n x n array.

        Raises
        ------
        DtypeError
            If the matrix is complex.
        NotHermitianError, IndefiniteMatrixError
            If it is not symmetric and positive definite.

        Examples
        --------
        >>> from scipy.stats import multivariate_normal
        >>> import blockmat as bm
        >>> A = bm.ScaledBlockMatrix(bm.BlockConstantMatrix.identity([0, 0, 1]), [1, 1, 2])
        >>> round(float(multivariate_normal.logpdf([0, 0, 0], cov=A.as_covariance())), 4)
        -3.45
        """
        from blockmat.matrices.scipy_covariance import WhiteningCovariance

        self._require_real()
        return WhiteningCovariance(self)


def whitened(A: WhiteningOperator, x: Array) -> Array:
    """Whiten columns (n, m): multiply them by W, where ``W A W^T = I``."""
    return A._whitened(x)


def whitened_adjoint(A: WhiteningOperator, x: Array) -> Array:
    """Multiply columns (n, m) by ``W^T``."""
    return A._whitened_adjoint(x)


def colorized(A: WhiteningOperator, x: Array) -> Array:
    """Colour columns (n, m): the inverse of `whitened`."""
    return A._colorized(x)
