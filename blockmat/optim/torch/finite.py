"""Whether gradients, and the sums that a step adds them to, are finite."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from blockmat.exceptions import NonFiniteError
from blockmat.optim.torch.ranks import ALONE, Alone, Ranks


class Step(Protocol):
    """What the check reads of a step."""

    ranks: Alone | Ranks
    gradients: list[Tensor]


def are_finite(sums: Iterable[Tensor]) -> bool:
    """Return whether numbers are all finite; this waits for each device once."""
    by_device: dict[torch.device, list[Tensor]] = {}
    for s in sums:
        by_device.setdefault(s.device, []).append(s)
    return all(bool(torch.isfinite(torch.cat(own)).all()) for own in by_device.values())


def raise_non_finite(steps: Sequence[Step]) -> None:
    """Raise `NonFiniteError`, and say whether gradients or their squares are the cause."""
    if not all(bool(torch.isfinite(g).all()) for step in steps for g in step.gradients):
        raise NonFiniteError("a gradient contains NaN or infinity; expected finite numbers")
    if any(step.ranks is not ALONE for step in steps):
        raise NonFiniteError(
            "a gradient contains NaN or infinity on another rank, or its squares overflow; "
            "expected smaller numbers"
        )
    raise NonFiniteError("the squares of a gradient overflow; expected smaller numbers")
