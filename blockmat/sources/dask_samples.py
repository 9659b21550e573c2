"""DaskSamples: a Dask array of samples. Each worker computes moments of its chunks.

Sums of size k x k and k, and the column means of each chunk of rows, move between workers. If
columns are divided into chunks too, the block sums of each row also move.
"""

from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from blockmat.blocks.checks import Array, accumulator_dtype, first_non_finite, working_dtype
from blockmat.blocks.chunked import (
    Piece,
    delayed,
    joined_at_a_time,
    without_empty_chunks,
    without_sparsity,
)
from blockmat.blocks.partition import Partition
from blockmat.cores import pair
from blockmat.sources.dask_source import DaskSource
from blockmat.sources.dense_samples import (
    DenseSamples,
    covariance_pair,
    refuse_non_finite_samples,
)
from blockmat.sources.moments import (
    CentredMoments,
    Moments,
    without_block_means,
    without_rounding,
)
from blockmat.sources.pair import Pair
from blockmat.sources.samples import refuse_sparse_samples, use_missing
from blockmat.sources.source import Options
from blockmat.sources.weights import Weights, as_weights


class DaskSamples(DaskSource):
    """Samples as a Dask array, one per row, with weights."""

    def __init__(self, X: Any, compute: bool, weights: Weights | None = None) -> None:
        super().__init__(X, "X", compute)
        self._weights = weights

    def pair(self, p: Partition, options: Options) -> Any:
        """Return the pair of the covariance matrix, or a Dask Delayed of it."""
        ddof, weights = options.ddof, self._weights
        divisor = self.shape[0] - ddof if weights is None else weights.divisor(ddof)
        finish = partial(_pair_of_totals, p, divisor, self.dtype)
        return self.finished(finish, self._totals(p, options))

    def _totals(self, p: Partition, options: Options) -> Any:
        """Return the `_Moments` of all samples as a Dask Delayed."""
        X = without_empty_chunks(self._array)
        if options.aligned:
            X = X.rechunk({1: -1})  # paired columns may be in different chunks
        partition = delayed(p)
        of_rows, sums_of_piece, of_pieces, joined = map(
            delayed, (_moments_of_rows, _sums_of_piece, _moments_of_pieces, _joined)
        )
        rows, columns = (np.cumsum([0, *sizes]).tolist() for sizes in X.chunks)
        parts = []
        for (first_row, last_row), chunks in zip(pairwise(rows), X.to_delayed(), strict=True):
            w = None if self._weights is None else self._weights.values[first_row:last_row]
            if w is not None and not w.any():
                continue
            if len(chunks) == 1:
                parts.append(of_rows(chunks[0], w, partition, first_row, options))
                continue
            pieces = [
                sums_of_piece(chunk, w, partition, first_row, first_column, options)
                for first_column, chunk in zip(columns, chunks, strict=False)
            ]
            parts.append(of_pieces(pieces, partition))
        together = joined_at_a_time(p.n_blocks**2 + p.n_blocks + p.n)
        while len(parts) > 1:
            groups = range(0, len(parts), together)
            parts = [joined(parts[first : first + together], partition) for first in groups]
        return parts[0]


class _Moments(NamedTuple):
    """Moments of some samples, without the partition, so that it is not sent with each of them.

    The mean (n,) is None for moments about zero.
    """

    between: Array
    rest: Array
    mean: Array | None
    weight: float

    def on(self, p: Partition) -> Moments:
        """Return the moments with their partition."""
        return Moments(p, self.between, self.rest)


def _pair_of_totals(p: Partition, divisor: float, dtype: np.dtype[Any], totals: _Moments) -> Pair:
    return covariance_pair(totals.on(p), divisor, dtype)


def _moments_of_rows(
    chunk: Array, w: Array | None, p: Partition, first_row: int, options: Options
) -> _Moments:
    """Return the moments of a chunk that has all columns. Its weights w are None if all are 1."""
    _check_chunk(chunk, w, first_row, 0, options)
    weights = None if w is None else as_weights(w, len(w))
    samples = DenseSamples(chunk, weights)
    if options.assume_centered:
        moments = samples.raw_moments(p, options.aligned, False)
        total = float(len(chunk)) if weights is None else weights.total
        return _Moments(moments.between, moments.rest, None, total)
    centred = samples.centred_moments(p, options.aligned, False)
    return _Moments(centred.moments.between, centred.moments.rest, centred.mean, centred.weight)


