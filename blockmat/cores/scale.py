"""Powers of two that keep squares, and squares of squares, within the range of doubles.

Multiplication by a power of two does not round.
"""

from typing import Any

import numpy as np

from blockmat.blocks.checks import Array

_ORDINARY = 200  # sums of fourth powers of numbers between 2^-200 and 2^200 are in range


def exponents_of(largest: Array) -> Array:
    """Return the exponent e of a unit ``2^e`` for numbers up to `largest`, or 0 if none is needed."""
    exponents = np.where(np.isfinite(largest), np.frexp(largest)[1], 0)
    needed: Array = np.where(np.abs(exponents) > _ORDINARY, exponents, 0)
    return needed


def exponent_of(largest: float) -> int:
    """Return `exponents_of` for one number."""
    return int(exponents_of(np.array(largest)))


def times_power(x: Any, exponent: int) -> Any:
    """Return ``x * 2**exponent`` in double precision, for any exponent."""
    while exponent:
        step = min(max(exponent, -1000), 1000)
        x = x * 2.0**step
        exponent -= step
    return x


def largest_of(x: Array) -> float:
    """Return the largest absolute value, without an array of absolute values.

    For complex numbers it is that of real and imaginary parts.
    """
    if x.size == 0:
        return 0.0
    if x.dtype.kind == "c":
        return max(largest_of(x.real), largest_of(x.imag))
    return max(float(x.max()), -float(x.min()))


def in_range(x: Array) -> tuple[Array, int]:
    """Return ``x / 2**e`` and e, so that squares and their squares are in range."""
    exponent = exponent_of(largest_of(x))
    return times_power(x, -exponent), exponent
