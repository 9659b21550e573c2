"""Block sums of arrays of size n, and products with one multiply-add for each number.

Several threads share large arrays. How an array is divided depends on its shape only, so results
do not depend on the number of threads.
"""

import importlib
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from blockmat.blocks.checks import Array, accumulator_dtype, frozen, in_precision_of
from blockmat.blocks.geometry import Geometry
from blockmat.blocks.segments import pieces, shared_ranges
from blockmat.blocks.threads import run

_ONE_CALL_UP_TO = 2**14  # numbers; one kernel computes the whole product
_CONVERTED_UP_TO = 2**16  # numbers; converting more takes longer than reading another dtype
_PIECE = 2**17  # numbers in a piece
_PIECE_PER_BLOCK = 16  # numbers in a piece for each of its k sums
_SHORT_BLOCK = 16  # variables; shorter blocks on average are read by labels, also if contiguous


@cache
def _kernels() -> ModuleType:
    """Import the kernels on first use, because this loads Numba."""
    return importlib.import_module("blockmat.blocks.kernels")


def _in_precision(x: Array, dtype: Any) -> Array:
    """Convert a small array to the precision of the result; real numbers stay real.

    No result changes. Otherwise Numba compiles each kernel for each combination of dtypes, in about
    half a second.
    """
    if x.dtype == dtype or x.size > _CONVERTED_UP_TO:
        return x
    return in_precision_of(x, np.result_type(x, dtype))


def _fixed(x: Array | None, dtype: Any) -> Array | None:
    """Return a read-only view in the precision of the result.

    For Numba, arrays that can be changed have another type.
    """
    return None if x is None else frozen(_in_precision(x, dtype).view())


class _Vectors(NamedTuple):
    """m vectors of length n: as rows (m, n), or interleaved (n, m). C-contiguous."""

    array: Array
    interleaved: bool

    @classmethod
    def of(cls, x: Array) -> "_Vectors":
        """View x (n,) or (n, m) as vectors. It is copied if it is not contiguous."""
        if x.ndim == 1:
            return cls(np.ascontiguousarray(x)[None], False)
        if x.flags.f_contiguous:
            return cls(x.T, False)
        return cls(np.ascontiguousarray(x), True)

    @property
    def m(self) -> int:
        """The number m of vectors."""
        return int(self.array.shape[self.interleaved])

    @property
    def for_segments(self) -> tuple[Any, ...]:
        """The first arguments of the kernels for contiguous blocks: (m, n), or (n * m,) and m."""
        return (self.array.reshape(-1), self.m) if self.interleaved else (self.array,)

    def new(self, length: int, dtype: Any) -> Array:
        """Allocate m vectors of another length in the same layout."""
        shape = (length, self.m) if self.interleaved else (self.m, length)
        return np.empty(shape, dtype=dtype)

    def alike(self, x: Array) -> Array:
        """Copy x (n,) or (n, m) to the same layout."""
        if self.interleaved:
            return np.ascontiguousarray(x)
        return np.ascontiguousarray(x.T).reshape(self.m, -1)

    def back(self, array: Array, ndim: int) -> Array:
        """View an array in this layout as (n,) or (n, m)."""
        if self.interleaved:
            return array
        result: Array = array[0] if ndim == 1 else array.T
        return result


