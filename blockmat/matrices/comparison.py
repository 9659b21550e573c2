"""allclose: the entries of two matrices of any types, compared without a dense array.

Variables are in one class if they have the same parameters in both matrices. Then their entries
are equal, except for the paired ones, and one entry is compared for each pair of classes.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.sparse import issparse
from scipy.sparse.linalg import LinearOperator

from blockmat.blocks.checks import Array, as_raw_array
from blockmat.exceptions import ShapeError
from blockmat.matrices.dispatch import of_several_types
from blockmat.matrices.operator import BlockOperator
from blockmat.matrices.rectangular import BlockRectangularMatrix
from blockmat.matrices.structured import SquareMatrix, Structured, pairs_of

_AT_A_TIME = 2**17  # entries, which fit in the cache


@of_several_types
def allclose(A: BlockOperator, other: Any, rtol: float, atol: float) -> bool:
    """Tell whether all entries are close, as `numpy.allclose`."""
    for name, tolerance in (("rtol", rtol), ("atol", atol)):
        if not tolerance >= 0:
            raise ValueError(f"{name} is {tolerance!r}; expected 0 or more")
    if isinstance(other, LinearOperator) and not isinstance(other, BlockOperator):
        raise TypeError(
            f"other is a {type(other).__name__}; expected a matrix of this package or an array"
        )
    is_stored = not isinstance(other, BlockOperator)
    if is_stored and not issparse(other):
        other = as_raw_array(other, "other", (2,))
    if other.shape != A.shape:
        raise ShapeError(f"other has shape {other.shape}; expected {A.shape}")
    pairs = _stored_entries(A, other) if is_stored else _entries(_parts(A), _parts(other))
    return all(_are_close(a, b, rtol, atol) for a, b in pairs)


def _are_close(a: Array, b: Array, rtol: float, atol: float) -> bool:
    """Return `numpy.allclose`, in less time if all numbers are finite and close."""
    with np.errstate(over="ignore", invalid="ignore"):
        allowed = atol + rtol * np.abs(b)
        is_close = bool(((np.abs(a - b) <= allowed) & (allowed < np.inf)).all())
    return is_close or np.allclose(a, b, rtol=rtol, atol=atol)


class _Rectangular:
    """A rectangular matrix with the methods of `Structured` for entries."""

    is_block_diagonal = False

    def __init__(self, matrix: BlockRectangularMatrix) -> None:
        self._values = matrix.values
        self._rows, self._columns = matrix.row_partition.labels, matrix.col_partition.labels

    def off_pairs(self, i: Array, j: Array) -> Array:
        found: Array = self._values[self._rows[i], self._columns[j]]
        return found

    entries = off_pairs

    def grid(self, rows: Array, columns: Array) -> Array:
        return self.off_pairs(rows[:, None], columns)

    @property
    def parameters(self) -> tuple[list[Array], ...]:
        return [self._rows], [self._columns]


class _Square(Structured):
    """`Structured`, with the parameters of rows and columns."""

    @property
    def parameters(self) -> tuple[list[Array], ...]:
        both = [self.partition.labels, self.scale, *self.factor.T]
        return both, both


def _parts(A: Any) -> Any:
    return _Square(A) if isinstance(A, SquareMatrix) else _Rectangular(A)


def _stored_entries(A: Any, other: Any) -> Iterator[tuple[Array, Array]]:
    """Yield the entries of A and of an array or sparse matrix, some rows at a time."""
    S, (m, n) = _parts(A), A.shape
    i, j = _pairs(S)
    stored = other.tocsr() if issparse(other) else other
    height = max(1, _AT_A_TIME // n)
    for start in range(0, m, height):
        rows = np.arange(start, min(start + height, m))
        found = S.grid(rows, np.arange(n))
        some = slice(*np.searchsorted(i, (start, rows[-1] + 1)))
        found[i[some] - start, j[some]] = S.entries(i[some], j[some])
        given = stored[start : start + height]
        yield found, given.toarray() if issparse(given) else given


def _entries(S: Any, T: Any) -> Iterator[tuple[Array, Array]]:
    """Yield the entries of two structured matrices that may differ, some at a time."""
    i, j = _pairs(S, T)
    for start in range(0, len(i), _AT_A_TIME):
        some = slice(start, start + _AT_A_TIME)
        yield S.entries(i[some], j[some]), T.entries(i[some], j[some])
    keys = [s + t for s, t in zip(S.parameters, T.parameters, strict=True)]
    rows = _Classes(keys[0])
    is_square = isinstance(S, _Square) and isinstance(T, _Square)
    columns = rows if is_square else _Classes(keys[1])
    only_pairs = _without_other_entries(rows, columns, i, j)
    if S.is_block_diagonal and T.is_block_diagonal:
        for matrix in (S, T):
            for first, second in _in_the_same_block(matrix.partition.labels[rows.members]):
                free = ~np.isin(first * columns.number + second, only_pairs)
                places = rows.members[first[free]], rows.members[second[free]]
                yield S.off_pairs(*places), T.off_pairs(*places)
        return
    height = max(1, _AT_A_TIME // columns.number)
    for start in range(0, rows.number, height):
        some_rows = rows.members[start : start + height]
        found, expected = (x.grid(some_rows, columns.members) for x in (S, T))
        place = start * columns.number
        only = only_pairs[slice(*np.searchsorted(only_pairs, (place, place + found.size)))]
        found.flat[only - place] = expected.flat[only - place]
        yield found, expected


def _pairs(*matrices: Any) -> tuple[Array, Array]:
    """Return the rows and columns of all paired entries, by rows."""
    square = [matrix for matrix in matrices if isinstance(matrix, Structured)]
    if not square:
        return np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp)
    return pairs_of(*square)


class _Classes:
    """Variables with equal parameters.

    Attributes
    ----------
    number : int
        The number of classes c.
    of : ndarray of int, shape (n,)
        The class of each variable.
    members : ndarray of int, shape (c,)
        One variable of each class.
    sizes : ndarray of int, shape (c,)
        How many there are.
    """

    def __init__(self, parameters: list[Array]) -> None:
        varying = [x for x in parameters if (x != x[0]).any()] or [parameters[0]]
        order = np.lexsort(varying)
        is_new = np.zeros(len(order), dtype=bool)
        is_new[0] = True
        for x in varying:
            is_new[1:] |= x[order[1:]] != x[order[:-1]]
        self.members = order[is_new]
        self.number = len(self.members)
        self.of = np.empty(len(order), dtype=np.intp)
        self.of[order] = np.cumsum(is_new) - 1
        self.sizes = np.bincount(self.of)


def _without_other_entries(rows: _Classes, columns: _Classes, i: Array, j: Array) -> Array:
    """Return the pairs of classes all of whose entries are paired, as ``row * c + column``."""
    places, counts = np.unique(rows.of[i] * columns.number + columns.of[j], return_counts=True)
    a, b = np.divmod(places, columns.number)
    found: Array = places[counts == rows.sizes[a] * columns.sizes[b]]
    return found


def _in_the_same_block(labels: Array) -> Iterator[tuple[Array, Array]]:
    """Yield all pairs of members of the same block, some at a time."""
    order = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels)
    offsets, counts = np.cumsum(sizes) - sizes, sizes[labels[order]]
    ends = np.cumsum(counts)
    start = 0
    while start < len(order):
        last = np.searchsorted(ends, ends[start] - counts[start] + _AT_A_TIME, side="right")
        stop = max(start + 1, int(last))
        some, repeated = order[start:stop], counts[start:stop]
        first = np.repeat(some, repeated)
        step = np.arange(len(first)) - np.repeat(np.cumsum(repeated) - repeated, repeated)
        yield first, order[offsets[labels[first]] + step]
        start = stop
