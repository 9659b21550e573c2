"""TighterSearch: of two partitions into k blocks, the one with tighter blocks."""

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.finding.search.kmeans import Solution
from blockmat.finding.search.objectives import Objective
from blockmat.finding.search.search import PartitionSearch


class TighterSearch:
    """Finds partitions of a correlation matrix by two objectives, and keeps the better one.

    The two losses cannot be compared. Instead, the solution is kept whose blocks have the smaller
    sum of squared distances of points to their means. The points are those from which the first
    search starts. For more than `k_first` blocks only the second search is used. The loss of a
    solution is that of the first search.
    """

    def __init__(self, first: PartitionSearch, second: PartitionSearch, k_first: int) -> None:
        self.first, self.second, self.k_first = first, second, k_first

    @property
    def objective(self) -> Objective:
        """The objective of the first search."""
        return self.first.objective

    def find(self, k: int) -> Solution:
        """Return the better of two partitions into k blocks."""
        second = self.second.find(k)
        second = second._replace(loss=self.objective.loss(second.blocks))
        if k > self.k_first:
            return second
        first = self.first.find(k)
        points = self.first.points
        return first if _between(first, points) >= _between(second, points) else second

    def sketch(self, k: int) -> Solution:
        """Return the same."""
        return self.find(k)

    def improve(self, found: Solution) -> Solution:
        """Return the same partition."""
        return found


def _between(solution: Solution, points: Array) -> float:
    """Return the sum of squares of the block means of points, one for each variable."""
    if solution.signs is not None:
        points = points * solution.signs[:, None]
    labels, sizes = solution.blocks.labels, solution.blocks.sizes
    sums = np.stack([np.bincount(labels, column, len(sizes)) for column in points.T])
    return float((sums**2 / sizes).sum())
