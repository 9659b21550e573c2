"""Criteria that compare numbers of blocks, derived in :ref:`theory-blocks`."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.finding.correlations.similarity import Correlation
from blockmat.finding.search.kmeans import Solution, in_order
from blockmat.finding.search.objectives import GaussianLoss, Objective
from blockmat.finding.search.search import Found, Search
from blockmat.fitting.fit_samples import fit_samples
from blockmat.fitting.held_out import map_in_threads, squared_distances, train_test_folds
from blockmat.sources.pair import n_parameters
from blockmat.sources.standardize import compress_rows


class Criterion(Protocol):
    """A value for each partition that was found; the lowest is best."""

    def values(self, found: Sequence[Any]) -> list[float]:
        """Return the values of partitions into different numbers of blocks."""


class InformationCriterion:
    """The Bayesian information criterion.

    With the deviance of the labels it is the integrated completed likelihood.
    """

    def __init__(self, objective: Objective, with_labels: bool, contiguous: bool) -> None:
        self.objective, self.with_labels, self.contiguous = objective, with_labels, contiguous

    def values(self, found: Sequence[Solution]) -> list[float]:
        """Return the values of partitions."""
        return [self._value(solution) for solution in found]

    def _value(self, solution: Solution) -> float:
        value = _bayesian_information(solution, self.objective)
        return value + (
            label_deviance(solution.labels, self.contiguous) if self.with_labels else 0.0
        )


def _bayesian_information(solution: Solution, objective: Objective) -> float:
    """Return the deviance plus log T for each parameter; samples have a small-sample correction."""
    p = in_order(solution.labels)
    q = n_parameters(p)
    criterion = objective.deviance(solution.blocks) + np.log(objective.n_observations) * q
    if isinstance(objective, GaussianLoss):
        criterion += optimism(p, int(objective.n_observations)) - 2 * q
    return float(criterion)


def optimism(p: Partition, n_samples: int) -> float:
    """Return how much higher the deviance of new samples is expected to be than that of the fit.

    It is infinite for T - 2 or more blocks, and approaches twice the number of parameters for
    many samples, up to a constant that all partitions share.
    """
    T, k, m = n_samples, p.n_blocks, p.sizes[p.sizes > 1] - 1
    if T - k - 2 <= 0 or (m * (T - 1) <= 2).any():
        return np.inf
    fitted = T * k / (T - k - 2) + (T * m**2 / (m * (T - 1) - 2)).sum()
    return float(T * (fitted - p.n))


def label_deviance(labels: Array, contiguous: bool) -> float:
    """Return minus twice the log-likelihood of the labels.

    It is twice their entropy, or for intervals twice the logarithm of the number of ways to cut
    n variables into k intervals.
    """
    sizes = np.bincount(labels)
    n, k = sizes.sum(), len(sizes)
    if contiguous:
        return 2 * float(np.log((n - np.arange(1, k)) / np.arange(1, k)).sum())
    return 2 * float((sizes * np.log(n / sizes)).sum())


# From the training samples and a partition of theirs to a covariance matrix (n, n), and the signs
# of the standardized variables to which it belongs
FitModel = Callable[[Correlation, Any], tuple[Any, Array]]


class HeldOutDeviance:
    """The deviance of each fifth of the samples under the model of the other samples."""

    def __init__(
        self,
        X: Array,
        make_search: Callable[[Correlation], Search],
        fit_model: FitModel,
        n_jobs: int | None,
    ) -> None:
        def hold_out(fold: tuple[Array, Array]) -> HeldOutFold:
            train, test = fold
            return HeldOutFold(Correlation(train), test, make_search, fit_model)

        self.n_jobs = n_jobs
        self.known: dict[int, float] = {}
        self.folds: list[HeldOutFold] = map_in_threads(hold_out, train_test_folds(X), n_jobs)

    def values(self, found: Sequence[Found]) -> list[float]:
        """Return the sums over the folds, for as many blocks as the partitions have."""
        numbers = [int(each.labels.max()) + 1 for each in found]
        for k in numbers:
            if k not in self.known:
                self.known[k] = self._sum_over_folds(k)
        return [self.known[k] for k in numbers]

    def _sum_over_folds(self, k: int) -> float:
        return float(sum(map_in_threads(lambda fold: fold.deviance(k), self.folds, self.n_jobs)))


class HeldOutFold:
    """Test samples (T, n), and the search for blocks in the training samples."""

    def __init__(
        self,
        train: Correlation,
        test: Array,
        make_search: Callable[[Correlation], Search],
        fit_model: FitModel,
    ) -> None:
        self.train, self.search, self.fit_model = train, make_search(train), fit_model
        self.n_test = len(test)
        self.test = compress_rows((test - train.location) / train.scale)

    def deviance(self, k: int) -> float:
        """Return the deviance under the model of k blocks; infinity if that is singular."""
        model, signs = self.fit_model(self.train, self.search.find(k))
        try:
            distances = squared_distances(model, self.test * signs)
            return self.n_test * float(model.logdet()) + float(distances.sum())
        except np.linalg.LinAlgError:
            return np.inf


def block_constant_model(train: Correlation, found: Solution) -> tuple[Any, Array]:
    """Return the block-constant fit of the standardized training samples times signs."""
    signs = np.ones(train.n) if found.signs is None else found.signs
    Z = train.factor * np.sqrt(len(train.factor)) * signs
    return fit_samples(Z, in_order(found.labels), ddof=0, assume_centered=True), signs
