"""Samples held out of a fit, and how likely the fit finds them."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.extras import import_extra

_FOLDS = 5


def folds(X: Array) -> Iterator[tuple[Array, Array]]:
    """Cut samples into intervals, as neighbours may depend on each other: the rest, and each."""
    for fold in _fold_rows(len(X)):
        yield np.delete(X, fold, axis=0), X[fold]


def fewest_left(n_samples: int) -> int:
    """Return the least number of samples that a fold leaves."""
    return n_samples - max(map(len, _fold_rows(n_samples)))


def _fold_rows(n_samples: int) -> list[Array]:
    return np.array_split(np.arange(n_samples), min(_FOLDS, n_samples // 2))


def squared_distances(covariance: Any, deviations: Array) -> Array:
    """Return ``x^T A^-1 x`` for every row x."""
    distances: Array = (deviations * covariance.solve(deviations.T).T).sum(axis=1)
    return distances


def gaussian_deviance(covariance: Any, deviations: Array) -> float:
    """Return minus twice the log-likelihood of samples with the mean zero, but for a constant."""
    logdet = float(covariance.logdet())
    return len(deviations) * logdet + float(squared_distances(covariance, deviations).sum())


def each(function: Callable[[Any], Any], items: Iterable[Any], n_jobs: int | None) -> list[Any]:
    """Call a function with each item, in `n_jobs` threads, or one after the other."""
    if n_jobs is None:
        return [function(item) for item in items]
    joblib = import_extra("joblib", "sklearn", "n_jobs")
    calls = (joblib.delayed(function)(item) for item in items)
    return list(joblib.Parallel(n_jobs=n_jobs, prefer="threads")(calls))
