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
    """Return the rows and columns of the entries that a valid key chooses; they broadcast.

    A key with one part for each axis needs no arrays of the size of the matrix or of the result.
    """
    parts = [*key] if isinstance(key, tuple) else [key]
    parts += [slice(None)] * (2 - len(parts))
    chosen = [_numbers(part, n) for part, n in zip(parts, shape, strict=False)]
    if len(parts) > 2 or any(numbers is None for numbers in chosen):
        rows, columns = np.broadcast_arrays(*np.ogrid[: shape[0], : shape[1]])
        return rows[key], columns[key]
    i, j = chosen
    if any(isinstance(part, slice) for part in parts):
        i = i.reshape(i.shape + (1,) * j.ndim)
    return i, j


def _numbers(part: Any, n: int) -> Any:
    """Return the numbers that a slice, integers or a mask choose of n; None for anything else."""
    if isinstance(part, slice):
        return np.arange(*part.indices(n))
    array = np.asarray(part)
    if array.dtype.kind == "b" and array.ndim == 1:
        return np.flatnonzero(array)
    if array.shape != (0,) and array.dtype.kind not in "iu":
        return None
    numbers = array.astype(np.intp)  # n may be out of range of a shorter type
    return np.where(numbers < 0, numbers + n, numbers)
