"""Criteria that compare numbers of blocks, derived in :ref:`theory-blocks`."""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.finding.kmeans import Solution, in_order
from blockmat.finding.objectives import GaussianLoss, Objective
from blockmat.finding.search import PartitionSearch
from blockmat.finding.similarity import Correlation, Similarity
from blockmat.fitting.fit_samples import fit_samples
from blockmat.fitting.held_out import map_in_threads, squared_distances, train_test_folds
from blockmat.sources.pair import n_parameters
from blockmat.sources.standardize import compress_rows


class Criterion(Protocol):
    """A value for each partition that was found; the lowest is best."""

    def value(self, solution: Solution) -> float:
        """Return the value of a partition."""


class InformationCriterion:
    """The Bayesian information criterion.

    With the deviance of the labels it is the integrated completed likelihood.
    """

    def __init__(self, objective: Objective, with_labels: bool, contiguous: bool) -> None:
        self.objective, self.with_labels, self.contiguous = objective, with_labels, contiguous

    def value(self, solution: Solution) -> float:
        """Return the value of a partition."""
        value = _bayesian_information(solution, self.objective)
        return value + (label_deviance(solution, self.contiguous) if self.with_labels else 0.0)


def _bayesian_information(solution: Solution, objective: Objective) -> float:
    """Return the deviance plus log T for each parameter; samples have a small-sample correction."""
    p = in_order(solution.blocks.labels)
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


def label_deviance(solution: Solution, contiguous: bool) -> float:
    """Return minus twice the log-likelihood of the labels.

    It is twice their entropy, or for intervals twice the logarithm of the number of ways to cut
    n variables into k intervals.
    """
    sizes = solution.blocks.sizes
    n, k = sizes.sum(), len(sizes)
    if contiguous:
        return 2 * float(np.log((n - np.arange(1, k)) / np.arange(1, k)).sum())
    return 2 * float((sizes * np.log(n / sizes)).sum())


class HeldOutDeviance:
    """The deviance of each fifth of the samples under the model of the other samples."""

    def __init__(
        self,
        X: Array,
        make_search: Callable[[Similarity, Objective], PartitionSearch],
        n_jobs: int | None,
    ) -> None:
        def hold_out(fold: tuple[Array, Array]) -> HeldOutFold:
            train, test = fold
            similarity = Correlation(train)
            return HeldOutFold(similarity, test, make_search(similarity, GaussianLoss(len(train))))

        self.n_jobs = n_jobs
        self.folds: list[HeldOutFold] = map_in_threads(hold_out, train_test_folds(X), n_jobs)

    def value(self, solution: Solution) -> float:
        """Return the sum over the folds, for as many blocks as the partition has."""
        k = len(solution.blocks.sizes)
        return float(sum(map_in_threads(lambda fold: fold.deviance(k), self.folds, self.n_jobs)))


class HeldOutFold:
    """Test samples (T, n), and the search for blocks in the training samples."""

    def __init__(self, train: Correlation, test: Array, search: PartitionSearch) -> None:
        self.train, self.search = train, search
        self.n_test = len(test)
        self.test = compress_rows((test - train.location) / train.scale)

    def deviance(self, k: int) -> float:
        """Return the deviance under the model of k blocks; infinity if that is singular."""
        found = self.search.find(k)
        signs = np.ones(self.train.n) if found.signs is None else found.signs
        Z = self.train.factor * np.sqrt(len(self.train.factor)) * signs
        model = fit_samples(Z, in_order(found.blocks.labels), ddof=0, assume_centered=True)
        try:
            distances = squared_distances(model, self.test * signs)
            return self.n_test * float(model.logdet()) + float(distances.sum())
        except np.linalg.LinAlgError:
            return np.inf
