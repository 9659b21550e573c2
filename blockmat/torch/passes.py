"""Passes over vectors: centred block sums, and one multiply-add for each number."""

from typing import Any

import torch
from torch import Tensor

from blockmat.torch import arrays
from blockmat.torch.arrays import vmap_rule
from blockmat.torch.segments import Segments


def centred_sums(segments: Segments, x: Tensor, centre: Tensor) -> Tensor:
    """Sum ``x - centre`` over each block, for x (..., n) and a centre of each block (..., k)."""
    if not arrays.has_kernels(x):
        return segments.sums(x - segments.repeat(centre))
    x, centre = _expanded(x, centre)
    sums: Tensor = _CentredSums.apply(x, centre, segments)  # type: ignore[no-untyped-call]
    return sums


def multiply_add(
    segments: Segments, x: Tensor, scale: Tensor, shift: Tensor, centre: Tensor
) -> Tensor:
    """Return ``scale * (x - centre) + shift`` in the dtype of x, with numbers of blocks (..., k).

    The scale may also be one number for all blocks, (..., 1).
    """
    if not arrays.has_kernels(x):
        rest = x - segments.repeat(centre)
        return (segments.spread(scale) * rest + segments.repeat(shift)).to(x.dtype)
    result: Tensor = _MultiplyAdd.apply(*_expanded(x, scale, shift, centre), segments)  # type: ignore[no-untyped-call]
    return result


def _expanded(x: Tensor, *numbers: Tensor) -> list[Tensor]:
    """Expand the leading axes of all tensors to a common shape."""
    leading = [y.shape[:-1] for y in (x, *numbers)]
    shape = torch.broadcast_shapes(*leading)  # type: ignore[no-untyped-call]
    return [y.expand(*shape, y.shape[-1]) for y in (x, *numbers)]


@vmap_rule
class _CentredSums(torch.autograd.Function):
    """Sums of ``x - centre``, with ``centre`` in double precision."""

    @staticmethod
    def forward(x: Tensor, centre: Tensor, segments: Segments) -> Tensor:
        return arrays.centred_sums(segments.partition, x, centre)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.segments, ctx.dtype = inputs[2], inputs[0].dtype

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        of_x = ctx.segments.repeat(gradient.to(ctx.dtype))
        return of_x, -ctx.segments.sizes * gradient, None


@vmap_rule
class _MultiplyAdd(torch.autograd.Function):
    """The multiply-add, with numbers of blocks in double precision."""

    @staticmethod
    def forward(
        x: Tensor, scale: Tensor, shift: Tensor, centre: Tensor, segments: Segments
    ) -> Tensor:
        return arrays.multiply_add(segments.partition, x, scale, shift, centre)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.segments = inputs
        x, scale, _, centre = tensors
        ctx.save_for_backward(x, scale, centre)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (x, scale, centre), segments = ctx.saved_tensors, ctx.segments
        of_shift = segments.sums(gradient)
        of_scale = None
        if ctx.needs_input_grad[1]:
            of_scale = segments.sums(gradient * x) - centre * of_shift
            if scale.shape[-1] == 1:
                of_scale = of_scale.sum(-1, keepdim=True)
        of_x = segments.spread(scale.to(x.dtype)) * gradient
        return of_x, of_scale, of_shift, -scale * of_shift, None
