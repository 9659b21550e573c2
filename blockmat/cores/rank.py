"""Rank and definiteness of cores: each row is judged relative to its own scale."""

import numpy as np
import scipy.linalg

from blockmat.blocks.checks import Array
from blockmat.cores.core import EPS, Core

_SWEEPS = 64  # a sweep of `balance` halves the exponents of what is off


# Rank and definiteness: one rule, that each row is judged by its own scale
def balance(values: Array) -> tuple[Array, Array]:
    """Return factors of rows and columns that bring the largest number in each near 1.

    They are powers of two, so scaling does not round. A Hermitian matrix gets the same factors
    for both, and a positive semi-definite one a diagonal near 1.
    """
    size = np.abs(values)
    row, col = np.ones(size.shape[0]), np.ones(size.shape[1])
    if size.shape[0] == size.shape[1]:
        row = col = power_of_two_reciprocal(np.sqrt(np.diagonal(size)))
    for _ in range(_SWEEPS):
        scaled = (size * row[:, None]) * col
        rows, cols = scaled.max(axis=1, initial=0), scaled.max(axis=0, initial=0)
        if all(((x == 0) | ((x >= 0.25) & (x <= 4))).all() for x in (rows, cols)):
            break
        row = row * power_of_two_reciprocal(np.sqrt(rows))
        col = col * power_of_two_reciprocal(np.sqrt(cols))
    return row, col


def _balanced(core: Core, others: Array) -> Array:
    """Scale a dense core by `balance`, with `others` (c,) as if they were on its diagonal."""
    values = core.hermitian_part if core.is_hermitian else core.values
    size = np.abs(values)
    np.fill_diagonal(size, np.maximum(np.diagonal(size), others))
    row, col = balance(size)
    scaled: Array = (values * row[:, None]) * col
    return scaled


def signs(core: Core, known: Array | None = None) -> Array:
    """Return the sign of each eigenvalue of a Hermitian core, 0 for one that is zero to rounding.

    A dense core is balanced first, which leaves the number of each sign as it is; then the
    signs are in ascending order. Eigenvalues up to the rounding of the core are zero. So are
    those that are zero beside what else stands in the rows: positive ones to double precision,
    in which sums over a block are taken, negative ones to the precision of the stored numbers.
    The numbers of a diagonal core are no sums: a positive one is never zero. `known` are its
    eigenvalues, ascending, which decide where none is small.
    """
    if core.is_diagonal:
        values = np.real(core.values)
        return np.where(values < -core.rounding * core.others, -1, np.where(values > 0, 1, 0))
    if known is not None and _are_clear(core, known):
        return np.sign(known).astype(int)
    w, noise = balanced_spectrum(core, core.others * (EPS / core.precision))
    result = np.where(w < -noise, -1, np.where(w > noise, 1, 0))
    if core.precision > EPS and result.min(initial=0) < 0:
        w, noise = balanced_spectrum(core, core.others)
        result[np.count_nonzero(w < -noise) : np.count_nonzero(result < 0)] = 0
    return result


def _are_clear(core: Core, w: Array) -> bool:
    """Whether no eigenvalue is near zero, even beside the largest number of all rows."""
    largest = max(np.abs(w).max(initial=0), core.others.max(initial=0))
    noise = core.rounding * max(1.0, EPS / core.precision * len(w))
    return bool(np.abs(w).min(initial=np.inf) > noise * largest)


def balanced_spectrum(core: Core, others: Array) -> tuple[Array, float]:
    """Return eigenvalues, or singular values unless Hermitian, of a balanced core, and their noise.

    The noise is the rounding of the stored numbers, or LAPACK's where that is larger.
    """
    spectrum = scipy.linalg.eigvalsh if core.is_hermitian else scipy.linalg.svdvals
    values = spectrum(_balanced(core, others), check_finite=False)
    largest = float(np.abs(values).max(initial=0))
    return values, core.rounding * max(1.0, EPS / core.precision * largest)


def count_nonzero(core: Core) -> int:
    """Count the eigenvalues of a core that are not zero to rounding, without multiplicities."""
    if core.is_diagonal:
        return int(np.count_nonzero(is_nonzero(core)))
    if core.is_hermitian:
        return int(np.count_nonzero(signs(core)))
    values, noise = balanced_spectrum(core, core.others * (EPS / core.precision))
    return int(np.count_nonzero(values > noise))


def rank(core: Core) -> int:
    """Return the share of a core in the rank of the matrix, multiplicities included."""
    if core.is_diagonal:
        return int(core.multiplicity[is_nonzero(core)].sum())
    return count_nonzero(core) * int(core.multiplicity.max(initial=0))


def is_nonzero(core: Core) -> Array:
    """Whether each number of a diagonal core is not zero to rounding."""
    nonzero: Array = (signs(core) if core.is_hermitian else core.values) != 0
    return nonzero


def is_positive_definite(core: Core) -> bool:
    """Whether a core is Hermitian with all eigenvalues positive, beyond rounding."""
    return core.is_hermitian and bool((signs(core) > 0).all())


def power_of_two_reciprocal(x: Array) -> Array:
    """Return a power of two near 1/x, and 1 where x is 0."""
    _, exponent = np.frexp(x)
    return np.ldexp(1.0, np.where(x > 0, np.clip(-exponent, -1000, 1000), 0))
