"""The formulas of the canonical pair, for arrays of NumPy, PyTorch and any other library.

:ref:`theory-formulas` lists them. They share these arguments, which may have the same leading
batch axes; the notation of :ref:`theory-pair` is in brackets:

- ``between`` (..., k, k): what a matrix does to block means [M];
- ``within``: what it does to deviations from them, (..., k) [d], or (..., k, k) for aligned
  blocks [D]. It is aligned if it has as many axes as ``between``;
- ``sizes`` [n]: the number of members of each block, (..., k), or one Python number for all blocks.
  The dtype must be the real dtype of the other arguments, because NumPy makes float64 of float32
  and integers. Integers will do where NumPy works in double precision.

The number of blocks is k, and a vector of length n has k block sums. Independent blocks, whose M is
diagonal, are a batch of k matrices with one block each (`one_for_each_block`).
"""

from typing import Any, TypeAlias

import numpy as np
from array_api_compat import array_namespace, device

Array: TypeAlias = Any  # of any library that follows the array API standard
Sizes: TypeAlias = Any  # an array (..., k), or an int
Pair: TypeAlias = tuple[Array, Array]  # between and within

_namespaces: dict[type, Any] = {}


def namespace(x: Array) -> Any:
    """Return the functions of the array's library, found once for each type of arrays."""
    found = _namespaces.get(type(x))
    if found is None:
        found = _namespaces[type(x)] = array_namespace(x)
    return found


# Geometry


def root(sizes: Sizes) -> Any:
    """Return the lengths of the block indicators: ``sqrt(n_b)``."""
    return sizes**0.5


def outer_root(rows: Sizes, columns: Sizes | None = None) -> Any:
    """Return ``sqrt(n_a n_b)`` for every block (a, b), of a square or rectangular partition."""
    if _is_number(rows) and (columns is None or _is_number(columns)):
        return root(rows * (rows if columns is None else columns))
    left = root(rows)
    return _column(left) * _row(left if columns is None else root(columns))


def coordinates(sums: Array, sizes: Sizes) -> Array:
    """Return the coordinates ``U^H x`` of a vector from its block sums (..., k): ``s / sqrt(n)``.

    They are what `between` acts on (:ref:`theory-pair`).
    """
    return sums / root(sizes)


def multiplicity_sum(x: Array, sizes: Sizes) -> Array:
    """Return the sum of x (..., k) with each number as often as it occurs: ``n_b - 1`` times.

    The deviations from the mean of block b have ``n_b - 1`` dimensions (:ref:`theory-pair`).
    """
    return namespace(x).sum(x * (sizes - 1), axis=-1)


# Numbers in the blocks


def values(between: Array, within: Array, sizes: Sizes) -> Array:
    """Return the number in each block, off its diagonal: ``(M - D) / sqrt(n_a n_b)``.

    A product adds as much to every member of block a per unit of the sum over block b
    (:ref:`theory-pair`). Roots of sizes are rounded once, to the precision of `between`.
    """
    roots = _in_precision_of(between, outer_root(sizes))
    return (between - as_square(between, within)) / roots


def diagonal_values(between: Array, within: Array, sizes: Sizes) -> Array:
    """Return the number on the diagonal of each block: (..., k), or (..., k, k) if aligned.

    It is ``(M_bb - d_b) / n_b + d_b`` (:ref:`theory-pair`).
    """
    if is_aligned(between, within):
        return values(between, within, sizes) + within
    return (diagonal(between) - within) / _in_precision_of(between, sizes) + within


def between_of_values(values: Array, within: Array, sizes: Sizes) -> Array:
    """Return M from the numbers in the blocks off their diagonals: the inverse of `values`."""
    return values * outer_root(sizes) + as_square(values, within)


def pair_of_values(values: Array, diagonal_values: Array, sizes: Sizes) -> Pair:
    """Return the pair from the numbers off and on the diagonals: :ref:`theory-pair` backwards."""
    aligned = is_aligned(values, diagonal_values)
    within = diagonal_values - (values if aligned else diagonal(values))
    return between_of_values(values, within, sizes), within


def between_of_part(between: Array, rows: Array, columns: Array | None = None) -> Array:
    """Return M of a part of a matrix with one number a block: ``sqrt(q_a q_b) M_ab``.

    The part has a share q of the members of each block of rows and of columns
    (:ref:`theory-parts`).
    """
    return between * outer_root(rows, columns)


def between_of_square_part(between: Array, within: Array, kept: Array, shares: Array) -> Array:
    """Return M of a part with a share q of the members of each block.

    It is ``sqrt(q_a q_b) (M - D)_ab + D_ab``, written as a mean of M and D, which does not cancel.
    `kept` is d or D of the part: D is 0 where no pairs are left (:ref:`theory-parts`).
    """
    taken = between_of_part(as_square(between, within), shares)
    return between_of_part(between, shares) + (as_square(between, kept) - taken)


