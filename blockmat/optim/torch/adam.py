"""One step of Adam for the parameters that are no matrices."""

from typing import Any

import torch
from torch import Tensor

from blockmat.optim.torch.plan import Other, rate_of
from blockmat.optim.torch.weight import Parameter

ADAM_RATE = 5.0  # relative to the rate of matrices (:ref:`theory-momentum`)
LIKE_PARAMETER = ("exp_avg", "exp_avg_sq")


def step_of_others(
    group: dict[str, Any],
    entries: list[Other],
    states: Any,
    counts: Tensor | float,
) -> None:
    """Make a step of Adam (Kingma and Ba, arXiv:1412.6980) with `ADAM_RATE` times the rate.

    `counts` is 1, or 0 if nothing must change; then the gradients are zero.
    """
    b1, b2 = group["adam_betas"]
    params, gradients = [e.parameter for e in entries], [e.gradient for e in entries]
    own = [p.own for p in params]
    saved = [_initialized(states[p.whole], p, g) for p, g in zip(params, gradients, strict=True)]
    means, squares = (
        [p.local(state[name]) for p, state in zip(params, saved, strict=True)]
        for name in LIKE_PARAMETER
    )
    steps = [state["step"] for state in saved]
    torch._foreach_add_(steps, counts)
    torch._foreach_mul_(means, 1 - (1 - b1) * counts)
    torch._foreach_add_(means, gradients, alpha=1 - b1)
    torch._foreach_mul_(squares, 1 - (1 - b2) * counts)
    torch._foreach_addcmul_(squares, gradients, gradients, 1 - b2)
    has_double = any(g.dtype == torch.float64 for g in gradients)
    dtype = torch.float64 if has_double else torch.float32
    step = torch.stack(steps).to(dtype).clamp(min=1)
    root = (1 - b2**step).sqrt()
    denominators = torch._foreach_sqrt(squares)
    torch._foreach_add_(denominators, list((group["eps"] * root).unbind()))
    updates = torch._foreach_div(means, denominators)
    rate = ADAM_RATE * rate_of(group) * counts
    torch._foreach_mul_(updates, list((rate * root / (1 - b1**step)).unbind()))
    if group["decay_all"] and group["weight_decay"]:
        torch._foreach_mul_(own, 1 - rate_of(group) * group["weight_decay"] * counts)
    torch._foreach_sub_(own, updates)


def _initialized(state: dict[str, Any], p: Parameter, gradient: Tensor) -> dict[str, Any]:
    if not state:
        state["step"] = torch.zeros((), dtype=torch.float32, device=gradient.device)
        for name in LIKE_PARAMETER:
            zeros = torch.zeros(gradient.shape, dtype=gradient.dtype, device=gradient.device)
            state[name] = p.wrapped(zeros)
    return state
