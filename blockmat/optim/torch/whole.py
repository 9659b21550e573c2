"""Parameters and weights that are whole on this rank."""

import torch
from torch import Tensor

from blockmat.optim.torch.layout import BiasLayout, Layout
from blockmat.optim.torch.ranks import ALONE, Alone, Ranks, is_sharded
from blockmat.optim.torch.symmetric import Symmetric
from blockmat.optim.torch.weight import Parts, Weight, length_of, row_squares

_BIAS = BiasLayout()


class WholeParameter:
    """A parameter that is a plain tensor.

    Parameters
    ----------
    p : Tensor
        The parameter.
    """

    ranks: Alone | Ranks = ALONE

    def __init__(self, p: Tensor) -> None:
        self.whole = self.own = p

    @property
    def own_gradient(self) -> Tensor:
        """The gradient."""
        assert self.whole.grad is not None
        return self.whole.grad

    def local(self, x: Tensor) -> Tensor:
        """Return x."""
        return x

    def wrapped(self, own: Tensor) -> Tensor:
        """Return the tensor."""
        return own

    def whole_of(self, own: Tensor) -> Tensor:
        """Return the tensor."""
        return own

    def own_of(self, whole: Tensor) -> Tensor:
        """Return the tensor."""
        return whole

    def restored(self, x: Tensor) -> Tensor:
        """Return the whole of a tensor that may be cut over ranks."""
        return x.full_tensor() if is_sharded(x) else x  # type: ignore[attr-defined]


class WholeWeight(Weight):
    """A weight and a bias that are whole on this rank.

    Parameters
    ----------
    weight : WholeParameter
        The weight. It or the bias has a gradient.
    bias : WholeParameter or None
        The bias.
    layout : Layout
        The blocks of the weight.
    """

    def __init__(self, weight: WholeParameter, bias: WholeParameter | None, layout: Layout) -> None:
        width = layout.sizes if isinstance(layout.sizes, int) else 0
        super().__init__(weight, bias, (layout, _BIAS), layout.n_blocks, layout.sizes, width)
        self.adds_in_place = layout.is_view

    def split(self, parts: Parts) -> tuple[Parts, Parts]:
        """Return all parts as own ones."""
        return parts, []

    def split_joined(self, joined: Tensor) -> tuple[Parts, Parts]:
        """Return it as an own part."""
        return [joined], []

    def block_sums(self, own: Parts, common: Parts) -> Tensor:
        """Return the sums of all blocks over their members, (k,)."""
        first, *others = (part.sum(1) for part in own)
        for other in others:
            first += other
        return first

    def block_squares(self, own: Parts, common: Parts) -> Tensor:
        """Return the sums of squares of all blocks, (k,)."""
        first, *others = (row_squares(part) for part in own)
        for other in others:
            first += other
        return first

    def add_products(
        self, total: Symmetric, own: Parts, common: Parts, weight: float, decay: float
    ) -> None:
        """Multiply a matrix by `decay`, then add `weight` times the products of all blocks."""
        for part in own:
            total.add_products(part, weight, decay)
            decay = 1

    def length(self, own: Parts, common: Parts, dtype: torch.dtype) -> Tensor:
        """Return the Euclidean length of all parts together."""
        return length_of(own, dtype)

    def of_all_members(self, own: Tensor) -> Tensor:
        """Return the vector."""
        return own

    def of_own_members(self, every: Tensor) -> Tensor:
        """Return the vector."""
        return every
