"""Similarity of n variables: a given symmetric matrix, or the correlations of samples."""

from copy import copy
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from scipy.sparse import diags_array, issparse

from blockmat.blocks.checks import Array, check_square, require_finite
from blockmat.blocks.partition import Partition
from blockmat.cores.core import is_close_to_adjoint
from blockmat.cores.scale import exponent_of, in_range, times_power
from blockmat.finding.correlations.components import n_components, noise_of
from blockmat.finding.correlations.weighted_sums import SumsOfRows, WeightedSums
from blockmat.sources.recognise import as_real_matrix
from blockmat.sources.samples import as_real_samples
from blockmat.sources.standardize import StandardRows, compress_rows, standardize, sum_of_squares
from blockmat.sources.symmetry import refuse_asymmetric

_EXACT_UP_TO = 500  # columns; longer rows are projected
_SAFETY = 4.0  # times the sum of the variances of rounding
_N_PROJECTIONS = 64  # coordinates of a projected row, at least


def row_sums(matrix: Any, cols: Partition) -> Array:
    """Return the sum of each row of a dense or sparse matrix over each block of columns."""
    if issparse(matrix):
        return np.asarray((matrix @ cols.indicator()).todense(), dtype=np.float64)
    return cols.block_sums(matrix, axis=1).astype(np.float64)


def row_points(matrix: Any, rank: int, rng: np.random.Generator) -> Array:
    """Return the rows of a matrix, or random projections of them if they are long.

    The projections have at least `rank` coordinates and about keep the distances of the rows.
    """
    n_cols = matrix.shape[1]
    if n_cols > _EXACT_UP_TO:
        points = matrix @ rng.standard_normal((n_cols, max(rank, _N_PROJECTIONS)))
    else:
        points = matrix.toarray() if issparse(matrix) else matrix
    return np.asarray(points, dtype=np.float64)


class Similarity(Protocol):
    """A symmetric matrix A (n, n) of similarities, which need not be formed."""

    n: int
    diagonal: Array

    def row_sums(self, p: Partition) -> Array:
        """Return the sum of each row over each block, as a new array (n, k)."""

    def points(self, rank: int, rng: np.random.Generator) -> Array:
        """Return a point for each variable, (n, r). Similar variables have near points."""

    def with_signs(self, signs: Array) -> "Similarity":
        """Return ``S A S`` for the diagonal matrix S of signs (n,)."""


class Correlations(Similarity, Protocol):
    """The correlation matrix R (n, n) of T samples, which need not be formed.

    It has no negative eigenvalues. Its rank is `n_components`, which are n if only equal variables
    lower it. Repeated samples lower it too.
    """

    n_samples: int

    @property
    def n_components(self) -> int:
        """The number of principal components."""

    def row_sums(self, p: Partition, weights: Array | None = None) -> Array:
        """Return the sum of each row over each block, (n, k), of columns times weights (n,)."""

    def weighted_sums(self, p: Partition, weights: Array) -> WeightedSums:
        """Return the products with weights (n,) of the blocks."""

    def squared_norm(self, weights: Array) -> float:
        """Return the sum of ``w_i w_j R_ij^2`` for weights w (n,) that are not negative."""


class SymmetricMatrix:
    """A symmetric matrix that is given, dense or sparse.

    It is stored in units of ``2**exponent``, so that squares neither overflow nor underflow.
    """

    def __init__(self, source: Any) -> None:
        source = as_real_matrix(source)
        check_square(source.shape, "source", "for samples give samples=True")
        dtype = source.dtype
        self.matrix = source.entries(dtype)
        require_finite(self.matrix, "source")
        self.is_sparse = issparse(self.matrix)
        if self.is_sparse:
            largest = abs(self.matrix).max() if self.matrix.nnz else 0.0
            if not _is_symmetric(self.matrix, np.sqrt(np.finfo(dtype).eps)):
                refuse_asymmetric(self.matrix, "source")
            self.exponent = exponent_of(largest)
            if self.exponent:
                self.matrix.data = times_power(self.matrix.data, -self.exponent)
            self.squared_norm = sum_of_squares(self.matrix.data)
        else:
            if not is_close_to_adjoint(self.matrix, np.sqrt(np.finfo(dtype).eps)):
                refuse_asymmetric(self.matrix, "source")
            self.matrix, self.exponent = in_range(self.matrix)
            self.squared_norm = sum_of_squares(self.matrix)
        self.n = source.shape[0]
        self.diagonal = np.asarray(self.matrix.diagonal(), dtype=np.float64)

    def row_sums(self, p: Partition) -> Array:
        """Return the sum of each row over each block, (n, k)."""
        return row_sums(self.matrix, p)

    def points(self, rank: int, rng: np.random.Generator) -> Array:
        """Return a point for each variable: its row, or a random projection of a long row."""
        return row_points(self.matrix, rank, rng)

    def with_signs(self, signs: Array) -> "SymmetricMatrix":
        """Return ``S A S``."""
        result = copy(self)
        if self.is_sparse:
            S = diags_array(signs.astype(self.matrix.dtype))
            result.matrix = (S @ self.matrix @ S).tocsr()
        else:
            result.matrix = self.matrix * signs.astype(self.matrix.dtype)
            result.matrix *= signs[:, None]
        return result


