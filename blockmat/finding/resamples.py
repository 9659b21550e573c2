"""Random samples that are like given ones, or like those of a given correlation matrix."""

from typing import Any, Protocol

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.sources.correlation_matrix import as_correlation

_MAX_DRAWS = 100  # until no column is constant


class Resamples(Protocol):
    """Data from which samples of `size` rows are drawn."""

    size: int

    def data(self) -> Array:
        """Return the samples themselves, (T, n)."""

    def draw(self, rng: np.random.Generator) -> Array:
        """Return new samples, (m, n)."""


class RowResamples:
    """`size` rows of samples X (T, n), drawn with or without replacement."""

    def __init__(self, X: Array, size: int, replace: bool) -> None:
        self.X, self.size, self.replace = X, size, replace

    def data(self) -> Array:
        """Return the samples themselves, (T, n)."""
        return self.X

    def draw(self, rng: np.random.Generator) -> Array:
        """Return new samples; they are drawn again if one of their columns is constant."""
        for _ in range(_MAX_DRAWS):
            rows: Array = self.X[rng.choice(len(self.X), self.size, replace=self.replace)]
            constant = np.flatnonzero((rows == rows[0]).all(axis=0))
            if len(constant) == 0:
                return rows
        raise ValueError(
            f"column {constant[0]} of source is constant in {_MAX_DRAWS} resamples in a row; "
            f"expected variables with more values that differ"
        )


class NormalResamples:
    """Samples of the normal distribution with a given correlation matrix R.

    The correlations of such samples are those of a Wishart matrix (a parametric bootstrap).
    """

    def __init__(self, R: Any, n_samples: int) -> None:
        C, _ = as_correlation(R, "source")
        values, vectors = np.linalg.eigh(C.astype(np.float64))
        kept = values > len(C) * np.finfo(C.dtype).eps * values[-1]  # also drops negative ones
        self.factor = (vectors[:, kept] * np.sqrt(values[kept])).T
        self.size = n_samples
        rank = len(self.factor)
        if rank > n_samples - 1:
            raise ValueError(
                f"n_samples is {n_samples}; expected at least {rank + 1}, one more than the rank "
                f"of source"
            )

    def data(self) -> Array:
        """Return samples (T, n) whose correlation matrix is R, to rounding."""
        rank = len(self.factor)
        columns = np.random.default_rng(0).standard_normal((self.size, rank + 1))
        columns[:, 0] = 1
        scores, _ = np.linalg.qr(columns)
        samples: Array = scores[:, 1:] @ self.factor
        return samples

    def draw(self, rng: np.random.Generator) -> Array:
        """Return new samples (T, n)."""
        samples: Array = rng.standard_normal((self.size, len(self.factor))) @ self.factor
        return samples
