"""The cores of one weight matrix in PyTorch: their sums, roots and application.

A weight whose k blocks have m members each is seen as a matrix (k, m), one block per row.
Its between core is the sum of outer products of block sums; its within core is known from
the squares of the blocks ("mean") or from all their products ("aligned").
"""

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

Sizes = int | Tensor  # the number of members of every block, or of each (k,)


def lower_zeros(k: int, dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    """Return a symmetric k x k matrix of zeros, kept as three of its four quarters.

    They are the upper left one, and the lower half of all rows: 3/4 of the memory, and
    of the work of adding products.
    """
    half = k // 2
    zeros = partial(torch.zeros, dtype=dtype, device=device)
    return [zeros(half, half), zeros(k - half, k)]


def add_products(lower: list[Tensor], x: Tensor, weight: float, decay: float) -> None:
    """Multiply a symmetric matrix by `decay` and add ``weight * x @ x.T``, for x (k, c)."""
    top, bottom = lower
    half = len(top)
    top.addmm_(x[:half], x[:half].T, beta=decay, alpha=weight)
    bottom.addmm_(x[half:], x.T, beta=decay, alpha=weight)


def full(lower: list[Tensor]) -> Tensor:
    """Return the k x k matrix, of which only the lower triangle is right."""
    top, bottom = lower
    half, k = len(top), bottom.shape[1]
    matrix = bottom.new_zeros(k, k)
    matrix[:half, :half] = top
    matrix[half:] = bottom
    return matrix


def diagonal(lower: list[Tensor]) -> Tensor:
    """Return the diagonal of the k x k matrix."""
    top, bottom = lower
    return torch.cat([top.diagonal(), bottom.diagonal(offset=len(top))])


def inverse_roots(cores: Sequence[Tensor], damping: float) -> list[Tensor | None]:
    """Return ``(core + damping * largest eigenvalue)^(-1/2)`` of symmetric matrices.

    Cores of one size are decomposed in one call. Only their lower triangles are read. A
    core of zeros has the root zero. A decomposition that fails is tried again in double
    precision, and is None if that fails too.
    """
    roots: list[Tensor | None] = [None] * len(cores)
    alike: dict[tuple[object, ...], list[int]] = {}
    for i, core in enumerate(cores):
        alike.setdefault((core.shape, core.dtype, core.device), []).append(i)
    for indices in alike.values():
        stacked = torch.stack([cores[i] for i in indices])
        found = _batch_of_roots(stacked, damping)
        for i, j in enumerate(indices):
            root = None if found is None else found[i]
            if root is None:
                root = _batch_of_roots(cores[j].double(), damping)
            roots[j] = None if root is None else root.to(cores[j].dtype)
    return roots


def _batch_of_roots(cores: Tensor, damping: float) -> Tensor | None:
    try:
        eigenvalues, vectors = torch.linalg.eigh(cores)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        return None
    roots = (vectors * damped_inverse_root(eigenvalues, damping).unsqueeze(-2)) @ vectors.mT
    return roots if bool(torch.isfinite(roots).all()) else None


def damped_inverse_root(eigenvalues: Tensor, damping: float) -> Tensor:
    """Return ``(w + damping * max w)^(-1/2)`` along the last axis, or 0 if all are 0."""
    w = eigenvalues.clamp(min=0)
    largest = w.amax(dim=-1, keepdim=True)
    return torch.where(largest > 0, (w + damping * largest).rsqrt(), 0)


def new_cores(k: int, aligned: bool, dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
    """Return the state of a weight that has seen no gradient: all zeros."""
    zeros = partial(torch.zeros, dtype=dtype, device=device)
    return {
        "between": lower_zeros(k, dtype, device),
        "within": lower_zeros(k, dtype, device) if aligned else zeros(k),
        "within_root": zeros(k, k) if aligned else zeros(k),
        "mean_root": zeros(k, k),  # the root of the between core less that of the within core
    }


def measure(
    state: dict[str, Any], parts: Iterable[Tensor], sums: Tensor, sizes: Sizes,
    weight: float, decay: float,
) -> None:  # fmt: skip
    """Add the products of a gradient, given as parts (k, m_i), and of its block sums (k,)."""
    add_products(state["between"], (sums / _root(sizes)).unsqueeze(1), weight, decay)
    within = state["within"]
    for part in parts:
        if isinstance(within, list):
            add_products(within, part, weight, decay)
        else:
            squares = torch.linalg.vector_norm(part, dim=1).square_()
            within.mul_(decay).add_(squares, alpha=weight)
        decay = 1


def dense_cores(state: dict[str, Any], sizes: Sizes) -> list[Tensor]:
    """Return the cores that have to be decomposed: between, and within if it is dense."""
    between = full(state["between"])
    if not isinstance(state["within"], list):
        return [between]
    assert isinstance(sizes, int)  # aligned blocks have one size
    return [between, (full(state["within"]) - between) / max(sizes - 1, 1)]


def keep_roots(
    state: dict[str, Any], roots: list[Tensor], sizes: Sizes, damping: float, scale: float
) -> None:
    """Keep the roots of the dense cores, and those of squares, times `scale`."""
    mean_root, *dense = roots
    if dense:
        within_root = dense[0] * scale
        mean_root = mean_root * scale - within_root
    else:
        rest = state["within"] - diagonal(state["between"])
        several = torch.as_tensor(sizes, device=rest.device) > 1
        variances = torch.where(several, rest / (sizes - 1), 0)
        within_root = damped_inverse_root(variances, damping) * scale
        mean_root = mean_root * scale - torch.diag(within_root)
    state["within_root"].copy_(within_root)
    state["mean_root"].copy_(mean_root)


def precondition(
    state: dict[str, Any], sums: Tensor, sizes: Sizes,
    pairs: Iterable[tuple[Tensor, Tensor]], scale: float,
) -> None:  # fmt: skip
    """Add `scale` times the root of the matrix times a gradient to targets.

    Both are given as parts (k, m_i): pairs of the gradient's part and its target.
    """
    root = _root(sizes)
    shift = (state["mean_root"] @ (sums / root) / root).unsqueeze(1)
    within_root = state["within_root"]
    for gradient, target in pairs:
        if within_root.ndim == 1:
            target.addcmul_(gradient, within_root.unsqueeze(1), value=scale)
        else:
            target.addmm_(within_root, gradient, alpha=scale)
        target.add_(shift, alpha=scale)


def _root(sizes: Sizes) -> Any:
    return sizes.sqrt() if isinstance(sizes, Tensor) else math.sqrt(sizes)