def _is_symmetric(matrix: Any, relative: float) -> bool:
    """Apply the rule of `is_close_to_adjoint` to a sparse matrix."""
    size = abs(matrix)
    scale = np.maximum(*(size.max(axis=axis).toarray().ravel() for axis in (0, 1)))
    difference = abs(matrix - matrix.T).tocoo()
    bound = relative * np.minimum(scale[difference.row], scale[difference.col])
    return bool((difference.data <= bound).all())


class Correlation:
    """The correlation matrix ``F^T F`` of samples (T, n), kept as its factor F.

    F has at most as many rows as columns, and columns of length 1.
    """

    location: Array | float
    scale: Array | float

    def __init__(self, X: Any) -> None:
        if isinstance(X, StandardRows):
            Z, self.location, self.scale = X.deviations, 0.0, 1.0
            self.n_samples, self.rounding = X.n_samples, X.rounding
        else:
            samples = as_real_samples(X, 3)
            standardized = standardize(samples)
            Z, self.location, self.scale = standardized
            self.n_samples, self.rounding = len(Z), standardized.rounding(samples.dtype)
        self.n = Z.shape[1]
        # Column by column in memory: kernels read one variable after the other
        self.factor = np.divide(compress_rows(Z), np.sqrt(len(Z)), order="F")
        self.diagonal = np.ones(self.n)

    @cached_property
    def _spectrum(self) -> tuple[Array, Array]:
        """The eigenvalues of ``F F^T``, ascending, and the eigenvectors; signs do not change them."""
        values, vectors = np.linalg.eigh(self.factor @ self.factor.T)
        return values, vectors

    @cached_property
    def n_components(self) -> int:
        """The number of principal components, see `Correlations`."""
        values, _ = self._spectrum
        of_products = float(np.finfo(np.float64).eps) * float(values[-1])
        of_samples = _SAFETY * self.rounding**2  # a variance
        rounding = self.n * max(of_products, of_samples)
        return n_components(int((values > rounding).sum()), self.factor)

    def row_sums(self, p: Partition, weights: Array | None = None) -> Array:
        """Return the sum of each row over each block, (n, k), of columns times weights (n,)."""
        columns = self.factor if weights is None else self.factor * weights
        sums: Array = self.factor.T @ p.block_sums(columns, axis=1)
        return sums

    def weighted_sums(self, p: Partition, weights: Array) -> SumsOfRows:
        """Return the products with weights (n,) of the blocks."""
        return SumsOfRows(p, weights, self.factor.T)

    def squared_norm(self, weights: Array) -> float:
        """Return the sum of ``w_i w_j R_ij^2`` for weights w (n,) that are not negative."""
        columns = self.factor * np.sqrt(weights)
        product = columns @ columns.T
        return float((product * product).sum())

    def points(self, rank: int, rng: np.random.Generator) -> Array:
        """Return the coordinates of the variables along the leading principal components.

        The variance of noise is subtracted from that of each.
        """
        values, vectors = self._spectrum
        noise = noise_of(values, min(self.n_samples - 1, self.n))
        values, vectors = values[-rank:], vectors[:, -rank:]
        shrinkage = np.sqrt(np.maximum(1 - noise / np.maximum(values, noise), 0))
        points: Array = (self.factor.T @ vectors) * shrinkage
        return points

    def with_signs(self, signs: Array) -> "Correlation":
        """Return the correlation matrix of the samples times signs."""
        result = copy(self)
        result.factor = self.factor * signs
        return result
