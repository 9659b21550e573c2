"""The degree-corrected likelihood of the blocks of a network."""

import numpy as np
from scipy.special import gammaln

from blockmat.blocks.checks import Array
from blockmat.finding.criteria import label_deviance
from blockmat.finding.kmeans import Solution
from blockmat.finding.objectives import BlockStatistics, n_off_diagonal


class DegreeLikelihood:
    r"""Minus twice the integrated log-likelihood of a degree-corrected block model.

    The number of edges of nodes i and j in blocks b and c has the Poisson distribution with the
    mean :math:`\theta_{bc} d_i d_j / 2m`, where d are the degrees and 2m is their sum. The rates
    :math:`\theta` have the exponential distribution with the mean 1 before edges are counted.
    See :ref:`theory-blocks`.
    """

    def __init__(self, degrees: Array) -> None:
        self.degrees, self.total = degrees, float(degrees.sum())
        self.n_observations = self.total / 2

    def loss(self, blocks: BlockStatistics) -> float:
        """Return minus twice the integrated log-likelihood, up to a constant of the network."""
        edges, expected = self._edges(blocks)
        pairs = np.triu_indices(len(edges))
        edges, expected = edges[pairs], expected[pairs]
        return float(-2 * (gammaln(edges + 1) - (edges + 1) * np.log1p(expected)).sum())

    def costs(self, blocks: BlockStatistics) -> Array:
        """Return minus twice the log-likelihood of the edges of each node in each block, (n, k).

        Rates are means of their posterior distributions, so none is zero. An isolated node has
        no edges, and is cheapest in the largest block.
        """
        edges, expected = self._edges(blocks)
        rates = (edges + 1) / (expected + 1)
        means = rates @ self._degrees_of(blocks) / self.total
        costs: Array = 2 * (np.outer(self.degrees, means) - blocks.row_sums @ np.log(rates))
        costs[self.degrees == 0, blocks.sizes.argmax()] = -1
        return costs

    def deviance(self, blocks: BlockStatistics) -> float:
        """Return the loss."""
        return self.loss(blocks)

    def _edges(self, blocks: BlockStatistics) -> tuple[Array, Array]:
        """Return the numbers of edges of pairs of blocks, and those expected of the degrees alone."""
        edges = blocks.values * n_off_diagonal(blocks.sizes)
        in_blocks = self._degrees_of(blocks)
        expected = np.outer(in_blocks, in_blocks) / self.total
        for counts in (edges, expected):
            counts[np.diag_indices(len(counts))] /= 2
        return edges, expected

    def _degrees_of(self, blocks: BlockStatistics) -> Array:
        """Return the sum of the degrees of each block, (k,)."""
        return np.bincount(blocks.labels, self.degrees, len(blocks.sizes))


class IntegratedLikelihood:
    """Minus twice the integrated log-likelihood of a network, and that of the labels if asked for."""

    def __init__(self, with_labels: bool, contiguous: bool) -> None:
        self.with_labels, self.contiguous = with_labels, contiguous

    def value(self, solution: Solution) -> float:
        """Return the value of a partition."""
        labels = label_deviance(solution, self.contiguous) if self.with_labels else 0.0
        return solution.loss + labels
