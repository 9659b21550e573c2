"""Fits and products of Dask arrays: a sum for each chunk, added up by Dask.

Chunks stay where they are. Between workers move sums of size k x k and k; of samples also
the mean of every column for each chunk of rows, and where columns are cut too, the block
sums of each row. The partition goes to each worker once.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse

from blockmat._moments import (
    CentredMoments,
    Moments,
    centred_moments,
    raw_moments,
    refuse_non_finite_samples,
    without_block_means,
    without_rounding,
)
from blockmat._sums import matrix_sums, refuse_sparse_samples
from blockmat._validation import (
    Array,
    accumulator_dtype,
    check_ndim,
    first_non_finite,
    import_extra,
    working_dtype,
)
from blockmat.exceptions import NonFiniteError, ShapeError
from blockmat.partition import Partition

_JOINED_BYTES = 2**24  # of partial results that are joined at a time, if they are that small


def checked(x: Any, name: str, ndims: tuple[int, ...]) -> Any:
    """Return a Dask array, or say what is wrong with its dtype, dimension or chunks."""
    import_extra("dask.array", "dask", "work on a Dask array")
    working_dtype(x.dtype, name)
    check_ndim(x, name, ndims)
    if any(np.isnan(size) for sizes in x.chunks for size in sizes):
        raise ShapeError(
            f"{name} has chunks of unknown sizes; expected known ones (see compute_chunk_sizes)"
        )
    return x


def without_empty_chunks(x: Any) -> Any:
    """Return a Dask array without its chunks of length 0, which filtering leaves."""
    for axis, sizes in enumerate(x.chunks):
        kept = [j for j, size in enumerate(sizes) if size]
        if 0 < len(kept) < len(sizes):
            x = x.blocks[(slice(None),) * axis + (kept,)]
    return x


def _without_sparsity(chunk: Any) -> Any:
    """Return a chunk as SciPy's sparse matrix or as an array."""
    is_known = issparse(chunk) or isinstance(chunk, np.ndarray)
    return chunk if is_known else chunk.to_scipy_sparse()  # of the package sparse


def _delayed(x: Any) -> Any:
    return import_extra("dask", "dask", "work on a Dask array").delayed(x, pure=True)


def finished(function: Any, totals: Any, compute: bool) -> Any:
    """Return a function of totals, computed or as a Dask Delayed."""
    return function(totals.compute()) if compute else _delayed(function)(totals)


class _Piece:
    """The blocks of some variables with these labels, and a partition of these variables."""

    def __init__(self, labels: Array, is_contiguous: bool = False) -> None:
        self.blocks, codes = np.unique(labels, return_inverse=True)
        self.partition = Partition(np.bincount(codes), None if is_contiguous else codes)

    @classmethod
    def of(cls, p: Partition, first: int, last: int) -> "_Piece":
        return cls(p.labels[first:last], p.is_contiguous)


# Matrices


def matrix_totals(source: Any, p: Partition, aligned: bool, check_finite: bool) -> Any:
    """Return a Dask array of the block sums and paired sums, one after the other."""
    array = import_extra("dask.array", "dask", "work on a Dask array")
    source = without_empty_chunks(source)
    dtype = accumulator_dtype(working_dtype(source.dtype, "source"))
    length = p.n_blocks**2 + len(p._pairing(aligned).mates)
    parts = array.map_blocks(
        _sums_of_chunk,
        source,
        partition=_delayed(p),
        aligned=aligned,
        check_finite=check_finite,
        dtype=dtype,
        new_axis=2,
        chunks=((1,) * source.numblocks[0], (1,) * source.numblocks[1], (length,)),
        meta=np.empty((0, 0, 0), dtype=dtype),
    )
    return parts.sum(axis=(0, 1), split_every=_together(length))


