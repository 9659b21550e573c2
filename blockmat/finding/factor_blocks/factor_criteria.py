"""Criteria that compare numbers of blocks of one factor each (:ref:`theory-misfit`)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.finding.correlations.similarity import Correlation, Correlations
from blockmat.finding.criteria.criteria import label_deviance
from blockmat.finding.factor_blocks.one_factor import OneFactorModel, discrepancy
from blockmat.matrices.block_factor import BlockFactorMatrix

_LEAST = 1e-6  # loading, because a factor cannot have loadings of zero only


class FactorCriterion:
    """The integrated completed likelihood, or the Bayesian information criterion."""

    def __init__(self, R: Correlations, with_labels: bool, contiguous: bool) -> None:
        self.R, self.with_labels, self.contiguous = R, with_labels, contiguous

    def values(self, found: Sequence[OneFactorModel]) -> list[float]:
        """Return the values of partitions."""
        T = self.R.n_samples
        return [T * model.loss + self.penalty(model, T) for model in found]

    def penalty(self, model: OneFactorModel, n_samples: float) -> float:
        """Return what a criterion adds to the deviance of so many samples."""
        k = len(model.factors)
        penalty = np.log(n_samples) * k * (k - 1) / 2
        penalty += n_samples * excess_optimism(k, self.R.n_samples)
        if self.with_labels:
            penalty += label_deviance(model.labels, self.contiguous)
        return float(penalty)


class MisfitCriterion:
    """The integrated completed likelihood of models that are only nearly true.

    Each of the correlations of whitened variables has an error of its own with variance v, beside
    that of the samples, 1 / T. The criterion maximizes over v.
    """

    def __init__(self, R: Correlations, contiguous: bool) -> None:
        self.R, self.likelihood = R, FactorCriterion(R, True, contiguous)
        self._measured: dict[int, tuple[OneFactorModel, float]] = {}

    def values(self, found: Sequence[OneFactorModel]) -> list[float]:
        """Return the values of partitions.

        The discrepancy of the model that fits best is measured, and the others exceed it by the
        difference of their losses. Unlike the loss it has a known mean, also for T < n.
        """
        T, n = self.R.n_samples, self.R.n
        free = np.array([degrees_of_freedom(model) for model in found])
        discrepancies = np.array([self._discrepancy(model) for model in found])
        losses = np.array([model.loss for model in found])
        best = int(np.argmin(np.where(free > 0, discrepancies / np.maximum(free, 1), np.inf)))
        excess = np.maximum(discrepancies[best] + losses - losses[best], 0)
        variances = np.maximum(np.where(free > 0, excess / np.maximum(free, 1), 0), 1 / T)
        deviances = n * (n - 1) / 2 * np.log(variances) + excess / variances
        penalties = [
            self.likelihood.penalty(m, 1 / v) + pairs_penalty(m, 1 / v)
            for m, v in zip(found, variances, strict=True)
        ]
        return [float(value) for value in deviances + penalties]

    def _discrepancy(self, model: OneFactorModel) -> float:
        """Return the discrepancy of a model, which is computed once."""
        if id(model) not in self._measured:  # the model is kept, so that no other has its identity
            self._measured[id(model)] = model, discrepancy(self.R, model)
        return self._measured[id(model)][1]


def degrees_of_freedom(model: OneFactorModel) -> float:
    """Return the number of correlations minus that of free parameters, which can be negative."""
    n, k = len(model.labels), len(model.factors)
    return n * (n - 1) / 2 - n - k * (k - 1) / 2


def pairs_penalty(model: OneFactorModel, n_samples: float) -> float:
    """Return what blocks of two variables cost: each as much as one more parameter.

    Such a block describes a single correlation, which can also be an error of the model.
    """
    return float((model.sizes == 2).sum() * np.log(n_samples))


def excess_optimism(k: int, n_samples: float) -> float:
    """Return the small-sample correction of the loss, which is infinite for T - 2 or more blocks.

    If k factors are observed in T samples, the loss of new samples is expected to be higher by
    ``k (k + 2) / (T - k - 2)``. The correction is the excess over the value for many samples.
    """
    T = n_samples
    return k * (k + 2) ** 2 / (T * (T - k - 2)) if T - k - 2 > 0 else np.inf


def one_factor_model(train: Correlation, found: OneFactorModel) -> tuple[Any, Array]:
    """Return the model as a matrix, and the signs of its variables, which are 1."""
    loadings = np.where(found.loadings == 0, _LEAST, found.loadings)
    return BlockFactorMatrix(found.partition, found.factors, found.noise, loadings), np.ones(
        train.n
    )
