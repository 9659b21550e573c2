"""Reads the source and the options of a search for blocks."""

from typing import Any, NamedTuple

from blockmat.blocks.checks import as_count
from blockmat.blocks.names import check_names
from blockmat.finding.expected_correlation import ExpectedCorrelation, ExpectedRows
from blockmat.finding.objectives import FrobeniusLoss, GaussianLoss, Objective
from blockmat.finding.similarity import Correlation, Similarity, SymmetricMatrix

_CRITERIA = ("icl", "bic", "cv")


class Problem(NamedTuple):
    """What to partition, what to minimize, and the largest number of blocks that is possible."""

    similarity: Similarity
    objective: Objective
    max_blocks: int


def read_problem(source: Any, samples: bool) -> Problem:
    """Read a symmetric matrix, or samples (T, n), which allow T - 2 blocks."""
    if samples:
        correlation = sample_correlations(source)
        n_samples = min(correlation.n_samples, correlation.n_rows)
        max_blocks = min(correlation.n, n_samples - 2)
        return Problem(correlation, GaussianLoss(correlation.n_samples), max_blocks)
    check_names(source)
    matrix = SymmetricMatrix(source)
    if matrix.n == 0:
        raise ValueError("source has no variables; expected at least one")
    objective = FrobeniusLoss(matrix.squared_norm, matrix.n, matrix.exponent)
    return Problem(matrix, objective, matrix.n)


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
