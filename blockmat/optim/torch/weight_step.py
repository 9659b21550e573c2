"""One step of one weight and the bias that shares its blocks."""

import math
from typing import Any

import torch
from torch import Tensor

from blockmat.optim.torch.cores import Cores
from blockmat.optim.torch.due import Due
from blockmat.optim.torch.ranks import ranks_of_all
from blockmat.optim.torch.symmetric import Decomposition, Symmetric
from blockmat.optim.torch.updates import decayed_gradient, descend, momentum_buffer, shrink
from blockmat.optim.torch.weight import Weight
from blockmat.optim.torch.within import STRUCTURES


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
    sums : Tensor
        The block sums of the gradient, (k,).
    squares : Tensor
        Its sums of squares of each block, (k,); only if the step adds them to the cores.
    """

    sums: Tensor
    squares: Tensor

    def __init__(self, group: dict[str, Any], weight: Weight, states: Any) -> None:
        self.group, self.weight = group, weight
        self.params, self.ranks = weight.members, weight.ranks
        self.states = [states[p.whole] for p in self.params]
        self.state = states[weight.weight.whole]
        self.due = Due(self.state, group)
        self.gradients = weight.parts([decayed_gradient(p, group) for p in self.params])
        self.dtype = self.gradients[0].dtype
        within = STRUCTURES[group["structure"]]
        self.saved = self.state  # or what it will be
        if "step" not in self.state:
            device = self.gradients[0].device
            zeros = Cores.zeros(weight.n_blocks, within, self.dtype, device)
            self.saved = {"step": 0, "measured": 0, "refreshed": 0, **zeros}
        elif isinstance(self.state["within"], list) != within.needs_products:
            raise ValueError(
                f"structure is {group['structure']!r}; expected what it was at the first step"
            )
        self.cores = Cores(self.saved, within, weight.sizes)
        self.checked = self._bound()

    def measure(self) -> None:
        """Add the gradient to the cores if it is their turn."""
        due = self.due
        self.state.update(self.saved)
        self.state["step"] = due.step
        if due.statistics:
            self.cores.add(self.sums, self, due.added, due.kept)
            self.state["measured"] = due.step

    def add_products(self, total: Symmetric, weight: float, decay: float) -> None:
        """Multiply a matrix by `decay`, then add `weight` times the products of all blocks."""
        self.weight.add_products(total, self.gradients, weight, decay)

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
        shrink([p.own for p in self.params], self.group)
        if self.weight.adds_in_place and not self.group["nesterov"]:
            self._add_update_in_place()
            return
        updates = [torch.zeros_like(part) for part in self.gradients]
        self._add_update(updates, 1)
        descend(self.params, self.states, self.weight.entries(updates), self.group)

    def _bound(self) -> Tensor:
        """Return numbers that are finite if all that the step adds up is, with the damping.

        No eigenvalue of a core and no product of block sums is larger than the sum of all squares.
        """
        self.sums = self.weight.block_sums(self.gradients)
        if self.due.statistics:
            self.squares = self.weight.block_squares(self.gradients)
            totals = self.due.added * self.squares + self.due.kept * self.cores.within.diagonal()
        else:
            totals = self.sums.square() / self.weight.sizes
        bound = (1 + self.group["damping"]) * totals.sum()
        return torch.cat([self.sums, bound.view(1)])

    def _add_update_in_place(self) -> None:
        """Add the update to the momentum, or to the parameters, without a copy of it."""
        lr, momentum = float(self.group["lr"]), self.group["momentum"]
        params = [p.own for p in self.params]
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
        blocks = self.weight.own_blocks
        self.cores.precondition(self.sums, self.gradients, targets, scale, blocks)


def renew_roots(weights: list[WeightStep]) -> list[WeightStep]:
    """Decompose the cores of weights, those of the same size together, and return where it failed."""
    wanted = [weight.to_decompose() for weight in weights]
    ranks = ranks_of_all(weight.ranks for weight in weights)
    found = iter(ranks.decompose([matrix for own in wanted for matrix in own]))
    failed = []
    for weight, own in zip(weights, wanted, strict=True):
        pairs = [pair for _ in own if (pair := next(found)) is not None]
        if len(pairs) == len(own):
            weight.keep_roots(pairs)
        else:
            failed.append(weight)
    return failed
