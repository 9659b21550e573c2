"""GivenCorrelation: a correlation matrix whose samples are not at hand."""

from copy import copy

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.finding.correlations.components import n_components
from blockmat.finding.correlations.leading_spectrum import LeadingSpectrum
from blockmat.finding.correlations.similarity import row_sums
from blockmat.finding.correlations.weighted_sums import SumsOfProducts

_MANY = 1_000_000  # samples, whose errors are small beside those of any model


class GivenCorrelation:
    """A correlation matrix of T samples, with its spectrum.

    Correlations of different kinds of observations, such as pairwise, rank or polychoric ones,
    can have negative eigenvalues. These are replaced by zero, and the result is divided by the
    roots of its diagonal.

    Parameters
    ----------
    C : ndarray, shape (n, n)
        Correlations, with ones on the diagonal.
    spectrum : LeadingSpectrum
        The spectrum of C.
    n_samples : int, optional
        T, if it is known. Otherwise it is what the rank of C tells, or as good as infinite: T samples
        have correlations of rank T - 1 if there are at least T variables. Equal variables lower the
        rank too.
    """

    def __init__(self, C: Array, spectrum: LeadingSpectrum, n_samples: int | None = None) -> None:
        self.n = len(C)
        self.matrix = _without_negative_part(C, spectrum)
        self.diagonal = np.ones(self.n)
        self.spectrum = spectrum
        self.n_components = n_components(spectrum.rank, self.matrix)
        told = self.n_components + 1 if self.n_components < self.n else _MANY
        self.n_samples = told if n_samples is None else n_samples

    def row_sums(self, p: Partition, weights: Array | None = None) -> Array:
        """Return the sum of each row over each block, (n, k), of columns times weights (n,)."""
        if weights is None:
            return row_sums(self.matrix, p)
        columns = np.zeros((self.n, p.n_blocks))
        columns[np.arange(self.n), p.labels] = weights
        sums: Array = self.matrix @ columns
        return sums

    def weighted_sums(self, p: Partition, weights: Array) -> SumsOfProducts:
        """Return the products with weights (n,) of the blocks."""
        return SumsOfProducts(p, weights, self.row_sums(p, weights))

    def squared_norm(self, weights: Array) -> float:
        """Return the sum of ``w_i w_j R_ij^2`` for weights w (n,) that are not negative."""
        return float(weights @ (np.square(self.matrix, dtype=np.float64) @ weights))

    def points(self, rank: int, rng: np.random.Generator) -> Array:
        """Return the same coordinates of the variables as those of samples; see `Correlation`."""
        values = np.maximum(self.spectrum.values[-rank:], 0)
        count = min(self.n_samples - 1, self.n)
        noise = max(self.spectrum.noise(count), float(np.finfo(np.float64).tiny))
        shrinkage = np.sqrt(np.maximum(1 - noise / np.maximum(values, noise), 0))
        points: Array = self.spectrum.vectors[:, -rank:] * (np.sqrt(values) * shrinkage)
        return points

    def with_signs(self, signs: Array) -> "GivenCorrelation":
        """Return ``S C S``."""
        result = copy(self)
        result.matrix = self.matrix * signs.astype(self.matrix.dtype)
        result.matrix *= signs[:, None]
        return result


def _without_negative_part(C: Array, spectrum: LeadingSpectrum) -> Array:
    """Return C if it has no negative eigenvalues, or else C without them and with ones restored."""
    negative = spectrum.values < -spectrum.rounding
    if not negative.any():
        return C
    vectors = spectrum.vectors[:, negative]
    result: Array = C - ((vectors * spectrum.values[negative]) @ vectors.T).astype(C.dtype)
    lengths = np.sqrt(result.diagonal())
    result /= lengths
    result /= lengths[:, None]
    return result
