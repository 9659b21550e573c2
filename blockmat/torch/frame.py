"""Maps of vectors that act on one direction of each block, and on the rest by a number."""

from collections.abc import Callable

import torch
from torch import Tensor

from blockmat.torch.passes import centred_sums, multiply_add
from blockmat.torch.segments import Segments

Function = Callable[[Tensor], Tensor]


def split(segments: Segments, rows: Tensor, entries: Tensor) -> tuple[Tensor, Tensor]:
    """Return the coordinates ``Q^T x`` of rows (..., m, n), and the rest ``x - Q Q^T x``.

    The entries (..., n) are the one entry of each row of Q, which has a unit vector in each block.
    """
    coordinates = segments.sums(entries * rows)
    return coordinates, rows - lifted(segments, entries, coordinates, rows.dtype)


def lifted(segments: Segments, weights: Tensor, coordinates: Tensor, dtype: torch.dtype) -> Tensor:
    """Return weights times the coordinate of each variable's block, (..., m, n)."""
    if segments.is_spread(weights):
        return weights.to(dtype) * segments.repeat(coordinates.to(dtype))
    return segments.repeat((weights.double() * coordinates).to(dtype))


def mapped(segments: Segments, rows: Tensor, entries: Tensor, function: Function) -> Tensor:
    """Return ``Q f(Q^T x) + (I - Q Q^T) x`` for rows x.

    Coordinates are taken out twice: after the first time, their rounding may be large beside the
    result (:ref:`theory-factor`).

    Parameters
    ----------
    segments : Segments
        The blocks.
    rows : Tensor, shape (..., m, n)
        The vectors.
    entries : Tensor, shape (..., n)
        The one entry of each row of Q: Q has a unit vector in each block.
    function : callable
        f, of rows (..., m, k).
    """
    first, rest = split(segments, rows, entries)
    second = segments.sums(entries * rest)
    return rest + lifted(segments, entries, function(first + second) - second, rows.dtype)


def mapped_means(segments: Segments, rows: Tensor, function: Function, scale: Tensor) -> Tensor:
    """Return ``U f(U^T x) + e (I - U U^T) x``, where the unit vectors are constant on blocks.

    Parameters
    ----------
    segments : Segments
        The blocks.
    rows : Tensor, shape (..., m, n)
        The vectors.
    function : callable
        f, of rows (..., m, k).
    scale : Tensor, shape (..., 1, k)
        e, in double precision.
    """
    root = segments.roots
    first = segments.sums(rows)
    centre = first / segments.sizes
    second = centred_sums(segments, rows, centre)
    image = function((first + second) / root) / root
    return multiply_add(segments, rows, scale, image - scale * second / segments.sizes, centre)
