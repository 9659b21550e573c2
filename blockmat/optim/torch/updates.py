"""What the steps of weights and of vectors have in common."""

from typing import Any

import torch
from torch import Tensor

from blockmat.exceptions import DtypeError
from blockmat.optim.torch.weight import Parameter

EPS = 1e-10  # added to the roots of single numbers, as torch.optim.Adagrad does

State = dict[str, Any]


def gradient_of(p: Parameter, group: dict[str, Any]) -> Tensor:
    """Return what to descend along on this rank, in at least single precision.

    The gradient of the parameter is not changed.
    """
    g = p.own_gradient
    if g.layout != torch.strided:
        raise DtypeError(f"a gradient of shape {tuple(g.shape)} is sparse; expected a dense one")
    if g.dtype in (torch.float16, torch.bfloat16):
        g = g.float()
    if group["maximize"]:
        g = -g
    if group["weight_decay"] and not group["decoupled_weight_decay"]:
        g = g.add(p.own, alpha=group["weight_decay"])
    return g


def shrink(params: list[Tensor], group: dict[str, Any]) -> None:
    """Apply decoupled weight decay."""
    if group["decoupled_weight_decay"] and group["weight_decay"]:
        torch._foreach_mul_(params, 1 - float(group["lr"]) * group["weight_decay"])


def limit(length: Tensor, update_length: Tensor, group: dict[str, Any]) -> Tensor:
    """Return the factors, at most 1, that shorten updates which are too long.

    An update that is repeated at every step then changes a parameter, in one step, by no more
    than ``max_change`` times `length` (:ref:`theory-adagrad`).
    """
    in_the_long_run = float(group["lr"]) / (1 - group["momentum"]) * update_length
    factor: Tensor = (group["max_change"] * length / in_the_long_run).clamp(max=1)
    return factor


def momentum_buffer(p: Parameter, state: State, dtype: torch.dtype) -> Tensor:
    """Return the sum of past updates on this rank, contiguous even if the parameter is not."""
    if "momentum_buffer" not in state:
        zeros = torch.zeros(p.own.shape, dtype=dtype, device=p.own.device)
        state["momentum_buffer"] = p.wrapped(zeros)
    return p.local(state["momentum_buffer"])
