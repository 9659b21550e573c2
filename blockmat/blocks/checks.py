"""Checks of user input. Each error names the argument, its value and the expected value."""

import operator
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from blockmat.blocks.frames import is_frame, numbers_of, require_numbers
from blockmat.blocks.shown import shown
from blockmat.exceptions import (
    DtypeError,
    NonFiniteError,
    ShapeError,
)

Array = NDArray[Any]
_AT_A_TIME = 2**22  # numbers to check at a time
_KEPT = frozenset(np.dtype(c) for c in "fdFD")


def working_dtype(dtype: Any, name: str) -> np.dtype[Any]:
    """Return the dtype to compute in: float64 for integers, float32 for half precision.

    Raises
    ------
    DtypeError
        If the dtype is not boolean, integer, or floating-point or complex of at most double
        precision.
    """
    dtype = np.dtype(dtype)
    if dtype.kind in "biu":
        return np.dtype(np.float64)
    native: np.dtype[Any] = dtype.newbyteorder("=")
    if native in _KEPT:
        return native
    if native == np.float16:
        return np.dtype(np.float32)
    raise DtypeError(
        f"{name} has dtype {dtype}; expected booleans, integers, float16, float32, "
        f"float64, complex64 or complex128"
    )


def accumulator_dtype(dtype: Any) -> np.dtype[Any]:
    """Return the double-precision dtype in which sums of `dtype` are accumulated."""
    return np.result_type(dtype, np.float64)


def real_dtype(dtype: Any) -> np.dtype[Any]:
    """Return the dtype of the real part of a supported dtype."""
    return np.zeros(0, dtype=dtype).real.dtype


def in_precision_of(x: Array, dtype: Any) -> Array:
    """Convert to the precision of a dtype; real numbers stay real."""
    kept: Array = x.astype(dtype if x.dtype.kind == "c" else real_dtype(dtype), copy=False)
    return kept


def refuse_mask(x: Any, name: str) -> None:
    """Raise `DtypeError` for a masked array, because the mask would be lost."""
    if isinstance(x, np.ma.MaskedArray):
        raise DtypeError(f"{name} is a masked array; expected one without a mask (see .filled())")


def as_raw_array(x: Any, name: str, ndims: tuple[int, ...]) -> Array:
    """Convert to an array whose dtype can be converted to a supported one.

    Raises
    ------
    ShapeError
        If it is ragged, or has another number of dimensions.
    DtypeError
        If it is not numeric, sparse or masked.
    """
    refuse_mask(x, name)
    if issparse(x):
        raise DtypeError(f"{name} is a sparse matrix; expected a dense array (see .toarray())")
    if is_frame(x):
        require_numbers(x, name)
        x = numbers_of(x)
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise ShapeError(f"{name} is not a rectangular array: {error}") from None
    except (TypeError, RuntimeError) as error:
        if not _is_tensor(x):  # an error of reading says more than we know
            raise
        # a tensor with a gradient, or on another device
        raise DtypeError(
            f"{name} is a {type(x).__name__} that NumPy cannot read: {error} (blockmat.torch has "
            f"matrices for tensors)"
        ) from error
    if array.dtype.kind in "OSU":
        _refuse_objects(x, array, name)
    working_dtype(array.dtype, name)
    check_ndim(array, name, ndims)
    return array


def _refuse_objects(x: Any, array: Array, name: str) -> None:
    """Raise `DtypeError` for strings and objects, and say what to do with them."""
    if callable(x) and hasattr(x, "__name__"):
        raise DtypeError(
            f"{name} is the function {x.__name__}; expected an array: call it, as in {x.__name__}()"
        )
    if isinstance(x, str | bytes):
        raise DtypeError(
            f"{name} is {shown(x)}; expected an array (read a file with numpy.load or "
            f"pandas.read_csv)"
        )
    if array.ndim == 0 or not (isinstance(x, list | tuple) or hasattr(x, "dtype")):
        raise DtypeError(f"{name} is {shown(x)}; expected an array")
    raise DtypeError(
        f"{name} has dtype {array.dtype}; expected numbers, such as numpy.asarray({name}, dtype=float)"
    )


