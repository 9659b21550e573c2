"""Cores of k x k numbers, dense or diagonal: products, solutions, determinants and Cholesky factors.

They compute in double precision. Vectors are rows (..., m, k): m vectors for each matrix of a batch.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from blockmat.exceptions import IndefiniteMatrixError, NotHermitianError, SingularMatrixError

_ROUNDING = (
    8  # a matrix is symmetric if it equals its transpose up to 8 sqrt(k) eps (:ref:`theory-rank`)
)


class DenseCore:
    """A batch of k x k matrices.

    Parameters
    ----------
    values : Tensor, shape (..., k, k)
        The numbers, in single or double precision.
    name : str
        What messages call it.
    check : bool
        Whether to check the numbers before an operation.
    """

    def __init__(self, values: Tensor, name: str, check: bool) -> None:
        self.values, self._name, self._check = values.double(), name, check
        self._eps = torch.finfo(values.dtype).eps

    def times(self, rows: Tensor) -> Tensor:
        """Multiply each row."""
        return on_rows(self.values, rows, lambda a, r: r @ a.mT)

    def solve(self, rows: Tensor, operation: str = "solve") -> Tensor:
        """Solve for each row, or raise `SingularMatrixError`."""
        try:
            return on_rows(self.values, rows, lambda a, r: torch.linalg.solve(a.mT, r, left=False))
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
            which = first_of(torch.linalg.lu_factor_ex(self.values)[2] > 0)
        raise SingularMatrixError(
            f"{operation} needs an invertible matrix, and the {self._name} core{which} is singular"
        )

    def inverse(self) -> Tensor:
        """Return the inverse matrices, or raise `SingularMatrixError`."""
        eye = torch.eye(self.values.shape[-1], dtype=torch.float64, device=self.values.device)
        return self.solve(eye, "inv").mT

    def slogdet(self) -> tuple[Tensor, Tensor]:
        """Return signs and logarithms of the absolute determinants."""
        sign, logdet = torch.linalg.slogdet(self.values)
        return sign, logdet

    def require_symmetric(self, operation: str) -> None:
        """Raise `NotHermitianError` unless the matrices equal their transposes to rounding."""
        a = self.values
        largest = a.abs().amax((-2, -1), keepdim=True)
        bound = _ROUNDING * a.shape[-1] ** 0.5 * self._eps * largest
        failed = ((a - a.mT).abs() > bound).any(-1).any(-1)
        if bool(failed.any()):
            raise NotHermitianError(
                f"{operation} needs a symmetric matrix, and the {self._name} "
                f"core{first_of(failed)} is not"
            )

    def cholesky(self, operation: str) -> "DenseRoot":
        """Factorize symmetric matrices, or raise `IndefiniteMatrixError`."""
        if self._check:
            self.require_symmetric(operation)
        a = symmetric_part(self.values)
        try:
            return DenseRoot(torch.linalg.cholesky(a))
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
            which = first_of(torch.linalg.cholesky_ex(a).info > 0)
        raise IndefiniteMatrixError(
            f"{operation} needs a positive definite matrix, and the {self._name} core{which} is not"
        )


class DenseRoot:
    """The lower triangular Cholesky factors L of a batch of matrices ``L L^T``."""

    def __init__(self, lower: Tensor) -> None:
        self._lower = lower

    def times(self, rows: Tensor) -> Tensor:
        """Multiply each row by L."""
        return on_rows(self._lower, rows, lambda a, r: r @ a.mT)

    def solve(self, rows: Tensor) -> Tensor:
        """Solve ``L x = r`` for each row."""
        return on_rows(
            self._lower,
            rows,
            lambda a, r: torch.linalg.solve_triangular(a.mT, r, upper=True, left=False),
        )

    def inv_quad(self, rows: Tensor) -> Tensor:
        """Return the squared lengths of the solutions: (..., m)."""
        return self.solve(rows).square().sum(-1)

    def logdet(self) -> Tensor:
        """Return the log-determinants of the matrices."""
        return 2 * self._lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)


class DiagonalCore:
    """A batch of diagonal matrices, as `DenseCore` has dense ones.

    Parameters
    ----------
    values : Tensor, shape (..., k)
        The diagonals.
    name : str
        What messages call it.
    check : bool
        Whether to check the numbers before an operation.
    """

    def __init__(self, values: Tensor, name: str, check: bool) -> None:
        self.values, self._name, self._check = values.double(), name, check

    def times(self, rows: Tensor) -> Tensor:
        """Multiply each row."""
        return rows * self.values[..., None, :]

    def solve(self, rows: Tensor) -> Tensor:
        """Solve for each row, or raise `SingularMatrixError`."""
        return rows * self.inverse("solve")[..., None, :]

    def inverse(self, operation: str = "inv") -> Tensor:
        """Return the reciprocals, or raise `SingularMatrixError`."""
        if self._check and bool((self.values == 0).any()):
            where = first_of(self.values == 0)
            raise SingularMatrixError(
                f"{operation} needs an invertible matrix, and the {self._name} core{where} is 0"
            )
        return 1 / self.values

    def slogdet(self) -> tuple[Tensor, Tensor]:
        """Return signs and logarithms of the absolute determinants."""
        return self.values.sign().prod(-1), self.values.abs().log().sum(-1)

    def cholesky(self, operation: str) -> "DiagonalRoot":
        """Return square roots, or raise `IndefiniteMatrixError`."""
        if self._check and not are_positive(self.values):
            where = first_of(~(self.values > 0))
            raise IndefiniteMatrixError(
                f"{operation} needs a positive definite matrix, and the {self._name} core{where} "
                f"is not positive"
            )
        return DiagonalRoot(self.values)


class DiagonalRoot:
    """The square roots of a batch of positive diagonal matrices."""

    def __init__(self, squares: Tensor) -> None:
        self._squares = squares

    def times(self, rows: Tensor) -> Tensor:
        """Multiply each row by the roots."""
        return rows * self._squares.sqrt()[..., None, :]

    def solve(self, rows: Tensor) -> Tensor:
        """Divide each row by the roots."""
        return rows * self._squares.rsqrt()[..., None, :]

    def inv_quad(self, rows: Tensor) -> Tensor:
        """Return the squared lengths of the solutions: (..., m)."""
        return (rows.square() / self._squares[..., None, :]).sum(-1)

    def logdet(self) -> Tensor:
        """Return the log-determinants of the diagonal matrices."""
        return self._squares.log().sum(-1)


def on_rows(a: Tensor, rows: Tensor, function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Call a function of matrices and rows.

    Leading axes of the rows that the matrices do not have become more rows. So the matrices need
    not be repeated along these axes.
    """
    extra = rows.ndim - a.ndim
    if extra <= 0:
        return function(a, rows[(None,) * -extra])  # `solve` takes fewer axes for vectors
    moved = rows.movedim(tuple(range(extra)), tuple(range(-2 - extra, -2)))
    result = function(a, moved.flatten(-2 - extra, -2))
    shape = (*result.shape[:-2], *moved.shape[-2 - extra : -1], result.shape[-1])
    return result.reshape(shape).movedim(tuple(range(-2 - extra, -2)), tuple(range(extra)))


def are_positive(x: Tensor) -> bool:
    """Tell whether all numbers are positive. The minimum takes less time than a comparison of each."""
    return x.numel() == 0 or bool(x.amin() > 0)


def symmetric_part(a: Tensor) -> Tensor:
    """Return half the sum of a matrix and its transpose."""
    return (a + a.mT) / 2


def first_of(failed: Tensor) -> str:
    """Say which element of a batch is the first that failed; nothing if there is no batch."""
    if failed.ndim == 0:
        return ""
    return f" at index {tuple(torch.nonzero(failed)[0].tolist())}"
