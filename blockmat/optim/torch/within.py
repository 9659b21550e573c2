"""The within core of a weight: one number per block ("mean") or a matrix ("aligned").

`STRUCTURES` has the class of each. Both have the same methods. They are views of the tensors that a
checkpoint saves, and change them in place.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from blockmat.cores import pair
from blockmat.optim.torch.symmetric import Decomposition, Symmetric

Sizes = int | Tensor  # the number of members of every block, or of each block (k,)


class BlockProducts(Protocol):
    """What a within core reads from a gradient."""

    @property
    def squares(self) -> Tensor:
        """The sum of squares of each block, (k,)."""

    def add_products(self, total: Symmetric, weight: float, decay: float) -> None:
        """Add the products of all pairs of blocks to a matrix."""


class DiagonalWithin:
    """One number per block.

    Parameters
    ----------
    squares : Tensor
        The sum of squares of each block over all gradients, (k,).
    root : Tensor
        The damped inverse square roots, (k,).
    """

    needs_products = False  # of different blocks, which must then have the same size

    def __init__(self, squares: Tensor, root: Tensor) -> None:
        self.squares, self.root = squares, root

    @staticmethod
    def zeros(k: int, dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
        """Return the saved tensors of a core of zeros."""
        zeros = partial(torch.zeros, dtype=dtype, device=device)
        return {"within": zeros(k), "within_root": zeros(k)}

    @staticmethod
    def shapes(k: int) -> dict[str, Any]:
        """Return the shapes of the saved tensors, for a check of checkpoints."""
        return {"within": (k,), "within_root": (k,)}

    def add(self, gradient: BlockProducts, weight: float, decay: float) -> None:
        """Multiply the sums by `decay`, then add `weight` times the squares of a gradient."""
        self.squares.mul_(decay).add_(gradient.squares, alpha=weight)

    def diagonal(self) -> Tensor:
        """Return the sum of squares of each block, (k,)."""
        return self.squares

    def to_decompose(self, between: Symmetric, sizes: Sizes) -> list[Tensor]:
        """Return no matrix: this core is its own eigenvalues."""
        return []

    def root_of(
        self, found: Sequence[Decomposition], between: Symmetric, sizes: Sizes, damping: float
    ) -> tuple[Tensor, Tensor]:
        """Return the eigenvalues of the core and its damped inverse square root."""
        values = pair.within_of_rest(self.squares - between.diagonal(), sizes)
        return values, pair.damped_inverse_root(values, damping)

    def add_root_times(self, part: Tensor, target: Tensor, scale: float, blocks: slice) -> None:
        """Add `scale` times the root times a part to a target; both have the rows `blocks`."""
        target.addcmul_(part, self.root[blocks].unsqueeze(1), value=scale)


class SquareWithin:
    """A matrix, with one number for each pair of blocks.

    Parameters
    ----------
    quarters : list of Tensor
        The products of all pairs of blocks, summed over members and gradients, see `Symmetric`.
    root : Tensor
        The damped inverse square root, (k, k).
    """

    needs_products = True

    def __init__(self, quarters: list[Tensor], root: Tensor) -> None:
        self.products, self.root = Symmetric(quarters), root

    @staticmethod
    def zeros(k: int, dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
        """Return the saved tensors of a core of zeros."""
        return {
            "within": Symmetric.zeros(k, dtype, device).quarters,
            "within_root": torch.zeros(k, k, dtype=dtype, device=device),
        }

    @staticmethod
    def shapes(k: int) -> dict[str, Any]:
        """Return the shapes of the saved tensors, for a check of checkpoints."""
        return {"within": Symmetric.shapes(k), "within_root": (k, k)}

    def add(self, gradient: BlockProducts, weight: float, decay: float) -> None:
        """Multiply the sums by `decay`, then add `weight` times the products of a gradient."""
        gradient.add_products(self.products, weight, decay)

    def diagonal(self) -> Tensor:
        """Return the sum of squares of each block, (k,)."""
        return self.products.diagonal()

    def to_decompose(self, between: Symmetric, sizes: Sizes) -> list[Tensor]:
        """Return the core, (k, k), of which only the lower triangle is correct."""
        assert isinstance(sizes, int)  # aligned blocks have the same size
        rest = self.products.lower_triangle() - between.lower_triangle()
        return [pair.within_of_rest(rest, sizes, aligned=True)]

    def root_of(
        self, found: Sequence[Decomposition], between: Symmetric, sizes: Sizes, damping: float
    ) -> tuple[Tensor, Tensor]:
        """Return the eigenvalues of the core and its damped inverse square root."""
        ((values, vectors),) = found
        return values, pair.compose(pair.damped_inverse_root(values, damping), vectors)

    def add_root_times(self, part: Tensor, target: Tensor, scale: float, blocks: slice) -> None:
        """Add `scale` times the root times a part to a target; both have all rows."""
        target.addmm_(self.root, part, alpha=scale)


WithinCore = DiagonalWithin | SquareWithin

STRUCTURES: dict[str, type[WithinCore]] = {"aligned": SquareWithin, "mean": DiagonalWithin}
