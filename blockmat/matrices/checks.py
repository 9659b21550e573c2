"""Checks and conversions of the arrays that a matrix is made of."""

from typing import Any

import numpy as np

from blockmat.blocks.checks import Array, as_numeric
from blockmat.exceptions import DtypeError, ShapeError


def as_numbers_of_blocks(x: Any, name: str, n_blocks: int, ndims: tuple[int, ...] = (2,)) -> Array:
    """Convert to an array with a number for each block (k,) or each pair of blocks (k, k).

    `ndims` are the allowed numbers of axes. Raises `ShapeError` for any other shape.
    """
    array = as_numeric(x, name, ndims)
    shapes = [(n_blocks,) * ndim for ndim in ndims]
    if array.shape not in shapes:
        expected = " or ".join(map(str, shapes))
        raise ShapeError(
            f"{name} has shape {array.shape}; expected {expected} for {n_blocks} blocks"
        )
    return array


def as_matrix_of_shape(x: Any, name: str, shape: tuple[int, int]) -> Array:
    """Convert to an array of one shape, or raise `ShapeError`."""
    array = as_numeric(x, name, (2,))
    if array.shape != shape:
        raise ShapeError(f"{name} has shape {array.shape}; expected {shape}")
    return array


def require_real_dtype(dtype: np.dtype[Any], name: str) -> None:
    """Raise `DtypeError` if the dtype of an argument is complex."""
    if dtype.kind == "c":
        raise DtypeError(f"{name} has dtype {dtype}; expected real numbers")
