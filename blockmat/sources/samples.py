"""Checks of samples."""

from typing import Any

import numpy as np
from scipy.sparse import issparse

from blockmat.blocks.checks import Array, as_numeric, first_non_finite, require_finite
from blockmat.blocks.frames import has_dates, is_frame
from blockmat.blocks.warn import warn
from blockmat.exceptions import DtypeError, ShapeError

_VISITS = 12
_SYMMETRIC = 64  # asymmetry up to this, times eps and the largest entry, is rounding


def refuse_sparse_samples(X: Any) -> None:
    """Raise `DtypeError` for a sparse matrix, because its deviations from the mean are dense."""
    if issparse(X):
        raise DtypeError("X is a sparse matrix; expected a dense array of samples")


def as_samples(X: Any) -> Array:
    """Return samples as an array of a supported dtype with at least one row."""
    refuse_sparse_samples(X)
    warn_of_frame(X)
    samples = as_numeric(X, "X", (1, 2))
    if samples.ndim == 1:
        raise ShapeError(
            f"X is 1-d with shape {samples.shape}; expected 2-d, one row for each sample: one variable "
            f"is X[:, None], and one sample X[None, :]"
        )
    if len(samples) == 0:
        raise ShapeError("X has no rows; expected at least one sample")
    refuse_symmetric(samples)
    return samples


def warn_of_frame(X: Any) -> None:
    """Warn if a DataFrame seems to be transposed, or has the numbers of its rows as a column.

    It seems to be if there are dates in the columns only, and not few: those of a few visits may be
    variables.
    """
    if not is_frame(X) or not X.size:
        return
    if len(X.columns) > min(len(X), _VISITS) and has_dates(X.columns) and not has_dates(X.index):
        warn(
            "the columns of X are dates; expected one row for each sample, so probably X.T",
        )
    first = X.columns[0]
    if (
        isinstance(first, str)
        and first in ("Unnamed: 0", "index")
        and np.array_equal(X.iloc[:, 0], np.arange(len(X)))
    ):
        warn(
            f"column {first!r} of X is the number of its row; expected variables only, so probably "
            f"X.set_index({first!r})",
        )


def refuse_symmetric(X: Array) -> None:
    """Raise ValueError for a symmetric matrix, which is probably a covariance matrix.

    Real samples are hardly ever symmetric. No error is raised for symmetric matrices that may be
    samples: those below 3 x 3, diagonal ones (such as one-hot codes), those with all entries equal,
    and integers that cannot be a covariance matrix, because a diagonal entry is negative or the
    square of an entry is larger than the product of two diagonal entries.
    """
    n = len(X)
    if X.shape != (n, n) or n < 3:
        return
    with np.errstate(all="ignore"):  # NaN and infinity are refused elsewhere
        rounding = _SYMMETRIC * np.finfo(X.dtype).eps * np.abs(X).max()
        if not (np.abs(X[0] - X[:, 0].conj()) <= rounding).all():  # fast, and nearly always returns
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
        "fit(X, partition) or fit_factor(X, partition, samples=False), find its blocks with "
        "find_partition(X), and test it with n_samples. If the rows are samples nonetheless, pass them in another order, such as "
        "X[::-1]"
    )


def use_missing(*ways: str) -> str:
    """Return the end of a message for NaN in samples: the ways to treat missing values."""
    return f", or missing={' or '.join(map(repr, ways))} if NaN marks a missing value"


def require_finite_samples(X: Array, for_nan: str = "") -> None:
    """Raise `NonFiniteError` for NaN or infinity; the message for NaN ends in `for_nan`."""
    entry = first_non_finite(X)
    if entry is not None:
        require_finite(X, "X", for_nan + for_empty_row(X, entry[0]))


def for_empty_row(X: Array, row: int) -> str:
    """Return the end of a message for NaN in a row that has no value, and nothing otherwise."""
    if not np.isnan(X[row]).all():
        return ""
    return f"; row {row} has no value: leave it out, as X.dropna(how='all') of a DataFrame does"


def as_real_samples(X: Any, least: int, may_have_gaps: bool = False, for_nan: str = "") -> Array:
    """Return at least `least` real samples as an array of a supported dtype.

    They are checked to be finite, unless they may have gaps. The message for NaN ends in `for_nan`.
    """
    samples = as_samples(X)
    if samples.dtype.kind == "c":
        raise DtypeError(f"X has dtype {samples.dtype}; expected real numbers")
    if len(samples) < least:
        raise ValueError(f"X has {len(samples)} rows; expected at least {least} samples")
    if not may_have_gaps:
        require_finite_samples(samples, for_nan)
    return samples