def block_sums(p: Geometry, x: Array, centre: Array | None = None) -> Array:
    """Sum an array (n,) or (n, m) over each block, in double precision.

    The value of each block in `centre` (k,) or (k, m) is first subtracted from its numbers.
    """
    dtype = accumulator_dtype(x.dtype)
    vectors = _Vectors.of(x)
    if vectors.m == 0:
        return np.empty((p.n_blocks, 0), dtype=dtype)
    arguments: tuple[Any, ...]
    kernels, taken = _kernels(), None if centre is None else vectors.alike(centre)
    if _by_segments(p):
        bounds, blocks, starts = p.segments
        sums = vectors.new(len(bounds) - 1, dtype)
        kernel = kernels.sum_segments_of_rows if vectors.interleaved else kernels.sum_segments
        arguments = (*vectors.for_segments, taken, bounds, blocks, sums)
        run(kernel, arguments, shared_ranges(bounds, x.size))
        if len(bounds) > len(starts):
            partial = vectors._replace(array=sums)
            sums = vectors.new(p.n_blocks, dtype)
            kernel(*partial.for_segments, None, starts, blocks, sums, 0, p.n_blocks)
    else:
        kernel = kernels.sum_pieces_of_rows if vectors.interleaved else kernels.sum_pieces
        bounds = _pieces(p, vectors.m)
        sums = np.empty((len(bounds) - 1, *vectors.new(p.n_blocks, bool).shape), dtype=dtype)
        arguments = (vectors.array, taken, _codes(p), bounds, sums)
        run(kernel, arguments, shared_ranges(bounds, x.size))
        sums = sum_of_parts(sums)
    return vectors.back(sums, x.ndim)


def block_squares(p: Geometry, x: Array, centre: Array, total: bool = False) -> Array:
    """Sum ``(x - centre)^2`` over each block, or over all blocks, in double precision.

    x has shape (m, n) and is C-contiguous, and centre (m, k). The sums have shape (m, k), or (m, 1)
    if `total`.
    """
    m, dtype = len(x), accumulator_dtype(x.dtype)
    if _by_segments(p):
        bounds, blocks, starts = p.segments
        squares = np.empty((m, len(bounds) - 1), dtype=dtype)
        arguments: tuple[Any, ...] = (x, centre, bounds, blocks, squares)
        run(_kernels().sum_squares_segments, arguments, shared_ranges(bounds, x.size))
        if len(bounds) > len(starts):
            partial, squares = squares, np.empty((m, p.n_blocks), dtype=dtype)
            _kernels().sum_segments(partial, None, starts, blocks, squares, 0, p.n_blocks)
        return squares.sum(1, keepdims=True) if total else squares
    bounds = _pieces(p, m)
    parts = np.empty((len(bounds) - 1, m, 1 if total else p.n_blocks), dtype=dtype)
    arguments = (x, centre, _codes(p), bounds, parts)
    run(_kernels().sum_squares_pieces, arguments, shared_ranges(bounds, x.size))
    return sum_of_parts(parts)


_SAMPLED = 9  # members of a block whose median is taken


