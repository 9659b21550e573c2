"""Numba kernels that read a matrix or samples once: block sums, paired sums and residuals.

The rules of `blockmat.blocks.kernels` apply here too.
"""

import numpy as np

from blockmat.blocks.jit import jit, jit_in_order
from blockmat.blocks.kernels import TILE, sum_blocks, sum_run

_MEANS = 32  # samples added in one loop


# The rows of a matrix are sorted by block and cut into `RowSegments`.
@jit
def _sum_some_rows(a, rows, total):
    """Set ``total`` (n,) to the sum of some rows of a (N, n), read four at a time."""
    zero = total.dtype.type(0)  # makes the additions double precision
    fours = rows.shape[0] // 4 * 4
    for tile in range(0, a.shape[1], TILE):
        tiled = slice(tile, tile + TILE)
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


@jit
def sum_dense(a, segments, cols, pairing, sums, traces, first, last):
    """Compute block sums and paired sums of a dense matrix, segment by segment.

    ``sums[s]`` (l,) is set to the block sums of the sum of the rows of segment s, and
    ``traces[s, t]`` to the sum of their entries that are paired with mate t of their block. The
    paired entries of a row are read while it is in cache.

    Parameters
    ----------
    a : (N, n)
    segments : RowSegments
        Of the rows of `a`.
    cols : Places
        Of the columns.
    pairing : Pairing
    sums : (S, l)
    traces : (S, largest number of mates)
    """
    bounds, mates, first_mate = segments.bounds, pairing.mates, pairing.first_mate
    total = np.empty(a.shape[1], sums.dtype)
    for s in range(first, last):
        rows = segments.rows[bounds[s] : bounds[s + 1]]
        _sum_some_rows(a, rows, total)
        sum_blocks(total, cols.offsets, cols.labels, sums[s])
        traces[s, :] = 0
        if traces.shape[1] > 0:
            p = segments.blocks[s]
            for r in rows:
                place = segments.positions[r]
                for t in range(first_mate[p], first_mate[p + 1]):
                    j = cols.order[cols.offsets[mates[t]] + place]
                    traces[s, t - first_mate[p]] += a[r, j]


@jit_in_order
def _add_exactly(x, totals, rests, place):
    """Add x to ``totals[place]``, and its rounding error to ``rests[place]`` (Knuth)."""
    total = totals[place]
    new = total + x
    taken = new - total
    totals[place] = new
    rests[place] += (total - (new - taken)) + (x - taken)


@jit_in_order
def add_sparse(entries, row_labels, col_labels, positions, pairing, sums, traces):
    """Add `Entries` to block sums (k, l) and paired sums, with compensated summation.

    The `Pairing` and the positions of variables in their blocks are those of a square matrix.
    """
    rows, cols, data = entries
    classes, ranks, first_mate, _ = pairing
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


