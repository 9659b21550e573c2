"""RunningSamples: all samples of a stream, reduced to as many rows as there are variables."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.names import kept_names
from blockmat.sources.standardize import (
    ColumnRange,
    Standardized,
    compress_rows,
    require_varying,
    standardize,
)
from blockmat.sources.weighted_samples import WeightedSamples


@dataclass(frozen=True)
class RunningSamples:
    """Weighted samples as rows D (m, n), m at most n, with their products about the mean.

    ``D.T @ D`` is the sum over samples of ``w (x - mean) (x - mean)^T``. So the covariance of all
    samples is exact, however they are divided into batches.
    """

    rows: Array
    mean: Array
    total: float  # of the weights
    squares: float  # of the weights, as in `Weights`
    n_rows: int
    columns_range: ColumnRange
    dtype: np.dtype[Any]
    names: Sequence[Any] | None = None  # of the columns, for messages

    @classmethod
    def of(cls, samples: WeightedSamples) -> "RunningSamples":
        """Return the summary of one batch."""
        deviations, mean, _ = samples.standardize(True, unit_variance=False)
        rows = compress_rows(deviations) * np.sqrt(samples.total / samples.n_rows)
        squares = samples.total**2 / samples.n_effective
        return cls(
            rows,
            mean,
            samples.total,
            squares,
            samples.n_rows,
            samples.range(True),
            samples.X.dtype,
            samples.names,
        )

    def decay(self, factor: float) -> "RunningSamples":
        """Return the same samples with their weights times a factor."""
        return replace(
            self,
            rows=self.rows * np.sqrt(factor),
            total=self.total * factor,
            squares=self.squares * factor**2,
        )

    def join(self, other: "RunningSamples") -> "RunningSamples":
        """Return these and other samples (Chan, Golub and LeVeque, 1983)."""
        total = self.total + other.total
        difference = other.mean - self.mean
        between = np.sqrt(self.total / total * other.total) * difference
        return RunningSamples(
            compress_rows(np.vstack([self.rows, other.rows, between])),
            self.mean + difference * (other.total / total),
            total,
            self.squares + other.squares,
            self.n_rows + other.n_rows,
            self.columns_range.join(other.columns_range),
            np.result_type(self.dtype, other.dtype),
            self.names,
        )

    @property
    def n_effective(self) -> float:
        """The number of samples for criteria, as `WeightedSamples.n_effective`."""
        return self.total**2 / self.squares

    def columns(self, index: Array) -> "RunningSamples":
        """Return the samples of the variables that a mask (n,) keeps."""
        some = ColumnRange(*(bound[index] for bound in self.columns_range))
        return replace(
            self,
            rows=self.rows[:, index],
            mean=self.mean[index],
            columns_range=some,
            names=kept_names(self.names, index),
        )

    def range(self, centre: bool) -> ColumnRange:
        """Return the range of each variable; with zero if the mean is known to be zero."""
        return self.columns_range if centre else self.columns_range.with_zero()

    def standardize(self, centre: bool, unit_variance: bool, hint: str = "") -> Standardized:
        """Return the mean, rows D (m, n) and scales; ``D.T @ D / m`` is the covariance."""
        if unit_variance:
            require_varying(self.range(centre).is_constant(self.dtype), hint, self.names)
        rows = self.rows
        if not centre:
            rows = np.vstack([rows, np.sqrt(self.total) * self.mean])
        rows = rows * np.sqrt(len(rows) / self.total)
        deviations, _, scale = standardize(rows, False, unit_variance, hint)
        mean = self.mean if centre else np.zeros(len(self.mean))
        return Standardized(deviations, mean, scale)
