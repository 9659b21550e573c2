"""Every Numba kernel of the package; nothing else imports numba.

One policy for all: compiled lazily per dtype and layout, serial, free of the
GIL, cached on disk where there is a place for it, IEEE division, and only those
relaxed floating-point rules that keep NaN and infinity intact. Kernels write into
arrays that the caller allocates, so the caller decides the precision of the
accumulators, and those that end in ``first, last`` do that part of the work only, so
that several threads can share it.

Sums are pairwise, or in two or three levels, where a sum of n numbers is one of about
the square root of n sums, so that rounding grows with no more than that (N. J. Higham,
"The accuracy of floating point summation", SIAM J. Sci. Comput. 14, 1993).

Two things keep the inner loops vectorized. Numba checks every index of a signed type
for being negative, unless the loop starts at 0, so loops run over slices or over
unsigned indices, and labels come as uint32. ``labels`` of length 0 stands for
contiguous blocks, which need none.

The NumPy function that each kernel equals stands in ``tests/test_kernels.py``.
"""

import contextlib
from collections.abc import Callable
from typing import Any, cast

import numba
import numpy as np
from numba.core.caching import FunctionCache

_Kernel = Callable[..., Any]

_SHORT = 32  # numbers for which the processor's vectors do not pay
_RUN = 256  # numbers added in order, most of them in parallel lanes of the processor
_STREAM = 512  # numbers that are read in each of four places at once
_ROWS = 128  # rows added in order
_MEANS = 32  # samples added in order
_LONG_ROW = 4  # numbers for which a loop along the row pays
_TILE = 2048  # numbers that stay in the first-level cache
_LANES_UP_TO = 4096  # blocks for which four sets of sums still fit into cache


