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
_SMALLEST, _LARGEST = 0.1, 4.0  # variances of directions, relative to that of the rest
_LONGEST = 3  # the change of a direction at a step, relative to it, before they are orthonormal
_TINY = 1e-12  # keeps directions without any variance, which is about 1 for whitened gradients


class Directions(NamedTuple):
    """Directions V (B, m, r), their variances (B, r), and the variance of the rest (B,)."""

    vectors: Tensor
    variances: Tensor
    rest: Tensor


def treat(h: Tensor, scales: Tensor, squares: Tensor, old: Directions) -> tuple[Tensor, Directions]:
    """Divide H = `h` (B, k, m) times `scales` (B, m) by the root of that matrix, and keep its norm.

    `squares` (B, m) are the mean squares of the columns of `h`. Return also the directions after one
    step of subspace iteration.
    """
    k, m = h.shape[-2:]
    r = old.variances.shape[-1]
    vectors, column = old.vectors, scales.unsqueeze(-1)
    along = h @ (vectors * column)
    present = along.square().mean(-2)
    total = (squares * scales.square()).sum(-1)
    beyond = (total - present.sum(-1)).clamp(min=0)
    variances = torch.lerp(present, old.variances, _KEPT)
    rest = torch.lerp(beyond / max(m - r, 1), old.rest, _KEPT)
    relative = variances / torch.where(rest > 0, rest, 1).unsqueeze(-1)
    factors = torch.where(rest.unsqueeze(-1) > 0, 1 / relative.clamp(_SMALLEST, _LARGEST), 1)
    new_total = beyond + (present * factors).sum(-1)
    length = torch.where(new_total > 0, total / new_total, 1).sqrt().unsqueeze(-1)
    treated = h * (scales * length).unsqueeze(-2)
    beside = (factors.sqrt() - 1) * length
    treated.baddbmm_(along * beside.unsqueeze(-2), vectors.mT)
    change = (h.mT @ along) * (column * ((1 - _KEPT) / k))
    least = torch.linalg.vector_norm(change, dim=-2) / _LONGEST + _TINY
    kept = torch.maximum(_KEPT * variances, least)  # otherwise directions could become parallel
    moved = change.addcmul_(vectors, kept.unsqueeze(-2))
    return treated, Directions(orthonormal(moved), variances, rest)


def orthonormal(x: Tensor) -> Tensor:
    """Return x (B, m, r) with orthonormal columns, from a Cholesky factorization of x^T x."""
    x = x / torch.linalg.vector_norm(x, dim=-2, keepdim=True)
    gram = x.mT @ x
    gram.diagonal(dim1=-2, dim2=-1).add_(gram.shape[-1] * torch.finfo(x.dtype).eps)
    factor, _info = torch.linalg.cholesky_ex(gram)
    result: Tensor = torch.linalg.solve_triangular(factor.mT, x, upper=True, left=False)
    return result
