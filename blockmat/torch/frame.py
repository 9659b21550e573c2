"""Maps of vectors that act on one direction of each block, and on the rest by a number."""

from collections.abc import Callable

import torch
from torch import Tensor

from blockmat.torch.segments import Segments

Function = Callable[[Tensor], Tensor]


def split(segments: Segments, rows: Tensor, first: Tensor, again: Tensor) -> tuple[Tensor, Tensor]:
    """Return the coordinates of rows (..., m, n) in one direction of each block, and the rest.

    Parameters
    ----------
    segments : Segments
        The blocks.
    rows : Tensor, shape (..., m, n)
        The vectors.
    first, again : Tensor
        Numbers of variables: the weights of the sums that give coordinates, and what is taken away
        for each coordinate.
    """
    coordinates = segments.weighted_sums(first, rows)
    return coordinates, rows - lifted(segments, again, coordinates, rows.dtype)


def lifted(segments: Segments, weights: Tensor, coordinates: Tensor, dtype: torch.dtype) -> Tensor:
    """Return weights times the coordinate of each variable's block, (..., m, n)."""
    if segments.is_spread(weights):
        return weights.to(dtype) * segments.repeat(coordinates.to(dtype))
    return segments.repeat((weights.double() * coordinates).to(dtype))


def mapped(
    segments: Segments, rows: Tensor, weights: Tensor, function: Function, scale: Tensor | None
) -> Tensor:
    """Return ``Q f(Q^T x) + e (I - Q Q^T) x`` for rows x.

    Coordinates are taken out twice: after the first time, their rounding may be large beside the
    result (:ref:`theory-factor`).

    Parameters
    ----------
    segments : Segments
        The blocks.
    rows : Tensor, shape (..., m, n)
        The vectors.
    weights : Tensor
        The entries of Q, as numbers of variables: a unit vector in each block.
    function : callable
        f, of rows (..., m, k).
    scale : Tensor, optional
        e, one number for all or for each block, as numbers of variables; by default 1.
    """
    first, rest = split(segments, rows, weights, weights)
    second = segments.weighted_sums(weights, rest)
    image = function(first + second)
    if scale is None:
        return rest + lifted(segments, weights, image - second, rows.dtype)
    terms = lifted(segments, weights, image - scale.double() * second, rows.dtype)
    return torch.addcmul(terms, segments.spread(scale.to(rows.dtype)), rest)
