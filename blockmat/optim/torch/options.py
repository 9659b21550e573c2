"""The options of `BlockAdaGrad`, and the values that they take."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from blockmat.optim.torch.within import STRUCTURES

# The option, the test of a value, and what is expected.
Rule = tuple[str, Callable[[Any], bool], str]


def check_options(group: dict[str, Any]) -> None:
    """Raise `ValueError` at the first option of a group that is out of range."""
    rules: list[Rule] = [
        ("lr", lambda x: 0 <= float(x) < float("inf"), "a finite number of at least 0"),
        ("momentum", lambda x: 0 <= x < 1, "a number from 0 to below 1"),
        ("nesterov", lambda x: not x or group["momentum"] > 0, "False without momentum"),
        ("structure", lambda x: x in STRUCTURES, '"aligned" or "mean"'),
        ("damping", lambda x: 0 < x < float("inf"), "a finite number above 0"),
        ("update_interval", lambda x: x == int(x) >= 1, "an integer of at least 1"),
        ("statistics_interval", lambda x: x == int(x) >= 1, "an integer of at least 1"),
        ("decay", lambda x: x is None or 0 < x < 1, "None or a number between 0 and 1"),
        ("weight_decay", lambda x: 0 <= x < float("inf"), "a finite number of at least 0"),
        ("max_blocks", lambda x: x == int(x) >= 1, "an integer of at least 1"),
        ("on_nonfinite", lambda x: x in ("raise", "skip"), '"raise" or "skip"'),
    ]
    check_rules(group, rules)


def check_rules(group: dict[str, Any], rules: list[Rule]) -> None:
    """Raise `ValueError` at the first option of a group that does not hold its rule."""
    lr = group["lr"]
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError(f"Tensor lr must be 1-element; it has shape {tuple(lr.shape)}")
    for name, holds, expected in rules:
        if not holds(group[name]):
            raise ValueError(f"{name} is {group[name]!r}; expected {expected}")
