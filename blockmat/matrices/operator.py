"""What block-constant matrices of any shape share: SciPy's LinearOperator protocol.

SciPy's own operators are lazy: ``2 * A`` or ``A - B`` on a LinearOperator makes a
composite that has lost its structure. Here every operator and its reflected form
keeps it, and only a product or sum with a foreign operator is left to SciPy.
"""

import inspect
import numbers
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from blockmat.blocks.checks import Array, as_numeric, is_dask_array, working_dtype
from blockmat.exceptions import (
    DtypeError,
    IndefiniteMatrixError,
    NonFiniteError,
    ShapeError,
    SingularMatrixError,
)
from blockmat.matrices.common import CommonMethods
from blockmat.matrices.dispatch import call
from blockmat.matrices.entries import Entries

__all__ = ["BlockOperator", "SquareBlockOperator"]


class BlockOperator(CommonMethods, Entries):
    """Base of the matrix classes; a subclass supplies the methods that raise here."""

    __signature__: ClassVar[inspect.Signature]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # LinearOperator.__new__(*args, **kwargs) would hide the real one from help().
        parameters = list(inspect.signature(cls.__init__).parameters.values())
        cls.__signature__ = inspect.Signature(parameters[1:])

    def _apply(self, x: Array, out: Array | None = None) -> Array:
        """Multiply with a validated (n,) or (n, m) array, into a validated `out`."""
        raise NotImplementedError

    def _elementwise(self, f: Callable[[Array], Array], dtype: Any) -> Self:
        """Apply a linear function to every stored number."""
        raise NotImplementedError

    def _product(self, other: "BlockOperator") -> "BlockOperator | None":
        """Multiply with another structured matrix; None if no structure is left."""
        raise NotImplementedError

    def _product_from_left(self, other: "BlockOperator") -> "BlockOperator | None":
        """Multiply a square structured matrix with this one; None if no structure is left."""
        return None

    def _sum(self, other: "BlockOperator") -> "BlockOperator | None":
        """Add another structured matrix; None if no structure is left."""
        raise NotImplementedError

    def _chunked_product(self, x: Any) -> Any:
        """Multiply with a Dask array, lazily; None if its chunks have to be gathered."""
        return None

    def toarray(self) -> Array:
        """Make the dense matrix."""
        raise NotImplementedError

    # SciPy's protocol

    def _as_operand(self, given: Any, name: str = "x") -> Array:
        if type(given) is not np.ndarray and issparse(given):
            given = given.toarray()
        x = as_numeric(given, name, (1, 2))
        self._require_rows(x, name)
        return x

    def _require_rows(self, x: Any, name: str) -> None:
        if x.shape[0] != self.shape[1]:
            hint = ""
            if x.shape[1:] == (self.shape[1],):
                hint = f" (rows of {name} go to the right side: {name}.T)"
            raise ShapeError(
                f"{name} has shape {x.shape}; expected ({self.shape[1]},) or "
                f"({self.shape[1]}, m) for a matrix of shape {self.shape}{hint}"
            )

    def _matvec(self, x: Any) -> Array:
        return matvec_of_batch(self._matmat, np.asarray(x), self.shape[1])

    def _matmat(self, X: Any) -> Array:
        return self._apply(self._as_operand(X))

    def _rmatvec(self, x: Any) -> Array:
        result: Array = self.H._matvec(x)
        return result

    def _rmatmat(self, X: Any) -> Array:
        result: Array = self.H._matmat(X)
        return result

    def dot(self, x: Any, out: Array | None = None) -> Any:
        """Multiply by a scalar, a vector, a matrix or a linear operator.

        Parameters
        ----------
        x : scalar, array_like or Dask array of shape (n,) or (n, m), or LinearOperator
            What to multiply by.
        out : ndarray, optional
            Where to write the product with an array: of its shape and dtype; it may be
            `x` itself. Spares the time that the system takes to hand out memory, which
            for large arrays is as much as that of the product.

        Returns
        -------
        BlockConstantMatrix, BlockRectangularMatrix, ndarray or LinearOperator
            A structured matrix for a scalar or a structured matrix whose partition
            fits; an array of the shape of `x` for an array (dense also for a sparse
            one that is not square), lazily for a Dask array if the matrix is block-constant
            and not aligned; otherwise SciPy's lazy product, also for a square sparse matrix.

        Raises
        ------
        ShapeError
            If the shapes do not fit.
        PartitionMismatchError
            If `x` is structured on another partition.
        DtypeError
            If `out` has another dtype than the product.
        TypeError
            If `out` is not an array, or `x` not one.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix([0, 0, 1], [[2, 0], [0, 3]]).dot([1.0, 3.0, 1.0])
        array([4., 4., 3.])
        """
        if out is not None:
            return self._dot_into(x, out)
        if type(x) is np.ndarray and x.ndim:
            return self._apply(self._as_operand(x))
        if _is_scalar(x):
            return self._scaled(x)
        if isinstance(x, BlockOperator) and (product := self._product(x)) is not None:
            return product
        if isinstance(x, LinearOperator):
            return super().dot(x)
        if _is_square_sparse(x):
            return super().dot(aslinearoperator(x))
        if is_dask_array(x) and (product := self._chunked_product(x)) is not None:
            return product
        return self._apply(self._as_operand(x))

    def _dot_into(self, x: Any, out: Any) -> Array:
        if _is_scalar(x) or isinstance(x, LinearOperator):
            raise TypeError(f"out is given and x is {x!r}; expected an array as x")
        if not isinstance(out, np.ndarray):
            raise TypeError(f"out is a {type(out).__name__}; expected an array")
        x = self._as_operand(x)
        shape, dtype = (self.shape[0], *x.shape[1:]), np.result_type(self.dtype, x.dtype)
        if out.shape != shape:
            raise ShapeError(f"out has shape {out.shape}; expected {shape}")
        if out.dtype != dtype:
            raise DtypeError(f"out has dtype {out.dtype}; expected {dtype}")
        if not out.flags.writeable:
            raise ValueError("out is read-only; expected an array that can be written to")
        same = x.ctypes.data == out.ctypes.data and x.strides == out.strides
        if np.may_share_memory(x, out) and not same:  # writing would change what is yet to be read
            out[...] = self._apply(x)
            return out
        return self._apply(x, out)

    def rdot(self, x: Any) -> Any:
        """Multiply from the right: ``x @ A``, or ``x * A`` for a scalar.

        Parameters
        ----------
        x : scalar, array_like of shape (n,) or (m, n), or LinearOperator
            What to multiply.

        Returns
        -------
        BlockConstantMatrix, BlockRectangularMatrix, ndarray or LinearOperator
            As for `dot`.

        Raises
        ------
        ShapeError
            If the shapes do not fit.

        Examples
        --------
        >>> import blockmat as bm
        >>> [1.0, 3.0, 1.0] @ bm.BlockConstantMatrix([0, 0, 1], [[2, 0], [0, 3]])
        array([4., 4., 3.])
        """
        if _is_scalar(x):
            return self._scaled(x)
        if isinstance(x, LinearOperator):
            return LinearOperator.dot(x, self)
        if _is_square_sparse(x):
            return LinearOperator.dot(aslinearoperator(x), self)
        x = as_numeric(x.toarray() if issparse(x) else x, "x", (1, 2))
        if x.shape[-1] != self.shape[0]:
            raise ShapeError(
                f"x has shape {x.shape}; expected ({self.shape[0]},) or (m, {self.shape[0]}) "
                f"for a product with a matrix of shape {self.shape}"
            )
        return self.T._apply(x.T).T

    def conj(self) -> Self:
        """Take the complex conjugate of every entry.

        Returns
        -------
        BlockConstantMatrix or BlockRectangularMatrix
            Of the same dtype.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix([0], [[1j]]).conj().toarray()
        array([[0.-1.j]])
        """
        return self._elementwise(np.conj, self.dtype)

    def astype(self, dtype: Any) -> Self:
        """Convert to another precision, or to complex.

        Parameters
        ----------
        dtype : dtype
            One of float32, float64, complex64 and complex128.

        Returns
        -------
        BlockConstantMatrix or BlockRectangularMatrix
            With its stored numbers converted.

        Raises
        ------
        DtypeError
            If the dtype is another one, or real where the matrix is complex.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix([0], [[2.0]]).astype("float32").dtype
        dtype('float32')
        """
        new = np.dtype(dtype)
        if new.kind not in "fc" or working_dtype(new, "dtype") != new:
            raise DtypeError(f"dtype is {new}; expected float32, float64, complex64 or complex128")
        if self.dtype.kind == "c" and new.kind != "c":
            raise DtypeError(f"dtype is {new}; a {self.dtype} matrix converts only to complex")
        return self._elementwise(lambda stored: stored, new)

    # Operators

    def _scaled(self, scalar: Any) -> Self:
        return self._elementwise(lambda stored: stored * scalar, self._dtype_with(scalar))

    def _dtype_with(self, scalar: Any) -> np.dtype[Any]:
        if not isinstance(scalar, numbers.Complex | np.number | np.bool_ | np.ndarray):
            raise TypeError(f"cannot multiply or divide a matrix by {scalar!r}")
        if not np.isfinite(complex(scalar)):
            raise NonFiniteError(f"the scalar is {scalar!r}; expected a finite number")
        weak: Any = scalar  # NumPy's promotion: Python numbers do not widen float32
        return working_dtype(np.result_type(self.dtype, weak), "the scalar")

    def __mul__(self, other: Any) -> Any:
        return self.dot(other)

    def __rmul__(self, other: Any) -> Any:
        return self.rdot(other)

    def __matmul__(self, other: Any) -> Any:
        if type(other) is np.ndarray and other.ndim:
            return self._apply(self._as_operand(other))
        _refuse_scalar(other)
        return self.dot(other)

    def __rmatmul__(self, other: Any) -> Any:
        _refuse_scalar(other)
        return self.rdot(other)

    def __truediv__(self, other: Any) -> Any:
        if not _is_scalar(other):
            return NotImplemented
        dtype = self._dtype_with(other)
        if other == 0:
            raise ZeroDivisionError("division of a matrix by zero")
        return self._elementwise(lambda stored: stored / other, dtype)

    def __neg__(self) -> Self:
        return self._elementwise(np.negative, self.dtype)

    def __pos__(self) -> Self:
        return self

    def __add__(self, other: Any) -> Any:
        if isinstance(other, BlockOperator) and (total := sum_of(self, other)) is not None:
            return total
        if isinstance(other, LinearOperator):
            return super().__add__(other)
        if _is_scalar(other):
            if other == 0:  # the start of sum()
                return self
            raise TypeError(
                f"cannot add the scalar {other!r} to a matrix; for a multiple of the identity "
                f"use A + c * BlockConstantMatrix.identity(A.partition)"
            )
        if isinstance(other, np.ndarray):
            raise TypeError(
                "cannot add a dense array to a matrix; use A.toarray() + array, or for a multiple of "
                "the identity A + c * BlockConstantMatrix.identity(A.partition)"
            )
        if issparse(other):
            return call("add_sparse", self, other)
        return NotImplemented

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        if _is_scalar(other) or isinstance(other, LinearOperator | np.ndarray):
            return self + (-other)
        if issparse(other):  # the difference of unsigned numbers may be negative
            return self + -other.astype(working_dtype(other.dtype, "the sparse matrix"))
        return NotImplemented

    def __rsub__(self, other: Any) -> Any:
        if _is_scalar(other) or isinstance(other, np.ndarray):
            return -(self + other)  # which is refused, except for 0
        negative = -self
        if issparse(other) and not isinstance(negative, BlockOperator):  # lazy
            other = aslinearoperator(other)
        return negative + other


