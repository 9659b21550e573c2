"""Passes over arrays of size n: block sums, and one multiply-add for each number.

Threads share the work on large arrays. The cuts depend on shapes only, so every sum is the same
for any number of threads.
"""

import importlib
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from blockmat.blocks.checks import Array, accumulator_dtype
from blockmat.blocks.geometry import Geometry
from blockmat.blocks.segments import pieces, shared_ranges
from blockmat.blocks.threads import run

_ONE_CALL_UP_TO = 2**14  # numbers
_PIECE = 2**17  # numbers
_PIECE_PER_BLOCK = 16  # numbers for each of the k sums that a piece has


@cache
def _kernels() -> ModuleType:
    """Import the kernels, and Numba with them, when they are first needed."""
    return importlib.import_module("blockmat.blocks.kernels")


class _Vectors(NamedTuple):
    """m vectors of length n: as rows (m, n), or interleaved (n, m). C-contiguous."""

    array: Array
    interleaved: bool

    @classmethod
    def of(cls, x: Array) -> "_Vectors":
        """View x (n,) or (n, m), or a copy if it has gaps, as vectors."""
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
        """What the kernels for contiguous blocks take: (m, n), or (n * m,) and m."""
        return (self.array.reshape(-1), self.m) if self.interleaved else (self.array,)

    def new(self, length: int, dtype: Any) -> Array:
        """Make room for as many vectors of another length, laid out alike."""
        shape = (length, self.m) if self.interleaved else (self.m, length)
        return np.empty(shape, dtype=dtype)

    def alike(self, x: Array) -> Array:
        """Lay out x (n,) or (n, m) alike."""
        if self.interleaved:
            return np.ascontiguousarray(x)
        return np.ascontiguousarray(x.T).reshape(self.m, -1)

    def back(self, array: Array, ndim: int) -> Array:
        """View an array laid out alike as (n,) or (n, m) again."""
        if self.interleaved:
            return array
        result: Array = array[0] if ndim == 1 else array.T
        return result


def block_sums(p: Geometry, x: Array, centre: Array | None = None) -> Array:
    """Sum a validated (n,) or (n, m) array over each block, in double precision.

    With a `centre` (k,) or (k, m), that of the block is subtracted from each number first.
    """
    dtype = accumulator_dtype(x.dtype)
    vectors = _Vectors.of(x)
    if vectors.m == 0:
        return np.empty((p.n_blocks, 0), dtype=dtype)
    arguments: tuple[Any, ...]
    kernels, taken = _kernels(), None if centre is None else vectors.alike(centre)
    if p.is_contiguous:
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
        arguments = (vectors.array, taken, p.codes, bounds, sums)
        run(kernel, arguments, shared_ranges(bounds, x.size))
        sums = sum_of_parts(sums)
    return vectors.back(sums, x.ndim)


_SAMPLED = 9  # members of a block whose median is near its mean, or is the number all have


def centres(p: Geometry, x: Array) -> Array:
    """Return a number of each block from which its deviations are no longer than need be.

    A vector that is constant on blocks has no deviations from them.
    """
    places = p.offsets[:-1, None] + p.sizes[:, None] * np.arange(_SAMPLED) // _SAMPLED
    some = np.asarray(x[p.order[places]], dtype=accumulator_dtype(x.dtype))
    if np.iscomplexobj(some):
        middle: Array = np.empty(some.shape[:1] + some.shape[2:], dtype=some.dtype)
        middle.real, middle.imag = (
            np.sort(y, axis=1)[:, _SAMPLED // 2] for y in (some.real, some.imag)
        )
        return middle
    return np.sort(some, axis=1)[:, _SAMPLED // 2]


def multiply(
    p: Geometry, x: Array, scale: Array, values: Array, dtype: Any, out: Array | None = None
) -> Array:
    """Return ``scale[labels] * x + (values @ block sums of x)[labels]``.

    For x (n,) or (n, m), scale (k,), and values (k, k) in double precision.
    """
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
    # The threads of BLAS keep their processors busy for a while after they have finished,
    # just when the second pass over x needs them; beside long passes that costs more than
    # they save.
    without_blas = x.ndim == 1 and x.size >= 8 * values.size
    product = np.einsum("ab,b->a", values, sums) if without_blas else values @ sums
    return multiply_add(p, x, scale, product.astype(dtype), out)


def multiply_add(
    p: Geometry,
    x: Array,
    scale: Array,
    shift: Array,
    out: Array | None = None,
    centre: Array | None = None,
) -> Array:
    """Return ``scale[labels] * (x - centre[labels]) + shift[labels]`` in the dtype of `shift`.

    For x (n,) or (n, m), scale (k,), and shift and centre (k,) or (k, m). `out`, of the shape of x
    and the dtype of `shift`, may be x itself. The work is done from the end, where x
    still is in cache after its block sums.
    """
    vectors = _Vectors.of(x)
    if vectors.m == 0:
        return np.empty(x.shape, dtype=shift.dtype) if out is None else out
    result = vectors.new(p.n, shift.dtype) if out is None else vectors.alike(out)
    terms = vectors.alike(shift)
    taken = None if centre is None else vectors.alike(centre)
    if p.is_contiguous:
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
        arguments = (vectors.array, taken, scale, terms, p.codes, bounds, result)
    run(kernel, arguments, shared_ranges(bounds, x.size)[::-1])
    if out is None:
        return vectors.back(result, x.ndim)
    if not np.may_share_memory(out, result):  # `out` is laid out in another way
        out[...] = vectors.back(result, x.ndim)
    return out


def _pieces(p: Geometry, n_vectors: int) -> Array:
    """Bounds of pieces of a labelled partition, long beside the k sums of each."""
    return pieces(p.n, max(_PIECE // max(n_vectors, 1), _PIECE_PER_BLOCK * p.n_blocks))


def sum_of_parts(parts: Array) -> Array:
    """Add up parts (P, ...) two by two, in place."""
    while len(parts) > 1:
        half = (len(parts) + 1) // 2
        parts[: len(parts) - half] += parts[half:]
        parts = parts[:half]
    total: Array = parts[0]
    return total
