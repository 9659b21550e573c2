"""ExpectedCorrelation: the correlations of samples whose missing values were filled in."""

from copy import copy
from typing import NamedTuple

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.finding.correlations.similarity import Correlation
from blockmat.finding.correlations.weighted_sums import SumsOfProducts
from blockmat.matrices.block_constant import BlockConstantMatrix
from blockmat.sources.standardize import StandardRows, compress_rows


class ExpectedRows(NamedTuple):
    """Samples D (m, n) with the covariance ``D.T @ D / m + lost`` given what is observed of them.

    Missing values have their conditional expectations in D, and `lost` is the mean of their
    conditional covariances. `n_samples` is as for `StandardRows`.
    """

    deviations: Array
    lost: BlockConstantMatrix
    n_samples: int


class ExpectedCorrelation:
    """The correlation matrix that is expected given the observed values of samples."""

    def __init__(self, rows: ExpectedRows) -> None:
        self.lost, self.n_samples = rows.lost, rows.n_samples
        factor = compress_rows(rows.deviations)
        factor = factor * np.sqrt(len(factor) / len(rows.deviations))
        variances = np.mean(factor**2, axis=0) + self.lost.diagonal()
        self.n = len(variances)
        self.diagonal = np.ones(self.n)
        self.scale = 1 / np.sqrt(variances)
        factor *= self.scale
        self.filled = Correlation(StandardRows(factor, self.n_samples))

    @property
    def n_components(self) -> int:
        """The number of principal components without what is lost."""
        return self.filled.n_components

    @property
    def factor(self) -> Array:
        """A factor of the correlation matrix without what is lost."""
        factor: Array = self.filled.factor
        return factor

    def row_sums(self, p: Partition, weights: Array | None = None) -> Array:
        """Return the sum of each row over each block, (n, k), of columns times weights (n,)."""
        columns = np.zeros((self.n, p.n_blocks))
        columns[np.arange(self.n), p.labels] = (
            self.scale if weights is None else self.scale * weights
        )
        sums: Array = self.filled.row_sums(p, weights) + (self.lost.dot(columns).T * self.scale).T
        return sums

    def weighted_sums(self, p: Partition, weights: Array) -> SumsOfProducts:
        """Return the products with weights (n,) of the blocks."""
        return SumsOfProducts(p, weights, self.row_sums(p, weights))

    def squared_norm(self, weights: Array) -> float:
        """Return the sum of ``w_i w_j R_ij^2`` for weights w (n,) that are not negative."""
        rows = self.factor * weights * self.scale
        cross = float((rows * self.lost.dot(rows.T).T).sum())
        p, v = self.lost.partition, weights * self.scale**2
        values = self.lost.values
        sums, squares = p.block_sums(v), p.block_sums(v * v)
        own = np.diagonal(values)
        lost = sums @ values**2 @ sums + squares @ ((own + self.lost.within) ** 2 - own**2)
        return self.filled.squared_norm(weights) + 2 * cross + float(lost)

    def points(self, rank: int, rng: np.random.Generator) -> Array:
        """Return a point for each variable, from the correlations without what is lost."""
        return self.filled.points(rank, rng)

    def with_signs(self, signs: Array) -> "ExpectedCorrelation":
        """Return the correlation matrix of the samples times signs."""
        result = copy(self)
        result.filled = self.filled.with_signs(signs)
        result.scale = self.scale * signs
        return result


SampleCorrelation = Correlation | ExpectedCorrelation