class _Cache(FunctionCache):
    """Numba's cache on disk, for which a place that cannot be read or written is no error."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        with contextlib.suppress(OSError):
            return super().load_overload(sig, target_context)
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with contextlib.suppress(OSError):
            super().save_overload(sig, data)


def _compiled(function: _Kernel, fastmath: set[str]) -> _Kernel:
    kernel: Any = numba.njit(nogil=True, error_model="numpy", fastmath=fastmath)(function)
    with contextlib.suppress(RuntimeError):  # no place for a cache: compile in memory
        kernel._cache = _Cache(function)
    return cast(_Kernel, kernel)


def _jit(function: _Kernel) -> _Kernel:
    return _compiled(function, {"reassoc", "nsz", "contract"})


def _jit_in_order(function: _Kernel) -> _Kernel:
    """Compile without reassociation: ``(x - c) + (y - c)`` must not become ``x + y - 2 c``."""
    return _compiled(function, {"nsz", "contract"})


# Pairwise sums


@_jit
def _sum_run(x, start, stop, zero):
    """Return the sum of ``x[start:stop]``, x (n,).

    Long runs are read in four places at once, which memory serves faster than one. The
    type of `zero` is that of all additions.
    """
    length = stop - start
    if length < _SHORT:
        total, total1, total2, total3 = zero, zero, zero, zero
        for q in range(length // 4):
            i = np.uint64(start + 4 * q)
            total += x[i]
            total1 += x[i + np.uint64(1)]
            total2 += x[i + np.uint64(2)]
            total3 += x[i + np.uint64(3)]
        for i in range(np.uint64(start + length // 4 * 4), np.uint64(stop)):
            total += x[i]
        return (total + total1) + (total2 + total3)
    if length <= _RUN:
        total = zero
        for i in range(np.uint64(start), np.uint64(stop)):
            total += x[i]
        return total
    if length == 4 * _STREAM:
        some = x[start:stop]
        some0, some1 = some[:_STREAM], some[_STREAM : 2 * _STREAM]
        some2, some3 = some[2 * _STREAM : 3 * _STREAM], some[3 * _STREAM :]
        total = zero
        for i in range(_STREAM):
            total += ((zero + some0[i]) + some1[i]) + ((zero + some2[i]) + some3[i])
        return total
    half = length // 2
    if length > 4 * _STREAM:
        half = max(1, half // (4 * _STREAM)) * 4 * _STREAM
    return _sum_run(x, start, start + half, zero) + _sum_run(x, start + half, stop, zero)


# A centre of None, which Numba knows when it compiles, stands for no centre.


@_jit_in_order
def _at(centre, place):
    return None if centre is None else centre[place]


@_jit_in_order
def _less(x, centre):
    return x if centre is None else x - centre


@_jit_in_order
def _sum_labelled(x, centre, labels, sums):
    """Add ``x - centre[labels]`` (n,) to ``sums[labels]``.

    It is done in four lanes, so that a repeated label need not wait.
    """
    k = sums.shape[0]
    size = max(4 * _RUN, 16 * k)
    four = k <= _LANES_UP_TO and x.shape[0] >= 16 * k
    lanes = np.empty((4 if four else 1, k), sums.dtype)
    n_lanes = lanes.shape[0]
    lane0, lane1 = lanes[0], lanes[1 % n_lanes]
    lane2, lane3 = lanes[2 % n_lanes], lanes[3 % n_lanes]
    for first in range(0, x.shape[0], size):
        some, where = x[first : first + size], labels[first : first + size]
        lanes[:] = 0
        fours = some.shape[0] // 4 * 4
        for q in range(fours // 4):
            i = np.uint64(4 * q)
            j = where[i]
            lane0[j] += _less(some[i], _at(centre, j))
            i += np.uint64(1)
            j = where[i]
            lane1[j] += _less(some[i], _at(centre, j))
            i += np.uint64(1)
            j = where[i]
            lane2[j] += _less(some[i], _at(centre, j))
            i += np.uint64(1)
            j = where[i]
            lane3[j] += _less(some[i], _at(centre, j))
        for i in range(fours, some.shape[0]):
            j = where[i]
            lane0[j] += _less(some[i], _at(centre, j))
        for b in range(k):
            total = lane0[b]
            if n_lanes > 1:
                total += lane1[b] + (lane2[b] + lane3[b])
            sums[b] += total


@_jit_in_order
def _sum_rows_labelled(x, centre, labels, sums):
    """Add the rows of x (n, m), less ``centre[labels]``, to the rows ``sums[labels]`` (k, m)."""
    size = max(_RUN, 4 * sums.shape[0])
    total = np.empty_like(sums)
    for first in range(0, x.shape[0], size):
        some, where = x[first : first + size], labels[first : first + size]
        total[:] = 0
        for i in range(some.shape[0]):
            row, target, c = some[i], total[where[i]], _at(centre, where[i])
            for j in range(row.shape[0]):
                target[j] += _less(row[j], _at(c, j))
        sums += total


@_jit
def _sum_blocks(x, offsets, labels, sums):
    """Set ``sums`` (k,) to the block sums of x (n,), contiguous or labelled."""
    if labels.shape[0] == 0:
        zero = sums.dtype.type(0)
        for b in range(sums.shape[0]):
            sums[b] = _sum_run(x, offsets[b], offsets[b + 1], zero)
    else:
        sums[:] = 0
        _sum_labelled(x, None, labels, sums)


# Block sums of vectors. A segment is a run of variables inside one contiguous block, a
# piece a run of variables of a labelled partition. x (m, n) holds m vectors, as rows.


@_jit
def sum_segments(x, bounds, sums, first, last):
    """``sums[j, s] = sum of x[j, bounds[s]:bounds[s + 1]]`` for s in first:last."""
    zero = sums.dtype.type(0)
    for j in range(x.shape[0]):
        vector = x[j]
        for s in range(first, last):
            sums[j, s] = _sum_run(vector, bounds[s], bounds[s + 1], zero)


@_jit
def sum_segments_of_rows(x, m, bounds, sums, first, last):
    """``sums[s] = sum of rows bounds[s]:bounds[s + 1]`` for s in first:last.

    x (n * m,) holds n rows of length m. Short rows are taken several together, as one
    that is long enough for the processor's vectors.
    """
    width = m * max(1, _RUN // m)
    wide, some = np.empty(width, sums.dtype), np.empty(width, sums.dtype)
    for s in range(first, last):
        start, stop = bounds[s] * m, bounds[s + 1] * m
        used = min(width, stop - start)
        wide[:used] = 0
        for leaf in range(start, stop, _ROWS * width):
            some[:used] = 0
            for i in range(leaf, min(leaf + _ROWS * width, stop), width):
                row = x[i : min(i + width, stop)]
                for j in range(row.shape[0]):
                    some[j] += row[j]
            for j in range(np.uint64(used)):
                wide[j] += some[j]
        total = sums[s]
        total[:] = 0
        for i in range(0, used, m):
            row = wide[i : i + m]
            for j in range(row.shape[0]):
                total[j] += row[j]


@_jit_in_order
def sum_pieces(x, centre, labels, bounds, sums, first, last):
    """``sums[p, j] = block sums (k,) of x[j] - centre[j, labels]`` over piece p in first:last."""
    size = max(8 * _TILE, 16 * sums.shape[2])
    sums[first:last] = 0
    for p in range(first, last):
        for tile in range(bounds[p], bounds[p + 1], size):
            stop = min(tile + size, bounds[p + 1])
            for j in range(x.shape[0]):  # while the labels are in cache
                _sum_labelled(x[j, tile:stop], _at(centre, j), labels[tile:stop], sums[p, j])


@_jit_in_order
def sum_pieces_of_rows(x, centre, labels, bounds, sums, first, last):
    """``sums[p] = block sums (k, m) of the rows of x (n, m) - centre[labels]``, p in first:last."""
    m = x.shape[1]
    sums[first:last] = 0
    for p in range(first, last):
        if m >= _LONG_ROW:
            piece = slice(bounds[p], bounds[p + 1])
            _sum_rows_labelled(x[piece], centre, labels[piece], sums[p])
            continue
        size = max(_TILE, 16 * sums.shape[1])
        for tile in range(bounds[p], bounds[p + 1], size):
            stop = min(tile + size, bounds[p + 1])
            for j in range(m):  # while the rows are in cache
                column = _at(centre, (slice(None), j))
                _sum_labelled(x[tile:stop, j], column, labels[tile:stop], sums[p, :, j])


# The same of deviations from a number for each block, which come before they are added


@_jit_in_order
def sum_deviations_of_segments(x, centre, bounds, blocks, sums, first, last):
    """``sums[j, s] = sum of x[j, segment s] - centre[j, b]``, b = blocks[s], for s in first:last."""
    zero = sums.dtype.type(0)
    strip = np.empty(_TILE, sums.dtype)
    for j in range(x.shape[0]):
        for s in range(first, last):
            c, total, start = centre[j, blocks[s]], zero, bounds[0] - bounds[0]
            for tile in range(bounds[s], bounds[s + 1], _TILE):
                some = x[j, tile : min(tile + _TILE, bounds[s + 1])]
                for i in range(some.shape[0]):
                    strip[i] = some[i] - c
                total += _sum_run(strip, start, some.shape[0], zero)
            sums[j, s] = total


@_jit_in_order
def sum_deviations_of_segments_of_rows(x, m, centre, bounds, blocks, sums, first, last):
    """``sums[s] = sum of rows of segment s, less centre[b]``, b = blocks[s], for s in first:last.

    x (n * m,) holds n rows of length m.
    """
    width = m * max(1, _RUN // m)
    wide, some = np.empty(width, sums.dtype), np.empty(width, sums.dtype)
    taken = np.empty(width, sums.dtype)
    for s in range(first, last):
        start, stop = bounds[s] * m, bounds[s + 1] * m
        used, c = min(width, stop - start), centre[blocks[s]]
        for i in range(0, used, m):
            taken[i : i + m] = c
        wide[:used] = 0
        for leaf in range(start, stop, _ROWS * width):
            some[:used] = 0
            for i in range(leaf, min(leaf + _ROWS * width, stop), width):
                row = x[i : min(i + width, stop)]
                for j in range(row.shape[0]):
                    some[j] += row[j] - taken[j]
            for j in range(np.uint64(used)):
                wide[j] += some[j]
        total = sums[s]
        total[:] = 0
        for i in range(0, used, m):
            row = wide[i : i + m]
            for j in range(row.shape[0]):
                total[j] += row[j]


# One multiply-add per number


@_jit_in_order
def _repeat(row, target):
    """Fill ``target`` with copies of a row; neither, if there is no row."""
    if row is not None:
        for i in range(0, target.shape[0], row.shape[0]):
            for j in range(min(row.shape[0], target.shape[0] - i)):
                target[i + j] = row[j]


@_jit_in_order
def multiply_add_segments(x, centre, scale, shift, bounds, blocks, out, first, last):
    """``out[j] = scale[b] * (x[j] - centre[j, b]) + shift[j, b]`` over segment s of block b."""
    for s in range(first, last):
        b = blocks[s]
        segment = slice(bounds[s], bounds[s + 1])
        factor = scale[b]
        for j in range(x.shape[0]):
            some, result, term = x[j, segment], out[j, segment], shift[j, b]
            c = _at(_at(centre, j), b)
            for i in range(some.shape[0]):
                result[i] = factor * _less(some[i], c) + term


@_jit_in_order
def multiply_add_segments_of_rows(x, m, centre, scale, shift, bounds, blocks, out, first, last):
    """``out[i] = scale[b] * (x[i] - centre[b]) + shift[b]`` for the rows i of segment s of block b.

    x and out (n * m,) hold n rows of length m, which are taken several together.
    """
    width = m * max(1, _RUN // m)
    taken = None if centre is None else np.empty(width, centre.dtype)
    terms = np.empty(width, shift.dtype)
    for s in range(first, last):
        b, start, stop = blocks[s], bounds[s] * m, bounds[s + 1] * m
        factor, used = scale[b], min(width, stop - start)
        _repeat(_at(centre, b), _at(taken, slice(0, used)))
        _repeat(shift[b], terms[:used])
        for i in range(start, stop, width):
            row, result = x[i : min(i + width, stop)], out[i : min(i + width, stop)]
            for j in range(row.shape[0]):
                result[j] = factor * _less(row[j], _at(taken, j)) + terms[j]


@_jit_in_order
def multiply_add_pieces(x, centre, scale, shift, labels, bounds, out, first, last):
    """``out[j, i] = scale[b] * (x[j, i] - centre[j, b]) + shift[j, b]`` over pieces, b = labels[i]."""
    for tile in range(bounds[first], bounds[last], 8 * _TILE):
        tiled = slice(tile, min(tile + 8 * _TILE, bounds[last]))
        where = labels[tiled]
        for j in range(x.shape[0]):  # while the labels are in cache
            some, result, c, terms = x[j, tiled], out[j, tiled], _at(centre, j), shift[j]
            for i in range(some.shape[0]):
                b = where[i]
                result[i] = scale[b] * _less(some[i], _at(c, b)) + terms[b]


@_jit_in_order
def multiply_add_pieces_of_rows(x, centre, scale, shift, labels, bounds, out, first, last):
    """``out[i] = scale[b] * (x[i] - centre[b]) + shift[b]`` for rows i of pieces, b = labels[i]."""
    m = x.shape[1]
    for tile in range(bounds[first], bounds[last], _TILE):
        rows = slice(tile, min(tile + _TILE, bounds[last]))
        some, result, where = x[rows], out[rows], labels[rows]
        if m >= _LONG_ROW:
            for i in range(some.shape[0]):
                b = where[i]
                factor, c, term, row, target = (
                    scale[b],
                    _at(centre, b),
                    shift[b],
                    some[i],
                    result[i],
                )
                for j in range(row.shape[0]):
                    target[j] = factor * _less(row[j], _at(c, j)) + term[j]
        else:
            for j in range(np.uint64(m)):
                for i in range(where.shape[0]):
                    b = where[i]
                    result[i, j] = (
                        scale[b] * _less(some[i, j], _at(_at(centre, b), j)) + shift[b, j]
                    )


@_jit
def multiply_contiguous(x, scale, values, offsets, out):
    """``out = scale[b] * x + (values @ block sums of x)[b]`` for x (n,), b the blocks.

    The whole product in one call, for sizes at which calls cost more than the work.
    """
    k = values.shape[0]
    zero = values.dtype.type(0)
    sums = np.empty(k, values.dtype)
    for b in range(k):
        sums[b] = _sum_run(x, offsets[b], offsets[b + 1], zero)
    for b in range(k):
        factor, term = scale[b], zero
        for c in range(k):
            term += values[b, c] * sums[c]
        for i in range(np.uint64(offsets[b]), np.uint64(offsets[b + 1])):
            out[i] = factor * x[i] + term


@_jit
def multiply_labelled(x, scale, values, labels, out):
    """`multiply_contiguous` for labelled blocks."""
    k = values.shape[0]
    sums, terms = np.zeros(k, values.dtype), np.zeros(k, values.dtype)
    _sum_labelled(x, None, labels, sums)
    for b in range(k):
        for c in range(k):
            terms[b] += values[b, c] * sums[c]
    for i in range(x.shape[0]):
        b = labels[i]
        out[i] = scale[b] * x[i] + terms[b]


# Sums over matrices. The rows of a matrix are sorted by block and cut into segments:
# segment s is rows[bounds[s]:bounds[s + 1]], all of one block of rows.


@_jit
def _sum_some_rows(a, rows, total):
    """Set ``total`` (n,) to the sum of some rows of a (N, n), read four at a time."""
    zero = total.dtype.type(0)  # which makes the additions double
    fours = rows.shape[0] // 4 * 4
    for tile in range(0, a.shape[1], _TILE):
        tiled = slice(tile, tile + _TILE)
        some = total[tiled]
        some[:] = 0
        for r in range(0, fours, 4):
            row0, row1 = a[rows[r], tiled], a[rows[r + 1], tiled]
            row2, row3 = a[rows[r + 2], tiled], a[rows[r + 3], tiled]
            for j in range(some.shape[0]):
                some[j] += ((zero + row0[j]) + row1[j]) + ((zero + row2[j]) + row3[j])
        pairs = rows.shape[0] // 2 * 2
        for r in range(fours, pairs, 2):
            row0, row1 = a[rows[r], tiled], a[rows[r + 1], tiled]
            for j in range(some.shape[0]):
                some[j] += (zero + row0[j]) + row1[j]
        for r in range(pairs, rows.shape[0]):
            row = a[rows[r], tiled]
            for j in range(some.shape[0]):
                some[j] += row[j]


@_jit
def sum_dense(
    a, rows, bounds, offsets, labels, first_row, blocks, positions, order, starts,
    first_mate, mates, sums, traces, first, last,
):  # fmt: skip
    """Block sums and paired sums of a dense matrix, segment by segment.

    ``sums[s]`` (l,) becomes the block sums of the sum of the rows of segment s, and
    ``traces[s, t]`` the sum of their entries that are paired with mate t of their
    block: one pass over the matrix, because a row's paired entries are read while it
    is in cache. Row r of `a` is variable ``first_row + r``.
    """
    total = np.empty(a.shape[1], sums.dtype)
    for s in range(first, last):
        segment = rows[bounds[s] : bounds[s + 1]]
        _sum_some_rows(a, segment, total)
        _sum_blocks(total, offsets, labels, sums[s])
        traces[s, :] = 0
        if traces.shape[1] > 0:
            p = blocks[s]
            for r in segment:
                place = positions[first_row + r]
                for t in range(first_mate[p], first_mate[p + 1]):
                    traces[s, t - first_mate[p]] += a[r, order[starts[mates[t]] + place]]


@_jit_in_order
def _add_exactly(x, totals, rests, place):
    """Add x to ``totals[place]``, and what rounding takes away to ``rests[place]`` (Knuth)."""
    total = totals[place]
    new = total + x
    taken = new - total
    totals[place] = new
    rests[place] += (total - (new - taken)) + (x - taken)


@_jit_in_order
def add_sparse(
    rows, cols, data, row_labels, col_labels, positions, classes, ranks, first_mate, sums, traces
):
    """Add coordinate-format entries to block sums and paired sums, with compensation.

    Blocks p and q are mates when ``classes[p] == classes[q]``, and then q is mate
    number ``ranks[q]`` of p.
    """
    zero = sums.dtype.type(0)
    rests, rests_of_traces = np.zeros_like(sums), np.zeros_like(traces)
    for e in range(data.shape[0]):
        i = rows[e]
        j = cols[e]
        p = row_labels[i]
        q = col_labels[j]
        value = zero + data[e]
        _add_exactly(value, sums, rests, (p, q))
        if classes.shape[0] and classes[p] == classes[q] and positions[i] == positions[j]:
            _add_exactly(value, traces, rests_of_traces, first_mate[p] + ranks[q])
    for p in range(sums.shape[0]):
        for q in range(sums.shape[1]):
            if np.isfinite(rests[p, q]):
                sums[p, q] += rests[p, q]
    for t in range(traces.shape[0]):
        if np.isfinite(rests_of_traces[t]):
            traces[t] += rests_of_traces[t]


@_jit
def sum_samples(x, centre, offsets, labels, bounds, mean, sums, squares, first, last):
    """Block sums of samples x (T, n) and the squares of their columns, piece by piece.

    With ``deviations = x - mean(x)``, or x unless `centre`: ``mean`` (n,) becomes the
    mean, ``sums[p, t]`` the block sums of row t of the deviations over piece p of the
    columns, and ``squares[i]`` the sum of their absolute squares in column i. Columns
    are taken in strips that fit into cache, which reads x once.
    """
    n_samples = x.shape[0]
    width = max(16, min(2 * _TILE, 16 * _TILE // n_samples))
    strip = np.empty(width, sums.dtype)
    sums[first:last] = 0
    for p in range(first, last):
        b = 0
        if labels.shape[0] == 0:
            b = np.searchsorted(offsets, bounds[p], side="right") - 1
        for start in range(bounds[p], bounds[p + 1], width):
            stop = min(start + width, bounds[p + 1])
            some, square, where = mean[start:stop], squares[start:stop], labels[start:stop]
            some[:] = 0
            square[:] = 0
            if centre:
                for leaf in range(0, n_samples, _MEANS):
                    strip[:] = 0
                    for t in range(leaf, min(leaf + _MEANS, n_samples)):
                        row = x[t, start:stop]
                        for i in range(row.shape[0]):
                            strip[i] += row[i]
                    for i in range(some.shape[0]):
                        some[i] += strip[i]
                for i in range(some.shape[0]):
                    some[i] /= n_samples
            while labels.shape[0] == 0 and offsets[b + 1] <= start:
                b += 1
            for t in range(n_samples):
                row, target = x[t, start:stop], sums[p, t]
                for i in range(row.shape[0]):
                    deviation = row[i] - some[i]
                    strip[i] = deviation
                    square[i] += deviation.real * deviation.real + deviation.imag * deviation.imag
                if labels.shape[0] > 0:
                    for i in range(where.shape[0]):
                        target[where[i]] += strip[i]
                else:
                    c, i = b, start
                    while i < stop:
                        end = min(offsets[c + 1], stop)
                        target[c] += _sum_run(strip, i - start, end - start, strip.dtype.type(0))
                        c, i = c + 1, end


@_jit
def sum_dense_residual(
    a, rows, bounds, labels, first_row, blocks, positions, order, starts,
    first_mate, mates, values, second, norms, first, last,
):  # fmt: skip
    """Squared Frobenius norms of rows of a matrix and of their distance to a fit.

    The fit is ``values[p, q]`` in block (p, q), plus ``second[t]`` at the entries
    paired with mate t. ``norms[s, 0]`` becomes the squared distance over segment s
    and ``norms[s, 1]`` the squared norm of `a` there.
    """
    zero = values.dtype.type(0)
    fit = np.empty(a.shape[1], values.dtype)
    for s in range(first, last):
        p = blocks[s]
        numbers = values[p]
        for j in range(fit.shape[0]):
            fit[j] = numbers[labels[j]]
        norms[s, :] = 0
        for r in rows[bounds[s] : bounds[s + 1]]:
            place = positions[first_row + r]
            row = a[r]
            for t in range(first_mate[p], first_mate[p + 1]):
                fit[order[starts[mates[t]] + place]] += second[t]
            distance, norm = 0.0, 0.0
            for j in range(row.shape[0]):
                v = zero + row[j]  # in double, in which squares of single numbers are in range
                d = v - fit[j]
                distance += d.real * d.real + d.imag * d.imag
                norm += v.real * v.real + v.imag * v.imag
            norms[s, 0] += distance
            norms[s, 1] += norm
            for t in range(first_mate[p], first_mate[p + 1]):
                fit[order[starts[mates[t]] + place]] = numbers[mates[t]]


@_jit
def add_sparse_residual(
    rows, cols, data, labels, positions, classes, ranks, first_mate, values, second,
    norms, counts, paired_counts,
):  # fmt: skip
    """`sum_dense_residual` for coordinate-format entries without duplicates.

    ``counts`` (k, k) gains the number of entries of each block that have its number, and
    ``paired_counts`` of those paired with each mate: with them the caller knows how many
    entries are not stored.
    """
    zero = values.dtype.type(0)
    for e in range(data.shape[0]):
        i = rows[e]
        j = cols[e]
        p = labels[i]
        q = labels[j]
        fit = values[p, q]
        if classes[p] == classes[q] and positions[i] == positions[j]:
            mate = first_mate[p] + ranks[q]
            fit = fit + second[mate]
            paired_counts[mate] += 1
        else:
            counts[p, q] += 1
        v = zero + data[e]
        d = v - fit
        norms[0] += d.real * d.real + d.imag * d.imag
        norms[1] += v.real * v.real + v.imag * v.imag
