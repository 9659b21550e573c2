"""SamplesWithGaps: samples of which values may be missing, as a source of the fit."""

from collections.abc import Sequence
from typing import Any

from blockmat.blocks.checks import Array, is_choice
from blockmat.blocks.partition import Partition
from blockmat.blocks.shown import shown
from blockmat.exceptions import DtypeError
from blockmat.sources.dense_samples import DenseSamples
from blockmat.sources.em import em_fit
from blockmat.sources.observed import ObservedSamples
from blockmat.sources.pair import Pair
from blockmat.sources.pairwise import pairwise_pair
from blockmat.sources.source import Options, Source
from blockmat.sources.weights import Weights

MISSING = ("raise", "pairwise", "em")


def require_missing(missing: str) -> None:
    """Raise ValueError for an unknown treatment of missing values."""
    if not is_choice(missing, MISSING):
        raise ValueError(f"missing is {shown(missing)}; expected 'raise', 'pairwise' or 'em'")


class SamplesWithGaps(Source):
    """Samples in an array, in which NaN marks a missing value.

    Parameters
    ----------
    X : ndarray, shape (T, n)
        One sample per row, of any supported dtype.
    weights : Weights
        The weight of each sample.
    missing : {"pairwise", "em"}
        The estimate of the covariance.
    names : sequence, shape (n,), optional
        The names of the columns, for messages.
    """

    def __init__(
        self, X: Array, weights: Weights, missing: str, names: Sequence[Any] | None = None
    ) -> None:
        self._X, self._weights, self._missing = X, weights, missing
        self._samples = ObservedSamples(X, weights, names)
        self.shape, self.dtype = X.shape, self._samples.dtype

    def pair(self, p: Partition, options: Options) -> Pair:
        """Return the pair of the covariance matrix."""
        if self._samples.is_complete:
            return DenseSamples(self._X, self._weights).pair(p, options)
        if options.aligned:
            raise ValueError(
                f"aligned is True with missing={self._missing!r} and X with missing values; expected "
                f"aligned=False"
            )
        centre = not options.assume_centered
        samples, exponent = self._samples.in_range()
        if self._missing == "pairwise":
            return pairwise_pair(samples, p, options.ddof, centre).in_units(2 * exponent)
        if self.dtype.kind == "c":
            raise DtypeError(f"X has dtype {self.dtype}; expected real numbers for missing='em'")
        samples = samples.without_empty_rows()
        _, between, within = em_fit(samples, p, centre).estimate
        factor = samples.weights.total / samples.weights.divisor(options.ddof)
        return Pair.exact(between * factor, within * factor, self.dtype).in_units(2 * exponent)
