"""Searches for blocks of matrices: symmetric ones, and networks."""

from typing import Any

from blockmat.finding.correlations.similarity import SymmetricMatrix
from blockmat.finding.criteria.criteria import Criterion, InformationCriterion
from blockmat.finding.networks.degree_loss import DegreeLoss, IntegratedLikelihood
from blockmat.finding.networks.network import Network
from blockmat.finding.networks.network_search import NetworkSearch
from blockmat.finding.search.kmeans import Solution
from blockmat.finding.search.merging import Merges
from blockmat.finding.search.objectives import FrobeniusLoss
from blockmat.finding.search.search import PartitionSearch, Search, SearchOptions

MAX_BLOCKS = 50  # that are tried by default
N_VARIABLES = "the number of variables"


class MatrixProblem:
    """A search in a symmetric matrix, by its squared distance to the fit."""

    bound = N_VARIABLES

    def __init__(self, matrix: SymmetricMatrix) -> None:
        self.matrix, self.exponent = matrix, matrix.exponent
        self.objective = FrobeniusLoss(matrix.squared_norm, matrix.n, matrix.exponent)
        self.max_blocks = matrix.n
        self.usual_blocks = min(MAX_BLOCKS, (matrix.n + 1) // 2)

    def search(self, k_max: int, options: SearchOptions) -> Search:
        """Return the search for partitions into up to `k_max` blocks."""
        return PartitionSearch(self.matrix, self.objective, k_max, options)

    def criterion(self, name: str, search: Search, contiguous: bool) -> Criterion:
        """Return the criterion that compares numbers of blocks."""
        return InformationCriterion(self.objective, name == "icl", contiguous)

    def merges(self, found: Solution) -> Merges:
        """Return the loss as a function of merged blocks."""
        return self.objective.merges(found.blocks)


class NetworkProblem:
    """A search for blocks of nodes, whatever their degrees."""

    bound, exponent = "the number of nodes with edges", 0

    def __init__(self, network: Network) -> None:
        self.network = network
        self.objective = DegreeLoss(network.degrees, network.squared_norm)
        self.max_blocks = int(network.is_connected.sum())
        self.usual_blocks = min(MAX_BLOCKS, (self.max_blocks + 1) // 2)

    def search(self, k_max: int, options: SearchOptions) -> Search:
        """Return the search for partitions into up to `k_max` blocks."""
        return NetworkSearch(self.network, self.objective, k_max, options)

    def criterion(self, name: str, search: Any, contiguous: bool) -> Criterion:
        """Return the criterion that compares numbers of blocks."""
        return IntegratedLikelihood(self.objective, name == "icl", contiguous)

    def merges(self, found: Solution) -> Merges:
        """Return the loss as a function of merged blocks."""
        return self.objective.merges(found.blocks)
