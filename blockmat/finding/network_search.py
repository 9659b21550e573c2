"""NetworkSearch: finds blocks of a network by its degree-corrected likelihood."""

from typing import Any

import numpy as np

from blockmat.finding.degree_likelihood import DegreeLikelihood
from blockmat.finding.kmeans import Solution, cheapest, cheapest_intervals, refine
from blockmat.finding.network import Network
from blockmat.finding.search import MIN_RANK
from blockmat.finding.starts import make_start


class NetworkSearch:
    """Finds partitions of a network into any number of blocks up to `k_max`.

    Block k-means starts from the points of the network and from their directions. Directions do
    not depend on degrees, but are uncertain for nodes with few edges.
    """

    def __init__(self, network: Network, k_max: int, contiguous: bool, random_state: Any) -> None:
        rng = np.random.default_rng(random_state)
        self.network, self.objective = network, DegreeLikelihood(network.degrees)
        points = network.points(max(k_max, MIN_RANK), rng)
        lengths = np.linalg.norm(points, axis=1, keepdims=True)
        directions = points / np.where(lengths > 0, lengths, 1)
        self.starts = [make_start(x, k_max, contiguous, rng) for x in (points, directions)]
        self.assign = cheapest_intervals if contiguous else cheapest

    def find(self, k: int) -> Solution:
        """Return the better of the partitions into k blocks from both starts."""
        solutions = [
            refine(self.network, start.cut(k), k, self.objective, self.assign)
            for start in self.starts
        ]
        return min(solutions, key=lambda solution: solution.loss)