# Projection


def between_of_sums(sums: Array, rows: Sizes, columns: Sizes | None = None) -> Array:
    """Return M of the projection from the sums of the blocks: ``s_ab / sqrt(n_a n_b)``.

    See :ref:`theory-projection`; with `columns`, of a rectangular matrix
    (:ref:`theory-rectangular`).
    """
    columns = rows if columns is None else columns
    return sums / _column(root(rows)) / _row(root(columns))


def within_of_traces(
    traces: Array, between: Array, sizes: Sizes, rounding: Array | float | None = None
) -> Array:
    """Return d of the projection from the traces: ``(t_b - M_bb) / (n_b - 1)``.

    Traces (..., k, k) of paired entries give D. A difference that is at most `rounding` (a number
    for each block or all) times ``|t_b| + |M_bb|`` counts as zero. See :ref:`theory-projection`.
    """
    aligned = is_aligned(between, traces)
    taken = between if aligned else diagonal(between)
    rest = traces - taken
    if rounding is not None:
        is_rounding = abs(rest) <= rounding * (abs(traces) + abs(taken))
        rest = namespace(rest).where(is_rounding, 0, rest)
    return within_of_rest(rest, sizes, aligned)


def within_of_rest(rest: Array, sizes: Sizes, aligned: bool = False) -> Array:
    """Return d from the sums of squared deviations from block means: ``rest_b / (n_b - 1)``.

    It is zero in blocks of one member, which have no deviations, and D is zero between blocks of
    different sizes (:ref:`theory-aligned`). `rest` is (..., k), or (..., k, k) if aligned.
    """
    if _is_number(sizes):
        return _if_several(rest, 0, sizes) / max(sizes - 1, 1)
    xp, size = namespace(rest), _column(sizes) if aligned else sizes
    exists = size > 1
    if aligned:
        exists = exists & (size == _row(sizes))
    return xp.where(exists, rest, 0) / xp.where(exists, size - 1, 1)


# Products


def lift(image: Array, within: Array, means: Array, sizes: Sizes) -> Array:
    """Return what a product adds to ``within`` times x: one number for each block, (..., k).

    It is ``(M s - d s) / sqrt(n)`` for ``means``, the `coordinates` s of x, and ``image``, which is
    M s or any other function of s (:ref:`theory-pair`).
    """
    return (image - apply_within(within, means)) / root(sizes)


def apply_within(within: Array, x: Array) -> Array:
    """Return d or D times vectors (..., k); D has one axis more than they."""
    if within.ndim <= x.ndim:
        return within * x
    return within @ x if x.ndim == 1 else (within @ x[..., None])[..., 0]


def add(a: Pair, b: Pair) -> Pair:
    """Return the pair of a sum, which is aligned if one of them is (:ref:`theory-pair`).

    A pair of independent blocks is taken as its numbers (..., k) of M and of d.
    """
    (M, d), (N, e) = a, b
    return sum_of_cores(M, N), sum_of_cores(d, e)


def sum_of_cores(x: Array, y: Array) -> Array:
    """Return the sum of cores (..., k, k), each of which may be given as its diagonal (..., k)."""
    if x.ndim == y.ndim:
        return x + y
    square, own = (x, y) if x.ndim > y.ndim else (y, x)
    if own.ndim > 1 or not isinstance(own, np.ndarray):
        return square + as_square(square, own)
    total = square.astype(np.result_type(square, own))
    total[np.diag_indices(len(own))] += own
    return total


def multiply(a: Pair, b: Pair) -> Pair:
    """Return the pair of a product, which is aligned if one of them is (:ref:`theory-pair`)."""
    (M, d), (N, e) = a, b
    if is_aligned(M, d):
        within = d @ e if is_aligned(N, e) else d * _row(e)
    else:
        within = _column(d) * e if is_aligned(N, e) else d * e
    return M @ N, within


# Functions


def compose(values: Array, vectors: Array) -> Array:
    """Return ``V diag(w) V^H`` for values w (..., r) and vectors V (..., k, r).

    It is a function of a Hermitian core, for w that function of its eigenvalues
    (:ref:`theory-functions`).
    """
    adjoint = _conjugate(namespace(vectors).matrix_transpose(vectors))
    return (vectors * _row(values)) @ adjoint


def damped_inverse_root(eigenvalues: Array, damping: float) -> Array:
    """Return ``(w + damping * max w)^(-1/2)``, or 0 if all w (..., k) are 0.

    Each core has its own maximum (:ref:`theory-adagrad`). Negative w count as 0.
    """
    xp = namespace(eigenvalues)
    w = xp.where(eigenvalues < 0, 0, eigenvalues)
    damped = w + damping * xp.max(w, axis=-1, keepdims=True)
    return xp.where(damped > 0, damped, xp.inf) ** -0.5


