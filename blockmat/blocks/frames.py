"""DataFrames of pandas, as arrays of numbers. Pandas is not imported."""

from numbers import Number
from typing import Any

import numpy as np

from blockmat.exceptions import DtypeError


def is_frame(x: Any) -> bool:
    """Whether x is a DataFrame."""
    return hasattr(x, "iloc") and hasattr(x, "columns")


def has_dates(index: Any) -> bool:
    """Whether the names of rows or columns, or a level of them, are dates."""
    levels = getattr(index, "levels", [index])
    return any(str(level.dtype).startswith(("datetime64", "period")) for level in levels)


def require_numbers(frame: Any, name: str, in_objects: bool = False) -> None:
    """Raise `DtypeError` for the first column of a DataFrame that is not numeric.

    `in_objects` says whether objects and categories that are numbers are taken.
    """
    for place, (column, dtype) in enumerate(zip(frame.columns, frame.dtypes, strict=True)):
        if in_objects and dtype.kind == "O" and _are_numbers(frame.iloc[:, place]):
            continue
        if dtype.kind not in "biufc":
            hint = _to_numbers(frame.iloc[:, place], f"{name}[{column!r}]")
            raise DtypeError(
                f"column {column!r} of {name} has dtype {dtype}; expected numbers ({hint}if it names "
                f"the rows, {name}.set_index({column!r}); see also {name}.select_dtypes('number'))"
            )


def _are_numbers(column: Any) -> bool:
    return all(isinstance(value, Number) for value in column.dropna())


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
    """Return a DataFrame with nullable numbers as an array with NaN for NA, and others unchanged."""
    if not any(hasattr(dtype, "na_value") for dtype in frame.dtypes):
        return frame
    # The dtype of a sparse column has no size, but that of its values has.
    dtypes = [getattr(dtype, "subtype", dtype) for dtype in frame.dtypes]
    common: Any = np.float64
    if any(dtype.kind == "c" for dtype in dtypes):
        common = np.complex128
    elif all(dtype.kind == "f" and getattr(dtype, "itemsize", 8) <= 4 for dtype in dtypes):
        common = np.float32
    return frame.to_numpy(dtype=common, na_value=np.nan)
