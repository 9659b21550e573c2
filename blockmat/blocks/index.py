"""The variables that an argument chooses: by number, by a mask, or by a slice."""

from typing import Any

import numpy as np

from blockmat.blocks.checks import Array, check_ndim, refuse_mask
from blockmat.blocks.shown import shown
from blockmat.exceptions import DtypeError, ShapeError, VariableIndexError


def as_index(index: Any, n: int, name: str = "index") -> Array:
    """Return the numbers of the chosen variables, (m,), in the given order.

    Parameters
    ----------
    index : array_like of int, array_like of bool of shape (n,), or slice
        The choice. Negative numbers count from the end.
    n : int
        The number of variables to choose from.
    name : str
        The argument's name, for error messages.

    Raises
    ------
    VariableIndexError
        If no variable is chosen, or one is chosen twice, or a number is out of range.
    ShapeError
        If the index has not one dimension, or a mask does not have length n.
    DtypeError
        If it contains neither integers nor booleans.
    """
    if isinstance(index, slice):
        return _require_some(np.arange(*index.indices(n)), name)
    refuse_mask(index, name)
    array = np.asarray(index)
    if array.ndim == 0:
        raise ShapeError(f"{name} is {shown(index)}; expected a list of variables, such as [0]")
    check_ndim(array, name, (1,))
    if array.dtype.kind != "b":
        return _as_numbers(_require_some(array, name), n, name)
    if array.shape != (n,):
        raise ShapeError(f"{name} is a mask of length {len(array)}; expected length {n}")
    return _require_some(np.flatnonzero(array), name)


def _require_some(chosen: Array, name: str) -> Array:
    if chosen.size == 0:
        raise VariableIndexError(f"{name} is empty; expected at least one variable")
    return chosen


def _as_numbers(given: Array, n: int, name: str) -> Array:
    """Return integers that are in range and different, as numbers from 0 to n - 1."""
    if given.dtype.kind not in "iu":
        for place, value in enumerate(given):
            if isinstance(value, str):
                raise DtypeError(
                    f"{name} has a name, {str(value)!r}, at place {place}; expected integers or booleans, "
                    "such as columns.get_indexer(names)"
                )
        raise DtypeError(f"{name} has dtype {given.dtype}; expected integers or booleans")
    wrong = np.flatnonzero((given >= n) | (given < -n))
    if len(wrong):
        raise VariableIndexError(
            f"{name} has {given[wrong[0]]} at place {wrong[0]}; expected numbers from {-n} to {n - 1}"
        )
    chosen = given.astype(np.intp)  # a copy
    chosen[chosen < 0] += n
    is_chosen = np.zeros(n, dtype=bool)
    is_chosen[chosen] = True
    if np.count_nonzero(is_chosen) < len(chosen):
        counts = np.bincount(chosen, minlength=n)
        raise VariableIndexError(
            f"{name} has the variable {int(np.argmax(counts > 1))} more than once; "
            f"expected different ones"
        )
    return chosen
