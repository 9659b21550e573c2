"""Block sums of vectors, and sums of squared deviations from block means."""

from typing import Any

import torch
from torch import Tensor

from blockmat.torch.passes import parts, repeated
from blockmat.torch.segments import Segments


def moments(segments: Segments, x: Tensor, total: bool) -> tuple[Tensor, Tensor]:
    """Return the block sums of x (..., n), and the squared deviations from the block means.

    Parameters
    ----------
    segments : Segments
        The blocks.
    x : Tensor, shape (..., n)
        Vectors.
    total : bool
        Whether to sum the squares over all blocks: (...) instead of (..., k).
    """
    if torch.compiler.is_compiling():
        sums = segments.sums(x)
        squares = (x - segments.repeat(sums / segments.sizes)).square()
        return sums, squares.sum(-1) if total else segments.sums(squares)
    results: tuple[Tensor, Tensor] = _Moments.apply(x, segments, total)  # type: ignore[no-untyped-call]
    return results


class _Moments(torch.autograd.Function):
    """The moments, whose gradient is one multiply-add for each number."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, segments: Segments, total: bool) -> tuple[Tensor, Tensor]:
        sums = segments.sums(x)
        means = sums / segments.sizes
        shape = x.shape[:-1] if total else sums.shape
        squares = sums.new_zeros(shape)
        rows, centres, added = x.flatten(0, -2), means.flatten(0, -2), squares.flatten()
        if x.ndim == 1:
            rows, centres = x[None], means[None]
        added = added if total else added.reshape(len(rows), segments.k)
        for some, where in parts(len(rows), segments.n):
            rest = rows[some, where] - repeated(segments, centres[some], where)
            if total:
                added[some] += torch.linalg.vecdot(rest, rest)
            else:
                added[some] += segments.sums_of_part(rest.square_(), where)
        return sums, added.reshape(shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        x, ctx.segments, ctx.total = inputs
        ctx.save_for_backward(x, output[0])

    @staticmethod
    def backward(ctx: Any, of_sums: Tensor, of_squares: Tensor) -> tuple[Tensor, None, None]:
        (x, sums), segments = ctx.saved_tensors, ctx.segments
        twice = 2 * of_squares
        if ctx.total:
            twice = twice[..., None]
        shift = segments.repeat((of_sums - twice * (sums / segments.sizes)).to(x.dtype))
        if ctx.total:
            factor = twice.to(x.dtype)
        else:
            factor = segments.repeat(twice.to(x.dtype))
        if torch.is_grad_enabled():
            return shift + factor * x, None, None
        return shift.addcmul_(factor, x), None, None
