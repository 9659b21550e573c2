"""Entries: ``A[key]`` for the keys of NumPy, without the other entries of the matrix."""

from typing import Any, ClassVar

import numpy as np
from scipy.sparse.linalg import LinearOperator

from blockmat.blocks.checks import Array


class Entries(LinearOperator):  # type: ignore[misc]
    """Base class of the matrices; a subclass supplies `_entries`."""

    # Python would otherwise take A[0], A[1], ... as the elements of a sequence.
    __iter__: ClassVar[None] = None
    __contains__: ClassVar[None] = None

    def _entries(self, i: Array, j: Array) -> Array:
        """Return the entries in rows i and columns j, which are not negative and broadcast."""
        raise NotImplementedError

    def __getitem__(self, key: Any) -> Any:
        """Return entries as numbers, as for a NumPy array of the same shape and dtype.

        ``A[i, j]`` is a number, ``A[i]`` and ``A[:, j]`` are a row and a column, and
        ``A[np.ix_(rows, columns)]`` is a part. The result is a new array, and only its entries are
        computed. `submatrix` returns a part as a matrix.
        """
        # NumPy raises its error for a key that does not fit, and says what is a number.
        chosen = np.broadcast_to(np.False_, self.shape)[key]
        found = np.asarray(self._entries(*_places(key, self.shape)))
        return found if isinstance(chosen, np.ndarray) else found[()]

    def __setitem__(self, key: Any, value: Any) -> None:
        raise TypeError(f"a {type(self).__name__} is immutable; make a new one, or use toarray()")


def entries(A: Entries, i: Array, j: Array) -> Array:
    """Return the entries of a matrix in rows i and columns j, which broadcast."""
    return A._entries(i, j)


def _places(key: Any, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Return the rows and columns of the entries that a key chooses; they broadcast.

    A key with one part for each axis needs no arrays of the size of the result.
    """
    every_row, every_column = np.ogrid[: shape[0], : shape[1]]
    parts = [_for_one_axis(part) for part in (key if isinstance(key, tuple) else (key,))]
    if len(parts) > 2 or any(part is None for part in parts):
        rows, columns = np.broadcast_arrays(every_row, every_column)
        return rows[key], columns[key]
    first, second = (*parts, slice(None))[:2]
    i, j = every_row[:, 0][first], every_column[0][second]
    if isinstance(first, slice) or isinstance(second, slice):
        i = i.reshape(i.shape + (1,) * j.ndim)
    return i, j


def _for_one_axis(part: Any) -> Any:
    """Return a slice, or an array of numbers or a mask for one axis; None for anything else."""
    if isinstance(part, slice):
        return part
    array = np.asarray(part)
    if array.size == 0 and array.ndim == 1:
        return array.astype(np.intp)
    is_mask = array.dtype.kind == "b" and array.ndim == 1
    return array if is_mask or array.dtype.kind in "iu" else None
