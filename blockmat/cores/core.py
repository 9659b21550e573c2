"""Core: one small matrix of the direct sum to which a block-constant matrix is similar.

The direct sum has the between core once, and every within core several times (:ref:`theory-pair`).
A function of the n x n matrix is that function of each core. `Core.of` converts numbers to double
precision, in which this folder computes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from blockmat.blocks.checks import Array, accumulator_dtype
from blockmat.exceptions import (
    NotHermitianError,
)

EPS = float(np.finfo(np.float64).eps)
ROUNDING = 8  # a core of c rows has rounding errors of up to 8 sqrt(c) eps (:ref:`theory-rank`)


@dataclass(frozen=True)
class Core:
    """One summand of the direct sum.

    Parameters
    ----------
    values : ndarray, shape (c,) or (c, c)
        The diagonal of a diagonal core, or a dense core; in double precision.
    multiplicity : ndarray of int, shape (c,)
        How often each eigenvalue of the core occurs in the matrix.
    blocks : ndarray of int, shape (c,)
        The block of each row.
    name : str
        "between" or "within", for messages.
    precision : float
        The relative rounding of the stored numbers.
    row_magnitudes : ndarray, shape (c,)
        Magnitudes of numbers that the same rows of the matrix have outside of this core. An
        eigenvalue below their rounding counts as zero (:ref:`theory-rank`, rules 3 and 4).
    is_sum : bool
        Whether the numbers of a diagonal core are sums, so that a positive number may be what
        cancellation left (:ref:`theory-rank`, rule 4). Otherwise they are stored numbers (rule 3).
    """

    values: Array
    multiplicity: Array
    blocks: Array
    name: str
    precision: float
    row_magnitudes: Array
    is_sum: bool = False

    @classmethod
    def of(
        cls,
        values: Array,
        multiplicity: Array,
        blocks: Array,
        name: str,
        row_numbers: Array,
        is_sum: bool = False,
    ) -> "Core":
        """Make a core from stored numbers of any supported dtype."""
        double = values.astype(accumulator_dtype(values.dtype), copy=False)
        precision = float(np.finfo(values.dtype).eps)
        return cls(double, multiplicity, blocks, name, precision, np.abs(row_numbers), is_sum)

    @property
    def is_diagonal(self) -> bool:
        """Whether `values` is the diagonal of a diagonal core."""
        return self.values.ndim == 1

    @property
    def is_complex(self) -> bool:
        """Whether the numbers are complex."""
        return self.values.dtype.kind == "c"

    @property
    def adjoint(self) -> Array:
        """The conjugate transpose of the values."""
        return self.values.conj() if self.is_diagonal else self.values.conj().T

    @property
    def rounding(self) -> float:
        """The rounding error of an entry relative to the scales of its row and column, at most.

        It is ``8 sqrt(c) eps`` for a dense core of c rows, enough for a product of two, and
        ``8 eps`` for a diagonal core (:ref:`theory-rank`).
        """
        n_terms = 1 if self.is_diagonal else len(self.values)
        return float(ROUNDING * np.sqrt(n_terms) * self.precision)

    @cached_property
    def is_hermitian(self) -> bool:
        """Whether the core equals its adjoint to rounding; see `is_close_to_adjoint`."""
        if self.is_diagonal:
            difference = np.abs(self.values - self.adjoint)
            return bool((difference <= self.rounding * np.abs(self.values)).all())
        return is_close_to_adjoint(self.values, self.rounding)

    @property
    def hermitian_part(self) -> Array:
        """Half the sum of the values and their adjoint."""
        return hermitian_part(self.values)

    def describe(self, row: int | None = None) -> str:
        """Return the name of the core, or of the block of one of its rows, for a message."""
        if row is None:
            return f"the {self.name} core"
        return f"{self.name} of block {int(self.blocks[row])}"


def dense_core(values: Array, name: str) -> Core:
    """Return a small dense matrix (c, c) as a core, with no other numbers in its rows."""
    c = len(values)
    return Core.of(values, np.ones(c, dtype=np.intp), np.arange(c), name, np.zeros(c))


_TILE = 256  # a matrix is compared with its adjoint tile by tile: reading long columns is slow


def tiles(n: int) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Yield slices for each tile on and below the diagonal, and for its mirror image."""
    for i in range(0, n, _TILE):
        for j in range(0, i + 1, _TILE):
            rows, cols = slice(i, i + _TILE), slice(j, j + _TILE)
            yield (rows, cols), (cols, rows)


def is_close_to_adjoint(a: Array, relative: float, least: Array | float = 0.0) -> bool:
    """Tell whether a matrix equals its adjoint to rounding (:ref:`theory-rank`, rule 1).

    The scale of row i is the largest magnitude in row i, in column i, and in `least`. Entries
    (i, j) and (j, i) may differ by `relative` times the smaller scale of i and j. The result is
    False for a matrix with NaN or infinity.
    """
    scale = np.maximum(_largest_in_rows(a), least)
    with np.errstate(invalid="ignore", over="ignore"):
        return all(
            bool(
                (
                    np.abs(a[rows, cols] - a[cols, rows].conj().T)
                    <= relative * np.minimum(scale[rows, None], scale[cols])
                ).all()
            )
            for (rows, cols), _ in tiles(len(a))
        )


def _largest_in_rows(a: Array) -> Array:
    """Return the largest magnitude in each row and in the column of the same number."""
    largest = np.zeros(len(a))
    for i in range(0, len(a), _TILE):
        size = np.abs(a[i : i + _TILE])
        largest[i : i + _TILE] = np.maximum(largest[i : i + _TILE], size.max(axis=1))
        np.maximum(largest, size.max(axis=0), out=largest)
    return largest


def hermitian_part(a: Array) -> Array:
    """Return ``(a + a^H) / 2``, exactly Hermitian."""
    if a.ndim == 1:
        return (a + a.conj()) / 2
    result = np.empty_like(a)
    for place, mirrored in tiles(len(a)):
        tile = (a[place] + a[mirrored].conj().T) / 2
        result[place], result[mirrored] = tile, tile.conj().T
    return result


def from_lower(lower: Array) -> Array:
    """Fill the upper triangle of a Hermitian matrix, which holds zeros, in place."""
    for place, mirrored in tiles(len(lower)):
        if place == mirrored:
            corner = lower[place]
            diagonal = np.diagonal(corner).copy()
            corner += corner.conj().T
            np.fill_diagonal(corner, diagonal)
        else:
            lower[mirrored] = lower[place].conj().T
    return lower


def require_hermitian(core: Core, operation: str) -> None:
    """Raise `NotHermitianError` unless the core is Hermitian."""
    if not core.is_hermitian:
        raise NotHermitianError(
            f"{operation} needs a Hermitian matrix, and {core.describe()} is not"
        )


def with_values(core: Core, values: Array) -> Core:
    """Return a dense core with other values, and with no other numbers in its rows."""
    return replace(core, values=values, row_magnitudes=np.zeros(len(values)))