class _PieceSums(NamedTuple):
    """Sums of a chunk that has some of the columns.

    ``sums`` (T, k) are its block sums, ``counts`` (k,) its numbers of columns in each block,
    ``squares`` (k,) the sums of squared deviations from the means over these columns, and ``mean``
    the column means, if they are subtracted. ``weights`` (T,) are those of the rows; rows of weight
    zero are left out.
    """

    sums: Array
    counts: Array
    squares: Array
    mean: Array
    weights: Array


def _sums_of_piece(
    chunk: Array,
    w: Array | None,
    p: Partition,
    first_row: int,
    first_column: int,
    options: Options,
) -> _PieceSums:
    """Return the sums of a chunk that has some of the columns."""
    _check_chunk(chunk, w, first_row, first_column, options)
    kept = slice(None) if w is None else w > 0
    deviations = chunk[kept].astype(accumulator_dtype(working_dtype(chunk.dtype, "X")))
    w = np.ones(len(deviations)) if w is None else w[kept]
    centre = not options.assume_centered
    mean = np.average(deviations, axis=0, weights=w) if centre else deviations[0, :0]
    if len(mean):
        deviations -= mean
    piece = Piece.of(p, first_column, first_column + chunk.shape[1])
    sums = np.zeros((len(deviations), p.n_blocks), dtype=deviations.dtype)
    sums[:, piece.blocks] = piece.partition.block_sums(deviations, axis=1)
    counts, squares = np.zeros(p.n_blocks), np.zeros(p.n_blocks)
    counts[piece.blocks] = piece.partition.sizes
    lengths = w @ np.abs(without_block_means(deviations, piece.partition)) ** 2
    squares[piece.blocks] = piece.partition.block_sums(lengths)
    return _PieceSums(sums, counts, squares, mean, w)


def _moments_of_pieces(pieces: list[_PieceSums], p: Partition) -> _Moments:
    """Combine the sums of all chunks of the same rows."""
    sums = np.sum([piece.sums for piece in pieces], axis=0)
    mean, w = np.concatenate([piece.mean for piece in pieces]), pieces[0].weights
    rest = np.sum([piece.squares for piece in pieces], axis=0)
    for piece in pieces:  # add the spread of their means (Chan, Golub and LeVeque, 1983)
        deviations = piece.sums / np.maximum(piece.counts, 1) - sums / p.sizes
        rest += piece.counts * (w @ np.abs(deviations) ** 2)
    means = pair.coordinates(sums, p.sizes)
    between = (means.T * w) @ means.conj()
    raw = rest + np.real(np.diagonal(between))
    if len(mean):
        raw += w.sum() * p.block_sums(np.abs(mean) ** 2)
    between = without_rounding(between, np.where(p.sizes > 1, raw, 0))
    rest = without_rounding(rest, raw)
    return _Moments(between, rest, mean if len(mean) else None, float(w.sum()))


def _joined(parts: list[_Moments], p: Partition) -> _Moments:
    """Combine the moments of several chunks of rows."""
    weight = sum(part.weight for part in parts)
    if parts[0].mean is None:
        total = parts[0].on(p)
        for part in parts[1:]:
            total += part.on(p)
        return _Moments(total.between, total.rest, None, weight)
    first, *others = (
        CentredMoments(part.on(p), part.mean, part.weight)
        for part in parts
        if part.mean is not None
    )
    for other in others:
        first += other
    settled = first.settled()
    return _Moments(settled.between, settled.rest, first.mean, weight)


def _check_chunk(
    chunk: Any, w: Array | None, first_row: int, first_column: int, options: Options
) -> None:
    refuse_sparse_samples(without_sparsity(chunk))
    rows = np.arange(len(chunk)) if w is None else np.flatnonzero(w)
    entry = first_non_finite(chunk if w is None else chunk[rows]) if options.check_finite else None
    if entry is not None:
        place = first_row + int(rows[entry[0]]), first_column + entry[1]
        refuse_non_finite_samples(place, use_missing("pairwise"))
