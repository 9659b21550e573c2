"""ObservedSamples: samples with missing values, read a chunk of rows at a time."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple, NoReturn

import numpy as np

from blockmat.blocks.checks import Array, accumulator_dtype, working_dtype
from blockmat.blocks.names import some_columns
from blockmat.blocks.partition import Partition
from blockmat.blocks.passes import sum_of_parts
from blockmat.blocks.segments import pieces, shared_ranges
from blockmat.blocks.threads import run
from blockmat.cores.scale import exponent_of
from blockmat.exceptions import NonFiniteError
from blockmat.sources.chunks import row_chunks, weighted_chunks
from blockmat.sources.weights import Weights

_SAMPLES_AT_A_TIME = 1024  # rows in a chunk
_PIECES = 16  # pieces of the columns, which threads share
_NARROWEST = 512  # columns in the smallest piece
_PIECE_PER_BLOCK = 8  # columns in a piece for each of its k sums
_UNITS = (-1000, 1000)  # exponents of units that are normal numbers, as are their inverses


class RowSums(NamedTuple):
    """Sums over the observed values of some rows, without rows of weight zero.

    ``weights`` and ``squares`` (T,) are those of `Weights`; ``sums`` (T, k) are the block sums of
    the deviations from a location, and ``counts`` (T, k) the numbers of values.
    """

    weights: Array
    squares: Array
    sums: Array
    counts: Array


class Columns(NamedTuple):
    """For each column, sums of its values and of their weights, and the number of NaN; all (n,).

    ``sizes`` are the largest magnitudes of real or imaginary parts.
    """

    totals: Array
    counts: Array
    gaps: Array
    sizes: Array


class ObservedSamples:
    """Samples in which NaN marks a missing value.

    Parameters
    ----------
    X : ndarray, shape (T, n)
        One sample per row, of any supported dtype.
    weights : Weights
        The weight of each sample. Samples of weight zero are left out.
    names : sequence, shape (n,), optional
        The names of the columns, for messages.
    scale : ndarray, shape (n,), optional
        Numbers by which the columns are divided.
    """

    def __init__(
        self,
        X: Array,
        weights: Weights,
        names: Sequence[Any] | None = None,
        scale: Array | None = None,
    ) -> None:
        self._X, self.weights, self._names, self._scale = X, weights, names, scale
        self.shape, self.dtype = X.shape, working_dtype(X.dtype, "X")

    @cached_property
    def columns(self) -> Columns:
        """The weighted sums over the values of each column.

        Raises
        ------
        NonFiniteError
            If X contains infinity.
        """
        self.require_in_range(self._read_columns.totals)
        return self._read_columns

    @cached_property
    def _read_columns(self) -> Columns:
        """The same, which can be infinite."""
        from blockmat.sources import kernels

        n = self.shape[1]
        totals = np.zeros(n, dtype=accumulator_dtype(self.dtype))
        counts, sizes = np.zeros((2, n))
        gaps = np.zeros(n, dtype=np.intp)
        bounds = pieces(n, max(-(-n // _PIECES), _NARROWEST))
        for rows, places in self._chunks():
            arguments = (rows, self.weights.values[places], bounds, (totals, counts, gaps, sizes))
            run(kernels.sum_observed_columns, arguments, shared_ranges(bounds, rows.size))
        return Columns(totals, counts, gaps, sizes)

    @property
    def mean(self) -> Array:
        """The weighted mean (n,) of the values of each column.

        Raises
        ------
        ValueError
            If a column has no value.
        """
        require_values(self.columns.counts, self._names)
        mean: Array = self.columns.totals / self.columns.counts
        return mean

    @property
    def is_complete(self) -> bool:
        """Whether no value is missing."""
        return not self.columns.gaps.any()

    def in_range(self) -> tuple["ObservedSamples", int]:
        """Return the samples divided by ``2**e`` so that squares of squares are in range, and e."""
        exponent = exponent_of(float(self._read_columns.sizes.max(initial=0.0)))
        if exponent == 0:
            return self, 0
        exponent = int(np.clip(exponent, *_UNITS))
        scale = np.full(self.shape[1], 2.0**exponent)
        return ObservedSamples(self._X, self.weights, self._names, scale), exponent

    def row_sums(self, p: Partition, location: Array, squares: Array) -> Iterator[RowSums]:
        """Yield `RowSums` about a location (n,), chunk by chunk.

        The weighted sums of squared deviations are added to `squares` (n,).
        """
        from blockmat.sources import kernels

        n, k = self.shape[1], p.n_blocks
        bounds = pieces(n, max(-(-n // _PIECES), _NARROWEST, _PIECE_PER_BLOCK * k))
        for rows, places in self._chunks():
            w = self.weights.values[places]
            shape = (len(bounds) - 1, len(rows), k)
            sums, gaps = np.empty(shape, dtype=location.dtype), np.empty(shape)
            arguments = (rows, w, location, p.offsets, p.codes, bounds, (sums, gaps, squares))
            run(kernels.sum_observed, arguments, shared_ranges(bounds, rows.size))
            counts = p.sizes - sum_of_parts(gaps)
            yield RowSums(w, self.weights.squares[places], sum_of_parts(sums), counts)

    def without_empty_rows(self) -> "ObservedSamples":
        """Return the samples with weight zero for those that have no value."""
        kept = np.concatenate([(~np.isnan(rows)).any(axis=1) for _, rows in self._all_rows()])
        return ObservedSamples(self._X, self.weights.where(kept), self._names, self._scale)

    def filled_sums(self, p: Partition, location: Array, fills: Array) -> Array:
        """Return the weighted column sums (n,) of the deviations from a location, with NaN filled.

        ``fills`` (T', k) has the deviation of missing values of each block, for the samples whose
        weight is not zero.
        """
        from blockmat.sources import kernels

        totals, first = np.zeros(self.shape[1], dtype=location.dtype), 0
        bounds = pieces(self.shape[1], max(-(-self.shape[1] // _PIECES), _NARROWEST))
        labels = p.labels.view(np.uint32)
        for rows, places in self._chunks():
            some = fills[first : first + len(rows)]
            arguments = (rows, self.weights.values[places], location, some, labels, bounds, totals)
            run(kernels.sum_filled_columns, arguments, shared_ranges(bounds, rows.size))
            first += len(rows)
        return totals

    def _all_rows(self) -> Iterator[tuple[int, Array]]:
        return row_chunks(self._X, self.dtype, _SAMPLES_AT_A_TIME)

    def _chunks(self) -> Iterator[tuple[Array, Array]]:
        chunks = weighted_chunks(self._X, self.dtype, self.weights, _SAMPLES_AT_A_TIME)
        for rows, places in chunks:
            yield rows if self._scale is None else rows / self._scale, places

    def require_in_range(self, *results: Array) -> None:
        """Raise `NonFiniteError` for results that are not finite."""
        if not all(np.isfinite(x).all() for x in results):
            refuse_infinity(self._X, self.weights)


def refuse_infinity(X: Array, weights: Weights, first_row: int = 0) -> NoReturn:
    """Raise `NonFiniteError` for the first infinity of X, or for sums that overflow.

    X has the samples from `first_row` on.
    """
    for row in np.flatnonzero(weights.values):
        infinite = np.flatnonzero(np.isinf(X[row]))
        if len(infinite):
            raise NonFiniteError(
                f"X contains infinity in row {first_row + row} and column {infinite[0]}; expected finite "
                f"numbers, or NaN for missing values"
            )
    raise NonFiniteError("the sums of X overflow; expected smaller numbers")


def require_values(counts: Array, names: Sequence[Any] | None) -> None:
    """Raise ValueError for columns without a value, which have zero `counts` (n,)."""
    empty = counts == 0
    if empty.any():
        raise ValueError(
            f"X has no value in {some_columns(empty, names)}; expected at least one value in each "
            f"column"
        )
