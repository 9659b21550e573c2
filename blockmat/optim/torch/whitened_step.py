"""One step of the weights of a group: momentum, whitened by its second moment.

Matrices of equal shapes are one stack, and the cores of all stacks with the same k have one root.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from blockmat.optim.torch.plan import Weight, rate_of
from blockmat.optim.torch.roots import frobenius_norms, inverse_root
from blockmat.optim.torch.stack import StackLayout
from blockmat.optim.torch.whitening import SecondMoment, added, whiten

SPECTRAL_NORM = 18.0  # of an update, per unit of the rate (:ref:`theory-momentum`)
MOMENTS = ("core", "norm", "scales", "directions", "variances", "rest")
_NORM_KEPT = 0.99  # of the running mean of the norm of a core at a step
_SMALL = 0.01  # a core counts with at least this part of that mean


class _Stack(NamedTuple):
    """Weights with equal k and m, as one batch.

    The momenta (B, k, m) are sums of gradients whose weights add up to `weight` (B,); `steps` (B,)
    are the numbers of steps.
    """

    places: list[int]
    sizes: list[int]
    momenta: Tensor
    weight: Tensor
    moments: SecondMoment
    steps: Tensor


def step_of_weights(
    group: dict[str, Any], weights: list[Weight], states: Any, counts: Tensor | float
) -> None:
    """Make a step of weights on one device.

    `counts` is 1, or 0 if nothing must change; then the gradients are zero.
    """
    saved = [_initialized(states[w.parameter.whole], group, w) for w in weights]
    ahead = _momenta(group, weights, saved, counts)
    alike: dict[Any, list[int]] = {}
    for i, w in enumerate(weights):
        r = saved[i]["variances"].shape[-1]  # the option may have changed
        alike.setdefault((w.layout.k, w.layout.m, r, w.gradient.dtype), []).append(i)
    stacks = [_stack(group, places, weights, saved, ahead) for places in alike.values()]
    beta, damping = group["betas"][1], group["damping"]
    cores = [added(s.momenta, s.weight, s.moments, beta, damping) for s in stacks]
    roots, norms = _roots(cores, stacks, beta, damping)
    own = [w.parameter.own for w in weights]
    if group["weight_decay"]:
        torch._foreach_mul_(own, 1 - rate_of(group) * group["weight_decay"] * counts)
    for stack, core, root, norm in zip(stacks, cores, roots, norms, strict=True):
        renewed = stack.moments._replace(core=core, norm=norm)
        whitened, new = whiten(stack.momenta, root, renewed, beta, damping)
        for name, value in zip(MOMENTS, new.tensors(), strict=True):
            targets = [saved[i][name] for i in stack.places]
            _keep(targets, list(torch.split(value, stack.sizes)), counts)
        for i, part in zip(stack.places, torch.split(whitened, stack.sizes), strict=True):
            layout = weights[i].layout
            update = weights[i].parameter.own_of(layout.parameter(part))
            rate = SPECTRAL_NORM * layout.scale * rate_of(group) * counts
            if isinstance(counts, Tensor):
                own[i].sub_(torch.where(counts > 0, update * rate, 0))
            elif isinstance(rate, Tensor):
                own[i].sub_(update * rate)
            else:
                own[i].add_(update, alpha=-rate)


def shapes(layout: StackLayout, r: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the state of a weight with r directions, apart from the momentum."""
    n, k, m = layout.n, layout.k, layout.m
    return dict(zip(MOMENTS, ((n, k, k), (n,), (n, m), (n, m, r), (n, r), (n,)), strict=True)) | {
        "step": ()
    }


