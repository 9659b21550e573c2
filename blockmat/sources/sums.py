"""Block sums of every kind of source: one pass, chunk by chunk.

A fit needs the sum of every block and the sum of the paired entries of every
diagonal block (aligned: of every square block), and nothing else of its source.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator

from blockmat.blocks.checks import (
    Array,
    accumulator_dtype,
    as_numeric,
    as_raw_array,
    first_non_finite,
    real_dtype,
    working_dtype,
)
from blockmat.blocks.checks import check_finite as require_finite
from blockmat.blocks.geometry import Pairing
from blockmat.blocks.partition import Partition
from blockmat.blocks.passes import block_sums
from blockmat.blocks.segments import Segments, segments, shared_ranges
from blockmat.blocks.threads import run
from blockmat.cores.scale import times_power
from blockmat.exceptions import NonFiniteError
from blockmat.sources.progress import track

_COPY_BYTES = 2**26  # of rows that have to be converted
_WINDOW_BYTES = 2**31  # of rows that are used where they are
_HEADROOM = 100  # powers of two that a sum may be above its numbers
_ROWS = 32  # of one block, added up before their columns are


def as_source(source: Any) -> Any:
    """Return an array of any numeric dtype, a sparse matrix, or an operator."""
    if isinstance(source, LinearOperator) or issparse(source):
        if source.dtype is not None:
            working_dtype(source.dtype, "source")
        return source
    return as_raw_array(source, "source", (2,))


def row_chunks(a: Array, max_rows: int | None = None) -> Iterator[tuple[int, Array]]:
    """Split an array into runs of rows, contiguous and of a supported dtype.

    They are views where the array allows it, which may be large, and copies of a
    bounded size otherwise.
    """
    dtype = working_dtype(a.dtype, "source")
    height = _chunk_height(a, max_rows)
    for first in range(0, len(a), height):
        yield first, np.ascontiguousarray(a[first : first + height], dtype=dtype)


def _chunk_height(a: Array, max_rows: int | None = None) -> int:
    dtype = working_dtype(a.dtype, "source")
    in_place = a.flags.c_contiguous and a.dtype == dtype
    row_bytes = max(a.shape[1] * dtype.itemsize, 1)
    height: int = max(1, (_WINDOW_BYTES if in_place else _COPY_BYTES) // row_bytes)
    return height if max_rows is None else min(height, max_rows)


def tracked_rows(a: Array, progress: bool | None, description: str) -> Iterator[Any]:
    """Split an array as `row_chunks` does, behind a progress bar."""
    n_chunks = -(-len(a) // _chunk_height(a))
    return track(row_chunks(a), n_chunks, description, progress)


def row_segments(p: Partition, first: int, n_rows: int) -> tuple[Array, Segments]:
    """Sort rows ``first : first + n_rows`` by block, and cut the blocks into segments.

    Returns the rows, counted from `first`, and the segments in that order.
    """
    labels = p.labels[first : first + n_rows]
    order = np.arange(n_rows) if p.is_contiguous else np.argsort(labels, kind="stable")
    return order, segments(np.bincount(labels, minlength=p.n_blocks), _ROWS)


def matrix_sums(
    source: Any,
    rows: Partition,
    cols: Partition,
    pairing: Pairing | None,
    progress: bool | None,
    description: str,
    factor: float = 1.0,
) -> tuple[Array, Array]:
    """Sum every block of an array or sparse matrix times a factor, and its paired entries.

    Without a `pairing` (a rectangular matrix) there are no paired entries.
    """
    dtype = accumulator_dtype(working_dtype(source.dtype, "source"))
    pairs = _no_pairing(rows.n_blocks) if pairing is None else pairing
    if issparse(source):
        from blockmat.sources import kernels

        i, j, data = coordinates(source)
        data = data if factor == 1 else data * factor
        sums = np.zeros((rows.n_blocks, cols.n_blocks), dtype=dtype)
        traces = np.zeros(len(pairs.mates), dtype=dtype)
        kernels.add_sparse(
            i, j, data, rows.labels, cols.labels, rows.positions,
            pairs.classes, pairs.ranks, pairs.first_mate, sums, traces,
        )  # fmt: skip
        return sums, traces
    if source.flags.f_contiguous and not source.flags.c_contiguous:
        sums, traces = matrix_sums(source.T, cols, rows, pairing, progress, description, factor)
        return sums.T, _transposed(traces, pairs)
    total: tuple[Array, Array] | None = None
    for first, chunk in tracked_rows(source, progress, description):
        scaled = chunk if factor == 1 else chunk * factor
        part = _dense_sums(scaled, first, rows, cols, pairs, dtype)
        if total is None:
            total = part
        else:
            for sums, more in zip(total, part, strict=True):
                sums += more
    assert total is not None  # a partition has at least one row
    return total


def _dense_sums(
    chunk: Array, first: int, rows: Partition, cols: Partition, pairs: Pairing, dtype: Any
) -> tuple[Array, Array]:
    """Return the block sums and paired sums of some rows of a matrix."""
    from blockmat.sources import kernels

    order, (bounds, blocks, starts) = row_segments(rows, first, len(chunk))
    n_mates = np.diff(pairs.first_mate)
    partial = np.empty((len(blocks), cols.n_blocks), dtype=dtype)
    paired = np.empty((len(blocks), n_mates.max()), dtype=dtype)
    arguments = (
        chunk, order, bounds, cols.offsets, cols.codes, first, blocks,
        rows.positions, cols.order, cols.offsets, pairs.first_mate, pairs.mates, partial, paired,
    )  # fmt: skip
    run(kernels.sum_dense, arguments, shared_ranges(bounds, chunk.size))
    counts = np.diff(starts)
    own_mates = np.arange(paired.shape[1]) < n_mates[:, None]
    return _joined(partial, counts), _joined(paired, counts)[own_mates]


def _joined(parts: Array, counts: Array) -> Array:
    """Add up the first counts[0] rows, the next counts[1] rows and so on, a few at a time."""
    present = np.flatnonzero(counts)
    absent, counts = len(counts) - len(present), counts[present]
    while counts.max() > 1:
        parts = np.add.reduceat(parts, segments(counts, _ROWS).bounds[:-1], axis=0)
        counts = -(-counts // _ROWS)
    if not absent:
        return parts
    sums = np.zeros((absent + len(present), parts.shape[1]), dtype=parts.dtype)
    sums[present] = parts
    return sums


def _no_pairing(n_blocks: int) -> Pairing:
    empty = np.zeros(0, dtype=np.intp)
    return Pairing(empty, empty, np.zeros(n_blocks + 1, dtype=np.intp), empty)


def _transposed(traces: Array, pairing: Pairing) -> Array:
    """Reorder paired sums of a transposed matrix: number (a, b) becomes (b, a)."""
    if len(traces) == 0:
        return traces
    rows, mates = pairing.rows, pairing.mates
    reordered: Array = traces[pairing.first_mate[mates] + pairing.ranks[rows]]
    return reordered


def coordinates(source: Any) -> tuple[Array, Array, Array]:
    """Return the rows, columns and numbers of the stored entries of a sparse matrix."""
    coo = source.tocoo()
    dtype = working_dtype(coo.dtype, "source")
    return coo.row, coo.col, coo.data.astype(dtype, copy=False)


def paired_array(traces: Array, pairing: Pairing, aligned: bool) -> Array:
    """Put paired sums, stored mate by mate, into a (k, k) array if aligned."""
    if not aligned:
        return traces
    k = len(pairing.classes)
    square = np.zeros((k, k), dtype=traces.dtype)
    square[pairing.rows, pairing.mates] = traces
    return square


def operator_core(
    source: LinearOperator, rows: Partition, cols: Partition, progress: bool | None
) -> tuple[Array, np.dtype[Any]]:
    """Return ``U_r^H A U_c`` from products with blocks of columns of U_c."""
    row_root, col_root = np.sqrt(rows.sizes), np.sqrt(cols.sizes)
    dtype = working_dtype(np.float64 if source.dtype is None else source.dtype, "source")
    width = max(1, min(cols.n_blocks, _COPY_BYTES // (8 * cols.n)))
    starts = range(0, cols.n_blocks, width)
    columns = []
    for start in track(starts, len(starts), "fit", progress):
        blocks = np.arange(start, min(start + width, cols.n_blocks))
        indicator = (cols.labels[:, None] == blocks).astype(dtype)
        products = as_numeric(source.matmat(indicator), "source @ indicator", (2,))
        if source.dtype is None:
            dtype = np.result_type(dtype, products)
        sums = block_sums(rows, products)
        if not np.isfinite(sums).all():  # perhaps only until they are divided
            small = block_sums(rows, times_power(products, -_HEADROOM))
            columns.append(times_power(small / row_root[:, None] / col_root[blocks], _HEADROOM))
            continue
        columns.append(sums / row_root[:, None] / col_root[blocks])
    return np.concatenate(columns, axis=1), dtype


def probes(source: LinearOperator, n_probes: int, random_state: Any) -> Array:
    """Return random signs (n, n_probes), in the precision of the operator."""
    rng = np.random.default_rng(random_state)
    dtype = working_dtype(np.float64 if source.dtype is None else source.dtype, "source")
    signs = rng.integers(0, 2, size=(source.shape[1], n_probes), dtype=np.int8)
    result: Array = (2 * signs - 1).astype(real_dtype(dtype))
    return result


def require_finite_blocks(
    between: Array, within: Array, rows: Partition, cols: Partition, source: Any = None
) -> None:
    """Raise `NonFiniteError` naming the first entry whose block has no finite sum, or the block."""
    if not np.isfinite(between).all():
        a, b = (int(i) for i in np.argwhere(~np.isfinite(between))[0])
        place = ""
        if isinstance(source, np.ndarray) or issparse(source):
            entry = first_non_finite(source)
            if entry is None:
                raise NonFiniteError(
                    f"the sum of block ({rows.names[a]!r}, {cols.names[b]!r}) of source overflows; "
                    f"expected smaller numbers"
                )
            a, b = int(rows.labels[entry[0]]), int(cols.labels[entry[1]])
            place = f", row {entry[0]} and column {entry[1]}"
        raise NonFiniteError(
            f"source contains NaN or infinity in block ({rows.names[a]!r}, {cols.names[b]!r}){place}; "
            f"expected finite numbers (or check_finite=False)"
        )
    require_finite(within, "within")
