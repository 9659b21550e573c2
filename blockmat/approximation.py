"""approximation_error: the distance between a source and a block-constant matrix."""

from typing import Any

import numpy as np
from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator

from blockmat._blockwise import shared_ranges
from blockmat._sums import as_source, coordinates, probes, row_segments, tracked_rows
from blockmat._threads import run
from blockmat._validation import Array, accumulator_dtype, as_count, working_dtype
from blockmat.exceptions import PartitionMismatchError, ShapeError
from blockmat.fitting import fit
from blockmat.matrix import BlockConstantMatrix
from blockmat.partition import Pairing, Partition

__all__ = ["approximation_error"]


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
    source : array_like, sparse matrix, LinearOperator or BlockConstantMatrix, shape (n, n)
        What `A` approximates.
    A : BlockConstantMatrix
        The approximation, on any partition of n variables.
    n_probes : int, default 32
        Random vectors with which the error of a LinearOperator is estimated.
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
    source = as_source(source)
    if source.shape != A.shape:
        raise ShapeError(f"source has shape {source.shape}; expected {A.shape}, the shape of A")
    if isinstance(source, BlockConstantMatrix):
        distance, norm = _distance_to_matrix(source, A)
    elif isinstance(source, LinearOperator):
        distance, norm = _distance_to_operator(source, A, n_probes, random_state)
    elif issparse(source):
        distance, norm = _distance_to_sparse(source, A)
    else:
        distance, norm = _distance_to_dense(source, A, progress)
    if norm == 0:
        return 0.0 if distance == 0 else float("inf")
    return float(distance / norm)


def _distance_to_dense(
    source: Array, A: BlockConstantMatrix, progress: bool | None
) -> tuple[Any, Any]:
    from blockmat import _kernels

    if source.flags.f_contiguous and not source.flags.c_contiguous:
        return _distance_to_dense(source.T, A.T, progress)
    p, pairing, values, second = _numbers_for_kernels(A, source.dtype)
    squares = np.zeros(2)
    for first, chunk in tracked_rows(source, progress, "approximation_error"):
        order, (bounds, blocks, _) = row_segments(p, first, len(chunk))
        norms = np.empty((len(blocks), 2))
        arguments = (
            chunk, order, bounds, p.labels, first, blocks, p.positions, p.order, p.offsets,
            pairing.first_mate, pairing.mates, values, second, norms,
        )  # fmt: skip
        run(_kernels.sum_dense_residual, arguments, shared_ranges(bounds, chunk.size))
        squares += norms.sum(axis=0)
    distance, norm = np.sqrt(squares)
    return distance, norm


def _distance_to_sparse(source: Any, A: BlockConstantMatrix) -> tuple[Any, Any]:
    from blockmat import _kernels

    merged = source.tocoo(copy=True)
    merged.sum_duplicates()
    i, j, data = coordinates(merged)
    p, pairing, values, second = _numbers_for_kernels(A, data.dtype)
    norms = np.zeros(3)
    _kernels.add_sparse_residual(
        i, j, data, p.labels, p.positions,
        pairing.classes, pairing.ranks, pairing.first_mate, values, second, norms,
    )  # fmt: skip
    elsewhere = max(0.0, float(A.norm("fro")) ** 2 - norms[2])
    return np.sqrt(norms[0] + elsewhere), np.sqrt(norms[1])


def _distance_to_operator(
    source: LinearOperator, A: BlockConstantMatrix, n_probes: int, random_state: Any
) -> tuple[Any, Any]:
    """Estimate both norms from random signs z, for which E|Ez|^2 is the squared norm of E.

    The norm of A, which usually is most of that of the source, is known exactly.
    """
    signs = probes(source, n_probes, random_state)
    fit = A @ signs
    rest = source.matmat(signs) - fit
    beyond = np.linalg.norm(rest) ** 2 / n_probes
    cross = np.vdot(fit, rest).real / n_probes
    norm = float(A.norm()) ** 2 + 2 * cross + beyond
    return np.sqrt(beyond), np.sqrt(max(norm, 0.0))


def _numbers_for_kernels(
    A: BlockConstantMatrix, dtype: Any
) -> tuple[Partition, Pairing, Array, Array]:
    """Return the number of each block, and what each mate's paired entries have on top."""
    p, pairing = A.partition, A.partition._pairing(A.is_aligned)
    double = np.result_type(A.dtype, accumulator_dtype(working_dtype(dtype, "source")))
    within = A.within[pairing.rows, pairing.mates] if A.is_aligned else A.within
    return p, pairing, A.values.astype(double), within.astype(double)


def _distance_to_matrix(source: BlockConstantMatrix, A: BlockConstantMatrix) -> tuple[Any, Any]:
    p = source.partition.meet(A.partition)
    try:
        return (source.refine(p) - A.refine(p)).norm(), source.norm()
    except PartitionMismatchError:  # p breaks p <-> p pairs: Pythagoras through A's partition
        projected = fit(source, A.partition, aligned=A.is_aligned)
        beyond = max(0.0, float(source.norm()) ** 2 - float(projected.norm()) ** 2)
        return np.hypot(beyond**0.5, (projected - A).norm()), source.norm()
