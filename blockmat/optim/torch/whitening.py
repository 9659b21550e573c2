"""The step of BlockAdamW for a stack of weights: momentum, whitened by a running second moment.

A weight is a matrix U (k, m) with its shorter side first; equal shapes are a stack (B, k, m). The
second moment of its entries is taken as ``S (D (x) W) S``: a core D (k, k) between the rows, S =
``diag(s)^(1/2)`` on the columns, and W of `directions` (:ref:`theory-momentum`).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from blockmat.optim.torch.directions import Directions, treat


class SecondMoment(NamedTuple):
    """Running means: the core D (B, k, k), its norm (B,), the scales s (B, m), and the directions.

    The norm has a longer memory. It tells when the momentum becomes small.
    """

    core: Tensor
    norm: Tensor
    scales: Tensor
    directions: Directions

    @classmethod
    def zeros(cls, n: int, k: int, m: int, r: int, like: Tensor) -> "SecondMoment":
        """Return the moments before the first step, with arbitrary orthonormal directions."""
        places = torch.arange(1.0, m + 1, dtype=torch.float64, device=like.device)
        waves = torch.cos(
            torch.outer(
                (places - 0.5) * (torch.pi / m),
                torch.arange(1.0, r + 1, dtype=torch.float64, device=like.device),
            )
        )
        vectors = torch.linalg.qr(waves)[0].to(like).expand(n, m, r)
        directions = Directions(vectors.contiguous(), like.new_zeros(n, r), like.new_zeros(n))
        return cls(like.new_zeros(n, k, k), like.new_zeros(n), like.new_zeros(n, m), directions)

    @classmethod
    def of(cls, tensors: "list[Tensor]") -> "SecondMoment":
        """Return the moments from what `tensors` returned."""
        core, norm, scales, *directions = tensors
        return cls(core, norm, scales, Directions(*directions))

    def tensors(self) -> "list[Tensor]":
        """Return the core, norm, scales, directions, their variances and that of the rest."""
        return [self.core, self.norm, self.scales, *self.directions]


def added(u: Tensor, weight: Tensor, old: SecondMoment, beta: float, damping: float) -> Tensor:
    """Return the running mean of ``X X^T / m``, X being U with scaled columns.

    The weights are ``U = u / weight`` (B, k, m).
    """
    x = u * (inverse_scales(old.scales, damping) / weight.unsqueeze(-1)).unsqueeze(-2)
    return torch.baddbmm(old.core, x, x.mT, beta=beta, alpha=(1 - beta) / u.shape[-1])


def whiten(
    u: Tensor, root: Tensor, old: SecondMoment, beta: float, damping: float
) -> tuple[Tensor, SecondMoment]:
    """Return ``root @ u`` (B, k, m) with whitened columns, and the new scales and directions.

    Core and scales are those of maximum likelihood, each given the other: the core is the mean of
    ``X X^T / m``, and the scales that of the squares of the columns of ``D^(-1/2) U``.
    """
    h = root @ u
    squares = h.square().mean(-2)
    scales = torch.lerp(squares, old.scales, beta)
    inverse, directions = inverse_scales(scales, damping), old.directions
    if directions.variances.shape[-1]:
        h, directions = treat(h, inverse, squares, directions)
    else:
        h = h * inverse.unsqueeze(-2)
    return h, old._replace(scales=scales, directions=directions)


def inverse_scales(scales: Tensor, damping: float) -> Tensor:
    """Return the inverse roots of scales (B, m) relative to their mean; 1 before the first step."""
    mean = scales.mean(-1, keepdim=True)
    relative = torch.where(mean > 0, scales / mean, 1)
    damped: Tensor = relative + damping * relative.amax(-1, keepdim=True)
    return damped.rsqrt()
