"""What finding blocks needs to know of n variables: sums over blocks, and points to start from."""

import math
from copy import copy
from typing import Any, Protocol

import numpy as np
from scipy.linalg.lapack import dpstrf
from scipy.sparse import diags_array, issparse
from scipy.sparse.linalg import LinearOperator

from blockmat._sums import as_real_samples, as_source
from blockmat._validation import Array, check_finite, check_square, working_dtype
from blockmat.exceptions import DtypeError, NotHermitianError
from blockmat.functions import is_close_to_adjoint
from blockmat.partition import Partition

_EXACT_UP_TO = 500  # variables whose rows are compared entry by entry
_SKETCH = 64  # numbers that stand for a longer row
_AT_A_TIME = 2**20  # numbers that are squared


def row_sums(matrix: Any, cols: Partition) -> Array:
    """Return the sum of each row of a dense or sparse matrix over each block of columns."""
    if issparse(matrix):
        return np.asarray((matrix @ cols.indicator()).todense(), dtype=np.float64)
    return cols.block_sums(matrix, axis=1).astype(np.float64)


def row_points(matrix: Any, rank: int, rng: np.random.Generator) -> Array:
    """Return the rows of a matrix, or what random projections leave of the distances of long ones."""
    n_cols = matrix.shape[1]
    if n_cols > _EXACT_UP_TO:
        points = matrix @ rng.standard_normal((n_cols, max(rank, _SKETCH)))
    else:
        points = matrix.toarray() if issparse(matrix) else matrix
    return np.asarray(points, dtype=np.float64)


