"""The likelihood of a factor model with one factor for each block, and its gradient.

The work of one evaluation is two passes over the samples and k x k algebra (:ref:`theory-factorfit`).
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from blockmat.blocks.checks import Array


class FactorGradient(NamedTuple):
    """The derivatives of a loss by the loadings (n,), the log of the noise (n,) and the root (k, k)."""

    loadings: Array
    log_noise: Array
    root: Array | None


class FactorLikelihood:
    """Minus the log-likelihood per sample of standardized samples, without constants.

    Parameters
    ----------
    rows : ndarray, shape (n, T)
        The samples as columns, divided by the root of their number. Each row has mean square 1 / T,
        and the variables of a block are consecutive.
    offsets : ndarray, shape (k + 1,)
        Where the blocks start.
    """

    def __init__(self, rows: Array, offsets: Array) -> None:
        self._rows = rows
        self._slices = [slice(a, b) for a, b in pairwise(offsets)]
        self._starts, self._sizes = offsets[:-1], np.diff(offsets)

    def __call__(
        self, loadings: Array, noise: Array, root: Array | None
    ) -> tuple[float, FactorGradient]:
        """Return the loss and its gradient.

        ``root`` (k, k) is any L with C = L L^T; None for independent factors of variance 1.
        """
        weights = loadings / noise
        sums = np.stack([weights[b] @ self._rows[b] for b in self._slices])  # Z^T S D^-1 X^T
        precision = np.add.reduceat(loadings * weights, self._starts)  # W
        if root is None:
            scores, variance, logdet, root_gradient = _independent(precision, sums)
        else:
            scores, variance, logdet, root_gradient = _correlated(precision, sums, root)
        loss = (logdet + np.log(noise).sum() + (1 / noise).sum() - np.vdot(sums, scores)) / 2
        # Fisher's identity: the gradient is that of the expected loss with known factors
        squares = (variance + (scores * scores).sum(axis=1)).repeat(self._sizes)
        products = np.concatenate(
            [self._rows[b] @ score for b, score in zip(self._slices, scores, strict=True)]
        )
        residual = 1 - 2 * loadings * products + loadings * squares * loadings
        gradient = FactorGradient(
            (loadings * squares - products) / noise, (1 - residual / noise) / 2, root_gradient
        )
        return float(loss), gradient


def _independent(precision: Array, sums: Array) -> tuple[Array, Array, float, None]:
    """Return the posterior means (k, T) and variances (k,) of the factors, and log det(I + W)."""
    H = 1 + precision
    return sums / H[:, None], 1 / H, float(np.log(H).sum()), None


def _correlated(precision: Array, sums: Array, root: Array) -> tuple[Array, Array, float, Array]:
    """Return the same for factors L g with independent g, and the gradient by L.

    With H = I + L^T W L the posterior of g has the covariance H^-1 and the means E = H^-1 L^T Y.
    """
    weighted = precision[:, None] * root
    factor = cho_factor(np.eye(len(root)) + root.T @ weighted, lower=True)
    inner = cho_solve(factor, root.T @ sums)
    half = cho_solve(factor, root.T)  # H^-1 L^T
    scores = root @ inner
    gradient = precision[:, None] * half.T - (sums - precision[:, None] * scores) @ inner.T
    logdet = 2 * np.log(np.diagonal(factor[0])).sum()
    return scores, (root * half.T).sum(axis=1), float(logdet), gradient
