"""The compiler options of all Numba kernels. No other module imports Numba.

Kernels are compiled on first use for each dtype and layout and cached on disk if possible. They
run on one thread and release the GIL. Division follows IEEE rules. Of Numba's fastmath options
only those that preserve NaN and infinity are used.
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
    """Numba's cache on disk, which ignores errors when it reads or writes files.

    Numba compiles a kernel again if the file of the kernel has changed. A kernel also contains the
    kernels that it calls, so this cache checks the files of all kernels.
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
    with contextlib.suppress(RuntimeError):  # no folder can be written: compile in memory
        kernel._cache = _Cache(function)
    return cast(Kernel, kernel)


def jit(function: Kernel) -> Kernel:
    """Compile a kernel whose sums may be reordered."""
    return _compiled(function, {"reassoc", "nsz", "contract"})


def jit_in_order(function: Kernel) -> Kernel:
    """Compile a kernel whose sums must not be reordered, as in ``(x - c) + (y - c)``."""
    return _compiled(function, {"nsz", "contract"})
