"""DenseSamples: an array of samples, read once for the moments of the covariance matrix."""

from collections.abc import Iterator
from typing import NoReturn

import numpy as np

from blockmat.blocks.checks import Array, accumulator_dtype, first_non_finite, frozen, working_dtype
from blockmat.blocks.partition import Partition
from blockmat.blocks.passes import block_sums, sum_of_parts
from blockmat.blocks.segments import pieces, shared_ranges
from blockmat.blocks.threads import run
from blockmat.cores import pair
from blockmat.exceptions import NonFiniteError
from blockmat.sources.chunks import weighted_chunks
from blockmat.sources.moments import (
    CentredMoments,
    Moments,
    rest_of_rows,
    squared,
    without_rounding,
)
from blockmat.sources.pair import Pair, without_overflow
from blockmat.sources.samples import for_empty_row
from blockmat.sources.source import Options, Source
from blockmat.sources.weights import Weights

_SAMPLES_AT_A_TIME = 1024  # rows in a chunk, so that a strip of columns fits into cache
_NO_WEIGHTS = frozen(np.empty(0))
_PIECES = 16  # pieces of the columns, which threads share
_NARROWEST = 512  # columns in the smallest piece
_PIECE_PER_BLOCK = 8  # columns in a piece for each of its k sums


class DenseSamples(Source):
    """Samples in an array.

    Parameters
    ----------
    X : ndarray, shape (T, n)
        One sample per row, at least one, of any supported dtype.
    weights : Weights, optional
        The weight of each sample. Samples of weight zero are left out.
    for_nan : str
        The end of the message for NaN or infinity; see `use_missing`.
    """

    def __init__(self, X: Array, weights: Weights | None = None, for_nan: str = "") -> None:
        self._X, self._weights, self._for_nan = X, weights, for_nan
        self.shape, self.dtype = X.shape, working_dtype(X.dtype, "X")

    def pair(self, p: Partition, options: Options) -> Pair:
        """Return the pair of the covariance matrix."""
        moments = self.raw_moments if options.assume_centered else self._moments_about_mean

        def pair_of(factor: float) -> Pair:
            total = moments(p, options.aligned, options.check_finite, factor)
            return covariance_pair(total, self._divisor(options.ddof), self.dtype)

        return without_overflow(pair_of, 2)

    def _divisor(self, ddof: int) -> float:
        if self._weights is None:
            return self.shape[0] - ddof
        return self._weights.divisor(ddof)

    def _first_non_finite(self) -> tuple[int, ...] | None:
        """Return the index of the first NaN or infinity of a sample whose weight is not zero."""
        if self._weights is None:
            return first_non_finite(self._X)
        for row in np.flatnonzero(self._weights.values):
            entry = first_non_finite(self._X[row])
            if entry is not None:
                return int(row), *entry
        return None

    def _chunks(self, p: Partition) -> Iterator[tuple[Array, Array]]:
        """Yield chunks of rows with their weights, which are empty if all are 1."""
        max_rows = max(_SAMPLES_AT_A_TIME, p.n_blocks)
        for rows, places in weighted_chunks(self._X, self.dtype, self._weights, max_rows):
            yield rows, _NO_WEIGHTS if self._weights is None else self._weights.values[places]

    def _moments_about_mean(
        self, p: Partition, aligned: bool, check_finite: bool, factor: float
    ) -> Moments:
        return self.centred_moments(p, aligned, check_finite, factor).moments

    def centred_moments(
        self, p: Partition, aligned: bool, check_finite: bool = True, factor: float = 1.0
    ) -> CentredMoments:
        """Return the moments of samples times a factor about their mean. The samples are read once."""
        total = None
        for rows, w in self._chunks(p):
            scaled = rows if factor == 1 else rows * factor
            moments, mean = self._moments_of_chunk(scaled, w, p, aligned, check_finite, centre=True)
            part = CentredMoments(moments, mean, _total(rows, w))
            if total is None:
                total = part
            else:
                total += part
        assert total is not None  # there is a sample
        total.moments = total.settled()
        return total

    def raw_moments(
        self, p: Partition, aligned: bool, check_finite: bool = True, factor: float = 1.0
    ) -> Moments:
        """Return the moments of samples times a factor about zero."""
        total = Moments.zero(p, aligned)
        for rows, w in self._chunks(p):
            scaled = rows if factor == 1 else rows * factor
            total += self._moments_of_chunk(scaled, w, p, aligned, check_finite, centre=False)[0]
        return total

    def _moments_of_chunk(
        self, rows: Array, w: Array, p: Partition, aligned: bool, check_finite: bool, centre: bool
    ) -> tuple[Moments, Array]:
        """Return the moments of some rows about their mean or about zero, and the mean.

        ``w`` are the weights of the rows, or is empty.
        """
        from blockmat.sources import kernels

        n_samples, n = rows.shape
        k = p.n_blocks
        dtype = accumulator_dtype(rows.dtype)
        mean, squares = np.empty(n, dtype=dtype), np.empty(n)
        bounds = pieces(n, max(-(-n // _PIECES), _NARROWEST, _PIECE_PER_BLOCK * k))
        sums = np.empty((len(bounds) - 1, n_samples, k), dtype=dtype)
        arguments = (rows, w, centre, p.offsets, p.codes, bounds, (mean, sums, squares))
        run(kernels.sum_samples, arguments, shared_ranges(bounds, rows.size))
        means = sum_of_parts(sums)
        if check_finite and not np.isfinite(means).all():
            entry = self._first_non_finite()
            hint = "" if entry is None else for_empty_row(self._X, entry[0])
            refuse_non_finite_samples(entry, self._for_nan + hint)
        means /= pair.root(p.sizes)
        with np.errstate(over="ignore", invalid="ignore"):  # the caller checks for overflow
            between = (means.T * w if len(w) else means.T) @ means.conj()
            totals = block_sums(p, squares)
            raw = totals + _total(rows, w) * block_sums(p, squared(mean)) if centre else totals
            rest = rest_of_rows(rows, w, mean if centre else None, p, aligned, totals, between)
        between = without_rounding(between, np.where(p.sizes > 1, raw, 0))
        return Moments(p, between, without_rounding(rest, raw)), mean


def _total(rows: Array, w: Array) -> float:
    """Return the sum of the weights of some rows, which are 1 if ``w`` is empty."""
    return float(w.sum()) if len(w) else float(len(rows))


def covariance_pair(total: Moments, divisor: float, dtype: np.dtype) -> Pair:
    """Return the pair of the moments divided by a number."""
    total /= divisor
    return Pair.exact(*total.pair(), dtype)


def refuse_non_finite_samples(entry: tuple[int, ...] | None, for_nan: str) -> NoReturn:
    """Raise `NonFiniteError` for an entry, or for overflow of the sums if `entry` is None.

    The message for an entry ends in `for_nan`.
    """
    if entry is None:
        raise NonFiniteError("the sums of X overflow; expected smaller numbers")
    raise NonFiniteError(
        f"X contains NaN or infinity in row {entry[0]} and column {entry[1]}; expected finite "
        f"numbers{for_nan}"
    )
