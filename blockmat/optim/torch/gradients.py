"""The gradient of a weight as its structure takes it: as it is, or with scaled columns.

Both classes have the same methods. A step first asks for numbers that tell whether anything would
overflow. Only then does it call `scale`, which may change the state.
"""

import math
from typing import Any

from torch import Tensor

from blockmat.optim._schedule import factors, total_weight
from blockmat.optim.torch.cores import Cores
from blockmat.optim.torch.due import Due
from blockmat.optim.torch.symmetric import Symmetric, damped_inverse_root
from blockmat.optim.torch.weight import Parts, Weight


class PlainGradient:
    """A gradient as it is, of "mean" and "aligned".

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
    sums : Tensor
        The block sums, (k,).
    """

    def __init__(self, weight: Weight, parts: Parts, due: Due, group: dict[str, Any]) -> None:
        self.weight, self.parts, self.due, self.group = weight, parts, due, group
        self.sums = weight.block_sums(*weight.split(parts))
        self._squares: Tensor | None = None

    @staticmethod
    def shapes(n_members: int) -> dict[str, Any]:
        """Return the shapes of what `scale` saves, for a check of checkpoints."""
        return {}

    @property
    def adds_in_place(self) -> bool:
        """Whether the update can be added to the parameter as it is computed."""
        return self.weight.adds_in_place

    @property
    def squares(self) -> Tensor:
        """The sum of squares of each block, (k,)."""
        if self._squares is None:
            self._squares = self.weight.block_squares(*self.split(self.parts))
        return self._squares

    def bound(self, cores: Cores, state: dict[str, Any]) -> Tensor:
        """Return numbers that are finite if all that the step adds up is, with the damping.

        No eigenvalue of a core and no product of block sums is larger than the sum of all squares.
        """
        if self.due.statistics:
            total = (self.due.added * self.squares + self.due.kept * cores.within.diagonal()).sum()
        else:
            total = (self.sums.square() / self.weight.sizes).sum()
        bound: Tensor = (1 + self.group["damping"]) * total
        return bound.view(1)

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

        A gradient with scaled columns has no large squares, so these are those of its columns.
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
        roots = self.weight.of_own_members(damped_inverse_root(self.columns, self.group["damping"]))
        (joined,) = self.parts
        self.parts = [joined * (roots * math.sqrt(n_steps * self.weight.n_blocks))]
        self.sums = self.weight.block_sums(*self.split(self.parts))

    def split(self, parts: Parts) -> tuple[Parts, Parts]:
        """Return which parts, of this gradient or of an update, only this rank has, and all have."""
        return self.weight.split_joined(parts[0])

    def separated(self, updates: Parts) -> Parts:
        """Return the parts of an update for each member with a gradient."""
        return self.weight.separated(updates[0])
