"""Passes over tensors on the CPU by the Numba kernels, through NumPy views of their numbers.

Tensors have the shapes (..., n) for vectors and (..., k) for numbers of blocks, with the same leading
axes.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from blockmat.blocks import passes
from blockmat.blocks.checks import Array
from blockmat.blocks.geometry import Geometry


def has_kernels(x: Tensor) -> bool:
    """Tell whether the kernels can read a tensor. `torch.compile` cannot trace them."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def block_sums(p: Geometry, x: Tensor) -> Tensor:
    """Sum each vector over each block, in double precision."""
    return _numbers(passes.block_sums(p, _rows(x).T).T, x)


def centred_sums(p: Geometry, x: Tensor, centre: Tensor) -> Tensor:
    """Sum each vector, less the number `centre` of each block, in double precision."""
    return _numbers(passes.block_sums(p, _rows(x).T, _rows(centre).T).T, x)


def squared_deviations(p: Geometry, x: Tensor, centre: Tensor, total: bool) -> Tensor:
    """Sum the squared deviations from `centre` over each block, or over all blocks (..., 1)."""
    rows, centres = (np.ascontiguousarray(_rows(y)) for y in (x, centre))
    return _numbers(passes.block_squares(p, rows, centres, total), x)


def multiply_add(p: Geometry, x: Tensor, scale: Tensor, shift: Tensor, centre: Tensor) -> Tensor:
    """Return ``scale * (x - centre) + shift`` in the dtype of x. The scale may be (..., 1)."""
    rows, scales = _rows(x), _shared(scale)
    if scales.ndim != 1:
        rows = np.ascontiguousarray(rows)
    if scales.ndim == 2:
        scales = np.ascontiguousarray(np.broadcast_to(scales, (len(rows), p.n_blocks)))
    shifts, centres = _rows(shift), _rows(centre)
    out = np.empty_like(rows)
    passes.multiply_add(p, rows.T, scales, shifts.T, out.T, centres.T)
    return _numbers(out, x)


def _rows(x: Tensor) -> Array:
    """View the numbers of vectors as an array (m, n). They are copied if they are not contiguous."""
    rows: Array = x.detach().resolve_neg().reshape(-1, x.shape[-1]).numpy()
    return rows if rows.flags.forc else np.ascontiguousarray(rows)


def _shared(numbers: Tensor) -> Array:
    """View numbers of blocks as (k,), or (), if they are the same for all vectors; else as (m, k)."""
    if any(
        step and length > 1
        for step, length in zip(numbers.stride()[:-1], numbers.shape[:-1], strict=True)
    ):
        return _rows(numbers)
    one: Array = _rows(numbers[(slice(1),) * (numbers.ndim - 1)])[0]
    return one.reshape(()) if numbers.shape[-1] == 1 else one


def _numbers(rows: Array, x: Tensor) -> Tensor:
    """Return rows (m, p) as a tensor with the leading axes of x."""
    return torch.from_numpy(rows).reshape(*x.shape[:-1], rows.shape[1])


def vmap_rule(function: Any) -> Any:
    """Add the rule of `torch.func.vmap` to a `torch.autograd.Function` of tensors (..., n).

    The mapped axis becomes the first of the leading axes.
    """

    def vmap(info: Any, in_dims: tuple[int | None, ...], *arguments: Any) -> tuple[Any, Any]:
        results = function.apply(
            *(
                y if not isinstance(y, Tensor)
                else y.expand(info.batch_size, *y.shape) if dim is None
                else y.movedim(dim, 0)
                for y, dim in zip(arguments, in_dims, strict=True)
            )
        )  # fmt: skip
        return results, (0,) * len(results) if isinstance(results, tuple) else 0

    function.vmap = staticmethod(vmap)
    return function
