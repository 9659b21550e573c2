"""WeightedSamples: the rows that count, with their weights and how many samples they are worth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.names import kept_names, names_of
from blockmat.sources.counts import whole
from blockmat.sources.standardize import ColumnRange, Standardized, standardize
from blockmat.sources.weights import Weights, as_weights


@dataclass(frozen=True)
class WeightedSamples:
    """Samples X (T, n), one per row, with positive weights, or None if all are 1.

    `names` (n,) are the names of the columns, for messages.
    """

    X: Array
    weights: Weights | None = None
    names: Sequence[Any] | None = None

    @classmethod
    def of(
        cls, X: Array, weights: Weights, names: Sequence[Any] | None = None
    ) -> "WeightedSamples":
        """Return the samples without those of weight zero."""
        counting = weights.values > 0
        samples = cls(X, weights, names)
        return samples if counting.all() else samples.rows(counting)

    @classmethod
    def checked(
        cls, X: Array, sample_weight: Any, weight_type: str, source: Any
    ) -> "WeightedSamples":
        """Return samples X with weights as a user gives them for the source; see `as_weights`."""
        weights = as_weights(sample_weight, len(X), weight_type, source=source)
        names = names_of(source, 1)
        return cls(X, None, names) if sample_weight is None else cls.of(X, weights, names)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the samples."""
        return self.X.dtype

    @property
    def n_rows(self) -> int:
        """The number of samples of positive weight."""
        return len(self.X)

    @property
    def counting(self) -> Array:
        """The numbers of the samples, which all count, (T,)."""
        return np.arange(self.n_rows)

    @property
    def total(self) -> float:
        """The sum of the weights."""
        return float(self.n_rows) if self.weights is None else self.weights.total

    @property
    def n_effective(self) -> float:
        """The number of samples for criteria, as `Weights.n_effective`."""
        return float(self.n_rows) if self.weights is None else self.weights.n_effective

    @property
    def n_joint(self) -> int:
        """The same without its fraction, as of `GappedSamples`."""
        return whole(self.n_effective)

    @property
    def relative_weights(self) -> Array | None:
        """The weights (T,) divided by their mean, or None."""
        if self.weights is None:
            return None
        relative: Array = self.weights.values / (self.total / self.n_rows)
        return relative

    def rows(self, index: Array) -> "WeightedSamples":
        """Return some of the samples."""
        weights = None if self.weights is None else self.weights.rows(index)
        return replace(self, X=self.X[index], weights=weights)

    def columns(self, index: Array) -> "WeightedSamples":
        """Return the samples of the variables that a mask (n,) keeps."""
        return replace(self, X=self.X[:, index], names=kept_names(self.names, index))

    def range(self, centre: bool) -> ColumnRange:
        """Return the range of each variable; with zero if the mean is known to be zero."""
        return ColumnRange.of(self.X, centre)

    def standardize(self, centre: bool, unit_variance: bool, hint: str = "") -> Standardized:
        """Subtract the weighted mean and divide by the deviations; see `standardize`."""
        return standardize(self.X, centre, unit_variance, hint, self.relative_weights, self.names)
