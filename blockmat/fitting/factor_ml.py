"""Maximum likelihood of a factor model with one factor for each block (:ref:`theory-factorfit`)."""

from functools import partial
from itertools import pairwise

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.fitting.bounded_minimum import bounded_minimum
from blockmat.fitting.factor_data import FactorData
from blockmat.fitting.factor_estimate import FactorEstimate, FactorOptions, oriented
from blockmat.fitting.factor_likelihood import FactorLikelihood
from blockmat.fitting.factor_start import loadings_of_block

_SHRINKAGE = 0.1  # of the correlations from which the search starts, so that they are definite


def maximum_likelihood(data: FactorData, p: Partition, options: FactorOptions) -> FactorEstimate:
    """Fit standardized samples, sorted by block. The loss is that of `FactorLikelihood`."""
    rows, likelihood = data.rows, FactorLikelihood(data, p.offsets)
    n, lower = p.n, np.tril_indices(0 if options.independent else p.n_blocks)
    is_alone = (p.sizes == 1).repeat(p.sizes)
    s = _start(rows, p.offsets)
    noise = np.where(is_alone, options.min_noise, 1 - s * s)
    s = np.where(is_alone, np.sqrt(1 - noise), s)
    unit = np.sqrt(noise)  # of the loadings in the search: it makes their curvatures similar

    def parameters(x: Array) -> tuple[Array, Array, Array | None]:
        if options.independent:
            return x[:n] * unit, np.exp(x[n:]), None
        root = np.zeros((p.n_blocks, p.n_blocks))
        root[lower] = x[2 * n :]
        return x[:n] * unit, np.exp(x[n : 2 * n]), root

    def function(x: Array) -> tuple[float, Array]:
        loss, gradient = likelihood(*parameters(x))
        parts = [gradient.loadings * unit, gradient.log_noise]
        if gradient.root is not None:
            parts.append(gradient.root[lower])
        return loss, np.concatenate(parts)

    start = [s / unit, np.log(noise)]
    if not options.independent:
        start.append(_root_of_start(s, rows, p)[lower])
    least, largest = (np.full(sum(map(len, start)), x) for x in (-np.inf, np.inf))
    least[n : 2 * n] = np.log(options.min_noise)
    largest[n : 2 * n][is_alone] = np.log(options.min_noise)
    found = bounded_minimum(
        function, np.concatenate(start), least, largest, options.tol, options.max_iter
    )
    s, noise, root = parameters(found.x)
    lengths, C = np.ones(p.n_blocks), np.ones(p.n_blocks)
    if root is not None:
        lengths = np.sqrt((root * root).sum(axis=1))
        root = root / lengths[:, None]
        C = root @ root.T
    return oriented(
        p,
        FactorEstimate(s * lengths.repeat(p.sizes), np.maximum(noise, options.min_noise), C, found),
    )


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