def sum_of_squares(x: Array) -> float:
    """Return the sum of the squares of all entries, pairwise: a norm's rounding grows with n."""
    n_parts = max(1, min(len(x), x.size // _AT_A_TIME))
    parts = (np.square(part, dtype=np.float64).sum() for part in np.array_split(x, n_parts))
    return math.fsum(parts)


def require_varying(X: Array, scale: Array, otherwise: str = "") -> None:
    """Refuse samples of which a column, with this standard deviation, is constant but for rounding."""
    rounding = len(X) * np.finfo(X.dtype).eps * np.abs(X).max(axis=0, initial=0.0)
    constant = np.flatnonzero(scale <= rounding)
    if len(constant):
        raise ValueError(
            f"column {constant[0]} of X is constant; expected variables that vary{otherwise}"
        )


def same_products(Z: Array) -> Array:
    """Return at most n rows with the same products ``Z^T Z`` of n columns as the rows of Z.

    They are Z itself or, of more rows, the pivoted Cholesky factor of the products, which stops
    where only rounding is left: other rows are zero. Columns have a unit of their own, so that each entry of the
    products is as accurate as its own row and column.
    """
    n_rows, n = Z.shape
    if n_rows <= n:
        return Z
    units = np.maximum(Z.max(axis=0), -Z.min(axis=0)).astype(np.float64)
    units[units == 0] = 1
    gram, height = np.zeros((n, n)), max(1, _AT_A_TIME // n)
    for first in range(0, n_rows, height):
        rows = Z[first : first + height] / units
        gram += rows.T @ rows
    lengths = np.sqrt(np.diag(gram))
    lengths[lengths == 0] = 1
    factor, order, rank, _ = dpstrf(gram / np.outer(lengths, lengths))
    rows = np.zeros((n, n))
    rows[:rank, order - 1] = np.triu(factor)[:rank]
    rows *= units * lengths
    return rows.astype(Z.dtype, copy=False)


class Similarity(Protocol):
    """A symmetric matrix A (n, n) of similarities, formed or not."""

    n: int
    diagonal: Array

    def sums(self, p: Partition) -> Array:
        """Return the sum of each row over each block, a new array (n, k)."""

    def points(self, rank: int, rng: np.random.Generator) -> Array:
        """Return a point for each variable, (n, r), near those of similar variables."""

    def flipped(self, signs: Array) -> "Similarity":
        """Return that of the variables times signs (n,)."""


class SymmetricMatrix:
    """A symmetric matrix that is given, dense or sparse.

    Parameters
    ----------
    source : array_like or sparse matrix, shape (n, n)
        Real, finite and symmetric.
    """

    def __init__(self, source: Any) -> None:
        source = as_source(source)
        if isinstance(source, LinearOperator):
            raise DtypeError("source is a LinearOperator; expected an array or a sparse matrix")
        check_square(source.shape, "source")
        dtype = working_dtype(source.dtype, "source")
        if dtype.kind == "c":
            raise DtypeError(f"source has dtype {dtype}; expected real numbers")
        self.is_sparse = issparse(source)
        if self.is_sparse:
            self.matrix = source.tocsr().astype(dtype)
            check_finite(self.matrix, "source")
            largest = abs(self.matrix).max() if self.matrix.nnz else 0.0
            difference = abs(self.matrix - self.matrix.T).max() if self.matrix.nnz else 0.0
            is_symmetric = difference <= np.sqrt(np.finfo(dtype).eps) * largest
            self.squares = sum_of_squares(self.matrix.data)
        else:
            self.matrix = source.astype(dtype, copy=False)
            check_finite(self.matrix, "source")
            tolerance = np.sqrt(np.finfo(dtype).eps) * np.abs(self.matrix).max(initial=0.0)
            is_symmetric = is_close_to_adjoint(self.matrix, tolerance)
            self.squares = sum_of_squares(self.matrix)
        if not is_symmetric:
            raise NotHermitianError("source is not symmetric; expected a symmetric matrix")
        self.n = source.shape[0]
        self.diagonal = np.asarray(self.matrix.diagonal(), dtype=np.float64)

    def sums(self, p: Partition) -> Array:
        """Return the sum of each row over each block, (n, k)."""
        return row_sums(self.matrix, p)

    def points(self, rank: int, rng: np.random.Generator) -> Array:
        """Return the rows, or what random projections leave of their distances."""
        return row_points(self.matrix, rank, rng)

    def flipped(self, signs: Array) -> "SymmetricMatrix":
        """Return ``S A S``."""
        flipped = copy(self)
        if self.is_sparse:
            S = diags_array(signs.astype(self.matrix.dtype))
            flipped.matrix = (S @ self.matrix @ S).tocsr()
        else:
            flipped.matrix = self.matrix * signs.astype(self.matrix.dtype)
            flipped.matrix *= signs[:, None]
        return flipped


class Correlation:
    """The correlation matrix of samples, as products of at most as many rows as columns.

    Parameters
    ----------
    X : array_like, shape (T, n)
        One sample per row, at least 3 of them, and no constant column.
    """

    def __init__(self, X: Any) -> None:
        X = as_real_samples(X, 3)
        self.location = X.mean(axis=0, dtype=np.float64)
        Z = X - self.location
        lengths = np.linalg.norm(Z, axis=0)
        self.scale = lengths / np.sqrt(len(Z))
        require_varying(X, self.scale)
        Z /= lengths
        self.n_samples, self.n = Z.shape
        self.scores = same_products(Z)  # columns of length 1
        self.diagonal = np.ones(self.n)

    def sums(self, p: Partition) -> Array:
        """Return the sum of each row over each block, (n, k)."""
        sums: Array = self.scores.T @ p.block_sums(self.scores, axis=1)
        return sums

    def points(self, rank: int, rng: np.random.Generator) -> Array:
        """Return the leading principal components of the variables.

        Their variances are reduced by that of noise, for which the median one stands.
        """
        values, vectors = np.linalg.eigh(self.scores @ self.scores.T)
        tiny = np.finfo(np.float64).tiny
        noise = max(np.median(values[-min(self.n_samples - 1, self.n) :]), tiny)
        values, vectors = values[-rank:], vectors[:, -rank:]
        kept = np.sqrt(np.maximum(1 - noise / np.maximum(values, noise), 0))
        components: Array = (self.scores.T @ vectors) * kept
        return components

    def flipped(self, signs: Array) -> "Correlation":
        """Return the correlation matrix of samples times signs."""
        flipped = copy(self)
        flipped.scores = self.scores * signs
        return flipped
