"""Numba kernels for arrays of size n: block sums, and one multiply-add for each number.

Kernels write into arrays of the caller, whose dtype is the precision of the sums. A kernel with
the arguments ``first, last`` does only that part of the work, so that threads can share it.

Sums are pairwise, or are sums of about sqrt(n) partial sums, so rounding errors grow no faster
than sqrt(n) (N. J. Higham, "The accuracy of floating point summation", SIAM J. Sci. Comput. 14,
1993).

Numba checks signed indices for negative values unless the loop starts at 0. To let the compiler
vectorize inner loops, loops run over slices or unsigned indices, and labels are uint32. Labels of
length 0 mean that the blocks are contiguous.

`tests/test_kernels.py` compares each kernel with a NumPy function.
"""

import numpy as np

from blockmat.blocks.jit import jit, jit_in_order

_SHORT = 32  # numbers; shorter runs gain nothing from vector units
_RUN = 256  # numbers added in one loop, which the compiler vectorizes
_STREAM = 512  # numbers in each of four places that are read at once
_ROWS = 128  # rows added in one loop
_LONG_ROW = 4  # numbers; for longer rows the inner loop runs along the row
TILE = 2048  # numbers that fit into the first-level cache
_LANES_UP_TO = 4096  # blocks; four sets of sums fit into cache