def _together(length: int) -> int:
    """Return how many partial results of so many numbers to join at a time."""
    return int(np.clip(_JOINED_BYTES // (8 * max(length, 1)), 4, 64))


def _sums_of_chunk(
    chunk: Any, partition: Partition, aligned: bool, check_finite: bool, block_info: Any = None
) -> Array:
    """Return the sums of one chunk, (1, 1, length)."""
    p, (rows, cols) = partition, block_info[0]["array-location"]
    chunk = _without_sparsity(chunk)
    here, there = _Piece.of(p, *rows), _Piece.of(p, *cols)
    some, _ = matrix_sums(chunk, here.partition, there.partition, None, False, "")
    sums = np.zeros((p.n_blocks, p.n_blocks), dtype=some.dtype)
    sums[np.ix_(here.blocks, there.blocks)] = some
    if check_finite and not np.isfinite(sums).all():
        entry = first_non_finite(chunk)
        if entry is None:
            raise NonFiniteError(
                f"the sums of source over rows {rows[0]} to {rows[1]} and columns {cols[0]} to "
                f"{cols[1]} overflow; expected smaller numbers"
            )
        raise NonFiniteError(
            f"source contains NaN or infinity in row {rows[0] + entry[0]} and column "
            f"{cols[0] + entry[1]}; expected finite numbers"
        )
    paired = np.zeros(len(p._pairing(aligned).mates), dtype=some.dtype)
    entries_at = chunk.tocsr() if issparse(chunk) else chunk
    for numbers, i, j in _pairs(p, aligned, rows, cols):
        entries = entries_at[i - rows[0], j - cols[0]]
        dense = entries.toarray() if issparse(entries) else np.asarray(entries)
        np.add.at(paired, numbers, dense.ravel().astype(some.dtype, copy=False))
    return np.concatenate([sums.ravel(), paired])[None, None]


def _pairs(
    p: Partition, aligned: bool, rows: tuple[int, int], cols: tuple[int, int]
) -> Iterator[tuple[Array, Array, Array]]:
    """Yield numbers of paired sums, and the rows and columns of the entries that go there."""
    if not aligned:
        both = np.arange(max(rows[0], cols[0]), min(rows[1], cols[1]))
        yield p.labels[both], both, both
        return
    first_mate = p._pairing(aligned).first_mate
    for members, variables in p.size_classes:
        is_col = (variables >= cols[0]) & (variables < cols[1])
        for block, own in zip(members, variables, strict=True):
            mates, places = np.nonzero(is_col & (own >= rows[0]) & (own < rows[1]))
            yield first_mate[block] + mates, own[places], variables[mates, places]


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
    partition = _delayed(p)
    whole, piece, row, joined = map(
        _delayed, (_moments_of_rows, _sums_of_piece, _moments_of_pieces, _joined)
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
    together = _together(p.n_blocks**2 + p.n_blocks + p.n)
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
    piece = _Piece.of(p, first, first + chunk.shape[1])
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
    refuse_sparse_samples(_without_sparsity(chunk))
    entry = first_non_finite(chunk) if check else None
    if entry is not None:
        refuse_non_finite_samples((first_row + entry[0], first_column + entry[1]))


# Products


def product(x: Any, p: Partition, within: Array, coefficients: Array, dtype: Any) -> Any:
    """Multiply a block-constant matrix that is not aligned with a Dask array, lazily.

    The sums over blocks of each chunk are added up, and every chunk stays where it is.
    """
    array = import_extra("dask.array", "dask", "work on a Dask array")
    labels = array.from_array(p.labels, chunks=(x.chunks[0],))
    columns, axes = x.reshape(len(x), -1) if x.ndim == 1 else x, "im"
    parts = array.blockwise(
        _sums_of_rows, "ikm", columns, axes, labels, "i", n_blocks=p.n_blocks,
        new_axes={"k": p.n_blocks}, adjust_chunks={"i": 1}, align_arrays=False,
        dtype=accumulator_dtype(x.dtype), meta=np.empty((0, 0, 0), accumulator_dtype(x.dtype)),
    )  # fmt: skip
    shift = parts.sum(axis=0, split_every=_together(p.n_blocks * max(columns.chunks[1])))
    result = array.blockwise(
        _lifted, axes, columns, axes, labels, "i", shift, "km", within=within,
        coefficients=coefficients, to=dtype, concatenate=True, dtype=dtype, align_arrays=False,
        meta=np.empty((0, 0), dtype),
    )  # fmt: skip
    return result[:, 0] if x.ndim == 1 else result


def _sums_of_rows(x: Array, labels: Array, n_blocks: int) -> Array:
    """Return the sums of a chunk over blocks, (1, k, m)."""
    sums = np.zeros((1, n_blocks, x.shape[1]), dtype=accumulator_dtype(x.dtype))
    if len(labels):
        piece = _Piece(labels)
        sums[0, piece.blocks] = piece.partition.block_sums(_dense(x))
    return sums


def _dense(chunk: Any) -> Array:
    chunk = _without_sparsity(chunk)
    dense: Array = chunk.toarray() if issparse(chunk) else chunk
    return dense


def _lifted(
    x: Array, labels: Array, sums: Array, within: Array, coefficients: Array, to: Any
) -> Array:
    """Return a chunk of the product, from the sums of all chunks over blocks."""
    shift = coefficients @ sums
    lifted: Array = within[labels][:, None] * _dense(x) + shift[labels]
    return lifted.astype(to, copy=False)
