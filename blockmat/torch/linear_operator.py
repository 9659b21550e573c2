"""Matrices as operators of the package linear_operator, for GPyTorch. Needs the ``gpytorch`` extra.

An operator computes with the methods of its matrix, so that gradients of any order exist. What it
does not define, such as sums with other operators, the package computes from products.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from blockmat.blocks.extras import missing_extra
from blockmat.exceptions import BlockmatError, ShapeError

try:
    from linear_operator.operators import (
        ConstantDiagLinearOperator,
        DenseLinearOperator,
        DiagLinearOperator,
        LinearOperator,
        RootLinearOperator,
    )
except ImportError as error:
    raise missing_extra("linear_operator", "gpytorch", "as_linear_operator") from error


class MatrixOperator(LinearOperator):  # type: ignore[misc]
    """Base class: an operator that is made of the tensors of a matrix.

    Parameters
    ----------
    *tensors : Tensor
        The tensors of a matrix, with all batch axes.
    rebuild : callable
        Makes the matrix from them.
    """

    def __init__(self, *tensors: Tensor, rebuild: Callable[..., Any], **options: bool) -> None:
        super().__init__(*tensors, rebuild=rebuild, **options)
        self.matrix = rebuild(*tensors)

    def _size(self) -> torch.Size:
        size: torch.Size = self.matrix.shape
        return size

    def _expand_batch(self, batch_shape: Any) -> Any:
        expanded = self.matrix.expand(*batch_shape)
        return type(self)(*expanded.tensors, **self._kwargs)

    def matmul(self, other: Any) -> Any:
        """Multiply, with gradients of any order."""
        return self._matmul(other) if isinstance(other, Tensor) else super().matmul(other)


class BlockLinearOperator(MatrixOperator):
    """A symmetric positive definite matrix as an operator."""

    def _matmul(self, rhs: Tensor) -> Any:
        return self.matrix @ rhs

    def _transpose_nonbatch(self) -> "BlockLinearOperator":
        return self

    def _of(self, matrix: Any) -> Any:
        return matrix.as_linear_operator()

    # Entries

    def _diagonal(self) -> Tensor:
        diagonal: Tensor = self.matrix.diagonal()
        return diagonal.expand(self.shape[:-1])

    def to_dense(self) -> Tensor:
        """Make the dense matrices."""
        dense: Tensor = self.matrix.to_dense()
        return dense.expand(self.shape)

    def _getitem(self, row_index: Any, col_index: Any, *batch_indices: Any) -> Any:
        whole = slice(None)
        part = super()._getitem(whole, whole, *batch_indices)
        if all(isinstance(index, slice) and index == whole for index in (row_index, col_index)):
            return part
        indices = torch.arange(self.shape[-1], device=self.device)
        columns = part.columns(indices[col_index])
        return DenseLinearOperator(columns[..., indices[row_index], :])

    def _get_indices(self, row_index: Any, col_index: Any, *batch_indices: Any) -> Tensor:
        columns, where = col_index.unique(return_inverse=True)
        entries: Tensor = self.columns(columns)[(*batch_indices, row_index, where)]
        return entries

    def columns(self, which: Tensor) -> Tensor:
        """Return some columns of the dense matrices, (..., n, m)."""
        units = torch.zeros(self.shape[-1], len(which), dtype=self.dtype, device=self.device)
        units[which, torch.arange(len(which), device=self.device)] = 1
        columns: Tensor = self.matrix @ units
        return columns.expand(*self.batch_shape, *units.shape)

    # Solutions and determinants

    def _solve(self, rhs: Tensor, preconditioner: Any = None, num_tridiag: int = 0) -> Any:
        if num_tridiag:
            return super()._solve(rhs, preconditioner, num_tridiag)
        return self.matrix.solve(rhs)

    def solve(self, right_tensor: Tensor, left_tensor: Tensor | None = None) -> Tensor:
        """Solve for the columns of a tensor, and multiply with another one from the left."""
        solved: Tensor = self.matrix.solve(right_tensor)
        return solved if left_tensor is None else left_tensor @ solved

    def inverse(self) -> Any:
        """Return the inverse, of the same kind."""
        return self._of(self.matrix.inv())

    def logdet(self) -> Tensor:
        """Return the log-determinants."""
        logdet: Tensor = self.matrix.logdet()
        return logdet.expand(self.batch_shape)

    def inv_quad(self, inv_quad_rhs: Tensor, reduce_inv_quad: bool = True) -> Tensor:
        """Return ``b^T A^-1 b`` for each column b of a tensor, or their sum."""
        inv_quad: Tensor = self.inv_quad_logdet(inv_quad_rhs, False, reduce_inv_quad)[0]
        return inv_quad

    def inv_quad_logdet(
        self,
        inv_quad_rhs: Tensor | None = None,
        logdet: bool | None = False,
        reduce_inv_quad: bool | None = True,
    ) -> tuple[Any, Any]:
        """Return `inv_quad` of a tensor and the log-determinants; None for what is not wanted."""
        if inv_quad_rhs is None:
            return None, (self.logdet() if logdet else None)
        columns = inv_quad_rhs[..., None] if inv_quad_rhs.ndim == 1 else inv_quad_rhs
        inv_quad, logdets = self.matrix.inv_quad_logdet(_vectors(columns, self.batch_shape))
        inv_quad = inv_quad.sum(0) if reduce_inv_quad else inv_quad.movedim(0, -1)
        return inv_quad, logdets.expand(self.batch_shape) if logdet else None

    # Roots

    def root_decomposition(self, method: str | None = None) -> Any:
        """Return L with ``A = L L^T``, as `colorize` has it."""
        if method is not None:
            return super().root_decomposition(method)
        return RootLinearOperator(self._root(inverse=False))

    def root_inv_decomposition(
        self, initial_vectors: Any = None, test_vectors: Any = None, method: str | None = None
    ) -> Any:
        """Return L with ``A^-1 = L L^T``; its transpose is what `whiten` has."""
        if method is not None:
            return super().root_inv_decomposition(initial_vectors, test_vectors, method)
        return RootLinearOperator(self._root(inverse=True))

    def _root(self, inverse: bool) -> "RootOperator":
        return RootOperator(*self._args, **self._kwargs, inverse=inverse, transposed=False)

    # Sums and multiples

    def add_diagonal(self, diag: Tensor) -> Any:
        """Add a number (), one for each matrix (..., 1), or one for each variable (..., n).

        The sum is a general operator if its noise would not be positive.
        """
        if diag.ndim and diag.shape[-1] not in (1, self.shape[-1]):
            raise ShapeError(
                f"diag has shape {tuple(diag.shape)}; expected (), (..., 1) or "
                f"(..., {self.shape[-1]})"
            )
        try:
            return self._of(self.matrix.add_diagonal(diag))
        except BlockmatError:
            raise
        except ValueError:
            return super().add_diagonal(diag)

    def _mul_constant(self, other: Any) -> Any:
        if bool((torch.as_tensor(other) > 0).all()):
            return self._of(self.matrix * other)
        return super()._mul_constant(other)

    def __add__(self, other: Any) -> Any:
        if isinstance(other, ConstantDiagLinearOperator):
            return self.add_diagonal(other.diag_values)
        if isinstance(other, DiagLinearOperator):
            return self.add_diagonal(other.diagonal())
        if isinstance(other, BlockLinearOperator) and self._can_add(other.matrix):
            return self._of(self.matrix + other.matrix)
        return super().__add__(other)

    def _can_add(self, other: Any) -> bool:
        """Tell whether the sum of two matrices is of the same kind: both are block-constant."""
        is_same = type(self.matrix) is type(other) and hasattr(other, "__add__")
        return is_same and self.matrix.partition.same_blocks(other.partition)


class RootOperator(MatrixOperator):
    """A root L of a matrix ``A = L L^T`` or of its inverse, or the transpose of a root.

    With W of `whiten`, L is ``W^-1``, which is `colorize`. The others follow from A:
    ``L^T = W A``, and the root of the inverse is ``W^T = A^-1 L``.
    """

    def __init__(
        self, *tensors: Tensor, rebuild: Callable[..., Any], inverse: bool, transposed: bool
    ) -> None:
        super().__init__(*tensors, rebuild=rebuild, inverse=inverse, transposed=transposed)
        self._is_inverse, self._is_transposed = inverse, transposed

    def _matmul(self, rhs: Tensor) -> Any:
        if rhs.ndim == 1:
            return self._matmul(rhs[:, None])[..., 0]
        A = self.matrix
        if self._is_inverse:
            if self._is_transposed:
                return self._on_columns(A.whiten, rhs)
            return A.solve(self._on_columns(A.colorize, rhs))
        if self._is_transposed:
            return self._on_columns(A.whiten, A @ rhs)
        return self._on_columns(A.colorize, rhs)

    def _on_columns(self, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        return function(_vectors(x, self.batch_shape)).movedim(0, -1)

    def _transpose_nonbatch(self) -> "RootOperator":
        options = {**self._kwargs, "transposed": not self._is_transposed}
        return RootOperator(*self._args, **options)


def _vectors(columns: Tensor, batch_shape: torch.Size) -> Tensor:
    """Return columns (..., n, m) as vectors (m, ..., n) with all batch axes."""
    batch = torch.broadcast_shapes(columns.shape[:-2], batch_shape)  # type: ignore[no-untyped-call]
    return columns.expand(*batch, *columns.shape[-2:]).movedim(-1, 0)
