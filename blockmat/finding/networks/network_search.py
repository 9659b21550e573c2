"""NetworkSearch: finds blocks of a network with degrees corrected."""

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.finding.networks.degree_loss import DegreeLoss
from blockmat.finding.networks.network import Network
from blockmat.finding.search.kmeans import Solution, cheapest, cheapest_intervals, refine
from blockmat.finding.search.search import MIN_RANK, SearchOptions
from blockmat.finding.search.starts import make_start


class NetworkSearch:
    """Finds partitions of a network into any number of blocks up to `k_max`.

    Block k-means starts from the points of the network and from their directions. Directions do
    not depend on degrees, but are uncertain for nodes with few edges. A node without edges joins
    the largest block, or the interval of the node before it.
    """

    def __init__(
        self,
        network: Network,
        objective: DegreeLoss,
        k_max: int,
        options: SearchOptions,
    ) -> None:
        contiguous, _, random_state = options
        rng = np.random.default_rng(random_state)
        self.network, self.objective, self.contiguous = network, objective, contiguous
        points = network.points(max(k_max, MIN_RANK), rng)[network.is_connected]
        lengths = np.linalg.norm(points, axis=1, keepdims=True)
        directions = points / np.where(lengths > 0, lengths, 1)
        self.starts = [make_start(x, k_max, contiguous, rng) for x in (points, directions)]

    def find(self, k: int) -> Solution:
        """Return the better of the partitions into k blocks from both starts."""
        solutions = [
            refine(self.network, self._of_all(start.cut(k)), k, self.objective, self._assign)
            for start in self.starts
        ]
        return min(solutions, key=lambda solution: solution.loss)

    def sketch(self, k: int) -> Solution:
        """Return the same."""
        return self.find(k)

    def improve(self, found: Solution) -> Solution:
        """Return the same partition."""
        return found

    def _assign(self, costs: Array) -> Array:
        assign = cheapest_intervals if self.contiguous else cheapest
        return self._of_all(assign(costs[self.network.is_connected]))

    def _of_all(self, labels: Array) -> Array:
        """Return labels (n,) of all nodes, given those of nodes with edges."""
        is_connected = self.network.is_connected
        before: Array = labels[np.maximum(np.cumsum(is_connected) - 1, 0)]
        if self.contiguous:
            return before
        largest = np.bincount(labels).argmax()
        joined: Array = np.where(is_connected, before, largest)
        return joined
