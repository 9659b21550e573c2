"""What NumPy's functions do with matrices: products and sums keep the structure."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from blockmat.blocks.checks import Array

_OPERATORS = {
    np.add: "add", np.subtract: "sub", np.multiply: "mul", np.divide: "truediv",
    np.matmul: "matmul",
}  # fmt: skip
_LARGEST = 2**30  # bytes of a dense array that is made without being asked for


class NumpyProtocol:
    """Base class with NumPy's protocols.

    The ufuncs of the operators do what the operators do. Questions about the shape and the dtype are
    answered by the attributes. Other functions take a dense array.
    """

    def __array__(self: Any, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError(f"a {type(self).__name__} has no dense array to share without a copy")
        n_bytes = self.shape[0] * self.shape[1] * self.dtype.itemsize
        if n_bytes > _LARGEST:
            raise MemoryError(
                f"a dense array of a {type(self).__name__} takes {n_bytes / 2**30:.3g} GiB; use "
                f"toarray() to make one, and A.dot(x) or A.rdot(x) for products"
            )
        dense: Array = self.toarray()
        return dense if dtype is None else dense.astype(dtype, copy=False)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if ufunc in (np.equal, np.not_equal):  # no array is this matrix
            return ufunc is np.not_equal
        result, name = NotImplemented, _OPERATORS.get(ufunc)
        if name is not None and method == "__call__" and not options:
            first, second = inputs
            if ufunc is np.multiply and isinstance(first, NumpyProtocol) and np.ndim(second):
                pass  # a product of entries, and * would be the matrix product
            elif isinstance(first, NumpyProtocol):
                result = getattr(first, f"__{name}__")(second)
            elif hasattr(second, f"__r{name}__"):
                result = getattr(second, f"__r{name}__")(first)
        if result is NotImplemented:
            raise TypeError(
                f"np.{ufunc.__name__} does not support a {type(self).__name__} here; use toarray()"
            )
        return result

    def __array_function__(
        self, func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        own = _FUNCTIONS.get(func)
        if own is not None:
            return own(*args, **kwargs)
        return func(*_dense(args), **{name: _dense(x) for name, x in kwargs.items()})


def _dense(x: Any) -> Any:
    """Convert the matrices of this package in a structure of lists and tuples to arrays."""
    if isinstance(x, list | tuple):
        return type(x)(map(_dense, x)) if type(x) in (list, tuple) else x
    return np.asarray(x) if isinstance(x, NumpyProtocol) else x


def _dtype_of(x: Any) -> Any:
    is_matrix = isinstance(x, NumpyProtocol)
    return x.dtype if is_matrix else x


def _dot(a: Any, b: Any, out: Array | None = None) -> Any:
    if hasattr(a, "rdot"):
        return a.dot(b, out=out)
    if out is not None:
        raise TypeError("out is given for a product from the left; expected none")
    return b.rdot(a)


def _kron(a: Any, b: Any) -> Any:
    raise TypeError(
        "np.kron would make a dense array; use toarray() to make one, or multiply without one: "
        "kron(A, B) @ X.ravel() is (A @ X @ B.T).ravel()"
    )


_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.dot: _dot,
    np.kron: _kron,
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: len(a.shape),
    np.size: lambda a, axis=None: math.prod(a.shape) if axis is None else a.shape[axis],
    np.iscomplexobj: lambda x: x.dtype.kind == "c",
    np.isrealobj: lambda x: x.dtype.kind != "c",
    np.result_type: lambda *given: np.result_type(*map(_dtype_of, given)),
}
