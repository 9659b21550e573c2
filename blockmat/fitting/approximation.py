"""approximation_error: the distance between a source and a block-constant matrix."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator

from blockmat.blocks.checks import Array, accumulator_dtype, as_count, working_dtype
from blockmat.blocks.geometry import Pairing
from blockmat.blocks.names import check_names
from blockmat.blocks.partition import Partition
from blockmat.blocks.segments import shared_ranges
from blockmat.blocks.threads import run
from blockmat.cores.scale import exponent_of, largest_of, times_power
from blockmat.exceptions import ShapeError
from blockmat.matrices.block_constant import BlockConstantMatrix
from blockmat.matrices.operator import elementwise
from blockmat.matrices.structured import SquareMatrix, Structured, distance
from blockmat.sources.sums import as_source, coordinates, probes, row_segments, tracked_rows

__all__ = ["approximation_error"]


_NAME = "approximation_error"  # of the progress bar
_SAFE = 400  # norms between this power of two and its inverse have squares with every digit


def approximation_error(
    source: Any,
    A: BlockConstantMatrix,
    *,
    n_probes: int = 32,
    random_state: Any = None,
    progress: bool | None = None,
) -> float:
    r"""Measure how far a block-constant matrix is from a source.

    Parameters
    ----------
    source : array_like, sparse matrix or LinearOperator, shape (n, n)
        What `A` approximates. It may be a matrix of this package.
    A : BlockConstantMatrix
        The approximation, on any partition of n variables.
    n_probes : int, default 32
        Random vectors with which the error of a LinearOperator is estimated; not of a
        BlockConstantMatrix, ScaledBlockMatrix or BlockPlusLowRank, where it is exact.
    random_state : {None, int, numpy.random.Generator}, optional
        For these vectors.
    progress : bool, optional
        Whether to show a progress bar, as for `fit`.

    Returns
    -------
    float
        :math:`\|S - A\|_F / \|S\|_F`; zero if both are zero. The difference is not
        formed.

    Raises
    ------
    ShapeError
        If the shapes differ.
    TypeError
        If `A` is not a BlockConstantMatrix.

    Notes
    -----
    Squares of differences are added up, in double precision, so the error of a source that
    `A` describes exactly is no more than the rounding of its numbers. For a ScaledBlockMatrix
    or BlockPlusLowRank, errors below about 1e-8 are lost, the root of the rounding: what the
    diagonal would be without a number of its own is subtracted, in squares. For another
    LinearOperator the error is an estimate.

    Examples
    --------
    >>> import blockmat as bm
    >>> S = [[2.0, 1.0], [1.0, 4.0]]
    >>> bm.approximation_error(S, bm.fit(S, [0, 0])) == (2 / 22) ** 0.5
    True
    """
    if not isinstance(A, BlockConstantMatrix):
        raise TypeError(f"A is a {type(A).__name__}; expected a BlockConstantMatrix")
    n_probes = as_count(n_probes, "n_probes", 1)
    check_names(source)
    source = as_source(source)
    if source.shape != A.shape:
        raise ShapeError(f"source has shape {source.shape}; expected {A.shape}, the shape of A")
    norms, largest = _measure(source, A, n_probes, random_state, progress)
    exponent = 0
    with np.errstate(over="ignore", invalid="ignore"):
        difference, norm = norms(0)
        if not (norm > 2.0**-_SAFE and max(norm, difference) < 2.0**_SAFE):
            # Squares have left the range of doubles, or are zero: each norm in its own unit.
            size, size_of_fit = largest(), largest_of(A.values) + largest_of(A.within)
            unit, common = exponent_of(size), exponent_of(max(size, size_of_fit))
            difference, norm = norms(common)[0], norms(unit)[1]
            exponent = common - unit
    if norm == 0:
        return 0.0 if difference == 0 else float("inf")
    return float(times_power(difference / norm, exponent))


_Norms = Callable[[int], tuple[float, float]]


def _measure(
    source: Any, A: BlockConstantMatrix, n_probes: int, random_state: Any, progress: bool | None
) -> tuple[_Norms, Callable[[], float]]:
    """Return what gives both norms in a unit, and what gives the largest number of the source."""
    if isinstance(source, SquareMatrix):
        structured = Structured(source)
        return partial(_norms_of_matrix, structured, A), lambda: structured.largest
    if isinstance(source, LinearOperator):
        signs = probes(source, n_probes, random_state)
        products = source.matmat(signs)
        return partial(_norms_of_operator, products, signs, A), lambda: largest_of(products)
    if issparse(source):
        merged = source.tocoo(copy=True)
        merged.sum_duplicates()
        return partial(_norms_of_sparse, merged, A), lambda: largest_of(merged.data)
    if source.flags.f_contiguous and not source.flags.c_contiguous:
        return _measure(source.T, A.T, n_probes, random_state, progress)

    def largest() -> float:
        return max(largest_of(chunk) for _, chunk in tracked_rows(source, progress, _NAME))

    return partial(_norms_of_dense, source, A, progress), largest


def _norms_of_dense(
    source: Array, A: BlockConstantMatrix, progress: bool | None, exponent: int
) -> tuple[float, float]:
    from blockmat.sources import kernels

    p, pairing, values, second = _numbers_for_kernels(A, source.dtype, exponent)
    squares = np.zeros(2)
    for first, chunk in tracked_rows(source, progress, _NAME):
        order, (bounds, blocks, _) = row_segments(p, first, len(chunk))
        norms = np.empty((len(blocks), 2))
        arguments = (
            times_power(chunk, -exponent), order, bounds, p.labels, first, blocks, p.positions,
            p.order, p.offsets, pairing.first_mate, pairing.mates, values, second, norms,
        )  # fmt: skip
        run(kernels.sum_dense_residual, arguments, shared_ranges(bounds, chunk.size))
        squares += norms.sum(axis=0)
    difference, norm = np.sqrt(squares)
    return float(difference), float(norm)


def _norms_of_sparse(merged: Any, A: BlockConstantMatrix, exponent: int) -> tuple[float, float]:
    from blockmat.sources import kernels

    i, j, data = coordinates(merged)
    p, pairing, values, second = _numbers_for_kernels(A, data.dtype, exponent)
    norms, stored = np.zeros(2), np.zeros((p.n_blocks, p.n_blocks), dtype=np.intp)
    stored_pairs = np.zeros(len(pairing.mates), dtype=np.intp)
    kernels.add_sparse_residual(
        i, j, times_power(data, -exponent), p.labels, p.positions, pairing.classes, pairing.ranks,
        pairing.first_mate, values, second, norms, stored, stored_pairs,
    )  # fmt: skip
    # What is not stored is zero, and its distance the number of the fit: counted, because the
    # norm of the fit less that of its stored entries would cancel.
    rows, mates = pairing.rows, pairing.mates
    missing = np.multiply.outer(p.sizes, p.sizes) - stored
    missing[rows, mates] -= p.sizes[rows]
    elsewhere = (missing * np.abs(values) ** 2).sum()
    paired = np.abs(values[rows, mates] + second) ** 2
    elsewhere += ((p.sizes[rows] - stored_pairs) * paired).sum()
    return float(np.sqrt(norms[0] + elsewhere)), float(np.sqrt(norms[1]))


def _norms_of_operator(
    products: Array, signs: Array, A: BlockConstantMatrix, exponent: int
) -> tuple[float, float]:
    """Estimate both norms from random signs z, for which E|Ez|^2 is the squared norm of E.

    The norm of A is known exactly, and so of the multiple of A nearest to the source, which
    usually has most of its norm. The rest is orthogonal to it.
    """
    double: Any = A.astype(accumulator_dtype(A.dtype))
    images, fit = times_power(products, -exponent), double @ signs
    own = exponent_of(largest_of(fit))
    scaled = times_power(fit, -own)
    length = np.linalg.norm(scaled) ** 2
    multiple = np.vdot(scaled, images) / length if length else 0.0
    beyond = np.linalg.norm(images - multiple * scaled) ** 2 / signs.shape[1]
    size = elementwise(double, lambda x: times_power(x, -own), double.dtype).norm()
    norm = np.hypot(abs(multiple) * float(size), np.sqrt(beyond))
    difference = np.linalg.norm(images - times_power(fit, -exponent)) / np.sqrt(signs.shape[1])
    return float(difference), float(norm)


def _norms_of_matrix(S: Structured, A: BlockConstantMatrix, exponent: int) -> tuple[float, float]:
    nothing = BlockConstantMatrix(S.partition, np.zeros((S.partition.n_blocks,) * 2))
    scaled = S.in_unit(exponent)
    return distance(scaled, Structured(A).in_unit(exponent)), distance(scaled, Structured(nothing))


def _numbers_for_kernels(
    A: BlockConstantMatrix, dtype: Any, exponent: int
) -> tuple[Partition, Pairing, Array, Array]:
    """Return the number of each block, and what each mate's paired entries have on top."""
    p, pairing = A.partition, A.partition.pairing(A.is_aligned)
    double = np.result_type(A.dtype, accumulator_dtype(working_dtype(dtype, "source")))
    within = A.within[pairing.rows, pairing.mates] if A.is_aligned else A.within
    values, second = (times_power(x.astype(double), -exponent) for x in (A.values, within))
    return p, pairing, values, second
