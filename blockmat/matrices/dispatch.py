"""Functions of several matrix types, which the methods of one type call by their names.

Such a function imports all the types that it knows. So the module of a type cannot import it
without a circle. `blockmat.matrices` imports the modules of these functions.
"""

from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["call", "of_several_types"]

F = TypeVar("F", bound=Callable[..., Any])

_FUNCTIONS: dict[str, Callable[..., Any]] = {}


def of_several_types(function: F) -> F:
    """Make a function known by its name."""
    _FUNCTIONS[function.__name__] = function
    return function


def call(name: str, *arguments: Any) -> Any:
    """Call a function of several types."""
    return _FUNCTIONS[name](*arguments)
