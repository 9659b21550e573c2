"""Values of arguments in messages."""

from typing import Any

_LONGEST = 60  # characters of a value in a message


def shown(value: Any) -> str:
    """Return how a message shows a value: arrays by class and shape, and long values by class."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        return f"a {type(value).__name__} of shape {tuple(shape)}"
    text = repr(value)
    if len(text) <= _LONGEST and "\n" not in text:
        return text
    length = f" of length {len(value)}" if isinstance(value, list | tuple | dict) else ""
    return f"a {type(value).__name__}{length}"
