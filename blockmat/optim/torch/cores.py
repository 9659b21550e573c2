"""The cores of one weight matrix in PyTorch: their sums, roots and application.

A weight whose k blocks have m members each is seen as a matrix (k, m), one block per row.
Its between core is the sum of outer products of block sums; its within core is known from
the squares of the blocks ("mean") or from all their products ("aligned").
"""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from blockmat.optim._schedule import signal_share
from blockmat.optim.torch import between, symmetric
from blockmat.optim.torch.symmetric import Decomposition

Sizes = int | Tensor  # the number of members of every block, or of each (k,)


def new_cores(k: int, aligned: bool, dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
    """Return the state of a weight that has seen no gradient: all zeros."""
    zeros = partial(torch.zeros, dtype=dtype, device=device)
    return {
        "between": between.new(k, dtype, device),
        "within": symmetric.lower_zeros(k, dtype, device) if aligned else zeros(k),
        "within_root": zeros(k, k) if aligned else zeros(k),
    }


def add_products(
    state: dict[str, Any], parts: Iterable[Tensor], weight: float, decay: float
) -> None:
    """Add the products of the blocks of a gradient, given as parts (k, m_i)."""
    for part in parts:
        symmetric.add_products(state["within"], part, weight, decay)
        decay = 1


def add_products_of_shards(
    state: dict[str, Any], own: Iterable[Tensor], common: Iterable[Tensor],
    weight: float, decay: float, add_up: Callable[[Tensor], Tensor],
) -> None:  # fmt: skip
    """Do what `add_products` does with members of which each rank has some, and all have others.

    Between ranks only products of own members are added up.
    """
    within = state["within"]
    products = [torch.zeros_like(quarter) for quarter in within]
    for part in own:
        symmetric.add_products(products, part, 1, 1)
    for total, product in zip(within, products, strict=True):
        total.mul_(decay).add_(add_up(product), alpha=weight)
    add_products(state, common, weight, 1)


def to_decompose(state: dict[str, Any], sizes: Sizes) -> list[Tensor]:
    """Return what has to be decomposed: of the between core, and the within core if dense."""
    own = between.to_decompose(state["between"])
    if not isinstance(state["within"], list):
        return [own]
    assert isinstance(sizes, int)  # aligned blocks have one size
    squares = symmetric.full(state["within"])
    if sizes == 1:  # nothing deviates from the mean of one
        return [own, torch.zeros_like(squares)]
    return [own, (squares - between.dense(state["between"])) / (sizes - 1)]


def keep_roots(
    state: dict[str, Any], found: Sequence[Decomposition], sizes: Sizes,
    damping: float, scale: float, eps: float,
) -> None:  # fmt: skip
    """Keep the roots, times `scale`, from the decompositions of what is to be decomposed.

    Gradients are rounded to `eps`. Eigenvalues are right to no more than their dtype's share of
    the largest, so the damping is no smaller.
    """
    own, *dense = found
    damping = max(damping, torch.finfo(own[0].dtype).eps)
    squares = diagonal(state)
    energy = (squares / sizes).amax()
    between.keep_root(state["between"], *own, damping, scale * _share(own[0], energy, eps))
    if dense:
        values, vectors = dense[0]
        root = symmetric.compose(symmetric.damped_inverse_root(values, damping), vectors)
    else:
        several = torch.as_tensor(sizes, device=squares.device) > 1
        rest = squares - between.diagonal(state["between"])
        values = torch.where(several, rest / (sizes - 1), 0)
        root = symmetric.damped_inverse_root(values, damping)
    state["within_root"].copy_(root * (scale * _share(values, energy, eps)))


def diagonal(state: dict[str, Any]) -> Tensor:
    """Return the sums of squares of the blocks, (k,)."""
    within = state["within"]
    return symmetric.diagonal(within) if isinstance(within, list) else within


def _share(values: Tensor, energy: Tensor, eps: float) -> Tensor:
    largest = values.amax()
    return torch.where(largest > 0, signal_share(largest, energy, eps), 0)


def precondition(
    state: dict[str, Any], sums: Tensor, sizes: Sizes,
    pairs: Iterable[tuple[Tensor, Tensor]], scale: float, blocks: slice = slice(None),
) -> None:  # fmt: skip
    """Add `scale` times the root of the matrix times a gradient to targets.

    Both are given as parts (k, m_i), or those rows of them that are some `blocks`: pairs of the
    gradient's part and its target.
    """
    root, within_root = root_of(sizes), state["within_root"]
    means = sums / root
    of_means = within_root * means if within_root.ndim == 1 else within_root @ means
    shift = ((between.apply_root(state["between"], means) - of_means) / root)[blocks].unsqueeze(1)
    for gradient, target in pairs:
        if within_root.ndim == 1:
            target.addcmul_(gradient, within_root[blocks].unsqueeze(1), value=scale)
        else:
            target.addmm_(within_root, gradient, alpha=scale)
        target.add_(shift, alpha=scale)


def row_squares(part: Tensor) -> Tensor:
    """Return the sums of squares of the rows of a part, (k,)."""
    squares: Tensor = torch.linalg.vector_norm(part, dim=1).square_()
    return squares


def root_of(sizes: Sizes) -> Any:
    """Return the square roots of the numbers of members."""
    return sizes.sqrt() if isinstance(sizes, Tensor) else math.sqrt(sizes)
