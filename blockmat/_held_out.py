"""Samples held out of a fit, and how likely the fit finds them."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from blockmat._validation import Array

_FOLDS = 5


def folds(X: Array) -> Iterator[tuple[Array, Array]]:
    """Cut samples into intervals, as neighbours may depend on each other: the rest, and each."""
    for fold in np.array_split(np.arange(len(X)), min(_FOLDS, len(X) // 2)):
        yield np.delete(X, fold, axis=0), X[fold]


def squared_distances(covariance: Any, deviations: Array) -> Array:
    """Return ``x^T A^-1 x`` for every row x."""
    distances: Array = (deviations * covariance.solve(deviations.T).T).sum(axis=1)
    return distances


def gaussian_deviance(covariance: Any, deviations: Array) -> float:
    """Return minus twice the log-likelihood of samples with the mean zero, but for a constant."""
    logdet = float(covariance.logdet())
    return len(deviations) * logdet + float(squared_distances(covariance, deviations).sum())
