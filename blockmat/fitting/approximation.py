"""approximation_error: the relative error of an approximation by a matrix of this package."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import issparse

from blockmat.blocks.checks import Array, accumulator_dtype, as_count
from blockmat.blocks.names import check_names
from blockmat.blocks.shown import shown
from blockmat.cores.scale import exponent_of, largest_of, times_power
from blockmat.exceptions import ShapeError
from blockmat.fitting.recognise import as_local_source
from blockmat.matrices.block_constant import BlockConstantMatrix
from blockmat.matrices.operator import elementwise
from blockmat.matrices.stored_pair import stored_values
from blockmat.matrices.structured import SquareMatrix, Structured
from blockmat.sources.operator import Operator
from blockmat.sources.source import LocalSource, Options, Residual
from blockmat.sources.standardize import sum_of_squares

__all__ = ["approximation_error"]


_AT_A_TIME = 2**20  # entries of some rows
_SAFE = 400  # norms between 2**-400 and 2**400 have accurate squares


def approximation_error(
    source: Any,
    A: SquareMatrix,
    *,
    n_probes: int = 32,
    random_state: Any = None,
    progress: bool | None = None,
) -> float:
    r"""Return the relative error of an approximation.

    Parameters
    ----------
    source : array_like, sparse matrix or LinearOperator, shape (n, n)
        The matrix that `A` approximates.
    A : square matrix of this package, shape (n, n)
        The approximation: a BlockConstantMatrix, ScaledBlockMatrix, BlockFactorMatrix or
        BlockPlusLowRank.
    n_probes : int, default 32
        The number of random vectors from which the error for a LinearOperator is estimated. For
        matrices of this package no random vectors are used.
    random_state : {None, int, numpy.random.Generator}, optional
        For the random vectors.
    progress : bool, optional
        Whether to show a progress bar, as for `fit`, if `A` is a BlockConstantMatrix.

    Returns
    -------
    float
        :math:`\|S - A\|_F / \|S\|_F` with S the source; zero if both are zero. The difference is
        not formed.

    Raises
    ------
    ShapeError
        If the shapes differ.
    TypeError
        If `A` is of another class.

    See Also
    --------
    fit : the approximation with the smallest error.

    Notes
    -----
    Squared differences are summed in double precision, so the error of an exact approximation is
    not larger than rounding. If only the source is a ScaledBlockMatrix, BlockFactorMatrix or
    BlockPlusLowRank, the squared error is a difference of squares, so errors below about 1e-8 are
    inaccurate. If `A` is one, all entries of both matrices are compared, some rows at a time.

    Examples
    --------
    >>> import blockmat as bm
    >>> S = [[2.0, 1.0], [1.0, 4.0]]
    >>> bm.approximation_error(S, bm.fit(S, [0, 0])) == (2 / 22) ** 0.5
    True
    """
    if not isinstance(A, SquareMatrix):
        raise TypeError(
            f"A is {shown(A)}; expected a square matrix of this package, as in "
            f"approximation_error(S, fit(S, partition))"
        )
    options = Options(
        n_probes=as_count(n_probes, "n_probes", 1), random_state=random_state, progress=progress
    )
    check_names(source)
    S = as_local_source(source)
    if S.shape != A.shape:
        raise ShapeError(f"source has shape {S.shape}; expected {A.shape}, the shape of A")
    if isinstance(A, BlockConstantMatrix):
        size_of_fit = largest_of(stored_values(A)) + largest_of(A.within)
        residual = S.residual(_BlockConstant(A), options)
    else:
        size_of_fit = Structured(A).largest
        residual = _residual(source, S, A, options)
    exponent = 0
    with np.errstate(over="ignore", invalid="ignore"):
        difference, norm = residual.norms(0)
        if not (norm > 2.0**-_SAFE and max(norm, difference) < 2.0**_SAFE):
            # Squares overflow or underflow: compute each norm in units of a power of two.
            size = residual.largest()
            unit, common = exponent_of(size), exponent_of(max(size, size_of_fit))
            difference, norm = residual.norms(common)[0], residual.norms(unit)[1]
            exponent = common - unit
    if norm == 0:
        return 0.0 if difference == 0 else float("inf")
    return float(times_power(difference / norm, exponent))


def _residual(source: Any, S: LocalSource, A: Any, options: Options) -> Residual:
    """Return the distance to an approximation of another class."""
    if isinstance(S, Operator) and not isinstance(source, SquareMatrix):
        return S.residual_of_products(_OfProducts(A), options)
    double = A.astype(accumulator_dtype(A.dtype))

    def norms(exponent: int) -> tuple[float, float]:
        squares = np.zeros(2)
        for rows, entries in _rows(source, S):
            unit = times_power(entries, -exponent)
            difference = unit - times_power(double[rows], -exponent)
            squares += sum_of_squares(np.abs(difference)), sum_of_squares(np.abs(unit))
        difference, norm = np.sqrt(squares)
        return float(difference), float(norm)

    return Residual(norms, lambda: max(largest_of(entries) for _, entries in _rows(source, S)))


def _rows(source: Any, S: Any) -> Iterator[tuple[slice, Array]]:
    """Yield some rows at a time of a matrix of this package, an array or a sparse matrix."""
    is_ours = isinstance(source, SquareMatrix)
    stored: Any = source.astype(accumulator_dtype(S.dtype)) if is_ours else S.entries(S.dtype)
    height = max(1, _AT_A_TIME // S.shape[1])
    for first in range(0, S.shape[0], height):
        rows = slice(first, min(first + height, S.shape[0]))
        entries = stored[rows]
        dense = entries.toarray() if issparse(entries) else entries
        yield rows, dense.astype(accumulator_dtype(dense.dtype), copy=False)


class _OfProducts:
    """A matrix of any class with the methods by which an operator computes its distance to it."""

    def __init__(self, matrix: Any) -> None:
        self.matrix = matrix.astype(accumulator_dtype(matrix.dtype))

    def times(self, x: Array) -> Array:
        product: Array = self.matrix @ x
        return product

    def norm(self, exponent: int) -> float:
        return float(times_power(self.matrix.norm(), -exponent))


class _BlockConstant:
    """A block-constant matrix with the interface `blockmat.sources.source.Approximation`."""

    def __init__(self, matrix: BlockConstantMatrix) -> None:
        self.matrix, self.partition = matrix, matrix.partition
        self.pairing = matrix.partition.pairing(matrix.is_aligned)

    @cached_property
    def _double(self) -> Any:
        return self.matrix.astype(accumulator_dtype(self.matrix.dtype))

    @property
    def T(self) -> "_BlockConstant":
        return _BlockConstant(self.matrix.T)

    def numbers(self, dtype: Any, exponent: int) -> tuple[Array, Array]:
        A, pairing = self.matrix, self.pairing
        double = np.result_type(A.dtype, accumulator_dtype(dtype))
        within = A.within[pairing.rows, pairing.mates] if A.is_aligned else A.within
        values, extra = (times_power(x.astype(double), -exponent) for x in (A.values, within))
        return values, extra

    def times(self, x: Array) -> Array:
        product: Array = self._double @ x
        return product

    def norm(self, exponent: int) -> float:
        double = self._double
        return float(elementwise(double, lambda x: times_power(x, -exponent), double.dtype).norm())
