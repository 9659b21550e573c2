"""Conversion of matrices to sources."""

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
    """Convert a matrix to a source: a LinearOperator, a sparse matrix, or anything else as an array.

    Raises
    ------
    DtypeError
        If it is not numeric, of more than double precision, masked, or a graph.
    ShapeError
        If it is an array that is not 2-d.
    """
    if isinstance(source, LinearOperator):
        return Operator(source)
    if issparse(source):
        return SparseMatrix(source)
    if hasattr(source, "nodes") and hasattr(source, "edges"):
        raise DtypeError(
            f"source is a {type(source).__name__}; expected its adjacency matrix, such as "
            f"networkx.to_numpy_array(source)"
        )
    return DenseMatrix(as_raw_array(source, "source", (2,)))


def as_stored_matrix(source: Any) -> StoredMatrix:
    """Convert an array or a sparse matrix to a source.

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
    """Convert an array or a sparse matrix of real numbers to a source.

    Raises
    ------
    DtypeError
        If it is a LinearOperator, or complex.
    """
    matrix = as_stored_matrix(source)
    if matrix.dtype.kind == "c":
        raise DtypeError(f"source has dtype {matrix.dtype}; expected real numbers")
    return matrix
