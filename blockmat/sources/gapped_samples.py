"""GappedSamples: samples with missing values, their weights, and the names of the columns."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.names import kept_names
from blockmat.sources.counts import whole
from blockmat.sources.observed import require_values
from blockmat.sources.standardize import ColumnRange
from blockmat.sources.standardize_observed import StandardizedObserved, standardize_observed
from blockmat.sources.weights import Weights


@dataclass(frozen=True)
class GappedSamples:
    """Samples X (T, n), with NaN for missing values; `names` (n,) are for messages."""

    X: Array
    weights: Weights
    names: Sequence[Any] | None = None

    @cached_property
    def _kept(self) -> Weights:
        """The weights, and zero for samples without a value."""
        kept = np.asarray(~np.isnan(self.X).all(axis=1))
        return self.weights.where(kept)

    @property
    def n_rows(self) -> int:
        """The number of samples of positive weight with a value."""
        return len(self.counting)

    @property
    def counting(self) -> Array:
        """The numbers of the samples of positive weight with a value, ascending."""
        return np.flatnonzero(self._kept.values)

    @property
    def n_effective(self) -> float:
        """The number of samples for criteria, of those that have a value."""
        return self._kept.n_effective

    @cached_property
    def n_joint(self) -> int:
        """The number of samples in which two variables are both observed, on average."""
        weights, n = self._kept, self.X.shape[1]
        numbers = n - np.isnan(self.X).sum(axis=1).astype(np.float64)
        share = float(weights.values @ numbers**2) / weights.total / n**2
        return whole(weights.n_effective * share)

    def rows(self, index: Array) -> "GappedSamples":
        """Return some of the samples."""
        return replace(self, X=self.X[index], weights=self.weights.rows(index))

    def columns(self, index: Array) -> "GappedSamples":
        """Return the samples of the variables that a mask (n,) keeps."""
        return replace(self, X=self.X[:, index], names=kept_names(self.names, index))

    def range(self, centre: bool) -> ColumnRange:
        """Return the range of the values of each variable; with zero if the mean is known."""
        X = self.X if self.weights.values.all() else self.X[self.weights.values > 0]
        require_values((~np.isnan(X)).sum(axis=0), self.names)
        low = np.fmin.reduce(X, axis=0, initial=np.inf).astype(np.float64)
        high = np.fmax.reduce(X, axis=0, initial=-np.inf).astype(np.float64)
        found = ColumnRange(low, high)
        return found if centre else found.with_zero()

    def standardize(
        self, centre: bool, unit_variance: bool, hint: str = ""
    ) -> StandardizedObserved:
        """Subtract the mean of the values and divide by their deviations."""
        return standardize_observed(self.X, self.weights, centre, unit_variance, hint, self.names)
