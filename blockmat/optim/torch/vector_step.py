"""One step of the parameters of a group that have one number per entry, or per row."""

import math
from typing import Any

import torch
from torch import Tensor

from blockmat.optim.schedule import factors, total_weight
from blockmat.optim.torch.ranks import ALONE, ranks_of_all
from blockmat.optim.torch.updates import decayed_gradient, descend, shrink
from blockmat.optim.torch.weight import Parameter

EPS = 1e-10  # added to the roots of single numbers, as torch.optim.Adagrad does


class VectorStep:
    """A step of parameters without cores: construct it to read the gradients, then update.

    Parameters
    ----------
    group : dict
        The options.
    params : list of Parameter
        The parameters, all with a gradient.
    by_row : list of bool
        Which of them have one number per row.
    states : mapping
        The state of the optimizer.

    Attributes
    ----------
    checked : Tensor
        Numbers that are finite if all that the step adds up is.
    """

    def __init__(
        self, group: dict[str, Any], params: list[Parameter], by_row: list[bool], states: Any
    ) -> None:
        self.group, self.params, self.by_row = group, params, by_row
        self.states = [states[p.whole] for p in params]
        self.ranks = ranks_of_all(p.ranks for p in params)
        self.gradients = [decayed_gradient(p, group) for p in params]
        self.totals = self._sums_of_squares()
        largest = torch.stack([t.max() if t.numel() else t.sum() for t in self.totals])
        self.checked = self.ranks.add_up_once(largest, [p.ranks is not ALONE for p in params])

    def update(self) -> None:
        """Change the parameters."""
        shrink([p.own for p in self.params], self.group)
        descend(self.params, self.states, self._preconditioned(), self.group)

    def _sums_of_squares(self) -> list[Tensor]:
        """Return the sums over all steps so far, with this one."""
        kept, added = factors(self.group["decay"], 1)
        totals = [
            square.mean(dim=tuple(range(1, square.ndim)), keepdim=True) if by_row else square
            for square, by_row in zip(
                torch._foreach_mul(self.gradients, self.gradients), self.by_row, strict=True
            )
        ]
        if added != 1:
            torch._foreach_mul_(totals, added)
        pairs = [
            (total, p.local(state["squares"]))
            for total, p, state in zip(totals, self.params, self.states, strict=True)
            if "squares" in state
        ]
        if pairs:
            new, old = zip(*pairs, strict=True)
            torch._foreach_add_(new, old, alpha=kept)
        return totals

    def _preconditioned(self) -> list[Tensor]:
        """Save the sums of squares, and return the gradients divided by their roots."""
        for p, state, total in zip(self.params, self.states, self.totals, strict=True):
            state["step"] = state.get("step", 0) + 1
            state["squares"] = p.wrapped(total)
        roots = torch._foreach_sqrt(self.totals)
        torch._foreach_add_(roots, EPS)
        updates = torch._foreach_div(self.gradients, roots)
        if self.group["decay"] is not None:
            weights = [total_weight(self.group["decay"], state["step"]) for state in self.states]
            torch._foreach_mul_(updates, [math.sqrt(weight) for weight in weights])
        return list(updates)
