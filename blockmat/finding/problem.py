"""Reads the source and the options of a search for blocks."""

from typing import Any, NamedTuple, Protocol

import numpy as np

from blockmat.blocks.checks import Array, as_count
from blockmat.blocks.names import check_names
from blockmat.finding.criteria import Criterion, InformationCriterion
from blockmat.finding.degree_loss import DegreeLoss, IntegratedLikelihood
from blockmat.finding.effective_samples import effective_samples
from blockmat.finding.expected_correlation import ExpectedCorrelation, ExpectedRows
from blockmat.finding.given_correlation import GivenCorrelation
from blockmat.finding.leading_spectrum import leading_spectrum
from blockmat.finding.network import Network
from blockmat.finding.network_search import NetworkSearch
from blockmat.finding.objectives import FrobeniusLoss, GaussianLoss, Objective
from blockmat.finding.search import PartitionSearch, Search
from blockmat.finding.similarity import Correlation, Similarity, SymmetricMatrix
from blockmat.finding.tighter_search import TighterSearch
from blockmat.sources.correlation_matrix import as_correlation, first_beyond_one, has_unit_diagonal
from blockmat.sources.standardize import sum_of_squares

_N_VARIABLES = "the number of variables"
_OF_SAMPLES = "the smaller of the number of variables and T - 2, for T samples"
_CRITERIA = ("icl", "bic", "cv")
_MAX_BLOCKS = 50  # that are tried by default
_MIN_VARIANCE = 1e-10  # of a correlation matrix in double precision
_MAX_NEGATIVE = 0.05  # share of negative eigenvalues of what is taken for a correlation matrix
_FEWEST = 5  # samples that allow to compare 1 block with 2


class SearchOptions(NamedTuple):
    """Options of `PartitionSearch`."""

    contiguous: bool
    signs: bool
    random_state: Any


class Problem(Protocol):
    """What to partition, and what to minimize.

    ``max_blocks`` is the largest number of blocks that is possible, and ``usual_blocks`` the
    largest that is tried by default; `bound` is what limits `max_blocks`, in words.
    """

    bound: str
    max_blocks: int
    usual_blocks: int
    objective: Objective

    def search(self, k_max: int, options: SearchOptions) -> Search:
        """Return the search for partitions into up to `k_max` blocks."""

    def criterion(self, search: Search, with_labels: bool, contiguous: bool) -> Criterion:
        """Return the criterion that compares numbers of blocks."""


class KnownProblem:
    """A search with one objective: a matrix, samples, or the correlations of T samples.

    T samples allow T - 2 blocks.
    """

    def __init__(
        self, similarity: Similarity, objective: Objective, n_samples: int | None = None
    ) -> None:
        self.similarity, self.objective = similarity, objective
        n = similarity.n
        self.bound = _N_VARIABLES if n_samples is None else _OF_SAMPLES
        self.max_blocks = n if n_samples is None else min(n, n_samples - 2)
        usual = (n + 1) // 2 if n_samples is None else self.max_blocks
        self.usual_blocks = min(_MAX_BLOCKS, usual)

    def search(self, k_max: int, options: SearchOptions) -> Search:
        """Return the search for partitions into up to `k_max` blocks."""
        return PartitionSearch(self.similarity, self.objective, k_max, *options)

    def criterion(self, search: Search, with_labels: bool, contiguous: bool) -> Criterion:
        """Return the criterion that compares numbers of blocks."""
        return InformationCriterion(self.objective, with_labels, contiguous)


