"""Optional dependencies. They are imported where they are used; the error names the extra."""

import importlib
from types import ModuleType

from blockmat.exceptions import (
    MissingExtraError,
)


def import_extra(module: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional dependency, or raise an error that names the extra to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise missing_extra(module, extra, purpose) from error


def missing_extra(module: str, extra: str, purpose: str) -> MissingExtraError:
    """Return an error that names the extra to install."""
    package = module.partition(".")[0]
    return MissingExtraError(
        f'{purpose} needs {package}, which is not installed; run: pip install "blockmat[{extra}]"'
    )
