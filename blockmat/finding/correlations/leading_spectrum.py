"""The largest eigenvalues of a correlation matrix and their eigenvectors, computed once."""

from typing import NamedTuple

import numpy as np

from blockmat.blocks.checks import Array

_EXACT_UP_TO = 2000  # variables; of more, only the largest eigenvalues are computed
_N_LARGEST = 128  # eigenvalues of many variables that are computed
_ITERATIONS = 4  # of the subspace


class LeadingSpectrum(NamedTuple):
    """Eigenvalues (m,) of a symmetric matrix (n, n), ascending, and eigenvectors (n, m).

    These are all eigenvalues of up to 2000 variables. Of more variables they are approximately
    the 128 of the largest magnitude. `trace` is the sum of all eigenvalues, and what is at most
    `rounding` is zero.
    """

    values: Array
    vectors: Array
    trace: float
    rounding: float

    @property
    def is_complete(self) -> bool:
        """Whether the eigenvalues that were not computed are zero."""
        n, m = self.vectors.shape
        return m == n or bool(np.abs(self.values).min() <= self.rounding)

    @property
    def rank(self) -> int:
        """How many eigenvalues are positive; n if some are missing."""
        positive = int((self.values > self.rounding).sum())
        return positive if self.is_complete else len(self.vectors)

    @property
    def negative_share(self) -> float:
        """The sum of the magnitudes of negative eigenvalues, divided by the trace."""
        return float(-self.values[self.values < -self.rounding].sum() / self.trace)

    def noise(self, count: int) -> float:
        """Return the median of the largest `count` eigenvalues, which estimates that of noise.

        If not all of them were computed, it is the mean of those that are missing.
        """
        missing = 0 if self.is_complete else count - int((self.values > self.rounding).sum())
        if missing > 0:
            return max(float(self.trace - self.values.sum()) / missing, 0.0)
        return max(float(np.median(self.values[-count:])), 0.0)


def leading_spectrum(C: Array) -> LeadingSpectrum:
    """Return the spectrum of a symmetric matrix with a positive trace."""
    n = len(C)
    if n <= _EXACT_UP_TO:
        values, vectors = np.linalg.eigh(C.astype(np.float64, copy=False))
    else:
        values, vectors = _subspace_iteration(C)
    rounding = n * float(np.finfo(C.dtype).eps) * float(np.abs(values).max())
    return LeadingSpectrum(values, vectors, float(C.trace(dtype=np.float64)), rounding)


def _subspace_iteration(C: Array) -> tuple[Array, Array]:
    """Return the eigenvalues of the largest magnitude and their eigenvectors, approximately."""
    basis = np.random.default_rng(0).standard_normal((len(C), _N_LARGEST))
    for _ in range(_ITERATIONS):
        basis = np.linalg.qr(_times(C, basis))[0]
    values, rotation = np.linalg.eigh(basis.T @ _times(C, basis))
    return values, basis @ rotation


def _times(C: Array, x: Array) -> Array:
    product: Array = (C @ x.astype(C.dtype, copy=False)).astype(np.float64, copy=False)
    return product