def centres(p: Geometry, x: Array) -> Array:
    """Return a typical value of each block of x (n,) or (n, m), to subtract before summing.

    It is the median of a few members of the block. If x is constant on a block, the deviations from
    the value are zero.
    """
    some = np.asarray(x[members(p, _SAMPLED)], dtype=accumulator_dtype(x.dtype))
    if np.iscomplexobj(some):
        middle: Array = np.empty(some.shape[:1] + some.shape[2:], dtype=some.dtype)
        middle.real, middle.imag = (
            np.sort(y, axis=1)[:, _SAMPLED // 2] for y in (some.real, some.imag)
        )
        return middle
    return np.sort(some, axis=1)[:, _SAMPLED // 2]


def members(p: Geometry, count: int) -> Array:
    """Return the indices (k, count) of members of each block, at equal distances."""
    places = p.offsets[:-1, None] + p.sizes[:, None] * np.arange(count) // count
    indices: Array = p.order[places]
    return indices


def multiply(
    p: Geometry, x: Array, scale: Array, values: Array, dtype: Any, out: Array | None = None
) -> Array:
    """Return ``scale[labels] * x + (values @ block sums of x)[labels]``.

    x has shape (n,) or (n, m), scale (k,), and values (k, k) in double precision, or (k,) for a
    diagonal matrix.
    """
    if x.dtype != dtype or scale.dtype != dtype:
        x, scale = _in_precision(x, dtype), frozen(_in_precision(scale, dtype).view())
    if (
        x.ndim == 1
        and x.size + values.size <= _ONE_CALL_UP_TO
        and x.flags.c_contiguous
        and (x.dtype.kind == "f" or values.dtype.kind == "c")
        and (out is None or out.flags.c_contiguous)
    ):
        result = np.empty(x.shape, dtype=dtype) if out is None else out
        if p.is_contiguous:
            _kernels().multiply_contiguous(x, scale, values, p.offsets, result)
        else:
            _kernels().multiply_labelled(x, scale, values, p.codes, result)
        return result
    sums = block_sums(p, x)
    # BLAS threads keep their processors busy for a while after they have finished, and so slow
    # down the second pass over x. For long x this costs more than BLAS saves.
    without_blas = values.ndim == 2 and x.ndim == 1 and x.size >= 8 * values.size
    product = np.einsum("ab,b->a", values, sums) if without_blas else times_sums(values, sums)
    return multiply_add(p, x, scale, product.astype(dtype), out)


def times_sums(values: Array, sums: Array) -> Array:
    """Return ``values @ sums`` for sums (k,) or (k, m).

    Values have shape (k, k), or (k,) for a diagonal matrix.
    """
    product: Array = values @ sums if values.ndim == 2 else (values * sums.T).T
    return product


def multiply_add(
    p: Geometry,
    x: Array,
    scale: Array,
    shift: Array,
    out: Array | None = None,
    centre: Array | None = None,
) -> Array:
    """Return ``scale[labels] * (x - centre[labels]) + shift[labels]`` in the dtype of `shift`.

    x has shape (n,) or (n, m), scale (k,), and shift and centre (k,) or (k, m). `out` has the shape
    of x, by default the dtype of `shift`, and may be x. The scale may also be one number (), or,
    for x in Fortran's order, a number for each block of each vector (m, k). The work starts at the
    end of x, which is still in cache after the block sums.
    """
    scale = frozen(_in_precision(scale, shift.dtype).view())
    vectors = _Vectors.of(_in_precision(x, shift.dtype))
    if vectors.m == 0:
        return np.empty(x.shape, dtype=shift.dtype) if out is None else out
    result = vectors.new(p.n, shift.dtype) if out is None else vectors.alike(out)
    terms = vectors.alike(shift)
    taken = None if centre is None else vectors.alike(centre)
    if _by_segments(p):
        kernel = _kernels().multiply_add_segments
        if vectors.interleaved:
            kernel = _kernels().multiply_add_segments_of_rows
        bounds = p.segments.bounds
        target = vectors._replace(array=result).for_segments[0]
        arguments: tuple[Any, ...] = (
            *vectors.for_segments, taken, scale, terms, p.segments, target,
        )  # fmt: skip
    else:
        kernel = _kernels().multiply_add_pieces
        if vectors.interleaved:
            kernel = _kernels().multiply_add_pieces_of_rows
        bounds = _pieces(p, vectors.m)
        arguments = (vectors.array, taken, scale, terms, _codes(p), bounds, result)
    run(kernel, arguments, shared_ranges(bounds, x.size)[::-1])
    return _written(vectors, result, x.ndim, out)


def weighted_sums(
    p: Geometry,
    x: Array,
    weights: Array | None,
    scale: Array | None = None,
    centre: Array | None = None,
) -> Array:
    """Sum ``weights * scale * (x - weights * centre[labels])`` over each block, in double precision.

    x has shape (n,) or (n, m), centre (k,) or (k, m), weights and scale (n,). Weights and scale of
    None are 1, and a centre of None is 0.
    """
    dtype = accumulator_dtype(x.dtype)
    together = np.result_type(x, *(y for y in (weights, scale) if y is not None))
    vectors = _Vectors.of(_in_precision(x, together))
    if vectors.m == 0:
        return np.empty((p.n_blocks, 0), dtype=dtype)
    kernels, taken = _kernels(), None if centre is None else vectors.alike(centre)
    diagonals = (_fixed(scale, together), _fixed(weights, together), taken)
    if p.is_contiguous and not vectors.interleaved:
        bounds, blocks, starts = p.segments
        sums = vectors.new(len(bounds) - 1, dtype)
        arguments: tuple[Any, ...] = (vectors.array, *diagonals, bounds, blocks, sums)
        run(kernels.sum_weighted_segments, arguments, shared_ranges(bounds, x.size))
        if len(bounds) > len(starts):
            partial, sums = sums, vectors.new(p.n_blocks, dtype)
            kernels.sum_segments(partial, None, starts, blocks, sums, 0, p.n_blocks)
    else:
        kernel = kernels.sum_weighted_rows if vectors.interleaved else kernels.sum_weighted_pieces
        bounds = _pieces(p, vectors.m)
        parts = np.empty((len(bounds) - 1, *vectors.new(p.n_blocks, bool).shape), dtype=dtype)
        arguments = (vectors.array, *diagonals, _codes(p), bounds, parts)
        run(kernel, arguments, shared_ranges(bounds, x.size))
        sums = sum_of_parts(parts)
    return vectors.back(sums, x.ndim)


def weighted_add(
    p: Geometry,
    x: Array,
    scale: Array,
    weights: Array | None,
    terms: Array,
    out: Array | None = None,
    centre: Array | None = None,
) -> Array:
    """Return ``scale * x + weights * terms[labels]`` in the dtype of `terms`.

    With a centre it is ``scale * (x - weights * centre[labels] + weights * terms[labels])``. x has
    shape (n,) or (n, m), scale and weights (n,), terms and centre (k,) or (k, m). Weights of None
    are 1. `out` has the shape of x and the dtype of `terms`, and may be x.
    """
    vectors = _Vectors.of(_in_precision(x, terms.dtype))
    if vectors.m == 0:
        return np.empty(x.shape, dtype=terms.dtype) if out is None else out
    result = vectors.new(p.n, terms.dtype) if out is None else vectors.alike(out)
    kernels, taken = _kernels(), None if centre is None else vectors.alike(centre)
    diagonals = (
        _fixed(scale, terms.dtype), _fixed(weights, terms.dtype), taken, vectors.alike(terms),
    )  # fmt: skip
    if p.is_contiguous and not vectors.interleaved:
        bounds = p.segments.bounds
        arguments: tuple[Any, ...] = (vectors.array, *diagonals, p.segments, result)
        ranges = shared_ranges(bounds, x.size)
        run(kernels.weighted_add_segments, arguments, ranges[::-1])
    else:
        kernel = kernels.weighted_add_rows if vectors.interleaved else kernels.weighted_add_pieces
        bounds = _pieces(p, vectors.m)
        arguments = (vectors.array, *diagonals, _codes(p), result)
        ranges = [(bounds[i], bounds[j]) for i, j in shared_ranges(bounds, x.size)]
        run(kernel, arguments, ranges[::-1])
    return _written(vectors, result, x.ndim, out)


def _written(vectors: _Vectors, result: Array, ndim: int, out: Array | None) -> Array:
    """Return the result as (n,) or (n, m), or copy it to `out` if that has another layout."""
    if out is None:
        return vectors.back(result, ndim)
    if not np.may_share_memory(out, result):
        out[...] = vectors.back(result, ndim)
    return out


def _by_segments(p: Geometry) -> bool:
    """Tell whether to read blocks as intervals."""
    return p.is_contiguous and p.n >= _SHORT_BLOCK * p.n_blocks


def _codes(p: Geometry) -> Array:
    """Return the labels for kernels, also of contiguous blocks."""
    return p.labels.view(np.uint32)


def _pieces(p: Geometry, n_vectors: int) -> Array:
    """Return the bounds of pieces of a labelled partition, much longer than the k sums of each piece."""
    return pieces(p.n, max(_PIECE // max(n_vectors, 1), _PIECE_PER_BLOCK * p.n_blocks))


def sum_of_parts(parts: Array) -> Array:
    """Add parts (P, ...) pairwise, in place."""
    while len(parts) > 1:
        half = (len(parts) + 1) // 2
        parts[: len(parts) - half] += parts[half:]
        parts = parts[:half]
    total: Array = parts[0]
    return total