def as_numeric(x: Any, name: str, ndims: tuple[int, ...]) -> Array:
    """Convert to an array of a supported dtype, and copy it only if necessary."""
    if type(x) is np.ndarray and x.dtype in _KEPT and x.ndim in ndims:
        return x
    raw = as_raw_array(x, name, ndims)
    return raw.astype(working_dtype(raw.dtype, name), copy=False)


def _is_tensor(x: Any) -> bool:
    """Whether x is a tensor of PyTorch, which is not imported, or a list of tensors."""
    if isinstance(x, list | tuple) and x:
        x = x[0]
    return type(x).__module__.partition(".")[0] == "torch" or hasattr(x, "requires_grad")


def is_dask_array(x: Any) -> bool:
    """Whether x is a Dask array. Dask is not imported."""
    return type(x).__module__.partition(".")[0] == "dask" and hasattr(x, "numblocks")


def check_ndim(x: Any, name: str, ndims: tuple[int, ...]) -> None:
    """Raise `ShapeError` unless ``x.ndim`` is one of `ndims`."""
    if x.ndim not in ndims:
        expected = " or ".join(f"{d}-d" for d in ndims)
        raise ShapeError(f"{name} is {x.ndim}-d with shape {x.shape}; expected {expected}")


def check_square(shape: tuple[int, ...], name: str, otherwise: str) -> None:
    """Raise `ShapeError` unless `shape` is that of a square matrix, and say what to do otherwise."""
    if len(shape) != 2 or shape[0] != shape[1]:
        raise ShapeError(f"{name} has shape {shape}; expected a square matrix ({otherwise})")


def require_in_range(dtype: Any, *results: Array) -> None:
    """Raise `NonFiniteError` if results in double precision overflow in their final dtype."""
    largest = np.finfo(dtype).max
    if not all(np.abs(x).max(initial=0) <= largest for x in results):
        raise NonFiniteError(
            f"the result overflows; expected numbers below {largest:.3g}, the largest {dtype}"
        )


def require_finite(x: Any, name: str, for_nan: str = "") -> None:
    """Raise `NonFiniteError` for NaN or infinity in an array or sparse matrix, with the index.

    For NaN the message ends in `for_nan`.
    """
    where = first_non_finite(x)
    if where is not None:
        place = str(where[0]) if len(where) == 1 else str(where)
        value = x.tocsr()[where] if issparse(x) else x[where]
        hint = for_nan if np.isnan(value) else ""
        raise NonFiniteError(
            f"{name} contains {value} at index {place}; expected finite numbers{hint}"
        )


def first_non_finite(x: Any) -> tuple[int, ...] | None:
    """Return the index of the first NaN or infinity of an array or sparse matrix, or None."""
    if issparse(x):
        entries = x.tocoo()
        wrong = np.flatnonzero(~np.isfinite(entries.data))
        return min(
            zip(entries.row[wrong].tolist(), entries.col[wrong].tolist(), strict=True), default=None
        )
    height = max(1, _AT_A_TIME // max(x[:1].size, 1))
    for first in range(0, len(x), height):
        finite = np.isfinite(x[first : first + height])
        if not finite.all():
            row, *others = (int(i) for i in np.argwhere(~finite)[0])
            return first + row, *others
    return None


def is_choice(value: Any, choices: tuple[str, ...]) -> bool:
    """Whether an option is one of some words; an array is not."""
    return isinstance(value, str) and value in choices


def as_flag(value: Any, name: str) -> bool:
    """Return `value` as a bool, or raise TypeError if it is no bool of Python or NumPy."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} is {shown(value)}; expected True or False")
    return bool(value)


def as_count(value: Any, name: str, minimum: int) -> int:
    """Return `value` as an int, or raise an error if it is a bool or less than `minimum`."""
    is_bool = isinstance(value, bool)
    number: Any = None if is_bool else value  # True is an index for Python
    try:
        count = operator.index(number)
    except TypeError:
        is_whole = not is_bool and isinstance(value, Real) and float(value).is_integer()
        hint = f", such as int({name})" if is_whole else ""
        raise TypeError(f"{name} is {shown(value)}; expected an integer{hint}") from None
    if count < minimum:
        raise ValueError(f"{name} is {count}; expected at least {minimum}")
    return count


def frozen(x: Array) -> Array:
    """Mark an array read-only and return it."""
    x.flags.writeable = False
    return x
