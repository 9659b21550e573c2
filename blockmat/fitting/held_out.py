"""Cross-validation of covariance models: folds, the Gaussian deviance, and threads."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.extras import import_extra
from blockmat.sources.counts import whole
from blockmat.sources.weights import Weights

_N_FOLDS = 5


def train_test_folds(X: Array) -> Iterator[tuple[Array, Array]]:
    """Yield the training and the test samples of each fold.

    The test samples are consecutive rows, because neighbouring samples may be dependent.
    """
    for rows in test_rows(len(X)):
        yield np.delete(X, rows, axis=0), X[rows]


def min_training_size(n_samples: int) -> int:
    """Return the number of training samples in the smallest of the folds."""
    return n_samples - max(map(len, test_rows(n_samples)))


def test_rows(n_samples: int) -> list[Array]:
    """Return the row numbers of the test samples of each fold."""
    return np.split(np.arange(n_samples), np.cumsum(_fold_sizes(n_samples))[:-1])


def _fold_sizes(n_samples: int) -> list[int]:
    """Return how many samples are in each fold; the first folds may have one more."""
    n_folds = min(_N_FOLDS, n_samples // 2)
    size, n_larger = divmod(n_samples, n_folds)
    return [size + (fold < n_larger) for fold in range(n_folds)]


def test_rows_by_weight(weights: Weights) -> list[Array]:
    """Return the row numbers of the test samples of each fold, for folds of about equal weight.

    Integer weights that count samples give the folds of the repeated rows, if these do not divide
    the copies of a row. A fold ends at the row end that is nearest to its share of the weight.
    """
    n_samples = max(whole(weights.n_effective), whole(weights.n_similar))
    sizes = np.array(_fold_sizes(max(n_samples, 4)), dtype=np.float64)
    shares = np.cumsum(sizes)[:-1] / sizes.sum()
    sums = np.concatenate([[0.0], np.cumsum(weights.values)])
    ends = sums.searchsorted(shares * sums[-1])
    ends -= shares * sums[-1] - sums[ends - 1] < sums[ends] - shares * sums[-1]
    folds = np.split(np.arange(len(weights.values)), np.unique(ends))
    return [rows for rows in folds if len(rows)]


def squared_distances(covariance: Any, deviations: Array) -> Array:
    """Return the squared Mahalanobis distance ``x^T A^-1 x`` of each row x."""
    distances: Array = (deviations * covariance.solve(deviations.T).T).sum(axis=1)
    return distances


def gaussian_deviance(covariance: Any, deviations: Array) -> float:
    """Return minus twice the log-likelihood of rows with mean zero, up to a constant.

    The constant is ``T n log(2 pi)`` for T rows of n numbers.
    """
    logdet = float(covariance.logdet())
    return len(deviations) * logdet + float(squared_distances(covariance, deviations).sum())


def map_in_threads(
    function: Callable[[Any], Any], items: Iterable[Any], n_jobs: int | None
) -> list[Any]:
    """Apply a function to each item, in `n_jobs` threads, or in this thread if `n_jobs` is None."""
    if n_jobs is None:
        return [function(item) for item in items]
    joblib = import_extra("joblib", "sklearn", "n_jobs")
    calls = (joblib.delayed(function)(item) for item in items)
    return list(joblib.Parallel(n_jobs=n_jobs, prefer="threads")(calls))
