"""Passes over vectors: centred block sums, and one multiply-add for each number.

Tensors of the size of a vector take longer to allocate than to fill. So vectors are read in parts that
fit into cache, and results are the only such tensors.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from blockmat.torch.segments import Segments

_PART = 2**17  # numbers


def parts(n_rows: int, n: int) -> Iterator[tuple[slice, slice]]:
    """Yield the rows and the columns of parts of n_rows vectors of length n."""
    step = max(_PART // n, 1)
    for first in range(0, n_rows, step):
        for start in range(0, n, _PART):
            yield slice(first, first + step), slice(start, start + _PART)


def repeated(segments: Segments, numbers: Tensor, where: slice) -> Tensor:
    """Repeat numbers of blocks (m, k) for the variables of a part."""
    if where.stop - where.start >= segments.n:
        return segments.repeat(numbers)
    labels = segments.labels[where]
    if len(numbers) == 1:
        return numbers[0].index_select(0, labels)[None]
    return numbers.gather(-1, labels.expand(len(numbers), -1))


def centred_sums(segments: Segments, x: Tensor, centre: Tensor) -> Tensor:
    """Sum ``x - centre`` over each block, for x (..., n) and a centre of each block (..., k)."""
    if torch.compiler.is_compiling():
        return segments.sums(x - segments.repeat(centre))
    x, centre = _expanded(x, centre)
    sums: Tensor = _CentredSums.apply(x, centre, segments)  # type: ignore[no-untyped-call]
    return sums


def multiply_add(
    segments: Segments, x: Tensor, scale: Tensor, shift: Tensor, centre: Tensor
) -> Tensor:
    """Return ``scale * (x - centre) + shift`` in the dtype of x, with numbers of blocks (..., k)."""
    if torch.compiler.is_compiling():
        rest = x - segments.repeat(centre)
        return (segments.repeat(scale) * rest + segments.repeat(shift)).to(x.dtype)
    result: Tensor = _MultiplyAdd.apply(*_expanded(x, scale, shift, centre), segments)  # type: ignore[no-untyped-call]
    return result


def _expanded(x: Tensor, *numbers: Tensor) -> list[Tensor]:
    """Expand the leading axes of all tensors to a common shape."""
    leading = [y.shape[:-1] for y in (x, *numbers)]
    shape = torch.broadcast_shapes(*leading)  # type: ignore[no-untyped-call]
    return [y.expand(*shape, y.shape[-1]) for y in (x, *numbers)]


def _rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


def _vmapped(function: Any, info: Any, axes: tuple[Any, ...], inputs: tuple[Any, ...]) -> Any:
    """Call a function of tensors and segments on tensors that all have the axis of `vmap` first.

    PyTorch's own rule runs `forward` on tensors of which some have it. Then the results of those that
    do not have it cannot be changed in place.
    """
    *tensors, segments = inputs
    moved = [
        x.expand(info.batch_size, *x.shape) if axis is None else x.movedim(axis, 0)
        for x, axis in zip(tensors, axes[:-1], strict=True)
    ]
    return function.apply(*moved, segments), 0


class _CentredSums(torch.autograd.Function):
    """Sums of ``x - centre``, with ``centre`` in double precision."""

    @staticmethod
    def forward(x: Tensor, centre: Tensor, segments: Segments) -> Tensor:
        rows, centres = _rows(x), _rows(centre)
        sums = torch.zeros_like(centres)
        for some, where in parts(len(rows), segments.n):
            rest = rows[some, where] - repeated(segments, centres[some], where)
            if rest.shape[-1] == segments.n:
                sums[some] = segments.sums(rest)
            else:
                sums[some] += segments.sums_of_part(rest, where)
        return sums.reshape(centre.shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.segments, ctx.dtype = inputs[2], inputs[0].dtype

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        of_x = ctx.segments.repeat(gradient.to(ctx.dtype))
        return of_x, -ctx.segments.sizes * gradient, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> Any:
        return _vmapped(_CentredSums, info, in_dims, inputs)


class _MultiplyAdd(torch.autograd.Function):
    """The multiply-add, with numbers of blocks in double precision."""

    @staticmethod
    def forward(
        x: Tensor, scale: Tensor, shift: Tensor, centre: Tensor, segments: Segments
    ) -> Tensor:
        rows, scales, shifts, centres = map(_rows, (x, scale, shift, centre))
        result = torch.empty_like(rows)
        for some, where in parts(len(rows), segments.n):
            rest = rows[some, where] - repeated(segments, centres[some], where)
            factor, term = (repeated(segments, y[some], where) for y in (scales, shifts))
            result[some, where] = term.addcmul_(factor, rest)
        return result.reshape(x.shape)

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
            rounded = centre.to(x.dtype)
            rest = x - segments.repeat(rounded)  # small beside x if its mean is large
            of_scale = segments.sums(gradient * rest) - (centre - rounded) * of_shift
        of_x = segments.repeat(scale.to(x.dtype)) * gradient
        return of_x, of_scale, of_shift, -scale * of_shift, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> Any:
        return _vmapped(_MultiplyAdd, info, in_dims, inputs)
