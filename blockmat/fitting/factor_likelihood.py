"""The likelihood of a factor model with one factor for each block, and its gradient.

The work of one evaluation is two passes over the samples, and k x k algebra for each pattern of gaps
(:ref:`theory-factorfit`).
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.fitting.factor_data import FactorData

_AT_A_TIME = 2**18  # numbers in the k x k matrices of some patterns


class FactorGradient(NamedTuple):
    """The derivatives of a loss: by the loadings (n,), the log of the noise (n,), the root (k, k).

    The last is by the mean (n,).
    """

    loadings: Array
    log_noise: Array
    root: Array | None
    mean: Array | None


class Posterior(NamedTuple):
    """The factors given the samples: their means (k, T) and their variances (P, k) by pattern.

    ``logdet`` is the mean of log det(I + W C) over the samples, and ``root`` the gradient by L.
    """

    scores: Array
    variances: Array
    logdet: float
    root: Array | None


class FactorLikelihood:
    """Minus the log-likelihood per sample of the observed values, without constants.

    Parameters
    ----------
    data : FactorData
        The samples. The variables of a block are consecutive.
    offsets : ndarray, shape (k + 1,)
        Where the blocks start.
    """

    def __init__(self, data: FactorData, offsets: Array) -> None:
        self._data = data
        self._slices = [slice(a, b) for a, b in pairwise(offsets)]
        self._starts = np.concatenate([[0], np.cumsum(data.counts)[:-1]])  # of the patterns
        self.shares = data.shares @ data.observed  # of the samples with each variable
        self._squares = np.einsum("it,it->i", data.rows, data.rows)
        self._totals = data.rows @ data.roots

    def __call__(
        self, loadings: Array, noise: Array, root: Array | None, mean: Array | None = None
    ) -> tuple[float, FactorGradient]:
        """Return the loss and its gradient.

        ``root`` (k, k) is any L with C = L L^T; None for independent factors of variance 1. The
        ``mean`` (n,) is zero if it is None.
        """
        rows, weights = self._data.rows, loadings / noise
        sums = np.stack([weights[b] @ rows[b] for b in self._slices])  # Z^T S D^-1 X^T
        precision = self._sums_of_observed(loadings * weights)  # W
        if mean is not None:
            sums -= self._repeat(self._sums_of_observed(weights * mean)) * self._data.roots
        posterior = self._posterior(precision, sums, root)
        # Fisher's identity: the gradient is that of the expected loss with known factors
        scores = posterior.scores
        moments = self._data.shares[:, None] * posterior.variances
        squares = self._for_observed(moments + self._by_pattern(scores * scores))
        products = np.concatenate(
            [rows[b] @ score for b, score in zip(self._slices, scores, strict=True)]
        )
        distances, mean_gradient = self._squares, None
        if mean is not None:
            mean_scores = self._for_observed(self._by_pattern(scores * self._data.roots))
            products -= mean * mean_scores
            distances = distances - mean * (2 * self._totals - mean * self.shares)
            mean_gradient = (mean * self.shares - self._totals + loadings * mean_scores) / noise
        loss = posterior.logdet + self.shares @ np.log(noise) + (distances / noise).sum()
        residual = distances - 2 * loadings * products + loadings * squares * loadings
        gradient = FactorGradient(
            (loadings * squares - products) / noise,
            (self.shares - residual / noise) / 2,
            posterior.root,
            mean_gradient,
        )
        return float(loss - np.vdot(sums, scores)) / 2, gradient

    def _posterior(self, precision: Array, sums: Array, root: Array | None) -> Posterior:
        if root is None:
            H = 1 + precision
            logdet = float(self._data.shares @ np.log(H).sum(axis=1))
            return Posterior(sums / self._repeat(H), 1 / H, logdet, None)
        scores, variances = np.empty_like(sums), np.empty_like(precision)
        logdet, gradient = 0.0, np.zeros_like(root)
        for patterns, samples in self._batches(len(root)):
            part = _correlated(
                precision[patterns], sums[:, samples], self._data.shares[patterns], root
            )
            scores[:, samples], variances[patterns] = part.scores, part.variances
            logdet, gradient = logdet + part.logdet, gradient + part.root
        return Posterior(scores, variances, logdet, gradient)

    def _batches(self, k: int) -> Iterator[tuple[slice, slice]]:
        """Yield patterns with equally many samples, and these samples, as slices."""
        counts, height = self._data.counts, max(1, _AT_A_TIME // k**2)
        changes = np.flatnonzero(np.diff(counts)) + 1
        for first, last in pairwise([0, *changes.tolist(), len(counts)]):
            count = int(counts[first])
            for a in range(first, last, height):
                b, start = min(a + height, last), int(self._starts[a])
                yield slice(a, b), slice(start, start + (b - a) * count)

    def _sums_of_observed(self, x: Array) -> Array:
        """Return the sums of x (n,) over the observed variables of each pattern and block, (P, k)."""
        return np.stack([self._data.observed[:, b] @ x[b] for b in self._slices], axis=1)

    def _for_observed(self, x: Array) -> Array:
        """Return the sums over patterns of x (P, k) for each variable (n,), where it is observed."""
        return np.concatenate(
            [own @ self._data.observed[:, b] for b, own in zip(self._slices, x.T, strict=True)]
        )

    def _repeat(self, x: Array) -> Array:
        """Return x (P, k) for each sample, (k, T)."""
        return np.repeat(x.T, self._data.counts, axis=1)

    def _by_pattern(self, x: Array) -> Array:
        """Return the sums of x (k, T) over the samples of each pattern, (P, k)."""
        sums: Array = np.add.reduceat(x, self._starts, axis=1).T
        return sums


def _correlated(precision: Array, sums: Array, shares: Array, root: Array) -> Posterior:
    """Return the posterior of factors L g with independent g, for some patterns.

    With H = I + L^T W L the posterior of g has the covariance H^-1 and the means E = H^-1 L^T Y.
    """
    k, n_patterns = len(root), len(precision)
    W = precision[:, :, None]
    H = np.eye(k) + root.T @ (W * root)
    half = np.linalg.solve(H, np.broadcast_to(root.T, H.shape))  # H^-1 L^T
    Y = sums.reshape(k, n_patterns, -1).swapaxes(0, 1)
    inner = half @ Y
    scores = root @ inner
    gradient = np.einsum("p,pi,pji->ij", shares, precision, half)
    gradient -= np.tensordot(Y - W * scores, inner, axes=([0, 2], [0, 2]))
    variances = np.einsum("ij,pji->pi", root, half)
    logdet = float(shares @ np.linalg.slogdet(H)[1])
    return Posterior(scores.swapaxes(0, 1).reshape(k, -1), variances, logdet, gradient)
