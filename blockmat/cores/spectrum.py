"""Eigenvalues, eigenvectors and singular values of cores."""

import numpy as np
import scipy.linalg
from scipy.linalg import lapack

from blockmat.blocks.checks import Array
from blockmat.cores.core import EPS, Core
from blockmat.cores.factors import Cholesky
from blockmat.cores.rank import is_positive_definite

_GRADED = 1e4 * EPS  # smallest by largest eigenvalue below which LAPACK's has few digits


def eigvalsh(core: Core) -> Array:
    """Return the eigenvalues of a Hermitian core, ascending only if it is dense."""
    if core.is_diagonal:
        return np.real(core.values)
    values: Array = scipy.linalg.eigh(core.values, eigvals_only=True, check_finite=False)
    if values.size and values[0] < _GRADED * values[-1]:
        return accurate_eigh(core)[0]
    return values


def eigh(core: Core) -> tuple[Array, Array | None]:
    """Return eigenvalues and eigenvectors of a Hermitian core (None: the unit vectors)."""
    return (np.real(core.values), None) if core.is_diagonal else accurate_eigh(core)


def accurate_eigh(core: Core) -> tuple[Array, Array]:
    values, vectors = dense_eigh(core.values)
    if values.size and values[0] < _GRADED * values[-1]:
        return _graded_eigh(core) or (values, vectors)
    return values, vectors


def dense_eigh(values: Array) -> tuple[Array, Array]:
    """Decompose a Hermitian matrix, of which the lower triangle is read, by divide and conquer.

    SciPy's default driver loses digits of orthogonality between the eigenvectors of
    clustered eigenvalues, which a core has when blocks are alike.
    """
    eigenvalues, vectors = scipy.linalg.eigh(values, driver="evd", check_finite=False)
    return eigenvalues, vectors


def _graded_eigh(core: Core) -> tuple[Array, Array] | None:
    """Decompose a real positive definite core whose small eigenvalues come from its scaling.

    The singular values of its Cholesky factor are the roots of its eigenvalues. Jacobi's
    method computes them, however small, to the precision that they have in a balanced core
    (J. Demmel, K. Veselic, "Jacobi's method is more accurate than QR", SIAM J. Matrix Anal.
    Appl. 13, 1992). None for other cores.
    """
    if core.is_complex or not is_positive_definite(core):
        return None
    factors = Cholesky.of(core)
    if factors is None:
        return None
    upper = np.tril(factors.factor).T / factors.scale
    roots, _, vectors, work, _, info = lapack.dgejsv(upper, joba=0, jobu=3, jobv=0, jobr=0)
    if info:
        return None
    values = (roots * (work[0] / work[1])) ** 2
    return values[::-1], vectors[:, ::-1]


def eigvals(core: Core) -> Array:
    """Return the eigenvalues of any core."""
    if core.is_diagonal:
        return core.values
    values: Array = scipy.linalg.eigvals(core.values, check_finite=False)
    return values


def svdvals(core: Core) -> Array:
    """Return the singular values of any core."""
    if core.is_diagonal:
        return np.abs(core.values)
    if core.is_hermitian:
        return np.abs(eigvalsh(core))
    values: Array = scipy.linalg.svdvals(core.values, check_finite=False)
    return values
