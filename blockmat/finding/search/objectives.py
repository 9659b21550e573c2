"""What block k-means minimizes: the Frobenius loss of a matrix, or the Gaussian one of samples."""

from typing import NamedTuple, Protocol

import numpy as np
from scipy.linalg import pinvh

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.finding.correlations.similarity import Similarity
from blockmat.finding.search.merging import BlockSums, FrobeniusMerges, GaussianMerges

_MIN_VARIANCE = 1e-10  # of a correlation matrix; what is smaller is rounding
_MIN_RESIDUAL = 1e-3  # variance of a variable that its block means leave, in its cost
# Rounding of a loss, in units of eps times the squared norm. It is a difference of two sums that are
# added pairwise: with 18 + log2(n^2 / 128) additions of eps / 2 each, below 22 for n = 1e5, for the
# squares, and twice as much for sums over columns and then over rows, whose squares double it again.
_ROUNDING = 128


class BlockStatistics(NamedTuple):
    """Means and sums of a symmetric matrix (n, n) over the blocks of a partition.

    ``values`` (k, k) are the means of the entries off the diagonal and ``diagonal_values`` (k,)
    those of the entries on it. ``diagonal`` (n,) is the diagonal, and ``row_sums`` (n, k) are
    the sums of rows over blocks without it. A block of one variable has no entry off the
    diagonal: its value is the mean of the values of larger blocks.
    """

    labels: Array
    sizes: Array
    diagonal: Array
    row_sums: Array
    values: Array
    diagonal_values: Array

    @property
    def n_summed(self) -> Array:
        """How many entries each of the row sums adds up, (n, k)."""
        counts = np.tile(self.sizes, (len(self.labels), 1))
        counts[np.arange(len(self.labels)), self.labels] -= 1
        return counts

    @property
    def sums(self) -> BlockSums:
        """The sums over the blocks, in the order of their first variables."""
        off = self.values * n_off_diagonal(self.sizes)
        on = self.sizes * self.diagonal_values
        return self.in_order(BlockSums(self.sizes, self.sizes, on, off))

    def in_order(self, sums: BlockSums) -> BlockSums:
        """Return sums over these blocks in the order of their first variables."""
        order = np.argsort(np.unique(self.labels, return_index=True)[1])
        sizes, squares, on = (x[order] for x in (sums.sizes, sums.squares, sums.on))
        return BlockSums(sizes, squares, on, sums.off[np.ix_(order, order)])


def block_statistics(similarity: Similarity, labels: Array, k: int) -> BlockStatistics:
    """Measure a partition into k blocks, none of them empty."""
    p = Partition(np.bincount(labels, minlength=k), labels)
    sizes = p.sizes.astype(np.float64)
    row_sums = similarity.row_sums(p)
    row_sums[np.arange(similarity.n), labels] -= similarity.diagonal
    values = p.block_sums(row_sums) / np.maximum(n_off_diagonal(sizes), 1)
    several = sizes > 1
    known = np.diag(values)[several]
    typical = known.mean() if len(known) else 0.0
    values[np.diag_indices(k)] = np.where(several, np.diag(values), typical)
    diagonal = similarity.diagonal
    return BlockStatistics(labels, sizes, diagonal, row_sums, values, p.block_means(diagonal))


def n_off_diagonal(sizes: Array) -> Array:
    """Return how many entries off the diagonal each block has, (k, k)."""
    counts: Array = np.outer(sizes, sizes) - np.diag(sizes)
    return counts


class Objective(Protocol):
    """What block k-means minimizes. The formulas are derived in :ref:`theory-blocks`."""

    n_observations: float

    def loss(self, blocks: BlockStatistics) -> float:
        """Return the loss of a partition."""

    def costs(self, blocks: BlockStatistics) -> Array:
        """Return what each variable would cost in each block if the others stay, (n, k)."""

    def deviance(self, blocks: BlockStatistics) -> float:
        """Return minus twice the log-likelihood, up to a constant."""


