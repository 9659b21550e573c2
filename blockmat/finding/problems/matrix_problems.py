"""Searches for blocks of matrices: symmetric ones, correlations without samples, and networks."""

from typing import Any

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.finding.correlations.given_correlation import GivenCorrelation
from blockmat.finding.correlations.similarity import SymmetricMatrix
from blockmat.finding.criteria.criteria import Criterion, InformationCriterion
from blockmat.finding.criteria.effective_samples import effective_samples
from blockmat.finding.networks.degree_loss import DegreeLoss, IntegratedLikelihood
from blockmat.finding.networks.network import Network
from blockmat.finding.networks.network_search import NetworkSearch
from blockmat.finding.search.kmeans import Solution
from blockmat.finding.search.merging import Merges
from blockmat.finding.search.objectives import FrobeniusLoss, GaussianLoss
from blockmat.finding.search.search import PartitionSearch, Search, SearchOptions
from blockmat.finding.search.tighter_search import TighterSearch
from blockmat.sources.standardize import sum_of_squares

MAX_BLOCKS = 50  # that are tried by default
_N_VARIABLES = "the number of variables"
_MIN_VARIANCE = 1e-10  # of a correlation matrix in double precision
_FEWEST = 5  # samples that allow to compare 1 block with 2


class MatrixProblem:
    """A search in a symmetric matrix, by its squared distance to the fit."""

    bound = _N_VARIABLES

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


class CorrelationProblem:
    """A search in a correlation matrix whose number of samples is unknown.

    Blocks of a correlation matrix of rank r have a likelihood if there are fewer than r.
    """

    bound, exponent = _N_VARIABLES, 0

    def __init__(self, similarity: GivenCorrelation) -> None:
        self.similarity = similarity
        self.squares = SymmetricMatrix(similarity.matrix)
        self.floor = min_variance(similarity.matrix)
        self.objective = GaussianLoss(similarity.n_components + 1, self.floor)
        n, self.most_samples = similarity.n, similarity.most_samples
        self.max_blocks = n
        self.usual_blocks = min(MAX_BLOCKS, (n + 1) // 2)
        if np.isfinite(self.most_samples):
            self.usual_blocks = max(min(self.usual_blocks, int(self.most_samples) - 2), 1)

    def search(self, k_max: int, options: SearchOptions) -> Search:
        """Return the search for partitions into up to `k_max` blocks."""
        frobenius = FrobeniusLoss(self.squares.squared_norm, self.squares.n)
        return TighterSearch(
            PartitionSearch(self.similarity, self.objective, k_max, options),
            PartitionSearch(self.squares, frobenius, k_max, options),
            self.similarity.n_components - 1,
        )

    def criterion(self, name: str, search: Search, contiguous: bool) -> Criterion:
        """Return the criterion of the effective number of samples."""
        solution = search.find(self.usual_blocks)
        n_samples = effective_samples(solution.blocks, sum_of_squares(self.similarity.matrix))
        objective = GaussianLoss(max(min(n_samples, self.most_samples), _FEWEST), self.floor)
        return InformationCriterion(objective, name == "icl", contiguous)

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


def min_variance(C: Array) -> float:
    """Return what is rounding in the correlations of a matrix."""
    return max(_MIN_VARIANCE, float(np.finfo(C.dtype).eps))
