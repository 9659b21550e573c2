"""TensorMatrix: what the matrices for PyTorch share."""

from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor

from blockmat.blocks.partition import Partition
from blockmat.exceptions import ShapeError
from blockmat.torch.parts import as_operand, batch_shape_of
from blockmat.torch.segments import Segments


class TensorMatrix:
    """A batch of n x n matrices that are made of few tensors.

    Subclasses call `_set` and define the maps of rows: `_times_rows`, `_solved_rows`,
    `_whitened_rows` and `_colored_rows`. Rows are (..., m, n), m vectors for each matrix.
    """

    _partition: Partition
    _parts: dict[str, Tensor]
    _axes: dict[str, int]
    _batch_shape: torch.Size
    _is_checked: bool

    def _set(
        self, p: Partition, parts: Mapping[str, Tensor], axes: Mapping[str, int], check: bool
    ) -> None:
        """Store tensors that are correct. The last axes of each are its own, the others batch axes.

        Raises
        ------
        ShapeError
            If the batch axes do not broadcast.
        """
        self._partition, self._parts, self._axes, self._is_checked = (
            p,
            dict(parts),
            dict(axes),
            check,
        )
        self._batch_shape = batch_shape_of(parts, axes)

    def _with(self, parts: Mapping[str, Tensor], axes: Mapping[str, int] | None = None) -> Self:
        """Return a matrix with other tensors that are correct."""
        made = type(self).__new__(type(self))
        axes = self._axes if axes is None else axes
        made._set(self._partition, {**self._parts, **parts}, axes, self._is_checked)
        return made

    def _mapped(self, function: Callable[[Tensor, int], Tensor]) -> Self:
        return self._with({name: function(x, self._axes[name]) for name, x in self._parts.items()})

    @property
    def _check(self) -> bool:
        """Whether to check numbers, which compiled code does not know."""
        return self._is_checked and not torch.compiler.is_compiling()

    @property
    def _segments(self) -> Segments:
        return Segments(self._partition, self.device)

    @property
    def partition(self) -> Partition:
        """The blocks."""
        return self._partition

    @property
    def batch_shape(self) -> torch.Size:
        """The shape of the batch."""
        return self._batch_shape

    @property
    def shape(self) -> torch.Size:
        """The shape of the dense matrices, ``(*batch_shape, n, n)``."""
        n = self._segments.n
        return torch.Size((*self._batch_shape, n, n))

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the tensors: torch.float32 or torch.float64."""
        return next(iter(self._parts.values())).dtype

    @property
    def device(self) -> torch.device:
        """The device of the tensors."""
        return next(iter(self._parts.values())).device

    @property
    def requires_grad(self) -> bool:
        """Whether one of the tensors requires gradients."""
        return any(x.requires_grad for x in self._parts.values())

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Convert to another device or dtype.

        Parameters
        ----------
        *args, **kwargs
            A device, a dtype or both, as `torch.Tensor.to` takes them.

        Returns
        -------
        the same type
            The converted matrix.

        Raises
        ------
        DtypeError
            If the dtype is not supported.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> A = bmt.BlockConstantMatrix([0, 0], torch.eye(1), torch.ones(1))
        >>> A.to(torch.float64).dtype
        torch.float64
        """
        parts = {name: x.to(*args, **kwargs) for name, x in self._parts.items()}
        for name, x in parts.items():
            as_operand(x, name)
        return self._with(parts)

    def detach(self) -> Self:
        """Detach from the graph of gradients.

        Returns
        -------
        the same type
            With the same numbers, which require no gradients.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> M = torch.eye(1, requires_grad=True)
        >>> bmt.BlockConstantMatrix([0, 0], M, torch.ones(1)).detach().requires_grad
        False
        """
        return self._mapped(lambda x, _: x.detach())

    def expand(self, *batch_shape: Any) -> Self:
        """Repeat the matrix along new batch axes, without copies.

        Parameters
        ----------
        *batch_shape : int or torch.Size
            The new shape of the batch, to which the present one broadcasts.

        Returns
        -------
        the same type
            With the new `batch_shape`.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> bmt.BlockConstantMatrix([0, 0], torch.eye(1), torch.ones(1)).expand(5).shape
        torch.Size([5, 2, 2])
        """
        given = batch_shape[0] if len(batch_shape) == 1 else batch_shape
        new = torch.Size((given,) if isinstance(given, int) else given)
        return self._mapped(lambda x, axes: x.expand(*new, *x.shape[x.ndim - axes :]))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors that the matrix is made of."""
        return tuple(self._parts.values())

    def with_tensors(self, *tensors: Tensor) -> Self:
        """Return a matrix of the same kind that is made of other tensors.

        Parameters
        ----------
        *tensors : Tensor
            As many as `tensors` has, with the same last axes. They are not checked.

        Returns
        -------
        the same type
            On the same partition.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> A = bmt.BlockConstantMatrix([0, 0], torch.eye(1), torch.ones(1))
        >>> A.with_tensors(*(2 * x for x in A.tensors)).trace()
        tensor(4.)
        """
        return self._with(dict(zip(self._parts, tensors, strict=True)))

    def as_linear_operator(self) -> Any:
        """View as an operator of the package linear_operator, for GPyTorch.

        The matrices must be symmetric and positive definite.

        Returns
        -------
        linear_operator.LinearOperator
            Products, solutions, determinants, roots, and the sum with a diagonal are those of
            this matrix, with gradients.

        Raises
        ------
        MissingExtraError
            If the package is not installed.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> operator = bmt.BlockConstantMatrix([0, 0], torch.eye(1), torch.ones(1)).as_linear_operator()
        >>> operator.logdet()
        tensor(0.)
        """
        from blockmat.torch.linear_operator import BlockLinearOperator

        expanded = self.expand(*self._batch_shape)
        return BlockLinearOperator(*expanded.tensors, rebuild=self.detach().with_tensors)

    def __getitem__(self, index: Any) -> Self:
        """Return some matrices of the batch; `index` is a key for the batch axes.

        The numbers are copied. Gradients pass through.
        """
        batch = self._batch_shape
        if not batch:
            raise TypeError(f"a {type(self).__name__} without batch axes has no elements")
        chosen = torch.arange(batch.numel(), device=self.device).reshape(batch)[index]

        def some(x: Tensor, axes: int) -> Tensor:
            if x.ndim == axes:  # the same for all
                return x
            own = x.shape[x.ndim - axes :]
            return x.expand(*batch, *own).reshape(-1, *own)[chosen]

        return self._mapped(some)

    # Products and solutions

    def matmul(self, x: Tensor) -> Tensor:
        """Multiply by vectors or matrices, as ``A @ x`` does.

        Parameters
        ----------
        x : Tensor, shape (n,) or (..., n, m)
            The right factor. The batch axes of matrices broadcast.

        Returns
        -------
        Tensor
            The product: (..., n) for a vector, (..., n, m) for matrices.

        Raises
        ------
        ShapeError, DtypeError, TypeError
            If `x` does not fit.

        Notes
        -----
        `torch.compile` cannot trace the operator ``@`` with a tensor on one side only, and traces
        this method.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> A = bmt.BlockConstantMatrix([0, 0], torch.tensor([[3.0]]), torch.ones(1))
        >>> A.matmul(torch.tensor([1.0, 0.0]))
        tensor([2., 1.])
        """
        return self._on_columns(self._times_rows, x, "x")

    def __matmul__(self, x: Any) -> Any:
        return self.matmul(x) if isinstance(x, Tensor) else NotImplemented

    def __rmatmul__(self, x: Any) -> Any:
        if not isinstance(x, Tensor):
            return NotImplemented
        rows = self._with_last_axis(x, "x")
        if rows.ndim == 1:
            return self.mT @ rows
        self._require_broadcast(rows, "x", 2)
        return self.mT._times_rows(rows)

    def __mul__(self, scalar: Any) -> Any:
        raise NotImplementedError

    @property
    def mT(self) -> Self:
        """The transposed matrices."""
        raise NotImplementedError

    def solve(self, b: Tensor) -> Tensor:
        """Solve ``A @ x = b``.

        Parameters
        ----------
        b : Tensor, shape (n,) or (..., n, m)
            The right-hand sides. The batch axes of matrices broadcast.

        Returns
        -------
        Tensor
            The solutions, of the shape of ``A @ b``.

        Raises
        ------
        ShapeError, DtypeError, TypeError
            If `b` does not fit.
        SingularMatrixError
            If a matrix is exactly singular.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> A = bmt.BlockConstantMatrix([0, 0, 1], torch.eye(2), torch.tensor([0.5, 0.0]))
        >>> A.solve(torch.tensor([1.0, 1.0, 3.0]))
        tensor([1., 1., 3.])
        """
        return self._on_columns(self._solved_rows, b, "b")

    def whiten(self, x: Tensor) -> Tensor:
        """Multiply vectors by W with ``W^T W = A^-1``: samples of covariance A become white.

        Parameters
        ----------
        x : Tensor, shape (..., n)
            Vectors. Their leading axes broadcast with the batch.

        Returns
        -------
        Tensor, shape (..., n)
            ``W x``.

        Raises
        ------
        ShapeError, DtypeError, TypeError
            If `x` does not fit.
        IndefiniteMatrixError
            If a matrix is not positive definite.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> A = bmt.BlockConstantMatrix([0, 0], torch.tensor([[4.0]]), torch.ones(1))
        >>> A.whiten(torch.tensor([3.0, 2.0]))
        tensor([1.7500, 0.7500])
        """
        return self._on_vectors(self._whitened_rows, x, "x")

    def colorize(self, z: Tensor) -> Tensor:
        """Multiply vectors by the inverse of W: white noise becomes samples of covariance A.

        Parameters
        ----------
        z : Tensor, shape (..., n)
            Vectors. Their leading axes broadcast with the batch.

        Returns
        -------
        Tensor, shape (..., n)
            The x with ``whiten(x) == z``.

        Raises
        ------
        ShapeError, DtypeError, TypeError
            If `z` does not fit.
        IndefiniteMatrixError
            If a matrix is not positive definite.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> A = bmt.BlockConstantMatrix([0, 0], torch.tensor([[4.0]]), torch.ones(1))
        >>> A.colorize(torch.tensor([1.75, 0.75]))
        tensor([3., 2.])
        """
        return self._on_vectors(self._colored_rows, z, "z")

    def logdet(self) -> Tensor:
        """Return the log-determinants of positive definite matrices.

        Returns
        -------
        Tensor, shape batch_shape
            The natural logarithms.

        Raises
        ------
        IndefiniteMatrixError
            If a matrix is not positive definite; `slogdet` handles other matrices.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> bmt.BlockConstantMatrix([0, 0], torch.eye(1), torch.ones(1)).logdet()
        tensor(0.)
        """
        return self._logdet().to(self.dtype)

    def inv_quad_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``x^T A^-1 x`` and the log-determinants, from one factorization.

        They are the two terms of a Gaussian log-density. The first one is a sum of squares, more
        accurate than a product with `solve`.

        Parameters
        ----------
        x : Tensor, shape (..., n)
            Vectors. Their leading axes broadcast with the batch.

        Returns
        -------
        inv_quad : Tensor, shape (...)
            One number for each vector.
        logdet : Tensor, shape batch_shape
            The natural logarithms of the determinants.

        Raises
        ------
        ShapeError, DtypeError, TypeError
            If `x` does not fit.
        IndefiniteMatrixError
            If a matrix is not positive definite.

        Examples
        --------
        >>> import torch
        >>> import blockmat.torch as bmt
        >>> A = bmt.BlockConstantMatrix([0, 0], torch.tensor([[4.0]]), torch.ones(1))
        >>> A.inv_quad_logdet(torch.tensor([3.0, 1.0]))
        (tensor(4.), tensor(1.3863))
        """
        rows = self._vectors(x, "x")[..., None, :]
        inv_quad, logdet = self._inv_quad_logdet(rows)
        dtype = torch.promote_types(self.dtype, x.dtype)
        return inv_quad[..., 0].to(dtype), logdet.to(self.dtype)

    def _vectors(self, x: Any, name: str) -> Tensor:
        vectors = self._with_last_axis(x, name)
        self._require_broadcast(vectors, name, 1)
        return vectors

    def _with_last_axis(self, x: Any, name: str) -> Tensor:
        vectors, n = as_operand(x, name), self._segments.n
        if vectors.ndim == 0 or vectors.shape[-1] != n:
            is_transposed = vectors.ndim == 2 and len(vectors) == n
            hint = f" (one vector per row: {name}.T)" if is_transposed else ""
            raise ShapeError(f"{name} has shape {tuple(vectors.shape)}; expected (..., {n}){hint}")
        return vectors

    def _require_broadcast(self, x: Tensor, name: str, axes: int) -> None:
        """Raise `ShapeError` unless the axes in front of the last ones broadcast with the batch."""
        batch = x.shape[: x.ndim - axes]
        if not (batch and self._batch_shape):
            return
        try:
            torch.broadcast_shapes(batch, self._batch_shape)  # type: ignore[no-untyped-call]
        except RuntimeError:
            raise ShapeError(
                f"{name} has the batch axes {tuple(batch)}; expected axes that broadcast with those "
                f"of the matrix, {tuple(self._batch_shape)}"
            ) from None

    def _on_vectors(self, function: Callable[[Tensor], Tensor], x: Any, name: str) -> Tensor:
        result: Tensor = function(self._vectors(x, name)[..., None, :])[..., 0, :]
        return result

    def _on_columns(self, function: Callable[[Tensor], Tensor], x: Any, name: str) -> Tensor:
        x, n = as_operand(x, name), self._segments.n
        if x.ndim == 0 or x.shape[0 if x.ndim == 1 else -2] != n:
            raise ShapeError(f"{name} has shape {tuple(x.shape)}; expected ({n},) or (..., {n}, m)")
        if x.ndim == 1:
            single: Tensor = function(x[None])[..., 0, :]
            return single
        self._require_broadcast(x, name, 2)
        columns: Tensor = function(x.mT).mT
        return columns

    def _require_no_batch(self) -> None:
        if self._batch_shape:
            raise ShapeError(
                f"the matrix has batch shape {tuple(self._batch_shape)}; expected one matrix, "
                "such as A[0]"
            )

    def _times_rows(self, rows: Tensor) -> Tensor:
        raise NotImplementedError

    def _solved_rows(self, rows: Tensor) -> Tensor:
        raise NotImplementedError

    def _whitened_rows(self, rows: Tensor) -> Tensor:
        raise NotImplementedError

    def _colored_rows(self, rows: Tensor) -> Tensor:
        raise NotImplementedError

    def _logdet(self) -> Tensor:
        raise NotImplementedError

    def _inv_quad_logdet(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.shape))
        return (
            f"<{shape} {type(self).__name__} of {self._segments.k} blocks, "
            f"dtype={self.dtype}, device={self.device}>"
        )
