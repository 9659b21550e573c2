"""Least squares off the diagonal of a correlation matrix (:ref:`theory-factorfit`).

Only the loadings are searched for. Given them, the best correlations of the factors have a closed
form.
"""

from functools import partial
from itertools import pairwise

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.fitting.bounded_minimum import bounded_minimum
from blockmat.fitting.factor_estimate import FactorEstimate, FactorOptions, oriented
from blockmat.fitting.factor_start import loadings_of_block


class OffDiagonalLoss:
    """The squared error off the diagonal, at the best correlations of the factors.

    Parameters
    ----------
    R : ndarray, shape (n, n)
        A correlation matrix. The variables of a block are consecutive.
    p : Partition
        The blocks, which are intervals.
    independent : bool
        Whether the factors have no correlations.
    """

    def __init__(self, R: Array, p: Partition, independent: bool) -> None:
        self._R, self._p, self._independent = R, p, independent
        self._blocks = [slice(a, b) for a, b in pairwise(p.offsets)]
        self._constant = float(np.vdot(R, R)) - len(R)

    def __call__(self, loadings: Array) -> tuple[float, Array]:
        """Return the loss and its gradient (n,)."""
        products, own, C = self._parts(loadings)
        squares = loadings * loadings
        lengths = self._sums(squares)  # w
        matched = (C * C) @ lengths  # (C W C)_bb, as C has the diagonal 1
        within = 2 * lengths * lengths - 2 * own + 2 * lengths
        loss = self._constant - lengths @ matched + within.sum() - squares @ squares
        wanted = np.einsum("bi,bi->i", products, C.repeat(self._p.sizes, axis=1)) - loadings
        fitted = loadings * (matched.repeat(self._p.sizes) - squares)
        return float(loss), -4 * (wanted - fitted)

    def correlations(self, loadings: Array) -> Array:
        """Return the correlations (k, k) of the factors with the smallest loss."""
        return self._parts(loadings)[2]

    def _parts(self, loadings: Array) -> tuple[Array, Array, Array]:
        """Return ``Z^T S R`` (k, n), the diagonal of ``Z^T S R S Z``, and C."""
        products = np.stack([loadings[b] @ self._R[b] for b in self._blocks])
        sums = np.add.reduceat(products * loadings, self._p.offsets[:-1], axis=1)
        own = np.diagonal(sums)
        if self._independent:
            return products, own, np.eye(len(own))
        lengths = self._sums(loadings * loadings)
        C = (sums + sums.T) / 2 / lengths / lengths[:, None]
        np.fill_diagonal(C, 1)
        return products, own, C

    def _sums(self, x: Array) -> Array:
        sums: Array = np.add.reduceat(x, self._p.offsets[:-1])
        return sums

    def root_mean_square(self, loadings: Array) -> float:
        """Return the root of the mean squared error, from the errors of all entries."""
        n, C = len(loadings), np.eye(self._p.n_blocks)
        if not self._independent:
            C = self.correlations(loadings)
        total = 0.0
        for b, rows in enumerate(self._blocks):
            fitted = np.multiply.outer(loadings[rows], C[b].repeat(self._p.sizes) * loadings)
            error = self._R[rows] - fitted
            error[np.arange(len(error)), np.arange(n)[rows]] = 0
            total += float(np.vdot(error, error))
        return float(np.sqrt(total / max(n * (n - 1), 1)))


def least_squares(R: Array, p: Partition, options: FactorOptions) -> tuple[FactorEstimate, float]:
    """Fit a correlation matrix. Return also the root mean square of the errors off the diagonal."""
    R = R[np.ix_(p.order, p.order)]
    q = Partition(p.sizes)
    loss = OffDiagonalLoss(R, q, options.independent)
    most = np.full(p.n, np.sqrt(1 - options.min_noise))
    is_alone = (p.sizes == 1).repeat(p.sizes)
    start = np.where(is_alone, most, _start(R, q))

    def per_variable(x: Array) -> tuple[float, Array]:
        value, gradient = loss(x)
        return value / p.n, gradient / p.n

    least = np.where(is_alone, most, -most)
    found = bounded_minimum(per_variable, start, least, most, options.tol, options.max_iter)
    s = found.x
    C = np.ones(p.n_blocks) if options.independent else loss.correlations(s)
    estimate = FactorEstimate(s, np.maximum(1 - s * s, options.min_noise), C, found)
    return oriented(p, estimate), loss.root_mean_square(s)


def _start(R: Array, p: Partition) -> Array:
    """Return loadings of each block on its own."""
    parts = []
    for first, last in pairwise(p.offsets):
        block = R[first:last, first:last]
        largest = block[:, np.argmax((block * block).sum(axis=0))]
        parts.append(loadings_of_block(partial(np.dot, block), largest))
    return np.concatenate(parts)
