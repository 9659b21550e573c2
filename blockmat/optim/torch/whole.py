"""Parameters and weights that are whole on this rank."""

from torch import Tensor

from blockmat.optim.torch.layout import BiasLayout, Layout
from blockmat.optim.torch.ranks import ALONE, Alone, Ranks, is_sharded
from blockmat.optim.torch.symmetric import Symmetric
from blockmat.optim.torch.weight import Parts, Weight, row_squares

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
        super().__init__(weight, bias, (layout, _BIAS), layout.n_blocks, layout.sizes)
        self.adds_in_place = layout.is_view

    def block_sums(self, parts: Parts) -> Tensor:
        """Return the sums of all blocks over the members in parts, (k,)."""
        first, *others = (part.sum(1) for part in parts)
        for other in others:
            first += other
        return first

    def block_squares(self, parts: Parts) -> Tensor:
        """Return the sums of squares of all blocks, (k,)."""
        first, *others = (row_squares(part) for part in parts)
        for other in others:
            first += other
        return first

    def add_products(self, total: Symmetric, parts: Parts, weight: float, decay: float) -> None:
        """Multiply a matrix by `decay`, then add `weight` times the products of all blocks."""
        for part in parts:
            total.add_products(part, weight, decay)
            decay = 1
