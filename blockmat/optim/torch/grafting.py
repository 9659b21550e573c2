"""Updates with the length of simpler ones."""

import math
from typing import Any

import torch
from torch import Tensor

from blockmat.optim.schedule import factors
from blockmat.optim.torch.due import Due
from blockmat.optim.torch.updates import EPS
from blockmat.optim.torch.weight import length_of
from blockmat.optim.torch.within import Sizes


def graft(
    updates: list[Tensor],
    gradients: list[Tensor],
    sizes: Sizes,
    state: dict[str, Any],
    due: Due,
    group: dict[str, Any],
) -> None:
    """Give updates the length of AdaGrad with one number per block ("row") or per entry.

    Gradients are parts (k, m_i) of a whole weight.
    """
    by_row = group["grafting"] == "row"
    kept, added = factors(group["decay"], 1)
    squares = [part.square() for part in gradients]
    if by_row:
        n = sizes.unsqueeze(1) if isinstance(sizes, Tensor) else sizes
        squares = [torch.cat(squares, dim=1).sum(1, keepdim=True) / n]
    if "graft" not in state:
        state["graft"] = [torch.zeros_like(square) for square in squares]
    sums = state["graft"]
    for total, square in zip(sums, squares, strict=True):
        total.mul_(kept).add_(square, alpha=added)
    roots = [total.sqrt().add_(EPS) for total in sums]
    if by_row:
        roots = roots * len(gradients)
    dtype = roots[0].dtype
    simple = [part / root for part, root in zip(gradients, roots, strict=True)]
    wanted = length_of(simple, dtype) * math.sqrt(due.total_weight)
    length = length_of(updates, dtype)
    torch._foreach_mul_(updates, torch.where(length > 0, wanted / length, 0))
