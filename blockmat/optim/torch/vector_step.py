"""One step of the parameters of a group that have one number per entry, or per row."""

import math
from typing import Any

import torch
from torch import Tensor

from blockmat.optim.schedule import factors, total_weight
from blockmat.optim.torch.ranks import ALONE, ranks_of_all
from blockmat.optim.torch.updates import EPS, gradient_of, limit, momentum_buffer, shrink
from blockmat.optim.torch.weight import Parameter, lengths_of


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
        self.own = [p.own for p in params]
        self.ranks = ranks_of_all(p.ranks for p in params)
        self.is_cut = [p.ranks is not ALONE for p in params]
        self.gradients = [gradient_of(p, group) for p in params]
        self.totals = self._sums_of_squares()
        largest = torch.stack([t.max() if t.numel() else t.sum() for t in self.totals])
        self.checked = self.ranks.add_up_once(largest, self.is_cut)

    def update(self) -> None:
        """Change the parameters."""
        group, lr, momentum = self.group, float(self.group["lr"]), self.group["momentum"]
        shrink(self.own, group)
        updates = self._preconditioned()
        if not math.isinf(group["max_change"]):
            self._shorten(updates)
        if momentum:
            triples = zip(self.params, self.states, updates, strict=True)
            buffers = [momentum_buffer(p, state, u.dtype) for p, state, u in triples]
            torch._foreach_mul_(buffers, momentum)
            torch._foreach_add_(buffers, updates)
            if group["nesterov"]:
                torch._foreach_add_(updates, buffers, alpha=momentum)
            else:
                updates = buffers
        torch._foreach_add_(self.own, updates, alpha=-lr)

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

    def _shorten(self, updates: list[Tensor]) -> None:
        """Shorten updates that are too long."""
        n_rows = [len(p.whole) if p.whole.ndim else 1 for p in self.params]
        at_least = updates[0].new_tensor(n_rows).sqrt()
        lengths = self._lengths(self.own, at_least.dtype)
        update_lengths = self._lengths(updates, at_least.dtype)
        shorter = limit(torch.maximum(lengths, at_least), update_lengths, self.group)
        torch._foreach_mul_(updates, list(shorter.unbind()))

    def _lengths(self, tensors: list[Tensor], dtype: torch.dtype) -> Tensor:
        return self.ranks.lengths(lengths_of(tensors, dtype), self.is_cut)
