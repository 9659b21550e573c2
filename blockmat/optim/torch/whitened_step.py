"""One step of a stack of weights with equal shapes: momentum, whitened by its second moment."""

from typing import Any

import torch
from torch import Tensor

from blockmat.optim.torch.stack import StackLayout
from blockmat.optim.torch.weight import Parameter
from blockmat.optim.torch.whitening import SecondMoment, whiten

SPECTRAL_NORM = 18.0  # of an update, per unit of the rate (:ref:`theory-momentum`)
MOMENTS = ("core", "scales", "directions", "variances", "rest")


def step_of_weights(
    group: dict[str, Any],
    layout: StackLayout,
    params: list[Parameter],
    gradients: list[Tensor],
    states: Any,
    counts: Tensor | float,
) -> None:
    """Make a step of weights that are alike.

    `counts` is 1, or 0 if nothing must change; then the gradients are zero.
    """
    b1, beta = group["betas"]
    own = [p.own for p in params]
    saved = [states[p.whole] for p in params]
    for p, g, state in zip(params, gradients, saved, strict=True):
        if not state:
            state.update(_zeros(group, layout, p, g))
    momenta = [p.local(state["momentum"]) for p, state in zip(params, saved, strict=True)]
    steps = [state["step"] for state in saved]
    torch._foreach_add_(steps, counts)
    torch._foreach_mul_(momenta, 1 - (1 - b1) * counts)
    torch._foreach_add_(momenta, gradients, alpha=1 - b1)
    ahead = momenta
    if group["nesterov"]:
        ahead = list(torch._foreach_mul(momenta, b1))
        torch._foreach_add_(ahead, gradients, alpha=1 - b1)
    whole = [layout.stack(p.whole_of(u)) for p, u in zip(params, ahead, strict=True)]
    old = SecondMoment.of([_joined([state[name] for state in saved]) for name in MOMENTS])
    step = torch.stack(steps).to(whole[0].dtype).repeat_interleave(layout.n)
    # The momentum is a sum of gradients with weights that add up to this.
    weight = 1 - b1 ** (step + 1 if group["nesterov"] else step)
    stack = _joined(whole) / weight.view(-1, 1, 1)
    whitened, new = whiten(stack, old, step, beta, group["damping"])
    for name, value in zip(MOMENTS, new.tensors(), strict=True):
        for state, part in zip(saved, torch.split(value, layout.n), strict=True):
            _keep(state[name], part, counts)
    if group["weight_decay"]:
        torch._foreach_mul_(own, 1 - group["lr"] * group["weight_decay"] * counts)
    rate = SPECTRAL_NORM * layout.scale * group["lr"] * counts
    for p, part in zip(params, torch.split(whitened, layout.n), strict=True):
        update = p.own_of(layout.parameter(part))
        if isinstance(rate, Tensor):
            p.own.sub_(update * rate)
        else:
            p.own.add_(update, alpha=-rate)


def shapes(layout: StackLayout, n_directions: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the state of a weight, apart from the momentum."""
    n, k, m, r = layout.n, layout.k, layout.m, rank(layout, n_directions)
    return dict(zip(MOMENTS, ((n, k, k), (n, m), (n, m, r), (n, r), (n,)), strict=True)) | {
        "step": ()
    }


def rank(layout: StackLayout, n_directions: int) -> int:
    """Return how many directions a weight has."""
    return min(n_directions, layout.k // 4)


def _zeros(group: dict[str, Any], layout: StackLayout, p: Parameter, g: Tensor) -> dict[str, Any]:
    r = rank(layout, group["n_directions"])
    zero = SecondMoment.zeros(layout.n, layout.k, layout.m, r, g)
    state: dict[str, Any] = dict(zip(MOMENTS, zero.tensors(), strict=True))
    state["step"] = torch.zeros((), device=g.device)
    state["momentum"] = p.wrapped(torch.zeros(g.shape, dtype=g.dtype, device=g.device))
    return state


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _keep(target: Tensor, new: Tensor, counts: Tensor | float) -> None:
    target.copy_(torch.where(counts > 0, new, target) if isinstance(counts, Tensor) else new)