def signal_share(largest: Array, energy: Array, eps: float) -> Array:
    """Return ``w / (w + eps e)``: a root times this does not amplify the rounding of gradients.

    w is the largest eigenvalue of a core, e the largest mean square of the entries of a block,
    summed as the core is, and eps the spacing of their numbers at 1. It is 0 if w is not positive
    (:ref:`theory-adagrad`).
    """
    xp = namespace(largest)
    return largest / xp.where(largest > 0, largest + eps * energy, xp.inf)


def trace(between: Array, within: Array, sizes: Sizes) -> Array:
    """Return ``tr M + sum (n_b - 1) d_b`` (:ref:`theory-pair`)."""
    xp = namespace(between)
    own = diagonal(within) if is_aligned(between, within) else within
    return xp.sum(diagonal(between), axis=-1) + multiplicity_sum(own, sizes)


def squared_norm(between: Array, within: Array, sizes: Sizes) -> Array:
    """Return the square of the Frobenius norm: ``sum |M_ab|^2 + sum (n_b - 1) |d_b|^2``.

    For aligned blocks the last are ``(n_a - 1) |D_ab|^2`` (:ref:`theory-aligned`).
    """
    xp = namespace(between)
    squares = _squares(within)
    if is_aligned(between, within):
        squares = xp.sum(squares, axis=-1)
    return xp.sum(_squares(between), axis=(-2, -1)) + multiplicity_sum(squares, sizes)


def absolute_row_sums(between: Array, within: Array, sizes: Sizes) -> Array:
    """Return for each block (..., k) the sum of the magnitudes in one row of the matrix.

    A row has ``n_b`` entries in block b. One of them is paired in diagonal blocks and, if aligned,
    in all square blocks (:ref:`theory-pair`).
    """
    xp = namespace(between)
    others, own = values(between, within, sizes), as_square(between, within)
    unpaired = abs(others)
    return xp.sum(unpaired * _row(sizes) + (abs(others + own) - unpaired), axis=-1)


# The shape of a pair


def one_for_each_block(between: Array, within: Array) -> Pair:
    """Return a pair for each of the independent blocks with the numbers (..., k) of M and of d.

    The pairs have the shapes (..., k, 1, 1) and (..., k, 1), and take sizes (..., k, 1)
    (:ref:`theory-independent`).
    """
    return between[..., None, None], within[..., None]


def of_each_block(pairs: Pair) -> Pair:
    """Return the numbers (..., k) of M and of d from a pair for each block."""
    between, within = pairs
    return between[..., 0, 0], within[..., 0]


def is_aligned(between: Array, within: Array) -> bool:
    """Tell whether `within` is a matrix D: it has as many axes as `between`."""
    return bool(within.ndim == between.ndim)


def as_square(between: Array, within: Array) -> Array:
    """Return D, or d on the diagonal of zeros, (..., k, k)."""
    if is_aligned(between, within):
        return within
    if within.ndim == 1 and isinstance(within, np.ndarray):
        return np.diag(within)  # the same, in a quarter of the time
    xp = namespace(within)
    eye = xp.eye(within.shape[-1], dtype=xp.bool, device=device(within))
    return xp.where(eye, _row(within), 0)


def diagonal(x: Array) -> Array:
    """Return the diagonal of a core (..., k, k)."""
    return namespace(x).linalg.diagonal(x)


def _is_number(sizes: Sizes) -> bool:
    return isinstance(sizes, int | float)


def _if_several(x: Array, other: float, sizes: Sizes) -> Array:
    """Return x for blocks of several members, and `other` for those of one."""
    xp = namespace(x)
    if _is_number(sizes):
        return x if sizes > 1 else xp.full_like(x, other)
    return xp.where(sizes > 1, x, other)


def _in_precision_of(x: Array, geometry: Any) -> Any:
    """Return sizes, or roots of them, in the real dtype of x: float32 numbers stay float32."""
    if _is_number(geometry) or geometry.dtype == x.dtype:
        return geometry
    xp = namespace(x)
    dtype = xp.real(x).dtype if _is_complex(x) else x.dtype
    return xp.astype(geometry, dtype, copy=False)


def _column(x: Any) -> Any:
    return x if _is_number(x) else x[..., :, None]


def _row(x: Any) -> Any:
    return x if _is_number(x) else x[..., None, :]


def _is_complex(x: Array) -> bool:
    return bool(namespace(x).isdtype(x.dtype, "complex floating"))


def _squares(x: Array) -> Array:
    return abs(x) ** 2 if _is_complex(x) else x**2


def _conjugate(x: Array) -> Array:
    return namespace(x).conj(x) if _is_complex(x) else x
