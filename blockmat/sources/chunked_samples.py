"""Moments of Dask samples: those of each chunk, which Dask joins.

Between workers move sums of size k x k and k, the mean of every column for each chunk of rows,
and, where columns are cut too, the block sums of each row.
"""

from typing import Any, NamedTuple

import numpy as np

from blockmat.blocks.checks import (
    Array,
    accumulator_dtype,
    first_non_finite,
    working_dtype,
)
from blockmat.blocks.chunked import (
    Piece,
    delayed,
    joined_at_a_time,
    without_empty_chunks,
    without_sparsity,
)
from blockmat.blocks.partition import Partition
from blockmat.sources.moments import (
    CentredMoments,
    Moments,
    centred_moments,
    raw_moments,
    refuse_non_finite_samples,
    without_block_means,
    without_rounding,
)
from blockmat.sources.samples import refuse_sparse_samples


# Samples
class _Part(NamedTuple):
    """Moments of some samples: without their partition, so that it does not move."""

    between: Array
    rest: Array
    mean: Array | None
    weight: int

    def moments(self, p: Partition) -> Moments:
        return Moments(p, self.between, self.rest)


def sample_totals(X: Any, p: Partition, aligned: bool, centre: bool, check_finite: bool) -> Any:
    """Return the moments of samples, delayed, without their partition."""
    X = without_empty_chunks(X)
    if aligned:
        X = X.rechunk({1: -1})  # what is paired may be in any two chunks
    partition = delayed(p)
    whole, piece, row, joined = map(
        delayed, (_moments_of_rows, _sums_of_piece, _moments_of_pieces, _joined)
    )
    rows, starts = (np.cumsum([0, *sizes]).tolist() for sizes in X.chunks)
    parts = []
    for t, chunks in enumerate(X.to_delayed()):
        if len(chunks) == 1:
            parts.append(whole(chunks[0], partition, aligned, centre, rows[t], check_finite))
            continue
        pieces = [
            piece(chunk, partition, starts[j], centre, rows[t], check_finite)
            for j, chunk in enumerate(chunks)
        ]
        parts.append(row(pieces, partition))
    together = joined_at_a_time(p.n_blocks**2 + p.n_blocks + p.n)
    while len(parts) > 1:
        groups = range(0, len(parts), together)
        parts = [joined(parts[first : first + together], partition) for first in groups]
    return parts[0]


def _moments_of_rows(
    chunk: Array, p: Partition, aligned: bool, centre: bool, first_row: int, check: bool
) -> _Part:
    """Return the moments of a chunk of whole rows."""
    _check_samples(chunk, first_row, 0, check)
    if centre:
        total = centred_moments(chunk, p, aligned, False)
        return _Part(total.moments.between, total.moments.rest, total.mean, len(chunk))
    moments = raw_moments(chunk, p, aligned, False)
    return _Part(moments.between, moments.rest, None, len(chunk))


class _PieceSums(NamedTuple):
    """What a piece of rows is reduced to.

    Its block sums (T, k), over how many columns each is (k,), the squares of the deviations
    from their means (k,), and the means of the columns.
    """

    sums: Array
    counts: Array
    squares: Array
    mean: Array


def _sums_of_piece(
    chunk: Array, p: Partition, first: int, centre: bool, first_row: int, check: bool
) -> _PieceSums:
    """Return the sums of a chunk of pieces of rows."""
    _check_samples(chunk, first_row, first, check)
    deviations = chunk.astype(accumulator_dtype(working_dtype(chunk.dtype, "X")))
    mean = deviations.mean(axis=0) if centre else np.zeros(chunk.shape[1], deviations.dtype)
    deviations -= mean
    piece = Piece.of(p, first, first + chunk.shape[1])
    sums = np.zeros((len(chunk), p.n_blocks), dtype=deviations.dtype)
    sums[:, piece.blocks] = piece.partition.block_sums(deviations, axis=1)
    counts, squares = np.zeros(p.n_blocks), np.zeros(p.n_blocks)
    counts[piece.blocks] = piece.partition.sizes
    lengths = (np.abs(without_block_means(deviations, piece.partition)) ** 2).sum(axis=0)
    squares[piece.blocks] = piece.partition.block_sums(lengths)
    return _PieceSums(sums, counts, squares, mean if centre else mean[:0])


def _moments_of_pieces(pieces: list[_PieceSums], p: Partition) -> _Part:
    """Join the sums of all pieces of some rows."""
    sums = np.sum([piece.sums for piece in pieces], axis=0)
    mean = np.concatenate([piece.mean for piece in pieces])
    rest = np.sum([piece.squares for piece in pieces], axis=0)
    for piece in pieces:  # and what their means differ by (Chan, Golub and LeVeque, 1983)
        apart = piece.sums / np.maximum(piece.counts, 1) - sums / p.sizes
        rest += piece.counts * (np.abs(apart) ** 2).sum(axis=0)
    means = sums / np.sqrt(p.sizes)
    between = means.T @ means.conj()
    raw = rest + np.real(np.diagonal(between))
    if len(mean):
        raw += len(means) * p.block_sums(np.abs(mean) ** 2)
    between = without_rounding(between, np.where(p.sizes > 1, raw, 0))
    rest = without_rounding(rest, raw)
    return _Part(between, rest, mean if len(mean) else None, len(means))


def _joined(parts: list[_Part], p: Partition) -> _Part:
    """Join the moments of several runs of rows."""
    if parts[0].mean is None:
        total = parts[0].moments(p)
        for part in parts[1:]:
            total += part.moments(p)
        return _Part(total.between, total.rest, None, sum(part.weight for part in parts))
    first, *others = (
        CentredMoments(part.moments(p), part.mean, float(part.weight))
        for part in parts
        if part.mean is not None
    )
    for other in others:
        first += other
    return _Part(first.moments.between, first.moments.rest, first.mean, int(first.weight))


def _check_samples(chunk: Any, first_row: int, first_column: int, check: bool) -> None:
    refuse_sparse_samples(without_sparsity(chunk))
    entry = first_non_finite(chunk) if check else None
    if entry is not None:
        refuse_non_finite_samples((first_row + entry[0], first_column + entry[1]))
