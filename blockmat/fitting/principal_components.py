"""Principal components: the eigenvalues and eigenvectors of the covariance of samples."""

from typing import NamedTuple

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.sources.standardize import compress_rows


class PrincipalComponents(NamedTuple):
    """The eigenvalues (r,) that are not zero, the largest first, and their eigenvectors (n, r)."""

    values: Array
    vectors: Array


def principal_components(Z: Array) -> PrincipalComponents:
    """Decompose ``Z.T @ Z / m`` for m rows with mean zero, (m, n), in double precision.

    It takes O(min(m, n) m n), and forms no array of more than n x min(m, n) numbers. Values below
    the rounding of the largest one count as zero.
    """
    n_rows, n = Z.shape
    rows = compress_rows(Z)
    if n_rows > n:
        values, vectors = np.linalg.eigh(rows.T @ rows / n_rows)
    else:
        values, vectors = np.linalg.eigh(rows @ rows.T / n_rows)
    largest = max(float(values[-1]), 0.0) if len(values) else 0.0
    is_positive = values > len(values) * np.finfo(np.float64).eps * largest
    values, vectors = values[is_positive][::-1], vectors[:, is_positive][:, ::-1]
    if n_rows <= n:
        vectors = rows.T @ (vectors / np.sqrt(n_rows * values))
    return PrincipalComponents(values, np.ascontiguousarray(vectors))