# Pairwise sums
@jit
def sum_run(x, start, stop, zero):
    """Return the sum of ``x[start:stop]`` for x (n,), in the dtype of `zero`.

    Long runs are read at four places at once, which uses more of the memory bandwidth.
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
    return sum_run(x, start, start + half, zero) + sum_run(x, start + half, stop, zero)


# Scale h, weights w and centre c may be None: then h and w are 1, and c is 0. Numba compiles a
# separate kernel for each case.
@jit_in_order
def _at(x, place):
    return None if x is None else x[place]


@jit_in_order
def _times(x, factor):
    return x if factor is None else factor * x


@jit_in_order
def _less(x, c):
    return x if c is None else x - c


@jit_in_order
def _weighted(x, h, w, c):
    """Return ``w * h * (x - w * c)``."""
    return _times(_times(_less(x, None if c is None else _times(c, w)), h), w)


@jit_in_order
def _repeat(row, target):
    """Fill ``target`` with copies of a row; neither, if there is no row."""
    if row is not None:
        for i in range(0, target.shape[0], row.shape[0]):
            for j in range(min(row.shape[0], target.shape[0] - i)):
                target[i + j] = row[j]


@jit_in_order
def _sum_labelled(x, scale, weights, centre, labels, sums):
    """Add ``w * h * (x - w * centre[labels])`` (n,) to ``sums[labels]``.

    There are four sets of sums, so that a repeated label does not wait for the previous addition.
    """
    k = sums.shape[0]
    size = max(4 * _RUN, 16 * k)
    four = k <= _LANES_UP_TO and x.shape[0] >= 16 * k
    lanes = np.empty((4 if four else 1, k), sums.dtype)
    n_lanes = lanes.shape[0]
    lane0, lane1 = lanes[0], lanes[1 % n_lanes]
    lane2, lane3 = lanes[2 % n_lanes], lanes[3 % n_lanes]
    for first in range(0, x.shape[0], size):
        part = slice(first, first + size)
        some, where, h, w = x[part], labels[part], _at(scale, part), _at(weights, part)
        lanes[:] = 0
        fours = some.shape[0] // 4 * 4
        for q in range(fours // 4):
            i = np.uint64(4 * q)
            j = where[i]
            lane0[j] += _weighted(some[i], _at(h, i), _at(w, i), _at(centre, j))
            i += np.uint64(1)
            j = where[i]
            lane1[j] += _weighted(some[i], _at(h, i), _at(w, i), _at(centre, j))
            i += np.uint64(1)
            j = where[i]
            lane2[j] += _weighted(some[i], _at(h, i), _at(w, i), _at(centre, j))
            i += np.uint64(1)
            j = where[i]
            lane3[j] += _weighted(some[i], _at(h, i), _at(w, i), _at(centre, j))
        for i in range(fours, some.shape[0]):
            j = where[i]
            lane0[j] += _weighted(some[i], _at(h, i), _at(w, i), _at(centre, j))
        for b in range(k):
            total = lane0[b]
            if n_lanes > 1:
                total += lane1[b] + (lane2[b] + lane3[b])
            sums[b] += total


@jit_in_order
def _sum_rows_labelled(x, centre, labels, sums):
    """Add the rows of x (n, m), minus ``centre[labels]``, to the rows ``sums[labels]`` (k, m)."""
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


@jit
def sum_blocks(x, offsets, labels, sums):
    """Set ``sums`` (k,) to the block sums of x (n,), contiguous or labelled."""
    if labels.shape[0] == 0:
        zero = sums.dtype.type(0)
        for b in range(sums.shape[0]):
            sums[b] = sum_run(x, offsets[b], offsets[b + 1], zero)
    else:
        sums[:] = 0
        _sum_labelled(x, None, None, None, labels, sums)


# Block sums of vectors, or of their deviations from the value `centre` of each block, which is
# subtracted before the sum. A segment is a run of variables in one contiguous block. A piece is a
# run of variables of a labelled partition. The rows of x (m, n) are m vectors.
@jit_in_order
def sum_segments(x, centre, bounds, blocks, sums, first, last):
    """``sums[j, s] = sum of x[j, segment s] - centre[j, b]``, b = blocks[s], for s in first:last."""
    zero = sums.dtype.type(0)
    strip = None if centre is None else np.empty(TILE, sums.dtype)
    for j in range(x.shape[0]):
        vector = x[j]
        for s in range(first, last):
            if centre is None:
                sums[j, s] = sum_run(vector, bounds[s], bounds[s + 1], zero)
            else:
                c, total, start = centre[j, blocks[s]], zero, bounds[0] - bounds[0]
                for tile in range(bounds[s], bounds[s + 1], TILE):
                    some = vector[tile : min(tile + TILE, bounds[s + 1])]
                    for i in range(some.shape[0]):
                        strip[i] = some[i] - c
                    total += sum_run(strip, start, some.shape[0], zero)
                sums[j, s] = total


@jit_in_order
def sum_segments_of_rows(x, m, centre, bounds, blocks, sums, first, last):
    """``sums[s] = sum of rows of segment s, less centre[b]``, b = blocks[s], for s in first:last.

    x (n * m,) holds n rows of length m. Several short rows are added as one long row, to use the
    vector units of the processor.
    """
    width = m * max(1, _RUN // m)
    wide, some = np.empty(width, sums.dtype), np.empty(width, sums.dtype)
    taken = None if centre is None else np.empty(width, sums.dtype)
    for s in range(first, last):
        start, stop = bounds[s] * m, bounds[s + 1] * m
        used = min(width, stop - start)
        if centre is not None:
            _repeat(centre[blocks[s]], taken[:used])
        wide[:used] = 0
        for leaf in range(start, stop, _ROWS * width):
            some[:used] = 0
            for i in range(leaf, min(leaf + _ROWS * width, stop), width):
                row = x[i : min(i + width, stop)]
                for j in range(row.shape[0]):
                    some[j] += _less(row[j], _at(taken, j))
            for j in range(np.uint64(used)):
                wide[j] += some[j]
        total = sums[s]
        total[:] = 0
        for i in range(0, used, m):
            row = wide[i : i + m]
            for j in range(row.shape[0]):
                total[j] += row[j]


@jit_in_order
def sum_pieces(x, centre, labels, bounds, sums, first, last):
    """``sums[p, j] = block sums (k,) of x[j] - centre[j, labels]`` over piece p in first:last."""
    size = max(8 * TILE, 16 * sums.shape[2])
    sums[first:last] = 0
    for p in range(first, last):
        for tile in range(bounds[p], bounds[p + 1], size):
            stop = min(tile + size, bounds[p + 1])
            for j in range(x.shape[0]):  # the labels are in cache
                _sum_labelled(
                    x[j, tile:stop], None, None, _at(centre, j), labels[tile:stop], sums[p, j]
                )


@jit_in_order
def sum_pieces_of_rows(x, centre, labels, bounds, sums, first, last):
    """``sums[p] = block sums (k, m) of the rows of x (n, m) - centre[labels]``, p in first:last."""
    m = x.shape[1]
    sums[first:last] = 0
    for p in range(first, last):
        if m >= _LONG_ROW:
            piece = slice(bounds[p], bounds[p + 1])
            _sum_rows_labelled(x[piece], centre, labels[piece], sums[p])
            continue
        size = max(TILE, 16 * sums.shape[1])
        for tile in range(bounds[p], bounds[p + 1], size):
            stop = min(tile + size, bounds[p + 1])
            for j in range(m):  # the rows are in cache
                column = _at(centre, (slice(None), j))
                _sum_labelled(x[tile:stop, j], None, None, column, labels[tile:stop], sums[p, :, j])


# Block sums and multiply-adds with a scale h and a weight w for each number.
@jit_in_order
def _added(x, h, w, c, term):
    if c is None:
        return h * x + _times(term, w)
    return h * (_less(x, _times(c, w)) + _times(term, w))


@jit
def _sum_weighted(x, scale, weights, c, zero):
    """Return the sum of ``w * h * (x - w * c)``.

    The compiler may reorder this sum, but it does not multiply out the differences.
    """
    total = zero
    for i in range(x.shape[0]):
        total += _weighted(x[i], _at(scale, i), _at(weights, i), c)
    return total


@jit_in_order
def sum_weighted_segments(x, scale, weights, centre, bounds, blocks, sums, first, last):
    """``sums[j, s] = sum of w * h * (x[j] - w * centre[j, b])`` over segment s of block b."""
    zero = sums.dtype.type(0)
    for s in range(first, last):
        for j in range(x.shape[0]):
            c, total = _at(_at(centre, j), blocks[s]), zero
            for tile in range(bounds[s], bounds[s + 1], TILE):
                tiled = slice(tile, min(tile + TILE, bounds[s + 1]))
                h, w = _at(scale, tiled), _at(weights, tiled)
                total += _sum_weighted(x[j, tiled], h, w, c, zero)
            sums[j, s] = total


@jit_in_order
def _fill(terms, x, scale, weights, centre, labels):
    for i in range(x.shape[0]):
        c = centre[labels[i]]
        terms[i] = _weighted(x[i], _at(scale, i), _at(weights, i), c)


@jit_in_order
def sum_weighted_pieces(x, scale, weights, centre, labels, bounds, sums, first, last):
    """``sums[p, j] = block sums (k,) of w * h * (x[j] - w * centre[j, labels])`` over piece p.

    The terms with a centre are computed before they are added, with the vector units.
    """
    size = max(TILE, 16 * sums.shape[2])
    strip = None if centre is None else np.empty(size, sums.dtype)
    sums[first:last] = 0
    for p in range(first, last):
        for tile in range(bounds[p], bounds[p + 1], size):
            tiled = slice(tile, min(tile + size, bounds[p + 1]))
            h, w, where = _at(scale, tiled), _at(weights, tiled), labels[tiled]
            for j in range(x.shape[0]):
                if centre is None:
                    _sum_labelled(x[j, tiled], h, w, None, where, sums[p, j])
                else:
                    terms = strip[: where.shape[0]]
                    _fill(terms, x[j, tiled], h, w, centre[j], where)
                    _sum_labelled(terms, None, None, None, where, sums[p, j])


@jit_in_order
def sum_weighted_rows(x, scale, weights, centre, labels, bounds, sums, first, last):
    """``sums[p] = block sums (k, m) of w * h * (row - w * centre[b])`` of the rows of piece p.

    x (n, m) has interleaved vectors. For few sums there are four sets of them, as in
    `_sum_labelled`.
    """
    k, m = sums.shape[1:]
    size = max(4 * _RUN, 16 * k)
    lanes = np.empty((4 if k * m <= _LANES_UP_TO else 1, k, m), sums.dtype)
    last_lane = np.uint64(lanes.shape[0] - 1)
    sums[first:last] = 0
    for p in range(first, last):
        for tile in range(bounds[p], bounds[p + 1], size):
            tiled = slice(tile, min(tile + size, bounds[p + 1]))
            some, where = x[tiled], labels[tiled]
            scales, own = _at(scale, tiled), _at(weights, tiled)
            lanes[:] = 0
            for i in range(some.shape[0]):
                row, b, h, w = some[i], where[i], _at(scales, i), _at(own, i)
                c, target = _at(centre, b), lanes[np.uint64(i) & last_lane, b]
                for j in range(row.shape[0]):
                    target[j] += _weighted(row[j], h, w, _at(c, j))
            for lane in lanes:
                sums[p] += lane


@jit_in_order
def weighted_add_segments(x, scale, weights, centre, terms, segments, out, first, last):
    """``out[j] = h * x[j] + w * terms[j, b]`` over segment s of block b, for s in first:last.

    With a centre it is ``h * (x[j] - w * centre[j, b] + w * terms[j, b])``.
    """
    bounds, blocks, _ = segments
    for s in range(first, last):
        b, segment = blocks[s], slice(bounds[s], bounds[s + 1])
        h, w = scale[segment], _at(weights, segment)
        for j in range(x.shape[0]):
            some, result, term = x[j, segment], out[j, segment], terms[j, b]
            c = _at(_at(centre, j), b)
            for i in range(some.shape[0]):
                result[i] = _added(some[i], h[i], _at(w, i), c, term)


@jit_in_order
def weighted_add_pieces(x, scale, weights, centre, terms, labels, out, first, last):
    """`weighted_add_segments` for the labelled variables first:last."""
    for tile in range(first, last, TILE):
        tiled = slice(tile, min(tile + TILE, last))
        where, h, w = labels[tiled], scale[tiled], _at(weights, tiled)
        for j in range(x.shape[0]):
            some, result, term, c = x[j, tiled], out[j, tiled], terms[j], _at(centre, j)
            for i in range(some.shape[0]):
                b = where[i]
                result[i] = _added(some[i], h[i], _at(w, i), _at(c, b), term[b])


@jit_in_order
def weighted_add_rows(x, scale, weights, centre, terms, labels, out, first, last):
    """`weighted_add_segments` for interleaved vectors x (n, m), and the variables first:last."""
    rows = slice(first, last)
    some, result, where = x[rows], out[rows], labels[rows]
    scales, own = scale[rows], _at(weights, rows)
    for i in range(some.shape[0]):
        b, h, w = where[i], scales[i], _at(own, i)
        row, target, term, c = some[i], result[i], terms[b], _at(centre, b)
        for j in range(row.shape[0]):
            target[j] = _added(row[j], h, w, _at(c, j), term[j])


# Squares of deviations
@jit
def _sum_squares(x, c, zero):
    """Return the sum of ``(x - c)^2``, in the dtype of `zero`."""
    total = zero
    for i in range(x.shape[0]):
        rest = x[i] - c
        total += rest * rest
    return total


@jit_in_order
def sum_squares_segments(x, centre, bounds, blocks, squares, first, last):
    """``squares[j, s] = sum of (x[j] - centre[j, b])^2`` over segment s of block b."""
    zero = squares.dtype.type(0)
    for s in range(first, last):
        for j in range(x.shape[0]):
            c, total = centre[j, blocks[s]], zero
            for tile in range(bounds[s], bounds[s + 1], TILE):
                total += _sum_squares(x[j, tile : min(tile + TILE, bounds[s + 1])], c, zero)
            squares[j, s] = total


@jit_in_order
def sum_squares_pieces(x, centre, labels, bounds, squares, first, last):
    """``squares[p, j] = block sums (k,) of (x[j] - centre[j, labels])^2`` over piece p.

    If there is room for one number only, it is the sum over all blocks.
    """
    k, zero = squares.shape[2], squares.dtype.type(0)
    size = TILE if k == 1 else max(TILE, 16 * k)
    strip = np.empty(size, squares.dtype)
    squares[first:last] = 0
    for p in range(first, last):
        for tile in range(bounds[p], bounds[p + 1], size):
            tiled = slice(tile, min(tile + size, bounds[p + 1]))
            where = labels[tiled]
            for j in range(x.shape[0]):
                some, c, terms = x[j, tiled], centre[j], strip[: where.shape[0]]
                for i in range(some.shape[0]):
                    rest = some[i] - c[where[i]]
                    terms[i] = rest * rest
                if k == 1:
                    squares[p, j, 0] += _sum_weighted(terms, None, None, None, zero)
                else:
                    _sum_labelled(terms, None, None, None, where, squares[p, j])


# Multiply-add. The scale is one number (), or a number for each block (k,), also of each vector (m, k).
@jit_in_order
def _scale_of(scale, j, b):
    if scale.ndim == 2:
        return scale[j, b]
    if scale.ndim == 1:
        return scale[b]
    return scale[()]


@jit_in_order
def multiply_add_segments(x, centre, scale, shift, segments, out, first, last):
    """``out[j] = scale[b] * (x[j] - centre[j, b]) + shift[j, b]`` over segment s of block b."""
    bounds, blocks, _ = segments
    for s in range(first, last):
        b = blocks[s]
        segment = slice(bounds[s], bounds[s + 1])
        for j in range(x.shape[0]):
            some, result, term = x[j, segment], out[j, segment], shift[j, b]
            factor, c = _scale_of(scale, j, b), _at(_at(centre, j), b)
            for i in range(some.shape[0]):
                result[i] = factor * _less(some[i], c) + term


@jit_in_order
def multiply_add_segments_of_rows(x, m, centre, scale, shift, segments, out, first, last):
    """``out[i] = scale[b] * (x[i] - centre[b]) + shift[b]`` for the rows i of segment s of block b.

    x and out (n * m,) hold n rows of length m. Several short rows are computed as one long row.
    """
    bounds, blocks, _ = segments
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


@jit_in_order
def multiply_add_pieces(x, centre, scale, shift, labels, bounds, out, first, last):
    """``out[j, i] = scale[b] * (x[j, i] - centre[j, b]) + shift[j, b]`` over pieces, b = labels[i]."""
    for tile in range(bounds[first], bounds[last], 8 * TILE):
        tiled = slice(tile, min(tile + 8 * TILE, bounds[last]))
        where = labels[tiled]
        for j in range(x.shape[0]):  # the labels are in cache
            some, result, c, terms = x[j, tiled], out[j, tiled], _at(centre, j), shift[j]
            for i in range(some.shape[0]):
                b = where[i]
                result[i] = _scale_of(scale, j, b) * _less(some[i], _at(c, b)) + terms[b]


@jit_in_order
def multiply_add_pieces_of_rows(x, centre, scale, shift, labels, bounds, out, first, last):
    """``out[i] = scale[b] * (x[i] - centre[b]) + shift[b]`` for rows i of pieces, b = labels[i]."""
    m = x.shape[1]
    for tile in range(bounds[first], bounds[last], TILE):
        rows = slice(tile, min(tile + TILE, bounds[last]))
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


@jit
def _entry_of_product(values, sums, b):
    """Return entry b of ``values @ sums``, for values (k, k), or (k,) of a diagonal matrix."""
    if values.ndim == 1:
        return values[b] * sums[b]
    term = values.dtype.type(0)
    for c in range(sums.shape[0]):
        term += values[b, c] * sums[c]
    return term


@jit
def multiply_contiguous(x, scale, values, offsets, out):
    """``out = scale[b] * x + (values @ block sums of x)[b]`` for x (n,), b the blocks.

    A diagonal matrix of values is given as (k,). One call computes the whole product, because for
    small sizes calls take longer than the work.
    """
    k = values.shape[0]
    zero = values.dtype.type(0)
    sums = np.empty(k, values.dtype)
    for b in range(k):
        sums[b] = sum_run(x, offsets[b], offsets[b + 1], zero)
    for b in range(k):
        factor, term = scale[b], _entry_of_product(values, sums, b)
        for i in range(np.uint64(offsets[b]), np.uint64(offsets[b + 1])):
            out[i] = factor * x[i] + term


@jit
def multiply_labelled(x, scale, values, labels, out):
    """`multiply_contiguous` for labelled blocks."""
    k = values.shape[0]
    sums, terms = np.zeros(k, values.dtype), np.zeros(k, values.dtype)
    _sum_labelled(x, None, None, None, labels, sums)
    for b in range(k):
        terms[b] = _entry_of_product(values, sums, b)
    for i in range(x.shape[0]):
        b = labels[i]
        out[i] = scale[b] * x[i] + terms[b]
