"""Block sums of vectors, sums of squared deviations from block means, and the Gaussian terms made of them."""

from typing import Any

import torch
from torch import Tensor

from blockmat.cores import pair
from blockmat.torch import arrays
from blockmat.torch.arrays import vmap_rule
from blockmat.torch.cores import DenseRoot, DiagonalRoot
from blockmat.torch.passes import multiply_add
from blockmat.torch.segments import Segments


def inv_quad_logdet(
    segments: Segments, root: DenseRoot | DiagonalRoot, within: Tensor, rows: Tensor
) -> tuple[Tensor, Tensor]:
    """Return ``x^T A^-1 x`` for rows x, and ``log det A``, of a pair (:ref:`theory-pair`).

    Parameters
    ----------
    segments : Segments
        The blocks.
    root : DenseRoot or DiagonalRoot
        A root of M.
    within : Tensor, shape (..., k) or (..., 1)
        d, positive, in double precision.
    rows : Tensor, shape (..., m, n)
        The vectors.
    """
    sums, squares = moments(segments, rows, total=within.shape[-1] == 1)
    of_deviations = (squares / within[..., None, :]).sum(-1)
    inv_quad = of_deviations + root.inv_quad(segments.coordinates(sums))
    return inv_quad, logdet(segments, root, within)


def logdet(segments: Segments, root: DenseRoot | DiagonalRoot, within: Tensor) -> Tensor:
    """Return the log-determinant of a pair, with the arguments of `inv_quad_logdet`."""
    logs = within.log()
    if logs.shape[-1] == 1:
        return root.logdet() + logs[..., 0] * (segments.n - segments.k)
    total: Tensor = root.logdet() + pair.multiplicity_sum(logs, segments.sizes)
    return total


def moments(segments: Segments, x: Tensor, total: bool) -> tuple[Tensor, Tensor]:
    """Return the block sums of x (..., n), and the squared deviations from the block means.

    Parameters
    ----------
    segments : Segments
        The blocks.
    x : Tensor, shape (..., n)
        Vectors.
    total : bool
        Whether to sum the squares over all blocks: (..., 1) instead of (..., k).
    """
    if arrays.has_kernels(x):
        results: tuple[Tensor, Tensor] = _Moments.apply(x, segments, total)  # type: ignore[no-untyped-call]
        return results
    sums = segments.sums(x)
    squares = (x - segments.repeat(sums / segments.sizes)).square()
    if total:
        return sums, squares.sum(-1, keepdim=True, dtype=torch.float64)
    return sums, segments.sums(squares)


@vmap_rule
class _Moments(torch.autograd.Function):
    """The moments, whose gradient is one multiply-add for each number."""

    @staticmethod
    def forward(x: Tensor, segments: Segments, total: bool) -> tuple[Tensor, Tensor]:
        sums = arrays.block_sums(segments.partition, x)
        means = sums / segments.sizes
        return sums, arrays.squared_deviations(segments.partition, x, means, total)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        x, ctx.segments, _ = inputs
        ctx.save_for_backward(x, output[0])

    @staticmethod
    def backward(ctx: Any, of_sums: Tensor, of_squares: Tensor) -> tuple[Tensor, None, None]:
        (x, sums), segments = ctx.saved_tensors, ctx.segments
        means = sums / segments.sizes
        return multiply_add(segments, x, 2 * of_squares, of_sums, means), None, None
