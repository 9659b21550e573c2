"""One step of one weight and the bias that shares its blocks."""

import math
from typing import Any

import torch
from torch import Tensor

from blockmat.optim.torch.cores import Cores
from blockmat.optim.torch.due import Due
from blockmat.optim.torch.grafting import graft
from blockmat.optim.torch.structure import STRUCTURES
from blockmat.optim.torch.symmetric import Decomposition
from blockmat.optim.torch.updates import gradient_of, limit, momentum_buffer, shrink
from blockmat.optim.torch.weight import Weight


class WeightStep:
    """A step of a weight: construct it to read the gradient, then measure, renew and update.

    Nothing is changed before `measure`.

    Parameters
    ----------
    group : dict
        The options.
    weight : Weight
        The weight, with the bias in its blocks.
    states : mapping
        The state of the optimizer. That of the weight holds the cores.

    Attributes
    ----------
    checked : Tensor
        Numbers that are finite if all that the step adds up is.
    due : Due
        What the step renews.
    """

    def __init__(self, group: dict[str, Any], weight: Weight, states: Any) -> None:
        self.group, self.weight = group, weight
        self.params, self.ranks = weight.members, weight.ranks
        self.states = [states[p.whole] for p in self.params]
        self.state = states[weight.weight.whole]
        self.due = Due(self.state, group)
        self.gradients = weight.parts([gradient_of(p, group) for p in self.params])
        structure = STRUCTURES[group["structure"]]
        self.gradient = structure.gradient(weight, self.gradients, self.due, group)
        self.dtype = self.gradients[0].dtype
        self.saved = self.state  # or what it will be
        if "step" not in self.state:
            device = self.gradients[0].device
            zeros = Cores.zeros(weight.n_blocks, structure.within, self.dtype, device)
            self.saved = {"step": 0, "measured": 0, "refreshed": 0, **zeros}
        self.cores = Cores(self.saved, structure.within, weight.sizes)
        self.checked = self.gradient.bound(self.cores, self.state)

    def measure(self) -> None:
        """Scale the gradient, and add it to the cores if it is their turn."""
        gradient, due = self.gradient, self.due
        self.state.update(self.saved)
        self.state["step"] = due.step
        gradient.scale(self.state)
        if due.statistics:
            self.cores.add(gradient.sums, gradient, due.added, due.kept)
            self.state["measured"] = due.step

    def to_decompose(self) -> list[Tensor]:
        """Return the symmetric matrices that `keep_roots` needs decomposed."""
        return self.cores.to_decompose()

    def keep_roots(self, found: list[Decomposition]) -> None:
        """Renew the roots from the decompositions."""
        eps = max(torch.finfo(p.whole.grad.dtype).eps for p in self.params)  # type: ignore[union-attr]
        scale = math.sqrt(self.due.total_weight)
        self.cores.keep_roots(found, self.group["damping"], scale, eps)
        self.state["refreshed"] = self.due.step

    def update(self) -> None:
        """Change the parameters."""
        group, weight, gradient = self.group, self.weight, self.gradient
        params = [p.own for p in self.params]
        shrink(params, group)
        is_bounded = not math.isinf(group["max_change"])
        is_final = not (is_bounded or group["nesterov"] or group["grafting"])
        if is_final and gradient.adds_in_place:
            self._add_update_in_place(params)
            return
        updates = [torch.zeros_like(part) for part in gradient.parts]
        self._add_update(updates, 1)
        if group["grafting"] is not None:
            graft(updates, self.gradients, weight.sizes, self.state, self.due, group)
        if is_bounded:
            at_least = math.sqrt(len(self.params[0].whole))
            length = weight.length(params, [], self.dtype).clamp(min=at_least)
            update_length = weight.length(*gradient.split(updates), self.dtype)
            torch._foreach_mul_(updates, limit(length, update_length, group))
        self._descend(weight.entries(gradient.separated(updates)))

    def _descend(self, updates: list[Tensor]) -> None:
        """Subtract updates, or the momentum with them, from the parameters."""
        lr, momentum = float(self.group["lr"]), self.group["momentum"]
        for p, state, own in zip(self.params, self.states, updates, strict=True):
            update = own
            if momentum:
                buffer = momentum_buffer(p, state, own.dtype).mul_(momentum).add_(own)
                update = own.add(buffer, alpha=momentum) if self.group["nesterov"] else buffer
            p.own.add_(update, alpha=-lr)

    def _add_update_in_place(self, params: list[Tensor]) -> None:
        """Add the update to the momentum, or to the parameters, without a copy of it."""
        lr, momentum = float(self.group["lr"]), self.group["momentum"]
        if not momentum and all(p.is_contiguous() and p.dtype == self.dtype for p in params):
            self._add_update(self.weight.parts(params), -lr)
            return
        if momentum:
            pairs = zip(self.params, self.states, strict=True)
            into = [momentum_buffer(p, state, self.dtype).mul_(momentum) for p, state in pairs]
        else:
            into = [torch.zeros(p.shape, dtype=self.dtype, device=p.device) for p in params]
        self._add_update(self.weight.parts(into), 1)
        for p, update in zip(params, into, strict=True):
            p.add_(update, alpha=-lr)

    def _add_update(self, targets: list[Tensor], scale: float) -> None:
        """Add `scale` times the preconditioned gradient to parts."""
        gradient, blocks = self.gradient, self.weight.own_blocks
        self.cores.precondition(gradient.sums, gradient.parts, targets, scale, blocks)