class FrobeniusLoss:
    """The squared distance of a matrix (n, n), in units of ``2**exponent``, to its fit."""

    def __init__(self, squared_norm: float, n: int, exponent: int = 0) -> None:
        self.squared_norm, self.exponent = squared_norm, exponent
        self.n_observations = n * (n + 1) / 2

    def loss(self, blocks: BlockStatistics) -> float:
        """Return ``|A|^2 - |PA|^2``, with PA the fit."""
        n = blocks.sizes
        explained = (blocks.values**2 * n_off_diagonal(n)).sum()
        explained += (n * blocks.diagonal_values**2).sum()
        return max(self.squared_norm - float(explained), 0.0)

    def costs(self, blocks: BlockStatistics) -> Array:
        """Return the change of the loss, up to a constant for each variable."""
        off = blocks.n_summed @ blocks.values**2 - 2 * blocks.row_sums @ blocks.values
        on = blocks.diagonal_values**2 - 2 * np.outer(blocks.diagonal, blocks.diagonal_values)
        costs: Array = 2 * off + on
        return costs

    def deviance(self, blocks: BlockStatistics) -> float:
        """Return the deviance of independent Gaussian errors whose variance is the mean square."""
        double = np.finfo(np.float64)
        floor = max(_ROUNDING * double.eps * self.squared_norm, double.tiny)
        mean_square = max(self.loss(blocks), floor) / self.n_observations
        log = np.log(mean_square) + 2 * self.exponent * np.log(2)
        return float(self.n_observations * log)

    def merges(self, blocks: BlockStatistics) -> FrobeniusMerges:
        """Return the loss as a function of merged blocks."""
        return FrobeniusMerges(blocks.sums)


class GaussianLoss:
    """Minus twice the Gaussian log-likelihood of standardized samples, per sample."""

    def __init__(self, n_samples: float, min_variance: float = _MIN_VARIANCE) -> None:
        self.n_observations = float(n_samples)
        self.min_variance = min_variance

    def loss(self, blocks: BlockStatistics) -> float:
        """Return ``logdet M + sum (n_b - 1) log d_b`` of the fit on these blocks."""
        n = blocks.sizes
        within = np.maximum(blocks.diagonal_values - np.diag(blocks.values), self.min_variance)
        between = np.sqrt(np.outer(n, n)) * blocks.values + np.diag(within)
        variances = np.maximum(np.linalg.eigvalsh(between), self.min_variance)
        return float(np.log(variances).sum() + ((n - 1) * np.log(within)).sum())

    def costs(self, blocks: BlockStatistics) -> Array:
        """Return minus twice the log-likelihood of each variable given the block means.

        Let V be the covariance of the block means and C_b their covariance with a variable of
        block b. Such a variable has the conditional mean ``beta_b @ means`` with
        ``beta_b = V^-1 C_b``, and the residual variance ``v_b = d_b - C_b V^-1 C_b``.
        """
        same_block = np.diag(blocks.values)
        V = blocks.values + np.diag((blocks.diagonal_values - same_block) / blocks.sizes)
        beta = blocks.values @ pinvh(V)
        residual = blocks.diagonal_values - (beta * blocks.values).sum(1)
        residual = np.maximum(residual, _MIN_RESIDUAL)
        counts, labels = blocks.n_summed, blocks.labels
        with_means = blocks.row_sums / np.maximum(counts, 1)  # covariances with the block means
        alone = np.flatnonzero(counts[np.arange(len(counts)), labels] == 0)
        with_means[alone, labels[alone]] = same_block[labels[alone]]
        explained = 2 * with_means @ beta.T - ((beta @ V) * beta).sum(1)
        costs: Array = np.log(residual) + (blocks.diagonal[:, None] - explained) / residual
        return costs

    def deviance(self, blocks: BlockStatistics) -> float:
        """Return the loss of all samples together."""
        return self.n_observations * self.loss(blocks)

    def merges(self, blocks: BlockStatistics) -> GaussianMerges:
        """Return the loss as a function of merged blocks."""
        return GaussianMerges(blocks.sums, self.min_variance)
