"""What a step of `BlockAdamW` reads: the gradients, and whether they are finite."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from blockmat.exceptions import NonFiniteError
from blockmat.optim.torch.finite import Label, require_finite_gradients
from blockmat.optim.torch.gradients import gradient_of, require_shape
from blockmat.optim.torch.parameters import parameter_of
from blockmat.optim.torch.ranks import ranks_of_all
from blockmat.optim.torch.stack import StackLayout
from blockmat.optim.torch.weight import Parameter

Layouts = dict[Any, StackLayout]  # by what they are made from


class Other(NamedTuple):
    """A parameter that gets Adam, and its gradient on this rank."""

    parameter: Parameter
    gradient: Tensor


class Weight(NamedTuple):
    """A parameter that is a matrix, its gradient on this rank, and its layout."""

    parameter: Parameter
    gradient: Tensor
    layout: StackLayout


class Plan(NamedTuple):
    """The parameters of a group on one device that have a gradient."""

    group: dict[str, Any]
    weights: list[Weight]
    others: list[Other]

    @property
    def parameters(self) -> list[Parameter]:
        """All parameters."""
        return [w.parameter for w in self.weights] + [o.parameter for o in self.others]

    @property
    def gradients(self) -> list[Tensor]:
        """All gradients."""
        return [w.gradient for w in self.weights] + [o.gradient for o in self.others]

    def zeroed(self, counts: Tensor | float) -> Tensor | float:
        """Replace gradients by zeros if `counts` is a tensor 0, and return it on their device."""
        if not isinstance(counts, Tensor):
            return counts
        own = counts.to(self.gradients[0].device)
        self.weights[:] = [
            w._replace(gradient=torch.where(own > 0, w.gradient, 0)) for w in self.weights
        ]
        self.others[:] = [
            o._replace(gradient=torch.where(own > 0, o.gradient, 0)) for o in self.others
        ]
        return own


def plans_of(group: dict[str, Any], layouts: Layouts, states: Any) -> list[Plan]:
    """Read the gradients of a group; change nothing but `layouts`, to which new ones are added.

    Raise `ValueError` if a state is of another layout.
    """
    plans: dict[torch.device, Plan] = {}
    for p, n in zip(group["params"], group["n_matrices"], strict=True):
        if p.grad is None:
            continue
        parameter = parameter_of(p)
        g = gradient_of(parameter, group["maximize"])
        plan = plans.setdefault(g.device, Plan(group, [], []))
        state = states.get(p, {})
        require_shape(p, state.get("exp_avg" if n == 0 else "momentum"))
        if n == 0:
            plan.others.append(Other(parameter, g))
            continue
        key = (tuple(p.shape), n, group["max_blocks"])
        if key not in layouts:
            layouts[key] = StackLayout(*key)
        layout = layouts[key]
        if state and state["core"].shape[:2] != (layout.n, layout.k):
            raise ValueError(
                f"max_blocks is {group['max_blocks']!r}; expected what it was at the first step"
            )
        plan.weights.append(Weight(parameter, g, layout))
    return list(plans.values())


def rate_of(group: dict[str, Any]) -> Tensor | float:
    """Return the rate, as a number or a tensor with no dimension."""
    lr: Tensor | float = group["lr"]
    return lr.reshape(()) if isinstance(lr, Tensor) else lr


def finite_counts(plans: list[Plan], label: Label) -> Tensor | float | None:
    """Return 1 if all gradients are finite and None if not, or raise `NonFiniteError`.

    Return a tensor, 1 or 0, if asking would wait for a device.
    """
    flags = []
    for plan in plans:
        norms = torch._foreach_norm(plan.gradients)
        dtype = norms[0].dtype
        total = torch.stack([n if n.dtype == dtype else n.to(dtype) for n in norms]).sum()
        # Scaled columns are up to 1 / sqrt(damping) times longer; their squares must not overflow.
        total = (total / math.sqrt(plan.group["damping"])).square()
        ranks = ranks_of_all(p.ranks for p in plan.parameters)
        flags.append(torch.isfinite(ranks.add_up(total)))
    on_host = all(flag.device.type == "cpu" for flag in flags)
    wishes = [plan.group["on_nonfinite"] for plan in plans]
    if flags and (torch.compiler.is_compiling() or not (on_host or "raise" in wishes)):
        return torch.stack([flag.to(flags[0].device) for flag in flags]).all().float()
    bad = [plan for plan, flag in zip(plans, flags, strict=True) if not bool(flag)]
    not_skipped = [plan for plan in bad if plan.group["on_nonfinite"] != "skip"]
    if not_skipped:
        for plan in not_skipped:
            own = {p.whole for p in plan.parameters}
            require_finite_gradients([p for p in plan.group["params"] if p in own], label)
        raise NonFiniteError(
            "a gradient contains NaN or infinity, or its squares overflow; expected smaller numbers"
        )
    return None if bad else 1.0
