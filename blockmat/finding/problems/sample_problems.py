"""Searches for blocks of the correlations of samples, with equal or with different loadings."""

from blockmat.blocks.checks import Array
from blockmat.finding.correlations.given_correlation import GivenCorrelation
from blockmat.finding.correlations.similarity import Correlation, Correlations
from blockmat.finding.criteria.criteria import (
    Criterion,
    HeldOutDeviance,
    InformationCriterion,
    block_constant_model,
)
from blockmat.finding.factor_blocks.factor_criteria import (
    FactorCriterion,
    MisfitCriterion,
    one_factor_model,
)
from blockmat.finding.factor_blocks.factor_merges import FactorMerges
from blockmat.finding.factor_blocks.factor_search import FactorSearch
from blockmat.finding.factor_blocks.one_factor import OneFactorModel
from blockmat.finding.problems.matrix_problems import MAX_BLOCKS, N_VARIABLES
from blockmat.finding.search.kmeans import Solution
from blockmat.finding.search.merging import Merges
from blockmat.finding.search.objectives import GaussianLoss
from blockmat.finding.search.search import PartitionSearch, Search, SearchOptions

_OF_SAMPLES = (
    "the smaller of the number of variables and T - 2, for T different samples of variables that are "
    "not collinear"
)


class BlockConstantProblem:
    """A search for blocks of equal correlations; variances below `least` are rounding."""

    bound, exponent = _OF_SAMPLES, 0

    def __init__(self, R: Correlations, least: float | None = None) -> None:
        self.R, self.least = R, least
        self.objective = self._objective(R)
        self.max_blocks = most_blocks(R)
        self.usual_blocks = min(MAX_BLOCKS, self.max_blocks)

    def _objective(self, R: Correlations) -> GaussianLoss:
        n_samples = R.n_samples
        return (
            GaussianLoss(n_samples) if self.least is None else GaussianLoss(n_samples, self.least)
        )

    def search(self, k_max: int, options: SearchOptions) -> Search:
        """Return the search for partitions into up to `k_max` blocks."""
        return PartitionSearch(self.R, self.objective, k_max, options)

    def criterion(self, name: str, search: Search, contiguous: bool) -> Criterion:
        """Return a criterion that needs no samples."""
        return InformationCriterion(self.objective, name == "icl", contiguous)

    def held_out(
        self, X: Array, k_max: int, options: SearchOptions, n_jobs: int | None
    ) -> Criterion:
        """Return the criterion of held-out samples."""

        def make_search(train: Correlation) -> Search:
            return PartitionSearch(train, self._objective(train), k_max, options)

        return HeldOutDeviance(X, make_search, block_constant_model, n_jobs)

    def merges(self, found: Solution) -> Merges:
        """Return the loss as a function of merged blocks."""
        return self.objective.merges(found.blocks)


class OneFactorProblem:
    """A search for blocks of one factor each."""

    bound, exponent = _OF_SAMPLES, 0

    def __init__(self, R: Correlations) -> None:
        self.R = R
        self.max_blocks = most_blocks(R)
        self.usual_blocks = min(MAX_BLOCKS, self.max_blocks)

    def search(self, k_max: int, options: SearchOptions) -> Search:
        """Return the search for partitions into up to `k_max` blocks."""
        return FactorSearch(self.R, k_max, options)

    def criterion(self, name: str, search: Search, contiguous: bool) -> Criterion:
        """Return a criterion that needs no samples."""
        if name == "misfit":
            return MisfitCriterion(self.R, contiguous)
        return FactorCriterion(self.R, name == "icl", contiguous)

    def held_out(
        self, X: Array, k_max: int, options: SearchOptions, n_jobs: int | None
    ) -> Criterion:
        """Return the criterion of held-out samples."""

        def make_search(train: Correlation) -> Search:
            return FactorSearch(train, k_max, options)

        return HeldOutDeviance(X, make_search, one_factor_model, n_jobs)

    def merges(self, found: OneFactorModel) -> Merges:
        """Return about how much the loss rises with merged blocks."""
        return FactorMerges(found)


class CorrelationProblem(OneFactorProblem):
    """A search in a correlation matrix whose number of samples is unknown."""

    bound = N_VARIABLES

    def __init__(self, R: GivenCorrelation) -> None:
        super().__init__(R)
        self.max_blocks = R.n
        self.usual_blocks = max(min(MAX_BLOCKS, (R.n + 1) // 2, R.n_samples - 2), 1)


def most_blocks(R: Correlations) -> int:
    """Return the largest number of blocks that has a likelihood."""
    by_rank = R.n if R.n_components == R.n else R.n_components - 1
    return max(min(by_rank, R.n_samples - 2), 1)
