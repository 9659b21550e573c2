"""The trace of the product of two matrices on the same blocks."""

from typing import NamedTuple

import torch
from torch import Tensor

from blockmat.cores import pair
from blockmat.exceptions import PartitionMismatchError
from blockmat.torch.block_constant import BlockConstantMatrix, values_of
from blockmat.torch.block_factor import BlockFactorMatrix
from blockmat.torch.segments import Segments

Matrix = BlockConstantMatrix | BlockFactorMatrix


def trace_of_product(A: Matrix, B: Matrix) -> Tensor:
    """Return ``tr(A B)`` of symmetric matrices in double precision, in O(n + k^2).

    Raises
    ------
    PartitionMismatchError
        If they have different blocks.
    """
    p, q = A.partition, B.partition
    if not p.same_blocks(q):
        raise PartitionMismatchError(
            f"the matrices have {p.n_blocks} blocks of {p.n} variables and {q.n_blocks} of {q.n}; "
            f"expected the same blocks"
        )
    A, B = A.to(torch.float64), B.to(torch.float64)
    if isinstance(A, BlockConstantMatrix) and isinstance(B, BlockConstantMatrix):
        trace: Tensor = (A @ B).trace()
        return trace
    return _trace_of_factors(_factors_of(A), _factors_of(B), Segments(p, A.device))


class _Factors(NamedTuple):
    """A matrix as ``diag(noise) + S Z C Z^T S`` (:ref:`theory-factor`)."""

    noise: Tensor  # (..., n)
    loadings: Tensor  # (..., n), the diagonal of S
    covariance: Tensor  # C, (..., k, k), or its diagonal, (..., k)
    is_independent: bool  # whether it is the diagonal

    @property
    def own(self) -> Tensor:
        """The diagonal of C."""
        own: Tensor = self.covariance if self.is_independent else pair.diagonal(self.covariance)
        return own

    @property
    def dense(self) -> Tensor:
        """C itself."""
        return torch.diag_embed(self.covariance) if self.is_independent else self.covariance


def _factors_of(A: Matrix) -> _Factors:
    """Return a matrix in double precision with a factor for each block."""
    if isinstance(A, BlockFactorMatrix):
        return _Factors(A.noise, A.loadings, A.covariance, A.is_independent)
    segments = Segments(A.partition, A.device)
    d = torch.where(segments.sizes > 1, A.within, 0)
    noise = segments.repeat(d)
    if A.is_independent:
        values = (A.between - d) / segments.sizes
    else:
        values = values_of(A.between, d, segments.sizes)
    return _Factors(noise, torch.ones_like(noise), values, A.is_independent)


def _trace_of_factors(A: _Factors, B: _Factors, segments: Segments) -> Tensor:
    """Return ``tr(A B)``.

    The traces of the four products of their parts are sums over blocks. For the product of both
    second parts it is ``tr(C G C' G)``, where G is diagonal with the block sums of ``s s'``.
    """
    noises = (A.noise * B.noise).sum(-1)
    one = (segments.sums(A.noise * B.loadings.square()) * B.own).sum(-1)
    other = (segments.sums(B.noise * A.loadings.square()) * A.own).sum(-1)
    G = segments.sums(A.loadings * B.loadings)
    if A.is_independent and B.is_independent:
        both = (A.covariance * B.covariance * G.square()).sum(-1)
    else:
        both = (A.dense * G[..., :, None] * B.dense * G[..., None, :]).sum((-2, -1))
    return noises + one + other + both
