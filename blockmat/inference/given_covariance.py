"""A covariance matrix with its number of samples, given in place of the samples."""

from typing import Any, NamedTuple

import numpy as np

from blockmat.blocks.checks import Array, as_count, as_numeric, check_square
from blockmat.blocks.names import check_names
from blockmat.sources.correlation_matrix import as_correlation


class GivenCovariance(NamedTuple):
    """A covariance matrix (n, n) in double precision, and the number of its samples.

    ``correlations`` (n, n) are those of the matrix, and the matrix itself if its diagonal is 1.
    """

    matrix: Array
    correlations: Array
    n_samples: int

    @classmethod
    def of(cls, X: Any, n_samples: Any, least: int, sample_weight: Any = None) -> "GivenCovariance":
        """Check a covariance matrix X and that it has at least `least` samples.

        Raises
        ------
        ShapeError, DtypeError, NonFiniteError, NotHermitianError
            If X is not a real, finite, symmetric matrix.
        TypeError
            If `n_samples` is not an integer.
        ValueError
            If `n_samples` is too small, a variance is not positive, a correlation is not between -1
            and 1, or weights are given.
        """
        n_samples = as_count(n_samples, "n_samples", least)
        if sample_weight is not None:
            raise ValueError("sample_weight is given with n_samples; expected it only for samples")
        check_names(X)
        S = as_numeric(X, "X", (2,))
        check_square(S.shape, "X", "for samples leave out n_samples")
        correlations, scale = as_correlation(S, "X")
        double = S.astype(np.float64, copy=False)
        if (scale == 1).all():
            return cls(double, double, n_samples)
        return cls(double, correlations.astype(np.float64, copy=False), n_samples)

    @property
    def is_correlation(self) -> bool:
        """Whether the diagonal is 1."""
        return self.correlations is self.matrix
