"""Powers of two that keep squares, and squares of squares, within the range of doubles.

A power of two changes no digit, so what is computed of scaled numbers is the scaled result.
"""

from typing import Any

import numpy as np

from blockmat.blocks.checks import Array

_ORDINARY = 200  # sums of fourth powers of numbers up to 2^200, and down to it, are in range


def exponents_of(largest: Array) -> Array:
    """Return the exponents of the units for numbers up to `largest`: 0 if none is needed."""
    exponents = np.where(np.isfinite(largest), np.frexp(largest)[1], 0)
    needed: Array = np.where(np.abs(exponents) > _ORDINARY, exponents, 0)
    return needed


def exponent_of(largest: float) -> int:
    """Return the exponent of the unit for numbers up to `largest`."""
    return int(exponents_of(np.array(largest)))


def times_power(x: Any, exponent: int) -> Any:
    """Return ``x * 2**exponent`` for double precision, whatever the exponent is."""
    while exponent:
        step = min(max(exponent, -1000), 1000)
        x = x * 2.0**step
        exponent -= step
    return x


def largest_of(x: Array) -> float:
    """Return the largest absolute value of any number, without an array of them."""
    if x.size == 0:
        return 0.0
    if x.dtype.kind == "c":
        return max(largest_of(x.real), largest_of(x.imag))
    return max(float(x.max()), -float(x.min()))


def in_range(x: Array) -> tuple[Array, int]:
    """Return numbers in a unit of ``2**e`` in which they are of ordinary size, and e."""
    exponent = exponent_of(largest_of(x))
    return times_power(x, -exponent), exponent