def rank(layout: StackLayout, n_directions: int) -> int:
    """Return how many directions a weight has."""
    return min(n_directions, layout.k // 4)


def _initialized(state: dict[str, Any], group: dict[str, Any], w: Weight) -> dict[str, Any]:
    if not state:
        g, layout = w.gradient, w.layout
        r = rank(layout, group["n_directions"])
        zero = SecondMoment.zeros(layout.n, layout.k, layout.m, r, g)
        state.update(zip(MOMENTS, zero.tensors(), strict=True))
        state["step"] = torch.zeros((), dtype=torch.float32, device=g.device)
        zeros = torch.zeros(g.shape, dtype=g.dtype, device=g.device)
        state["momentum"] = w.parameter.wrapped(zeros)
    return state


def _momenta(
    group: dict[str, Any],
    weights: list[Weight],
    saved: list[dict[str, Any]],
    counts: Tensor | float,
) -> list[Tensor]:
    """Add the gradients to the running means, and return what is whitened, on this rank."""
    b1 = group["betas"][0]
    gradients = [w.gradient for w in weights]
    means = [w.parameter.local(s["momentum"]) for w, s in zip(weights, saved, strict=True)]
    torch._foreach_add_([state["step"] for state in saved], counts)
    torch._foreach_mul_(means, 1 - (1 - b1) * counts)
    torch._foreach_add_(means, gradients, alpha=1 - b1)
    if not group["nesterov"]:
        return means
    ahead = list(torch._foreach_mul(means, b1))
    torch._foreach_add_(ahead, gradients, alpha=1 - b1)
    return ahead


def _stack(
    group: dict[str, Any],
    places: list[int],
    weights: list[Weight],
    saved: list[dict[str, Any]],
    ahead: list[Tensor],
) -> _Stack:
    """Return weights with equal k and m as one stack."""
    layouts = [weights[i].layout for i in places]
    parts = [
        layout.stack(weights[i].parameter.whole_of(ahead[i]))
        for i, layout in zip(places, layouts, strict=True)
    ]
    moments = SecondMoment.of([_joined([saved[i][name] for i in places]) for name in MOMENTS])
    sizes = [layout.n for layout in layouts]
    steps = torch.cat([saved[i]["step"].expand(n) for i, n in zip(places, sizes, strict=True)])
    steps = steps.to(parts[0].dtype).clamp(min=1)
    weight = 1 - group["betas"][0] ** (steps + 1 if group["nesterov"] else steps)
    return _Stack(places, sizes, _joined(parts), weight, moments, steps)


def _roots(
    cores: list[Tensor], stacks: list[_Stack], beta: float, damping: float
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the damped inverse roots of the cores, and the running means of their norms.

    All cores of equal size have them in one call. The roots are divided by the weights of the momenta.
    Where a core has become small, its root does not grow any more, so that updates fade with the
    momentum (:ref:`theory-momentum`).
    """
    alike: dict[Any, list[int]] = {}
    for i, core in enumerate(cores):
        alike.setdefault((core.shape[-1], core.dtype), []).append(i)
    roots: dict[int, Tensor] = {}
    norms: dict[int, Tensor] = {}
    for places in alike.values():
        sizes = [len(cores[i]) for i in places]
        steps, weight, norm = (
            _joined(parts)
            for parts in zip(
                *((stacks[i].steps, stacks[i].weight, stacks[i].moments.norm) for i in places),
                strict=True,
            )
        )
        core = _joined([cores[i] for i in places]) / (1 - beta**steps).view(-1, 1, 1)
        present = frobenius_norms(core)
        norm = torch.lerp(present, norm, _NORM_KEPT)
        root = inverse_root(core, torch.maximum(present, _SMALL * norm), damping)
        root = root / weight.view(-1, 1, 1)
        roots.update(zip(places, torch.split(root, sizes), strict=True))
        norms.update(zip(places, torch.split(norm, sizes), strict=True))
    return [roots[i] for i in range(len(cores))], [norms[i] for i in range(len(cores))]


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(tuple(parts))


def _keep(targets: list[Tensor], new: list[Tensor], counts: Tensor | float) -> None:
    if isinstance(counts, Tensor):
        new = [torch.where(counts > 0, n, t) for n, t in zip(new, targets, strict=True)]
    torch._foreach_copy_(targets, new)
