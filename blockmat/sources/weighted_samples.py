"""WeightedSamples: the rows that count, with their weights and how many samples they are worth."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from blockmat.blocks.checks import Array
from blockmat.sources.standardize import ColumnRange, Standardized, standardize
from blockmat.sources.weights import Weights, as_weights


@dataclass(frozen=True)
class WeightedSamples:
    """Samples X (T, n), one per row, with positive weights (T,), or None if all are equal.

    `weight_type` is as for `as_weights`.
    """

    X: Array
    weights: Array | None = None
    weight_type: str = "frequency"

    @classmethod
    def of(cls, X: Array, weights: Weights | None, weight_type: str) -> "WeightedSamples":
        """Return the samples without those of weight zero."""
        if weights is None:
            return cls(X)
        counts = weights.values > 0
        return cls(X if counts.all() else X[counts], weights.values[counts], weight_type)

    @classmethod
    def checked(cls, X: Array, sample_weight: Any, weight_type: str) -> "WeightedSamples":
        """Return samples with weights as a user gives them; see `as_weights`."""
        weights = as_weights(sample_weight, len(X), weight_type)
        return cls.of(X, None if sample_weight is None else weights, weight_type)

    @property
    def n_rows(self) -> int:
        """The number of samples of positive weight."""
        return len(self.X)

    @cached_property
    def _checked(self) -> Weights:
        return as_weights(self.weights, self.n_rows, self.weight_type)

    @property
    def total(self) -> float:
        """The sum of the weights."""
        return self._checked.total

    @property
    def n_effective(self) -> float:
        """The number of samples for criteria: the sum of frequencies, or what reliabilities are worth."""
        return self._checked.n_effective

    @property
    def relative_weights(self) -> Array | None:
        """The weights (T,) divided by their mean, or None."""
        return None if self.weights is None else self.weights / (self.total / self.n_rows)

    def rows(self, index: Array) -> "WeightedSamples":
        """Return some of the samples."""
        weights = None if self.weights is None else self.weights[index]
        return replace(self, X=self.X[index], weights=weights)

    def columns(self, index: Array) -> "WeightedSamples":
        """Return the samples of some variables."""
        return replace(self, X=self.X[:, index])

    def range(self, centre: bool) -> ColumnRange:
        """Return the range of each variable; with zero if the mean is known to be zero."""
        return ColumnRange.of(self.X, centre)

    def standardize(self, centre: bool, unit_variance: bool, hint: str = "") -> Standardized:
        """Subtract the weighted mean and divide by the deviations; see `standardize`."""
        return standardize(self.X, centre, unit_variance, hint, self.relative_weights)
