"""Reads the source and the options of a search for blocks."""

from typing import Any, NamedTuple, Protocol

import numpy as np

from blockmat.blocks.checks import Array, as_count, as_flag, is_choice
from blockmat.blocks.names import check_names
from blockmat.blocks.shown import shown
from blockmat.finding.correlations.given_correlation import GivenCorrelation
from blockmat.finding.correlations.leading_spectrum import leading_spectrum
from blockmat.finding.correlations.similarity import Correlations, SymmetricMatrix
from blockmat.finding.criteria.criteria import Criterion
from blockmat.finding.networks.network import Network
from blockmat.finding.problems.matrix_problems import MatrixProblem, NetworkProblem
from blockmat.finding.problems.sample_problems import (
    BlockConstantProblem,
    CorrelationProblem,
    OneFactorProblem,
)
from blockmat.finding.search.merging import Merges
from blockmat.finding.search.search import Search, SearchOptions
from blockmat.sources.correlation_matrix import as_correlation, first_beyond_one, has_unit_diagonal

_CRITERIA = ("misfit", "icl", "bic", "cv")
_MIN_VARIANCE = 1e-10  # of correlations in double precision
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
    source: Any, loadings: bool | None, criterion: str | None, n_samples: int | None
) -> tuple[Problem, str]:
    """Return the problem of a symmetric matrix, and its criterion.

    The matrix is the correlation or covariance matrix of samples if their number is given or there
    are `loadings`. By default it is if it can be a correlation matrix.
    """
    check_names(source)
    if n_samples is not None or loadings:
        model = as_model(loadings, criterion, True, samples=False)
        if n_samples is not None:
            n_samples = as_count(n_samples, "n_samples", 3)
        elif model.criterion != "misfit":
            raise ValueError(
                f"criterion is {model.criterion!r} with loadings=True; expected n_samples too, or "
                f"'misfit', which needs no number of samples"
            )
        C, _ = as_correlation(source, "source")
        given = GivenCorrelation(C, leading_spectrum(C), n_samples)
        if n_samples is None:
            return CorrelationProblem(given), model.criterion
        return problem_of_samples(given, model.loadings, _min_variance(C)), model.criterion
    matrix = SymmetricMatrix(source)
    if matrix.n == 0:
        raise ValueError("source has no variables; expected at least one")
    if loadings is None and criterion in (None, "misfit"):
        alone = _as_correlations(matrix)
        if alone is not None:
            return CorrelationProblem(alone), "misfit"
    return MatrixProblem(matrix), as_model(loadings, criterion, False, samples=False).criterion


def _as_correlations(source: SymmetricMatrix) -> GivenCorrelation | None:
    """Return the correlations that a matrix holds, or None for any other matrix.

    A correlation matrix is dense, has ones on the diagonal, and entries from -1 to 1. A small
    share of its eigenvalues may be negative, as in pairwise and rounded correlations.
    """
    C = source.matrix
    if source.is_sparse or not has_unit_diagonal(C) or first_beyond_one(C) is not None:
        return None
    spectrum = leading_spectrum(C)
    if spectrum.negative_share > _MAX_NEGATIVE:
        return None
    return GivenCorrelation(C, spectrum)


def read_network(
    source: Any,
    loadings: bool | None,
    criterion: str | None,
    n_samples: int | None,
    signs: bool,
) -> tuple[Problem, str]:
    """Return the problem of the adjacency matrix of a network, and its criterion."""
    check_names(source)
    for name, value in (("n_samples", n_samples), ("signs", signs), ("loadings", loadings)):
        if value:
            raise ValueError(
                f"{name} is {value} with degrees=True; expected a network, without samples, signs "
                f"and loadings"
            )
    model = as_model(loadings, criterion, False, samples=False)
    return NetworkProblem(Network(source)), model.criterion


def problem_of_samples(
    correlations: Correlations, loadings: bool, least: float | None = None
) -> BlockConstantProblem | OneFactorProblem:
    """Return the problem of the correlations of T samples; variances below `least` are rounding."""
    if loadings:
        return OneFactorProblem(correlations)
    return BlockConstantProblem(correlations, least)


def _min_variance(C: Array) -> float:
    """Return what is rounding in the correlations of a matrix."""
    return max(_MIN_VARIANCE, float(np.finfo(C.dtype).eps))


def as_model(
    loadings: bool | None, criterion: str | None, has_loadings: bool, samples: bool
) -> Model:
    """Return the model and the criterion, by default those for samples or for a matrix.

    `has_loadings` is the default of `loadings`, and `samples` tells whether samples are given.

    Raises
    ------
    TypeError
        If `loadings` is not a bool.
    ValueError
        If the criterion is unknown, or needs samples or loadings.
    """
    loadings = has_loadings if loadings is None else as_flag(loadings, "loadings")
    if criterion is None:
        return Model(loadings, "misfit" if loadings else "icl")
    if not is_choice(criterion, _CRITERIA):
        raise ValueError(
            f"criterion is {shown(criterion)}; expected 'misfit', 'icl', 'bic' or 'cv'"
        )
    if criterion == "cv" and not samples:
        raise ValueError("criterion is 'cv' with samples=False; only samples can be held out")
    if criterion == "misfit" and not loadings:
        raise ValueError(
            "criterion is 'misfit', which expects blocks whose loadings differ, of samples or of a "
            "correlation matrix"
        )
    return Model(loadings, criterion)


def check_n_blocks(value: int, name: str, max_blocks: int, bound: str) -> int:
    """Return a number of blocks as an int, from 1 to `max_blocks`, which is `bound` in words."""
    k = as_count(value, name, 1)
    if k > max_blocks:
        raise ValueError(f"{name} is {k}; expected at most {max_blocks}: {bound}")
    return k
