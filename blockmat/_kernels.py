"""Every Numba kernel of the package; nothing else imports numba.

One policy for all: compiled lazily per dtype and layout, serial, free of the
GIL, cached on disk, IEEE division, and only those relaxed floating-point rules
that keep NaN and infinity intact. Kernels write into arrays that the caller
allocates, so the caller decides the precision of the accumulators. A kernel
that adds accepts accumulators that already hold sums, which makes every
function of this file usable chunk by chunk.

The NumPy function that each kernel equals stands in ``tests/test_kernels.py``.
"""

from collections.abc import Callable
from typing import Any, cast

import numba
import numpy as np

_Kernel = Callable[..., Any]


def _jit(function: _Kernel) -> _Kernel:
    return cast(
        _Kernel,
        numba.njit(
            nogil=True,
            cache=True,
            error_model="numpy",
            fastmath={"reassoc", "nsz", "contract"},
        )(function),
    )


@_jit
def add_block_sums(x, labels, sums):
    """``sums[b] += sum of x over block b`` for x (n,)."""
    for i in range(x.shape[0]):
        sums[labels[i]] += x[i]


@_jit
def add_block_sums_of_rows(x, labels, sums):
    """``sums[b] += sum of the rows of x in block b`` for x (n, m), sums (k, m)."""
    for i in range(x.shape[0]):
        b = labels[i]
        for j in range(x.shape[1]):
            sums[b, j] += x[i, j]


@_jit
def multiply_add(x, scale, shift, labels, out):
    """``out = scale[label] * x + shift[label]`` for x (n,), scale and shift (k,)."""
    for i in range(x.shape[0]):
        b = labels[i]
        out[i] = scale[b] * x[i] + shift[b]


@_jit
def multiply_add_rows(x, scale, shift, labels, out):
    """``out = scale[label] * x + shift[label]`` for x (n, m), scale (k,), shift (k, m)."""
    for i in range(x.shape[0]):
        b = labels[i]
        for j in range(x.shape[1]):
            out[i, j] = scale[b] * x[i, j] + shift[b, j]


@_jit
def add_dense(
    a, first, row_labels, col_labels, positions, order, offsets, first_mate, mates, sums, traces
):
    """Add rows ``first : first + len(a)`` of a dense matrix to its block sums.

    ``sums[p, q]`` gains the sum over block (p, q), and ``traces[t]`` the sum of
    the paired entries of block p and its mate ``mates[t]``, where t runs over
    ``first_mate[p] : first_mate[p + 1]``: one pass over the matrix, because the
    paired entries are read while their row is in cache.
    """
    row = np.zeros(sums.shape[1], sums.dtype)
    for r in range(a.shape[0]):
        i = first + r
        p = row_labels[i]
        row[:] = 0
        for j in range(a.shape[1]):
            row[col_labels[j]] += a[r, j]
        sums[p] += row
        for t in range(first_mate[p], first_mate[p + 1]):
            traces[t] += a[r, order[offsets[mates[t]] + positions[i]]]


@_jit
def add_sparse(
    rows, cols, data, row_labels, col_labels, positions, classes, ranks, first_mate, sums, traces
):
    """Add coordinate-format entries to block sums and paired sums (see `add_dense`).

    Blocks p and q are mates when ``classes[p] == classes[q]``, and then q is mate
    number ``ranks[q]`` of p.
    """
    for e in range(data.shape[0]):
        i = rows[e]
        j = cols[e]
        p = row_labels[i]
        q = col_labels[j]
        sums[p, q] += data[e]
        if classes.shape[0] and classes[p] == classes[q] and positions[i] == positions[j]:
            traces[first_mate[p] + ranks[q]] += data[e]


@_jit
def add_samples(x, mean, labels, sums, traces):
    """Block sums and sums of squares of the rows of ``x - mean``, in one pass.

    ``sums[t, b] += sum over block b of (x[t] - mean)`` and
    ``traces[b] += sum over t and block b of |x[t] - mean|**2``.
    """
    for t in range(x.shape[0]):
        row = sums[t]
        for i in range(x.shape[1]):
            b = labels[i]
            deviation = x[t, i] - mean[i]
            row[b] += deviation
            traces[b] += deviation.real * deviation.real + deviation.imag * deviation.imag


@_jit
def add_dense_residual(
    a, first, labels, positions, order, offsets, first_mate, mates, values, second, row, norms
):
    """Squared Frobenius norms of a block of rows and of its distance to a fit.

    The fit is ``values[p, q]`` in block (p, q), plus ``second[t]`` at the entries
    paired with mate t. ``norms[0]`` gains the squared distance and ``norms[1]``
    the squared norm of `a`; `row` is scratch space for one row of the fit.
    """
    for r in range(a.shape[0]):
        i = first + r
        p = labels[i]
        for j in range(a.shape[1]):
            row[j] = values[p, labels[j]]
        for t in range(first_mate[p], first_mate[p + 1]):
            row[order[offsets[mates[t]] + positions[i]]] += second[t]
        for j in range(a.shape[1]):
            v = a[r, j]
            d = v - row[j]
            norms[0] += d.real * d.real + d.imag * d.imag
            norms[1] += v.real * v.real + v.imag * v.imag


@_jit
def add_sparse_residual(
    rows, cols, data, labels, positions, classes, ranks, first_mate, values, second, norms
):
    """`add_dense_residual` for coordinate-format entries without duplicates.

    ``norms[2]`` gains the squared norm of the fit at the stored entries, which is
    what the caller needs for the entries that are not stored.
    """
    for e in range(data.shape[0]):
        i = rows[e]
        j = cols[e]
        p = labels[i]
        q = labels[j]
        fit = values[p, q]
        if classes[p] == classes[q] and positions[i] == positions[j]:
            fit = fit + second[first_mate[p] + ranks[q]]
        v = data[e]
        d = v - fit
        norms[0] += d.real * d.real + d.imag * d.imag
        norms[1] += v.real * v.real + v.imag * v.imag
        norms[2] += fit.real * fit.real + fit.imag * fit.imag