class SquareBlockOperator(BlockOperator):
    """Base of the square matrix classes; a subclass supplies `slogdet`."""

    def slogdet(self) -> tuple[Any, Any]:
        """Return the sign and the logarithm of the absolute determinant."""
        raise NotImplementedError

    def logdet(self) -> Any:
        """Return the logarithm of the determinant.

        Returns
        -------
        scalar
            The natural logarithm, real.

        Raises
        ------
        SingularMatrixError
            If the determinant is zero.
        IndefiniteMatrixError
            If it is not positive; `slogdet` handles that.

        Examples
        --------
        >>> import blockmat as bm
        >>> bm.BlockConstantMatrix.identity([0, 0, 1]).logdet()
        np.float64(0.0)
        """
        sign, logdet = self.slogdet()
        if sign == 0:
            raise SingularMatrixError("logdet needs an invertible matrix; the determinant is zero")
        if abs(sign - 1) > 1e-3:
            raise IndefiniteMatrixError(
                f"logdet needs a positive determinant, and its sign is {sign:.3g}; use slogdet"
            )
        return logdet


def matvec_of_batch(matmat: Callable[[Array], Array], x: Array, n: int) -> Array:
    """Apply an operator with n columns to what SciPy hands to ``_matvec``.

    That is (n,) or, up to SciPy 1.17, (n, 1); from 1.18 also (..., n), a batch of
    vectors.
    """
    if x.ndim > 1 and x.shape != (n, 1):
        columns = matmat(x.reshape(-1, n).T)
        return columns.T.reshape(*x.shape[:-1], -1)
    return matmat(x)


