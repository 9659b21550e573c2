"""Whether gradients, and the sums that a step adds them to, are finite."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from blockmat.exceptions import NonFiniteError
from blockmat.optim.torch.parameters import local
from blockmat.optim.torch.ranks import ALONE, Alone, Ranks

Label = Callable[[Tensor], str]  # returns the name of a parameter, or its place


class Step(Protocol):
    """What the check reads of a step."""

    ranks: Alone | Ranks


def are_finite(sums: Iterable[Tensor]) -> bool:
    """Return whether numbers are all finite; this waits for each device once."""
    by_device: dict[torch.device, list[Tensor]] = {}
    for s in sums:
        by_device.setdefault(s.device, []).append(s)
    return all(bool(torch.isfinite(torch.cat(own)).all()) for own in by_device.values())


def require_finite_gradients(params: Iterable[Tensor], label: Label) -> None:
    """Raise `NonFiniteError` for the first gradient that is not finite on this rank."""
    for p in params:
        if p.grad is not None and not bool(torch.isfinite(local(p.grad)).all()):
            raise NonFiniteError(
                f"the gradient of {label(p)} contains NaN or infinity; expected finite numbers "
                f'(on_nonfinite="skip" leaves such steps out)'
            )


def require_finite_values(params: Iterable[Tensor], label: Label) -> None:
    """Raise `NonFiniteError` for the first parameter that is not finite on this rank."""
    for p in params:
        if not bool(torch.isfinite(local(p)).all()):
            raise NonFiniteError(
                f"the values of {label(p)} contain NaN or infinity; expected finite numbers"
            )


def raise_overflow(steps: Sequence[Step]) -> None:
    """Raise `NonFiniteError` although gradients and parameters are finite on this rank."""
    if any(step.ranks is not ALONE for step in steps):
        raise NonFiniteError(
            "a gradient contains NaN or infinity on another rank, or its squares overflow; "
            "expected smaller numbers"
        )
    raise NonFiniteError("the squares of a gradient overflow; expected smaller numbers")
