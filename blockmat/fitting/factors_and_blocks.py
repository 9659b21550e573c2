"""Factors of all variables and blocks of the rest, mixed with the sample covariance.

The formulas are in :ref:`theory-market`.
"""

from typing import NamedTuple

import numpy as np

from blockmat.blocks.checks import Array
from blockmat.blocks.partition import Partition
from blockmat.cores.definite import definite_pair
from blockmat.fitting.eigenvalue_shrinkage import Deviations, quadratic_inverse_shrinkage
from blockmat.fitting.fit_samples import fit_samples
from blockmat.fitting.principal_components import PrincipalComponents, principal_components
from blockmat.matrices.block_constant import BlockConstantMatrix
from blockmat.matrices.block_factor import BlockFactorMatrix
from blockmat.matrices.low_rank import BlockPlusLowRank
from blockmat.matrices.scaled import ScaledBlockMatrix
from blockmat.sources.standardize import compress_rows

_LEAST = float(np.sqrt(np.finfo(np.float64).eps))  # eigenvalue of what factors leave, relative
Operator = BlockConstantMatrix | ScaledBlockMatrix | BlockFactorMatrix | BlockPlusLowRank


class BlocksAndDirections(NamedTuple):
    """The matrix ``blocks + V diag(w) V^T`` with vectors V (n, r) and weights w (r,)."""

    blocks: BlockConstantMatrix
    vectors: Array
    weights: Array

    def matrix(self) -> BlockConstantMatrix | BlockPlusLowRank:
        """Return it as a matrix."""
        if not len(self.weights):
            return self.blocks
        return BlockPlusLowRank(self.blocks, self.vectors, np.diag(self.weights))

    def diagonal(self) -> Array:
        """Return the diagonal, (n,)."""
        diagonal: Array = self.blocks.diagonal() + self.vectors**2 @ self.weights
        return diagonal

    def scaled(self, scale: Array) -> Operator:
        """Return the matrix S A S for the diagonal matrix S of scales (n,)."""
        base = ScaledBlockMatrix(self.blocks, scale)
        if not len(self.weights):
            return base
        return BlockPlusLowRank(base, self.vectors * scale[:, None], np.diag(self.weights))


def factors_and_blocks(Z: Array, p: Partition, n_factors: int) -> BlocksAndDirections:
    """Fit the leading principal components, and block-constant values to the rest.

    For samples Z (m, n) with mean zero and ``S = Z.T @ Z / m`` it is ``P(S - L) + L``, where L is
    the part of S of its `n_factors` leading eigenvectors.
    """
    return _model(Z, p, _leading(Z, n_factors))


def without_factors(Z: Array, n_factors: int) -> Array:
    """Return samples (m, n) minus their leading principal components; their covariance is S - L."""
    return _rest(Z, _leading(Z, n_factors))


def mix_with_samples(Z: Array, p: Partition, n_factors: int, weight: float) -> BlocksAndDirections:
    """Return `factors_and_blocks` times its weight, plus S times the rest of 1."""
    model = factors_and_blocks(Z, p, n_factors)
    if weight == 1:
        return model
    rows = compress_rows(Z) / np.sqrt(len(Z))
    return BlocksAndDirections(
        model.blocks * weight,
        np.hstack([model.vectors, rows.T]),
        np.concatenate([model.weights * weight, np.full(len(rows), 1 - weight)]),
    )


def mix_with_shrunk_samples(
    Z: Array, p: Partition, n_factors: int, weight: float, deviations: Deviations
) -> BlocksAndDirections:
    """Return `factors_and_blocks` times its weight, plus Q times the rest of 1.

    Q is S with the eigenvalues of `quadratic_inverse_shrinkage`, for so many deviations. As Q
    and the factors share their eigenvectors, the vectors of the result are those of S.
    """
    values, vectors = principal_components(Z)
    shrunk = quadratic_inverse_shrinkage(values, Z.shape[1], *deviations)
    model = _model(Z, p, PrincipalComponents(values[:n_factors], vectors[:, :n_factors]))
    identity = BlockConstantMatrix.identity(p)
    weights = (1 - weight) * (shrunk.values - shrunk.rest)
    weights[:n_factors] += weight * values[:n_factors]
    return BlocksAndDirections(
        model.blocks * weight + identity * ((1 - weight) * shrunk.rest), vectors, weights
    )


def _leading(Z: Array, n_factors: int) -> PrincipalComponents:
    if not n_factors:
        return PrincipalComponents(np.empty(0), np.empty((Z.shape[1], 0)))
    values, vectors = principal_components(Z)
    return PrincipalComponents(values[:n_factors], vectors[:, :n_factors])


def _rest(Z: Array, factors: PrincipalComponents) -> Array:
    return Z - (Z @ factors.vectors) @ factors.vectors.T if len(factors.values) else Z


def _model(Z: Array, p: Partition, factors: PrincipalComponents) -> BlocksAndDirections:
    """Return the part of S of some eigenvectors plus the projection of the rest."""
    blocks = fit_samples(_rest(Z, factors), p, ddof=0, assume_centered=True)
    if len(factors.values):
        blocks = _definite(blocks, factors.values.sum() / p.n)
    return BlocksAndDirections(blocks, factors.vectors, factors.values)


def _definite(blocks: BlockConstantMatrix, variance: float) -> BlockConstantMatrix:
    """Raise tiny eigenvalues, as factors can explain a combination of variables completely.

    `variance` is what the factors explain of a variable, on average.
    """
    p = blocks.partition
    values = np.asarray(blocks.values)
    variances = np.maximum(np.diagonal(values) + blocks.within, _LEAST * variance)
    return BlockConstantMatrix(p, *definite_pair(values, variances, p.sizes, _LEAST))
