"""Eigenvalues, eigenvectors and singular values of cores."""

import numpy as np
import scipy.linalg
from scipy.linalg import lapack

from blockmat.blocks.checks import Array
from blockmat.cores.core import EPS, Core
from blockmat.cores.factors import Cholesky
from blockmat.cores.rank import is_positive_definite

_GRADED = 1e4 * EPS  # LAPACK finds few digits of eigenvalues smaller than this times the largest


def eigvalsh(core: Core) -> Array:
    """Return the eigenvalues of a Hermitian core; those of a dense core are ascending."""
    if core.is_diagonal:
        return np.real(core.values)
    values: Array = scipy.linalg.eigh(core.values, eigvals_only=True, check_finite=False)
    if values.size and values[0] < _GRADED * values[-1]:
        return accurate_eigh(core)[0]
    return values


def eigh(core: Core) -> tuple[Array, Array | None]:
    """Return eigenvalues and eigenvectors of a Hermitian core; None stands for unit vectors."""
    return (np.real(core.values), None) if core.is_diagonal else accurate_eigh(core)


def accurate_eigh(core: Core) -> tuple[Array, Array]:
    """Return eigenvalues and eigenvectors of a dense Hermitian core, also of a badly scaled one."""
    values, vectors = dense_eigh(core.values)
    if values.size and values[0] < _GRADED * values[-1]:
        return _graded_eigh(core) or (values, vectors)
    return values, vectors


def dense_eigh(values: Array) -> tuple[Array, Array]:
    """Decompose a Hermitian matrix by divide and conquer. Only the lower triangle is read.

    A core of similar blocks has clustered eigenvalues. For these the eigenvectors of SciPy's
    default driver are less orthogonal.
    """
    eigenvalues, vectors = scipy.linalg.eigh(values, driver="evd", check_finite=False)
    return eigenvalues, vectors


def _graded_eigh(core: Core) -> tuple[Array, Array] | None:
    """Decompose a real positive definite core whose rows have very different scales.

    The eigenvalues are the squares of the singular values of the Cholesky factor. Jacobi's method
    computes small ones as precisely as in a balanced core (:ref:`theory-rank`; J. Demmel,
    K. Veselic, "Jacobi's method is more accurate than QR", SIAM J. Matrix Anal. Appl. 13, 1992).
    The result is None for other cores.
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
    """Return the eigenvalues of any core, as complex numbers."""
    if core.is_diagonal:
        return core.values.astype(np.complex128)
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
