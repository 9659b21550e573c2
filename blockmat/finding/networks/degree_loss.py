"""What the blocks of a network minimize, and what compares their numbers, with degrees corrected."""

from collections.abc import Sequence

import numpy as np
from scipy.special import gammaln

from blockmat.blocks.checks import Array
from blockmat.finding.criteria.criteria import label_deviance
from blockmat.finding.search.kmeans import Solution
from blockmat.finding.search.merging import BlockSums, FrobeniusMerges
from blockmat.finding.search.objectives import BlockStatistics, n_off_diagonal


class DegreeLoss:
    r"""The squared distance of a normalized network to blocks with loadings.

    The entry :math:`A_{ij} / \sqrt{d_i d_j}` of nodes i and j with degrees d is approximated by
    :math:`\sqrt{d_i d_j} B_{bc}`, with one number B for the blocks b and c of the nodes. See
    :ref:`theory-blocks`.

    Parameters
    ----------
    degrees : ndarray, shape (n,)
        The degrees.
    squared_norm : float
        The sum of the squared entries of the normalized network, without loops.
    """

    def __init__(self, degrees: Array, squared_norm: float) -> None:
        self.degrees, self.squared_norm = degrees, squared_norm
        self.n_observations = float(degrees.sum()) / 2

    def loss(self, blocks: BlockStatistics) -> float:
        """Return the squared distance."""
        edges = blocks.values * n_off_diagonal(blocks.sizes)
        return max(self.squared_norm - float((edges * self._values(blocks)).sum()), 0.0)

    def costs(self, blocks: BlockStatistics) -> Array:
        """Return the change of the loss, up to a constant for each node, (n, k)."""
        values, labels = self._values(blocks), blocks.labels
        others = np.tile(self._degrees_of(blocks), (len(labels), 1))
        others[np.arange(len(labels)), labels] -= self.degrees
        squares = self.degrees[:, None] * (others @ values**2)
        costs: Array = 2 * squares - 4 * blocks.row_sums @ values
        return costs

    def deviance(self, blocks: BlockStatistics) -> float:
        r"""Return minus twice the integrated log-likelihood, up to a constant of the network.

        The number of edges of nodes i and j has the Poisson distribution with the mean
        :math:`\theta_{bc} d_i d_j / 2m`, where 2m is the sum of the degrees. The rates
        :math:`\theta` are integrated over the exponential distribution with the mean 1.
        """
        in_blocks = self._degrees_of(blocks)
        edges = blocks.values * n_off_diagonal(blocks.sizes)
        expected = np.outer(in_blocks, in_blocks) / self.degrees.sum()
        for counts in (edges, expected):
            counts[np.diag_indices(len(counts))] /= 2
        pairs = np.triu_indices(len(edges))
        edges, expected = edges[pairs], expected[pairs]
        return float(-2 * (gammaln(edges + 1) - (edges + 1) * np.log1p(expected)).sum())

    def merges(self, blocks: BlockStatistics) -> FrobeniusMerges:
        """Return the loss as a function of merged blocks. The loadings are the degrees."""
        in_blocks = self._degrees_of(blocks)
        edges = blocks.values * n_off_diagonal(blocks.sizes)
        own, loops = self._squares_of(blocks), np.zeros_like(in_blocks)
        return FrobeniusMerges(blocks.in_order(BlockSums(in_blocks, own, loops, edges)))

    def _values(self, blocks: BlockStatistics) -> Array:
        """Return B (k, k): numbers of edges, divided by sums of products of two degrees."""
        in_blocks = self._degrees_of(blocks)
        products = np.outer(in_blocks, in_blocks) - np.diag(self._squares_of(blocks))
        edges = blocks.values * n_off_diagonal(blocks.sizes)
        values: Array = np.where(edges > 0, edges / np.where(edges > 0, products, 1), 0)
        return values

    def _degrees_of(self, blocks: BlockStatistics) -> Array:
        """Return the sum of the degrees of each block, (k,)."""
        return np.bincount(blocks.labels, self.degrees, len(blocks.sizes))

    def _squares_of(self, blocks: BlockStatistics) -> Array:
        """Return the sum of the squared degrees of each block, (k,)."""
        return np.bincount(blocks.labels, self.degrees**2, len(blocks.sizes))


class IntegratedLikelihood:
    """Minus twice the integrated log-likelihood of a network, and that of the labels if asked for."""

    def __init__(self, objective: DegreeLoss, with_labels: bool, contiguous: bool) -> None:
        self.objective, self.with_labels, self.contiguous = objective, with_labels, contiguous

    def values(self, found: Sequence[Solution]) -> list[float]:
        """Return the values of partitions."""
        return [self._value(solution) for solution in found]

    def _value(self, solution: Solution) -> float:
        labels = label_deviance(solution.labels, self.contiguous) if self.with_labels else 0.0
        return self.objective.deviance(solution.blocks) + labels
