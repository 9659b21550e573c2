"""Checks of the tensors that a matrix is made of, and of the operands of its methods."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from blockmat.blocks.partition import Partition, as_partition
from blockmat.exceptions import DtypeError, NonFiniteError, ShapeError

DTYPES = (torch.float32, torch.float64)


def partition_of(partition: Any) -> Partition:
    """Return a Partition, from one or from labels, which may be a tensor."""
    if isinstance(partition, Tensor):
        partition = partition.numpy(force=True)
    return as_partition(partition)


def as_parts(given: Mapping[str, Any]) -> dict[str, Tensor]:
    """Convert numbers to tensors of one dtype on one device.

    Python numbers take the dtype and the device of the tensors; integers become floating point.
    """
    tensors = [x for x in given.values() if isinstance(x, Tensor)]
    device = tensors[0].device if tensors else None
    parts = {
        name: x if isinstance(x, Tensor) else torch.as_tensor(x, device=device)
        for name, x in given.items()
    }
    dtype = None
    for name, x in parts.items():
        if x.is_complex() or (x.is_floating_point() and x.dtype not in DTYPES):
            raise DtypeError(f"{name} has dtype {x.dtype}; expected torch.float32 or torch.float64")
        if x.device != parts[next(iter(parts))].device:
            raise ValueError(
                f"{name} is on {x.device}; expected {parts[next(iter(parts))].device}, "
                f"as {next(iter(parts))}"
            )
        if x.is_floating_point() and x.ndim:
            dtype = x.dtype if dtype is None else torch.promote_types(dtype, x.dtype)
    dtype = torch.get_default_dtype() if dtype is None else dtype
    return {name: x.to(dtype) for name, x in parts.items()}


def check_core(core: Tensor, name: str, k: int, independent: bool) -> None:
    """Raise `ShapeError` unless a core is (..., k, k), or (..., k) for independent blocks."""
    expected = (k,) if independent else (k, k)
    if tuple(core.shape[core.ndim - len(expected) :]) != expected:
        text = f"(..., {k})" if independent else f"(..., {k}, {k})"
        raise ShapeError(
            f"{name} has shape {tuple(core.shape)}; expected {text} for {k} "
            f"{'independent ' if independent else ''}blocks"
        )


def as_numbers(x: Tensor, name: str, n: int, k: int) -> Tensor:
    """Return numbers of n variables in k blocks with one axis at least, or raise `ShapeError`."""
    if x.ndim == 0:
        return x[None]
    if x.shape[-1] not in (1, k, n):
        raise ShapeError(
            f"{name} has shape {tuple(x.shape)}; expected (..., {n}) for the variables, "
            f"(..., {k}) for the blocks or (..., 1) for all"
        )
    return x


def batch_shape_of(parts: Mapping[str, Tensor], axes: Mapping[str, int]) -> torch.Size:
    """Return the common batch shape, or raise `ShapeError` if the batch axes do not broadcast."""
    shapes = [x.shape[: x.ndim - axes[name]] for name, x in parts.items()]
    try:
        shape: torch.Size = torch.broadcast_shapes(*shapes)  # type: ignore[no-untyped-call]
        return shape
    except RuntimeError:
        text = ", ".join(
            f"{name} {tuple(shape)}" for name, shape in zip(parts, shapes, strict=True)
        )
        raise ShapeError(f"the batch axes are {text}; expected shapes that broadcast") from None


def check_finite(parts: Mapping[str, Tensor]) -> None:
    """Raise `NonFiniteError` for NaN or infinity."""
    for name, x in parts.items():
        if bool(x.sum().isfinite()):
            continue  # then all numbers are finite; this takes less time than a test of each
        if not bool(torch.isfinite(x).all()):
            index = tuple(torch.nonzero(~torch.isfinite(x))[0].tolist())
            raise NonFiniteError(f"{name} contains NaN or infinity at index {index}")


def as_operand(x: Any, name: str) -> Tensor:
    """Return a tensor of a supported dtype."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} is a {type(x).__name__}; expected a torch.Tensor")
    if x.dtype not in DTYPES:
        raise DtypeError(f"{name} has dtype {x.dtype}; expected torch.float32 or torch.float64")
    return x


def as_factor(scalar: Any) -> Callable[[int], Any] | None:
    """Return what shapes a scalar, or a tensor of the shape of the batch, for tensors of a batch.

    The result takes the number of axes of a tensor that are no batch axes. It is None for anything
    but a number or a tensor.
    """
    if isinstance(scalar, Tensor):
        factor = as_operand(scalar, "the factor")
        return lambda axes: factor[(..., *[None] * axes)]
    if isinstance(scalar, int | float):
        return lambda axes: scalar
    return None
