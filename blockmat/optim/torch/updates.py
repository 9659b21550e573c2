"""What the steps of weights and of vectors have in common: weight decay, momentum and the rate."""

from typing import Any

import torch
from torch import Tensor

from blockmat.optim.torch.gradients import gradient_of
from blockmat.optim.torch.weight import Parameter

State = dict[str, Any]


def decayed_gradient(p: Parameter, group: dict[str, Any]) -> Tensor:
    """Return what to descend along on this rank, with the weight decay that is coupled to it."""
    g = gradient_of(p, group["maximize"])
    if group["weight_decay"] and not group["decoupled_weight_decay"]:
        g = g.add(p.own, alpha=group["weight_decay"])
    return g


def shrink(params: list[Tensor], group: dict[str, Any]) -> None:
    """Apply decoupled weight decay."""
    if group["decoupled_weight_decay"] and group["weight_decay"]:
        torch._foreach_mul_(params, 1 - float(group["lr"]) * group["weight_decay"])


def descend(
    params: list[Parameter], states: list[State], updates: list[Tensor], group: dict[str, Any]
) -> None:
    """Subtract updates, or the momentum with them, from parameters. The updates may change."""
    momentum = group["momentum"]
    if momentum:
        triples = zip(params, states, updates, strict=True)
        buffers = [momentum_buffer(p, state, u.dtype) for p, state, u in triples]
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, updates)
        if group["nesterov"]:
            torch._foreach_add_(updates, buffers, alpha=momentum)
        else:
            updates = buffers
    torch._foreach_add_([p.own for p in params], updates, alpha=-float(group["lr"]))


def momentum_buffer(p: Parameter, state: State, dtype: torch.dtype) -> Tensor:
    """Return the sum of past updates on this rank, contiguous even if the parameter is not."""
    if "momentum_buffer" not in state:
        zeros = torch.zeros(p.own.shape, dtype=dtype, device=p.own.device)
        state["momentum_buffer"] = p.wrapped(zeros)
    return p.local(state["momentum_buffer"])
