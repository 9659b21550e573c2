"""Warnings that show the user's line."""

import sys
import warnings

# Their lines say nothing about a mistake: these call our methods for the user.
_LIBRARIES = frozenset({"blockmat", "joblib", "pandas", "skfolio", "sklearn", "torch"})


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn with the line of the first caller outside this package and these libraries.

    In a thread that a library has started, it is the line that started the work there.
    """
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and _package(frame.f_globals) in _LIBRARIES:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _package(namespace: dict[str, object]) -> str:
    return str(namespace.get("__name__")).partition(".")[0]