def _is_scalar(x: Any) -> bool:
    return bool(np.isscalar(x)) or (isinstance(x, np.ndarray) and x.ndim == 0)


def _is_square_sparse(x: Any) -> bool:
    """Whether x is a sparse matrix that is an operator, and not some vectors in columns or rows."""
    return bool(issparse(x)) and len(x.shape) == 2 and x.shape[0] == x.shape[1]


def _refuse_scalar(other: Any) -> None:
    if _is_scalar(other):
        raise ValueError("@ does not take a scalar; use * instead")


def written_to(out: Array | None, result: Array) -> Array:
    """Write a result to `out` if it is given, and return it."""
    if out is None:
        return result
    out[...] = result
    return out


def elementwise(A: BlockOperator, f: Callable[[Array], Array], dtype: Any) -> Any:
    """Apply a function that keeps zero to the numbers that a matrix stores."""
    return A._elementwise(f, dtype)


def lazy_multiple(A: BlockOperator, f: Callable[[Array], Array], dtype: Any) -> LinearOperator:
    """Return a multiple of a matrix that is not of its type, as SciPy's operator.

    The linear function f multiplies by a scalar.
    """
    scalar = f(np.ones(1, dtype))[0]
    return LinearOperator.dot(A, np.dtype(dtype).type(scalar))


def sum_of(A: BlockOperator, B: BlockOperator) -> BlockOperator | None:
    """Add two structured matrices; None if no structure is left."""
    total = A._sum(B)
    return B._sum(A) if total is None else total


def product_from_left(A: BlockOperator, other: BlockOperator) -> BlockOperator | None:
    """Return ``other @ A`` if A knows how to compute it."""
    return A._product_from_left(other)
