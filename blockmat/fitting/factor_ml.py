"""Maximum likelihood of a factor model with one factor for each block (:ref:`theory-factorfit`)."""

from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.fitting.bounded_minimum import bounded_minimum
from blockmat.fitting.factor_data import FactorData
from blockmat.fitting.factor_estimate import FactorEstimate, FactorOptions, oriented
from blockmat.fitting.factor_likelihood import FactorGradient, FactorLikelihood
from blockmat.fitting.factor_start import loadings_of_block

_SHRINKAGE = 0.1  # of the correlations from which the search starts, so that they are definite


class _Layout(NamedTuple):
    """Where the parameters are in the vector that the search changes."""

    n: int
    n_blocks: int
    n_root: int
    unit: Array  # of loadings and mean (n,); it makes their curvatures similar

    def parameters(self, x: Array) -> tuple[Array, Array, Array | None, Array | None]:
        """Return loadings, noise, the root and the mean."""
        n, end = self.n, 2 * self.n + self.n_root
        root = mean = None
        if self.n_root:
            root = np.zeros((self.n_blocks, self.n_blocks))
            root[np.tril_indices(self.n_blocks)] = x[2 * n : end]
        if len(x) > end:
            mean = x[end:] * self.unit
        return x[:n] * self.unit, np.exp(x[n : 2 * n]), root, mean

    def vector(self, gradient: FactorGradient) -> Array:
        """Return the gradient by the vector."""
        parts = [gradient.loadings * self.unit, gradient.log_noise]
        if gradient.root is not None:
            parts.append(gradient.root[np.tril_indices(self.n_blocks)])
        if gradient.mean is not None:
            parts.append(gradient.mean * self.unit)
        return np.concatenate(parts)


def maximum_likelihood(
    data: FactorData, p: Partition, options: FactorOptions, free_mean: bool = False
) -> FactorEstimate:
    """Fit standardized samples, sorted by block. The loss is that of `FactorLikelihood`.

    With `free_mean` the mean is a parameter, as it must be if values are missing.
    """
    likelihood, n, k = FactorLikelihood(data, p.offsets), p.n, p.n_blocks
    rows = data.rows / np.linalg.norm(data.rows, axis=1, keepdims=True)
    is_alone = (p.sizes == 1).repeat(p.sizes)
    s = _start(rows, p.offsets)
    noise = np.where(is_alone, options.min_noise, 1 - s * s)
    s = np.where(is_alone, np.sqrt(1 - noise), s)
    layout = _Layout(n, k, 0 if options.independent else k * (k + 1) // 2, np.sqrt(noise))
    start = [s / layout.unit, np.log(noise)]
    if not options.independent:
        start.append(_root_of_start(s, rows, p)[np.tril_indices(k)])
    if free_mean:
        start.append(np.zeros(n))

    def function(x: Array) -> tuple[float, Array]:
        loss, gradient = likelihood(*layout.parameters(x))
        return loss, layout.vector(gradient)

    least, largest = (np.full(sum(map(len, start)), x) for x in (-np.inf, np.inf))
    least[n : 2 * n] = np.log(options.min_noise)
    largest[n : 2 * n][is_alone] = np.log(options.min_noise)
    found = bounded_minimum(
        function, np.concatenate(start), least, largest, options.tol, options.max_iter
    )
    s, noise, root, mean = layout.parameters(found.x)
    lengths, C = np.ones(k), np.ones(k)
    if root is not None:
        lengths = np.sqrt((root * root).sum(axis=1))
        root = root / lengths[:, None]
        C = root @ root.T
    noise = np.maximum(noise, options.min_noise)
    return oriented(p, FactorEstimate(s * lengths.repeat(p.sizes), noise, C, found, mean))


def _start(rows: Array, offsets: Array) -> Array:
    """Return loadings of each block on its own."""
    parts = []
    for first, last in pairwise(offsets):
        block = rows[first:last]
        largest = block[:, np.argmax((block * block).sum(axis=0))]
        parts.append(loadings_of_block(partial(_times_gram, block), largest))
    return np.concatenate(parts)


def _times_gram(rows: Array, vector: Array) -> Array:
    product: Array = rows @ (vector @ rows)
    return product


def _root_of_start(s: Array, rows: Array, p: Partition) -> Array:
    """Return the root of the correlations of the means of the blocks, weighted by loadings."""
    means = np.array([s[a:b] @ rows[a:b] for a, b in pairwise(p.offsets)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    correlation = (1 - _SHRINKAGE) * (means @ means.T) + _SHRINKAGE * np.eye(p.n_blocks)
    root: Array = np.linalg.cholesky(correlation)
    return root
