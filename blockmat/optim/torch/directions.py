"""Tracked directions: the long side of a weight has a few variances of its own, and one for the rest.

For row-whitened gradients H (k, m), the mean of ``H^T H / k`` is taken as
``V diag(w) V^T + s^2 (I - V V^T)`` with r orthonormal directions V (m, r): the directions of the
long side that matter get a number each, as the block mean gives one to the constant direction
(:ref:`theory-momentum`).
"""

from typing import NamedTuple

import torch
from torch import Tensor

_KEPT = 0.8  # of the directions and their variances at a step
_SMALLEST = 0.1  # variance of a direction, relative to that of the rest
_TINY = 1e-12  # keeps directions without any variance, which is about 1 for whitened gradients


class Directions(NamedTuple):
    """Directions V (B, m, r), their variances (B, r), and the variance of the rest (B,)."""

    vectors: Tensor
    variances: Tensor
    rest: Tensor


def treat(h: Tensor, old: Directions) -> tuple[Tensor, Directions]:
    """Divide whitened gradients H (B, k, m) by the root of that matrix, and keep their norms.

    Return also the directions after one step of subspace iteration.
    """
    k, m = h.shape[-2:]
    r = old.variances.shape[-1]
    vectors = old.vectors
    along = h @ vectors
    present = along.square().mean(-2)
    total = h.square().sum((-2, -1)) / k
    beyond = (total - present.sum(-1)).clamp(min=0)
    variances = torch.lerp(present, old.variances, _KEPT)
    rest = torch.lerp(beyond / max(m - r, 1), old.rest, _KEPT)
    smallest = _SMALLEST * rest.unsqueeze(-1)
    ratio = rest.unsqueeze(-1) / torch.maximum(variances, smallest)
    squared_factors = torch.where(smallest > 0, ratio, 1)
    new_total = beyond + (present * squared_factors).sum(-1)
    length = torch.where(new_total > 0, total / new_total, 1).sqrt().view(-1, 1, 1)
    change = along * (squared_factors.sqrt() - 1).unsqueeze(-2)
    treated = torch.baddbmm(h, change, vectors.mT) * length
    moved = torch.baddbmm(
        vectors * (_KEPT * variances + _TINY).unsqueeze(-2), h.mT, along, alpha=(1 - _KEPT) / k
    )
    return treated, Directions(orthonormal(moved), variances, rest)


def orthonormal(x: Tensor) -> Tensor:
    """Return x (B, m, r) with orthonormal columns, from two Cholesky factorizations of x^T x."""
    x = x / torch.linalg.vector_norm(x, dim=-2, keepdim=True)
    for _ in range(2):
        gram = x.mT @ x
        gram.diagonal(dim1=-2, dim2=-1).add_(gram.shape[-1] * torch.finfo(x.dtype).eps)
        factor, _info = torch.linalg.cholesky_ex(gram)
        x = torch.linalg.solve_triangular(factor.mT, x, upper=True, left=False)
    return x
