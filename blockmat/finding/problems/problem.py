"""Reads the source and the options of a search for blocks."""

from typing import Any, NamedTuple, Protocol

from blockmat.blocks.checks import as_count
from blockmat.blocks.names import check_names
from blockmat.finding.correlations.given_correlation import GivenCorrelation
from blockmat.finding.correlations.leading_spectrum import leading_spectrum
from blockmat.finding.correlations.similarity import Correlations, SymmetricMatrix
from blockmat.finding.criteria.criteria import Criterion
from blockmat.finding.networks.network import Network
from blockmat.finding.problems.matrix_problems import (
    CorrelationProblem,
    MatrixProblem,
    NetworkProblem,
    min_variance,
)
from blockmat.finding.problems.sample_problems import BlockConstantProblem, OneFactorProblem
from blockmat.finding.search.merging import Merges
from blockmat.finding.search.search import Search, SearchOptions
from blockmat.sources.correlation_matrix import as_correlation, first_beyond_one, has_unit_diagonal

_CRITERIA = ("misfit", "icl", "bic", "cv")
_MAX_NEGATIVE = 0.05  # share of negative eigenvalues of what is taken for a correlation matrix


class Problem(Protocol):
    """What to partition, and what to minimize.

    ``max_blocks`` is the largest number of blocks that is possible, and ``usual_blocks`` the
    largest that is tried by default; `bound` is what limits `max_blocks`, in words. Losses are in
    units of ``2**exponent``.
    """

    bound: str
    max_blocks: int
    usual_blocks: int
    exponent: int

    def search(self, k_max: int, options: SearchOptions) -> Search:
        """Return the search for partitions into up to `k_max` blocks."""

    def criterion(self, name: str, search: Search, contiguous: bool) -> Criterion:
        """Return a criterion that compares numbers of blocks and needs no samples."""

    def merges(self, found: Any) -> Merges:
        """Return the loss as a function of merged blocks of a partition, a `Found`.

        The blocks are in the order of their first variables.
        """


class Model(NamedTuple):
    """The model of the blocks and the criterion for their number."""

    loadings: bool
    criterion: str


def read_matrix(
    source: Any, model: Model, n_samples: int | None, degrees: bool, signs: bool
) -> Problem:
    """Read a symmetric matrix, the correlation matrix of T samples, or a network."""
    check_names(source)
    if degrees:
        for name, value in (("n_samples", n_samples), ("signs", signs)):
            if value:
                raise ValueError(
                    f"{name} is {value} with degrees=True; expected a network, without samples and "
                    f"signs"
                )
        return NetworkProblem(Network(source))
    if n_samples is not None:
        n_samples = as_count(n_samples, "n_samples", 3)
        C, _ = as_correlation(source, "source")
        given = GivenCorrelation(C, leading_spectrum(C), n_samples)
        return problem_of_samples(given, model.loadings, min_variance(C))
    matrix = SymmetricMatrix(source)
    if matrix.n == 0:
        raise ValueError("source has no variables; expected at least one")
    return _as_correlation_problem(matrix) or MatrixProblem(matrix)


def problem_of_samples(
    correlations: Correlations, loadings: bool, least: float | None = None
) -> BlockConstantProblem | OneFactorProblem:
    """Return the problem of the correlations of T samples; variances below `least` are rounding."""
    if loadings:
        return OneFactorProblem(correlations)
    return BlockConstantProblem(correlations, least)


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


def as_model(
    loadings: bool | None, criterion: str | None, has_samples: bool, samples: bool
) -> Model:
    """Return the model and the criterion, by default those for samples or for a matrix.

    `has_samples` tells whether the number of samples is known, and `samples` whether they are
    given.

    Raises
    ------
    TypeError
        If `loadings` is not a bool.
    ValueError
        If the criterion is unknown, or it or `loadings` needs samples.
    """
    if loadings is not None and not isinstance(loadings, bool):
        raise TypeError(f"loadings is {loadings!r}; expected True, False or None")
    if loadings and not has_samples:
        raise ValueError(
            "loadings is True with samples=False; expected samples, or a correlation matrix with "
            "n_samples"
        )
    loadings = has_samples if loadings is None else loadings
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


def check_n_blocks(value: int, name: str, max_blocks: int, bound: str) -> int:
    """Return a number of blocks as an int, from 1 to `max_blocks`, which is `bound` in words."""
    k = as_count(value, name, 1)
    if k > max_blocks:
        raise ValueError(f"{name} is {k}; expected at most {max_blocks}: {bound}")
    return k