class CorrelationProblem:
    """A search in a correlation matrix whose number of samples is unknown.

    Blocks of a correlation matrix of rank r have a likelihood if there are fewer than r.
    """

    bound = _N_VARIABLES

    def __init__(self, similarity: GivenCorrelation) -> None:
        self.similarity = similarity
        self.squares = SymmetricMatrix(similarity.matrix)
        self.floor = _min_variance(similarity.matrix)
        self.objective: Objective = GaussianLoss(similarity.n_components + 1, self.floor)
        n, self.most_samples = similarity.n, similarity.most_samples
        self.max_blocks = n
        self.usual_blocks = min(_MAX_BLOCKS, (n + 1) // 2)
        if np.isfinite(self.most_samples):
            self.usual_blocks = max(min(self.usual_blocks, int(self.most_samples) - 2), 1)

    def search(self, k_max: int, options: SearchOptions) -> Search:
        """Return the search for partitions into up to `k_max` blocks."""
        frobenius = FrobeniusLoss(self.squares.squared_norm, self.squares.n)
        return TighterSearch(
            PartitionSearch(self.similarity, self.objective, k_max, *options),
            PartitionSearch(self.squares, frobenius, k_max, *options),
            self.similarity.n_components - 1,
        )

    def criterion(self, search: Search, with_labels: bool, contiguous: bool) -> Criterion:
        """Return the criterion of the effective number of samples."""
        solution = search.find(self.usual_blocks)
        n_samples = effective_samples(solution.blocks, sum_of_squares(self.similarity.matrix))
        objective = GaussianLoss(max(min(n_samples, self.most_samples), _FEWEST), self.floor)
        return InformationCriterion(objective, with_labels, contiguous)


class NetworkProblem:
    """A search for blocks of nodes, whatever their degrees."""

    bound = "the number of nodes with edges"

    def __init__(self, network: Network) -> None:
        self.network = network
        self.degree_loss = DegreeLoss(network.degrees, network.squared_norm)
        self.objective: Objective = self.degree_loss
        self.max_blocks = int(network.is_connected.sum())
        self.usual_blocks = min(_MAX_BLOCKS, (self.max_blocks + 1) // 2)

    def search(self, k_max: int, options: SearchOptions) -> Search:
        """Return the search for partitions into up to `k_max` blocks."""
        contiguous, _, random_state = options
        return NetworkSearch(self.network, self.degree_loss, k_max, contiguous, random_state)

    def criterion(self, search: Search, with_labels: bool, contiguous: bool) -> Criterion:
        """Return the criterion that compares numbers of blocks."""
        return IntegratedLikelihood(self.degree_loss, with_labels, contiguous)


def read_problem(
    source: Any, samples: bool, n_samples: int | None, degrees: bool, signs: bool
) -> Problem:
    """Read a symmetric matrix, samples (T, n), the correlation matrix of T samples, or a network."""
    if degrees:
        for name, value in (("samples", samples), ("n_samples", n_samples), ("signs", signs)):
            if value:
                raise ValueError(
                    f"{name} is {value} with degrees=True; expected a network, without samples and "
                    f"signs"
                )
        check_names(source)
        return NetworkProblem(Network(source))
    if samples:
        if n_samples is not None:
            raise ValueError(
                f"n_samples is {n_samples} with samples=True; expected it only for a correlation "
                f"matrix"
            )
        correlation = sample_correlations(source)
        known = min(correlation.n_samples, correlation.n_rows)
        return KnownProblem(correlation, GaussianLoss(correlation.n_samples), known)
    check_names(source)
    if n_samples is not None:
        n_samples = as_count(n_samples, "n_samples", 3)
        C, _ = as_correlation(source, "source")
        given = GivenCorrelation(C, leading_spectrum(C), n_samples)
        return KnownProblem(given, GaussianLoss(n_samples, _min_variance(C)), n_samples)
    matrix = SymmetricMatrix(source)
    if matrix.n == 0:
        raise ValueError("source has no variables; expected at least one")
    only = _as_correlation_problem(matrix)
    if only is not None:
        return only
    return KnownProblem(matrix, FrobeniusLoss(matrix.squared_norm, matrix.n, matrix.exponent))


def _as_correlation_problem(source: SymmetricMatrix) -> CorrelationProblem | None:
    """Return the problem of a correlation matrix, or None for any other matrix.

    A correlation matrix is dense, has ones on the diagonal, and entries from -1 to 1. A small
    share of its eigenvalues may be negative, as in pairwise and rounded correlations.
    """
    C = source.matrix
    if source.is_sparse or not has_unit_diagonal(C) or first_beyond_one(C) is not None:
        return None
    spectrum = leading_spectrum(C)
    if spectrum.negative_share > _MAX_NEGATIVE:
        return None
    return CorrelationProblem(GivenCorrelation(C, spectrum))


def _min_variance(C: Array) -> float:
    """Return what is rounding in the correlations of a matrix."""
    return max(_MIN_VARIANCE, float(np.finfo(C.dtype).eps))


def sample_correlations(source: Any) -> Correlation | ExpectedCorrelation:
    """Return the correlations of samples, of which missing values may have been filled in."""
    if isinstance(source, ExpectedRows):
        return ExpectedCorrelation(source)
    return Correlation(source)


def check_criterion(criterion: str, samples: bool) -> None:
    """Raise ValueError for another criterion, or for "cv" without samples."""
    if criterion not in _CRITERIA:
        raise ValueError(f"criterion is {criterion!r}; expected 'icl', 'bic' or 'cv'")
    if criterion == "cv" and not samples:
        raise ValueError("criterion is 'cv' with samples=False; only samples can be held out")


def check_n_blocks(value: int, name: str, max_blocks: int, bound: str) -> int:
    """Return a number of blocks as an int, from 1 to `max_blocks`, which is `bound` in words."""
    k = as_count(value, name, 1)
    if k > max_blocks:
        raise ValueError(f"{name} is {k}; expected at most {max_blocks}: {bound}")
    return k
