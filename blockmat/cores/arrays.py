"""A core as an array: dense (k, k), or the diagonal (k,) of a diagonal core."""

import numpy as np

from blockmat.blocks.checks import Array


def diagonal_of_core(numbers: Array) -> Array:
    """Return the diagonal of a core."""
    return np.diagonal(numbers) if numbers.ndim == 2 else numbers


def as_square_core(numbers: Array) -> Array:
    """Return a core as (k, k). Raises `MemoryError` if there is no memory for it."""
    if numbers.ndim == 2:
        return numbers
    try:
        return np.diag(numbers)
    except MemoryError:
        raise MemoryError(
            f"a dense core of {len(numbers)} blocks does not fit into memory; expected operations "
            f"that keep independent blocks, such as diagonal_values and within, or fewer blocks"
        ) from None


def part_of_core(numbers: Array, at: Array) -> Array:
    """Return the core of some of the blocks."""
    return numbers[np.ix_(at, at)] if numbers.ndim == 2 else numbers[at]


def entries_of_core(numbers: Array, a: Array, b: Array) -> Array:
    """Return the entries in rows a and columns b, which broadcast."""
    return numbers[a, b] if numbers.ndim == 2 else np.where(a == b, numbers[a], 0)
