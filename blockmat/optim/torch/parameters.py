"""The place where parameters are recognised as whole or sharded; nothing else asks."""

from torch import Tensor

from blockmat.optim.torch.layout import Layout
from blockmat.optim.torch.ranks import is_sharded
from blockmat.optim.torch.sharded import CutBlocks, CutMembers, ShardedParameter
from blockmat.optim.torch.weight import Parameter, Weight
from blockmat.optim.torch.whole import WholeParameter, WholeWeight


def parameter_of(p: Tensor) -> Parameter:
    """Return a parameter of a module as an object with the methods of `Parameter`."""
    return ShardedParameter(p) if is_sharded(p) else WholeParameter(p)


def weight_of(p: Tensor, bias: Tensor | None, layout: Layout, needs_products: bool) -> Weight:
    """Return a weight with the bias in its blocks.

    Products of different blocks need members of all blocks on each rank.
    """
    if not is_sharded(p):
        return WholeWeight(
            WholeParameter(p), None if bias is None else WholeParameter(bias), layout
        )
    make = CutBlocks if layout.blocks_are_rows and not needs_products else CutMembers
    return make(ShardedParameter(p), None if bias is None else parameter_of(bias), layout)


def local(x: Tensor) -> Tensor:
    """Return what this rank has of a tensor."""
    return x.to_local() if is_sharded(x) else x  # type: ignore[attr-defined]
