"""Symmetric k x k matrices in PyTorch: three quarters kept, decomposed in batches."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

Decomposition = tuple[Tensor, Tensor]  # eigenvalues (k,) and eigenvectors (k, k)


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


def decompose(matrices: Sequence[Tensor]) -> list[Decomposition | None]:
    """Return the eigenvalues and eigenvectors of symmetric matrices.

    Those of one size are decomposed in one call. Only their lower triangles are read. A
    decomposition that fails is tried again in double precision, and is None if that
    fails too.
    """
    found: list[Decomposition | None] = [None] * len(matrices)
    alike: dict[tuple[object, ...], list[int]] = {}
    for i, matrix in enumerate(matrices):
        alike.setdefault((matrix.shape, matrix.dtype, matrix.device), []).append(i)
    for indices in alike.values():
        together = _eigh(torch.stack([matrices[i] for i in indices]))
        for i, j in enumerate(indices):
            if together is not None:
                found[j] = together[0][i], together[1][i]
            elif (alone := _eigh(matrices[j].double())) is not None:
                found[j] = alone[0].to(matrices[j].dtype), alone[1].to(matrices[j].dtype)
    return found


def _eigh(matrices: Tensor) -> Decomposition | None:
    try:
        values, vectors = torch.linalg.eigh(matrices)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        return None
    is_finite = torch.isfinite(values).all() & torch.isfinite(vectors).all()
    return (values, vectors) if bool(is_finite) else None


def compose(values: Tensor, vectors: Tensor) -> Tensor:
    """Return ``vectors @ diag(values) @ vectors.T``."""
    return (vectors * values) @ vectors.T


def damped_inverse_root(eigenvalues: Tensor, damping: float) -> Tensor:
    """Return ``(w + damping * max w)^(-1/2)``, or 0 if all w are 0."""
    w = eigenvalues.clamp(min=0)
    shift = damping * w.amax()
    return torch.where(shift > 0, (w + shift).rsqrt(), 0)
