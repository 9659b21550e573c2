"""DataFrames of pandas, as arrays of numbers. Pandas is not imported."""

from decimal import Decimal
from numbers import Number, Real
from typing import Any

import numpy as np

from blockmat.exceptions import DtypeError, ShapeError


def is_frame(x: Any) -> bool:
    """Whether x is a DataFrame."""
    return hasattr(x, "iloc") and hasattr(x, "columns")


def has_dates(index: Any) -> bool:
    """Whether the names of rows or columns, or a level of them, are dates."""
    levels = getattr(index, "levels", [index])
    return any(str(level.dtype).startswith(("datetime64", "period")) for level in levels)


def require_numbers(frame: Any, name: str) -> None:
    """Raise `DtypeError` for the first column of a DataFrame that is not numeric."""
    for place, (column, dtype) in enumerate(zip(frame.columns, frame.dtypes, strict=True)):
        if dtype.kind not in "biufc":
            hint = _to_numbers(frame.iloc[:, place], f"{name}[{column!r}]")
            raise DtypeError(
                f"column {column!r} of {name} has dtype {dtype}; expected numbers ({hint}if it names "
                f"the rows, {name}.set_index({column!r}); see also {name}.select_dtypes('number'))"
            )


def _floats(column: Any) -> Any:
    """Return objects or categories as an array of numbers, NaN if missing, or None if they are none."""
    values = column.astype(object).where(column.notna(), np.nan).tolist()
    for kind in {*map(type, values)}:
        if not issubclass(kind, (Real, Decimal)) or issubclass(kind, np.timedelta64):
            return None
    try:
        return np.array([float(x) for x in values])
    except OverflowError:  # an integer such as 10**400
        return None


def _to_numbers(column: Any, name: str) -> str:
    """Return how to convert a column whose first value is a number, also as text, or nothing."""
    values = column.dropna()
    first = values.iloc[0] if values.dtype.kind == "O" and len(values) else None
    if isinstance(first, Number):
        return f"for numbers as objects {name}.astype(float); "
    if not isinstance(first, str):
        return ""
    for text, way in (
        (first, f"pandas.to_numeric({name})"),
        (first.rstrip("% "), f"pandas.to_numeric({name}.str.rstrip('% ')) / 100"),
        (
            first.replace(",", "").rstrip("% "),
            "see the options decimal and thousands of pandas.read_csv",
        ),
    ):
        if _is_number(text):
            return f"for numbers as text such as {first!r} {way}; "
    return ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def numbers_of(frame: Any) -> Any:
    """Return a numeric DataFrame unchanged if NumPy can read it, and otherwise as an array, NaN for NA."""
    dtypes = {*frame.dtypes}
    plain = [dtype for dtype in dtypes if isinstance(dtype, np.dtype)]
    has_bool = any(dtype.kind == "b" for dtype in plain)
    if len(plain) == len(dtypes) and (len(dtypes) <= 1 or not has_bool):
        return frame
    common = np.result_type(*map(_of_numpy, dtypes))
    if common.kind in "biu":
        common = np.dtype(np.float64)
    return frame.to_numpy(dtype=common, na_value=np.nan)


def _of_numpy(dtype: Any) -> np.dtype[Any]:
    """Return the dtype of the numbers in a nullable or sparse column."""
    found: np.dtype[Any] = getattr(dtype, "subtype", getattr(dtype, "numpy_dtype", dtype))
    return found


def numeric_frame(frame: Any, name: str) -> Any:
    """Return a DataFrame that NumPy can read, in which objects and categories may be numbers."""
    if not len(frame.columns):
        raise ShapeError(f"{name} has no columns; expected at least one variable")
    found = frame
    for place, dtype in enumerate(frame.dtypes):
        floats = _floats(frame.iloc[:, place]) if dtype.kind == "O" else None
        if floats is not None:
            found = frame.copy(deep=False) if found is frame else found
            found.isetitem(place, floats)
    require_numbers(found, name)
    numbers = numbers_of(found)
    if numbers is found:
        return found
    return type(frame)(numbers, index=frame.index, columns=frame.columns)
