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

from blockmat.optim import _torch_between as between
from blockmat.optim import _torch_symmetric as symmetric
from blockmat.optim._torch_symmetric import Decomposition

Sizes = int | Tensor  # the number of members of every block, or of each (k,)


def new_cores(k: int, aligned: bool, dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
    """Return the state of a weight that has seen no gradient: all zeros."""
    zeros = partial(torch.zeros, dtype=dtype, device=device)
    return {
        "between": between.new(k, dtype, device),
        "within": symmetric.lower_zeros(k, dtype, device) if aligned else zeros(k),
        "within_root": zeros(k, k) if aligned else zeros(k),
    }


def measure(
    state: dict[str, Any], parts: Iterable[Tensor], sums: Tensor, sizes: Sizes,
    weight: float, decay: float,
) -> None:  # fmt: skip
    """Add the products of a gradient, given as parts (k, m_i), and of its block sums (k,)."""
    between.add(state["between"], sums / _root(sizes), weight, decay)
    within = state["within"]
    for part in parts:
        if isinstance(within, list):
            symmetric.add_products(within, part, weight, decay)
        else:
            within.mul_(decay).add_(_row_squares(part), alpha=weight)
        decay = 1


def measure_shards(
    state: dict[str, Any], own: Iterable[Tensor], common: Iterable[Tensor], sums: Tensor,
    sizes: Sizes, weight: float, decay: float,
    over_ranks: Callable[[list[Tensor]], Tensor], add_up: Callable[[Tensor], Tensor],
) -> None:  # fmt: skip
    """Do what `measure` does with members of which each rank has some, and all have others.

    Between ranks only numbers of blocks, and products of own members, are added up.
    """
    between.add(state["between"], sums / _root(sizes), weight, decay)
    within = state["within"]
    if not isinstance(within, list):
        squares = over_ranks([_row_squares(part) for part in own])
        for part in common:
            squares += _row_squares(part)
        within.mul_(decay).add_(squares, alpha=weight)
        return
    products = [torch.zeros_like(quarter) for quarter in within]
    for part in own:
        symmetric.add_products(products, part, 1, 1)
    for total, product in zip(within, products, strict=True):
        total.mul_(decay).add_(add_up(product), alpha=weight)
    for part in common:
        symmetric.add_products(within, part, weight, 1)


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
    damping: float, scale: float,
) -> None:  # fmt: skip
    """Keep the roots, times `scale`, from the decompositions of what is to be decomposed."""
    own, *dense = found
    between.keep_root(state["between"], *own, damping, scale)
    if dense:
        values, vectors = dense[0]
        root = symmetric.compose(symmetric.damped_inverse_root(values, damping), vectors)
    else:
        rest = state["within"] - between.diagonal(state["between"])
        several = torch.as_tensor(sizes, device=rest.device) > 1
        variances = torch.where(several, rest / (sizes - 1), 0)
        root = symmetric.damped_inverse_root(variances, damping)
    state["within_root"].copy_(root * scale)


def precondition(
    state: dict[str, Any], sums: Tensor, sizes: Sizes,
    pairs: Iterable[tuple[Tensor, Tensor]], scale: float, blocks: slice = slice(None),
) -> None:  # fmt: skip
    """Add `scale` times the root of the matrix times a gradient to targets.

    Both are given as parts (k, m_i), or those rows of them that are some `blocks`: pairs of the
    gradient's part and its target.
    """
    root, within_root = _root(sizes), state["within_root"]
    means = sums / root
    of_means = within_root * means if within_root.ndim == 1 else within_root @ means
    shift = ((between.apply_root(state["between"], means) - of_means) / root)[blocks].unsqueeze(1)
    for gradient, target in pairs:
        if within_root.ndim == 1:
            target.addcmul_(gradient, within_root[blocks].unsqueeze(1), value=scale)
        else:
            target.addmm_(within_root, gradient, alpha=scale)
        target.add_(shift, alpha=scale)


def _row_squares(part: Tensor) -> Tensor:
    squares: Tensor = torch.linalg.vector_norm(part, dim=1).square_()
    return squares


def _root(sizes: Sizes) -> Any:
    return sizes.sqrt() if isinstance(sizes, Tensor) else math.sqrt(sizes)
