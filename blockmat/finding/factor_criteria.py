"""Criteria that compare numbers of blocks of one factor each (:ref:`theory-misfit`)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.finding.criteria import label_deviance
from blockmat.finding.one_factor import OneFactorModel, discrepancy
from blockmat.finding.similarity import Correlation, Correlations
from blockmat.matrices.block_factor import BlockFactorMatrix

_LEAST = 1e-6  # loading, because a factor cannot have loadings of zero only


class FactorCriterion:
    """The integrated completed likelihood, or the Bayesian information criterion.

    With `misfit` the number of samples T becomes ``1 / (1 / T + v)``, where v is the variance of
    the errors of the model, in units of correlations. It is estimated from the best partition.
    """

    def __init__(self, R: Correlations, misfit: bool, with_labels: bool, contiguous: bool) -> None:
        self.R, self.misfit = R, misfit
        self.with_labels, self.contiguous = with_labels, contiguous

    def values(self, found: Sequence[OneFactorModel]) -> list[float]:
        """Return the values of partitions into increasing numbers of blocks.

        With `misfit`, the estimate of v and the best of the partitions are the end of a sequence:
        the best partition without misfit, its v, the best partition with this v, and so on. The
        number of blocks falls and v rises, until both stay.
        """
        values = self._values(found, 0.0)
        best = int(np.argmin(values))
        while self.misfit:
            values = self._values(found, misfit_variance(self.R, found[best]))
            before, best = best, int(np.argmin(values[: best + 1]))
            if best == before:
                break
        return values

    def _values(self, found: Sequence[OneFactorModel], variance: float) -> list[float]:
        n_samples = 1 / (1 / self.R.n_samples + variance)
        values = []
        for model in found:
            k = len(model.factors)
            value = n_samples * model.loss + np.log(n_samples) * k * (k - 1) / 2
            if self.with_labels:
                value += label_deviance(model.labels, self.contiguous)
            values.append(float(value))
        return values


def misfit_variance(R: Correlations, model: OneFactorModel) -> float:
    """Return the mean squared error of the model's correlations, without that of the samples.

    The errors are those of whitened variables. The estimate is zero if they are no larger than
    those of samples of a true model.
    """
    n, k = len(model.labels), len(model.factors)
    free = n * (n - 1) / 2 - n - k * (k - 1) / 2  # degrees of freedom
    if free < 1:
        return 0.0
    return max(discrepancy(R, model) / free - 1 / R.n_samples, 0.0)


def one_factor_model(train: Correlation, found: OneFactorModel) -> tuple[Any, Array]:
    """Return the model as a matrix, and the signs of its variables, which are 1."""
    p = Partition(found.sizes, found.labels)
    loadings = np.where(found.loadings == 0, _LEAST, found.loadings)
    return BlockFactorMatrix(p, found.factors, found.noise, loadings), np.ones(train.n)
