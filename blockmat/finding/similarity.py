"""What finding blocks needs of n variables: sums over blocks, and points to start from."""

from copy import copy
from typing import Any, Protocol

import numpy as np
from scipy.sparse import diags_array, issparse

from blockmat.blocks.checks import Array, check_square, require_finite
from blockmat.blocks.partition import Partition
from blockmat.cores.core import is_close_to_adjoint
from blockmat.cores.scale import exponent_of, in_range, times_power
from blockmat.exceptions import NotHermitianError
from blockmat.finding.standardize import same_products, standardize, sum_of_squares
from blockmat.sources.recognise import as_real_matrix
from blockmat.sources.samples import as_real_samples

_EXACT_UP_TO = 500  # variables whose rows are compared entry by entry
_SKETCH = 64  # numbers that stand for a longer row


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

    Numbers whose squares might overflow or underflow are kept in units of ``2**exponent``.

    Parameters
    ----------
    source : array_like or sparse matrix, shape (n, n)
        Real, finite and symmetric.
    """

    def __init__(self, source: Any) -> None:
        source = as_real_matrix(source)
        check_square(source.shape, "source")
        dtype = source.dtype
        self.matrix = source.entries(dtype)
        require_finite(self.matrix, "source")
        self.is_sparse = issparse(self.matrix)
        if self.is_sparse:
            largest = abs(self.matrix).max() if self.matrix.nnz else 0.0
            is_symmetric = _is_symmetric(self.matrix, np.sqrt(np.finfo(dtype).eps))
            self.exponent = exponent_of(largest)
            if self.exponent:
                self.matrix.data = times_power(self.matrix.data, -self.exponent)
            self.squares = sum_of_squares(self.matrix.data)
        else:
            is_symmetric = is_close_to_adjoint(self.matrix, np.sqrt(np.finfo(dtype).eps))
            self.matrix, self.exponent = in_range(self.matrix)
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


def _is_symmetric(matrix: Any, relative: float) -> bool:
    """Apply the rule of `is_close_to_adjoint` to a sparse matrix."""
    size = abs(matrix)
    scale = np.maximum(*(size.max(axis=axis).toarray().ravel() for axis in (0, 1)))
    difference = abs(matrix - matrix.T).tocoo()
    bound = relative * np.minimum(scale[difference.row], scale[difference.col])
    return bool((difference.data <= bound).all())


class Correlation:
    """The correlation matrix of samples, as products of at most as many rows as columns.

    Parameters
    ----------
    X : array_like, shape (T, n)
        One sample per row, at least 3 of them, and no constant column.
    """

    def __init__(self, X: Any) -> None:
        Z, self.location, self.scale = standardize(as_real_samples(X, 3))
        Z /= np.sqrt(len(Z))
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
