"""read_problem: the search that a call of find_partition or partition_path asks for."""

from typing import Any, NamedTuple

from blockmat.finding.expected_correlation import sample_correlations
from blockmat.finding.problem import Model, Problem, as_model, problem_of_samples, read_matrix


class Request(NamedTuple):
    """Arguments of `blockmat.find_partition` that tell what to search."""

    samples: bool = False
    signs: bool = False
    loadings: bool | None = None
    criterion: str | None = None
    n_samples: int | None = None
    degrees: bool = False


def read_problem(source: Any, request: Request) -> tuple[Problem, Model]:
    """Read a matrix, a network, or samples (T, n), and the model of the blocks."""
    samples, signs, loadings, criterion, n_samples, degrees = request
    has_samples = samples or n_samples is not None
    model = as_model(loadings, criterion, has_samples, samples)
    if not samples:
        return read_matrix(source, model, n_samples, degrees, signs), model
    if n_samples is not None:
        raise ValueError(
            f"n_samples is {n_samples} with samples=True; expected it only for a correlation matrix"
        )
    if degrees:
        raise ValueError(
            "samples is True with degrees=True; expected a network, without samples and signs"
        )
    return problem_of_samples(sample_correlations(source), model.loadings), model
