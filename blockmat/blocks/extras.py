"""Optional dependencies: imported where they are used, with an error that names the extra."""

import importlib
from types import ModuleType

from blockmat.exceptions import (
    MissingExtraError,
)


def import_extra(module: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional dependency, or say which extra of blockmat brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise missing_extra(module, extra, purpose) from error


def missing_extra(module: str, extra: str, purpose: str) -> MissingExtraError:
    """Return an error that says which extra of blockmat brings a module."""
    package = module.partition(".")[0]
    return MissingExtraError(
        f'{purpose} needs {package}, which is not installed; run: pip install "blockmat[{extra}]"'
    )
