"""DenseSamples: an array of samples, read once for the moments of the covariance matrix."""

from typing import NoReturn

import numpy as np

from blockmat.blocks.checks import Array, accumulator_dtype, first_non_finite, working_dtype
from blockmat.blocks.partition import Partition
from blockmat.blocks.passes import block_sums, sum_of_parts
from blockmat.blocks.segments import pieces, shared_ranges
from blockmat.blocks.threads import run
from blockmat.cores import pair
from blockmat.exceptions import NonFiniteError
from blockmat.sources.chunks import row_chunks
from blockmat.sources.moments import (
    CentredMoments,
    Moments,
    rest_of_rows,
    squared,
    without_rounding,
)
from blockmat.sources.pair import Pair, without_overflow
from blockmat.sources.source import Options, Source

_SAMPLES_AT_A_TIME = 1024  # rows in a chunk, so that a strip of columns fits into cache
_PIECES = 16  # pieces of the columns, which threads share
_NARROWEST = 512  # columns in the smallest piece
_PIECE_PER_BLOCK = 8  # columns in a piece for each of its k sums


class DenseSamples(Source):
    """Samples in an array.

    Parameters
    ----------
    X : ndarray, shape (T, n)
        One sample per row, at least one, of any supported dtype.
    """

    def __init__(self, X: Array) -> None:
        self._X = X
        self.shape, self.dtype = X.shape, working_dtype(X.dtype, "X")

    def pair(self, p: Partition, options: Options) -> Pair:
        """Return the pair of the covariance matrix."""
        moments = self.raw_moments if options.assume_centered else self._moments_about_mean

        def pair_of(factor: float) -> Pair:
            total = moments(p, options.aligned, options.check_finite, factor)
            return covariance_pair(total, self.shape[0] - options.ddof, self.dtype)

        return without_overflow(pair_of, 2)

    def _moments_about_mean(
        self, p: Partition, aligned: bool, check_finite: bool, factor: float
    ) -> Moments:
        return self.centred_moments(p, aligned, check_finite, factor).moments

    def centred_moments(
        self, p: Partition, aligned: bool, check_finite: bool = True, factor: float = 1.0
    ) -> CentredMoments:
        """Return the moments of samples times a factor about their mean. The samples are read once."""
        total = None
        for _, rows in row_chunks(self._X, self.dtype, max(_SAMPLES_AT_A_TIME, p.n_blocks)):
            scaled = rows if factor == 1 else rows * factor
            moments, mean = self._moments_of_chunk(scaled, p, aligned, check_finite, centre=True)
            part = CentredMoments(moments, mean, float(len(rows)))
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
        for _, rows in row_chunks(self._X, self.dtype, max(_SAMPLES_AT_A_TIME, p.n_blocks)):
            scaled = rows if factor == 1 else rows * factor
            total += self._moments_of_chunk(scaled, p, aligned, check_finite, centre=False)[0]
        return total

    def _moments_of_chunk(
        self, rows: Array, p: Partition, aligned: bool, check_finite: bool, centre: bool
    ) -> tuple[Moments, Array]:
        """Return the moments of some rows about their mean or about zero, and the mean."""
        from blockmat.sources import kernels

        n_samples, n = rows.shape
        k = p.n_blocks
        dtype = accumulator_dtype(rows.dtype)
        mean, squares = np.empty(n, dtype=dtype), np.empty(n)
        bounds = pieces(n, max(-(-n // _PIECES), _NARROWEST, _PIECE_PER_BLOCK * k))
        sums = np.empty((len(bounds) - 1, n_samples, k), dtype=dtype)
        arguments = (rows, centre, p.offsets, p.codes, bounds, (mean, sums, squares))
        run(kernels.sum_samples, arguments, shared_ranges(bounds, rows.size))
        means = sum_of_parts(sums)
        if check_finite and not np.isfinite(means).all():
            refuse_non_finite_samples(first_non_finite(self._X))
        means /= pair.root(p.sizes)
        with np.errstate(over="ignore", invalid="ignore"):  # the caller checks for overflow
            between = means.T @ means.conj()
            totals = block_sums(p, squares)
            raw = totals + n_samples * block_sums(p, squared(mean)) if centre else totals
            rest = rest_of_rows(rows, mean if centre else None, p, aligned, totals, between)
        between = without_rounding(between, np.where(p.sizes > 1, raw, 0))
        return Moments(p, between, without_rounding(rest, raw)), mean


def covariance_pair(total: Moments, divisor: float, dtype: np.dtype) -> Pair:
    """Return the pair of the moments divided by a number."""
    total /= divisor
    return Pair.exact(*total.pair(), dtype)


def refuse_non_finite_samples(entry: tuple[int, ...] | None) -> NoReturn:
    """Raise `NonFiniteError` for an entry, or for overflow of the sums if `entry` is None."""
    if entry is None:
        raise NonFiniteError("the sums of X overflow; expected smaller numbers")
    raise NonFiniteError(
        f"X contains NaN or infinity in row {entry[0]} and column {entry[1]}; expected finite numbers"
    )
