"""Fast NumPy and SciPy code for the same operations; its preparation is not timed."""

from collections.abc import Callable
from typing import Any

import numpy as np

import blockmat as bm


def contiguous_product(A: bm.BlockConstantMatrix, x: Any) -> Callable[[], Any]:
    """Block sums by ``reduceat``, a k x k product, and one multiply-add with repeated values."""
    p = A.partition
    starts, sizes = p.offsets[:-1], p.sizes
    values, scale = A.values, np.repeat(A.within, sizes)

    def product() -> Any:
        return scale * x + np.repeat(values @ np.add.reduceat(x, starts), sizes)

    return product


def labelled_product(A: bm.BlockConstantMatrix, x: Any) -> Callable[[], Any]:
    """Block sums by ``bincount``, a k x k product, and indexing with the labels."""
    labels, k = A.partition.labels, A.partition.n_blocks
    values, scale = A.values, A.within[labels]

    def product() -> Any:
        return scale * x + (values @ np.bincount(labels, x, minlength=k))[labels]

    return product


def sparse_product(A: bm.BlockConstantMatrix, x: Any) -> Callable[[], Any]:
    """Diagonal plus ``E V E^T`` with the sparse indicator matrix E."""
    E = A.partition.indicator()
    adjoint = E.T.tocsr()
    values, diagonal = A.values, A.within[A.partition.labels]

    def product() -> Any:
        scaled = diagonal * x if x.ndim == 1 else diagonal[:, None] * x
        return scaled + E @ (values @ (adjoint @ x))

    return product


def reduceat_fit(S: Any, p: bm.Partition) -> Callable[[], Any]:
    """Block sums by ``reduceat`` along both axes, after sorting if blocks are not contiguous."""
    starts = p.offsets[:-1]

    def fit() -> Any:
        ordered = S if p.is_contiguous else S[np.ix_(p.order, p.order)]
        sums = np.add.reduceat(np.add.reduceat(ordered, starts, axis=0), starts, axis=1)
        return sums, np.add.reduceat(np.diagonal(ordered), starts)

    return fit


def sparse_fit(S: Any, p: bm.Partition) -> Callable[[], Any]:
    """``E^T S E`` with the sparse indicator matrix E, and the diagonal."""
    E = p.indicator()
    adjoint = E.T.tocsr()

    def fit() -> Any:
        return (adjoint @ S) @ E, adjoint @ np.diagonal(S)

    return fit


def quadratic_inverse_shrinkage(X: Any) -> Any:
    """The covariance estimator of Ledoit and Wolf, "Quadratic shrinkage for large covariance
    matrices", Bernoulli 28, 2022, written from its formulas.
    """
    deviations = X - X.mean(axis=0)
    m, n = len(X) - 1, X.shape[1]
    ratio = n / m
    values, vectors = np.linalg.eigh(deviations.T @ deviations / m)
    values = np.maximum(values, 0)
    inverse = 1 / values[max(0, n - m) :]
    bandwidth = min(ratio**2, 1 / ratio**2) ** 0.35 / n**0.35
    difference = inverse[:, None] - inverse
    squares = difference**2 + (bandwidth * inverse[:, None]) ** 2
    smoothed = (inverse[:, None] * difference / squares).mean(axis=0)
    conjugate = (bandwidth * inverse[:, None] ** 2 / squares).mean(axis=0)
    amplitude = smoothed**2 + conjugate**2
    if n <= m:
        shrunk = 1 / (
            (1 - ratio) ** 2 * inverse
            + 2 * ratio * (1 - ratio) * inverse * smoothed
            + ratio**2 * inverse * amplitude
        )
    else:
        null = 1 / ((ratio - 1) * inverse.mean())
        shrunk = np.concatenate([np.full(n - m, null), 1 / (inverse * amplitude)])
    shrunk *= values.sum() / shrunk.sum()
    return (vectors * shrunk) @ vectors.T
