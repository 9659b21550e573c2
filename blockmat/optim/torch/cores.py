"""The two cores of one weight: their sums, their roots, and the roots times a gradient.

A weight with k blocks of m members is seen as a matrix (k, m), with one block per row. The
between core is the sum of the outer products of block sums, and the within core is computed from
sums of squares and products of the blocks.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from blockmat.cores import pair
from blockmat.optim.torch.symmetric import Decomposition, Symmetric
from blockmat.optim.torch.within import BlockProducts, Sizes, WithinCore


class Cores:
    """The between and within core of one weight.

    Parameters
    ----------
    state : dict
        What a checkpoint saves of the weight. The cores change it.
    within : type
        The class of the within core.
    sizes : int or Tensor
        The number of members of every block, or of each block (k,).
    """

    def __init__(self, state: dict[str, Any], within: type[WithinCore], sizes: Sizes) -> None:
        self.between = Symmetric(state["between"]["lower"])
        self.between_root = state["between"]["root"]
        self.within = within(state["within"], state["within_root"])
        self.sizes = sizes

    @staticmethod
    def zeros(
        k: int, within: type[WithinCore], dtype: torch.dtype, device: torch.device
    ) -> dict[str, Any]:
        """Return the state of cores of zeros."""
        between = {
            "lower": Symmetric.zeros(k, dtype, device).quarters,
            "root": torch.zeros(k, k, dtype=dtype, device=device),
        }
        return {"between": between, **within.zeros(k, dtype, device)}

    @staticmethod
    def shapes(k: int, within: type[WithinCore]) -> dict[str, Any]:
        """Return the shapes of the state, for a check of checkpoints."""
        between = {"lower": Symmetric.shapes(k), "root": (k, k)}
        return {"between": between, **within.shapes(k)}

    def add(self, sums: Tensor, gradient: BlockProducts, weight: float, decay: float) -> None:
        """Multiply the cores by `decay`, then add `weight` times those of a gradient.

        The block sums of the gradient are `sums`, (k,).
        """
        means = pair.coordinates(sums, self.sizes)
        self.between.add_products(means.unsqueeze(1), weight, decay)
        self.within.add(gradient, weight, decay)

    def to_decompose(self) -> list[Tensor]:
        """Return the symmetric matrices that `keep_roots` needs decomposed."""
        own = self.between.lower_triangle()
        return [own, *self.within.to_decompose(self.between, self.sizes)]

    def keep_roots(
        self, found: Sequence[Decomposition], damping: float, scale: float, eps: float
    ) -> None:
        """Store `scale` times the damped inverse square roots, from the decompositions.

        The root of a core of rounding is made shorter; gradients are rounded to `eps`. The
        damping is at least the rounding of the eigenvalues.
        """
        (values, vectors), *others = found
        damping = max(damping, torch.finfo(values.dtype).eps)
        energy = (self.within.diagonal() / self.sizes).amax()
        factor = scale * pair.signal_share(values.amax(), energy, eps)
        root = pair.compose(pair.damped_inverse_root(values, damping) * factor, vectors)
        self.between_root.copy_(root)
        values, root = self.within.root_of(others, self.between, self.sizes, damping)
        self.within.root.copy_(root * (scale * pair.signal_share(values.amax(), energy, eps)))

    def precondition(
        self,
        sums: Tensor,
        parts: Sequence[Tensor],
        targets: Sequence[Tensor],
        scale: float,
        blocks: slice,
    ) -> None:
        """Add `scale` times the root of the matrix times a gradient to targets.

        The gradient is given by its block `sums` (k,) and by `parts` (k, m_i) of its members.
        Parts and targets have only the rows `blocks`.
        """
        means = pair.coordinates(sums, self.sizes)
        image = self.between_root @ means
        shift = pair.lift(image, self.within.root, means, self.sizes)[blocks].unsqueeze(1)
        for part, target in zip(parts, targets, strict=True):
            self.within.add_root_times(part, target, scale, blocks)
            target.add_(shift, alpha=scale)
