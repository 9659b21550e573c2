"""Gradients as a step takes them, and the dtype in which statistics are kept."""

import torch
from torch import Tensor

from blockmat.exceptions import DtypeError
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
