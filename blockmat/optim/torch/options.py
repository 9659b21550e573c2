"""The values that options take. Both optimizers share some of the rules."""

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from blockmat.blocks.shown import shown

Rule = tuple[str, Callable[[Any], bool], str]  # the option, the test of a value, what is expected


def check_options(group: dict[str, Any], rules: Sequence[Rule]) -> None:
    """Raise `ValueError` at the first option of a group that does not hold its rule."""
    lr = group["lr"]
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError(f"Tensor lr must be 1-element; it has shape {tuple(lr.shape)}")
    for name, holds, expected in rules:
        if not holds(group[name]):
            raise ValueError(f"{name} is {shown(group[name])}; expected {expected}")


def is_number(x: Any) -> bool:
    """Return whether x is a finite number of at least 0."""
    return isinstance(x, numbers.Real) and not isinstance(x, bool) and 0 <= float(x) < math.inf


def is_count(x: Any) -> bool:
    """Return whether x is an integer of at least 0."""
    return isinstance(x, numbers.Integral) and is_number(x)


def is_bool(x: Any) -> bool:
    """Return whether x is True or False."""
    return isinstance(x, bool)


SHARED: tuple[Rule, ...] = (
    (
        "lr",
        lambda x: is_number(float(x) if isinstance(x, Tensor) else x),
        "a finite number of at least 0",
    ),
    ("weight_decay", is_number, "a finite number of at least 0"),
    ("damping", lambda x: is_number(x) and x > 0, "a finite number above 0"),
    ("nesterov", is_bool, "True or False"),
    ("maximize", is_bool, "True or False"),
    ("max_blocks", lambda x: is_count(x) and x >= 1, "an integer of at least 1"),
)
