"""Square roots of symmetric matrices, with gradients of any order where eigenvalues are equal."""

from typing import Any

import torch
from torch import Tensor

from blockmat.cores import pair


def square_root(a: Tensor) -> Tensor:
    """Return the square roots of symmetric positive semi-definite matrices (..., k, k)."""
    root: Tensor = _SquareRoot.apply(a)  # type: ignore[no-untyped-call]
    return root


class _SquareRoot(torch.autograd.Function):
    """The square root S of A. The gradient X solves ``S X + X S = G``.

    That equation comes from ``dS S + S dS = dA``. It has one solution for a positive definite S,
    also if eigenvalues are equal, where the eigenvectors have no gradient.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(a)
        root: Tensor = pair.compose(values.clamp(min=0).sqrt(), vectors)
        return root

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (root,) = ctx.saved_tensors
        of_matrix: Tensor = _Lyapunov.apply(root, gradient)  # type: ignore[no-untyped-call]
        return of_matrix


class _Lyapunov(torch.autograd.Function):
    """The solution X of ``S X + X S = G`` for positive definite S.

    The map from G to X is its own adjoint. From ``S dX + dX S = dG - dS X - X dS`` follows the
    gradient of S, ``-(Y X^T + X^T Y)``, where Y is that of G.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(root: Tensor, right: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(root)
        inner = vectors.mT @ right @ vectors
        inner = inner / (values[..., :, None] + values[..., None, :])
        solution: Tensor = vectors @ inner @ vectors.mT
        return solution

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        root, solution = ctx.saved_tensors
        of_right = _Lyapunov.apply(root, gradient)  # type: ignore[no-untyped-call]
        of_root = -(of_right @ solution.mT + solution.mT @ of_right)
        return of_root, of_right
