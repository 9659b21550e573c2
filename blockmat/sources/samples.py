"""Checks of samples."""

from typing import Any

import numpy as np
from scipy.sparse import issparse

from blockmat.blocks.checks import Array, as_numeric, require_finite
from blockmat.exceptions import DtypeError, ShapeError

_SYMMETRIC = 64  # times eps and the largest entry: rounding of products, and less than any spread


def refuse_sparse_samples(X: Any) -> None:
    """Raise `DtypeError` for a sparse matrix, whose deviations from the mean are dense."""
    if issparse(X):
        raise DtypeError("X is a sparse matrix; expected a dense array of samples")


def as_samples(X: Any) -> Array:
    """Return samples as an array of a supported dtype with at least one row."""
    refuse_sparse_samples(X)
    samples = as_numeric(X, "X", (2,))
    if len(samples) == 0:
        raise ShapeError("X has no rows; expected at least one sample")
    refuse_symmetric(samples)
    return samples


def refuse_symmetric(X: Array) -> None:
    """Raise ValueError for samples that are a symmetric matrix: n samples of n variables by mistake.

    Samples of real numbers are not symmetric by chance. Left out are matrices that could be samples:
    below 3 x 3, diagonal ones (such as one-hot codes), those of one number, and those of whole numbers
    that cannot be a covariance matrix, in which an entry squared is at most the product of two
    on the diagonal.
    """
    n = len(X)
    if X.shape != (n, n) or n < 3:
        return
    with np.errstate(
        all="ignore"
    ):  # what is not finite is refused elsewhere, and not symmetric here
        rounding = _SYMMETRIC * np.finfo(X.dtype).eps * np.abs(X).max()
        if not (np.abs(X[0] - X[:, 0].conj()) <= rounding).all():  # quick, and nearly always enough
            return
        if not (np.abs(X - X.conj().T) <= rounding).all():
            return
        diagonal = np.diag(X).real
        off = np.abs(X - np.diag(diagonal))
        is_trivial = off.max() <= rounding or np.abs(X - X[0, 0]).max() <= rounding
        if is_trivial or not np.isfinite(rounding):
            return
        largest = np.sqrt(np.abs(diagonal))
        if (np.rint(X) == X).all() and (
            (diagonal < 0).any() or (off > np.outer(largest, largest)).any()
        ):
            return
    raise ValueError(
        "X is a symmetric matrix; expected samples, one per row. Fit a covariance matrix with "
        "fit(X, partition), and find its blocks with find_partition(X). If the rows are samples "
        "nonetheless, pass them in another order, such as X[::-1]"
    )


def as_real_samples(X: Any, least: int) -> Array:
    """Return at least `least` real samples, all finite, as an array of a supported dtype."""
    samples = as_samples(X)
    if samples.dtype.kind == "c":
        raise DtypeError(f"X has dtype {samples.dtype}; expected real numbers")
    if len(samples) < least:
        raise ValueError(f"X has {len(samples)} rows; expected at least {least} samples")
    require_finite(samples, "X")
    return samples