@jit
def sum_samples(x, weights, centre, offsets, labels, bounds, results, first, last):
    """Compute block sums of samples x (T, n) and the squares of their columns, piece by piece.

    With ``deviations = x - mean(x)`` if `centre`, else x, and ``results = (mean, sums, squares)``:
    ``mean`` (n,) is set to the mean, ``sums[p, t]`` to the block sums of row t of the deviations
    over piece p of the columns, and ``squares[i]`` to the sum of squared magnitudes of their
    column i. The mean and the squares are weighted by ``weights`` (T,); length 0 means that all
    are 1. Columns are processed in strips that fit into cache, so x is read from memory once.
    """
    mean, sums, squares = results
    n_samples = x.shape[0]
    is_weighted = weights.shape[0] > 0
    total = weights.sum() if is_weighted else float(n_samples)
    width = max(16, min(2 * TILE, 16 * TILE // n_samples))
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
                        row, w = x[t, start:stop], weights[t] if is_weighted else 1.0
                        for i in range(row.shape[0]):
                            strip[i] += w * row[i]
                    for i in range(some.shape[0]):
                        some[i] += strip[i]
                for i in range(some.shape[0]):
                    some[i] /= total
            while labels.shape[0] == 0 and offsets[b + 1] <= start:
                b += 1
            for t in range(n_samples):
                row, target, w = x[t, start:stop], sums[p, t], weights[t] if is_weighted else 1.0
                for i in range(row.shape[0]):
                    deviation = row[i] - some[i]
                    strip[i] = deviation
                    magnitude = deviation.real * deviation.real + deviation.imag * deviation.imag
                    square[i] += w * magnitude
                if labels.shape[0] > 0:
                    for i in range(where.shape[0]):
                        target[where[i]] += strip[i]
                else:
                    c, i = b, start
                    while i < stop:
                        end = min(offsets[c + 1], stop)
                        target[c] += sum_run(strip, i - start, end - start, strip.dtype.type(0))
                        c, i = c + 1, end


@jit
def sum_observed_columns(x, weights, bounds, results, first, last):
    """Add weighted column sums of samples x (T, n) without their NaN, piece by piece.

    With ``results = (totals, counts, gaps, sizes)``, all (n,): the sum of ``weights[t] * x[t]`` over
    the values of a column is added to ``totals``, that of ``weights[t]`` to ``counts``, and the
    number of NaN to ``gaps``. ``sizes`` is raised to the largest real or imaginary part.
    """
    totals, counts, gaps, sizes = results
    zero = x.dtype.type(0)
    for p in range(first, last):
        for start in range(bounds[p], bounds[p + 1], TILE):
            stop = min(start + TILE, bounds[p + 1])
            total, count, gap = totals[start:stop], counts[start:stop], gaps[start:stop]
            size = sizes[start:stop]
            for t in range(x.shape[0]):
                row, w = x[t, start:stop], weights[t]
                for i in range(row.shape[0]):
                    value = row[i]
                    is_value = value == value
                    value = value if is_value else zero
                    total[i] += w * value
                    size[i] = max(size[i], max(abs(value.real), abs(value.imag)))
                    count[i] += w if is_value else 0.0
                    gap[i] += 0 if is_value else 1


@jit
def sum_observed(x, weights, location, offsets, labels, bounds, results, first, last):
    """Compute block sums and numbers of NaN of samples x (T, n), piece by piece.

    With ``deviations = x - location`` and 0 for NaN, and ``results = (sums, gaps, squares)``:
    ``sums[p, t]`` (k,) is set to the block sums of row t of the deviations over piece p of the
    columns, ``gaps[p, t]`` to the numbers of NaN there, and the sums of ``weights[t]`` times their
    squared magnitudes are added to ``squares`` (n,).
    """
    sums, gaps, squares = results
    zero = sums.dtype.type(0)
    strip, missing = np.empty(TILE, sums.dtype), np.empty(TILE)
    sums[first:last] = 0
    gaps[first:last] = 0
    for p in range(first, last):
        b = 0
        if labels.shape[0] == 0:
            b = np.searchsorted(offsets, bounds[p], side="right") - 1
        for start in range(bounds[p], bounds[p + 1], TILE):
            stop = min(start + TILE, bounds[p + 1])
            centre, square, where = location[start:stop], squares[start:stop], labels[start:stop]
            while labels.shape[0] == 0 and offsets[b + 1] <= start:
                b += 1
            for t in range(x.shape[0]):
                row, w, target, gap = x[t, start:stop], weights[t], sums[p, t], gaps[p, t]
                for i in range(row.shape[0]):
                    deviation = row[i] - centre[i]
                    is_value = deviation == deviation
                    deviation = deviation if is_value else zero
                    strip[i] = deviation
                    missing[i] = 0.0 if is_value else 1.0
                    magnitude = deviation.real * deviation.real + deviation.imag * deviation.imag
                    square[i] += w * magnitude
                if labels.shape[0] > 0:
                    for i in range(where.shape[0]):
                        target[where[i]] += strip[i]
                        gap[where[i]] += missing[i]
                else:
                    c, i = b, start
                    while i < stop:
                        end = min(offsets[c + 1], stop)
                        target[c] += sum_run(strip, i - start, end - start, zero)
                        gap[c] += sum_run(missing, i - start, end - start, 0.0)
                        c, i = c + 1, end


@jit
def sum_filled_columns(x, weights, location, fills, labels, bounds, totals, first, last):
    """Add weighted column sums of ``x - location`` to ``totals`` (n,), piece by piece.

    A NaN of row t in block b counts as ``fills[t, b]``.
    """
    for p in range(first, last):
        for start in range(bounds[p], bounds[p + 1], TILE):
            stop = min(start + TILE, bounds[p + 1])
            total, centre, where = totals[start:stop], location[start:stop], labels[start:stop]
            for t in range(x.shape[0]):
                row, w, fill = x[t, start:stop], weights[t], fills[t]
                for i in range(row.shape[0]):
                    deviation = row[i] - centre[i]
                    total[i] += w * (deviation if deviation == deviation else fill[where[i]])


@jit
def _expand(numbers, places, x):
    """Give each entry of x (n,) the number of its block."""
    if places.labels.shape[0] == 0:
        for b in range(numbers.shape[0]):
            x[places.offsets[b] : places.offsets[b + 1]] = numbers[b]
    else:
        for i in range(x.shape[0]):
            x[i] = numbers[places.labels[i]]


@jit
def sum_dense_residual(a, segments, places, pairing, fit, norms, first, last):
    """Compute squared Frobenius norms of rows of a matrix and of their distance to a fit.

    ``norms[s, 0]`` is set to the squared distance over segment s, and ``norms[s, 1]`` to the
    squared norm of `a` there.

    Parameters
    ----------
    a : (N, n)
    segments : RowSegments
        Of the rows of `a`.
    places : Places
    pairing : Pairing
    fit : (values, extra)
        As from `Approximation.numbers`.
    norms : (S, 2)
    """
    values, extra = fit
    bounds, mates, first_mate = segments.bounds, pairing.mates, pairing.first_mate
    offsets, order = places.offsets, places.order
    zero = values.dtype.type(0)
    fitted = np.empty(a.shape[1], values.dtype)
    for s in range(first, last):
        p = segments.blocks[s]
        numbers = values[p]
        _expand(numbers, places, fitted)
        norms[s, :] = 0
        for r in segments.rows[bounds[s] : bounds[s + 1]]:
            place = segments.positions[r]
            row = a[r]
            for t in range(first_mate[p], first_mate[p + 1]):
                fitted[order[offsets[mates[t]] + place]] += extra[t]
            distance, norm = 0.0, 0.0
            for j in range(row.shape[0]):
                v = zero + row[j]  # double precision, whose squares are in range
                d = v - fitted[j]
                distance += d.real * d.real + d.imag * d.imag
                norm += v.real * v.real + v.imag * v.imag
            norms[s, 0] += distance
            norms[s, 1] += norm
            for t in range(first_mate[p], first_mate[p + 1]):
                fitted[order[offsets[mates[t]] + place]] = numbers[mates[t]]


@jit
def add_sparse_residual(entries, labels, positions, pairing, fit, norms, counts, paired_counts):
    """Compute `sum_dense_residual` for `Entries` without duplicates.

    The number of entries in each block that are not paired is added to ``counts`` (k, k), and the
    number of those paired with each mate to ``paired_counts``. From these the caller computes how
    many entries are not stored.
    """
    rows, cols, data = entries
    classes, ranks, first_mate, _ = pairing
    values, extra = fit
    zero = values.dtype.type(0)
    for e in range(data.shape[0]):
        i = rows[e]
        j = cols[e]
        p = labels[i]
        q = labels[j]
        number = values[p, q]
        if classes[p] == classes[q] and positions[i] == positions[j]:
            mate = first_mate[p] + ranks[q]
            number = number + extra[mate]
            paired_counts[mate] += 1
        else:
            counts[p, q] += 1
        v = zero + data[e]
        d = v - number
        norms[0] += d.real * d.real + d.imag * d.imag
        norms[1] += v.real * v.real + v.imag * v.imag
