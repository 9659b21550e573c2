"""Gradients as a step takes them, and what statistics must be like."""

from typing import Any

import torch
from torch import Tensor

from blockmat.exceptions import DtypeError, ShapeError
from blockmat.optim.torch.weight import Parameter


def kept_dtype(p: Tensor) -> torch.dtype:
    """Return the dtype of all statistics of a parameter: at least single precision."""
    return torch.promote_types(p.dtype, torch.float32)


def gradient_of(p: Parameter, maximize: bool) -> Tensor:
    """Return what to descend along on this rank, in at least single precision.

    The gradient of the parameter is not changed.
    """
    g = p.own_gradient
    if g.layout != torch.strided:
        raise DtypeError(f"a gradient of shape {tuple(g.shape)} is sparse; expected a dense one")
    g = g.to(kept_dtype(g))
    return -g if maximize else g


def require_shape(p: Tensor, kept: Any) -> None:
    """Raise `ShapeError` if a parameter has another shape than what was kept of it, if anything."""
    if kept is not None and tuple(kept.shape) != tuple(p.shape):
        raise ShapeError(
            f"a parameter has shape {tuple(p.shape)}; expected {tuple(kept.shape)}, as at the first "
            f"step"
        )
