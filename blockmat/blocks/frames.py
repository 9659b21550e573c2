"""DataFrames of pandas, as arrays of numbers. Pandas is not imported."""

from typing import Any

import numpy as np

from blockmat.exceptions import DtypeError


def is_frame(x: Any) -> bool:
    """Whether x is a DataFrame."""
    return hasattr(x, "iloc") and hasattr(x, "columns")


def require_numbers(frame: Any, name: str) -> None:
    """Raise `DtypeError` for the first column of a DataFrame that is not numeric."""
    for column, dtype in zip(frame.columns, frame.dtypes, strict=True):
        if dtype.kind not in "biufc":
            raise DtypeError(
                f"column {column!r} of {name} has dtype {dtype}; expected numbers (if it names the "
                f"rows, {name}.set_index({column!r}); see also {name}.select_dtypes('number'))"
            )


def numbers_of(frame: Any) -> Any:
    """Return a DataFrame with nullable numbers as an array with NaN for NA, and others unchanged."""
    is_nullable = [hasattr(dtype, "na_value") for dtype in frame.dtypes]
    if not any(is_nullable) or not all(dtype.kind != "c" for dtype in frame.dtypes):
        return frame
    is_single = all(
        dtype.kind == "f" and getattr(dtype, "itemsize", 8) <= 4 for dtype in frame.dtypes
    )
    return frame.to_numpy(dtype=np.float32 if is_single else np.float64, na_value=np.nan)
