"""Reads the source and the options of a search for blocks."""

from typing import Any, NamedTuple

from blockmat.blocks.checks import Array, as_count
from blockmat.blocks.names import check_names
from blockmat.finding.criteria import (
    Criterion,
    HeldOutDeviance,
    InformationCriterion,
    block_constant_model,
)
from blockmat.finding.factor_criteria import FactorCriterion, MisfitCriterion, one_factor_model
from blockmat.finding.factor_search import FactorSearch
from blockmat.finding.objectives import FrobeniusLoss, GaussianLoss, Objective
from blockmat.finding.search import PartitionSearch, Search, SearchOptions
from blockmat.finding.similarity import Correlation, Similarity, SymmetricMatrix

_CRITERIA = ("misfit", "icl", "bic", "cv")


class Model(NamedTuple):
    """The model of the blocks and the criterion for their number."""

    loadings: bool
    criterion: str


class BlockConstantProblem:
    """What to partition, what to minimize, and the largest number of blocks that is possible."""

    def __init__(self, similarity: Similarity, objective: Objective, max_blocks: int) -> None:
        self.similarity, self.objective, self.max_blocks = similarity, objective, max_blocks
        self.exponent = objective.exponent if isinstance(objective, FrobeniusLoss) else 0

    def search(self, k_max: int, options: SearchOptions) -> Search:
        """Return the search for partitions into up to `k_max` blocks."""
        return PartitionSearch(self.similarity, self.objective, k_max, options)

    def criterion(self, name: str, contiguous: bool) -> Criterion:
        """Return a criterion that needs no samples."""
        return InformationCriterion(self.objective, name == "icl", contiguous)

    def held_out(
        self, X: Array, k_max: int, options: SearchOptions, n_jobs: int | None
    ) -> Criterion:
        """Return the criterion of held-out samples."""

        def make_search(train: Correlation) -> Search:
            return PartitionSearch(train, GaussianLoss(train.n_samples), k_max, options)

        return HeldOutDeviance(X, make_search, block_constant_model, n_jobs)


class OneFactorProblem:
    """The correlations to partition into blocks of one factor each."""

    exponent = 0

    def __init__(self, similarity: Correlation, max_blocks: int) -> None:
        self.similarity, self.max_blocks = similarity, max_blocks

    def search(self, k_max: int, options: SearchOptions) -> Search:
        """Return the search for partitions into up to `k_max` blocks."""
        return FactorSearch(self.similarity, k_max, options)

    def criterion(self, name: str, contiguous: bool) -> Criterion:
        """Return a criterion that needs no samples."""
        if name == "misfit":
            return MisfitCriterion(self.similarity, contiguous)
        return FactorCriterion(self.similarity, name == "icl", contiguous)

    def held_out(
        self, X: Array, k_max: int, options: SearchOptions, n_jobs: int | None
    ) -> Criterion:
        """Return the criterion of held-out samples."""

        def make_search(train: Correlation) -> Search:
            return FactorSearch(train, k_max, options)

        return HeldOutDeviance(X, make_search, one_factor_model, n_jobs)


Problem = BlockConstantProblem | OneFactorProblem


def read_problem(source: Any, samples: bool, loadings: bool) -> Problem:
    """Read a symmetric matrix, or samples (T, n), which allow T - 2 blocks."""
    if samples:
        correlation = Correlation(source)
        max_blocks = min(correlation.n, correlation.n_samples - 2)
        if loadings:
            return OneFactorProblem(correlation, max_blocks)
        return BlockConstantProblem(correlation, GaussianLoss(correlation.n_samples), max_blocks)
    check_names(source)
    matrix = SymmetricMatrix(source)
    if matrix.n == 0:
        raise ValueError("source has no variables; expected at least one")
    objective = FrobeniusLoss(matrix.squared_norm, matrix.n, matrix.exponent)
    return BlockConstantProblem(matrix, objective, matrix.n)


def as_model(loadings: bool | None, criterion: str | None, samples: bool) -> Model:
    """Return the model and the criterion, by default those for samples or for a matrix.

    Raises
    ------
    TypeError
        If `loadings` is not a bool.
    ValueError
        If the criterion is unknown, or it or `loadings` needs samples.
    """
    if loadings is not None and not isinstance(loadings, bool):
        raise TypeError(f"loadings is {loadings!r}; expected True, False or None")
    if loadings and not samples:
        raise ValueError("loadings is True with samples=False; expected samples")
    loadings = samples if loadings is None else loadings
    if criterion is None:
        return Model(loadings, "misfit" if loadings else "icl")
    if criterion not in _CRITERIA:
        raise ValueError(f"criterion is {criterion!r}; expected 'misfit', 'icl', 'bic' or 'cv'")
    if criterion == "cv" and not samples:
        raise ValueError("criterion is 'cv' with samples=False; only samples can be held out")
    if criterion == "misfit" and not loadings:
        raise ValueError(
            "criterion is 'misfit', which expects samples and blocks whose loadings differ"
        )
    return Model(loadings, criterion)


def check_n_blocks(value: int, name: str, max_blocks: int, samples: bool) -> int:
    """Return a number of blocks as an int, from 1 to `max_blocks`."""
    k = as_count(value, name, 1)
    if k > max_blocks:
        bound = (
            "the smaller of the number of variables and T - 2, for T samples"
            if samples
            else "the number of variables"
        )
        raise ValueError(f"{name} is {k}; expected at most {max_blocks}: {bound}")
    return k
