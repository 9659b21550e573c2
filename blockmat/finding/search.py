"""The search for blocks of one number k, and criteria that compare numbers of blocks."""

from collections.abc import Callable
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array, frozen
from blockmat.blocks.partition import Partition
from blockmat.finding.kmeans import (
    GaussianLoss,
    Objective,
    Solution,
    cheapest,
    cheapest_intervals,
    in_order,
    refine,
)
from blockmat.finding.similarity import Correlation, Similarity
from blockmat.finding.standardize import same_products
from blockmat.finding.starts import ChangePoints, Start, WardTree, signs_of, without_signs
from blockmat.fitting.fit_samples import fit_samples
from blockmat.fitting.held_out import squared_distances
from blockmat.sources.pair import n_parameters

_RANK = 20  # principal components to start from, unless more blocks are wanted
_STEP = 1.15  # between the numbers of blocks that are tried first


def coarse(k_max: int) -> list[int]:
    """Return 1 to k_max, with growing gaps."""
    numbers, k = [1], 1
    while k < k_max:
        k = min(max(k + 1, round(k * _STEP)), k_max)
        numbers.append(k)
    return numbers


class Search:
    """Partitions of one source into any number of blocks up to k_max."""

    def __init__(
        self,
        similarity: Similarity,
        objective: Objective,
        k_max: int,
        contiguous: bool,
        signs: bool,
        random_state: Any,
    ) -> None:
        rng = np.random.default_rng(random_state)
        self.similarity, self.objective = similarity, objective
        self.points = similarity.points(max(k_max, _RANK), rng)
        points = [self.points, without_signs(self.points)] if signs else [self.points]
        self.starts: list[Start] = [
            ChangePoints(x) if contiguous else WardTree(x, k_max, rng) for x in points
        ]
        self.assign = cheapest_intervals if contiguous else cheapest

    def solve(self, k: int) -> Solution:
        """Return the best solution found; with signs, one no worse than without."""
        plain = self._refine(k, self.starts[0].cut(k))
        if len(self.starts) == 1:
            return plain
        labels = self.starts[1].cut(k)
        turned = self._refine(k, labels, signs_of(self.points, labels))
        kept = self._refine(k, plain.blocks.labels, np.ones(len(labels)))
        return turned if turned.loss < kept.loss else kept

    def _refine(self, k: int, labels: Array, signs: Array | None = None) -> Solution:
        return refine(self.similarity, labels, k, self.objective, self.assign, signs)


class Fold:
    """Samples that are held out, and a search among the rest."""

    def __init__(
        self, rest: Array, fold: Array, search: Callable[[Similarity, Objective], Search]
    ) -> None:
        self.rest = Correlation(rest)
        self.n_new = len(fold)
        self.new = same_products((fold - self.rest.location) / self.rest.scale)
        self.search = search(self.rest, GaussianLoss(len(rest)))

    def deviance(self, k: int) -> float:
        """Return minus twice the log-likelihood of the samples; infinite for a singular model."""
        found = self.search.solve(k)
        signs = np.ones(self.rest.n) if found.signs is None else found.signs
        Z = self.rest.scores * np.sqrt(len(self.rest.scores)) * signs
        model = fit_samples(Z, in_order(found.blocks.labels), ddof=0, assume_centered=True)
        try:
            distances = squared_distances(model, self.new * signs)
            return self.n_new * float(model.logdet()) + float(distances.sum())
        except np.linalg.LinAlgError:
            return np.inf


def information(solution: Solution, objective: Objective) -> float:
    """Return the Bayesian information criterion, for samples with the term for few of them."""
    p = in_order(solution.blocks.labels)
    numbers = n_parameters(p)
    criterion = objective.deviance(solution.blocks) + np.log(objective.n_observations) * numbers
    if isinstance(objective, GaussianLoss):
        criterion += _optimism(p, int(objective.n_observations)) - 2 * numbers
    return float(criterion)


def _optimism(p: Partition, n_samples: int) -> float:
    """Return how much higher the deviance of new samples is expected to be than of the own.

    It is infinite with hardly more samples than blocks. With many it is, but for what all
    partitions share, twice the number of parameters.
    """
    T, k, m = n_samples, p.n_blocks, p.sizes[p.sizes > 1] - 1
    if T - k - 2 <= 0 or (m * (T - 1) <= 2).any():
        return np.inf
    fitted = T * k / (T - k - 2) + (T * m**2 / (m * (T - 1) - 2)).sum()
    return float(T * (fitted - p.n))


def label_penalty(solution: Solution, contiguous: bool) -> float:
    """Return minus twice the log-likelihood of the labels."""
    sizes = solution.blocks.sizes
    n, k = sizes.sum(), len(sizes)
    if contiguous:
        return 2 * float(np.log((n - np.arange(1, k)) / np.arange(1, k)).sum())
    return 2 * float((sizes * np.log(n / sizes)).sum())


def normal_signs(p: Partition, solution: Solution) -> Array:
    """Return signs that are 1 for the first variable of each block, read-only."""
    signs = np.ones(p.n) if solution.signs is None else solution.signs
    first = signs[p.order[p.offsets[:-1]]]
    return frozen((signs * p.expand(first)).astype(np.intp))
