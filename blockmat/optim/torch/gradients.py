"""The gradient of a weight as its structure takes it: as it is, or with scaled columns.

Both classes have the same methods. A step first asks for numbers that tell whether anything would
overflow. Only then does it call `scale`, which may change the state.
"""

import math
from typing import Any

import torch
from torch import Tensor

from blockmat.optim.schedule import factors, total_weight
from blockmat.optim.torch.cores import Cores
from blockmat.optim.torch.due import Due
from blockmat.optim.torch.symmetric import Symmetric
from blockmat.optim.torch.weight import Parts, Weight


class PlainGradient:
    """A gradient as it is, for "mean" and "aligned".

    Parameters
    ----------
    weight : Weight
        The weight.
    parts : list of Tensor
        The parts of the gradient.
    due : Due
        What the step renews.
    group : dict
        The options.

    Attributes
    ----------
    parts : list of Tensor
        The parts of the gradient to precondition.
    sums : Tensor
        Their block sums, (k,).
    squares : Tensor
        Their sums of squares of each block, (k,); only if the step adds them to the cores.
    """

    sums: Tensor
    squares: Tensor

    def __init__(self, weight: Weight, parts: Parts, due: Due, group: dict[str, Any]) -> None:
        self.weight, self.parts, self.due, self.group = weight, parts, due, group

    @staticmethod
    def shapes(n_members: int) -> dict[str, Any]:
        """Return the shapes of what `scale` saves, for a check of checkpoints."""
        return {}

    @property
    def adds_in_place(self) -> bool:
        """Whether the update can be added to the parameter as it is computed."""
        return self.weight.adds_in_place

    def bound(self, cores: Cores, state: dict[str, Any]) -> Tensor:
        """Return numbers that are finite if all that the step adds up is, with the damping.

        No eigenvalue of a core and no product of block sums is larger than the sum of all squares.
        """
        own, common = self.split(self.parts)
        self.sums = self.weight.block_sums(own, common)
        if self.due.statistics:
            self.squares = self.weight.block_squares(own, common)
            totals = self.due.added * self.squares + self.due.kept * cores.within.diagonal()
        else:
            totals = self.sums.square() / self.weight.sizes
        bound = (1 + self.group["damping"]) * totals.sum()
        return torch.cat([self.sums, bound.view(1)])

    def scale(self, state: dict[str, Any]) -> None:
        """Leave the gradient as it is."""

    def add_products(self, total: Symmetric, weight: float, decay: float) -> None:
        """Multiply a matrix by `decay`, then add `weight` times the products of all blocks."""
        self.weight.add_products(total, *self.split(self.parts), weight, decay)

    def split(self, parts: Parts) -> tuple[Parts, Parts]:
        """Return which parts, of this gradient or of an update, only this rank has, and all have."""
        return self.weight.split(parts)

    def separated(self, updates: Parts) -> Parts:
        """Return the parts of an update for each member with a gradient."""
        return updates


class ScaledGradient(PlainGradient):
    """A gradient whose columns are divided by their damped root mean square, of "scaled".

    The mean is over rows and steps (:ref:`theory-adagrad`). Weight and bias are side by side.
    """

    @staticmethod
    def shapes(n_members: int) -> dict[str, Any]:
        """Return the shapes of what `scale` saves, for a check of checkpoints."""
        return {"columns": (n_members,)}

    @property
    def adds_in_place(self) -> bool:
        """Whether the update can be added to the parameter as it is computed: no."""
        return False

    def bound(self, cores: Cores, state: dict[str, Any]) -> Tensor:
        """Return numbers that are finite if all that the step adds up is, with the damping.

        These are the sums of squares of the columns. After scaling no square is large.
        """
        self.parts = [self.weight.side_by_side(self.parts)]
        squares = self.weight.of_all_members(self.parts[0].square().sum(0))
        kept, added = factors(self.group["decay"], 1)
        self.columns = added * squares
        if "columns" in state:
            self.columns += kept * state["columns"]
        bound: Tensor = (1 + self.group["damping"]) * self.columns
        return bound

    def scale(self, state: dict[str, Any]) -> None:
        """Divide the columns, and save the sums of their squares."""
        state["columns"] = self.columns
        decay, step = self.group["decay"], self.due.step
        n_steps = step if decay is None else total_weight(decay, step)
        roots = self.weight.of_own_members(_inverse_roots(self.columns, self.group["damping"]))
        (joined,) = self.parts
        self.parts = [joined * (roots * math.sqrt(n_steps * self.weight.n_blocks))]
        self.sums = self.weight.block_sums(*self.split(self.parts))

    def split(self, parts: Parts) -> tuple[Parts, Parts]:
        """Return which parts, of this gradient or of an update, only this rank has, and all have."""
        return self.weight.split_joined(parts[0])

    def separated(self, updates: Parts) -> Parts:
        """Return the parts of an update for each member with a gradient."""
        return self.weight.separated(updates[0])


def _inverse_roots(squares: Tensor, damping: float) -> Tensor:
    """Return `pair.damped_inverse_root` of numbers that are not negative.

    It is computed at every step, and takes half the time in this form.
    """
    shift = damping * squares.amax()
    return torch.where(shift > 0, (squares + shift).rsqrt(), 0)
