"""The door for matrices: whatever a caller passes becomes one kind of source."""

from typing import Any

from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator

from blockmat.blocks.checks import as_raw_array
from blockmat.exceptions import DtypeError
from blockmat.sources.dense import DenseMatrix
from blockmat.sources.operator import Operator
from blockmat.sources.source import LocalSource
from blockmat.sources.sparse import SparseMatrix
from blockmat.sources.stored import StoredMatrix


def as_source(source: Any) -> LocalSource:
    """Recognise an array, a sparse matrix or a LinearOperator; anything else becomes an array.

    Raises
    ------
    DtypeError
        If it is not numeric, of more than double precision, or has a mask.
    ShapeError
        If it is an array that is not 2-d.
    """
    if isinstance(source, LinearOperator):
        return Operator(source)
    if issparse(source):
        return SparseMatrix(source)
    return DenseMatrix(as_raw_array(source, "source", (2,)))


def as_stored_matrix(source: Any) -> StoredMatrix:
    """Recognise a matrix of which every entry is known: an array or a sparse matrix.

    Raises
    ------
    DtypeError
        If it is a LinearOperator.
    """
    matrix = as_source(source)
    if not isinstance(matrix, StoredMatrix):
        raise DtypeError("source is a LinearOperator; expected an array or a sparse matrix")
    return matrix


def as_real_matrix(source: Any) -> StoredMatrix:
    """Recognise an array or a sparse matrix of real numbers.

    Raises
    ------
    DtypeError
        If it is a LinearOperator, or complex.
    """
    matrix = as_stored_matrix(source)
    if matrix.dtype.kind == "c":
        raise DtypeError(f"source has dtype {matrix.dtype}; expected real numbers")
    return matrix
