"""solve: read the arguments of find_partition or partition_path, and search for blocks."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from blockmat.blocks.checks import Array, as_flag
from blockmat.finding.correlations.expected_correlation import ExpectedCorrelation
from blockmat.finding.correlations.gaps import HasBest, Result, find_with_gaps
from blockmat.finding.correlations.similarity import Correlation, Correlations
from blockmat.finding.problems.problem import (
    Model,
    Problem,
    as_model,
    problem_of_samples,
    read_matrix,
    read_network,
)
from blockmat.finding.problems.read_samples import SampleOptions, read_samples, refuse_n_samples
from blockmat.fitting.gapped_rows import GappedRows
from blockmat.fitting.held_out import min_training_size
from blockmat.sources.gapped_samples import GappedSamples
from blockmat.sources.standardize import StandardRows
from blockmat.sources.weighted_samples import WeightedSamples


class Request(NamedTuple):
    """Arguments of `blockmat.find_partition` that tell what to search."""

    samples: bool = False
    signs: bool = False
    loadings: bool | None = None
    criterion: str | None = None
    n_samples: int | None = None
    degrees: bool = False
    of_samples: SampleOptions = SampleOptions()

    def checked(self) -> "Request":
        """Return the request with bools of Python, or raise TypeError for what is no bool."""
        loadings = self.loadings
        return self._replace(
            samples=as_flag(self.samples, "samples"),
            signs=as_flag(self.signs, "signs"),
            degrees=as_flag(self.degrees, "degrees"),
            loadings=None if loadings is None else as_flag(loadings, "loadings"),
        )


class Question(NamedTuple):
    """What to search, and how to choose the number of blocks.

    `X` (T, n) are the samples that "cv" holds out; it is None for other criteria.
    """

    problem: Problem
    criterion: str
    X: Array | None = None

    @property
    def max_blocks(self) -> int:
        """The largest number of blocks that is possible, also in the training samples of a fold."""
        if self.X is None:
            return self.problem.max_blocks
        least = min_training_size(len(self.X))
        if least < 3:
            raise ValueError(
                f"source has {len(self.X)} rows; criterion is 'cv', which expects at least 6 samples"
            )
        return min(self.problem.max_blocks, least - 2)


def solve(
    source: Any,
    request: Request,
    find: Callable[[Question], Result],
    find_as_many: Callable[[Question, int], HasBest] | None = None,
) -> Result:
    """Read a matrix, a network, or samples (T, n), and return what `find` finds.

    For samples with missing values there are several rounds, see `find_with_gaps`. `find_as_many`
    searches a given number of blocks, if `find` chooses it.
    """
    samples, signs, loadings, criterion, n_samples, degrees, of_samples = request.checked()
    if not samples:
        of_samples.require_none()
        if degrees:
            return find(Question(*read_network(source, loadings, criterion, n_samples, signs)))
        return find(Question(*read_matrix(source, loadings, criterion, n_samples)))
    model = as_model(loadings, criterion, True, samples)
    refuse_n_samples(n_samples)
    if degrees:
        raise ValueError(
            "samples is True with degrees=True; expected a network, without samples, signs "
            "and loadings"
        )

    def question(correlations: Correlations, X: Array | None = None) -> Question:
        return Question(problem_of_samples(correlations, model.loadings), model.criterion, X)

    def find_in(correlations: Correlations) -> Result:
        return find(question(correlations))

    if isinstance(source, Correlation | ExpectedCorrelation):
        return find_in(source)
    data = read_samples(source, of_samples)
    X = _held_out(data, model)
    if isinstance(data, GappedSamples):
        rows = GappedRows.of(data.standardize(True, True))
        as_many = None if find_as_many is None else partial(_as_many, find_as_many, question)
        return find_with_gaps(rows, data.n_joint, of_samples.missing, find_in, as_many)
    return find(question(correlation_of(data), X))


def _as_many(
    find_as_many: Callable[[Question, int], HasBest],
    question: Callable[[Correlations], Question],
    correlations: Correlations,
    n_blocks: int,
) -> HasBest:
    """Search a number of blocks, or as many as there can be."""
    asked = question(correlations)
    return find_as_many(asked, min(n_blocks, asked.problem.max_blocks))


def correlation_of(samples: WeightedSamples) -> Correlation:
    """Return the weighted correlations of samples without gaps."""
    standardized = samples.standardize(True, True)
    rounding = standardized.rounding(samples.X.dtype)
    return Correlation(StandardRows(standardized.deviations, samples.n_joint, rounding))


def _held_out(data: WeightedSamples | GappedSamples, model: Model) -> Array | None:
    """Return the samples if the criterion holds some of them out, or None."""
    if model.criterion != "cv":
        return None
    for name, is_given in (
        ("missing values", isinstance(data, GappedSamples)),
        ("weights", data.weights is not None),
    ):
        if is_given:
            raise ValueError(
                f"criterion is 'cv' and the samples have {name}; expected 'misfit', 'icl' or 'bic'"
            )
    return data.X
