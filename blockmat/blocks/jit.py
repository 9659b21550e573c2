"""One policy for all Numba kernels; no other module imports Numba.

Kernels are compiled on first use for each dtype and layout, run on one thread without the GIL,
and are cached on disk where this is possible. Division follows IEEE rules. Of the relaxed
floating-point rules only those are allowed that keep NaN and infinity.
"""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

Kernel = Callable[..., Any]
_PACKAGE = Path(__file__).parents[1]


class _Cache(FunctionCache):
    """Numba's cache on disk. It is an error neither if it cannot be read nor if it cannot be written.

    Numba compiles a kernel again when its own file has changed. A kernel contains those that it
    calls, so this cache looks at all files of kernels.
    """

    def __init__(self, function: Kernel) -> None:
        super().__init__(function)
        stamps = [os.stat(path) for path in sorted(_PACKAGE.glob("*/kernels.py"))]
        self._cache_file = IndexDataCacheFile(
            cache_path=self._cache_path,
            filename_base=self._impl.filename_base,
            source_stamp=tuple((stamp.st_mtime, stamp.st_size) for stamp in stamps),
        )

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        """Return a key without classes: those of named tuples may be others in a later version."""
        _, *rest = super()._index_key(sig, codegen)
        return (*map(_description, sig), *rest)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        with contextlib.suppress(OSError):
            return super().load_overload(sig, target_context)
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with contextlib.suppress(OSError):
            super().save_overload(sig, data)


def _description(argument: Any) -> tuple[Any, ...]:
    """Describe the type of an argument in words, that of a named tuple with its fields."""
    named = getattr(argument, "instance_class", None)
    if named is None:
        return (str(argument),)
    return str(argument), named.__module__, named.__qualname__, named._fields


def _compiled(function: Kernel, fastmath: set[str]) -> Kernel:
    kernel: Any = numba.njit(nogil=True, error_model="numpy", fastmath=fastmath)(function)
    with contextlib.suppress(RuntimeError):  # no place for a cache: compile in memory
        kernel._cache = _Cache(function)
    return cast(Kernel, kernel)


def jit(function: Kernel) -> Kernel:
    """Compile a kernel whose sums may be added in any order."""
    return _compiled(function, {"reassoc", "nsz", "contract"})


def jit_in_order(function: Kernel) -> Kernel:
    """Compile without reassociation: ``(x - c) + (y - c)`` must not become ``x + y - 2 c``."""
    return _compiled(function, {"nsz", "contract"})
