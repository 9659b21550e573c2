"""Random data that are like given samples, or like the samples of a given correlation matrix."""

from typing import Any, NamedTuple, Protocol

import numpy as np

from blockmat.sources.correlation_matrix import as_correlation
from blockmat.sources.gapped_samples import GappedSamples
from blockmat.sources.weighted_samples import WeightedSamples

_MAX_DRAWS = 100  # until no column is constant


class Data(NamedTuple):
    """Samples, or if T is given as `n_samples`, their correlation matrix (n, n).

    Samples are an array (T, n), or `WeightedSamples` or `GappedSamples`.
    """

    source: Any
    n_samples: int | None = None

    @property
    def is_of_samples(self) -> bool:
        """Whether the source holds samples."""
        return self.n_samples is None


class Resamples(Protocol):
    """Data, and a way to draw others of `size` samples."""

    data: Data
    size: int

    def draw(self, rng: np.random.Generator) -> Data:
        """Return new data."""


class RowResamples:
    """`size` of the samples that count, drawn with or without replacement.

    Each keeps its weight and its missing values.
    """

    def __init__(self, samples: WeightedSamples | GappedSamples, size: int, replace: bool) -> None:
        self.data, self.size, self.replace = Data(samples), size, replace
        self.counting = samples.counting

    def draw(self, rng: np.random.Generator) -> Data:
        """Return new samples; they are drawn again if one of their columns is constant."""
        samples = self.data.source
        for _ in range(_MAX_DRAWS):
            places = rng.choice(len(self.counting), self.size, replace=self.replace)
            drawn = samples.rows(self.counting[places])
            low, high = (f.reduce(drawn.X, axis=0) for f in (np.fmin, np.fmax))
            constant = np.flatnonzero(~(low < high))  # or without a value
            if len(constant) == 0:
                return Data(drawn)
        raise ValueError(
            f"column {constant[0]} of source is constant in {_MAX_DRAWS} resamples in a row; "
            f"expected variables with more values that differ"
        )


class NormalResamples:
    """Samples of the normal distribution with a given correlation matrix R.

    The scatter matrix of such samples has a Wishart distribution (a parametric bootstrap).
    Negative eigenvalues of R count as zero.
    """

    def __init__(self, R: Any, n_samples: int) -> None:
        self.data, self.size = Data(R, n_samples), n_samples
        C, _ = as_correlation(R, "source")
        values, vectors = np.linalg.eigh(C.astype(np.float64, copy=False))
        kept = values > len(C) * np.finfo(C.dtype).eps * values[-1]
        self.root = (vectors[:, kept] * np.sqrt(values[kept])).T

    def draw(self, rng: np.random.Generator) -> Data:
        """Return samples, or if there are more samples than variables, their correlation matrix."""
        rank, df = len(self.root), self.size - 1
        if rank > df:
            return Data(rng.standard_normal((self.size, rank)) @ self.root)
        # Bartlett's decomposition: L L^T has the Wishart distribution of df degrees of freedom
        L = np.tril(rng.standard_normal((rank, rank)), -1)
        L[np.diag_indices(rank)] = np.sqrt(rng.chisquare(df - np.arange(rank)))
        rows = L.T @ self.root
        rows /= np.sqrt((rows**2).sum(axis=0))
        C = rows.T @ rows
        np.fill_diagonal(C, 1)
        return Data(C, self.size)
